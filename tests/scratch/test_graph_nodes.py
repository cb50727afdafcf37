"""Multiply, add, exponential and reciprocal nodes: values, gradients, broadcasting."""

import numpy as np
import pytest

from scratch import AddLayer, ExpLayer, MulLayer, ReciprocalLayer

# A node is one or two roundings; 4 eps leaves room for exp, which is not correctly rounded everywhere.
RTOL = 4 * np.finfo(np.float64).eps


def test_multiply_node_of_the_source():
    node = MulLayer()
    assert node.forward(10, 5) == 50
    dx, dy = node.backward(1.3)
    assert (dx, dy) == (6.5, 13.0)


def test_add_node_of_the_source():
    node = AddLayer()
    assert node.forward(10, 5) == 15
    dx, dy = node.backward(1.3)
    assert (dx, dy) == (1.3, 1.3)


SHAPES = [
    pytest.param((), (), id="two scalars"),
    pytest.param((3, 2), (3, 2), id="equal shapes"),
    pytest.param((3, 2), (), id="array and scalar"),
    pytest.param((), (3, 2), id="scalar and array"),
    pytest.param((3, 2), (2,), id="a row for every row"),
    pytest.param((3, 1), (1, 2), id="column and row"),
    pytest.param((4, 3, 2), (3, 1), id="fewer dimensions and a stretched one"),
    pytest.param((4, 1, 1), (4, 3, 1), id="stretched in the middle"),
    pytest.param((1,), (0,), id="stretched to nothing"),
    pytest.param((0, 3), (3,), id="an empty batch"),
]


@pytest.mark.parametrize(("x_shape", "y_shape"), SHAPES)
def test_multiply_gradient_is_summed_back_to_each_operand(x_shape, y_shape, rng):
    x, y = rng.standard_normal(x_shape), rng.standard_normal(y_shape)
    node = MulLayer()
    z = node.forward(x, y)
    np.testing.assert_array_equal(z, x * y)
    dout = rng.standard_normal(z.shape)

    dx, dy = node.backward(dout)

    # Entry by entry, as the chain rule says: every use of an entry adds its gradient.
    x_index = np.broadcast_to(np.arange(x.size).reshape(x_shape), z.shape)
    y_index = np.broadcast_to(np.arange(y.size).reshape(y_shape), z.shape)
    expected_dx, expected_dy = np.zeros(x.size), np.zeros(y.size)
    for i in np.ndindex(z.shape):
        expected_dx[x_index[i]] += dout[i] * y.flat[y_index[i]]
        expected_dy[y_index[i]] += dout[i] * x.flat[x_index[i]]
    assert dx.shape == x_shape
    assert dy.shape == y_shape
    # Sums of up to 12 terms near 1 in another order.
    np.testing.assert_allclose(dx, expected_dx.reshape(x_shape), rtol=0, atol=1e-14)
    np.testing.assert_allclose(dy, expected_dy.reshape(y_shape), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("x_shape", "y_shape"), SHAPES)
def test_add_gradient_is_summed_back_to_each_operand(x_shape, y_shape, rng):
    x, y = rng.standard_normal(x_shape), rng.standard_normal(y_shape)
    node = AddLayer()
    z = node.forward(x, y)
    np.testing.assert_array_equal(z, x + y)
    # Small integers: their sums are exact in any order.
    dout = rng.integers(-9, 10, z.shape).astype(np.float64)

    dx, dy = node.backward(dout)

    # A multiply node with operands of ones adds in the same way.
    ones = MulLayer()
    ones.forward(np.ones(x_shape), np.ones(y_shape))
    for actual, expected in zip((dx, dy), ones.backward(dout), strict=True):
        assert actual.shape == expected.shape
        np.testing.assert_array_equal(actual, expected)


def test_one_value_fed_twice_receives_two_gradients():
    node = MulLayer()
    s = np.array([2.0, -3.0])
    node.forward(s, s)
    left, right = node.backward([1.0, 1.0])
    np.testing.assert_array_equal(left + right, 2 * s)


def test_exponential_node(rng):
    x, dout = rng.standard_normal((2, 3, 4))
    node = ExpLayer()
    np.testing.assert_allclose(node.forward(x), np.exp(x), rtol=RTOL)
    np.testing.assert_allclose(node.backward(dout), dout * np.exp(x), rtol=RTOL)


def test_reciprocal_node(rng):
    x, dout = rng.standard_normal((2, 3, 4))
    node = ReciprocalLayer()
    np.testing.assert_allclose(node.forward(x), 1 / x, rtol=RTOL)
    np.testing.assert_allclose(node.backward(dout), -dout / x**2, rtol=RTOL)


@pytest.mark.parametrize("x", [0.7, -1.3], ids=["positive", "negative"])
@pytest.mark.parametrize("layer", [ExpLayer, ReciprocalLayer])
def test_derivative_by_the_complex_step(layer, x, complex_step):
    node = layer()
    expected = complex_step(layer().forward, np.asarray(x))
    node.forward(x)
    np.testing.assert_allclose(node.backward(1.0), expected, rtol=RTOL)


def test_infinity_and_nan_pass_without_a_warning():
    np.testing.assert_array_equal(ReciprocalLayer().forward([0.0, -np.inf, np.nan]), [np.inf, -0.0, np.nan])
    np.testing.assert_array_equal(ExpLayer().forward([1e4, -np.inf, np.nan]), [np.inf, 0, np.nan])
    np.testing.assert_array_equal(MulLayer().forward(np.inf, 0.0), np.nan)
    np.testing.assert_array_equal(AddLayer().forward(np.inf, -np.inf), np.nan)


def test_reciprocal_gradient_where_the_square_of_y_is_not_representable():
    node = ReciprocalLayer()
    node.forward(1e-160)
    # 1e320 exceeds float64, its product with dout does not. Four roundings.
    np.testing.assert_allclose(node.backward(1e-160), -1e160, rtol=RTOL)
