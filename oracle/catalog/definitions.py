"""The mathematical definition of every layer: its forward, in plain arithmetic on numbers of any kind.

What is here is what a textbook prints, without a thought for overflow or cancellation: the source `truth` evaluates it
with as many digits as it takes, and differentiates it. The arrays may hold float64 or any objects with arithmetic,
``exp()`` and ``log()`` (``np.exp`` of an array of objects calls them). Arguments come in the order of the record.

Source: "Deep Learning from Scratch" (Koki Saitoh), chapters 3 to 5.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def multiply(x: Array, y: Array) -> Array:
    """x y."""
    return x * y


def add(x: Array, y: Array) -> Array:
    """x + y."""
    return x + y


def exponential(x: Array) -> Array:
    """e^x."""
    return np.exp(x)


def reciprocal(x: Array) -> Array:
    """1/x."""
    return 1 / x


def relu(x: Array) -> Array:
    """x where x > 0, else 0."""
    return np.where(x > 0, x, 0 * x)


def sigmoid(x: Array) -> Array:
    """1/(1 + e^(−x))."""
    return 1 / (1 + np.exp(-x))


def affine(x: Array, W: Array, b: Array) -> Array:
    """x W + b, each sample of x flattened."""
    return (x if x.ndim == 1 else x.reshape(len(x), len(W))) @ W + b


def softmax(x: Array) -> Array:
    """e^x / Σ e^x along the last axis."""
    exponentials = np.exp(x)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def hyperbolic_tangent(x: Array) -> Array:
    """(e^x − e^(−x))/(e^x + e^(−x))."""
    return (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))


def cross_entropy_error(y: Array, t: Array, *, over: str = "rows") -> Array:
    """−Σ t log y / N. ``over`` is what this and the other losses are divided by: see ``count``."""
    return -(_like(y, t) * np.log(y)).sum() / count(y, over)


def softmax_cross_entropy(x: Array, t: Array, *, over: str = "rows") -> Array:
    """Σ t (log Σ e^x − x) / N."""
    return (_like(x, t) * (np.log(np.exp(x).sum(axis=-1, keepdims=True)) - x)).sum() / count(x, over)


def half_squared_error(x: Array, t: Array, *, over: str = "rows") -> Array:
    """½ Σ (x − t)² / N."""
    return ((x - t) * (x - t)).sum() / (2 * count(x, over))


def squared_error(x: Array, t: Array, *, over: str = "entries") -> Array:
    """Σ (x − t)² / NC."""
    return ((x - t) * (x - t)).sum() / count(x, over)


def binary_cross_entropy(x: Array, t: Array, *, over: str = "rows") -> Array:
    """Σ (t log(1 + e^(−x)) + (1 − t) log(1 + e^x)) / N."""
    return (t * np.log(1 + np.exp(-x)) + (1 - t) * np.log(1 + np.exp(x))).sum() / count(x, over)


def binary_cross_entropy_error(y: Array, t: Array, *, over: str = "rows") -> Array:
    """−Σ (t log y + (1 − t) log(1 − y)) / N."""
    return -(t * np.log(y) + (1 - t) * np.log(1 - y)).sum() / count(y, over)


def count(x: Array, over: str) -> int:
    """What a sum over all entries of a batch (N, C) is divided by: ``rows`` N, ``entries`` NC, ``nothing`` 1."""
    return {"rows": len(x) if x.ndim > 1 else 1, "entries": x.size, "nothing": 1}[over]


def multi_layer_network(x: Array, t: Array, *parameters: Array, hidden: str, output: str) -> dict[str, Array]:
    """The loss and the scores of Affine – activation – … – Affine; ``parameters`` are W1, b1, W2, b2, …"""
    activation = {"relu": relu, "sigmoid": sigmoid}[hidden]
    pairs = list(zip(parameters[::2], parameters[1::2], strict=True))
    for W, b in pairs[:-1]:
        x = activation(affine(x, W, b))
    scores = affine(x, *pairs[-1])
    if output == "sigmoid-squared":
        scores = sigmoid(scores)
    loss = softmax_cross_entropy if output == "softmax" else half_squared_error
    return {"loss": loss(scores, t), "scores": scores}


def _like(x: Array, t: Array) -> Array:
    """Targets in the shape of x; label indices become one-hot."""
    return t if t.shape == x.shape else (np.arange(x.shape[-1]) == t[..., None]).astype(int)
