"""The worked examples: their figures, their printed output, and the derivation of the 2-2-2 network."""

import contextlib
import doctest
import importlib
import io
import pkgutil
import runpy

import numpy as np
import pytest

import scratch
import scratch.examples
from scratch.examples.apple_graph import apple_graph
from scratch.examples.apples_and_oranges import apples_and_oranges
from scratch.examples.sigmoid_graph import sigmoid_graph
from scratch.examples.square_of_a_sum import square_of_a_sum
from scratch.examples.two_two_two_network import PARAMS, T, X, gradient_by_hand, network

EXAMPLES = [module.name for module in pkgutil.iter_modules(scratch.examples.__path__, "scratch.examples.")]
MODULES = [module.name for module in pkgutil.walk_packages(scratch.__path__, "scratch.")]
EPS = np.finfo(np.float64).eps


def test_apple_graph():
    # 1.1 is not a float: up to two roundings.
    assert apple_graph() == pytest.approx({"price": 220, "dApple": 2.2, "dApple_num": 110, "dTax": 200}, rel=2 * EPS)


def test_apples_and_oranges():
    assert apples_and_oranges() == pytest.approx(
        {"price": 715, "dApple": 2.2, "dApple_num": 110, "dOrange": 3.3, "dOrange_num": 165, "dTax": 650},
        rel=2 * EPS,
    )


def test_square_of_a_sum():
    assert square_of_a_sum(2, 3) == {"z": 25, "dx": 10, "dy": 10}
    assert square_of_a_sum(-5, 2) == {"z": 9, "dx": -6, "dy": -6}


def test_sigmoid_graph(rng):
    x, dout = rng.standard_normal((2, 5))
    y, dx = sigmoid_graph(x, dout)
    expected = 1 / (1 + np.exp(-x))
    # Half a dozen roundings each; 1 − y cancels, but not where y is below 0.95.
    np.testing.assert_allclose(y, expected, rtol=8 * EPS)
    np.testing.assert_allclose(dx, dout * expected * (1 - expected), rtol=32 * EPS)


def draw_two_two_two(rng):
    params = {name: rng.standard_normal(np.shape(value)) for name, value in PARAMS.items()}
    return params, rng.standard_normal(2), rng.random(2)


# A dozen roundings of terms near 1; each misprint is off by a million times as much.
ATOL = 32 * EPS


def test_every_partial_derivative_of_the_two_two_two_network(rng):
    for params, x, t in [(PARAMS, X, T), *(draw_two_two_two(rng) for _ in range(20))]:
        by_hand, backprop = gradient_by_hand(params, x, t), network(params).gradient(x, t)
        assert list(by_hand) == list(backprop)
        for name, expected in backprop.items():
            assert by_hand[name].shape == expected.shape
            np.testing.assert_allclose(by_hand[name], expected, rtol=0, atol=ATOL, err_msg=name)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(params, x):
    hidden = sigmoid(x @ params["W1"] + params["b1"])
    return hidden, sigmoid(hidden @ params["W2"] + params["b2"])


def without_misprint(params, x, t):
    hidden, a = forward(params, x)
    return np.outer(hidden, (a - t) * a * (1 - a))


def error_of_the_other_output(params, x, t):
    """(a1 − t1) where (a2 − t2) belongs."""
    hidden, a = forward(params, x)
    return np.outer(hidden, (a - t)[[0, 0]] * a * (1 - a))


def input_of_the_other_hidden_unit(params, x, t):
    """z2 with a2 w21 where a1 w21 belongs."""
    hidden, a = forward(params, x)
    (_, w21), (_, w22) = params["W2"]
    z2 = hidden[1] * w21 + hidden[1] * w22 + params["b2"][1]
    a = np.array([a[0], sigmoid(z2)])
    return np.outer(hidden, (a - t) * a * (1 - a))


def derivative_for_the_other_weight(params, x, t):
    """∂z2/∂w21 where ∂z2/∂w22 belongs."""
    hidden, a = forward(params, x)
    dW2 = np.outer(hidden, (a - t) * a * (1 - a))
    dW2[1, 1] = dW2[0, 1]
    return dW2


def activations_of_the_other_layer(params, x, t):
    """∂E/∂W2 with the transposed A2 where that of A1 belongs."""
    _, a = forward(params, x)
    return np.outer(a, (a - t) * a * (1 - a))


MISPRINTS = [
    error_of_the_other_output,
    input_of_the_other_hidden_unit,
    derivative_for_the_other_weight,
    activations_of_the_other_layer,
]


def test_the_formula_without_a_misprint_is_the_gradient(rng):
    params, x, t = draw_two_two_two(rng)
    expected = network(params).gradient(x, t)["W2"]
    np.testing.assert_allclose(without_misprint(params, x, t), expected, rtol=0, atol=ATOL)


@pytest.mark.parametrize("misprint", MISPRINTS)
def test_every_misprint_gives_another_gradient(misprint, rng):
    params, x, t = draw_two_two_two(rng)
    expected = network(params).gradient(x, t)["W2"]
    assert np.abs(misprint(params, x, t) - expected).max() > 1e6 * ATOL


@pytest.mark.parametrize("name", ["scratch", *MODULES])
def test_what_the_docstrings_show_is_what_comes_out(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    if name in EXAMPLES:
        assert result.attempted > 0


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules.*:RuntimeWarning")  # imported above, run again here
def test_every_example_runs_as_a_program(name):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        runpy.run_module(name, run_name="__main__")
    assert output.getvalue().isascii()  # a console of Windows may print nothing else
    assert output.getvalue().count("\n") > 2
