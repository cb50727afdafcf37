"""The causes: for every cause id subjects that are planted with it, and that the judge must name by it.

A planted subject is right but for one mistake. Most are a layer of ``scratch`` with one quantity altered; where the
mistake is not one of a value, they are written out. What the verdict rests on must have the cause, and no other. A
note, and what is said of a reference, is the ground of no verdict: it is looked for among all findings.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import scratch
from oracle.catalog.records import RECORDS
from oracle.judge.causes import CAUSES
from oracle.judge.examination import examine
from oracle.subjects.in_process import InProcessSubject
from oracle.training.planted import LOOP_DEFECTS

# ----------------------------------------------------------------------------- how a subject is planted


@dataclass(frozen=True)
class Planted:
    """A subject with one mistake, in words; ``drawn`` is how its cases are drawn, where that matters.

    ``also`` is what the same mistake is rightly called besides.
    """

    record: str
    mistake: str
    factory: object
    drawn: dict = field(default_factory=dict)
    also: tuple = ()


def planted(record, mistake, factory, also=(), **drawn):
    return Planted(record, mistake, factory, drawn, also)


def altered(record, mistake, drawn=None, **alterations):
    return Planted(record, mistake, layer_with(record, **alterations), drawn or {})


def layer_with(record, **alterations):
    """The layer of ``scratch`` for a record with quantities altered, each by a function (right value, seen) -> value.

    What is seen has the names of the record: its inputs, its output, dout; N rows, and the size of the last axis of x.
    """
    spec = RECORDS[record]
    base = getattr(scratch, spec.class_name)
    inputs = [argument.name for argument in spec.arguments if argument.role != "parameter"]

    class Altered(base):
        def altered(self, quantity, value):
            return alterations[quantity](value, self.seen) if quantity in alterations else value

        def forward(self, *given):
            output = np.asarray(super().forward(*given))
            x = np.asarray(given[0])
            self.seen = SimpleNamespace(N=len(x) if x.ndim > 1 else 1, last=x.shape[-1] if x.ndim else 1)
            vars(self.seen).update(zip(inputs, map(np.copy, given), strict=True))
            vars(self.seen)[spec.outputs[0]] = output.copy()
            return self.altered(spec.outputs[0], output)

        def backward(self, dout=1.0):
            self.seen.dout = np.copy(dout)
            returned = super().backward(dout)
            for quantity in {"dW", "db"} & alterations.keys():
                setattr(self, quantity, self.altered(quantity, getattr(self, quantity)))
            if not isinstance(returned, tuple):
                return self.altered("dx", returned)
            return self.altered("dx", returned[0]), self.altered("dy", returned[1])

    return Altered


def altered_network(record, mistake, **alterations):
    """A network with a gradient altered: that the certificate fails is said besides."""
    return Planted(record, mistake, network_with(record, **alterations), ORDINARY, ("certificate_fails",))


def network_with(record, **alterations):
    """The network of a record with gradients altered, each by a function (right gradient, x) -> gradient."""

    class Altered(getattr(scratch, RECORDS[record].class_name)):
        def gradient(self, x, t):
            gradients = super().gradient(x, t)
            return {name: alterations.get(name, lambda own, x: own)(own, x) for name, own in gradients.items()}

    return partial(RECORDS[record].construct, Altered)


def variant(record, mistake, forward, backward):
    """A layer of a record that ``scratch`` has none of: a function, and (dout, y) -> dx."""

    class Layer:
        def forward(self, x):
            self.y = np.asarray(forward(np.asarray(x, float)))
            return self.y.copy()

        def backward(self, dout):
            return backward(dout, self.y)

    return Planted(record, mistake, Layer, {**MODERATE, **ORDINARY})


def rows(x):
    return len(x) if x.ndim > 1 else 1


#: Inputs of moderate size, where y · (1 − y) keeps its digits.
MODERATE = {"scale": 0.25}
#: No corners, where they would only take time or have a mistake of their own.
ORDINARY = {"corners": ["ordinary"]}
REGRESSION = "MultiLayerNet relu, regression"

# ----------------------------------------------------------------------------- layers with nothing wrong


class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x.copy()
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = np.atleast_2d(self.x).T @ np.atleast_2d(dout)
        self.db = np.atleast_2d(dout).sum(axis=0)
        return dout @ self.W.T


class Sigmoid:
    """Without the cancellation in 1 − y: 1 − y is the sigmoid of −x."""

    def forward(self, x):
        self.x = np.array(x)
        return self.sigmoid(x)

    def backward(self, dout):
        return dout * self.sigmoid(self.x) * self.sigmoid(-self.x)

    def sigmoid(self, x):
        e = np.exp(np.where(x.real > 0, -x, x))
        return np.where(x.real > 0, 1, e) / (1 + e)


class SoftmaxLoss:
    """The textbook's, with y − t: for inputs of moderate size. ``axis`` and ``small`` are what can be spoilt."""

    axis, small = -1, 0.0

    def forward(self, x, t):
        e = np.exp(x - x.max(axis=self.axis, keepdims=True))
        self.y, self.t, self.N = e / e.sum(axis=self.axis, keepdims=True), self.one_hot(t, x), rows(x)
        return -np.sum(self.t * np.log(self.y + self.small)) / self.N

    def one_hot(self, t, x):
        if t.ndim == x.ndim and t.shape != x.shape:
            raise ValueError("labels are one number for each row")
        return t if t.shape == x.shape else (np.arange(x.shape[-1]) == t[..., None]) * 1.0

    def backward(self, dout=1):
        return dout * (self.y * self.t.sum(axis=-1, keepdims=True) - self.t) / self.N


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


