"""Planted defects of the training loop: loops that are wrong on purpose, and what the parity must say of each.

Most are the right loop with one method changed. They stand here and not in `oracle.subjects.defects`, since a loop is
held against its twin step for step, which is this floor's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from oracle.catalog.record import LayerSpec, resolve
from oracle.data.digits import one_hot
from oracle.subjects.interface import Reply
from oracle.training.parity import BATCH, FORWARD, GRADIENT, UPDATE, Divergence, StepSeen, TrainingSubject
from oracle.training.printed_order import PrintedOrder
from scratch import Batches, MultiLayerNet

Array = np.ndarray
Arrays = dict[str, Array]
LossAndGradients = tuple[Any, Arrays]


@dataclass(frozen=True)
class Start:
    """Where a loop begins: its network, which it changes, the samples, the learning rate and the size of a batch."""

    net: MultiLayerNet
    x: Array
    t: Array
    learning_rate: float
    batch_size: int


class Loop:
    """A right training loop. Each defect below is this loop with one thing changed."""

    def __init__(self, start: Start) -> None:
        self.net = start.net
        self.x, self.t = start.x, start.t
        self.learning_rate = start.learning_rate
        # Batches that do not overlap in an epoch: a gradient of other samples is another gradient.
        self.batches = Batches(len(self.x), start.batch_size, np.random.default_rng(8), "shuffled")
        self.steps_done = 0

    def parameters(self) -> Arrays:
        return {name: values.copy() for name, values in self.net.params.items()}

    def step(self) -> StepSeen:
        indices = self.batches.draw()
        x, t = self.samples_of(indices)
        loss, gradients = self.loss_and_gradients(x, t)
        self.update(gradients)
        self.steps_done += 1
        return StepSeen(indices, x, t, float(loss), gradients)

    def samples_of(self, indices: Array) -> tuple[Array, Array]:
        return self.x[indices], self.t[indices]

    def loss_and_gradients(self, x: Array, t: Array) -> LossAndGradients:
        return self.net.loss_and_gradient(x, t)

    def update(self, gradients: Arrays) -> None:
        for name, gradient in gradients.items():
            self.net.params[name] -= self.learning_rate * gradient


# --------------------------------------------------------------------------- the batch


class TargetsShuffledAgainstTheInputs(Loop):
    def samples_of(self, indices: Array) -> tuple[Array, Array]:
        x, t = super().samples_of(indices)
        return x, np.roll(t, 1, axis=0)


class InputsShuffledAgainstTheTargets(Loop):
    def samples_of(self, indices: Array) -> tuple[Array, Array]:
        x, t = super().samples_of(indices)
        return np.roll(x, 1, axis=0), t


class NewBatchForTheTargets(Loop):
    """Two draws where one was meant; right as long as the first batch lasts."""

    def samples_of(self, indices: Array) -> tuple[Array, Array]:
        others = indices if self.steps_done == 0 else np.resize(self.batches.draw(), len(indices))
        return self.x[indices], self.t[others]


class NoiseAddedToTheSamples(Loop):
    """Augmentation that the indices say nothing of."""

    def samples_of(self, indices: Array) -> tuple[Array, Array]:
        x, t = super().samples_of(indices)
        return x + x.dtype.type(0.01), t


# --------------------------------------------------------------------------- the forward pass


class TrainsOnShuffledTargetsUnseen(Loop):
    """The batch is as it says, but not what the loss is taken of."""

    def loss_and_gradients(self, x: Array, t: Array) -> LossAndGradients:
        return super().loss_and_gradients(x, np.roll(t, 1, axis=0))


class ParamsRebound(Loop):
    """``params[name] = params[name] - …`` in a plain dictionary: the layers keep the old arrays."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self.params = dict(self.net.params)

    def parameters(self) -> Arrays:
        return {name: values.copy() for name, values in self.params.items()}

    def update(self, gradients: Arrays) -> None:
        for name, gradient in gradients.items():
            self.params[name] = self.params[name] - self.learning_rate * gradient


class OneBiasRebound(ParamsRebound):
    def update(self, gradients: Arrays) -> None:
        for name, gradient in gradients.items():
            if name == "b2":
                self.params[name] = self.params[name] - self.learning_rate * gradient
            else:
                self.params[name] -= self.learning_rate * gradient


