"""Exhibits: what is deliberately not right, shown beside what is. They take no part in the verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from oracle.catalog.records import RECORDS
from oracle.data.digits import Digits, one_hot
from oracle.sources.numerical import numerical
from oracle.subjects.in_process import implementation_of
from scratch import TwoLayerNet, softmax
from scratch.differentiation import central_differences

Array = np.ndarray
Advance = Callable[[str], None]

#: Mean absolute differences that the source material prints for its gradient check: TwoLayerNet 784-50-10,
#: the first three training images of MNIST, h = 1e-4. For W2 two runs are printed, 5e-9 and 7e-9.
PRINTED = {"W1": 4e-10, "b1": 2e-9, "W2": 6e-9, "b2": 1.4e-7}
STEP = 1e-4
#: What the source material adds inside the logarithm.
DELTA = 1e-7

EXPLANATION = (
    "The source's figure for b2, 1.4e-7, is no rounding error. Its loss is -log(y + 1e-7), while its backward pass "
    "differentiates -log(y): the two derivatives differ by the factor y/(y + 1e-7), about 1 - 1e-7/y, and with y near "
    "0.1, as an untrained network has it, that is a millionth of every entry. b2 shows it best because its gradient, "
    "y - t averaged over the batch, is the largest. With the exact loss the same check is a thousand times closer "
    "(what is left is the h² of the central difference), and the complex step, which subtracts nothing, agrees to the "
    "last digits."
)


def source_gradient_check(samples: Digits, seed: int, advance: Advance = lambda text: None) -> dict[str, Any]:
    """The source's gradient check on the first three images, by its recipe, with the exact loss, and exactly.

    ``samples`` are MNIST's training digits; ``advance`` is called with a word before each of the three.
    """
    net = TwoLayerNet(784, 50, 10, rng=np.random.default_rng(seed))
    x, t = samples.images[:3], one_hot(samples.labels[:3], 10)
    gradients = net.gradient(x, t)

    def recipe_loss() -> float:
        return float(-np.sum(t * np.log(softmax(net.predict(x)) + DELTA)) / len(x))

    advance("the source's recipe")
    # In place, an entry at a time; each parameter is as before afterwards.
    recipe = {name: central_differences(recipe_loss, values, STEP) for name, values in net.params.items()}
    advance("the exact loss")
    exact = net.numerical_gradient(x, t, STEP)
    advance("the complex step")
    record = RECORDS["TwoLayerNet"]
    parameters = {name: np.array(values) for name, values in net.params.items()}
    answer = numerical(implementation_of(record), {"x": x, "t": t}, parameters, np.ones(()))
    rows = []
    for name in gradients:
        by_complex_step = answer.estimate.values[record.gradient_name(name)]
        rows.append(
            {
                "parameter": name,
                "printed": PRINTED[name],
                "source_recipe": _mean_abs(recipe[name], gradients[name]),
                "exact_loss": _mean_abs(exact[name], gradients[name]),
                "complex_step": _mean_abs(by_complex_step, gradients[name]),
            }
        )
    return {
        "name": "source_gradient_check",
        "title": "The source material's gradient check: TwoLayerNet 784-50-10, first three MNIST images, h = 1e-4",
        "quantity": "mean absolute difference between backprop and a numerical gradient",
        "rows": rows,
        "explanation": EXPLANATION,
    }


def _mean_abs(a: Array, b: Array) -> float:
    return float(np.mean(np.abs(a - b)))
