"""The numerical gradient by central differences, element by element.

Source: "Deep Learning from Scratch" (Koki Saitoh), section 4.4, with one difference: it works on a float64
copy. In the caller's integer array x ± h is rounded to nonsense, in float32 the result is off by a quarter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scratch._inputs import Array, read_array

__all__ = ["numerical_gradient"]


def numerical_gradient(f: Callable[[Array], Any], x: ArrayLike, h: float = 1e-4) -> Array:
    """Return the central difference (f(x + h·e_i) − f(x − h·e_i)) / 2h for every entry i of x.

    Its error is about h²·f'''/6 from the formula and eps·|f|/h from rounding.

    Args:
        f: called with a fresh float64 array of x's shape, one entry moved; returns a real scalar.
        x: any shape; float32, float64, integers or bool; never written.
        h: the step, positive.

    Returns:
        float64, the shape of x.

    Raises:
        TypeError: an unsupported dtype of x; f returns something that is not a real number.
        ValueError: f returns an array with dimensions; h is not positive and finite.

    >>> print(numerical_gradient(lambda x: np.sum(x**2), [3, 4]).round(6))
    [6. 8.]
    """
    moved = np.array(read_array("numerical_gradient", "x", x), dtype=np.float64)
    return central_differences(lambda: f(moved.copy()), moved, h)


def central_differences(f: Callable[[], Any], x: Array, h: float) -> Array:
    """Return the central difference of f(), which reads the float64 array x, for every entry of x.

    x is moved in place, an entry at a time, and is as before on return and on any exception.
    """
    if not (math.isfinite(h) and h > 0):
        raise ValueError(f"numerical_gradient: h is {h}; required: a positive, finite step")
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        before = x[index]
        try:
            x[index] = before + h
            plus = _real_scalar(f())
            x[index] = before - h
            minus = _real_scalar(f())
        finally:
            x[index] = before
        gradient[index] = (plus - minus) / (2 * h)
    return gradient


def _real_scalar(value: Any) -> float:
    """Return the value of f as a float, or refuse it."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"numerical_gradient: f returned dtype {array.dtype}; required: a real number")
    if array.ndim != 0:
        raise ValueError(f"numerical_gradient: f returned shape {array.shape}; required: a scalar, shape ()")
    return float(array)
