"""The diagnosis of a training loop: which mistake would have made just this step.

A rule is one function, named by the cause (`oracle.judge.causes`) that it stands for: it gives the gradients that a
loop with that mistake would have used. It fits where what was used is one of these, and they are not the right ones. A
rule sees the arrays of this step and of those before it, and the twin; never the loop, or a name of it.

The rules are tried in the order of this file, the more specific first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from oracle.catalog.record import LayerSpec
from oracle.catalog.records import RECORDS
from oracle.subjects.in_process import implementation_of

if TYPE_CHECKING:
    from oracle.training.parity import StepSeen, Twin

Array = np.ndarray
Arrays = dict[str, Array]

#: How many times its bound a gradient may be off that a rule gives: it is made of several (those of all steps so far,
#: or a number fitted to them), each of which has a rounding of its own.
SLACK = 8
SINGLE = np.finfo(np.float32)


@dataclass(frozen=True)
class StepTaken:
    """One step of a loop beside the twin's: the parameters before and after it, the twin's loss and gradients, and
    where these lead (``stepped``).

    ``bounds`` are those of the gradients, by the parameter's name, ``loss_bound`` that of the loss; entries that hang
    on a kink (``left_out``) say nothing.
    """

    before: Mapping[str, Array]
    seen: StepSeen
    after: Mapping[str, Array]
    loss: float
    gradients: Arrays
    stepped: Arrays
    bounds: Arrays
    loss_bound: Array
    left_out: Arrays


@dataclass
class Past:
    """What is remembered of the steps before: the parameters at the start, the newest step, the sum of gradients."""

    start: Mapping[str, Array] | None = None
    newest: StepTaken | None = None
    total: Arrays = field(default_factory=dict)

    def add(self, step: StepTaken) -> None:
        """Remember one step more."""
        if self.start is None:
            self.start = dict(step.before)
        self.newest = step
        self.total = {name: gradient + self.total.get(name, 0) for name, gradient in step.gradients.items()}


@dataclass(frozen=True)
class Situation:
    """What a rule may look at. ``used`` are the gradients that the step used, ``right`` those it should have used.

    Of a wrong update, ``used`` are what the parameters moved by, divided by the learning rate.
    """

    record: LayerSpec
    step: StepTaken
    past: Past
    learning_rate: float
    used: Arrays
    right: Arrays
    #: Errors that each entry of ``used`` may have.
    bounds: Arrays

    @property
    def rows(self) -> int:
        return len(self.step.seen.indices)


Rule = Callable[[Situation], Iterator[Arrays]]
#: Of gradients and of updates, which are a gradient times the learning rate.
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Register a rule under the name of its function, which is the id of the cause."""
    RULES[function.__name__] = function
    return function


@rule
def wrong_sign(s: Situation) -> Iterator[Arrays]:
    yield _times(-1, s.right)


@rule
def multiplied_by_batch_size(s: Situation) -> Iterator[Arrays]:
    yield _times(s.rows, s.right)


@rule
def divided_by_full_batch_size(s: Situation) -> Iterator[Arrays]:
    if s.past.newest is not None:
        yield _times(s.rows / len(s.past.newest.seen.indices), s.right)


@rule
def doubled(s: Situation) -> Iterator[Arrays]:
    yield _times(2, s.right)


@rule
def gradient_of_an_earlier_step(s: Situation) -> Iterator[Arrays]:
    if s.past.newest is not None:
        yield s.past.newest.gradients


@rule
def accumulates_over_calls(s: Situation) -> Iterator[Arrays]:
    if s.past.total:
        yield _sum(s.right, s.past.total)


@rule
def not_summed_over_the_batch(s: Situation) -> Iterator[Arrays]:
    # The loop keeps to it where what it used has a row for each sample, and they add up to what is right.
    stacked = {name for name in s.right if s.used[name].shape == (s.rows, *s.right[name].shape)}
    if stacked and all(_near(s.used[n].sum(axis=0), s.right[n], s.rows * s.bounds[n]) for n in stacked):
        yield {name: s.used[name] if name in stacked else right for name, right in s.right.items()}


