"""The sigmoid composed of four nodes, beside the Sigmoid layer.

    x ── × (−1) ── exp ── + 1 ── 1/· ── y = 1 / (1 + exp(−x))

Backward through the four nodes, with y the output:

    1/·     dout · (−y²)
    + 1     unchanged
    exp     · exp(−x)
    × (−1)  · (−1)          dx = dout · y² · exp(−x) = dout · y · (1 − y)

The last step holds because exp(−x) = (1 − y) / y. The layer does all of it at once, and also where the nodes
overflow: for x = −1000, exp(1000) is infinite, 0² · ∞ is not a number, and the layer gives 0.

Source: "Deep Learning from Scratch" (Koki Saitoh), section 5.5.2.

>>> main()
      x     y, nodes     y, layer    dx, nodes    dx, layer
   -2.0     0.119203     0.119203     0.104994     0.104994
    0.0     0.500000     0.500000     0.250000     0.250000
    3.0     0.952574     0.952574     0.045177     0.045177
-1000.0     0.000000     0.000000          nan     0.000000
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scratch.activations import Sigmoid
from scratch.graph import AddLayer, ExpLayer, MulLayer, ReciprocalLayer


def sigmoid_graph(x: ArrayLike, dout: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return y and dx = dout · ∂y/∂x, both computed node by node."""
    negate, exp, add, reciprocal = MulLayer(), ExpLayer(), AddLayer(), ReciprocalLayer()

    minus_x = negate.forward(x, -1)
    y = reciprocal.forward(add.forward(exp.forward(minus_x), 1))

    d_exp, _ = add.backward(reciprocal.backward(dout))
    dx, _ = negate.backward(exp.backward(d_exp))
    return y, dx


def main() -> None:
    """Print nodes and layer side by side."""
    x = np.array([-2.0, 0.0, 3.0, -1000.0])
    ones = np.ones_like(x)
    y, dx = sigmoid_graph(x, ones)
    layer = Sigmoid()
    columns = x, y, layer.forward(x), dx, layer.backward(ones)

    print("      x     y, nodes     y, layer    dx, nodes    dx, layer")
    for first, *others in zip(*columns, strict=True):
        print(f"{first:7.1f}" + "".join(f"{value:13.6f}" for value in others))


if __name__ == "__main__":
    main()