# ----------------------------------------------------------------------------- it does not run


class ForgetsToKeepTheOutput(Sigmoid):
    def backward(self, dout):
        return dout * self.y * (1 - self.y)


class TakesNoLabels(SoftmaxLoss):
    def one_hot(self, t, x):
        if t.shape != x.shape:
            raise ValueError("targets are one-hot")
        return t


class AddsAnUndefinedName(Affine):
    def forward(self, x):
        return x @ self.W + bias  # noqa: F821


class NeedsAnImport(scratch.ExpLayer):
    def forward(self, x):
        OrderedDict()  # noqa: F821
        return super().forward(x)


RUNNING = {
    "raises": [
        planted("Affine", "the constructor takes no bias", lambda W: Affine(W, 0)),
        planted("TwoLayerNet", "a gradient is a word", network_with("TwoLayerNet", W1=lambda W1, x: "W1"), **ORDINARY),
    ],
    "attribute_never_set": [planted("Sigmoid", "forward does not keep y", ForgetsToKeepTheOutput)],
    "undefined_name": [planted("Affine", "b for self.b", AddsAnUndefinedName)],
    "missing_import": [planted("ExpLayer", "no import of OrderedDict", NeedsAnImport)],
    "returns_none": [
        planted("softmax", "returns nothing", lambda x: None),
        planted("Relu", "backward returns nothing", layer_with("Relu", dx=lambda dx, s: None)),
    ],
}

# ----------------------------------------------------------------------------- factors

FACTORS = {
    "wrong_sign": [
        altered("SigmoidWithLoss", "t − y for y − t", dx=lambda dx, s: -dx),
        altered("ReciprocalLayer", "1/x² for −1/x²", dx=lambda dx, s: -dx),
        altered("Affine", "db = −Σ dout", db=lambda db, s: -db),
        altered("IdentityWithLoss", "the loss is negative", loss=lambda loss, s: -loss),
        altered("MulLayer", "dy only", dy=lambda dy, s: -dy),
        altered_network("TwoLayerNet", "of one weight", W2=lambda W2, x: -W2),
    ],
    "multiplied_by_batch_size": [
        altered("IdentityWithLoss", "dx without 1/N", dx=lambda dx, s: dx * s.N),
        altered("SoftmaxWithLoss", "sums throughout", loss=lambda loss, s: loss * s.N, dx=lambda dx, s: dx * s.N),
        altered_network("TwoLayerNet", "b2 = Σ", b2=lambda b2, x: b2 * rows(x)),
    ],
    "divided_by_batch_size": [
        altered("Affine", "dW and db are means", dW=lambda dW, s: dW / s.N, db=lambda db, s: db / s.N),
        altered("SigmoidWithLoss", "dx by N twice", dx=lambda dx, s: dx / s.N),
    ],
    "multiplied_by_batch_size_squared": [
        altered("IdentityWithLoss", "times N for 1/N", dx=lambda dx, s: dx * s.N**2),
        altered("SoftmaxWithLoss", "times N for 1/N", dx=lambda dx, s: dx * s.N**2),
    ],
    "divided_by_batch_size_squared": [
        altered("Affine", "dW by N²", dW=lambda dW, s: dW / s.N**2),
        altered("IdentityWithLoss", "dx by N³", dx=lambda dx, s: dx / s.N**2),
    ],
    "multiplied_by_classes": [
        altered("SoftmaxWithLoss", "dx times C", dx=lambda dx, s: dx * s.last),
        altered("IdentityWithLoss", "the loss times C", loss=lambda loss, s: loss * s.last),
    ],
    "divided_by_classes": [
        altered("IdentityWithLoss", "np.mean of the squares", loss=lambda loss, s: loss / s.last),
        altered("SigmoidWithLoss", "means", loss=lambda loss, s: loss / s.last, dx=lambda dx, s: dx / s.last),
    ],
    "multiplied_by_features": [
        altered("Affine", "dW times D", dW=lambda dW, s: dW * len(dW)),
        altered("Sigmoid", "dx times its last axis", dx=lambda dx, s: dx * s.last),
    ],
    "divided_by_features": [
        altered("Affine", "dx is a mean", dx=lambda dx, s: dx / s.last, drawn={"corners": ["ordinary"]}),
        altered("Relu", "dx by its last axis", dx=lambda dx, s: dx / s.last),
    ],
    "doubled": [
        altered("IdentityWithLoss", "dx = 2 (x − t)/N", dx=lambda dx, s: 2 * dx),
        altered("IdentityWithLoss", "no ½", loss=lambda loss, s: 2 * loss, dx=lambda dx, s: 2 * dx),
        altered("Affine", "db = 2 Σ dout", db=lambda db, s: 2 * db),
    ],
    "halved": [
        altered("ExpLayer", "½ y dout", dx=lambda dx, s: dx / 2),
        altered("Affine", "dW is half", dW=lambda dW, s: dW / 2),
        altered_network(REGRESSION, "b1 is half", b1=lambda b1, x: b1 / 2),
    ],
    "constant_factor": [
        altered("Sigmoid", "3 y (1 − y)", dx=lambda dx, s: 3 * dx),
        altered("SoftmaxWithLoss", "log to the base 2", loss=lambda loss, s: loss / np.log(2)),
        altered("AddLayer", "dy is a tenth too small", dy=lambda dy, s: 0.9 * dy),
    ],
}