@rule
def parameter_never_updated(s: Situation) -> Iterator[Arrays]:
    yield {name: right if s.used[name].any() else np.zeros_like(right) for name, right in s.right.items()}


@rule
def updated_before_the_gradient(s: Situation) -> Iterator[Arrays]:
    """Backward through each layer with the parameters that it has after the step."""
    seen = s.step.seen
    traces = implementation_of(s.record).open(s.step.before).trace({"x": seen.x, "t": seen.t})
    dout, found = traces[-1].dout, {}
    for (name, names), trace in zip(reversed(s.record.stack), reversed(traces), strict=True):
        record = RECORDS[name]
        layer = implementation_of(record).open(_called(record.parameters, names, s.step.before))
        layer.forward({"x": trace.x})
        layer.set_parameters(_called(record.parameters, names, s.step.after))
        gradients = layer.backward(dout).values
        found.update({n: gradients[record.gradient_name(own)] for own, n in zip(record.parameters, names, strict=True)})
        dout = gradients["dx"]
    yield found


@rule
def single_precision_inside(s: Situation) -> Iterator[Arrays]:
    if all(right.dtype == np.float64 for right in s.used.values()):
        # Rounded in the update, or before: then they are numbers of single precision, each the nearest or its
        # neighbour.
        rounded = {name: right.astype(np.float32).astype(np.float64) for name, right in s.right.items()}
        yield rounded
        is_rounded = all(np.array_equal(used, used.astype(np.float32)) for used in s.used.values())
        if is_rounded and all(_near(s.used[n], s.right[n], SINGLE.eps * np.abs(s.right[n])) for n in s.right):
            yield s.used


@rule
def momentum_in_the_update(s: Situation) -> Iterator[Arrays]:
    newest = s.past.newest
    if newest is not None:
        moved = {name: (newest.before[name] - newest.after[name]) / s.learning_rate for name in s.right}
        yield from _with_a_part_of(s, moved)


@rule
def weight_decay_in_the_update(s: Situation) -> Iterator[Arrays]:
    yield from _with_a_part_of(s, s.step.before)


@rule
def single_entry(s: Situation) -> Iterator[Arrays]:
    if any(s.used[name].shape != right.shape for name, right in s.right.items()):
        return
    wrong = {name: ~(np.abs(s.used[name] - right) <= s.bounds[name]) for name, right in s.right.items()}
    if sum(np.count_nonzero(mask) for mask in wrong.values()) == 1:
        yield {name: np.where(wrong[name], s.used[name], right) for name, right in s.right.items()}


def of_gradient(record: LayerSpec, step: StepTaken, past: Past, learning_rate: float) -> str | None:
    """The cause where the gradients that a step used are wrong; None where no rule fits."""
    used = {name: np.asarray(step.seen.gradients[name]) for name in step.gradients}
    return _explained(Situation(record, step, past, learning_rate, used, step.gradients, step.bounds))


def of_update(record: LayerSpec, step: StepTaken, past: Past, learning_rate: float) -> str | None:
    """The cause where the gradients are right and the parameters after the step are not; None where no rule fits."""
    used, bounds = {}, {}
    for name, before in step.before.items():
        after = step.after[name]
        used[name] = (before - after) / learning_rate
        # What is subtracted keeps the digits that fit beside the parameter.
        eps = float(np.finfo(after.dtype).eps)
        bounds[name] = eps * (np.abs(before) + np.abs(step.seen.gradients[name]) * learning_rate) / learning_rate
    right = {name: np.asarray(step.seen.gradients[name]) for name in used}
    situation = Situation(record, step, past, learning_rate, used, right, bounds)
    return _explained(situation) or _factor(situation)


