"""Where a gradient is wrong: the set of entries is halved until the wrong ones are found, each with its index.

Every question, "is something wrong among these?", is one derivative along a direction that moves these entries only,
so that one wrong entry among n takes about 2·log2(n) of them. Where most of an array is wrong listing says nothing;
what is said then is the pattern: a factor, a sign, rows, columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from oracle.judge.certificate import DIRECTIONS, Point
from oracle.sources.autograd import autograd, is_available
from oracle.sources.truth import NoTruthError, truth
from oracle.subjects.interface import Array

#: Derivatives that may be spent on a list of wrong entries; beyond that their pattern is described. To find 17 wrong
#: entries among 40,000 takes 400, each a forward where the complex step can be trusted.
MOST_DERIVATIVES = 600
#: Rows or columns are named where they are at most this part of the array.
FEW = 0.25
#: How many of them are written out.
LISTED = 10


@dataclass(frozen=True)
class WrongEntry:
    """An entry of a gradient that is not the derivative, with what it should be."""

    quantity: str
    index: tuple[int, ...]
    backprop: float
    numerical: float
    bound: float
    #: As PyTorch and the definition in high precision have it, where they were asked.
    autograd: float | None = None
    truth: float | None = None

    def __str__(self) -> str:
        place = f"{self.quantity}[{', '.join(map(str, self.index))}]"
        error = abs(self.backprop - self.numerical)
        others = [("autograd", self.autograd), ("truth", self.truth)]
        also = "".join(f"; {name}: {value!r}" for name, value in others if value is not None)
        return (
            f"{place} = {self.backprop!r}, but should be {self.numerical!r} "
            f"(error {error:.3g}, bound {self.bound:.3g}{also})"
        )


@dataclass(frozen=True)
class Location:
    """Where a gradient is wrong: each entry, and, for arrays with too many to list, a sentence by quantity.

    Both are empty where no single entry is beyond its bound.
    """

    entries: tuple[WrongEntry, ...]
    patterns: dict[str, str]
    evaluations: int

    def __bool__(self) -> bool:
        return bool(self.entries or self.patterns)

    def __str__(self) -> str:
        lines = [str(entry) for entry in self.entries[:LISTED]]
        if len(self.entries) > LISTED:
            lines.append(f"… {len(self.entries)} wrong entries in all")
        return "; ".join([*lines, *(f"{quantity}: {pattern}" for quantity, pattern in self.patterns.items())])


def locate(point: Point, most: int = MOST_DERIVATIVES) -> Location:
    """Find what is wrong in the gradients at a point, giving up listing after ``most`` derivatives."""
    return _Search(point, most).run()


def with_other_sources(location: Location, point: Point) -> Location:
    """The same with the values of autograd (where PyTorch is installed) and of truth for the first entries."""
    record, inputs, parameters = point.record, point.inputs, point.parameters
    listed = location.entries[:LISTED]
    if not listed:
        return location
    theirs = autograd(record, inputs, parameters, np.ones(())).values if is_available() else {}
    masks = {name: np.zeros(np.shape(values), bool) for name, values in parameters.items()}
    names = {record.gradient_name(name): name for name in parameters}
    for entry in listed:
        masks[names[entry.quantity]][entry.index] = True
    try:
        only = {name: mask for name, mask in masks.items() if mask.any()}
        exact = truth(record, inputs, parameters, np.ones(()), only=only).estimate.values
    except NoTruthError:
        exact = {}
    told = [
        replace(
            entry,
            autograd=float(theirs[entry.quantity][entry.index]) if theirs else None,
            truth=float(exact[entry.quantity][entry.index]) if exact else None,
        )
        for entry in listed
    ]
    return replace(location, entries=(*told, *location.entries[LISTED:]))


@dataclass(frozen=True)
class _Array:
    """One gradient among all: its quantity, shape, and where it starts and stops."""

    quantity: str
    shape: tuple[int, ...]
    start: int
    stop: int


class _Search:
    def __init__(self, point: Point, most: int) -> None:
        self._point, self._most = point, most
        self._before = point.reference.derivatives, point.reference.evaluations
        self._arrays: list[_Array] = []
        start = 0
        for name, shape in point.reference.shapes.items():
            stop = start + math.prod(shape)
            self._arrays.append(_Array(point.record.gradient_name(name), shape, start, stop))
            start = stop
        self._gradient = point.gradient.copy()

    def run(self) -> Location:
        patterns = self._not_finite()
        if patterns:
            # Nothing can be added to what is not a number.
            return Location((), patterns, self._spent)
        for array in self._arrays:
            pattern = self._of_the_whole(array)
            if pattern:
                patterns[array.quantity] = pattern
        found: dict[int, WrongEntry] = {}
        for array in [array for array in self._arrays if array.quantity not in patterns]:
            listed = self._list(array)
            if listed is None:
                patterns[array.quantity] = self._lines(array)
            else:
                found.update(listed)
        return Location(tuple(found[entry] for entry in sorted(found)), patterns, self._spent)

    @property
    def _spent(self) -> int:
        """Forwards."""
        return self._point.reference.evaluations - self._before[1]

    def _holds(self, start: int, stop: int, step: int = 1) -> bool:
        """Whether one direction through the entries start:stop:step finds nothing."""
        direction = self._point.random_direction(start, stop, step)
        return not direction.any() or self._point.compare(self._gradient, direction)[0].margin <= 1

    def _all_hold(self, array: _Array) -> bool:
        return all(self._holds(array.start, array.stop) for _ in range(DIRECTIONS))

    def _list(self, array: _Array) -> dict[int, WrongEntry] | None:
        """The wrong entries of one array by their place; None where they are too many."""
        found: dict[int, WrongEntry] = {}
        # Errors may cancel in a part that one direction was asked of. What was found is corrected, and all is asked
        # again; where nothing more is found for as often as a certificate asks, no single entry is beyond its bound.
        fruitless = 0
        while fruitless < DIRECTIONS and not self._all_hold(array):
            before = len(found)
            for entry, wrong in self._halve(array, array.start, array.stop):
                found[entry] = wrong
                self._gradient[entry] = wrong.numerical
                if self._point.reference.derivatives - self._before[0] > self._most:
                    self._of(array)[...] = self._point.gradient[array.start : array.stop]
                    return None
            fruitless += len(found) == before
        return {entry: replace(w, backprop=float(self._point.gradient[entry])) for entry, w in found.items()}

    def _halve(self, array: _Array, start: int, stop: int) -> Iterator[tuple[int, WrongEntry]]:
        """The wrong entries among start:stop."""
        if self._holds(start, stop):
            return
        if stop - start > 1:
            middle = (start + stop) // 2
            yield from self._halve(array, start, middle)
            yield from self._halve(array, middle, stop)
            return
        unit = np.zeros((1, self._gradient.size))
        unit[0, start] = 1.0
        (direction,) = self._point.compare(self._gradient, unit)
        index = tuple(int(i) for i in np.unravel_index(start - array.start, array.shape))
        yield start, WrongEntry(array.quantity, index, direction.backprop, direction.numerical, direction.bound)

    # ----------------------------------------------------------------------- too many to list

    def _not_finite(self) -> dict[str, str]:
        patterns = {}
        for array in self._arrays:
            wrong = np.argwhere(~np.isfinite(self._of(array).reshape(array.shape)))
            if len(wrong):
                first = ", ".join(map(str, wrong[0]))
                patterns[array.quantity] = (
                    f"{len(wrong)} of {math.prod(array.shape)} entries are not finite, the first at [{first}]"
                )
        return patterns

    def _of(self, array: _Array) -> Array:
        return self._gradient[array.start : array.stop]

    def _of_the_whole(self, array: _Array) -> str:
        """What all entries of an array have in common where they are wrong; empty for nothing."""
        directions = np.concatenate(
            [self._point.random_direction(array.start, array.stop) for _ in range(DIRECTIONS + 1)]
        )
        compared = self._point.compare(self._gradient, directions)
        if all(d.margin <= 1 for d in compared):
            return ""
        if not self._of(array).any():
            return "every entry is 0"
        largest = max(compared, key=lambda d: abs(d.numerical))
        if largest.numerical == 0:
            return ""
        factor = largest.backprop / largest.numerical
        # Both sides of each product may be off, and the factor by what its own two were.
        slack = 2 * max(1.0, abs(factor))
        if any(abs(d.backprop - factor * d.numerical) > slack * (d.bound + largest.bound) for d in compared):
            return ""
        if len(self._of(array)) == 1:
            return ""  # one entry has a value, and no pattern
        return (
            "every entry has the wrong sign"
            if abs(factor + 1) < 1e-6
            else f"every entry is {factor:.6g} times what it should be"
        )

    def _lines(self, array: _Array) -> str:
        """Which rows or columns are wrong, where they are few."""
        if len(array.shape) == 2:
            rows, columns = array.shape
            of_rows = [(array.start + i * columns, array.start + (i + 1) * columns, 1) for i in range(rows)]
            of_columns = [(array.start + j, array.stop, columns) for j in range(columns)]
            for kind, lines in (("rows", of_rows), ("columns", of_columns)):
                wrong = [number for number, line in enumerate(lines) if not self._holds(*line)]
                if len(wrong) <= FEW * len(lines):
                    listed = ", ".join(map(str, wrong[:LISTED])) + (", …" if len(wrong) > LISTED else "")
                    return f"wrong in {len(wrong)} of {len(lines)} {kind}: {listed}"
        return "wrong all over the array"
