"""The numerical source along a direction: the derivative of the loss when all parameters move at once.

One complex step along v gives ⟨∇L, v⟩ to rounding, however many parameters there are (Squire and Trapp, SIAM Review 40,
1998). As for single entries it is trusted only where central differences of the real forward agree; else they are used,
extrapolated and with their own error estimate.

Directions are random signs times magnitudes in [½, 1). With ±1 alone two exchanged entries cancel half of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from oracle.sources.numerical import (
    COMPLEX_STEP,
    EVALUATION_ERROR,
    double,
    extrapolated_difference,
    power_of_two_below,
    quiet,
)
from oracle.subjects.interface import Array, Subject, SubjectError

#: Magnitudes are multiples of 1/1024: an index of ten random bits into a table, ten times cheaper than normal numbers.
LEVELS = 1024
_MAGNITUDES = np.concatenate([np.arange(LEVELS // 2, LEVELS), -np.arange(LEVELS // 2, LEVELS)]) / LEVELS
#: The step of the central difference that a complex step is held against. Every parameter moves at once, and with it
#: every pre-activation by about √(parameters of a unit) steps; it is made smaller where a kink is nearer, and smaller
#: still where the function changes faster.
TRUST_STEP = 2.0**-14
TRUST_STEPS = (1.0, 2.0**-6, 2.0**6)
#: A kink that is nearer than this leaves no room for a difference: the step is then beyond it, and the error large.
SMALLEST_STEP = 2.0**-40
SMALLEST_SIZE = 2.0**-30
#: Agreement to a millionth is none by chance, and tells a derivative from one that lacks a part.
MEANINGFUL = 1e-6


def draw_directions(out: Array, rng: np.random.Generator) -> Array:
    """Fill ``out``, float64, with random sign × magnitude in [½, 1), multiples of 1/1024, and return it."""
    # Four numbers of 16 bits from one of 64; of each, ten bits.
    numbers = rng.bit_generator.random_raw(out.size // 4 + 1).view(np.uint16)[: out.size] & np.uint16(LEVELS - 1)
    # With "raise" NumPy fills an array of its own first.
    return _MAGNITUDES.take(numbers.reshape(out.shape), out=out, mode="wrap")


@dataclass(frozen=True)
class Slope:
    """⟨∇L, v⟩ with what it may be off by for other reasons than rounding, and the method it was had by."""

    value: float
    own_error: float
    method: str


class AlongDirections:
    """The loss of a subject as a function of all its parameters, laid out one after the other in one array.

    ``inputs`` and ``parameters`` are real; they are copied to double precision. ``derivatives`` counts those that were
    asked for, ``evaluations`` the forwards they took. Raises SubjectError when forward cannot be called.
    """

    def __init__(self, subject: Subject, parameters: Mapping[str, Array]) -> None:
        self._record = subject.record
        self._point = {name: double(values) for name, values in parameters.items()}
        self.shapes = {name: values.shape for name, values in self._point.items()}
        self.entries = sum(values.size for values in self._point.values())
        self.derivatives = self.evaluations = 0
        #: Why the complex step cannot be trusted; None before it was tried, and empty where it can.
        self.distrust: str | None = None
        self._refused = ""
        self._moved = {name: values.astype(np.complex128) for name, values in self._point.items()}
        self._stepped = {name: values.copy() for name, values in self._point.items()}
        with quiet():
            self._real = subject.open(self._stepped)
            try:
                self._complex = subject.open(self._moved)
            except SubjectError as reason:
                self._refused = str(reason)

    def at(self, inputs: Mapping[str, Array]) -> None:
        """Go to other inputs. The complex step has to show again that it can be trusted there."""
        targets = {a.name for a in self._record.of_role("target")}
        self._inputs = {name: double(values, name in targets) for name, values in inputs.items()}
        self.distrust = self._refused or None

    def split(self, flat: Array) -> dict[str, Array]:
        """Views of the last axis of ``flat`` as the parameters, by name."""
        parts, start = {}, 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape))
            parts[name] = flat[..., start : start + size].reshape(*flat.shape[:-1], *shape)
            start += size
        return parts

    def slope(self, direction: Array, reach: float = np.inf) -> Slope:
        """The derivative along ``direction``, shape (entries,).

        Differences stay within ``reach``: beyond it another branch begins, whose slope they would mix in.
        """
        self.derivatives += 1
        with quiet():
            if not self.distrust:
                try:
                    value = self._complex_slope(direction)
                    if self.distrust is None:
                        self.distrust = self._why_distrusted(direction, value, reach)
                except (SubjectError, np.exceptions.ComplexWarning) as reason:
                    self.distrust = str(reason)
                if not self.distrust:
                    return Slope(value, 0.0, "complex step")
            # Its first step is 2⁻⁶ of the size.
            size = power_of_two_below(np.asarray(min(2.0**-6, 2.0**5 * reach)))
            along = partial(self._loss_as_array, direction)
            slope, error = extrapolated_difference(along, max(float(size), SMALLEST_SIZE))
        method = f"extrapolated central difference; complex step: {self.distrust}"
        return Slope(float(slope), float(error), method)

    def _complex_slope(self, direction: Array) -> float:
        for name, part in self.split(direction).items():
            # A multiple of 2⁻¹⁰ times a power of two: exact.
            np.multiply(part, COMPLEX_STEP, out=self._moved[name].imag)
        self._complex.set_parameters(self._moved)
        self.evaluations += 1
        loss = self._complex.value({name: values.copy() for name, values in self._inputs.items()})
        if not np.iscomplexobj(loss):
            raise SubjectError("forward", TypeError("forward returned real numbers for complex ones"))
        return float(loss.imag) / COMPLEX_STEP

    def _loss(self, step: float, direction: Array) -> float:
        for name, part in self.split(direction).items():
            np.multiply(part, step, out=self._stepped[name])
            self._stepped[name] += self._point[name]
        self._real.set_parameters(self._stepped)
        self.evaluations += 1
        return float(self._real.value({name: values.copy() for name, values in self._inputs.items()}))

    def _loss_as_array(self, direction: Array, step: float) -> Array:
        return np.asarray(self._loss(step, direction))

    def _why_distrusted(self, direction: Array, slope: float, reach: float) -> str:
        """Why the complex step cannot be trusted; empty where a central difference agrees with it."""
        differences = []
        for factor in TRUST_STEPS:
            step = max(float(power_of_two_below(np.asarray(min(TRUST_STEP * factor, reach / 2)))), SMALLEST_STEP)
            ahead, behind = self._loss(step, direction), self._loss(-step, direction)
            difference = (ahead - behind) / (2 * step)
            rounding = EVALUATION_ERROR * (abs(ahead) + abs(behind)) / step
            # Where nothing finite comes of a difference there is nothing to hold against the complex step.
            if not np.isfinite(difference) or abs(difference - slope) <= MEANINGFUL * abs(slope) + rounding:
                return ""
            differences.append(difference)
        return f"along a random direction the loss changes by {slope:.6g} instead of {differences[0]:.6g}"