def of_forward(step: StepTaken, past: Past, twin: Twin) -> str | None:
    """The cause where the loss is not that of the parameters before the step; None where nothing explains it.

    The layers may have kept parameters of the start: all of them, or one. The twin is moved to each.
    """
    if past.start is None:
        return None
    for kept in (tuple(step.before), *((name,) for name in step.before)):
        twin.set_parameters({**step.before, **{name: past.start[name] for name in kept}})
        loss, gradients = twin.step(step.seen.x, step.seen.t)
        used = {name: np.asarray(values) for name, values in step.seen.gradients.items()}
        if abs(step.seen.loss - loss) <= SLACK * step.loss_bound and all(
            _near(used[name], gradients[name], SLACK * step.bounds[name], step.left_out[name]) for name in used
        ):
            return "assigned_parameters_unused"
    return None


def of_batch(seen: StepSeen, x: Array, t: Array) -> str | None:
    """The cause where the samples or targets used are not those of the step's indices, among all of ``x`` and ``t``."""
    are_there = (_are_rows_of(used, data) for used, data in ((seen.x, x), (seen.t, t)))
    return "targets_of_other_samples" if all(are_there) else None


def _explained(s: Situation) -> str | None:
    with np.errstate(all="ignore"):
        for cause_id, candidates in RULES.items():
            if any(_fits(s, candidate) for candidate in candidates(s)):
                return cause_id
    return None


def _fits(s: Situation, candidate: Arrays) -> bool:
    """Whether what was used is this, and this is not what should have been used."""
    differs = False
    for name, right in s.right.items():
        given, left_out = candidate[name], s.step.left_out[name]
        # What is several times as large has several times the error; and what is made of other steps has errors where
        # the gradient of this one is 0: the largest of the array stands for them.
        grown = max(1.0, _size(given) / _size(right)) if right.any() else 1.0
        known = np.where(np.isfinite(s.bounds[name]), s.bounds[name], 0.0)
        bound = np.full(right.shape, SLACK * grown * _size(known))
        if not _near(s.used[name], given, bound, left_out):
            return False
        differs = differs or not _near(given, right, s.bounds[name], left_out)
    return differs


def _factor(s: Situation) -> str | None:
    """A learning rate is one number: the same factor in all parameters."""
    factor = _part(s.used, s.right)
    return "wrong_learning_rate" if factor is not None and _fits(s, _times(factor, s.right)) else None


def _with_a_part_of(s: Situation, added: Mapping[str, Array]) -> Iterator[Arrays]:
    if any(s.used[name].shape != right.shape for name, right in s.right.items()):
        return
    part = _part({name: s.used[name] - right for name, right in s.right.items()}, added)
    if part is not None:
        yield {name: right + part * added[name] for name, right in s.right.items()}


def _part(values: Mapping[str, Array], of: Mapping[str, Array]) -> float | None:
    """The number c for which c times ``of`` is nearest to ``values``; None where there is none."""
    square = sum(float(np.sum(np.square(of[name], dtype=np.float64))) for name in values)
    product = sum(float(np.sum(np.multiply(values[name], of[name], dtype=np.float64))) for name in values)
    return product / square if square > 0 else None


def _times(factor: float, gradients: Arrays) -> Arrays:
    return {name: factor * gradient for name, gradient in gradients.items()}


def _sum(one: Arrays, other: Arrays) -> Arrays:
    return {name: values + other[name] for name, values in one.items()}


def _size(values: Array) -> float:
    return float(np.abs(values).max(initial=0.0))


def _near(one: Array, other: Array, bound: Array, left_out: Array | None = None) -> bool:
    if one.shape != other.shape:
        return False
    # A stack of rows has the shape of none of the bounds: it is the same array on both sides.
    near = (one == other) if one.shape != np.shape(bound) else np.abs(one - other) <= bound
    return bool(np.all(near if left_out is None or left_out.shape != near.shape else near | left_out))


def _called(own: tuple[str, ...], names: tuple[str, ...], parameters: Mapping[str, Array]) -> Arrays:
    """A layer calls its parameters W and b, whatever the network calls them."""
    return {name: np.array(parameters[other]) for name, other in zip(own, names, strict=True)}


def _are_rows_of(used: Array, data: Array) -> bool:
    return used.shape[1:] == data.shape[1:] and all(
        (data == row).reshape(len(data), -1).all(axis=1).any() for row in used
    )
