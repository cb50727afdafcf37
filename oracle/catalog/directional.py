"""How rounding travels into a directional derivative: ⟨∇L, v⟩ of a stack of layers, for several v at once.

Two sources give the same number: ⟨backprop, v⟩, and the tangent of the loss along v, which is what a complex step
computes. Each rounding that is made on the way acts on that one number, to first order, by its size times the
derivative of the number with respect to what was rounded. With a value ``x``, its tangent ``ẋ`` along v, the gradient
``δ`` = ∂L/∂x and ``λ`` = ∂⟨∇L, v⟩/∂x these derivatives are

    λ for a rounding in x,   δ for one in ẋ,   ẋ for one in δ,   v for one in a parameter's gradient.

λ goes backward like δ, by the product rule: for y = x W + b with ẏ = ẋ W + x V + c it is λ_x = λ_y Wᵀ + δ_y Vᵀ.

Roundings of different operations are taken as independent with mean 0 (Higham and Mary, A new approach to probabilistic
rounding error analysis, SIAM J. Sci. Comput. 41, 2019). By Hoeffding's inequality their sum Σ c_k ξ_k with |ξ_k| ≤ b_k
exceeds λ·√(Σ c_k² b_k²) with a probability of at most 2·exp(−λ²/2), so what is gathered here are sums of squares. An
inner product of n terms makes n roundings of at most u = eps/2 times the sum of their sizes each; terms that are
exactly 0 make none. Of a few errors that are not made of many roundings the sum of the sizes is less than λ times the
root of the sum of squares, and is gathered instead.

Shapes: values (N, ·), tangents and λ (K, N, ·) for K directions, what is gathered (K,). Errors are in units of u. An
extent says how far a direction moves at most: |v| itself, or one number for all of a parameter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from oracle.catalog.rounding import LOCAL, summed

Array = np.ndarray
ByParameter = tuple[Array, ...]


#: Hoeffding's λ: the probability of a false alarm is at most 2·exp(−λ²/2) = 2.5e-14 for each direction.
DEVIATIONS = 8.0


@dataclass
class Gathered:
    """Errors of one kind, for each direction: the squares of many small ones, and the sum of a few large ones."""

    squares: Array = field(default_factory=lambda: np.zeros(()))
    sums: Array = field(default_factory=lambda: np.zeros(()))

    def many(self, errors: Array) -> None:
        """Add errors that are each the root of a sum of squares, shape (N, ·) or (K, N, ·)."""
        self.squares = self.squares + np.square(errors).sum(axis=(-2, -1))

    def few(self, errors: Array) -> None:
        """Add errors that are each the worst case, shape (K, N, ·)."""
        squares, sums = np.square(errors).sum(axis=(-2, -1)), np.abs(errors).sum(axis=(-2, -1))
        are_few = sums < DEVIATIONS * np.sqrt(squares)
        self.squares = self.squares + np.where(are_few, 0.0, squares)
        self.sums = self.sums + np.where(are_few, sums, 0.0)


@dataclass
class Roundings:
    """The effects of the roundings made in values, in tangents and in gradients."""

    values: Gathered = field(default_factory=Gathered)
    tangents: Gathered = field(default_factory=Gathered)
    gradients: Gathered = field(default_factory=Gathered)

    def bound(self, subject: float, reference: float) -> Array:
        """By how much ⟨backprop, v⟩ and the tangent along v may differ, in units of the loss.

        ``subject`` and ``reference`` are the eps of their arithmetic. Backprop rounds values and gradients, a complex
        step values and tangents.
        """
        parts = [
            (subject, self.values),
            (subject, self.gradients),
            (reference, self.values),
            (reference, self.tangents),
        ]
        squares = sum((eps / 2) ** 2 * part.squares for eps, part in parts)
        return np.asarray(sum(eps / 2 * part.sums for eps, part in parts) + DEVIATIONS * np.sqrt(squares))


class TangentLayer(Protocol):
    """A layer of a stack with its parameters, at one point, with its tangents along several directions.

    It is made with its parameters. ``at`` and ``weigh`` go forward and backward through the stack once for a point,
    ``along`` and ``gather`` once for every set of directions.
    """

    #: The entries that are so near a kink that rounding decides on the branch; None where there are none.
    at_kink: Array | None
    #: How far each direction can be gone before an entry crosses a kink, shape (K,); None where there are no kinks.
    reach: Array | None

    def at(self, x: Array, x_error: Array, eps: float) -> tuple[Array, Array]:
        """y, and what rounding in arithmetic with ``eps`` may have moved it by; ``x_error`` is the same for x."""
        ...

    def weigh(self, delta: Array) -> Array:
        """δ below the layer."""
        ...

    def along(self, tangent: Array | None, directions: ByParameter, extents: ByParameter) -> Array:
        """The tangents of y. That of the data is None: no direction moves them."""
        ...

    def gather(self, sensitivity: Array, made: Roundings) -> Array:
        """λ below the layer; ``made`` gets the roundings of the layer."""
        ...


def _times(rows: Array, extents: Array) -> Array:
    """rows @ extents, shapes (N, D) and (K, D, M); extents of (1, 1, 1) stand for any such array of one number."""
    return rows.sum(axis=1)[:, None] * extents if extents.size == 1 else rows @ extents


class AffineTangent:
    """y = x W + b, ẏ = ẋ W + x V + c."""

    at_kink: Array | None = None
    reach: Array | None = None

    def __init__(self, W: Array, b: Array) -> None:
        self._W, self._b = W, b
        self._absolute_W = np.abs(W)
        # Filled at every point: to map new memory takes longer than to fill it.
        self._dW_squares = np.empty(W.shape)

    def at(self, x: Array, x_error: Array, eps: float) -> tuple[Array, Array]:
        self._x = x.reshape(len(x), -1)
        self._x_squares = np.square(self._x)
        self._terms = np.count_nonzero(self._x, axis=1)[:, None] + 1
        self._size = np.abs(self._x) @ self._absolute_W + np.abs(self._b)
        carried = x_error.reshape(self._x.shape) @ self._absolute_W if x_error.any() else 0.0
        error = carried + eps * summed(int(self._terms.max()) + 1) * self._size
        return self._x @ self._W + self._b, error

    def weigh(self, delta: Array) -> Array:
        self._delta, absolute = delta, np.abs(delta)
        np.matmul(np.abs(self._x).T, absolute, out=self._dW_squares)
        np.square(self._dW_squares, out=self._dW_squares)
        self._db_squares = np.square(absolute.sum(axis=0)).reshape(1, -1)
        self._delta_size = absolute @ self._absolute_W.T
        return delta @ self._W.T

    def along(self, tangent: Array | None, directions: ByParameter, extents: ByParameter) -> Array:
        self._V, self._c = directions
        self._extents = extents
        self._tangent = tangent
        y_tangent = self._x @ self._V + self._c[:, None, :]
        return y_tangent if tangent is None else y_tangent + tangent @ self._W

    def gather(self, sensitivity: Array, made: Roundings) -> Array:
        made.values.many(np.sqrt(self._terms) * sensitivity * self._size)
        # The signs of V are random, so the partial sums of x V have a mean square of at most Σ x²V². Twice the root of
        # that, for all of the thousands of partial sums together.
        V_squares, c_squares = (np.square(extent) for extent in self._extents)
        size = 2 * np.sqrt(_times(self._x_squares, V_squares) + c_squares[..., None, :])
        products = self._terms
        if self._tangent is not None:
            size, products = size + np.abs(self._tangent) @ self._absolute_W, 2 * products
        made.tangents.many(np.sqrt(products) * self._delta * size)
        # dW = xᵀδ and db = Σδ are sums of N terms, and each product with v rounds once more.
        in_gradients = _times(self._dW_squares.reshape(1, -1), V_squares.reshape(len(V_squares), -1, 1))[..., 0, 0]
        in_gradients = in_gradients + _times(self._db_squares, c_squares[..., None])[..., 0, 0]
        made.gradients.squares = made.gradients.squares + (len(self._x) + 1) * in_gradients
        if self._tangent is None:
            return sensitivity[..., :0]  # nobody asks for the gradient of the data
        made.gradients.many(np.sqrt(self._delta.shape[1]) * self._tangent * self._delta_size)
        return sensitivity @ self._W.T + self._delta @ self._V.transpose(0, 2, 1)


class ReluTangent:
    """y = max(x, 0): nothing rounds. Where x is within its error of 0 either branch may have been taken."""

    at_kink: Array | None = None
    reach: Array | None = None

    def at(self, x: Array, x_error: Array, eps: float) -> tuple[Array, Array]:
        self._distance = np.abs(x)
        at_kink = self._distance <= x_error
        self.at_kink = at_kink if at_kink.any() else None
        self._passes, self._may_pass = x > 0, (x > 0) | at_kink
        return np.maximum(x, 0), x_error * self._may_pass

    def weigh(self, delta: Array) -> Array:
        return delta * self._passes

    def along(self, tangent: Array | None, directions: ByParameter, extents: ByParameter) -> Array:
        assert tangent is not None, "an activation follows an Affine layer"
        slopes = np.abs(tangent)
        steps = np.divide(self._distance, slopes, out=np.full(slopes.shape, np.inf), where=slopes > 0)
        self.reach = steps.min(axis=(1, 2), initial=np.inf)
        return tangent * self._passes

    def gather(self, sensitivity: Array, made: Roundings) -> Array:
        return sensitivity * self._may_pass


class SigmoidTangent:
    """y = 1/(1 + exp(−x)), y' = y (1 − y), y'' = y' (1 − 2y): λ_x = λ_y y' + δ_y y'' ẋ."""

    at_kink: Array | None = None
    reach: Array | None = None

    def at(self, x: Array, x_error: Array, eps: float) -> tuple[Array, Array]:
        e = np.exp(-np.abs(x))
        self._y, self._slope = np.where(x >= 0, 1, e) / (1 + e), e / (1 + e) ** 2
        return self._y, self._slope * x_error + LOCAL * eps * self._y

    def weigh(self, delta: Array) -> Array:
        self._delta = delta
        return delta * self._slope

    def along(self, tangent: Array | None, directions: ByParameter, extents: ByParameter) -> Array:
        assert tangent is not None, "an activation follows an Affine layer"
        self._tangent = tangent
        return tangent * self._slope

    def gather(self, sensitivity: Array, made: Roundings) -> Array:
        # LOCAL eps are 2·LOCAL u. The textbook form y (1 − y) takes 1 − y from a rounded y: an error of y², not y'.
        local = 2 * LOCAL
        made.values.few(local * sensitivity * self._y)
        made.tangents.few(local * self._delta * self._slope * self._tangent)
        made.gradients.few(local * self._delta * (self._slope + self._y**2) * self._tangent)
        return sensitivity * self._slope + self._delta * self._slope * (1 - 2 * self._y) * self._tangent


