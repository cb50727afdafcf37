"""Parity: a training loop held against its PyTorch twin, step for step.

*Resynchronised*: before each step the twin takes over the parameters of the subject, both take one step on the samples
that the subject says it used, and batch, loss, gradients and updated parameters are compared within the bounds of a
stack. The first thing that differs is the divergence: what came after it follows from it.

*Free-running*: both go from the same start over the same batches without ever being brought together again; what
rounding grows to is shown beside the same figure for a run that started one ulp away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from oracle.catalog.case import Arrays, Case
from oracle.catalog.record import LayerSpec
from oracle.judge.bounds import stack_errors
from oracle.judge.comparison import Comparison, compare

Array = np.ndarray

BATCH, FORWARD, GRADIENT, UPDATE = "batch", "forward", "gradient", "update"

#: What each kind of divergence means, for people.
MEANINGS = {
    BATCH: "the samples or targets that the step used are not those of its indices",
    FORWARD: "the loss differs: the layers do not compute with the parameters that the loop reports",
    GRADIENT: "the gradients that the step used are not those of the loss at its parameters",
    UPDATE: "the parameters after the step are not those before it minus learning rate × gradient",
}


@dataclass(frozen=True)
class StepSeen:
    """What a subject says of one step: the samples by index and as it used them, the loss and the gradients used."""

    indices: Array
    x: Array
    t: Array
    loss: float
    gradients: dict[str, Array]


class TrainingSubject(Protocol):
    """A training loop under test."""

    def parameters(self) -> dict[str, Array]:
        """Copies of the parameters as they are now."""
        ...

    def step(self) -> StepSeen:
        """Take one step."""
        ...


class Twin(Protocol):
    """The twin of the loop: ``oracle.twins.training.TorchTraining``."""

    def step(self, x: Array, t: Array) -> tuple[float, dict[str, Array]]: ...

    def parameters(self) -> dict[str, Array]: ...

    def set_parameters(self, parameters: Mapping[str, Array]) -> None: ...


@dataclass(frozen=True)
class Divergence:
    """The first step (counted from 0) at which the subject left its twin, in what, and at which parameter."""

    step: int
    kind: str
    parameter: str | None
    sentence: str

    def __str__(self) -> str:
        where = f" of {self.parameter}" if self.parameter else ""
        return f"step {self.step}: {self.kind}{where}: {self.sentence} ({MEANINGS[self.kind]})"


@dataclass
class Resynchronised:
    """The outcome so far: the worst margin of all comparisons, and the first divergence if there is one."""

    steps: int = 0
    comparisons: int = 0
    worst_margin: float = 0.0
    first_divergence: Divergence | None = None
    margins: dict[str, float] = field(default_factory=dict)


class Resynchroniser:
    """Compares one step at a time. The twin is in double precision, whatever the dtype of the subject."""

    def __init__(
        self, record: LayerSpec, twin: Twin, x: Array, t: Array, learning_rate: float, dtype: np.dtype
    ) -> None:
        self._record = record
        self._twin = twin
        self._x, self._t = x, t
        self._learning_rate = learning_rate
        # Of both sides at once: to first order a bound is proportional to eps, and the twin computes in double.
        self._eps = float(np.finfo(dtype).eps) + float(np.finfo(np.float64).eps)
        self._case = Case(record.name, str(dtype), ())
        self.outcome = Resynchronised()

    def compare_step(
        self, number: int, before: Mapping[str, Array], seen: StepSeen, after: Mapping[str, Array]
    ) -> None:
        """Compare step ``number``, which led from the parameters ``before`` to those ``after``."""
        outcome = self.outcome
        outcome.steps += 1
        with np.errstate(all="ignore"):
            # Infinities and NaN are compared too; the report says where the loss is no number.
            divergence = self._divergence(number, before, seen, after)
        if divergence is not None and outcome.first_divergence is None:
            outcome.first_divergence = divergence

    def _divergence(
        self, number: int, before: Mapping[str, Array], seen: StepSeen, after: Mapping[str, Array]
    ) -> Divergence | None:
        x, t = self._x[seen.indices], self._t[seen.indices]
        for name, used, drawn in (("x", seen.x, x), ("t", seen.t, t)):
            self.outcome.comparisons += 1
            if not np.array_equal(used, drawn):
                return Divergence(number, BATCH, None, f"{name} is not that of samples {_few(seen.indices)}")
        self._twin.set_parameters(before)
        loss, gradients = self._twin.step(x, t)
        stepped = self._twin.parameters()
        arrays = Arrays({"x": x, "t": t}, dict(before), np.ones(()))
        bounds, opened = stack_errors(self._record, arrays, self._eps)

        found = self._disagreement("loss", np.asarray(seen.loss), np.asarray(loss), bounds["loss"])
        if found is not None:
            return Divergence(number, FORWARD, None, str(found))
        for name, gradient in gradients.items():
            quantity = self._record.gradient_name(name)
            found = self._disagreement(quantity, seen.gradients[name], gradient, bounds[quantity], opened[quantity])
            if found is not None:
                return Divergence(number, GRADIENT, name, str(found))
        for name, expected in stepped.items():
            quantity = self._record.gradient_name(name)
            # Rounding of the product, and of the subtraction, which is relative to what it is subtracted from.
            moved = self._learning_rate * np.abs(gradients[name])
            rounding = self._eps * (np.abs(before[name].astype(np.float64)) + 2 * moved)
            bound = self._learning_rate * bounds[quantity] + rounding
            found = self._disagreement(name, after[name], expected, bound, opened[quantity])
            if found is not None:
                return Divergence(number, UPDATE, name, str(found))
        return None

    def _disagreement(
        self, quantity: str, actual: Array, expected: Array, bound: Array, left_out: Array | None = None
    ) -> Comparison | None:
        """The comparison if the two disagree. The whole Comparison is made only then: this runs at every step."""
        self.outcome.comparisons += 1
        disagreement = None
        margin = np.inf
        if actual.shape == expected.shape:
            ratio = np.abs(actual - expected) / bound
            margin = float(np.max(ratio if left_out is None else np.where(left_out, 0.0, ratio)))
        if not margin <= 1:
            comparison = compare(quantity, "scratch-torch", self._case, actual, expected, bound, left_out)
            margin = comparison.margin
            disagreement = None if comparison.agrees else comparison
        self.outcome.worst_margin = max(self.outcome.worst_margin, margin)
        self.outcome.margins[quantity] = max(self.outcome.margins.get(quantity, 0.0), margin)
        return disagreement


def resynchronise(
    subject: TrainingSubject,
    record: LayerSpec,
    twin: Twin,
    x: Array,
    t: Array,
    *,
    learning_rate: float,
    dtype: str,
    steps: int,
) -> Resynchronised:
    """Run ``steps`` steps of ``subject`` resynchronised with ``twin``, up to the first divergence.

    ``x`` and ``t`` are the samples that the indices of a step refer to.
    """
    checker = Resynchroniser(record, twin, x, t, learning_rate, np.dtype(dtype))
    for number in range(steps):
        before = subject.parameters()
        seen = subject.step()
        checker.compare_step(number, before, seen, subject.parameters())
        if checker.outcome.first_divergence is not None:
            break
    return checker.outcome


@dataclass
class FreeRunning:
    """How far two runs are apart: max|Δ| / max|parameter|, per parameter, at the steps where it was taken."""

    steps: list[int] = field(default_factory=list)
    relative: dict[str, list[float]] = field(default_factory=dict)

    def take(self, step: int, ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> None:
        """Note the difference after ``step`` steps."""
        self.steps.append(step)
        for name, values in ours.items():
            apart = float(np.abs(values.astype(np.float64) - theirs[name]).max())
            largest = float(np.abs(values).max())
            self.relative.setdefault(name, []).append(apart / largest if largest else apart)

    @property
    def worst(self) -> list[float]:
        """The largest figure of all parameters, at each of ``steps``."""
        return [max(column) for column in zip(*self.relative.values(), strict=True)]


def one_ulp_away(parameters: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters with every entry moved to the next floating-point number: the yardstick's start."""
    return {name: np.nextafter(values, np.asarray(np.inf, values.dtype)) for name, values in parameters.items()}


def _few(indices: Array) -> str:
    shown = ", ".join(map(str, indices[:5]))
    return f"{shown}, …" if len(indices) > 5 else shown
