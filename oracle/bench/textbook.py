"""One step of training as a textbook writes it: what the loop of ``scratch`` is timed against.

The formulas are those of "Deep Learning from Scratch" (Koki Saitoh), chapter 5, in a row: nothing is checked, nothing
is precise near y = 1, and the gradient of the data is computed though nobody uses it.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


class TextbookStep:
    """A two-layer network under mini-batch SGD; one-hot targets. ``parameters`` are changed in place."""

    def __init__(self, parameters: dict[str, Array], learning_rate: float) -> None:
        self._parameters = parameters
        self._learning_rate = learning_rate

    def __call__(self, x: Array, t: Array) -> float:
        """Take one step on a batch and return the loss before it."""
        p = self._parameters
        batch = x.shape[0]
        hidden = np.dot(x, p["W1"]) + p["b1"]
        mask = hidden <= 0
        out = hidden.copy()
        out[mask] = 0
        scores = np.dot(out, p["W2"]) + p["b2"]
        exp = np.exp(scores - np.max(scores, axis=1, keepdims=True))
        y = exp / np.sum(exp, axis=1, keepdims=True)
        loss = -np.sum(np.log(y[np.arange(batch), t.argmax(axis=1)] + 1e-7)) / batch

        dout = (y - t) / batch
        gradients = {"W2": np.dot(out.T, dout), "b2": np.sum(dout, axis=0)}
        dout = np.dot(dout, p["W2"].T)
        dout[mask] = 0
        np.dot(dout, p["W1"].T)
        gradients["W1"], gradients["b1"] = np.dot(x.T, dout), np.sum(dout, axis=0)
        for name, gradient in gradients.items():
            p[name] -= self._learning_rate * gradient
        return float(loss)
