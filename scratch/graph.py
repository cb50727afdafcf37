"""Nodes of a computational graph: the four that build the sigmoid's graph.

Source: "Deep Learning from Scratch" (Koki Saitoh), chapter 5: every node knows its own local derivative, and
the chain rule multiplies it with the upstream gradient.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from scratch._base import Layer, ieee
from scratch._inputs import Array, Shape, read_array, result_dtype, weighing_dtype
from scratch._precise import in_double, sum_over_rows

__all__ = ["AddLayer", "ExpLayer", "MulLayer", "ReciprocalLayer"]


class MulLayer(Layer):
    """Multiply node: z = x · y, so ∂L/∂x = ∂L/∂z · y and ∂L/∂y = ∂L/∂z · x.

    Scalars and arrays of any shapes that broadcast together.

    >>> node = MulLayer()
    >>> print(node.forward(10, 5))
    50.0
    >>> dx, dy = node.backward(1.3)
    >>> print(dx, dy)
    6.5 13.0
    """

    _x: Array
    _y: Array

    @ieee
    def forward(self, x: ArrayLike, y: ArrayLike) -> Array:
        """Return z = x · y.

        Args:
            x, y: shapes that broadcast together; float32, float64, complex128, integers or bool.

        Returns:
            z: the broadcast shape; np.result_type of the operands' dtypes (integers and bool count as
                float64, a Python number does not count beside an array).

        Raises:
            TypeError: an unsupported dtype.
            ValueError: shapes that do not broadcast together.
        """
        x, y = _operands(self._name, x, y)
        z = np.asarray(x * y)
        # Copies: the caller may change his arrays before he calls backward.
        self._x, self._y = x.copy(), y.copy()
        self._remember(z.shape, z.dtype)
        return z

    @ieee
    def backward(self, dout: ArrayLike) -> tuple[Array, Array]:
        """Return dx = dout · y and dy = dout · x, each summed back to its operand's shape.

        Args:
            dout: ∂L/∂z, the shape of z; real.

        Raises:
            RuntimeError: backward before forward.
            TypeError: dout is not real, or the last forward was complex.
            ValueError: dout does not have the shape of z.
        """
        dout = self._upstream(dout)
        dx = dout * self._y
        dy = dout * self._x
        return _sum_to(dx, self._x.shape), _sum_to(dy, self._y.shape)


class AddLayer(Layer):
    """Add node: z = x + y, so ∂L/∂x = ∂L/∂y = ∂L/∂z.

    Scalars and arrays of any shapes that broadcast together.

    >>> node = AddLayer()
    >>> print(node.forward(10, 5))
    15.0
    >>> dx, dy = node.backward(1.3)
    >>> print(dx, dy)
    1.3 1.3
    """

    _shapes: tuple[Shape, Shape]

    @ieee
    def forward(self, x: ArrayLike, y: ArrayLike) -> Array:
        """Return z = x + y. Arguments, dtype and what is raised are those of `MulLayer.forward`."""
        x, y = _operands(self._name, x, y)
        z = np.asarray(x + y)
        self._shapes = x.shape, y.shape
        self._remember(z.shape, z.dtype)
        return z

    @ieee
    def backward(self, dout: ArrayLike) -> tuple[Array, Array]:
        """Return dx = dout and dy = dout, each summed back to its operand's shape.

        Arguments and what is raised are those of `MulLayer.backward`.
        """
        dout = self._upstream(dout)
        x_shape, y_shape = self._shapes
        return _sum_to(dout, x_shape), _sum_to(dout, y_shape)


class ExpLayer(Layer):
    """Exponential node: y = exp(x), so ∂L/∂x = ∂L/∂y · exp(x) = ∂L/∂y · y."""

    _y: Array

    @ieee
    def forward(self, x: ArrayLike) -> Array:
        """Return y = exp(x), infinite where that exceeds the dtype.

        Args:
            x: any shape; float32, float64, complex128, integers or bool.

        Returns:
            y: shape and dtype of x (integers and bool give float64).

        Raises:
            TypeError: an unsupported dtype.
        """
        x = read_array(self._name, "x", x, complex_too=True)
        y = np.asarray(np.exp(in_double(x)).astype(x.dtype))  # NumPy's float32 exp is off by up to 2 ulp
        self._y = y.copy()  # a copy: y is the caller's to write into
        self._remember(y.shape, y.dtype)
        return y

    @ieee
    def backward(self, dout: ArrayLike) -> Array:
        """Return dx = dout · y.

        Args:
            dout: ∂L/∂y, the shape of y; real.

        Raises:
            RuntimeError: backward before forward.
            TypeError: dout is not real, or the last forward was complex.
            ValueError: dout does not have the shape of y.
        """
        dout = self._upstream(dout)
        return np.asarray(dout * self._y)


class ReciprocalLayer(Layer):
    """Reciprocal node: y = 1 / x, so ∂L/∂x = −∂L/∂y / x² = −∂L/∂y · y²."""

    _y: Array

    @ieee
    def forward(self, x: ArrayLike) -> Array:
        """Return y = 1 / x, infinite at 0. Arguments and what is raised are those of `ExpLayer.forward`."""
        x = read_array(self._name, "x", x, complex_too=True)
        y = np.asarray(np.reciprocal(x))
        self._y = y.copy()  # a copy: y is the caller's to write into
        self._remember(y.shape, y.dtype)
        return y

    @ieee
    def backward(self, dout: ArrayLike) -> Array:
        """Return dx = −dout · y². Arguments and what is raised are those of `ExpLayer.backward`."""
        dout = self._upstream(dout)
        # From the left: dout · y can be representable where y² is not.
        return np.asarray(-dout * self._y * self._y)


def _operands(subject: str, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Return both operands as arrays of their common dtype."""
    a = read_array(subject, "x", x, complex_too=True)
    b = read_array(subject, "y", y, complex_too=True)
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ValueError(
            f"{subject}: x has shape {a.shape} and y has shape {b.shape}; required: shapes that broadcast together"
        ) from None
    # Cast here, not by the operation: NumPy 1 lets a 0-d float64 array lose against a float32 array.
    dtype = result_dtype(weighing_dtype(x, a), weighing_dtype(y, b))
    return a.astype(dtype, copy=False), b.astype(dtype, copy=False)


def _sum_to(gradient: Array, shape: Shape) -> Array:
    """Sum gradient over the axes along which an operand of the given shape was repeated; always a new array.

    An entry that broadcasting used k times receives the sum of the k gradients.
    """
    added = gradient.ndim - len(shape)
    stretched = [added + axis for axis, size in enumerate(shape) if size == 1 != gradient.shape[added + axis]]
    axes = (*range(added), *stretched)
    if not axes:
        return gradient.copy()
    repeated = math.prod(gradient.shape[axis] for axis in axes)
    rows = np.moveaxis(gradient, axes, range(len(axes))).reshape(repeated, math.prod(shape))
    return sum_over_rows(rows).reshape(shape)
