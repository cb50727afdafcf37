"""Parity: a training loop held against its PyTorch twin, step for step.

*Resynchronised*: before each step the twin takes over the parameters of the subject, both take one step on the samples
that the subject says it used, and batch, loss, gradients and updated parameters are compared within the bounds of a
stack. The first thing that differs is the divergence: what came after it follows from it.

*Free-running*: both go from the same start over the same batches without ever being brought together again; what
rounding grows to is shown beside the same figure for a run that started one ulp away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from oracle.catalog.case import Arrays, Case
from oracle.catalog.record import LayerSpec
from oracle.judge.bounds import stack_errors
from oracle.judge.causes import CAUSES
from oracle.judge.comparison import Comparison, compare
from oracle.judge.verdict import BACKWARD_WRONG, FORWARD_WRONG
from oracle.subjects.interface import SubjectError
from oracle.training.diagnosis import Past, StepTaken, of_batch, of_forward, of_gradient, of_update

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
    """The first step (counted from 0) at which the subject left its twin, in what, and at which parameter.

    ``cause_id`` is None where the diagnosis knows of no mistake that would have made just this step.
    """

    step: int
    kind: str
    parameter: str | None
    sentence: str
    cause_id: str | None = None

    @property
    def verdict(self) -> str:
        """The loop's own verdict: its gradients are wrong, or what it does with right ones."""
        return BACKWARD_WRONG if self.kind == GRADIENT else FORWARD_WRONG

    def __str__(self) -> str:
        where = f" of {self.parameter}" if self.parameter else ""
        found = f"step {self.step}: {self.kind}{where}: {self.sentence} ({MEANINGS[self.kind]})"
        return f"{found}. {str(CAUSES[self.cause_id]).removesuffix('.')}" if self.cause_id else found


@dataclass
class Resynchronised:
    """The outcome so far: the worst margin of all comparisons, and the first divergence if there is one.

    ``noticed_by`` are the kinds of comparison that fail at the step of the first divergence: the first of them gives it
    its name, and the others would have noticed it too.
    """

    steps: int = 0
    comparisons: int = 0
    worst_margin: float = 0.0
    first_divergence: Divergence | None = None
    noticed_by: list[str] = field(default_factory=list)
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
        self._past = Past()
        self.outcome = Resynchronised()

    def compare_step(
        self, number: int, before: Mapping[str, Array], seen: StepSeen, after: Mapping[str, Array]
    ) -> None:
        """Compare step ``number``, which led from the parameters ``before`` to those ``after``."""
        outcome = self.outcome
        outcome.steps += 1
        with np.errstate(all="ignore"):
            # Infinities and NaN are compared too; the report says where the loss is no number.
            taken = self._taken_by_the_twin(before, seen, after)
            divergences = list(self._divergences(number, taken))
            if divergences and outcome.first_divergence is None:
                first = divergences[0]
                outcome.first_divergence = replace(first, cause_id=self._cause(first.kind, taken))
                outcome.noticed_by = list(dict.fromkeys(divergence.kind for divergence in divergences))
            self._past.add(taken)

    def _taken_by_the_twin(self, before: Mapping[str, Array], seen: StepSeen, after: Mapping[str, Array]) -> StepTaken:
        x, t = self._x[seen.indices], self._t[seen.indices]
        self._twin.set_parameters(before)
        loss, gradients = self._twin.step(x, t)
        arrays = Arrays({"x": x, "t": t}, dict(before), np.ones(()))
        bounds, opened = stack_errors(self._record, arrays, self._eps)
        named = {name: self._record.gradient_name(name) for name in gradients}
        return StepTaken(
            before=before,
            seen=seen,
            after=after,
            loss=loss,
            gradients=gradients,
            stepped=self._twin.parameters(),
            bounds={name: bounds[quantity] for name, quantity in named.items()},
            loss_bound=bounds["loss"],
            left_out={name: opened[quantity] for name, quantity in named.items()},
        )

    def _divergences(self, number: int, taken: StepTaken) -> Iterator[Divergence]:
        """Everything in which a step differs, in the order in which one follows from another."""
        seen, before = taken.seen, taken.before
        for name, used, data in (("x", seen.x, self._x), ("t", seen.t, self._t)):
            self.outcome.comparisons += 1
            if not np.array_equal(used, data[seen.indices]):
                yield Divergence(number, BATCH, None, f"{name} is not that of samples {_few(seen.indices)}")
        found = self._disagreement("loss", np.asarray(seen.loss), np.asarray(taken.loss), taken.loss_bound)
        if found is not None:
            yield Divergence(number, FORWARD, None, str(found))
        for name, gradient in taken.gradients.items():
            quantity, left_out = self._record.gradient_name(name), taken.left_out[name]
            found = self._disagreement(quantity, seen.gradients[name], gradient, taken.bounds[name], left_out)
            if found is not None:
                yield Divergence(number, GRADIENT, name, str(found))
        for name, expected in taken.stepped.items():
            # Rounding of the product, and of the subtraction, which is relative to what it is subtracted from.
            moved = self._learning_rate * np.abs(taken.gradients[name])
            rounding = self._eps * (np.abs(before[name].astype(np.float64)) + 2 * moved)
            bound = self._learning_rate * taken.bounds[name] + rounding
            found = self._disagreement(name, taken.after[name], expected, bound, taken.left_out[name])
            if found is not None:
                yield Divergence(number, UPDATE, name, str(found))

    def _cause(self, kind: str, taken: StepTaken) -> str | None:
        try:
            if kind == BATCH:
                return of_batch(taken.seen, self._x, self._t)
            if kind == FORWARD:
                return of_forward(taken, self._past, self._twin)
            explain = of_gradient if kind == GRADIENT else of_update
            return explain(self._record, taken, self._past, self._learning_rate)
        except (SubjectError, ValueError):
            # Arrays that do not fit together: what differs has been said, and no rule is for them.
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
