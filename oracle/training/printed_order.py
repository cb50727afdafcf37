"""The source material's second network as printed: what updating a layer before passing through it costs.

One sample at a time, the source updates the output layer's weights and then uses the *new* ones to carry the error to
the hidden layer. This is an exhibit, and a planted defect of the loop: it stands here and not in ``scratch``.
"""

from __future__ import annotations

import numpy as np

from oracle.training.parity import StepSeen
from scratch import MultiLayerNet

Array = np.ndarray


class PrintedOrder:
    """Trains a one-hidden-layer sigmoid network with ½Σ(y − t)² in the printed order, a sample at a time in file order.

    The network is changed in place. It is a subject of ``oracle.training.parity``.
    """

    def __init__(self, net: MultiLayerNet, x: Array, t: Array, learning_rate: float) -> None:
        self._net = net
        self._x, self._t = x, t
        self._learning_rate = learning_rate
        self._number = 0

    def parameters(self) -> dict[str, Array]:
        return {name: values.copy() for name, values in self._net.params.items()}

    def step(self) -> StepSeen:
        index = self._number % len(self._x)
        self._number += 1
        x, t = self._x[index], self._t[index]
        params = self._net.params
        hidden = _sigmoid(x @ params["W1"] + params["b1"])
        output = _sigmoid(hidden @ params["W2"] + params["b2"])
        output_delta = (output - t) * output * (1 - output)
        gradients = {"W2": np.outer(hidden, output_delta), "b2": output_delta}
        params["W2"] -= self._learning_rate * gradients["W2"]
        params["b2"] -= self._learning_rate * gradients["b2"]
        # The mistake: W2 is the updated one here.
        hidden_delta = (output_delta @ params["W2"].T) * hidden * (1 - hidden)
        gradients["W1"], gradients["b1"] = np.outer(x, hidden_delta), hidden_delta
        params["W1"] -= self._learning_rate * gradients["W1"]
        params["b1"] -= self._learning_rate * gradients["b1"]
        loss = 0.5 * float(np.sum((output - t) ** 2))
        return StepSeen(np.array([index]), x[None], t[None], loss, gradients)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))