# ----------------------------------------------------------------------------- shape and sums

SHAPES = {
    "transposed": [
        altered("Affine", "dW = doutᵀ x", dW=lambda dW, s: dW.T),
        altered("Affine", "dx = W doutᵀ", dx=lambda dx, s: dx.T),
        planted("TwoLayerNet", "W1", network_with("TwoLayerNet", W1=lambda W1, x: W1.T), **ORDINARY),
    ],
    "not_summed_over_the_batch": [
        altered("Affine", "db = dout", db=lambda db, s: s.dout),
    ],
    "summed_over_the_wrong_axis": [
        altered("Affine", "db over axis 1", db=lambda db, s: s.dout.sum(axis=1)),
        altered("Affine", "db over axis −1, keepdims", db=lambda db, s: s.dout.sum(axis=-1, keepdims=True)),
    ],
    "extra_axis": [
        altered("Affine", "db with keepdims", db=lambda db, s: db[None]),
        altered("Sigmoid", "dx[..., None]", dx=lambda dx, s: dx[..., None]),
        altered("IdentityWithLoss", "the loss is an array of one", loss=lambda loss, s: loss[None]),
    ],
    "wrong_shape": [
        altered("Affine", "dW is flat", dW=lambda dW, s: dW.ravel()),
        altered("SigmoidWithLoss", "dx is summed", dx=lambda dx, s: dx.sum(axis=0)),
        altered("Relu", "y without its last entries", y=lambda y, s: np.atleast_1d(y)[..., :-1]),
    ],
}

# ----------------------------------------------------------------------------- the upstream gradient

UPSTREAM = {
    "upstream_gradient_ignored": [
        altered("Sigmoid", "y (1 − y)", dx=lambda dx, s: s.y * (1 - s.y), drawn=MODERATE),
        altered("Relu", "1 where x > 0", dx=lambda dx, s: 1.0 * (s.x > 0)),
        altered("Affine", "db = N", db=lambda db, s: np.full_like(db, s.N), drawn={"corners": ["ordinary"]}),
    ],
    "upstream_gradient_squared": [
        altered("Sigmoid", "dout twice", dx=lambda dx, s: dx * s.dout),
        altered("ReciprocalLayer", "dout twice", dx=lambda dx, s: dx * s.dout),
        altered("IdentityWithLoss", "dout twice", dx=lambda dx, s: dx * s.dout),
    ],
    "passes_upstream_gradient_on": [
        altered("Sigmoid", "dx = dout", dx=lambda dx, s: s.dout),
        altered("ExpLayer", "dx = dout", dx=lambda dx, s: s.dout),
        altered("Relu", "dx = dout", dx=lambda dx, s: s.dout),
    ],
    "mask_from_upstream_gradient": [
        altered("Relu", "dout where dout > 0", dx=lambda dx, s: np.maximum(s.dout, 0)),
    ],
    "gradient_is_zero": [
        altered("Affine", "db is never computed", db=lambda db, s: 0 * db),
        altered("IdentityWithLoss", "(t − t)/N", dx=lambda dx, s: 0 * dx),
        altered("MulLayer", "dy is 0", dy=lambda dy, s: 0 * dy),
        altered_network(REGRESSION, "b2 is 0", b2=lambda b2, x: 0 * b2),
    ],
}

# ----------------------------------------------------------------------------- terms

b = 0.5  # left over from an earlier cell of the notebook


class AddsTheGlobalB(Affine):
    def forward(self, x):
        super().forward(x)
        return x @ self.W + b


class AddsNoB(Affine):
    def forward(self, x):
        super().forward(x)
        return x @ self.W


class UsesNoW(Affine):
    def forward(self, x):
        return 0 * super().forward(x) + self.b


class SigmoidOfMinusX(Sigmoid):
    def forward(self, x):
        return super().forward(-x)

    def backward(self, dout):
        return -super().backward(dout)


class OverTheWholeBatch(SoftmaxLoss):
    axis = None


