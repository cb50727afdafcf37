"""The source ``truth``: a record's definition differentiated with as many digits as it takes.

The definition is evaluated on numbers that remember how they came about, and one way back through them gives all
gradients (reverse mode: Griewank and Walther, Evaluating Derivatives, 2nd ed., 2008, chapter 3). The numbers have 200
bits at first and twice as many until two precisions agree to 2⁻⁸⁰: the y − t of a softmax is 0 to 200 bits where scores
are 139 apart, and 0 to 400 bits as well where they are 278 apart. That two results agree is therefore not enough; each
number also knows what it may be off by (`oracle.sources.balls`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpmath import libmp

from oracle.catalog.record import LayerSpec
from oracle.sources.balls import (
    AGREEMENT_BITS,
    NOTHING,
    Balls,
    Mpf,
    UndecidedError,
    UndefinedError,
    magnitude,
    mpmath_balls,
)
from oracle.sources.estimate import Array, Estimate

#: Binary digits, in turn. 2⁻¹¹⁵⁰ is known to be 0 from 1,600 bits on; the last is a guard.
PRECISIONS = (200, 400, 800, 1600, 2400)
Arithmetic = Callable[[int], AbstractContextManager[Balls]]


class NoTruthError(ValueError):
    """The definition has no value here, or no precision was enough."""


@dataclass(frozen=True)
class Truth:
    """``estimate`` has the values rounded to float64, and ``rest`` what rounding took from them, 106 bits in all.

    ``bits`` is the precision that settled them.
    """

    estimate: Estimate
    rest: dict[str, Array]
    bits: int

    def error_in_ulp(self, quantity: str, actual: Array, dtype: str | np.dtype = "float64") -> Array:
        """|actual − truth| for every entry, in units of the spacing of ``dtype`` at the truth."""
        value, rest = self.estimate.values[quantity], self.rest[quantity]
        with np.errstate(invalid="ignore", over="ignore"):
            spacing = np.spacing(np.abs(value).astype(dtype)).astype(np.float64)
            # Two numbers that are near each other subtract exactly.
            error = np.abs((np.asarray(actual, np.float64) - value) - rest)
            return np.where(np.isfinite(error), error / spacing, np.inf)


def truth(
    record: LayerSpec,
    inputs: Mapping[str, Array],
    parameters: Mapping[str, Array],
    dout: Array,
    *,
    only: Mapping[str, Array] | None = None,
    arithmetic: Arithmetic = mpmath_balls,
) -> Truth:
    """Outputs of the definition, and the gradient of Σ dout·y for every differentiated argument.

    ``only``, masks by argument, restricts the gradients to some entries of some arguments; the others are NaN, and
    arguments that it lacks are missing. A few entries of a large network take a fraction of the time of all.

    Raises:
        NoTruthError: an argument that is not finite; a definition that has no value, or is not settled by 2,400 bits.
    """
    given = {**inputs, **parameters}
    for name, values in given.items():
        if not np.isfinite(values).all():
            raise NoTruthError(f"{record.name}: {name} has entries that are not finite; required: numbers")
    before: dict[str, list[Mpf]] | None = None
    for bits in PRECISIONS:
        with arithmetic(bits) as balls:
            tape = _Tape(balls)
            try:
                found = _differentiated(record, given, np.asarray(dout), tape, only)
            except UndecidedError:
                before = None
                continue
            except UndefinedError as error:
                raise NoTruthError(f"{record.name}: the definition has no value here: {error}") from error
            if not all(balls.is_accurate(n) for numbers in found.values() for n in numbers.values):
                before = None
                continue
            now = {quantity: [balls.to_mpf(n) for n in numbers.values] for quantity, numbers in found.items()}
        if before is not None and all(map(_agree, before.values(), now.values())):
            return _rounded(now, found, bits)
        before = now
    raise NoTruthError(f"{record.name}: {PRECISIONS[-1]} bits do not settle the value; two precisions still differ")


def _agree(one: list[Mpf], other: list[Mpf]) -> bool:
    for a, b in zip(one, other, strict=True):
        apart = magnitude(libmp.mpf_sub(a, b))
        if apart > max(magnitude(b) - AGREEMENT_BITS, NOTHING):
            return False
    return True


# --------------------------------------------------------------------------- numbers that remember


class _Tape:
    """All numbers that hang on an argument that is differentiated, in the order in which they came about."""

    def __init__(self, balls: Balls) -> None:
        self.balls = balls
        self.numbers: list[_Number] = []
        self.zero, self.one = balls.number(0.0), balls.number(1.0)

    def constant(self, value: float) -> _Number:
        return _Number(self, self.balls.number(value), (), is_zero=value == 0)

    def variable(self, value: float) -> _Number:
        number = _Number(self, self.balls.number(value), ())
        number.is_tracked = True
        self.numbers.append(number)
        return number


class _Number:
    """A ball, and the numbers that it was made of, each with the derivative by it."""

    __slots__ = ("adjoint", "is_tracked", "is_zero", "parents", "tape", "value")
    is_tracked: bool

    def __init__(
        self, tape: _Tape, value: Any, parents: tuple[tuple[_Number, Any], ...], *, is_zero: bool = False
    ) -> None:
        self.tape = tape
        self.value = value
        self.parents = tuple(parent for parent in parents if parent[0].is_tracked)
        self.is_tracked = bool(self.parents)
        #: A constant that is exactly 0: products with it are left out.
        self.is_zero = is_zero
        self.adjoint: Any = None
        if self.is_tracked:
            tape.numbers.append(self)

    def _other(self, other: Any) -> _Number:
        return other if isinstance(other, _Number) else self.tape.constant(float(other))

    def __add__(self, other: Any) -> _Number:
        other = self._other(other)
        if other.is_zero:
            return self
        if self.is_zero:
            return other
        one = self.tape.one
        return _Number(self.tape, self.value + other.value, ((self, one), (other, one)))

    __radd__ = __add__

    def __neg__(self) -> _Number:
        return _Number(self.tape, -self.value, ((self, -self.tape.one),), is_zero=self.is_zero)

    def __sub__(self, other: Any) -> _Number:
        return self + (-self._other(other))

    def __rsub__(self, other: Any) -> _Number:
        return self._other(other) + (-self)

    def __mul__(self, other: Any) -> _Number:
        other = self._other(other)
        if self.is_zero or other.is_zero:
            return self if self.is_zero else other
        return _Number(self.tape, self.value * other.value, ((self, other.value), (other, self.value)))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> _Number:
        other = self._other(other)
        inverse = self.tape.one / other.value
        value = self.value * inverse
        return _Number(self.tape, value, ((self, inverse), (other, -(value * inverse))))

    def __rtruediv__(self, other: Any) -> _Number:
        return self._other(other) / self

    def exp(self) -> _Number:
        value = self.value.exp()
        return _Number(self.tape, value, ((self, value),))

    def log(self) -> _Number:
        return _Number(self.tape, self.value.log(), ((self, self.tape.one / self.value),))

    def __gt__(self, other: Any) -> bool:
        return self.tape.balls.is_positive((self - other).value)


@dataclass(frozen=True)
class _Numbers:
    """The balls of one quantity, and which entries of which shape they are."""

    values: list[Any]
    shape: tuple[int, ...]
    mask: Array | None


def _differentiated(
    record: LayerSpec, given: Mapping[str, Array], dout: Array, tape: _Tape, only: Mapping[str, Array] | None
) -> dict[str, _Numbers]:
    masks: dict[str, Array | None] = dict.fromkeys(record.differentiated) if only is None else dict(only)
    arguments = {}
    for argument in record.arguments:
        values = np.asarray(given[argument.name])
        is_labels = argument.role == "target" and values.dtype.kind in "iu"
        mask = masks.get(argument.name, False)
        arguments[argument.name] = values if is_labels else _numbers(values, True if mask is None else mask, tape)

    returned = record.definition(*arguments.values(), **record.settings)
    outputs = returned if isinstance(returned, dict) else {record.outputs[0]: returned}
    found = {}
    for quantity, values in outputs.items():
        array = _as_array(values)
        found[quantity] = _Numbers([_ball(n, tape) for n in array.reshape(-1)], array.shape, None)
    _go_back(_as_array(outputs[record.outputs[0]]), dout, tape)
    for name, mask in masks.items():
        array = arguments[name]
        chosen = array.reshape(-1) if mask is None else array[mask]
        adjoints = [tape.zero if number.adjoint is None else number.adjoint for number in chosen]
        found[record.gradient_name(name)] = _Numbers(adjoints, array.shape, mask)
    return found


def _numbers(values: Array, mask: Array | bool, tape: _Tape) -> Array:
    """``values`` as numbers of the tape: variables where ``mask`` is set, constants elsewhere."""
    array = np.empty(values.shape, object)
    masks = np.broadcast_to(mask, values.shape)
    for index in np.ndindex(values.shape):
        make = tape.variable if masks[index] else tape.constant
        array[index] = make(float(values[index]))
    return array


def _as_array(values: Any) -> Array:
    if isinstance(values, np.ndarray):
        return values
    array = np.empty((), object)
    array[()] = values
    return array


def _ball(number: Any, tape: _Tape) -> Any:
    return number.value if isinstance(number, _Number) else tape.balls.number(float(number))


def _go_back(output: Array, dout: Array, tape: _Tape) -> None:
    """Adjoints of all numbers for Σ dout·output."""
    for number, upstream in zip(output.reshape(-1), dout.reshape(-1), strict=True):
        if isinstance(number, _Number) and number.is_tracked:
            seed = tape.balls.number(float(upstream))
            number.adjoint = seed if number.adjoint is None else number.adjoint + seed
    for number in reversed(tape.numbers):
        if number.adjoint is None:
            continue
        for parent, derivative in number.parents:
            share = number.adjoint * derivative
            parent.adjoint = share if parent.adjoint is None else parent.adjoint + share


def _rounded(now: Mapping[str, list[Mpf]], found: Mapping[str, _Numbers], bits: int) -> Truth:
    values: dict[str, Array] = {}
    rest: dict[str, Array] = {}
    for quantity, exact in now.items():
        numbers = found[quantity]
        for parts, into in ((0, values), (1, rest)):
            array = np.full(numbers.shape, np.nan)
            flat = [_two_floats(number)[parts] for number in exact]
            if numbers.mask is None:
                array.reshape(-1)[:] = flat
            else:
                array[numbers.mask] = flat
            into[quantity] = array
    return Truth(Estimate("truth", values), rest, bits)


def _two_floats(number: Mpf) -> tuple[float, float]:
    """The nearest float64, and the nearest to what is left."""
    first = libmp.to_float(number, rnd="n")
    if not np.isfinite(first):
        return first, 0.0
    return first, libmp.to_float(libmp.mpf_sub(number, libmp.from_float(first)), rnd="n")
