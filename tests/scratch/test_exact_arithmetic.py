"""The tricks behind the precision: what rounding takes away is known exactly."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest

from scratch._precise import log1p, sum_of_others, sum_with_error, two_sum, weighted, weighted_sum


def test_two_sum_is_exact(rng):
    a, b = rng.standard_normal((2, 200)) * 2.0 ** rng.integers(-60, 60, (2, 200))
    s, r = two_sum(a, b)
    np.testing.assert_array_equal(s, a + b)
    for entry in zip(a, b, s, r, strict=True):
        first, second, total, error = map(Fraction, entry)
        assert first + second == total + error
    assert r.any()


def test_two_sum_of_complex_numbers_is_exact_in_both_parts(rng):
    a, b = rng.standard_normal((2, 50)) + 1j * rng.standard_normal((2, 50)) * 1e-20
    s, r = two_sum(a, b)
    for part in ("real", "imag"):
        expected = two_sum(getattr(a, part), getattr(b, part))
        np.testing.assert_array_equal((getattr(s, part), getattr(r, part)), expected)


def test_two_sum_beyond_float64_has_no_error_term():
    with np.errstate(all="ignore"):  # as its callers do
        _, r = two_sum(np.array([1e308, -np.inf]), np.array([1e308, 1.0]))
    np.testing.assert_array_equal(r, [0, 0])


@pytest.mark.parametrize("size", [1, 2, 7, 100, 1000])
@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e5], ids=["near 1", "small", "large"])
def test_sum_with_error(size, scale, rng):
    x = np.exp(-rng.random((size, 20)) * 30) * scale
    sums = sum_with_error(x)
    assert sums.shape == (20,)
    eps = Fraction(2) ** -52
    for column, total in zip(x.T, sums, strict=True):
        exact = sum(map(Fraction, column))
        # The leading digits are added without an error; the rest is below size · eps of the sum, and its own
        # rounding errors below size · eps of that. Then the two are added and rounded, which is eps / 2.
        assert abs(Fraction(total) - exact) <= (eps / 2 + (size * eps) ** 2) * exact


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_sum_of_others_has_its_digits_where_one_is_nearly_all(size, rng):
    x = rng.random((size, 20)) * 1e-9
    x[0] = 1
    others = sum_of_others(x)
    for k, row in enumerate(others):
        for n, total in enumerate(row):
            exact = sum(Fraction(x[i, n]) for i in range(size) if i != k)
            assert abs(Fraction(total) - exact) <= size * Fraction(2) ** -53 * exact


def test_sum_of_others_of_whole_numbers_is_exact():
    np.testing.assert_array_equal(
        sum_of_others(np.array([[0.0, 1.0], [1.0, 0.0], [0.0, -3.0]])), [[1, -3], [0, -2], [1, 1]]
    )


def test_complex_log1p(rng):
    z = 10.0 ** rng.uniform(-25, 2, 100) + 1j * rng.standard_normal(100) * 10.0 ** rng.uniform(-25, 2, 100)
    with mpmath.workprec(200):
        truth = [mpmath.log(1 + mpmath.mpc(number.real, number.imag)) for number in z]
    # log1p and arctan2 to 1 ulp each, their arguments to two roundings more.
    np.testing.assert_allclose(log1p(z).real, [float(w.real) for w in truth], rtol=1e-15)
    np.testing.assert_allclose(log1p(z).imag, [float(w.imag) for w in truth], rtol=1e-15)


def test_a_weight_of_zero_outweighs_infinity():
    with np.errstate(all="ignore"):  # as its callers do
        result = weighted(np.array([0.0, -0.0, 2.0]), np.array([np.inf, np.nan, 3.0]))
    np.testing.assert_array_equal(result, [0, 0, 6])


def test_a_weighted_sum_is_infinite_only_where_something_infinite_has_weight():
    with np.errstate(all="ignore"):  # as its callers do
        assert weighted_sum(np.array([0.0, 2.0]), np.array([np.inf, 3.0])) == 6
        assert weighted_sum(np.array([1.0, 2.0]), np.array([np.inf, 3.0])) == np.inf
        assert np.isnan(weighted_sum(np.array([1.0, 2.0]), np.array([np.nan, 3.0])))