# --------------------------------------------------------------------------- the gradient


class GradientsAccumulate(Loop):
    """Nothing sets them to zero."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self.total = {name: np.zeros_like(values) for name, values in self.net.params.items()}

    def loss_and_gradients(self, x: Array, t: Array) -> LossAndGradients:
        loss, gradients = super().loss_and_gradients(x, t)
        for name, gradient in gradients.items():
            self.total[name] += gradient
        return loss, {name: total.copy() for name, total in self.total.items()}


class StaleGradient(Loop):
    """Each update is made with the gradient of the step before."""

    previous: Arrays | None = None

    def loss_and_gradients(self, x: Array, t: Array) -> LossAndGradients:
        loss, gradients = super().loss_and_gradients(x, t)
        used, self.previous = self.previous or gradients, gradients
        return loss, used


class SumInsteadOfMean(Loop):
    def loss_and_gradients(self, x: Array, t: Array) -> LossAndGradients:
        loss, gradients = super().loss_and_gradients(x, t)
        return loss, {name: len(x) * gradient for name, gradient in gradients.items()}


class LastBatchDividedByTheFullSize(Loop):
    """An epoch ends with a batch of what is left."""

    def loss_and_gradients(self, x: Array, t: Array) -> LossAndGradients:
        loss, gradients = super().loss_and_gradients(x, t)
        return loss, {name: gradient * (len(x) / self.batches.batch_size) for name, gradient in gradients.items()}


class OneEntryWrong(Loop):
    """From the fourth step on one entry of one gradient is off by 1e-6."""

    def __init__(self, start: Start, name: str) -> None:
        super().__init__(start)
        self.name = name

    def loss_and_gradients(self, x: Array, t: Array) -> LossAndGradients:
        loss, gradients = super().loss_and_gradients(x, t)
        if self.steps_done >= 3:
            gradients[self.name].flat[gradients[self.name].size // 2] += 1e-6
        return loss, gradients


class GradientClipped(Loop):
    """To half of its largest entry."""

    def loss_and_gradients(self, x: Array, t: Array) -> LossAndGradients:
        loss, gradients = super().loss_and_gradients(x, t)
        most = {name: np.abs(gradient).max() / 2 for name, gradient in gradients.items()}
        return loss, {name: np.clip(gradient, -most[name], most[name]) for name, gradient in gradients.items()}


class GradientThroughSinglePrecision(Loop):
    """1e-8 of each value, and nothing else."""

    def loss_and_gradients(self, x: Array, t: Array) -> LossAndGradients:
        loss, gradients = super().loss_and_gradients(x, t)
        return loss, _through_single_precision(gradients)


# --------------------------------------------------------------------------- the update


class UpdateThroughSinglePrecision(Loop):
    def update(self, gradients: Arrays) -> None:
        super().update(_through_single_precision(gradients))


class WrongLearningRate(Loop):
    """By one in a hundred."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self.learning_rate *= 1.01


class LearningRateDecays(Loop):
    def update(self, gradients: Arrays) -> None:
        super().update(gradients)
        self.learning_rate *= 0.99


class MomentumForgottenIn(Loop):
    velocity: Arrays | None = None

    def update(self, gradients: Arrays) -> None:
        old = self.velocity or {name: np.zeros_like(gradient) for name, gradient in gradients.items()}
        self.velocity = {name: 0.9 * old[name] + gradient for name, gradient in gradients.items()}
        super().update(self.velocity)


class WeightDecayForgottenIn(Loop):
    def update(self, gradients: Arrays) -> None:
        super().update({name: g + 1e-3 * self.net.params[name] for name, g in gradients.items()})


class UpdateAppliedTwice(Loop):
    def update(self, gradients: Arrays) -> None:
        super().update(gradients)
        super().update(gradients)


class UpdateAscends(Loop):
    def update(self, gradients: Arrays) -> None:
        super().update({name: -gradient for name, gradient in gradients.items()})


class LastBiasNeverUpdated(Loop):
    def update(self, gradients: Arrays) -> None:
        super().update({name: gradient for name, gradient in gradients.items() if name != "b2"})


