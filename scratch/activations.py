"""Activation functions as layers.

Source: "Deep Learning from Scratch" (Koki Saitoh), section 5.5, with two differences: nothing is written into
the caller's upstream gradient, and the sigmoid's 1 − y is not computed by subtraction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from scratch._base import Layer, ieee
from scratch._inputs import Array, read_array
from scratch._precise import exp_minus_abs, in_double

__all__ = ["Relu", "Sigmoid"]


class Relu(Layer):
    """Rectified linear unit: y = x where x > 0, else 0; ∂L/∂x = ∂L/∂y where x > 0, else 0.

    The derivative at 0, where there is none, is 0, as in PyTorch. NaN passes through.

    Attributes:
        mask: True where x <= 0, from the last forward.

    >>> relu = Relu()
    >>> print(relu.forward([[1.0, -0.5], [-2.0, 3.0]]))
    [[1. 0.]
     [0. 3.]]
    >>> print(relu.mask)
    [[False  True]
     [ True False]]
    """

    mask: Array

    @ieee
    def forward(self, x: ArrayLike) -> Array:
        """Return y = 0 where x <= 0, else x.

        Args:
            x: any shape; float32, float64, complex128 (its real part decides), integers or bool.

        Returns:
            y: shape and dtype of x (integers and bool give float64).

        Raises:
            TypeError: an unsupported dtype.
        """
        x = read_array(self._name, "x", x, complex_too=True)
        self.mask = np.asarray(x.real <= 0)
        y = _zero_where(self.mask, x)
        self._remember(y.shape, y.dtype)
        return y

    @ieee
    def backward(self, dout: ArrayLike) -> Array:
        """Return dx = 0 where x <= 0, else dout.

        Args:
            dout: ∂L/∂y, the shape of y; real.

        Raises:
            RuntimeError: backward before forward.
            TypeError: dout is not real, or the last forward was complex.
            ValueError: dout does not have the shape of y.
        """
        dout = self._upstream(dout)
        return _zero_where(self.mask, dout)


class Sigmoid(Layer):
    """Logistic sigmoid: y = 1 / (1 + exp(−x)); ∂L/∂x = ∂L/∂y · y · (1 − y).

    Both are computed from e = exp(−|x|), which never overflows:

        y = 1 / (1 + e) for x >= 0,  e / (1 + e) for x < 0;   y · (1 − y) = e / (1 + e)².

    The textbook y · (1 − y) subtracts a rounded y from 1 and loses every digit where y is near 1. Here values
    and gradients stay within 4 ulp of the truth, computed in float64 and rounded once for float32.

    >>> sigmoid = Sigmoid()
    >>> print(sigmoid.forward([0.0, 1000.0, -1000.0]))
    [0.5 1.  0. ]
    >>> print(sigmoid.backward([1.0, 1.0, 1.0]))
    [0.25 0.   0.  ]
    """

    _e: Array  # exp(−|x|)

    @ieee
    def forward(self, x: ArrayLike) -> Array:
        """Return y = 1 / (1 + exp(−x)).

        Args:
            x: any shape; float32, float64, complex128 (its real part decides the branch), integers or bool.

        Returns:
            y: shape and dtype of x (integers and bool give float64).

        Raises:
            TypeError: an unsupported dtype.
        """
        x = read_array(self._name, "x", x, complex_too=True)
        e = exp_minus_abs(in_double(x))
        y = np.where(x.real >= 0, 1, e) / (1 + e)
        self._e = e
        self._remember(y.shape, x.dtype)
        return np.asarray(y, dtype=x.dtype)

    @ieee
    def backward(self, dout: ArrayLike) -> Array:
        """Return dx = dout · e / (1 + e)², where e = exp(−|x|) and (1 + e)² = 1 + e · (2 + e).

        Args:
            dout: ∂L/∂y, the shape of y; real.

        Raises:
            RuntimeError: backward before forward.
            TypeError: dout is not real, or the last forward was complex.
            ValueError: dout does not have the shape of y.
        """
        dout = self._upstream(dout)
        e = self._e
        dx = in_double(dout) * e / (1 + e * (2 + e))
        return np.asarray(dx, dtype=dout.dtype)


def _zero_where(mask: Array, values: Array) -> Array:
    """Return values with 0 where mask is True, a new array of the same shape and dtype.

    np.where has the processor guess at every entry, and of random ones it guesses half wrong. The bits of a number,
    times 0 or 1, need no guess, and 0 times the bits of NaN or infinity is 0 as well.
    """
    if values.dtype.kind == "c":
        return np.where(mask, 0, values)
    bits = values.view(f"i{values.itemsize}")
    return np.asarray(bits * ~mask).view(values.dtype)
