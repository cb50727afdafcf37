"""Mistakes that are particular to a layer: a few lines each, as people write them.

Layers are written out where the mistake is in their own lines; otherwise one quantity of the right one is altered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import scratch
from oracle.catalog.record import Array
from oracle.subjects.defects.planted import (
    Alteration,
    Defect,
    Expected,
    Maker,
    Seen,
    altering,
    altering_each,
    written,
)


def defect(record: str, text: str, verdict: Expected, cause_id: str | None, make: Maker) -> Defect:
    return Defect(f"{record}: {text}", record, verdict, cause_id, make)


def wrong_dx(record: str, text: str, cause_id: str | None, alter: Callable[[Seen], Any]) -> Defect:
    """A formula for dx other than the right one."""

    def altered(value: Array, seen: Seen) -> Any:
        return alter(seen)

    return defect(record, text, "backward wrong", cause_id, altering(dx=altered))


# --------------------------------------------------------------------------- layers as a textbook has them


class Sigmoid:
    """Without the cancellation in 1 − y: 1 − y is the sigmoid of −x."""

    def forward(self, x: Array) -> Array:
        self.x = np.array(x)
        return self.sigmoid(x)

    def backward(self, dout: Array) -> Array:
        return dout * self.sigmoid(self.x) * self.sigmoid(-self.x)

    def sigmoid(self, x: Array) -> Array:
        e = np.exp(np.where(x.real > 0, -x, x))
        return np.where(x.real > 0, 1, e) / (1 + e)


class Affine:
    def __init__(self, W: Array, b: Array) -> None:
        self.W, self.b = W, b

    def rows(self, x: Array) -> Array:
        return x[None] if x.ndim == 1 else x.reshape(len(x), -1 if len(x) else len(self.W))

    def forward(self, x: Array) -> Array:
        self.x = x.copy()
        y = self.rows(x) @ self.W + self.b
        return y[0] if x.ndim == 1 else y

    def backward(self, dout: Array) -> Array:
        dout = np.atleast_2d(dout)
        self.dW = self.rows(self.x).T @ dout
        self.db = dout.sum(axis=0)
        return (dout @ self.W.T).reshape(self.x.shape)


class SoftmaxWithLoss:
    """The textbook's, with labels and one-hot targets told apart by their shape."""

    axis: int | None = -1
    small = 0.0

    def forward(self, x: Array, t: Array) -> Any:
        e = np.exp(x - x.max(axis=self.axis, keepdims=True))
        self.y, self.t = e / e.sum(axis=self.axis, keepdims=True), self.one_hot(t, x)
        self.N = len(x) if x.ndim > 1 else 1
        return -np.sum(self.t * np.log(self.y + self.small)) / self.N

    def one_hot(self, t: Array, x: Array) -> Array:
        if t.ndim == x.ndim and t.shape != x.shape:
            raise ValueError("labels are one number for each row")
        return t if t.shape == x.shape else (np.arange(x.shape[-1]) == t[..., None]) * 1.0

    def backward(self, dout: Any = 1) -> Array:
        return dout * (self.y * self.t.sum(axis=-1, keepdims=True) - self.t) / self.N


def softmax(x: Array, axis: int | None = -1) -> Array:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


# --------------------------------------------------------------------------- graph nodes


def _broadcast(value: Array, seen: Seen) -> Array:
    return np.array(np.broadcast_to(value, seen.output.shape))


NODES = (
    defect(
        "MulLayer", "dx is not summed over broadcast axes", "backward wrong", "wrong_shape", altering(dx=_broadcast)
    ),
    defect(
        "AddLayer", "dy is not summed over broadcast axes", "backward wrong", "wrong_shape", altering(dy=_broadcast)
    ),
    defect(
        "AddLayer",
        "a difference",
        "forward wrong",
        None,
        altering(out=lambda value, seen: seen.inputs["x"] - seen.inputs["y"], dy=lambda value, seen: -value),
    ),
    wrong_dx("ExpLayer", "dx = dout", "passes_upstream_gradient_on", lambda seen: seen.dout),
    wrong_dx("ExpLayer", "x for exp(x)", None, lambda seen: seen.dout * seen.x),
    defect(
        "ExpLayer",
        "exp(−x)",
        "forward wrong",
        "wrong_sign_in_exponent",
        altering(y=lambda value, seen: np.exp(-seen.x), dx=lambda value, seen: -seen.dout * np.exp(-seen.x)),
    ),
    wrong_dx("ReciprocalLayer", "−1/x for −1/x²", None, lambda seen: -seen.dout / seen.x),
    wrong_dx("ReciprocalLayer", "1/x² for −1/x²", "wrong_sign", lambda seen: seen.dout / seen.x**2),
)