class OverTheRows(SoftmaxLoss):
    axis = 0


class AddsASmallNumber(SoftmaxLoss):
    small = 1e-7


def absolute_error(loss, s):
    return np.sum(np.abs(s.x - s.t)) / s.N


TERMS = {
    "term_1_minus_y_missing": [altered("Sigmoid", "dout y", dx=lambda dx, s: s.dout * s.y)],
    "term_y_missing": [altered("Sigmoid", "dout (1 − y)", dx=lambda dx, s: s.dout * (1 - s.y))],
    "square_missing": [variant("tanh", "dout (1 − y)", np.tanh, lambda dout, y: dout * (1 - y))],
    "diagonal_only": [variant("softmax layer", "dout y (1 − y)", softmax, lambda dout, y: dout * y * (1 - y))],
    "input_for_output": [altered("Sigmoid", "dout x (1 − x)", dx=lambda dx, s: s.dout * s.x * (1 - s.x))],
    "parameter_unused": [
        planted("Affine", "a global b", AddsTheGlobalB),
        planted("Affine", "no b", AddsNoB),
        planted("Affine", "no W", UsesNoW),
    ],
    "wrong_sign_in_exponent": [
        planted("Sigmoid", "exp(x) for exp(−x)", SigmoidOfMinusX),
        altered("ExpLayer", "exp(−x)", y=lambda y, s: np.exp(-s.x), dx=lambda dx, s: -s.dout * np.exp(-s.x)),
        planted("softmax", "exp(−x)", lambda x: scratch.softmax(-x)),
    ],
    "normalised_over_the_whole_batch": [
        planted("softmax", "one sum", partial(softmax, axis=None), **MODERATE),
        planted("SoftmaxWithLoss", "one sum", OverTheWholeBatch, **MODERATE),
    ],
    "normalised_over_the_wrong_axis": [
        planted("softmax", "axis 0", partial(softmax, axis=0), **MODERATE),
        planted("SoftmaxWithLoss", "axis 0", OverTheRows, **MODERATE),
        altered(
            "SoftmaxWithLoss",
            "axis 0 in backward",
            dx=lambda dx, s: s.dout * (softmax(s.x, axis=0) - s.t) / s.N,
            drawn=MODERATE | {"targets": "one-hot"},
        ),
    ],
    "loss_is_not_what_backward_differentiates": [
        planted("SoftmaxWithLoss", "log(y + 1e-7)", AddsASmallNumber, **MODERATE),
        altered("IdentityWithLoss", "Σ|x − t|/N with the gradient of the square", loss=absolute_error),
    ],
}

# ----------------------------------------------------------------------------- only sometimes


class CountsLabelsFromOne(SoftmaxLoss):
    def one_hot(self, t, x):
        return super().one_hot(t if t.ndim == x.ndim else (t - 1) % x.shape[-1], x)


def counts_labels_from_one(y, t):
    return scratch.cross_entropy_error(y, t if t.ndim == y.ndim else (t - 1) % y.shape[-1])


class CountsOneHotFromTheEnd(SoftmaxLoss):
    def one_hot(self, t, x):
        is_one_hot = t.shape == x.shape and np.isin(t, (0, 1)).all()
        return super().one_hot(t[..., ::-1] if is_one_hot else t, x)


class TakesTheLargestTarget(SoftmaxLoss):
    def one_hot(self, t, x):
        return super().one_hot(t.argmax(axis=-1) if t.shape == x.shape else t, x)


class TakesTargetsToSumToOne(SoftmaxLoss):
    def backward(self, dout=1):
        return dout * (self.y - self.t) / self.N


def softmax_of_a_squeezed_row(x):
    """A batch of one is taken for a column."""
    return scratch.softmax(x.T if x.ndim == 2 and len(x) == 1 else x).reshape(x.shape)


class SqueezesItsInput(scratch.IdentityWithLoss):
    """So that the length of a single row is taken for N."""

    def forward(self, x, t):
        self.difference, self.N = x - t, len(np.squeeze(x)) if x.size > 1 else 1
        return 0.5 * np.sum(self.difference**2) / self.N if x.ndim == 2 else super().forward(x, t)

    def backward(self, dout=1):
        return dout * self.difference / (self.N if self.difference.ndim == 2 else 1)


class TakesTheLengthForN(scratch.IdentityWithLoss):
    def forward(self, x, t):
        self.difference, self.N = x - t, len(x)
        return 0.5 * np.sum(self.difference**2) / self.N

    def backward(self, dout=1):
        return dout * self.difference / self.N


class ReadsTheMemoryOfX(Sigmoid):
    def forward(self, x):
        return super().forward(x.ravel(order="K").reshape(x.shape))


class ReadsTheMemoryOfDout(Affine):
    def backward(self, dout):
        return super().backward(dout.ravel(order="K").reshape(dout.shape))


