"""Exponentials without the two cancellations that cost a textbook softmax or sigmoid all its digits.

1.  1 − y, with y rounded near 1, is wrong in every digit. exp(−|x|), or the sum of the *other* exponentials,
    is known before that rounding, and gives 1 − y without a subtraction.
2.  x − max(x) is rounded before exp sees it, which costs up to |x| ulp. The rounding error of one subtraction
    is itself a floating-point number (two-sum) and corrects exp to first order.

Everything here works in float64 or complex128 and rounds nowhere to float32. Complex numbers go through the
same analytic expressions; where there is a branch, the real part decides.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratch._inputs import Array


def in_double(x: Array) -> Array:
    """Return x in float64, or in complex128 if it is complex; for reading only."""
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64, copy=False)


def exp_minus_abs(x: Array) -> Array:
    """Return exp(−|x|), which never overflows; for complex x exp(−x) or exp(x), whichever has modulus at most 1."""
    return np.asarray(np.exp(np.where(x.real >= 0, -x, x)))


def log1p(z: Array) -> Array:
    """Return log(1 + z), accurate for small z in both parts.

    NumPy's complex log1p loses the real part of a small z = a + ib; here it is, from |1 + z|²,
    ½ · log1p(a · (2 + a) + b²) + i · arctan2(b, 1 + a).
    """
    if z.dtype.kind != "c":
        return np.asarray(np.log1p(z))
    a, b = z.real, z.imag
    return np.asarray(0.5 * np.log1p(a * (2 + a) + b * b) + 1j * np.arctan2(b, 1 + a))


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return s = fl(a + b) and its rounding error r: a + b = s + r exactly; r = 0 where s is not finite.

    Source: Knuth's two-sum; Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 4.3.
    Complex numbers are added part by part, and so are their errors.
    """
    s = a + b
    added = s - a  # what of b has arrived in s
    r = (a - (s - added)) + (b - added)
    return s, np.where(np.isfinite(s), r, 0.0)


def weighted_sum(weight: Array, value: Array) -> Any:
    """Return Σ weight · value, where a weight of 0 gives 0 even of an infinite value."""
    total = (weight * value).sum()
    # 0 · ∞ shows as NaN, the only number that is not itself.
    return total if total == total else weighted(weight, value).sum()


def weighted(weight: Array, value: Array) -> Array:
    """Return weight · value, where a weight of 0 gives 0 even of an infinite value."""
    return np.where(weight == 0, 0.0, weight * value)


def sum_over_rows(rows: Array) -> Array:
    """Return the sum over the first axis, shape (N, M) to (M,), with an error that grows with log N instead of N.

    NumPy adds in pairs along a contiguous last axis, and one row after the other along the first.
    Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 4.2 (pairwise summation).
    """
    return np.asarray(np.ascontiguousarray(rows.T).sum(axis=-1))


def sum_with_error(x: Array) -> Array:
    """Return the sum along the first axis as if it had been taken in about twice the working precision.

    x is not negative (its real part, where it is complex). sigma is above the sum, so that of each entry
    (sigma + x) − sigma leaves the leading digits, all multiples of one number, the last place of sigma: their sum,
    still below sigma, is exact.

    Source: Rump, Ogita and Oishi, Accurate floating-point summation, part I (2008), algorithm ExtractVector, whose
    sigma is a power of two.
    """
    sigma = x.real.max(axis=0) * (2.0 * len(x))
    leading = (sigma + x) - sigma
    return np.asarray(leading.sum(axis=0) + (x - leading).sum(axis=0))


def sum_of_others(x: Array) -> Array:
    """Return Σ_{k≠i} x_k for every entry x_i along the first axis: what stands before it plus what stands after it.

    The sum of all minus x_i has no digits left where x_i is nearly all of the sum, as in smoothed targets. Whole
    numbers, as in one-hot targets, lose none (below 2⁵³) and are subtracted, which is faster.
    """
    if (np.rint(x) == x).all():
        return np.asarray(x.sum(axis=0) - x)
    others = np.zeros_like(x)
    others[1:] = np.cumsum(x[:-1], axis=0)
    others[:-1] += np.cumsum(x[:0:-1], axis=0)[::-1]
    return others


class Exponentials:
    """The exponentials behind softmax, and what softmax and its loss are made of, each to a few ulp.

    x is float64 or complex128, shape (C, ...) with C >= 1; the classes are the first axis, along which NumPy sums
    several times faster than along a short last one. x_m = M is the largest score (for complex x the largest real
    part), and

        e_k = exp(x_k − M),   R = Σ_{k≠m} e_k (the others than m),   S = 1 + R.

    What rounding takes from x_k − M and from the sum R is known and put back. Where the result is rounded to float32 it
    is beyond the last digit, and `corrected` is False: it is then not computed.

    Which class is m is kept as numbers, 0 for m and 1 for the others: NumPy multiplies faster than it chooses.
    """

    def __init__(self, x: Array, *, corrected: bool = True) -> None:
        # NumPy orders complex numbers by their real part first; among equals it does not matter which is M.
        M = x.max(axis=0)
        each_class = np.arange(len(x)).reshape(-1, *(1,) * M.ndim)
        self._is_other = (each_class != x.argmax(axis=0)).astype(np.float64)
        if corrected:
            self._d, r = two_sum(x, -M)
            e = np.exp(self._d)
            self.e = e + e * r  # exp(d + r) to first order
            self._others = self.e * self._is_other
            R = sum_with_error(self._others)
        else:
            self._d = x - M
            self.e = np.exp(self._d)
            self._others = self.e * self._is_other
            R = self._others.sum(axis=0)
        self.R = R + (M - M)  # + 0, or NaN where M is infinite, as IEEE says of the sum

    def S_minus_e(self) -> Array:
        """Return S − e_i, which is 1 + (R − e_i), and R for m.

        R − e_i loses nothing that the 1 before it would show; S − e_m would lose everything.
        """
        return self._is_other + (self.R - self._others)

    def minus_log_y(self) -> Array:
        """Return −log y_i = (M − x_i) + log1p(R): two terms that are never negative, so nothing cancels."""
        return log1p(self.R) - self._d