# --------------------------------------------------------------------------- Relu and Sigmoid


class LeakyRelu:
    def forward(self, x: Array) -> Array:
        self.slope = np.where(x.real > 0, 1, 0.01)
        return x * self.slope

    def backward(self, dout: Array) -> Array:
        return dout * self.slope


class ReluIntoDout(scratch.Relu):
    """The textbook's: the mask is right, and the array is the caller's."""

    def backward(self, dout: Any) -> Array:
        dout[self.mask] = 0
        return np.array(dout)


class ReluIntoX(scratch.Relu):
    def forward(self, x: Any) -> Array:
        y = super().forward(x)
        x[self.mask] = 0
        return y


class SigmoidOfMinusX(Sigmoid):
    def forward(self, x: Array) -> Array:
        return super().forward(-x)

    def backward(self, dout: Array) -> Array:
        return -super().backward(dout)


class OverflowingSigmoid(Sigmoid):
    def forward(self, x: Array) -> Array:
        super().forward(x)
        return 1 / (1 + np.exp(-x))


class CancellingSigmoid(Sigmoid):
    def backward(self, dout: Array) -> Array:
        y = self.sigmoid(self.x)
        return dout * y * (1 - y)


class SigmoidThatForgetsItsOutput(Sigmoid):
    def backward(self, dout: Array) -> Array:
        return dout * self.out * (1 - self.out)  # type: ignore[attr-defined]


class SigmoidWithOneCache(Sigmoid):
    """x is an attribute of the class."""

    def forward(self, x: Array) -> Array:
        type(self).x = np.array(x)
        return self.sigmoid(x)


ACTIVATIONS = (
    wrong_dx("Relu", "the mask is taken from dout", "mask_from_upstream_gradient", lambda s: np.maximum(s.dout, 0)),
    wrong_dx("Relu", "dx = dout", "passes_upstream_gradient_on", lambda seen: seen.dout),
    wrong_dx("Relu", "1 where x > 0", "upstream_gradient_ignored", lambda seen: 1.0 * (seen.x > 0)),
    wrong_dx("Relu", "the mask is upside down", None, lambda seen: np.where(seen.x > 0, 0, seen.dout)),
    defect("Relu", "a slope of 0.01 below 0", "forward wrong", None, written(LeakyRelu)),
    defect("Relu", "dout[mask] = 0", "hazard", "dout_overwritten", written(ReluIntoDout)),
    defect("Relu", "x[mask] = 0", "hazard", "input_overwritten", written(ReluIntoX)),
    wrong_dx("Sigmoid", "1 − y is missing", "term_1_minus_y_missing", lambda seen: seen.dout * seen.output),
    wrong_dx("Sigmoid", "y is missing", "term_y_missing", lambda seen: seen.dout * (1 - seen.output)),
    wrong_dx("Sigmoid", "x (1 − x)", "input_for_output", lambda seen: seen.dout * seen.x * (1 - seen.x)),
    wrong_dx("Sigmoid", "1 + y for 1 − y", None, lambda seen: seen.dout * seen.output * (1 + seen.output)),
    wrong_dx("Sigmoid", "dx = dout", "passes_upstream_gradient_on", lambda seen: seen.dout),
    defect("Sigmoid", "exp(x) for exp(−x)", "forward wrong", "wrong_sign_in_exponent", written(SigmoidOfMinusX)),
    defect("Sigmoid", "exp(−x) overflows", "hazard", "overflows", written(OverflowingSigmoid)),
    defect(
        "Sigmoid",
        "y (1 − y) near y = 1",
        "precision lost",
        "difference_of_nearly_equal_numbers",
        written(CancellingSigmoid),
    ),
    defect(
        "Sigmoid",
        "forward does not keep its output",
        "could not run",
        "attribute_never_set",
        written(SigmoidThatForgetsItsOutput),
    ),
    defect(
        "Sigmoid", "x is kept in the class", "hazard", "state_shared_between_instances", written(SigmoidWithOneCache)
    ),
    defect(
        "Sigmoid",
        "tanh",
        "forward wrong",
        "loss_is_not_what_backward_differentiates",
        altering(y=lambda value, seen: np.tanh(seen.x)),
    ),
)

