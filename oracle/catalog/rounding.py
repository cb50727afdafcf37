"""How rounding travels through a stack of layers: first-order error propagation, a class for each layer.

The bound of a network needs more than its result: an error made in one layer is carried to the others. Each
class below takes float64 values with the errors that they may hold, and gives those of what the layer makes
of them. ``eps`` is that of the arithmetic in question; every constant is derived where it stands.

Notation: ``x ± ex`` is an activation and its possible error, ``G`` the chain of absolute Jacobians
|J|ᵀ…|J|ᵀ|dout| down to this layer (which is at least |δ|, the gradient itself), and ``E`` the possible error
of δ. Formulas: Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., ch. 3 (inner products:
|error| ≤ n·u·|x|ᵀ|y| + O(u²), u = eps/2; we allow 2u = eps a term, for any order of summation; ``summed`` says where
not).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

Array = np.ndarray

#: Roundings of a few elementary operations, in eps: exp, log and division are within 1 ulp each, and a local
#: derivative is made of at most eight of them.
LOCAL = 8


def summed(terms: int) -> float:
    """How many eps of Σ|terms| a sum may be off by, with any order of summation.

    The worst case is as many as there are terms. Roundings are not the worst case: if they are independent with mean
    0, an inner product of n terms is within λ·√n·u of Σ|terms| with probability at least 1 − 2·n·exp(−λ²/2) (Higham
    and Mary, A new approach to probabilistic rounding error analysis, SIAM J. Sci. Comput. 41, 2019). λ = 8 is
    4·√n·eps, and for a thousand terms a probability of failure of 3e-11. That they are independent is an assumption;
    blocked summation, as BLAS does it, errs less than a single running sum.
    """
    return min(float(terms), 4 * terms**0.5)


@dataclass
class Flow:
    """What travels backward: the chain ``G``, its error ``E``, and where a kink leaves the branch open."""

    chain: Array
    error: Array
    open_branch: Array


@dataclass
class ParameterBounds:
    """Per parameter of a layer: error bound and the entries that hang on an open branch."""

    error: dict[str, Array] = field(default_factory=dict)
    open_branch: dict[str, Array] = field(default_factory=dict)


class Rounding(Protocol):
    """A layer in a stack. ``forward`` is called before ``backward``, on an instance of its own."""

    def fresh(self) -> Rounding: ...

    def forward(self, x: Array, ex: Array, parameters: tuple[Array, ...], eps: float) -> tuple[Array, Array]: ...

    def backward(self, flow: Flow, eps: float) -> tuple[Flow, tuple[Array, ...], tuple[Array, ...]]:
        """The flow below the layer, and for its parameters the errors and the open entries."""
        ...


class AffineRounding:
    """y = x W + b, rows of x flattened."""

    def fresh(self) -> AffineRounding:
        return AffineRounding()

    def forward(self, x: Array, ex: Array, parameters: tuple[Array, ...], eps: float) -> tuple[Array, Array]:
        W, b = parameters
        self.shape = x.shape
        self.x, self.ex = x.reshape(len(x), -1), ex.reshape(len(x), -1)
        self.W = W
        y = self.x @ W + b
        size = np.abs(self.x) @ np.abs(W) + np.abs(b)
        return y, self.ex @ np.abs(W) + eps * summed(W.shape[0] + 2) * size

    def backward(self, flow: Flow, eps: float) -> tuple[Flow, tuple[Array, ...], tuple[Array, ...]]:
        rows, width = self.x.shape[0], self.W.shape[1]
        absolute_x, absolute_W = np.abs(self.x), np.abs(self.W)
        chain = flow.chain @ absolute_W.T
        below = Flow(
            chain=chain,
            error=flow.error @ absolute_W.T + eps * (width + 1) * chain,
            open_branch=flow.open_branch @ absolute_W.T > 0,
        )
        W_chain = absolute_x.T @ flow.chain
        W_error = absolute_x.T @ flow.error + self.ex.T @ flow.chain + eps * (rows + 1) * W_chain
        b_error = flow.error.sum(axis=0) + eps * rows * flow.chain.sum(axis=0)
        W_open = np.asarray((absolute_x + self.ex).T @ flow.open_branch > 0)
        b_open = np.asarray(flow.open_branch.any(axis=0))
        return below, (W_error, b_error), (W_open, b_open)


class ReluRounding:
    """y = max(x, 0). A kink lies where |x| is within its own error: implementations may then branch apart."""

    def fresh(self) -> ReluRounding:
        return ReluRounding()

    def forward(self, x: Array, ex: Array, parameters: tuple[Array, ...], eps: float) -> tuple[Array, Array]:
        self.kink = np.abs(x) <= ex
        self.passes = (x > 0) | self.kink
        return np.maximum(x, 0), ex * self.passes

    def backward(self, flow: Flow, eps: float) -> tuple[Flow, tuple[Array, ...], tuple[Array, ...]]:
        chain = flow.chain * self.passes
        open_branch = (flow.open_branch & self.passes) | (self.kink & (flow.chain > 0))
        return Flow(chain, flow.error * self.passes, open_branch), (), ()


class SigmoidRounding:
    """y = 1/(1 + exp(-x)), y' = y(1 - y), y'' = y(1 - y)(1 - 2y); |y''| ≤ y'."""

    def fresh(self) -> SigmoidRounding:
        return SigmoidRounding()

    def forward(self, x: Array, ex: Array, parameters: tuple[Array, ...], eps: float) -> tuple[Array, Array]:
        e = np.exp(-np.abs(x))
        y = np.where(x >= 0, 1 / (1 + e), e / (1 + e))
        self.ex, self.y, self.slope = ex, y, e / (1 + e) ** 2
        return y, self.slope * ex + LOCAL * eps * y

    def backward(self, flow: Flow, eps: float) -> tuple[Flow, tuple[Array, ...], tuple[Array, ...]]:
        chain = flow.chain * self.slope
        # The textbook form y(1 - y) takes 1 - y from a rounded y: eps·y·y, not eps·y'.
        local = LOCAL * eps * (self.slope + self.y**2) * flow.chain
        error = flow.error * self.slope + self.slope * self.ex * flow.chain + local
        return Flow(chain, error, flow.open_branch & (self.slope > 0)), (), ()


@dataclass
class LossBound:
    """What the last layer of a stack gives: the bound of the loss, and the flow that starts the way back."""

    error: float
    flow: Flow


class LossRounding(Protocol):
    """The last layer of a stack: scores and targets in, the bound of the loss and the first flow out."""

    def start(self, scores: Array, error: Array, t: Array, eps: float) -> LossBound: ...


def _closed(like: Array) -> Array:
    return np.zeros(like.shape, bool)


class SoftmaxWithLossRounding:
    """Softmax cross-entropy, mean over N rows: δ = (y Σt − t)/N with Hessian (diag(y) − y yᵀ) Σt / N."""

    def start(self, scores: Array, error: Array, t: Array, eps: float) -> LossBound:
        rows, classes = scores.shape
        shifted = scores - scores.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        total = exponentials.sum(axis=1, keepdims=True)
        y = exponentials / total
        weight = np.abs(t).sum(axis=1, keepdims=True)
        # y and t are subtracted: both are rounded, whatever is left of them. The shift rounds too, by up to
        # |shifted|·u, which exp turns into a relative error.
        size = (y * weight * (1 + np.abs(shifted)) + np.abs(t)) / rows
        curvature = weight * (y * error + y * (y * error).sum(axis=1, keepdims=True)) / rows
        chain = np.abs(y * t.sum(axis=1, keepdims=True) - t) / rows
        terms = np.abs(t) * (np.log(total) - shifted)
        spread = np.abs(scores).max(axis=1, keepdims=True) * weight
        slip = (chain * error).sum() + eps * (LOCAL + classes) * (terms.sum() + spread.sum()) / rows
        slip += eps * terms.sum()
        flow = Flow(chain + size * eps * LOCAL, curvature + eps * (LOCAL + classes) * size, _closed(scores))
        return LossBound(float(slip), flow)


class IdentityWithLossRounding:
    """½ Σ (y − t)², mean over N rows: δ = (y − t)/N with Hessian 1/N."""

    def start(self, scores: Array, error: Array, t: Array, eps: float) -> LossBound:
        rows = len(scores)
        chain = np.abs(scores - t) / rows
        value = 0.5 * np.sum((scores - t) ** 2) / rows
        slip = (chain * error).sum() + eps * (LOCAL + scores.size) * value
        return LossBound(float(slip), Flow(chain, error / rows + LOCAL * eps * chain, _closed(scores)))
