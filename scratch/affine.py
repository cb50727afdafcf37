"""The fully connected layer.

Source: "Deep Learning from Scratch" (Koki Saitoh), section 5.6.
"""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from scratch._base import Layer, ieee
from scratch._inputs import Array, Shape, read_array, result_dtype, to_array
from scratch._precise import sum_over_rows

__all__ = ["Affine"]


class Affine(Layer):
    """Affine transformation: y = x W + b.

        ∂L/∂x = ∂L/∂y Wᵀ,   ∂L/∂W = xᵀ ∂L/∂y,   ∂L/∂b = Σ over the batch of ∂L/∂y

    W and b are kept by reference, read at every call and never written: whoever trains changes them in place.
    x is kept by reference from forward to backward.

    Attributes:
        W: weights, shape (D, M).
        b: biases, shape (M,).
        dW, db: gradients of W and b, new arrays at every backward; None before the first.

    >>> affine = Affine(W=[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], b=[0.5, 0.5, 0.5])
    >>> print(affine.forward([1.0, 1.0]))
    [5.5 7.5 9.5]
    >>> print(affine.backward([1.0, 0.0, 0.0]))
    [1. 4.]
    >>> print(affine.dW)
    [[1. 0. 0.]
     [1. 0. 0.]]
    """

    _x: Array
    _x_shape: Shape

    def __init__(self, W: ArrayLike, b: ArrayLike) -> None:
        """Keep references to W, shape (D, M), and b, shape (M,).

        Raises:
            TypeError: an unsupported dtype (supported: float32, float64, complex128, integers, bool).
            ValueError: other shapes.
        """
        self.W = to_array(self._name, "W", W)
        self.b = to_array(self._name, "b", b)
        self.dW: Array | None = None
        self.db: Array | None = None
        self._parameters()  # refuse what is wrong here, where it was passed

    @ieee
    def forward(self, x: ArrayLike) -> Array:
        """Return y = x W + b.

        Args:
            x: a batch (N, D), N = 0 included; a batch of tensors (N, C, H, W), or of any other such shape,
                each flattened to D = C·H·W features; or a single sample (D,). float32, float64, complex128,
                integers or bool.

        Returns:
            y: (N, M), or (M,) for a single sample; np.result_type of x, W and b (integers and bool count as
                float64).

        Raises:
            TypeError: an unsupported dtype.
            ValueError: a number of features other than D.
        """
        x = read_array(self._name, "x", x, complex_too=True)
        W, b = self._parameters()
        rows = self._as_rows(x, W)
        dtype = result_dtype(x.dtype, W.dtype, b.dtype)

        y = rows.astype(dtype, copy=False) @ W.astype(dtype, copy=False)
        y += b.astype(dtype, copy=False)
        if x.ndim == 1:
            y = y[0]
        self._x, self._x_shape = rows, x.shape
        self._remember(y.shape, dtype)
        return y

    @ieee
    def backward(self, dout: ArrayLike) -> Array:
        """Return dx = dout Wᵀ in the shape of x, and set dW = xᵀ dout and db = Σ_n dout.

        Args:
            dout: ∂L/∂y, the shape of y; real.

        Raises:
            RuntimeError: backward before forward.
            TypeError: dout is not real, or the last forward was complex.
            ValueError: dout does not have the shape of y.
        """
        rows = self.differentiate_parameters(dout)
        W = self._parameters()[0].astype(rows.dtype, copy=False)
        dx = rows @ W.T
        return dx.reshape(self._x_shape)

    @ieee
    def differentiate_parameters(self, dout: ArrayLike) -> Array:
        """Set dW = xᵀ dout and db = Σ_n dout without computing dx, and return dout as rows (N, M).

        It is what `backward` does first, and all that the first layer of a network has to do. Arguments and what is
        raised are those of `backward`; the rows may share memory with dout.
        """
        dout = self._upstream(dout)
        rows = dout.reshape(len(self._x), dout.shape[-1])  # one sample is a batch of one
        x = self._x.astype(rows.dtype, copy=False)
        # The old ones go first: where nobody else holds them the new ones get their memory, which is in the caches.
        self.dW = self.db = None
        self.dW = x.T @ rows
        self.db = sum_over_rows(rows)
        return rows

    def _parameters(self) -> tuple[Array, Array]:
        """Return W and b as they are now, for reading only."""
        W = read_array(self._name, "W", self.W, complex_too=True)
        b = read_array(self._name, "b", self.b, complex_too=True)
        if W.ndim != 2:
            raise ValueError(f"{self._name}: W has shape {W.shape}; required: (D, M), inputs by outputs")
        if b.shape != W.shape[1:]:
            raise ValueError(
                f"{self._name}: b has shape {b.shape}, but W has {W.shape[1]} outputs (W.shape = {W.shape}); "
                f"required: b of shape {W.shape[1:]}"
            )
        return W, b

    def _as_rows(self, x: Array, W: Array) -> Array:
        """Return x as (N, D): a single sample is a batch of one, a tensor is flattened."""
        if x.ndim == 0:
            raise ValueError(
                f"{self._name}: x has shape (); required: (N, D), tensors (N, ...) to be flattened, or one sample (D,)"
            )
        N, D = (1, len(x)) if x.ndim == 1 else (len(x), math.prod(x.shape[1:]))
        if D != len(W):
            raise ValueError(
                f"{self._name}: x has {D} features, but W expects {len(W)} (x.shape = {x.shape}, W.shape = {W.shape})"
            )
        return x.reshape(N, D)