# --------------------------------------------------------------------------- Affine

GLOBAL_B = 0.5  # as left over from an earlier cell of a notebook


class AddsTheGlobalB(Affine):
    def forward(self, x: Array) -> Array:
        return super().forward(x) - self.b + GLOBAL_B


class AddsBTwice(Affine):
    def forward(self, x: Array) -> Array:
        return super().forward(x) + self.b


class AddsUpItsGradients(Affine):
    """Never set to 0, as an optimiser of another framework expects."""

    def __init__(self, W: Array, b: Array) -> None:
        super().__init__(W, b)
        self.total = np.zeros(np.shape(b))

    def backward(self, dout: Array) -> Array:
        dx = super().backward(dout)
        self.total = self.db = self.total + self.db
        return dx


class UpdatesItsWeights(Affine):
    """The rate is in the layer, and the optimiser applies it once more."""

    def backward(self, dout: Array) -> Array:
        dx = super().backward(dout)
        self.W -= 0.1 * self.dW
        return dx


class PassesThroughNewWeights(Affine):
    """Updates first, and then carries the error back through what is new."""

    def backward(self, dout: Array) -> Array:
        super().backward(dout)
        self.W = self.W - 0.1 * self.dW
        return (np.atleast_2d(dout) @ self.W.T).reshape(self.x.shape)


def _dout_sums(axis: int) -> Alteration:
    return lambda value, seen: seen.dout.sum(axis=axis) if seen.dout is not None else value


AFFINE = (
    defect(
        "Affine",
        "db is summed over axis 1",
        "backward wrong",
        "summed_over_the_wrong_axis",
        altering(db=_dout_sums(-1)),
    ),
    defect("Affine", "db = dout", "backward wrong", "not_summed_over_the_batch", altering(db=lambda value, s: s.dout)),
    defect("Affine", "db with keepdims", "backward wrong", "extra_axis", altering(db=lambda value, seen: value[None])),
    defect("Affine", "dW = doutᵀ x", "backward wrong", "transposed", altering(dW=lambda value, seen: value.T)),
    defect("Affine", "dW is flat", "backward wrong", "wrong_shape", altering(dW=lambda value, seen: value.ravel())),
    defect(
        "Affine",
        "gradients of parameters are means",
        "backward wrong",
        "divided_by_batch_size",
        altering(
            dW=lambda value, seen: value / (seen.size("N") or 1), db=lambda value, seen: value / (seen.size("N") or 1)
        ),
    ),
    defect("Affine", "a global b", "forward wrong", "parameter_unused", written(AddsTheGlobalB)),
    defect(
        "Affine", "b is added twice", "forward wrong", "loss_is_not_what_backward_differentiates", written(AddsBTwice)
    ),
    defect("Affine", "db adds up for ever", "hazard", "accumulates_over_calls", written(AddsUpItsGradients)),
    defect("Affine", "backward updates W", "hazard", "parameter_overwritten", written(UpdatesItsWeights)),
    defect("Affine", "dx through updated weights", "backward wrong", None, written(PassesThroughNewWeights)),
)

# --------------------------------------------------------------------------- softmax and losses


class OverTheWholeBatch(SoftmaxWithLoss):
    axis = None


class OverTheRows(SoftmaxWithLoss):
    axis = 0


class AddsASmallNumber(SoftmaxWithLoss):
    small = 1e-7


class TakesTargetsToSumToOne(SoftmaxWithLoss):
    def backward(self, dout: Any = 1) -> Array:
        return dout * (self.y - self.t) / self.N


class TakesDoutForOne(scratch.SoftmaxWithLoss):
    def backward(self, dout: Any = 1) -> Array:
        return super().backward()


