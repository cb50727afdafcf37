"""Losses: each forward is one function, and its backward is that function's derivative.

Nothing is added inside a logarithm, nothing overflows for finite scores, and 1 − y is never computed by
subtraction (see scratch._precise). Losses compute in float64 and round once, at the end, for float32.

Source: "Deep Learning from Scratch" (Koki Saitoh), chapters 4 and 5, for the definitions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scratch._base import Layer, ieee
from scratch._inputs import Array, Shape, read_array, read_scores, read_target, result_dtype
from scratch._precise import Exponentials, exp_minus_abs, in_double, log1p, sum_of_others, weighted, weighted_sum

__all__ = ["IdentityWithLoss", "SigmoidWithLoss", "SoftmaxWithLoss", "cross_entropy_error", "softmax"]


@ieee
def softmax(x: ArrayLike) -> Array:
    """Return y_i = exp(x_i) / Σ_k exp(x_k) along the last axis, each entry to a few ulp.

    Args:
        x: scores, shape (..., C) with C >= 1; float32, float64, complex128, integers or bool.

    Returns:
        y: shape and dtype of x (integers and bool give float64).

    Raises:
        TypeError: an unsupported dtype.
        ValueError: a scalar, or no class (C = 0).

    >>> print(softmax([1000.0, 1000.0]))
    [0.5 0.5]
    """
    x = read_array("softmax", "x", x, complex_too=True)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"softmax: x has shape {x.shape}; required: (..., C) with C >= 1")
    of_x = Exponentials(np.moveaxis(in_double(x), -1, 0))
    return np.moveaxis(of_x.e / (1 + of_x.R), 0, -1).astype(x.dtype, order="C")


@ieee
def cross_entropy_error(y: ArrayLike, t: ArrayLike) -> Any:
    """Return the cross-entropy of probabilities, −Σ t · log(y) / N.

    A target of 0 contributes 0; a probability of 0 at another target gives infinity. To train a network, use
    `SoftmaxWithLoss`, which starts from the scores and has no such infinity.

    Args:
        y: probabilities, shape (N, C), or (C,) for one sample (N = 1); float32, float64, complex128,
            integers or bool.
        t: one-hot or soft targets of the shape of y, or integer label indices, one dimension fewer.

    Returns:
        A scalar; np.result_type of y and, if it is floating, t.

    Raises:
        TypeError: an unsupported dtype.
        ValueError: another shape, an empty batch, labels outside the classes, any other form of target.
    """
    y = read_scores("cross_entropy_error", y, name="y")
    t, t_dtype = read_target("cross_entropy_error", t, y.shape, labels=True)
    N = len(y) if y.ndim == 2 else 1
    loss = -weighted_sum(t, np.log(in_double(y))) / N
    return result_dtype(y.dtype, t_dtype).type(loss + 0.0)  # + 0.0: no negative zero


class Loss(Layer):
    """A layer whose output is a scalar, the mean over the batch. Private base of the losses."""

    _accepts_labels = False
    _x_shape: Shape

    def _read(self, x: ArrayLike, t: ArrayLike) -> tuple[Array, Array]:
        """Return x and t as (N, C) in double precision; for reading only."""
        scores = read_scores(self._name, x)
        target, t_dtype = read_target(self._name, t, scores.shape, labels=self._accepts_labels)
        self._x_shape = scores.shape
        self._remember((), result_dtype(scores.dtype, t_dtype))
        C = scores.shape[-1]
        return in_double(scores).reshape(-1, C), target.reshape(-1, C)

    def _rounded(self, loss: Any) -> Any:
        """Return the loss as a scalar of the result's dtype."""
        return self._y_dtype.type(loss)

    def _like_x(self, dx: Array, dtype: np.dtype[Any]) -> Array:
        """Return dx, computed in double precision, in the shape of x and the given dtype."""
        return dx.astype(dtype, order="C").reshape(self._x_shape)


class SoftmaxWithLoss(Loss):
    """Softmax and cross-entropy in one: loss = −Σ t · log(softmax(x)) / N.

        loss = Σ_n Σ_k t_k · ((M − x_k) + log1p(R)) / N,   M = max(x),   R = Σ exp(x_k − M) over the others
        ∂loss/∂x_i = (y_i · Σ_k t_k − t_i) / N = (y_i · Σ_{k≠i} t_k − t_i · (1 − y_i)) / N,   y = softmax(x)
                   = (e_i · Σ_{k≠i} t_k − t_i · (S − e_i)) / (N · S),   e_i = exp(x_i − M),   S = Σ e_k

    For one-hot targets the gradient is y_i, and −(1 − y_t) at the target; 1 − y comes from the sum of the
    other exponentials, not from a subtraction, and keeps its digits where y is near 1. Soft targets that do
    not sum to 1 are taken as they are.

    Source: "Deep Learning from Scratch" (Koki Saitoh), section 5.6.3 and appendix A.

    >>> loss = SoftmaxWithLoss()
    >>> scores = np.log([0.3, 0.2, 0.5])
    >>> print(f"{loss.forward(scores, 1):.4f}")
    1.6094
    >>> print(loss.backward().round(6))
    [ 0.3 -0.8  0.5]
    """

    _accepts_labels = True
    _exponentials: Exponentials
    _t: Array  # (C, N), as Exponentials has it

    @ieee
    def forward(self, x: ArrayLike, t: ArrayLike) -> Any:
        """Return −Σ t · log(softmax(x)) / N.

        Args:
            x: scores, shape (N, C), or (C,) for one sample (N = 1); float32, float64, complex128, integers
                or bool.
            t: one-hot or soft targets, the shape of x, any real or bool dtype; or label indices 0..C-1, one
                dimension fewer, any integer dtype.

        Returns:
            A scalar; np.result_type of x and, if it is floating, t.

        Raises:
            TypeError: an unsupported dtype.
            ValueError: another shape, an empty batch, no class, labels outside the classes, any other form of
                target.
        """
        x, t = self._read(x, t)
        self._exponentials = Exponentials(x.T.copy(), corrected=self._y_dtype != np.float32)
        self._t = t.T.copy()
        minus_log_y = self._exponentials.minus_log_y()
        return self._rounded(weighted_sum(self._t, minus_log_y) / len(x))

    @ieee
    def backward(self, dout: ArrayLike = 1) -> Array:
        """Return dx = (y · Σ of the other t − t · (1 − y)) · dout / N, in the shape of x.

        Args:
            dout: ∂L/∂loss, a real scalar.

        Raises:
            RuntimeError: backward before forward.
            TypeError: dout is not real, or the last forward was complex.
            ValueError: dout is not a scalar.
        """
        dout = self._upstream(dout)
        of_x = self._exponentials
        t, N = self._t, self._t.shape[1]
        numerator = of_x.e * sum_of_others(t) - t * of_x.S_minus_e()
        dx = numerator * in_double(dout) / (N + N * of_x.R)
        return self._like_x(dx.T, dout.dtype)