class TangentLoss(Protocol):
    """The last layer of a stack."""

    def at(self, scores: Array, t: Array) -> Array:
        """δ of the scores, both (N, C), like the targets."""
        ...

    def gather(self, tangent: Array, made: Roundings) -> Array:
        """λ of the scores."""
        ...


class SoftmaxWithLossTangent:
    """Softmax cross-entropy, mean over N rows: δ = (y Σt − t)/N, λ = (y ẋ − y (y·ẋ)) Σt/N."""

    def at(self, scores: Array, t: Array) -> Array:
        rows, self._classes = scores.shape
        shifted = scores - scores.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        self._y = exponentials / exponentials.sum(axis=1, keepdims=True)
        self._weight = t.sum(axis=1, keepdims=True) / rows
        self._size = self._y * np.abs(self._weight) * (1 + np.abs(shifted)) + np.abs(t) / rows
        return self._y * self._weight - t / rows

    def gather(self, tangent: Array, made: Roundings) -> Array:
        # Relative to y: exp of a shifted score and of each other one (2 u each), the shift (|shifted| u), C - 1 sums, a
        # division, then Σt, − t and 1/N: C + 7, and once more for the shift. The sum of the exponentials is common to a
        # row, so the errors of a row are added and not their squares.
        of_rows = (self._size * np.abs(tangent)).sum(axis=-1, keepdims=True)
        local = LOCAL + self._classes
        made.gradients.few(local * of_rows)
        made.tangents.few(local * of_rows)
        # The mean over the rows is a sum of N terms.
        made.tangents.many(np.sqrt(len(self._y)) * of_rows.sum(axis=1, keepdims=True))
        along = self._y * tangent
        return (along - self._y * along.sum(axis=-1, keepdims=True)) * self._weight


class IdentityWithLossTangent:
    """½ Σ (y − t)², mean over N rows: δ = (y − t)/N, λ = ẋ/N."""

    def at(self, scores: Array, t: Array) -> Array:
        self._delta = (scores - t) / len(scores)
        return self._delta

    def gather(self, tangent: Array, made: Roundings) -> Array:
        size = np.abs(self._delta * tangent)
        made.gradients.few(LOCAL * size)
        made.tangents.few(LOCAL * size)
        made.tangents.many(np.sqrt(self._delta.size) * size.sum(axis=(1, 2), keepdims=True))
        return tangent / len(self._delta)