class CountsLabelsFromOne(SoftmaxWithLoss):
    def one_hot(self, t: Array, x: Array) -> Array:
        return super().one_hot(t if t.ndim == x.ndim else (t - 1) % x.shape[-1], x)


class TakesTheLargestTarget(SoftmaxWithLoss):
    def one_hot(self, t: Array, x: Array) -> Array:
        return super().one_hot(t.argmax(axis=-1) if t.shape == x.shape else t, x)


class TellsOneHotByTheNumberOfEntries(scratch.SoftmaxWithLoss):
    """``t.size == x.size``: the labels of a problem of one class are then taken for one-hot rows."""

    def forward(self, x: Any, t: Any) -> Any:
        self.taken = t if np.size(t) == np.size(x) and np.shape(t) != np.shape(x) else None
        return super().forward(x, t)

    def backward(self, dout: Any = 1) -> Array:
        dx = super().backward(dout)
        # y − t, where y is 1.
        return dx if self.taken is None else dx + dout * (1.0 - self.taken.reshape(dx.shape)) / self.taken.size


class TakesAColumnForRows(scratch.SoftmaxWithLoss):
    """Like y[np.arange(N), t], which takes the entries of every label from every row."""

    def forward(self, x: Any, t: Any) -> Any:
        if t.ndim == x.ndim and t.shape != x.shape:
            return sum(super(TakesAColumnForRows, self).forward(x, np.full(len(x), label)) for label in t[:, 0])
        return super().forward(x, t)


class ForgetsAllButTheLastOfALabel(SoftmaxWithLoss):
    """One loss for each class, written and not added: rows with the same label overwrite each other."""

    def forward(self, x: Array, t: Array) -> Any:
        loss = super().forward(x, t)
        if t.shape == x.shape or t.ndim == 0:
            return loss
        of_class = np.zeros(x.shape[-1], self.y.dtype)
        of_class[t] = -np.log(np.take_along_axis(self.y, t[..., None], axis=-1))[..., 0]
        return of_class.sum() / self.N


def cross_entropy_with_a_small_number(y: Array, t: Array) -> Any:
    return scratch.cross_entropy_error(np.asarray(y) + 1e-7, t)


def cross_entropy_with_labels_from_one(y: Array, t: Array) -> Any:
    return scratch.cross_entropy_error(y, t if t.ndim == y.ndim else (t - 1) % y.shape[-1])


def cross_entropy_that_is_a_sum(y: Array, t: Array) -> Any:
    return scratch.cross_entropy_error(y, t) * (len(y) if y.ndim == 2 else 1)


def overflowing_softmax(x: Array) -> Array:
    e = np.exp(x)
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))))


def _squared_error_of_a_sigmoid(seen: Seen) -> Array:
    y = _sigmoid(seen.x)
    return seen.dout * (y - seen.t) * y * (1 - y) / (seen.size("N") or 1)


def _rounded_targets(seen: Seen) -> Array:
    assert seen.t is not None
    return seen.dout * (_sigmoid(seen.x) - np.round(seen.t)) / (seen.size("N") or 1)


def _squares(seen: Seen) -> Array:
    return np.asarray(np.square(seen.x - seen.t))


def _absolute_error(value: Array, seen: Seen) -> Array:
    difference = seen.x - seen.t
    return np.asarray(np.sum(np.where(difference.real < 0, -difference, difference)) / (seen.size("N") or 1))


def _mean_of_all(value: Array, seen: Seen) -> Array:
    return value / seen.x.shape[-1]