class IdentityWithLoss(Loss):
    """Identity output with half the squared error: loss = ½ Σ (x − t)² / N; ∂loss/∂x = (x − t) / N.

    Summed over outputs, averaged over the batch. For one sample it is the textbook's pair for regression,
    whose gradient is y − t.

    Source: "Deep Learning from Scratch" (Koki Saitoh), section 5.6.3.

    >>> loss = IdentityWithLoss()
    >>> print(loss.forward([1.0, 2.0], [0.0, 4.0]))
    2.5
    >>> print(loss.backward())
    [ 1. -2.]
    """

    _difference: Array

    @ieee
    def forward(self, x: ArrayLike, t: ArrayLike) -> Any:
        """Return ½ Σ (x − t)² / N.

        Args:
            x: outputs, shape (N, C), or (C,) for one sample (N = 1); float32, float64, complex128, integers
                or bool.
            t: targets, the shape of x; any real or bool dtype.

        Returns:
            A scalar; np.result_type of x and, if it is floating, t.

        Raises:
            TypeError: an unsupported dtype.
            ValueError: another shape, an empty batch, no output.
        """
        x, t = self._read(x, t)
        self._difference = x - t
        return self._rounded(0.5 * np.sum(self._difference**2) / len(x))

    @ieee
    def backward(self, dout: ArrayLike = 1) -> Array:
        """Return dx = (x − t) · dout / N.

        Arguments and what is raised are those of `SoftmaxWithLoss.backward`.
        """
        dout = self._upstream(dout)
        N = len(self._difference)
        dx = self._difference * in_double(dout) / N
        return self._like_x(dx, dout.dtype)


class SigmoidWithLoss(Loss):
    """Sigmoid and binary cross-entropy in one, from the scores.

        loss = Σ ((1 − t) · max(x, 0) + t · max(−x, 0) + log1p(exp(−|x|))) / N
             = −Σ (t · log(y) + (1 − t) · log(1 − y)) / N,   y = sigmoid(x)
        ∂loss/∂x = ((1 − t) · y − t · (1 − y)) / N = (y − t) / N

    Summed over outputs, averaged over the batch. y and 1 − y both come from exp(−|x|), so neither loses its
    digits where it is small.

    >>> loss = SigmoidWithLoss()
    >>> print(f"{loss.forward([0.0, 1000.0], [1, 1]):.4f}")
    0.6931
    >>> print(loss.backward())
    [-0.5  0. ]
    """

    _y: Array
    _one_minus_y: Array
    _t: Array

    @ieee
    def forward(self, x: ArrayLike, t: ArrayLike) -> Any:
        """Return −Σ (t · log(sigmoid(x)) + (1 − t) · log(1 − sigmoid(x))) / N.

        Args:
            x: scores, shape (N, C), or (C,) for one sample (N = 1); float32, float64, complex128, integers
                or bool.
            t: targets, the shape of x; any real or bool dtype.

        Returns:
            A scalar; np.result_type of x and, if it is floating, t.

        Raises:
            TypeError: an unsupported dtype.
            ValueError: another shape, an empty batch, no output.
        """
        x, t = self._read(x, t)
        positive = x.real >= 0
        e = exp_minus_abs(x)
        self._y = np.where(positive, 1, e) / (1 + e)
        self._one_minus_y = np.where(positive, e, 1) / (1 + e)
        self._t = t.copy()

        max_x, max_minus_x = np.where(positive, x, 0), np.where(positive, 0, -x)
        losses = weighted(1 - t, max_x) + weighted(t, max_minus_x) + log1p(e)
        return self._rounded(np.sum(losses) / len(x))

    @ieee
    def backward(self, dout: ArrayLike = 1) -> Array:
        """Return dx = ((1 − t) · y − t · (1 − y)) · dout / N.

        Arguments and what is raised are those of `SoftmaxWithLoss.backward`.
        """
        dout = self._upstream(dout)
        y, one_minus_y, t, N = self._y, self._one_minus_y, self._t, len(self._t)
        dx = ((1 - t) * y - t * one_minus_y) * in_double(dout) / N
        return self._like_x(dx, dout.dtype)