class SumsTheLossByClass(SoftmaxLoss):
    """Takes labels only."""

    def forward(self, x, t):
        super().forward(x, t)
        of_class = np.zeros(x.shape[-1], self.y.dtype)
        of_class[t] = -np.log(np.take_along_axis(self.y, t[..., None], axis=-1))[..., 0]
        return of_class.sum() / self.N


def in_the_dtype_of_x(value, s):
    return value.astype(s.x.dtype)


def without(index):
    """A loop that never reaches some entries: they are 0."""

    def with_zeros(value, s):
        value = np.array(value)
        value[index] = 0
        return value

    return with_zeros


def but_for_the_last_entry(value, s):
    return without((-1,) * value.ndim)(value, s)


SOMETIMES = {
    "only_for_labels": [
        planted("SoftmaxWithLoss", "labels from 1", CountsLabelsFromOne, **MODERATE),
        planted("cross_entropy_error", "labels from 1", counts_labels_from_one),
    ],
    "only_for_one_hot": [
        planted("SoftmaxWithLoss", "columns from the end", CountsOneHotFromTheEnd, **MODERATE),
    ],
    "only_for_soft_targets": [
        planted("SoftmaxWithLoss", "y − t for y Σt − t", TakesTargetsToSumToOne, **MODERATE),
        planted("SoftmaxWithLoss", "argmax", TakesTheLargestTarget, **MODERATE),
        altered(
            "SigmoidWithLoss",
            "t is rounded",
            dx=lambda dx, s: s.dout * (1 / (1 + np.exp(-s.x)) - np.round(s.t)) / s.N,
            drawn=MODERATE,
        ),
    ],
    "only_for_a_batch_of_one": [
        planted("softmax", "a row is squeezed", softmax_of_a_squeezed_row, **MODERATE),
        planted("IdentityWithLoss", "a row is squeezed, and its length is N", SqueezesItsInput),
    ],
    "only_for_a_single_sample": [
        planted("IdentityWithLoss", "its length is N", TakesTheLengthForN),
        altered("Affine", "dW is halved", dW=lambda dW, s: dW / 2 if s.x.ndim == 1 else dW),
    ],
    "only_for_other_layouts": [
        planted("Sigmoid", "the memory of x", ReadsTheMemoryOfX, scale=1.0, count=12),
        planted("Affine", "the memory of dout", ReadsTheMemoryOfDout),
    ],
    "only_when_labels_repeat": [
        planted("SoftmaxWithLoss", "a loss for each class", SumsTheLossByClass, targets="labels", count=12, scale=0.25),
    ],
    "only_for_integers": [
        altered("ExpLayer", "y in the dtype of x", y=in_the_dtype_of_x),
        altered("SigmoidWithLoss", "dx in the dtype of x", dx=in_the_dtype_of_x),
    ],
    "only_beyond_30": [
        altered(
            "ExpLayer",
            "exp(min(x, 30))",
            y=lambda y, s: np.exp(np.where(s.x.real > 30, 30, s.x)),
            drawn={"scale": 30.0},
        ),
        altered("IdentityWithLoss", "x is clipped", dx=lambda dx, s: s.dout * (np.clip(s.x, -30, 30) - s.t) / s.N),
        altered("MulLayer", "x is clipped for dx", dx=lambda dx, s: np.where(np.abs(s.x) > 30, 1, dx)),
    ],
    "only_at_zero": [
        altered("ExpLayer", "exp(0) = 0", y=lambda y, s: np.where(s.x == 0, 0, y)),
        altered("Sigmoid", "0 at 0", dx=lambda dx, s: np.where(s.x == 0, 0, dx)),
    ],
    "single_entry": [
        altered("Affine", "the last of db", db=but_for_the_last_entry),
        altered("Affine", "the last of dW", dW=but_for_the_last_entry),
        planted("softmax", "the last of y", lambda x: but_for_the_last_entry(scratch.softmax(x), None), **ORDINARY),
        altered("Sigmoid", "the last of dx", dx=but_for_the_last_entry, drawn=ORDINARY | {"count": 8}),
    ],
    "single_row": [
        altered("Affine", "the last of dx", dx=without(-1)),
        altered("SoftmaxWithLoss", "the first of dx", dx=without(0)),
        planted("softmax", "the last of y", lambda x: without(-1)(scratch.softmax(x), None)),
        altered_network("TwoLayerNet", "the first of W1", W1=without(0)),
    ],
}

# ----------------------------------------------------------------------------- digits


def rounded_to(dtype):
    """Values that are real: a forward in fewer digits is not differentiated by them."""
    return lambda value, s: value if value.dtype.kind == "c" else value.astype(dtype).astype(value.dtype)


class OverflowingSigmoid(Sigmoid):
    def forward(self, x):
        super().forward(x)
        return 1 / (1 + np.exp(-x))