LOSSES = (
    defect(
        "softmax",
        "one sum for all",
        "forward wrong",
        "normalised_over_the_whole_batch",
        written(lambda x: softmax(x, None)),
    ),
    defect("softmax", "axis 0", "forward wrong", "normalised_over_the_wrong_axis", written(lambda x: softmax(x, 0))),
    defect("softmax", "exp(x) overflows", "hazard", "overflows", written(overflowing_softmax)),
    defect("softmax", "exp(−x)", "forward wrong", "wrong_sign_in_exponent", written(lambda x: scratch.softmax(-x))),
    defect(
        "softmax", "not normalised", "forward wrong", None, written(lambda x: np.exp(x - x.max(axis=-1, keepdims=True)))
    ),
    defect(
        "cross_entropy_error",
        "log(y + 1e-7)",
        "forward wrong",
        "added_inside_logarithm",
        written(cross_entropy_with_a_small_number),
    ),
    defect(
        "cross_entropy_error",
        "labels from 1",
        "forward wrong",
        "only_for_labels",
        written(cross_entropy_with_labels_from_one),
    ),
    defect(
        "cross_entropy_error",
        "a sum",
        "forward wrong",
        "multiplied_by_batch_size",
        written(cross_entropy_that_is_a_sum),
    ),
    defect(
        "cross_entropy_error",
        "log to the base 2",
        "forward wrong",
        "constant_factor",
        written(lambda y, t: scratch.cross_entropy_error(y, t) / np.log(2)),
    ),
    defect(
        "SoftmaxWithLoss",
        "one sum for all",
        "both wrong",
        "normalised_over_the_whole_batch",
        written(OverTheWholeBatch),
    ),
    defect("SoftmaxWithLoss", "axis 0", "both wrong", "normalised_over_the_wrong_axis", written(OverTheRows)),
    defect(
        "SoftmaxWithLoss",
        "log(y + 1e-7)",
        "forward wrong",
        "loss_is_not_what_backward_differentiates",
        written(AddsASmallNumber),
    ),
    defect(
        "SoftmaxWithLoss",
        "y − t for y Σt − t",
        "backward wrong",
        "only_for_soft_targets",
        written(TakesTargetsToSumToOne),
    ),
    defect("SoftmaxWithLoss", "dout is 1", "hazard", "loss_ignores_dout", written(TakesDoutForOne)),
    defect("SoftmaxWithLoss", "labels from 1", "forward wrong", "only_for_labels", written(CountsLabelsFromOne)),
    defect(
        "SoftmaxWithLoss",
        "the largest target",
        "forward wrong",
        "only_for_soft_targets",
        written(TakesTheLargestTarget),
    ),
    defect(
        "SoftmaxWithLoss",
        "one-hot is told by the number of entries",
        "backward wrong",
        None,
        written(TellsOneHotByTheNumberOfEntries),
    ),
    defect("SoftmaxWithLoss", "labels as a column", "hazard", None, written(TakesAColumnForRows)),
    defect(
        "SoftmaxWithLoss",
        "one loss for each class",
        "forward wrong",
        "only_when_labels_repeat",
        written(ForgetsAllButTheLastOfALabel),
    ),
    defect(
        "SoftmaxWithLoss",
        "log to the base 2",
        "forward wrong",
        "constant_factor",
        altering(loss=lambda value, seen: value / np.log(2)),
    ),
    defect(
        "IdentityWithLoss",
        "a mean over all entries",
        "forward wrong",
        "divided_by_classes",
        altering(loss=_mean_of_all, dx=_mean_of_all),
    ),
    defect(
        "IdentityWithLoss",
        "x − t for (x − t)/N",
        "backward wrong",
        "multiplied_by_batch_size",
        altering(dx=lambda value, seen: seen.dout * (seen.x - seen.t)),
    ),
    wrong_dx("IdentityWithLoss", "(x + t)/N", None, lambda seen: seen.dout * (seen.x + seen.t) / (seen.size("N") or 1)),
    wrong_dx("IdentityWithLoss", "(x − t)²/N", None, lambda seen: seen.dout * _squares(seen) / (seen.size("N") or 1)),
    defect(
        "IdentityWithLoss",
        "Σ|x − t|/N with the gradient of the square",
        "forward wrong",
        "loss_is_not_what_backward_differentiates",
        altering(loss=_absolute_error),
    ),
    wrong_dx("SigmoidWithLoss", "the gradient of a squared error", None, _squared_error_of_a_sigmoid),
    wrong_dx("SigmoidWithLoss", "targets are rounded", "only_for_soft_targets", _rounded_targets),
)

# --------------------------------------------------------------------------- networks


class WithoutActivation(scratch.TwoLayerNet):
    """The activation is left out of predict."""

    def predict(self, x: Any) -> Array:
        return np.asarray(self.layers["Affine2"].forward(self.layers["Affine1"].forward(x)))

    def loss(self, x: Any, t: Any) -> Any:
        # Backward asks it what it has seen.
        self.layers["Relu1"].forward(self.layers["Affine1"].forward(x))
        return self.last_layer.forward(self.predict(x), t)


