"""Relu and Sigmoid: values, derivatives, the convention at 0, extreme inputs, any shape."""

import numpy as np
import pytest

from scratch import AddLayer, ExpLayer, MulLayer, ReciprocalLayer, Relu, Sigmoid

ANY_SHAPE = [(), (0,), (5,), (0, 3), (4, 3), (2, 3, 2, 2)]


def test_relu_mask_of_the_source():
    relu = Relu()
    y = relu.forward([[1.0, -0.5], [-2.0, 3.0]])
    np.testing.assert_array_equal(relu.mask, [[False, True], [True, False]])
    np.testing.assert_array_equal(y, [[1, 0], [0, 3]])


def test_relu_passes_the_gradient_where_x_is_positive():
    relu = Relu()
    relu.forward([1e-300, -1e-300, 2.0, -2.0])
    np.testing.assert_array_equal(relu.backward([3.0, 4.0, -5.0, -6.0]), [3, 0, -5, 0])


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_relu_has_derivative_zero_at_zero(zero):
    relu = Relu()
    y = relu.forward([zero])
    assert not np.signbit(y[0])
    np.testing.assert_array_equal(relu.backward([7.0]), [0])


def test_relu_lets_nan_and_infinity_pass():
    relu = Relu()
    np.testing.assert_array_equal(relu.forward([np.nan, np.inf, -np.inf]), [np.nan, np.inf, 0])
    np.testing.assert_array_equal(relu.backward([1.0, 2.0, 3.0]), [1, 2, 0])


def test_relu_stops_a_nan_that_comes_from_above_a_negative_input():
    relu = Relu()
    relu.forward([-1.0, 1.0])
    np.testing.assert_array_equal(relu.backward([np.nan, np.nan]), [0, np.nan])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu_is_the_choice_of_its_formula_to_the_last_bit(dtype, rng):
    """Negative zero, NaN and infinity included, in any layout."""
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324, 1.0], dtype)
    x, dout = rng.choice(special, (2, 30, 40))
    for one, other in ((x, dout), (x.T, dout.T), (x[::2, ::-3], dout[::2, ::-3])):
        relu = Relu()
        for actual, expected in (
            (relu.forward(one), np.where(one <= 0, dtype(0), one)),
            (relu.backward(other), np.where(one <= 0, dtype(0), other)),
        ):
            assert actual.dtype == dtype
            np.testing.assert_array_equal(actual, expected)
            np.testing.assert_array_equal(np.signbit(actual), np.signbit(expected))


def test_complex_relu_is_decided_by_the_real_part():
    np.testing.assert_array_equal(Relu().forward([1 - 9j, -1 + 9j, 0 + 1j]), [1 - 9j, 0, 0])


def test_sigmoid_at_points_that_are_exact():
    sigmoid = Sigmoid()
    np.testing.assert_array_equal(sigmoid.forward([0.0, 800.0, -800.0, np.inf, -np.inf]), [0.5, 1, 0, 1, 0])
    np.testing.assert_array_equal(sigmoid.backward([4.0, 4.0, 4.0, 4.0, 4.0]), [1, 0, 0, 0, 0])


def test_complex_sigmoid_is_decided_by_the_real_part_and_has_a_derivative_at_zero(complex_step):
    z = np.array([0.5j, 1 + 0.5j, -1 + 0.5j])
    np.testing.assert_allclose(Sigmoid().forward(z), 1 / (1 + np.exp(-z)), rtol=8 * np.finfo(float).eps)
    assert complex_step(Sigmoid().forward, np.array(0.0)) == 0.25


def test_sigmoid_lets_nan_pass():
    sigmoid = Sigmoid()
    np.testing.assert_array_equal(sigmoid.forward([np.nan, 0.0]), [np.nan, 0.5])
    np.testing.assert_array_equal(sigmoid.backward([1.0, np.nan]), [np.nan, np.nan])


def test_sigmoid_gradient_keeps_its_digits_where_y_is_one():
    sigmoid = Sigmoid()
    y = sigmoid.forward([40.0])
    assert y[0] == 1  # y · (1 − y) would be 0
    # exp(-40) to a few ulp.
    np.testing.assert_allclose(sigmoid.backward([1.0]), np.exp(-40.0), rtol=4 * np.finfo(float).eps)


def test_sigmoid_equals_the_sigmoid_composed_of_nodes(rng):
    x, dout = rng.standard_normal((2, 4, 3))
    negate, exp, add, reciprocal = MulLayer(), ExpLayer(), AddLayer(), ReciprocalLayer()
    y = reciprocal.forward(add.forward(exp.forward(negate.forward(x, -1)), 1))
    d_exp, d_one = add.backward(reciprocal.backward(dout))
    dx, d_minus_one = negate.backward(exp.backward(d_exp))

    sigmoid = Sigmoid()
    # A dozen roundings, each at most eps.
    np.testing.assert_allclose(sigmoid.forward(x), y, rtol=12 * np.finfo(float).eps)
    np.testing.assert_allclose(sigmoid.backward(dout), dx, rtol=12 * np.finfo(float).eps)
    assert d_one.shape == d_minus_one.shape == ()


def test_sigmoid_gradient_by_the_complex_step(rng, complex_step):
    x, dout = rng.standard_normal((2, 4, 3)) * 3
    expected = complex_step(lambda x: np.sum(dout * Sigmoid().forward(x)), x)
    sigmoid = Sigmoid()
    sigmoid.forward(x)
    # The complex step sums twelve terms; only one of them has an imaginary part. A dozen roundings.
    np.testing.assert_allclose(sigmoid.backward(dout), expected, rtol=12 * np.finfo(float).eps)


@pytest.mark.parametrize("shape", ANY_SHAPE, ids=str)
@pytest.mark.parametrize("layer", [Relu, Sigmoid])
def test_any_shape(layer, shape, rng):
    x, dout = rng.standard_normal(shape), rng.standard_normal(shape)
    whole = layer()
    y, dx = whole.forward(x), whole.backward(dout)
    assert y.shape == dx.shape == shape
    for index in np.ndindex(shape):
        single = layer()
        # exp may differ by its last bit between vector and scalar code, hence not equality.
        np.testing.assert_allclose(y[index], single.forward(x[index]), rtol=1e-15)
        np.testing.assert_allclose(dx[index], single.backward(dout[index]), rtol=1e-15)
