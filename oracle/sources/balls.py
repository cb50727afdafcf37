"""Numbers of any precision that know what they may be off by: a value and a radius.

Two kinds with one arithmetic: `MpmathBalls`, whose values are mpmath's and whose radii are ours, to first order; and
`FlintBalls`, the balls of Arb, rigorous (python-flint, the extra ``precise``).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from mpmath import libmp

#: Relative: two results agree, and a result is accurate, to this many bits.
AGREEMENT_BITS = 80
#: The smallest float64 is 2⁻¹⁰⁷⁴: what is below this is 0, however many digits it has.
NOTHING = -1150
EXACT = -math.inf

Mpf = tuple[int, int, int, int]


class UndecidedError(Exception):
    """A comparison with 0 of a number that may be on either side of it."""


class UndefinedError(ValueError):
    """A definition has no value: 1/0, the logarithm of a number that is not positive."""


class Balls(Protocol):
    """An arithmetic of one precision. Its numbers have +, −, ·, /, ``exp()`` and ``log()``."""

    def number(self, value: float) -> Any:
        """``value``, exactly."""
        ...

    def is_positive(self, number: Any) -> bool:
        """Whether it is above 0. Raises UndecidedError where that is open."""
        ...

    def is_accurate(self, number: Any) -> bool:
        """Whether it is known to 80 bits, or known to be as good as 0."""
        ...

    def to_mpf(self, number: Any) -> Mpf:
        """Its value as a number of mpmath's lowest level."""
        ...


@contextmanager
def mpmath_balls(bits: int) -> Iterator[Balls]:
    """Balls of mpmath with ``bits`` binary digits. Its precision is no global state, and none is touched."""
    yield _MpmathBalls(bits)


@contextmanager
def flint_balls(bits: int) -> Iterator[Balls]:
    """Balls of Arb with ``bits`` binary digits; the precision of python-flint is set meanwhile."""
    flint = importlib.import_module("flint")
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield _FlintBalls(flint)
    finally:
        flint.ctx.prec = before


def magnitude(value: Mpf) -> float:
    """k with |value| < 2^k, the least; −inf for 0."""
    return value[2] + value[3] if value[1] else -math.inf


def _total(*radii: float) -> float:
    """log2 of the sum of numbers given by their log2."""
    largest = max(radii)
    if largest == EXACT:
        return EXACT
    return largest + math.log2(sum(2.0 ** (radius - largest) for radius in radii))


class _Ball:
    """A value of mpmath with the logarithm, to base 2, of its radius; a subclass for each precision sets ``bits``."""

    __slots__ = ("radius", "value")
    bits: int

    def __init__(self, value: Mpf, radius: float = EXACT) -> None:
        self.value = value
        self.radius = radius

    def _rounded(self, exact: Mpf, *radii: float) -> _Ball:
        """``exact`` to the precision, with what was carried into it and what rounding adds."""
        if exact[3] <= self.bits:
            return type(self)(exact, _total(*radii))
        value = libmp.mpf_pos(exact, self.bits, "n")
        return type(self)(value, _total(magnitude(value) - self.bits, *radii))

    def __add__(self, other: _Ball) -> _Ball:
        a, b = self.value, other.value
        if abs(a[2] - b[2]) <= 2 * self.bits:
            return self._rounded(libmp.mpf_add(a, b), self.radius, other.radius)
        value = libmp.mpf_add(a, b, self.bits, "n")
        return type(self)(value, _total(magnitude(value) - self.bits, self.radius, other.radius))

    def __neg__(self) -> _Ball:
        return type(self)(libmp.mpf_neg(self.value), self.radius)

    def __sub__(self, other: _Ball) -> _Ball:
        return self + (-other)

    def __mul__(self, other: _Ball) -> _Ball:
        a, b = self.value, other.value
        product = libmp.mpf_mul(a, b)
        if self.radius == EXACT and other.radius == EXACT:
            return self._rounded(product, EXACT)
        sizes = self.radius + magnitude(b), other.radius + magnitude(a), self.radius + other.radius
        return self._rounded(product, *sizes)

    def __truediv__(self, other: _Ball) -> _Ball:
        if not other.value[1]:
            raise UndefinedError("a division by 0")
        value = libmp.mpf_div(self.value, other.value, self.bits, "n")
        # d(a/b) = da/b − a/b·db/b, and b is at least half of 2^magnitude.
        below = magnitude(other.value) - 1
        carried = self.radius - below, magnitude(value) + other.radius - below
        return type(self)(value, _total(magnitude(value) - self.bits, *carried))

    def exp(self) -> _Ball:
        value = libmp.mpf_exp(self.value, self.bits, "n")
        if not self.value[1] and self.radius == EXACT:
            return type(self)(value)
        # A radius of more than 1 multiplies the result by a power of e: nothing is known then.
        relative = self.radius if self.radius < 0 else math.inf
        return type(self)(value, _total(magnitude(value) - self.bits, magnitude(value) + relative))

    def log(self) -> _Ball:
        if self.value[0] or not self.value[1]:
            raise UndefinedError("the logarithm of a number that is not positive")
        value = libmp.mpf_log(self.value, self.bits, "n")
        return type(self)(value, _total(magnitude(value) - self.bits, self.radius - (magnitude(self.value) - 1)))


class _MpmathBalls:
    def __init__(self, bits: int) -> None:
        self._ball: type[_Ball] = type("Ball", (_Ball,), {"bits": bits, "__slots__": ()})

    def number(self, value: float) -> _Ball:
        return self._ball(libmp.from_float(float(value)))

    def is_positive(self, number: _Ball) -> bool:
        # |value| ≥ 2^(magnitude − 1).
        if number.radius != EXACT and magnitude(number.value) - 1 <= number.radius:
            raise UndecidedError
        return bool(number.value[1]) and not number.value[0]

    def is_accurate(self, number: _Ball) -> bool:
        size = magnitude(number.value)
        return number.radius <= size - 1 - AGREEMENT_BITS or max(size, number.radius) < NOTHING

    def to_mpf(self, number: _Ball) -> Mpf:
        return number.value


class _FlintBalls:
    def __init__(self, flint: Any) -> None:
        self.number: Callable[[float], Any] = lambda value: flint.arb(float(value))
        self._nothing = flint.arb(2) ** NOTHING

    def is_positive(self, number: Any) -> bool:
        # A ball that contains 0 answers False to both.
        if number > 0:
            return True
        if number <= 0:
            return False
        raise UndecidedError

    def is_accurate(self, number: Any) -> bool:
        return bool(number.is_finite()) and (
            number.rel_accuracy_bits() >= AGREEMENT_BITS or bool(number.abs_upper() < self._nothing)
        )

    def to_mpf(self, number: Any) -> Mpf:
        man, exp = number.mid().man_exp()
        value: Mpf = libmp.from_man_exp(int(man), int(exp))
        return value