class ReluOnTheOutput(scratch.TwoLayerNet):
    def predict(self, x: Any) -> Array:
        scores = super().predict(x)
        return np.where(scores.real > 0, scores, 0)


class BackwardWithoutRelu(scratch.TwoLayerNet):
    """The way back leaves out the activation."""

    def loss_and_gradient(self, x: Any, t: Any) -> Any:
        loss, gradients = super().loss_and_gradient(x, t)
        first, second = self.layers["Affine1"], self.layers["Affine2"]
        first.backward(second.backward(self.last_layer.backward()))
        return loss, {**gradients, "W1": first.dW, "b1": first.db}  # type: ignore[union-attr]


class BackThroughUpdatedWeights(scratch.TwoLayerNet):
    """W2 is updated before the error is carried back through it."""

    def loss_and_gradient(self, x: Any, t: Any) -> Any:
        loss, gradients = super().loss_and_gradient(x, t)
        kept = self.params["W2"].copy()
        self.params["W2"] -= 0.1 * gradients["W2"]
        dout = self.layers["Relu1"].backward(self.layers["Affine2"].backward(self.last_layer.backward()))
        self.layers["Affine1"].backward(dout)
        self.params["W2"] = kept
        first = self.layers["Affine1"]
        return loss, {**gradients, "W1": first.dW, "b1": first.db}  # type: ignore[union-attr]


class AccuracyInPercent(scratch.TwoLayerNet):
    def accuracy(self, x: Any, t: Any) -> float:
        return 100 * super().accuracy(x, t)


class MovesItsBias(scratch.TwoLayerNet):
    """Like a numerical gradient that does not put back what it has moved."""

    def numerical_gradient(self, x: Any, t: Any, h: float = 1e-4) -> dict[str, Array]:
        gradients = super().numerical_gradient(x, t, h)
        self.params["b1"] += h
        return gradients


class DoublesItsNumericalGradient(scratch.TwoLayerNet):
    """h for 2h."""

    def numerical_gradient(self, x: Any, t: Any, h: float = 1e-4) -> dict[str, Array]:
        return {name: 2 * values for name, values in super().numerical_gradient(x, t, h).items()}


class ReplacesParameters:
    """A plain dictionary in front of a network: assigning to it leaves the layers' arrays as they are."""

    def __init__(self, inputs: int, hidden: int, outputs: int, dtype: Any) -> None:
        self._net = scratch.TwoLayerNet(inputs, hidden, outputs, dtype=dtype)
        self.params = dict(self._net.params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)


def _exchanged(value: Array, seen: Seen) -> Array:
    """Two entries exchanged: random signs alone would miss it half of the time."""
    value.flat[0], value.flat[-1] = value.flat[-1], value.flat[0]
    return value


NETWORKS = (
    defect("TwoLayerNet", "predict leaves out the activation", "both wrong", None, written(WithoutActivation)),
    defect("TwoLayerNet", "an activation on the output", "both wrong", None, written(ReluOnTheOutput)),
    defect("TwoLayerNet", "backward leaves out the activation", "backward wrong", None, written(BackwardWithoutRelu)),
    defect("TwoLayerNet", "back through updated weights", "backward wrong", None, written(BackThroughUpdatedWeights)),
    defect("TwoLayerNet", "accuracy in percent", "forward wrong", "constant_factor", written(AccuracyInPercent)),
    defect("TwoLayerNet", "b1 is left moved", "hazard", "parameter_overwritten", written(MovesItsBias)),
    defect(
        "TwoLayerNet",
        "numerical_gradient is doubled",
        "backward wrong",
        "own_numerical_gradient_wrong",
        written(DoublesItsNumericalGradient),
    ),
    defect(
        "TwoLayerNet",
        "params is another dictionary",
        "hazard",
        "assigned_parameters_unused",
        written(ReplacesParameters),
    ),
    defect(
        "TwoLayerNet",
        'two entries of grads["W1"] exchanged',
        "backward wrong",
        None,
        altering_each({'grads["W1"]': _exchanged}),
    ),
)

PARTICULAR: tuple[Defect, ...] = (*NODES, *ACTIVATIONS, *AFFINE, *LOSSES, *NETWORKS)