DIGITS = {
    "single_precision_inside": [
        altered("Sigmoid", "dx", dx=rounded_to(np.float32)),
        altered("Affine", "y", y=rounded_to(np.float32)),
        altered("SoftmaxWithLoss", "dx", dx=rounded_to(np.float32)),
        planted("softmax", "y", lambda x: rounded_to(np.float32)(scratch.softmax(x), None)),
    ],
    "half_precision_inside": [
        altered("Affine", "dW", dW=rounded_to(np.float16)),
        altered("Affine", "dW of float32", dW=rounded_to(np.float16), drawn={"dtype": "float32"}),
        altered("Sigmoid", "dx", dx=rounded_to(np.float16), drawn=MODERATE),
    ],
    "difference_of_nearly_equal_numbers": [
        altered("Sigmoid", "y (1 − y)", dx=lambda dx, s: s.dout * s.y * (1 - s.y), drawn={"scale": 50.0}),
        planted("SoftmaxWithLoss", "y − t", SoftmaxLoss, scale=10.0, targets="one-hot", **ORDINARY),
    ],
    "overflows": [
        planted("Sigmoid", "exp(−x)", OverflowingSigmoid),
        planted("softmax", "exp(x)", lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)),
    ],
    "added_inside_logarithm": [
        planted("cross_entropy_error", "log(y + 1e-7)", lambda y, t: scratch.cross_entropy_error(y + 1e-7, t)),
    ],
    "logarithm_of_zero": [planted("SoftmaxWithLoss", "log(0)", SoftmaxLoss, targets="one-hot", **MODERATE)],
    "integers_inside": [
        altered("Affine", "dW = np.zeros(W.shape, int)", dW=lambda dW, s: np.trunc(dW), drawn=ORDINARY),
        altered("IdentityWithLoss", "np.floor(dx)", dx=lambda dx, s: np.floor(dx), drawn={**ORDINARY, "scale": 100.0}),
    ],
}

# ----------------------------------------------------------------------------- properties


class TakesAColumnForRows(scratch.SoftmaxWithLoss):
    """Like y[np.arange(N), t], which takes the entries of every label from every row."""

    def forward(self, x, t):
        if t.ndim == x.ndim and t.shape != x.shape:
            return sum(super(TakesAColumnForRows, self).forward(x, np.full(len(x), label)) for label in t[:, 0])
        return super().forward(x, t)


PROPERTIES = {
    "lacks_a_property": [
        planted("SoftmaxWithLoss", "labels as a column", TakesAColumnForRows, targets="labels"),
        altered("Sigmoid", "1 for dout = 0", dx=lambda dx, s: dx if np.any(s.dout) else dx + 1),
    ],
    "certificate_fails": [
        # Nothing explains the entries of W1.
        altered_network("TwoLayerNet", "a term too many", W1=lambda W1, x: W1 + 0.1),
    ],
}

# ----------------------------------------------------------------------------- hazards


class ReluIntoDout(scratch.Relu):
    def backward(self, dout):
        dout[self.mask] = 0
        return dout.copy()


class SigmoidIntoDout(Sigmoid):
    def backward(self, dout):
        dx = super().backward(dout)
        dout[...] = dx
        return dx


class ReluIntoX(scratch.Relu):
    def forward(self, x):
        y = super().forward(x)
        x[self.mask] = 0
        return y


class ExpIntoX(scratch.ExpLayer):
    def forward(self, x):
        y = super().forward(x)
        x *= 2
        return y


class UpdatesItsBias(Affine):
    def backward(self, dout):
        dx = super().backward(dout)
        self.b -= 0.1 * self.db
        return dx


class MovesItsBias(scratch.TwoLayerNet):
    """Like a numerical gradient that does not put back what it has moved."""

    def numerical_gradient(self, x, t):
        gradients = super().numerical_gradient(x, t)
        self.params["b1"] += 1e-4
        return gradients


class AddsUpDb(scratch.Affine):
    def forward(self, x):
        self.total = 0
        return super().forward(x)

    def backward(self, dout):
        dx = super().backward(dout)
        self.total = self.db = self.total + self.db
        return dx


class AddsUpDbForEver(AddsUpDb):
    total = 0

    def forward(self, x):
        return scratch.Affine.forward(self, x)


class AddsUpDx(Sigmoid):
    def forward(self, x):
        self.dx = 0
        return super().forward(x)

    def backward(self, dout):
        self.dx = self.dx + super().backward(dout)
        return self.dx.copy()


class KeepsItsFirstMask(scratch.Relu):
    mask = np.empty(0)

    def forward(self, x):
        first, y = self.mask, super().forward(x)
        self.mask = first if first.shape == y.shape and y.size else self.mask
        return y


class KeepsItsFirstX(Affine):
    x = np.empty(0)

    def forward(self, x):
        first, y = self.x, super().forward(x)
        self.x = first if first.shape == x.shape else self.x
        return y


class KeepsXInTheClass(Sigmoid):
    def forward(self, x):
        type(self).x = np.array(x)
        return self.sigmoid(x)


class KeepsAffineXInTheClass(Affine):
    def forward(self, x):
        type(self).x = x.copy()
        return x @ self.W + self.b