class BiasBroadcast:
    """The source's second network given a batch: a bias that is not summed takes the batch's shape."""

    def __init__(self, start: Start) -> None:
        self.params = dict(start.net.params)
        self.x, self.t = start.x, start.t
        self.learning_rate, self.batch_size = start.learning_rate, start.batch_size

    def parameters(self) -> Arrays:
        return {name: values.copy() for name, values in self.params.items()}

    def step(self) -> StepSeen:
        indices = np.arange(self.batch_size)
        x, t, params = self.x[indices], self.t[indices], self.params
        hidden = 1 / (1 + np.exp(-(x @ params["W1"] + params["b1"])))
        output = 1 / (1 + np.exp(-(hidden @ params["W2"] + params["b2"])))
        output_delta = (output - t) * output * (1 - output) / len(x)
        hidden_delta = output_delta @ params["W2"].T * hidden * (1 - hidden)
        gradients = {
            "W1": x.T @ hidden_delta,
            "b1": hidden_delta.sum(axis=0),
            "W2": hidden.T @ output_delta,
            "b2": output_delta.sum(axis=0),
        }
        params["W1"] = params["W1"] - self.learning_rate * gradients["W1"]
        params["b1"] = params["b1"] - self.learning_rate * hidden_delta
        params["W2"] = params["W2"] - self.learning_rate * gradients["W2"]
        params["b2"] = params["b2"] - self.learning_rate * gradients["b2"]
        loss = 0.5 * float(np.sum((output - t) ** 2)) / len(x)
        return StepSeen(indices, x, t, loss, gradients)


def printed_order(start: Start) -> PrintedOrder:
    return PrintedOrder(start.net, start.x, start.t, start.learning_rate)


def _through_single_precision(gradients: Arrays) -> Arrays:
    return {name: gradient.astype(np.float32).astype(np.float64) for name, gradient in gradients.items()}


# --------------------------------------------------------------------------- all of them

TWO_LAYERS, SIGMOID = "TwoLayerNet", "MultiLayerNet sigmoid, squared error"


@dataclass(frozen=True)
class LoopDefect:
    """A loop that is wrong on purpose, and the step, kind and parameter at which it must be seen to leave its twin.

    ``cause_id`` is None for a mistake that no cause is known for.
    """

    name: str
    step: int
    kind: str
    parameter: str | None
    cause_id: str | None
    make: Callable[[Start], TrainingSubject]
    record: str = TWO_LAYERS

    @property
    def verdict(self) -> str:
        return Divergence(self.step, self.kind, self.parameter, "").verdict


def _one_entry(name: str) -> LoopDefect:
    return LoopDefect(
        f"one entry of the gradient of {name} wrong by 1e-6 from the fourth step on",
        3,
        GRADIENT,
        name,
        "single_entry",
        partial(OneEntryWrong, name=name),
    )


