"""numerical_gradient: central differences on a float64 copy."""

import numpy as np
import pytest

from scratch import numerical_gradient


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, bool], ids=lambda d: d.__name__)
def test_the_result_is_right_and_float64_whatever_the_dtype_of_x(dtype):
    x = np.array([[0, 1, 1], [1, 0, 1]], dtype=dtype)
    gradient = numerical_gradient(lambda x: np.sum(x**3), x)
    assert gradient.dtype == np.float64
    # h² = 1e-8 from the formula (a third of f''' = 6), 1e-12 from rounding.
    np.testing.assert_allclose(gradient, 3.0 * x.astype(float) ** 2, rtol=0, atol=1.1e-8)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 1, 3)], ids=str)
def test_any_shape(shape, rng):
    x = rng.standard_normal(shape)
    gradient = numerical_gradient(lambda x: np.sum(x**2), x)
    assert gradient.shape == shape
    np.testing.assert_allclose(gradient, 2 * x, rtol=0, atol=1e-10)  # eps · |f| / h; f''' is 0


def test_a_list_is_accepted():
    np.testing.assert_allclose(numerical_gradient(lambda x: x[0] * x[1], [3, 4]), [4, 3], atol=1e-10)


def test_the_callers_array_is_never_written_not_even_on_the_way():
    x = np.array([1.0, 2.0])
    seen = []

    def f(moved):
        seen.append(moved)
        np.testing.assert_array_equal(x, [1, 2])
        return moved.sum()

    numerical_gradient(f, x, h=0.5)
    # Every call has an array of its own, with one entry moved.
    np.testing.assert_array_equal(seen, [[1.5, 2], [0.5, 2], [1, 2.5], [1, 1.5]])


def test_read_only_x_and_a_function_that_writes_into_its_argument():
    x = np.array([1.0, 2.0])
    x.flags.writeable = False

    def f(moved):
        moved **= 2
        return moved.sum()

    np.testing.assert_allclose(numerical_gradient(f, x), [2, 4], atol=1e-10)


def test_the_step_is_the_one_of_the_formula():
    # (f(h) − f(−h)) / 2h of x³ is h².
    assert numerical_gradient(lambda x: x**3, 0.0, h=0.5) == 0.25


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda x: x, ValueError, r"f returned shape \(2,\); required: a scalar"),
        (lambda x: x[:1], ValueError, r"f returned shape \(1,\)"),
        (lambda x: 1j * x.sum(), TypeError, "f returned dtype complex128; required: a real number"),
        (lambda x: None, TypeError, "f returned dtype object"),
        (lambda x: "1", TypeError, "f returned dtype <U1"),
    ],
    ids=["an array", "one element", "complex", "None", "a string"],
)
def test_a_function_that_returns_no_real_scalar_is_refused(f, error, message):
    with pytest.raises(error, match=f"^numerical_gradient: {message}"):
        numerical_gradient(f, [1.0, 2.0])


@pytest.mark.parametrize("h", [0, -1e-4, np.inf, np.nan])
def test_a_step_that_is_none_is_refused(h):
    with pytest.raises(ValueError, match=r"^numerical_gradient: h is .*; required: a positive, finite step"):
        numerical_gradient(np.sum, [1.0], h=h)


def test_complex_x_is_refused():
    with pytest.raises(TypeError, match=r"^numerical_gradient: x has dtype complex128"):
        numerical_gradient(np.sum, [1j])
