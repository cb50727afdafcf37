"""One quantity of one case between two sources, entry by entry, against a bound.

An assertion, a message and a row of a table all come from the same Comparison.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from oracle.catalog.case import Case

Array = np.ndarray


@dataclass(frozen=True)
class Comparison:
    """The outcome of comparing ``actual`` with ``expected``.

    ``index``, ``actual``, ``expected``, ``error`` and ``bound`` are those of the worst entry: the one with the
    largest margin = error / bound. ``max_abs``, ``max_rel`` and ``mean_abs`` are over all entries compared
    (``mean_abs`` is the book's figure). ``left_out`` counts entries at a kink, ``zero_both`` those that are
    exactly 0 on both sides.
    """

    quantity: str
    pair: str
    case: Case
    index: tuple[int, ...]
    actual: float
    expected: float
    error: float
    bound: float
    margin: float
    entries: int
    left_out: int
    zero_both: int
    wrong: int
    max_abs: float
    max_rel: float
    mean_abs: float
    #: An error above this would have been noticed in any entry: the largest bound, relative to the largest entry. 0
    #: where that entry is itself too small to have digits.
    noticed: float = 0.0
    #: Why the arrays could not be compared entry by entry; empty when they could.
    mismatch: str = ""
    #: The largest error in units in the last place, in the dtype of the case, of the largest entry: a measure that is
    #: the same for arrays of every scale. 0 where that entry is itself too small to have digits.
    ulps: float = 0.0

    @property
    def agrees(self) -> bool:
        return self.margin <= 1

    def __str__(self) -> str:
        if self.mismatch:
            return f"{self.quantity}: {self.mismatch}"
        place = f"{self.quantity}[{', '.join(map(str, self.index))}]" if self.index else self.quantity
        return (
            f"{place} = {self.actual!r}, but should be {self.expected!r} ({self.pair}: error {self.error:.3g}, "
            f"bound {self.bound:.3g}, {self.wrong} of {self.entries} entries wrong)"
        )


def compare(
    quantity: str,
    pair: str,
    case: Case,
    actual: Array,
    expected: Array,
    bound: Array,
    left_out: Array | None = None,
    size: float | None = None,
) -> Comparison:
    """Compare two arrays of one shape with a bound for each entry; ``left_out`` masks entries at a kink.

    ``size`` is what errors are measured in ulp of, where that is not the largest entry.

    Equal infinities and NaN on both sides agree; NaN or an infinity on one side alone is wrong by an infinite
    margin. An exact agreement has margin 0, whatever the bound.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        mismatch = f"has shape {actual.shape}, but should have shape {expected.shape}"
        return Comparison(
            quantity,
            pair,
            case,
            (),
            np.nan,
            np.nan,
            np.inf,
            0.0,
            np.inf,
            0,
            0,
            0,
            0,
            np.inf,
            np.inf,
            np.inf,
            np.inf,
            mismatch,
            np.inf,
        )
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    bounds = _of_shape(np.asarray(bound, np.float64), a.shape, 0.0)
    kept = ~_of_shape(np.asarray(False if left_out is None else left_out), a.shape, False)
    with np.errstate(all="ignore"):
        same = (a == e) | (np.isnan(a) & np.isnan(e))
        error = np.where(same, 0.0, np.abs(a - e))
        error = np.where(np.isnan(error), np.inf, error)
        # A bound that is not finite says nothing, and excuses nothing.
        margin = np.where(same, 0.0, np.where(np.isfinite(bounds), error / bounds, np.inf))
        margin = np.where(np.isnan(margin), np.inf, margin)
        relative = np.where(same, 0.0, error / np.abs(e))
        # Beside the smallest numbers of the dtype there are no digits in which an error could show.
        info = np.finfo(case.dtype)
        largest = float(np.abs(e[kept]).max(initial=0.0))
        has_digits = float(info.smallest_normal / info.eps) < largest < np.inf
        noticed = float(bounds[kept].max()) / largest if has_digits else 0.0
    entries = int(kept.sum())
    if entries == 0:
        return Comparison(quantity, pair, case, (), 0, 0, 0, 0, 0, 0, int((~kept).sum()), 0, 0, 0, 0, 0)
    flat = int(np.argmax(np.where(kept, margin, -1.0)))
    index = tuple(int(i) for i in np.unravel_index(flat, a.shape))
    finite_relative = relative[kept & (e != 0)]
    max_abs = float(error[kept].max())
    return Comparison(
        quantity=quantity,
        pair=pair,
        case=case,
        index=index,
        actual=float(a[index]),
        expected=float(e[index]),
        error=float(error[index]),
        bound=float(bounds[index]),
        margin=float(margin[index]),
        entries=entries,
        left_out=int((~kept).sum()),
        zero_both=int(((a == 0) & (e == 0) & kept).sum()),
        wrong=int((margin[kept] > 1).sum()),
        max_abs=max_abs,
        max_rel=float(finite_relative.max()) if finite_relative.size else 0.0,
        mean_abs=float(error[kept].mean()),
        noticed=noticed,
        ulps=max_abs / _last_place(max(largest, size or 0.0), float(info.eps)) if has_digits else 0.0,
    )


def _last_place(value: float, eps: float) -> float:
    """The unit in the last place of a positive number, of any exponent: a reference may overflow float32."""
    return math.ldexp(eps, math.frexp(value)[1] - 1)


def _of_shape(values: Array, shape: tuple[int, ...], otherwise: float | bool) -> Array:
    """``values`` for every entry of ``shape``, or ``otherwise`` where they are those of another shape.

    Two arrays may agree in a shape that is wrong; then nothing is known of what rounding does to them.
    """
    try:
        return np.broadcast_to(values, shape)
    except ValueError:
        return np.full(shape, otherwise)
