"""Affine: y = x W + b and its three gradients, for batches, tensors and single samples."""

import numpy as np
import pytest

from scratch import Affine

# Sums of at most 24 products of normal numbers, in another order: 24 · eps · (the sum of moduli, below 40).
ATOL = 24 * np.finfo(np.float64).eps * 40


@pytest.fixture
def affine(rng):
    return Affine(rng.standard_normal((4, 3)), rng.standard_normal(3))


def test_formulas_on_a_batch(affine, rng):
    x, dout = rng.standard_normal((5, 4)), rng.standard_normal((5, 3))
    np.testing.assert_allclose(affine.forward(x), np.einsum("nd,dm->nm", x, affine.W) + affine.b, atol=ATOL)
    np.testing.assert_allclose(affine.backward(dout), np.einsum("nm,dm->nd", dout, affine.W), atol=ATOL)
    np.testing.assert_allclose(affine.dW, np.einsum("nd,nm->dm", x, dout), atol=ATOL)
    np.testing.assert_allclose(affine.db, np.einsum("nm->m", dout), atol=ATOL)


def test_gradients_by_the_complex_step(affine, rng, complex_step):
    x, dout = rng.standard_normal((5, 4)), rng.standard_normal((5, 3))
    W, b = affine.W, affine.b
    affine.forward(x)
    dx = affine.backward(dout)
    expected_dx = complex_step(lambda x: np.sum(dout * Affine(W, b).forward(x)), x)
    expected_dW = complex_step(lambda W: np.sum(dout * Affine(W, b).forward(x)), W)
    expected_db = complex_step(lambda b: np.sum(dout * Affine(W, b).forward(x)), b)
    np.testing.assert_allclose(dx, expected_dx, atol=ATOL)
    np.testing.assert_allclose(affine.dW, expected_dW, atol=ATOL)
    np.testing.assert_allclose(affine.db, expected_db, atol=ATOL)


@pytest.mark.parametrize("shape", [(5, 2, 3, 4), (5, 24, 1), (1, 2, 3, 4)], ids=str)
def test_tensor_input_is_flattened_and_dx_has_its_shape(shape, rng):
    affine = Affine(rng.standard_normal((24, 3)), rng.standard_normal(3))
    x, dout = rng.standard_normal(shape), rng.standard_normal((shape[0], 3))
    y, dx, dW = affine.forward(x), affine.backward(dout), affine.dW
    assert y.shape == (shape[0], 3)
    assert dx.shape == shape

    flat = x.reshape(shape[0], 24)
    np.testing.assert_array_equal(y, affine.forward(flat))
    np.testing.assert_array_equal(dx, affine.backward(dout).reshape(shape))
    np.testing.assert_array_equal(dW, affine.dW)


def test_a_single_sample_is_a_batch_of_one_without_its_axis(affine, rng):
    x, dout = rng.standard_normal(4), rng.standard_normal(3)
    y, dx, dW, db = affine.forward(x), affine.backward(dout), affine.dW, affine.db
    assert (y.shape, dx.shape, dW.shape, db.shape) == ((3,), (4,), (4, 3), (3,))

    np.testing.assert_array_equal(y, affine.forward(x[np.newaxis])[0])
    np.testing.assert_array_equal(dx, affine.backward(dout[np.newaxis])[0])
    np.testing.assert_array_equal(dW, affine.dW)
    np.testing.assert_array_equal(db, affine.db)


@pytest.mark.parametrize("shape", [(0, 4), (0, 2, 2)], ids=str)
def test_an_empty_batch_has_gradients_of_zero(affine, shape):
    assert affine.forward(np.empty(shape)).shape == (0, 3)
    assert affine.backward(np.empty((0, 3))).shape == shape
    np.testing.assert_array_equal(affine.dW, np.zeros((4, 3)))
    np.testing.assert_array_equal(affine.db, np.zeros(3))


@pytest.mark.parametrize(("D", "M"), [(0, 3), (4, 0), (1, 1)], ids=["no input", "no output", "one of each"])
def test_degenerate_sizes(D, M):
    affine = Affine(np.ones((D, M)), np.ones(M))
    np.testing.assert_array_equal(affine.forward(np.ones((2, D))), np.full((2, M), D + 1.0))
    np.testing.assert_array_equal(affine.backward(np.ones((2, M))), np.full((2, D), float(M)))
    assert affine.dW.shape == (D, M)


def test_parameters_are_kept_by_reference_and_read_at_use(rng):
    W, b = rng.standard_normal((4, 3)), rng.standard_normal(3)
    affine = Affine(W, b)
    assert affine.W is W
    assert affine.b is b
    W[:], b[:] = 1, 2
    np.testing.assert_array_equal(affine.forward(np.ones((1, 4))), [[6, 6, 6]])


def test_gradients_of_the_parameters_are_absent_before_and_new_after_every_backward(affine, rng):
    assert affine.dW is None
    assert affine.db is None
    affine.forward(rng.standard_normal((5, 4)))
    dout = rng.standard_normal((5, 3))
    affine.backward(dout)
    first_dW, first_db = affine.dW, affine.db
    kept = first_dW.copy()
    affine.backward(dout)
    assert affine.dW is not first_dW
    assert affine.db is not first_db
    np.testing.assert_array_equal(affine.dW, kept)  # not accumulated


def test_the_newest_forward_wins(affine, rng):
    old, new, dout = rng.standard_normal((2, 4)), rng.standard_normal((2, 4)), rng.standard_normal((2, 3))
    affine.forward(old)
    affine.forward(new)
    affine.backward(dout)
    np.testing.assert_allclose(affine.dW, new.T @ dout, atol=ATOL)


def test_instances_are_independent(rng):
    first, second = (Affine(rng.standard_normal((4, 3)), np.zeros(3)) for _ in range(2))
    x, dout = rng.standard_normal((2, 4)), rng.standard_normal((2, 3))
    first.forward(x)
    second.forward(x + 1)
    first.backward(dout)
    second.backward(dout)
    np.testing.assert_allclose(first.dW, x.T @ dout, atol=ATOL)