class FillsOneDx(Sigmoid):
    buffer = np.empty(0)

    def backward(self, dout):
        dx = super().backward(dout)
        if self.buffer.shape != dx.shape:
            self.buffer = np.empty_like(dx)
        self.buffer[...] = dx
        return self.buffer


class FillsOneDW(Affine):
    def backward(self, dout):
        before = getattr(self, "dW", None)
        dx = super().backward(dout)
        if before is not None:
            before[...] = self.dW
            self.dW = before
        return dx


class TakesDoutForOne(SoftmaxLoss):
    def backward(self, dout=1):
        return super().backward()


class ReplacesParameters:
    """A dictionary in front of a network: assigning to it leaves the network's arrays as they are."""

    def __init__(self, sizes, dtype):
        self.net = scratch.TwoLayerNet(*sizes, dtype=dtype)
        self.params = dict(self.net.params)

    def __getattr__(self, name):
        return getattr(self.net, name)


class DoublesItsNumericalGradient(scratch.TwoLayerNet):
    def numerical_gradient(self, x, t):
        return {name: 2 * values for name, values in super().numerical_gradient(x, t).items()}


HAZARDS = {
    "dout_overwritten": [
        planted("Relu", "dout[mask] = 0", ReluIntoDout),
        planted("Sigmoid", "dout *= y (1 − y)", SigmoidIntoDout),
    ],
    "input_overwritten": [
        planted("Relu", "x[mask] = 0", ReluIntoX),
        planted("ExpLayer", "x *= 2", ExpIntoX, corners=["ordinary", "scalars"]),
    ],
    "parameter_overwritten": [
        planted("Affine", "b −= 0.1 db", UpdatesItsBias),
        planted("TwoLayerNet", "b1 is left moved", partial(RECORDS["TwoLayerNet"].construct, MovesItsBias), **ORDINARY),
    ],
    "accumulates_over_calls": [
        planted("Affine", "db until the next forward", AddsUpDb),
        # What a backward has added stays for the next forward's: two hazards.
        planted("Affine", "db for ever", AddsUpDbForEver, ("stale_cache",)),
        planted("Sigmoid", "dx until the next forward", AddsUpDx),
    ],
    "stale_cache": [
        planted("Relu", "its first mask", KeepsItsFirstMask),
        planted("Affine", "its first x", KeepsItsFirstX),
    ],
    "state_shared_between_instances": [
        planted("Sigmoid", "x of the class", KeepsXInTheClass),
        planted("Affine", "x of the class", KeepsAffineXInTheClass),
    ],
    "earlier_result_overwritten": [
        planted("Sigmoid", "one dx", FillsOneDx),
        planted("Affine", "one dW", FillsOneDW),
    ],
    "loss_ignores_dout": [
        altered("IdentityWithLoss", "(x − t)/N", dx=lambda dx, s: (s.x - s.t) / s.N),
        planted("SoftmaxWithLoss", "y Σt − t", TakesDoutForOne, **MODERATE, **ORDINARY),
    ],
    "assigned_parameters_unused": [planted("TwoLayerNet", "a dictionary of its own", ReplacesParameters, **ORDINARY)],
    "own_numerical_gradient_wrong": [
        planted(
            "TwoLayerNet",
            "2 h for h",
            partial(RECORDS["TwoLayerNet"].construct, DoublesItsNumericalGradient),
            **ORDINARY,
        ),
    ],
}

# ----------------------------------------------------------------------------- notes


class GivesOutItsCache(Sigmoid):
    def forward(self, x):
        self.y = super().forward(x)
        return self.y

    def backward(self, dout):
        return dout * self.y * (1 - self.y)


class GivesDoutBack(scratch.AddLayer):
    def backward(self, dout):
        dx, dy = super().backward(dout)
        return tuple(dout if dout.shape == own.shape else own for own in (dx, dy))


class AnswersBeforeForward(Sigmoid):
    x = np.zeros(())


NOTES = {
    "refuses_corner": [
        planted("Affine", "no tensors", Affine),
        planted("SoftmaxWithLoss", "no labels", TakesNoLabels, **MODERATE, **ORDINARY),
    ],
    "result_shares_memory": [
        planted("Sigmoid", "y is its cache", GivesOutItsCache, **MODERATE),
        planted("AddLayer", "dx is dout", GivesDoutBack),
    ],
    "backward_before_forward_answers": [planted("Sigmoid", "x is 0 at first", AnswersBeforeForward)],
    "dtype_promoted": [
        altered("Sigmoid", "dx is float64", dx=lambda dx, s: dx.astype(np.float64), drawn={"dtype": "float32"}),
        altered("Affine", "y is float64", y=lambda y, s: y + np.zeros(1), drawn={"dtype": "float32"}),
    ],
    "kink_convention": [
        altered("Relu", "1 at 0", dx=lambda dx, s: np.where(s.x == 0, s.dout, dx)),
        altered("Relu", "½ at 0", dx=lambda dx, s: np.where(s.x == 0, s.dout / 2, dx)),
    ],
}

# ----------------------------------------------------------------------------- what is said of a reference