LOOP_DEFECTS = (
    LoopDefect(
        "targets shuffled against the inputs",
        0,
        BATCH,
        None,
        "targets_of_other_samples",
        TargetsShuffledAgainstTheInputs,
    ),
    LoopDefect(
        "inputs shuffled against the targets",
        0,
        BATCH,
        None,
        "targets_of_other_samples",
        InputsShuffledAgainstTheTargets,
    ),
    LoopDefect(
        "targets of another batch from the second step on",
        1,
        BATCH,
        None,
        "targets_of_other_samples",
        NewBatchForTheTargets,
    ),
    LoopDefect("noise added to the samples", 0, BATCH, None, None, NoiseAddedToTheSamples),
    LoopDefect("targets shuffled where nobody looks", 0, FORWARD, None, None, TrainsOnShuffledTargetsUnseen),
    LoopDefect(
        "params rebound and no longer seen by the layers", 1, FORWARD, None, "assigned_parameters_unused", ParamsRebound
    ),
    LoopDefect("one bias rebound", 1, FORWARD, None, "assigned_parameters_unused", OneBiasRebound),
    LoopDefect("gradients accumulated", 1, GRADIENT, "W1", "accumulates_over_calls", GradientsAccumulate),
    LoopDefect("stale gradient", 1, GRADIENT, "W1", "gradient_of_an_earlier_step", StaleGradient),
    LoopDefect("sum instead of mean", 0, GRADIENT, "W1", "multiplied_by_batch_size", SumInsteadOfMean),
    LoopDefect(
        "last batch of an epoch divided by the full size",
        2,
        GRADIENT,
        "W1",
        "divided_by_full_batch_size",
        LastBatchDividedByTheFullSize,
    ),
    LoopDefect("gradient clipped", 0, GRADIENT, "W1", None, GradientClipped),
    *map(_one_entry, ("W1", "b1", "W2", "b2")),
    LoopDefect(
        "gradient in single precision", 0, GRADIENT, "W1", "single_precision_inside", GradientThroughSinglePrecision
    ),
    LoopDefect(
        "the output layer updated before the gradient of the hidden one is taken",
        0,
        GRADIENT,
        "W1",
        "updated_before_the_gradient",
        printed_order,
        SIGMOID,
    ),
    LoopDefect("update in single precision", 0, UPDATE, "W1", "single_precision_inside", UpdateThroughSinglePrecision),
    LoopDefect("wrong learning rate", 0, UPDATE, "W1", "wrong_learning_rate", WrongLearningRate),
    LoopDefect("learning rate decays", 1, UPDATE, "W1", "wrong_learning_rate", LearningRateDecays),
    LoopDefect("momentum forgotten in", 1, UPDATE, "W1", "momentum_in_the_update", MomentumForgottenIn),
    LoopDefect("weight decay forgotten in", 0, UPDATE, "W1", "weight_decay_in_the_update", WeightDecayForgottenIn),
    LoopDefect("update applied twice", 0, UPDATE, "W1", "doubled", UpdateAppliedTwice),
    LoopDefect("update ascends", 0, UPDATE, "W1", "wrong_sign", UpdateAscends),
    LoopDefect("one parameter never updated", 0, UPDATE, "b2", "parameter_never_updated", LastBiasNeverUpdated),
    LoopDefect(
        "a bias broadcast to the shape of the batch",
        0,
        UPDATE,
        "b1",
        "not_summed_over_the_batch",
        BiasBroadcast,
        SIGMOID,
    ),
)

#: Steps in which each must be noticed: two epochs of three batches.
STEPS = 6
#: Small, and all different: an epoch ends with half a batch.
SAMPLES, FEATURES, HIDDEN, CLASSES, BATCH_SIZE = 20, 7, 5, 3, 8
LEARNING_RATE = 0.1


def small_start(record: LayerSpec, seed: int) -> Start:
    """The start of a loop that trains a small network of a record on random samples; the same one for a seed."""
    rng = np.random.default_rng((seed, 9))
    net = record.construct(resolve(record.implementation), sizes=(FEATURES, HIDDEN, CLASSES), dtype=np.float64)  # type: ignore[misc]
    for values in net.params.values():
        values[...] = rng.normal(size=values.shape)
    x = rng.normal(size=(SAMPLES, FEATURES))
    labels = rng.permutation(np.arange(SAMPLES) % CLASSES)
    return Start(net, x, one_hot(labels, CLASSES), LEARNING_RATE, BATCH_SIZE)


class FirstStep:
    """The first step of a loop as a network's record has it: a loss of the parameters that it begins with, and the
    gradients that it uses.

    That is all of a loop that a checker of gradients can look at.
    """

    def __init__(self, make: Callable[[Start], TrainingSubject], record: LayerSpec, seed: int) -> None:
        self.record = record
        self.label = record.name
        self._make = make
        self._seed = seed

    def open(self, parameters: Mapping[str, Array]) -> Any:
        start = small_start(self.record, self._seed)
        start.net.params.update(parameters)
        return _Begun(self.record, self._make(start))


class _Begun:
    def __init__(self, record: LayerSpec, loop: TrainingSubject) -> None:
        self._record = record
        self._loop = loop

    def forward(self, inputs: Mapping[str, Array]) -> Reply:
        self._seen = self._loop.step()
        return Reply({self._record.outputs[0]: np.asarray(self._seen.loss)}, {})

    def backward(self, dout: Array) -> Reply:
        gradients = self._seen.gradients.items()
        return Reply({self._record.gradient_name(name): np.asarray(values) for name, values in gradients}, {})
