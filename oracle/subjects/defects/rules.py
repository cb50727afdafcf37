"""Mistakes that can be made in any layer: one rule each, planted in every record whose results it changes.

A rule alters one quantity (`ALTERATIONS`), or what an instance does from call to call (`HABITS`). Where it changes
nothing (a transposed vector, a cache that nothing hangs on) is not written down but seen (`catalogue`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from oracle.catalog.record import BATCH, BROADCAST, CLASSES, Array, LayerSpec
from oracle.subjects.defects.planted import (
    Alteration,
    Defect,
    Expected,
    Inputs,
    Planted,
    Seen,
    Values,
    altering_each,
    copied,
    planting,
)

# --------------------------------------------------------------------------- altered values


@dataclass(frozen=True)
class ValueRule:
    """A mistake in one value. ``verdict`` is None where it is that of a wrong value, which the quantity decides.

    A rule that holds ``sometimes`` is planted only where it leaves some cases right: elsewhere nothing is special
    about when it happens.
    """

    text: str
    cause_id: str | None
    alter: Alteration
    verdict: Expected | None = None
    sometimes: bool = False


def scaled(factor: Callable[[Seen], float | None]) -> Alteration:
    """Multiplies by what ``factor`` gives; None for nothing."""

    def alter(value: Array, seen: Seen) -> Array:
        by = factor(seen)
        return value if by is None else value * by

    return alter


def doubled(value: Array, seen: Seen) -> Array:
    return 2 * value


def by_size(axis: str, power: int) -> Alteration:
    def factor(seen: Seen) -> float | None:
        size = seen.size(axis)
        return float(size) ** power if size else None

    return scaled(factor)


def when(applies: Callable[[Seen], bool]) -> Alteration:
    """Twice the value in some circumstances."""
    return scaled(lambda seen: 2.0 if applies(seen) else None)


def last_entry(value: Array, seen: Seen) -> Array:
    if value.size > 1:
        value.flat[-1] = 2 * value.flat[-1] + 1
    return value


def last_entry_by_1e_9(value: Array, seen: Seen) -> Array:
    if value.size > 1:
        value.flat[-1] *= 1 + 1e-9
    return value


def last_row(value: Array, seen: Seen) -> Array:
    if value.ndim > 1 and len(value) > 1:
        value[-1] = 2 * value[-1] + 1
    return value


def last_row_of_an_odd_batch(value: Array, seen: Seen) -> Array:
    N = seen.size(BATCH)
    return last_row(value, seen) if N is not None and N % 2 and value.shape[:1] == (N,) else value


def where_x(applies: Callable[[Array], Array]) -> Alteration:
    """Other entries where x has a property; all of them, where they do not belong to entries of x."""

    def alter(value: Array, seen: Seen) -> Array:
        mask = applies(seen.x.real)
        if seen.record.output_shape == BROADCAST and seen.dout is None:
            mask = np.broadcast_to(mask, value.shape)
        if mask.shape == value.shape:
            return np.asarray(np.where(mask, 2 * value + 1, value), value.dtype)
        return 2 * value if mask.any() else value

    return alter


def through(dtype: Any, complex_dtype: Any) -> Alteration:
    def alter(value: Array, seen: Seen) -> Array:
        return value.astype(complex_dtype if value.dtype.kind == "c" else dtype).astype(value.dtype)

    return alter


def is_batch_of_one(seen: Seen) -> bool:
    return seen.size(BATCH) == 1


def is_single_sample(seen: Seen) -> bool:
    axes = seen.record.arguments[0].axes
    return axes[:1] == (BATCH,) and seen.x.ndim == len(axes) - 1


def has_labels(seen: Seen) -> bool:
    return seen.t is not None and seen.t.ndim < max(seen.x.ndim, 1) and seen.t.dtype.kind == "i"


def has_one_hot(seen: Seen) -> bool:
    t = seen.t
    if t is None or "one-hot" not in seen.record.target_forms or has_labels(seen):
        return False
    return bool(np.all(t.sum(axis=-1) == 1)) and bool(np.isin(t, (0, 1)).all())


def has_soft(seen: Seen) -> bool:
    return seen.t is not None and not bool(np.isin(seen.t, (0, 1)).all()) and not has_labels(seen)


def has_repeated_labels(seen: Seen) -> bool:
    return seen.t is not None and has_labels(seen) and len(set(seen.t.reshape(-1).tolist())) < seen.t.size


def has_integers(seen: Seen) -> bool:
    return seen.x.dtype.kind == "i"


#: Of outputs and of gradients.
ALTERATIONS = (
    ValueRule("has the wrong sign", "wrong_sign", lambda value, seen: -value),
    ValueRule("is doubled", "doubled", doubled),
    ValueRule("is halved", "halved", lambda value, seen: value / 2),
    ValueRule("is three times too large", "constant_factor", lambda value, seen: 3 * value),
    ValueRule("is multiplied by N", "multiplied_by_batch_size", by_size(BATCH, 1)),
    ValueRule("is divided by N", "divided_by_batch_size", by_size(BATCH, -1)),
    ValueRule("is multiplied by C", "multiplied_by_classes", by_size(CLASSES, 1)),
    ValueRule("is divided by C", "divided_by_classes", by_size(CLASSES, -1)),
    ValueRule("is 1e-9 too large", "constant_factor", lambda value, seen: value * (1 + 1e-9)),
    ValueRule("has one entry wrong", "single_entry", last_entry),
    ValueRule("has one entry wrong by 1e-9", "single_entry", last_entry_by_1e_9),
    ValueRule("has one row wrong", "single_row", last_row),
    ValueRule("has the last row of an odd batch wrong", "single_row", last_row_of_an_odd_batch),
    ValueRule("is computed in float32", "single_precision_inside", through("f4", "c8"), verdict="precision lost"),
    ValueRule("is wrong for a batch of one", "only_for_a_batch_of_one", when(is_batch_of_one), sometimes=True),
    ValueRule("is wrong for a single sample", "only_for_a_single_sample", when(is_single_sample), sometimes=True),
    ValueRule("is wrong for integers", "only_for_integers", when(has_integers), sometimes=True),
    ValueRule("is wrong for labels", "only_for_labels", when(has_labels), sometimes=True),
    ValueRule("is wrong for one-hot targets", "only_for_one_hot", when(has_one_hot), sometimes=True),
    ValueRule("is wrong for soft targets", "only_for_soft_targets", when(has_soft), sometimes=True),
    ValueRule("is wrong where labels repeat", "only_when_labels_repeat", when(has_repeated_labels), sometimes=True),
    ValueRule("is wrong where x is 0", "only_at_zero", where_x(lambda x: x == 0), sometimes=True),
    ValueRule("is wrong beyond 30", "only_beyond_30", where_x(lambda x: np.abs(x) > 30), sometimes=True),
)
#: Of gradients alone.
GRADIENT_ALTERATIONS = (
    ValueRule("is 0", "gradient_is_zero", lambda value, seen: 0 * value),
    ValueRule("is divided by N²", "divided_by_batch_size_squared", by_size(BATCH, -2)),
    ValueRule("is transposed", "transposed", lambda value, seen: value.T),
    ValueRule("has an axis too many", "extra_axis", lambda value, seen: value[None]),
    ValueRule(
        "is summed over its first axis",
        "wrong_shape",
        lambda value, seen: value.sum(axis=0, keepdims=False) if value.ndim else value,
    ),
    ValueRule("has a term too many", None, lambda value, seen: value + 0.1),
    ValueRule("has its rows in the wrong order", None, lambda value, seen: value[::-1] if value.ndim > 1 else value),
    ValueRule("is not a number", None, lambda value, seen: value * np.nan),
)

# --------------------------------------------------------------------------- what an instance does


class IgnoresDout(Planted):
    def gradients(self, dout: Array) -> Values:
        return super().gradients(np.ones_like(dout))


class TakesDoutTwice(Planted):
    def gradients(self, dout: Array) -> Values:
        return super().gradients(dout * dout)


class OverwritesDout(Planted):
    def gradients(self, dout: Array) -> Values:
        found = super().gradients(dout)
        if self.record.takes_dout:
            dout[...] = 0
        return found


class OverwritesItsInput(Planted):
    def outputs(self, inputs: Inputs, right: Callable[[Inputs], Values]) -> Values:
        found = super().outputs(inputs, right)
        next(iter(inputs.values()))[...] = 7
        return found


class OverwritesItsTargets(Planted):
    def outputs(self, inputs: Inputs, right: Callable[[Inputs], Values]) -> Values:
        found = super().outputs(inputs, right)
        for argument in self.record.of_role("target"):
            inputs[argument.name][...] = 0
        return found


class OverwritesAParameter(Planted):
    def gradients(self, dout: Array) -> Values:
        found = super().gradients(dout)
        for values in list(self._parameters().values())[-1:]:
            values *= 0.5
        return found


class ReusesItsResults(Planted):
    """One array for each result, filled again at every call."""

    def __init__(self, right: Any, shared: Values) -> None:
        super().__init__(right, shared)
        self._buffers: dict[str, Array] = {}

    def outputs(self, inputs: Inputs, right: Callable[[Inputs], Values]) -> Values:
        return self._filled(super().outputs(inputs, right))

    def gradients(self, dout: Array) -> Values:
        return self._filled(super().gradients(dout))

    def _filled(self, found: Values) -> Values:
        for name, value in found.items():
            value = np.asarray(value)
            buffer = self._buffers.get(name)
            if buffer is None or (buffer.shape, buffer.dtype) != (value.shape, value.dtype):
                buffer = self._buffers[name] = np.empty_like(value)
            buffer[...] = value
        return {name: self._buffers[name] for name in found}


class KeepsItsFirstInputs(Planted):
    """Backward belongs to the first forward, as long as shapes are the same."""

    first: dict[str, Array] | None = None

    def outputs(self, inputs: Inputs, right: Callable[[Inputs], Values]) -> Values:
        shapes = None if self.first is None else [values.shape for values in self.first.values()]
        if shapes != [values.shape for values in inputs.values()]:
            self.first = copied(inputs)
        return super().outputs(inputs, right)

    def gradients(self, dout: Array) -> Values:
        if self.first is not None:
            self.right._forward(copied(self.first))
        return super().gradients(dout)


class AddsToItsGradients(Planted):
    """Until the next forward."""

    def __init__(self, right: Any, shared: Values) -> None:
        super().__init__(right, shared)
        self._total: Values = {}

    def outputs(self, inputs: Inputs, right: Callable[[Inputs], Values]) -> Values:
        self._total = {}
        return super().outputs(inputs, right)

    def gradients(self, dout: Array) -> Values:
        self._total = {name: value + self._total.get(name, 0) for name, value in super().gradients(dout).items()}
        return {name: np.array(value) for name, value in self._total.items()}


class SharesItsState(Planted):
    """What forward keeps is kept for all instances."""

    def outputs(self, inputs: Inputs, right: Callable[[Inputs], Values]) -> Values:
        found = super().outputs(inputs, right)
        self.shared["latest"] = self.right
        return found

    def gradients(self, dout: Array) -> Values:
        own, self.right = self.right, self.shared.get("latest", self.right)
        try:
            return super().gradients(dout)
        finally:
            self.right = own


class ReadsMemoryInItsOwnOrder(Planted):
    """Like code that takes the memory of x for its entries in order; right where x is contiguous."""

    def outputs(self, inputs: Inputs, right: Callable[[Inputs], Values]) -> Values:
        name, x = next(iter(inputs.items()))
        return super().outputs({**inputs, name: x.ravel(order="K").reshape(x.shape)}, right)


class ReadsDoutInItsOwnOrder(Planted):
    def gradients(self, dout: Array) -> Values:
        return super().gradients(dout.ravel(order="K").reshape(dout.shape))


class RaisesInBackward(Planted):
    def gradients(self, dout: Array) -> Values:
        raise NameError("name 'dz' is not defined")


class RaisesInForward(Planted):
    def outputs(self, inputs: Inputs, right: Callable[[Inputs], Values]) -> Values:
        raise NameError("name 'z' is not defined")


class LeavesOutTheLastOfAnOddBatch(Planted):
    """A loop over pairs of rows: the last row of an odd batch is left out of the loss and its gradients."""

    def outputs(self, inputs: Inputs, right: Callable[[Inputs], Values]) -> Values:
        axes = {a.name: a.axes for a in self.record.arguments}
        found, first = super().outputs(inputs, right), next(iter(inputs.values()))
        self._kept = None
        if first.ndim >= len(self.record.arguments[0].axes) and len(first) > 1 and len(first) % 2:
            self._kept = len(first) - 1
            kept = {name: v[: self._kept] if BATCH in axes[name] else v for name, v in inputs.items()}
            loss = self.record.outputs[0]
            found[loss] = super().outputs(kept, right)[loss]
        return found

    def gradients(self, dout: Array) -> Values:
        found = super().gradients(dout)
        if self._kept is not None:
            for argument in self.record.of_role("input"):
                name = self.record.gradient_name(argument.name)
                if name in found:
                    found[name] = np.concatenate([found[name], 0 * found[name][:1]])
        return found


@dataclass(frozen=True)
class Habit:
    """A mistake in what an instance does. ``of_loss`` is what it is called in a loss, where that is another thing."""

    text: str
    verdict: Expected
    cause_id: str | None
    mistake: Callable[[Any, Values], Planted]
    of_loss: tuple[Expected, str] | None = None
    #: Whether backward has a part in it.
    needs_backward: bool = True
    #: Whether it makes no sense where outputs have rows of their own.
    only_scalar_outputs: bool = False


HABITS = (
    Habit(
        "backward ignores dout",
        "backward wrong",
        "upstream_gradient_ignored",
        IgnoresDout,
        of_loss=("hazard", "loss_ignores_dout"),
    ),
    Habit("backward multiplies by dout twice", "backward wrong", "upstream_gradient_squared", TakesDoutTwice),
    Habit("backward overwrites dout", "hazard", "dout_overwritten", OverwritesDout),
    Habit("forward overwrites its input", "hazard", "input_overwritten", OverwritesItsInput, needs_backward=False),
    Habit("forward overwrites its targets", "hazard", "input_overwritten", OverwritesItsTargets, needs_backward=False),
    Habit("backward updates a parameter", "hazard", "parameter_overwritten", OverwritesAParameter),
    Habit(
        "results are overwritten by the next call",
        "hazard",
        "earlier_result_overwritten",
        ReusesItsResults,
        needs_backward=False,
    ),
    Habit("backward belongs to the first forward", "hazard", "stale_cache", KeepsItsFirstInputs),
    Habit("gradients accumulate over calls", "hazard", "accumulates_over_calls", AddsToItsGradients),
    Habit("instances share their state", "hazard", "state_shared_between_instances", SharesItsState),
    Habit(
        "x is read in the order of its memory",
        # What backward gives for entries in another order are gradients of other entries.
        "both wrong",
        "only_for_other_layouts",
        ReadsMemoryInItsOwnOrder,
        needs_backward=False,
    ),
    Habit(
        "dout is read in the order of its memory", "backward wrong", "only_for_other_layouts", ReadsDoutInItsOwnOrder
    ),
    Habit("backward raises", "could not run", "undefined_name", RaisesInBackward),
    Habit("forward raises", "could not run", "undefined_name", RaisesInForward, needs_backward=False),
    Habit(
        "the last of an odd batch is left out",
        "forward wrong",
        None,
        LeavesOutTheLastOfAnOddBatch,
        needs_backward=False,
        only_scalar_outputs=True,
    ),
)

# --------------------------------------------------------------------------- parameters


class WithoutAParameter(Planted):
    """Forward computes as if a parameter were 0; backward is right."""

    def __init__(self, right: Any, shared: Values, name: str) -> None:
        super().__init__(right, shared)
        self._name = name

    def outputs(self, inputs: Inputs, right: Callable[[Inputs], Values]) -> Values:
        kept = np.array(self._parameters()[self._name])
        # For backward, whatever forward keeps is kept of the right one.
        self.right.set_parameters({self._name: np.zeros_like(kept)})
        try:
            found = super().outputs(inputs, right)
        finally:
            self.right.set_parameters({self._name: kept})
        right(copied(inputs))
        return found


class WithoutSumOverTheBatch(Planted):
    """The gradient of a parameter for each row alone, stacked instead of summed."""

    def __init__(self, right: Any, shared: Values, name: str) -> None:
        super().__init__(right, shared)
        self._name = name

    def outputs(self, inputs: Inputs, right: Callable[[Inputs], Values]) -> Values:
        self._inputs = copied(inputs)
        return super().outputs(inputs, right)

    def gradients(self, dout: Array) -> Values:
        found = super().gradients(dout)
        axes = {a.name: a.axes for a in self.record.arguments}
        first = next(iter(self._inputs.values()))
        if first.ndim < len(self.record.arguments[0].axes):
            return found
        quantity, rows = self.record.gradient_name(self._name), []
        has_rows = BATCH in self.record.output_shape
        for row in range(len(first)):
            this = slice(row, row + 1)
            self.right._forward({n: v[this] if BATCH in axes[n] else v for n, v in self._inputs.items()})
            of_row = self.right._backward(dout[this] if has_rows else dout)[quantity]
            # A loss of one row is not divided by the size of the batch.
            rows.append(of_row if has_rows else of_row / len(first))
        if rows:
            found[quantity] = np.stack(rows)
        self.right._forward(copied(self._inputs))
        return found


# --------------------------------------------------------------------------- all of them for one record


@dataclass(frozen=True)
class Candidate:
    """A defect that may turn out to change nothing; ``sometimes`` as in `ValueRule`."""

    defect: Defect
    sometimes: bool = False


def candidates(record: LayerSpec) -> Iterator[tuple[Candidate, ...]]:
    """Every rule planted in ``record``: the ways to do it, of which the first that changes something is enough.

    Of a layer with several gradients each rule takes another one first.
    """
    output = record.outputs[0]
    gradients = [record.gradient_name(name) for name in record.differentiated] if record.has_backward else []
    for rule in ALTERATIONS:
        yield (_altered(record, rule, output, "forward wrong"),)
    for number, rule in enumerate((*ALTERATIONS, *GRADIENT_ALTERATIONS) if gradients else ()):
        turn = number % len(gradients)
        in_turn = (*gradients[turn:], *gradients[:turn])
        yield tuple(_altered(record, rule, quantity, "backward wrong") for quantity in in_turn)
    if gradients:
        make = altering_each(dict.fromkeys((output, *gradients), doubled))
        name = f"{record.name}: {output} and gradients are doubled"
        yield (Candidate(Defect(name, record.name, "forward wrong", "doubled", make)),)
    for habit in HABITS:
        verdict, cause_id = habit.of_loss if habit.of_loss and record.is_loss else (habit.verdict, habit.cause_id)
        if verdict == "both wrong" and not record.has_backward:
            verdict = "forward wrong"
        fits = record.has_backward or not habit.needs_backward
        if fits and not (habit.only_scalar_outputs and record.output_shape != ()):
            name = f"{record.name}: {habit.text}"
            yield (Candidate(Defect(name, record.name, verdict, cause_id, planting(habit.mistake))),)
    for parameter in dict.fromkeys((*record.parameters[:1], *record.parameters[-1:])):
        without = planting(partial(WithoutAParameter, name=parameter))
        name = f"{record.name}: forward does not use {parameter}"
        yield (Candidate(Defect(name, record.name, "forward wrong", "parameter_unused", without)),)
        stacked = planting(partial(WithoutSumOverTheBatch, name=parameter))
        name = f"{record.name}: {record.gradient_name(parameter)} is not summed over the batch"
        yield (Candidate(Defect(name, record.name, "backward wrong", "not_summed_over_the_batch", stacked)),)


def _altered(record: LayerSpec, rule: ValueRule, quantity: str, wrong: Expected) -> Candidate:
    make = altering_each({quantity: rule.alter})
    name = f"{record.name}: {quantity} {rule.text}"
    return Candidate(Defect(name, record.name, rule.verdict or wrong, rule.cause_id, make), rule.sometimes)