class AnswersFromATable(scratch.ExpLayer):
    """What is near the last x gets the last y: no difference sees how the function changes."""

    x = np.empty(0)

    def forward(self, x):
        if self.x.shape != x.shape or not x.size or not np.allclose(x, self.x, rtol=0, atol=0.1):
            self.x, self.y = x.copy(), super().forward(x)
        return self.y.copy()


def sigmoid_without_a_slope(x):
    """A twin that is off: the right values, and a gradient of 0."""
    return x.detach().sigmoid() + 0 * x


REFERENCES = {
    "reference_differs": [
        altered("AddLayer", "x − y", out=lambda out, s: s.x - s.y, dy=lambda dy, s: -dy),
        altered("Sigmoid", "tanh", y=lambda y, s: np.tanh(s.x)),
    ],
    "numerical_is_off": [planted("ExpLayer", "answers from a table", AnswersFromATable)],
}

# ----------------------------------------------------------------------------- the judge names them

DECISIVE = RUNNING | FACTORS | SHAPES | UPSTREAM | TERMS | SOMETIMES | DIGITS | PROPERTIES | HAZARDS

#: Causes that no subject in this process can be planted with, and where they are planted.
#: Planted in a loop, and held to step by step: tests/training/test_planted_faults.py.
IN_A_TRAINING_LOOP = {defect.cause_id for defect in LOOP_DEFECTS} - {None}

ELSEWHERE = {
    "misspelt_method": "seen by reading a file, before anything is called: tests/subjects/test_check_files.py",
    "autograd_is_off": "PyTorch is off, or a twin: test_twin_that_is_off_is_named",
}


def parameters(table):
    return [
        pytest.param(cause_id, subject, id=f"{cause_id} - {subject.record}: {subject.mistake}")
        for cause_id, subjects in table.items()
        for subject in subjects
    ]


def causes(findings):
    return {finding.cause_id for finding in findings} - {None}


@pytest.fixture
def examined(examine_planted, needs_the_twin):
    """examined(planted subject) -> its examination."""
    return lambda subject: examine_planted(subject.record, subject.factory, **subject.drawn)


@pytest.mark.parametrize(("cause_id", "subject"), parameters(DECISIVE))
def test_verdict_rests_on_the_planted_cause(cause_id, subject, examined):
    found = examined(subject)
    assert found.verdict != "right"
    assert causes(found.decisive) == {cause_id, *subject.also}, [(f.check, f.sentence) for f in found.decisive]


@pytest.mark.parametrize(("cause_id", "subject"), parameters(NOTES))
def test_planted_note_is_found_and_nothing_else(cause_id, subject, examined):
    found = examined(subject)
    assert found.verdict == "right"
    assert cause_id in causes(found.findings)


@pytest.mark.parametrize(("cause_id", "subject"), parameters(REFERENCES))
def test_references_that_disagree_are_named(cause_id, subject, examined):
    assert cause_id in causes(examined(subject).findings)


def test_twin_that_is_off_is_named(draw_cases, needs_the_twin):
    record = replace(RECORDS["Sigmoid"], twin=f"{__name__}:sigmoid_without_a_slope")
    found = examine(InProcessSubject(record, scratch.Sigmoid), draw_cases("Sigmoid", scale=1.0), dtype="float64")
    assert "autograd_is_off" in causes(found.findings)
    assert found.verdict == "right"


@pytest.mark.parametrize(
    ("record", "factory"),
    [
        ("Affine", Affine),
        ("Sigmoid", Sigmoid),
        ("SoftmaxWithLoss", SoftmaxLoss),
        ("softmax", softmax),
        *((record, layer_with(record)) for record in ("Affine", "MulLayer", "SigmoidWithLoss")),
        ("TwoLayerNet", network_with("TwoLayerNet")),
    ],
)
def test_what_the_mistakes_are_planted_in_is_right(record, factory, examined):
    assert examined(planted(record, "none", factory, **MODERATE, **ORDINARY)).verdict == "right"


def test_every_cause_is_planted_here_or_elsewhere_for_a_reason():
    tables = [*DECISIVE, *NOTES, *REFERENCES, *ELSEWHERE]
    assert len(tables) == len(set(tables))
    assert {*tables, *IN_A_TRAINING_LOOP} == set(CAUSES)
    assert all(DECISIVE.values())


def test_zero_in_a_target_is_not_zero_in_x(examined):
    only_at_targets = altered(
        "SoftmaxWithLoss",
        "0 where t is 0",
        dx=lambda dx, s: np.where(s.t == 0, 0, dx),
        drawn=MODERATE | {"targets": "one-hot"},
    )
    found = examined(only_at_targets)
    assert found.verdict == "backward wrong"
    assert "only_at_zero" not in causes(found.findings)


def test_what_the_values_look_like_stands_beside_when_they_do(examined):
    found = examined(planted("IdentityWithLoss", "a row is squeezed", SqueezesItsInput))
    assert found.decisive[0].sentence.startswith("Only for a batch of one row (it is 1/C of what it should be, C the")
