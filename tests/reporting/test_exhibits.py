"""The exhibit: the source material's gradient check, by its recipe and exactly."""

import os

import pytest

from oracle.data.mnist import load_mnist
from oracle.reporting.exhibits import PRINTED, source_gradient_check

MNIST_DIR = os.environ.get("MNIST_DIR")
pytestmark = pytest.mark.skipif(not MNIST_DIR, reason="MNIST_DIR is not set: the MNIST files are not here")


@pytest.fixture(scope="module")
def rows():
    exhibit = source_gradient_check(load_mnist(MNIST_DIR, limit=3), seed=0)
    return {row["parameter"]: row for row in exhibit["rows"]}


@pytest.mark.parametrize("parameter", PRINTED)
def test_the_recipe_gives_the_printed_figures(rows, parameter):
    # Within a factor of 3: the source's initial weights are not known.
    assert PRINTED[parameter] / 3 < rows[parameter]["source_recipe"] < PRINTED[parameter] * 3


@pytest.mark.parametrize(
    ("parameter", "most"), {"W1": 1e-11, "b1": 1e-11, "W2": 1e-11, "b2": 1e-9}.items(), ids=["W1", "b1", "W2", "b2"]
)
def test_the_exact_loss_leaves_the_truncation_of_the_difference_alone(rows, parameter, most):
    assert 0 < rows[parameter]["exact_loss"] < most


@pytest.mark.parametrize("parameter", PRINTED)
def test_the_complex_step_leaves_rounding_alone(rows, parameter):
    # Entries of at most 0.1 in double precision: an ulp is 1.4e-17, and the mean is below a few of them.
    assert rows[parameter]["complex_step"] < 5e-17
