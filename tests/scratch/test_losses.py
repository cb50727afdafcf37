"""The losses: each backward is the derivative of its forward; forms of target, dout, extreme scores."""

import math

import numpy as np
import pytest

from scratch import IdentityWithLoss, SigmoidWithLoss, SoftmaxWithLoss, cross_entropy_error, softmax

LOSSES = [SoftmaxWithLoss, IdentityWithLoss, SigmoidWithLoss]
EPS = np.finfo(np.float64).eps


def gradient(layer, x, t, dout=1):
    loss = layer()
    loss.forward(x, t)
    return loss.backward(dout)


def test_softmax_gradient_of_the_source():
    scores = np.log([0.3, 0.2, 0.5])
    np.testing.assert_allclose(softmax(scores), [0.3, 0.2, 0.5], rtol=4 * EPS)
    np.testing.assert_allclose(gradient(SoftmaxWithLoss, scores, [0, 1, 0]), [0.3, -0.8, 0.5], rtol=4 * EPS)


def test_squared_error_of_one_sample_has_gradient_y_minus_t():
    loss = IdentityWithLoss()
    assert loss.forward([1.0, 5.0], [3.0, 4.0]) == 2.5
    np.testing.assert_array_equal(loss.backward(), [-2, 1])


def test_binary_cross_entropy_is_summed_over_outputs_and_averaged_over_the_batch():
    y = np.array([[0.25, 0.5], [0.75, 0.5], [0.5, 0.5]])
    t = np.array([[1, 0], [1, 1], [0, 0]])
    expected = -(math.log(0.25) + math.log(0.75) + 4 * math.log(0.5)) / 3
    x = np.log(y / (1 - y))
    np.testing.assert_allclose(SigmoidWithLoss().forward(x, t), expected, rtol=8 * EPS)
    np.testing.assert_allclose(gradient(SigmoidWithLoss, x, t), (y - t) / 3, rtol=8 * EPS)


@pytest.mark.parametrize("shape", [(5, 3), (3,), (1, 3), (4, 1), (1,)], ids=str)
@pytest.mark.parametrize("layer", LOSSES)
def test_gradient_is_the_derivative_of_the_loss(layer, shape, rng, complex_step):
    x, t = rng.standard_normal(shape) * 3, rng.random(shape)
    expected = complex_step(lambda x: layer().forward(x, t), x)
    # Both are sums of at most five terms below 3 with a dozen roundings each.
    np.testing.assert_allclose(gradient(layer, x, t), expected, rtol=0, atol=40 * EPS)


@pytest.mark.parametrize("layer", LOSSES)
def test_gradient_is_the_derivative_of_the_loss_to_the_left_and_right_of_zero_and_at_ties(layer, complex_step):
    x, t = np.array([[0.0, 0.0, -1e-3], [1e-3, 0.0, 1e-3]]), np.array([[1, 0, 0], [0, 0, 1]])
    expected = complex_step(lambda x: layer().forward(x, t), x)
    np.testing.assert_allclose(gradient(layer, x, t), expected, rtol=0, atol=40 * EPS)


@pytest.mark.parametrize("layer", LOSSES)
def test_the_loss_is_the_mean_over_the_batch(layer, rng):
    x, t = rng.standard_normal((5, 3)), rng.random((5, 3))
    single = [layer().forward(row, target) for row, target in zip(x, t, strict=True)]
    # Sums of 15 terms below 10 in another order.
    np.testing.assert_allclose(layer().forward(x, t), np.mean(single), rtol=16 * EPS)
    rows = [gradient(layer, row, target) / 5 for row, target in zip(x, t, strict=True)]
    np.testing.assert_allclose(gradient(layer, x, t), rows, rtol=0, atol=16 * EPS)


@pytest.mark.parametrize("layer", LOSSES)
def test_a_single_sample_is_a_batch_of_one(layer, rng):
    x, t = rng.standard_normal(3), rng.random(3)
    assert layer().forward(x, t) == layer().forward(x[np.newaxis], t[np.newaxis])
    np.testing.assert_array_equal(gradient(layer, x, t), gradient(layer, x[np.newaxis], t[np.newaxis])[0])


@pytest.mark.parametrize("dout", [0.0, -2.0, 0.7, np.float64(1.3), np.array(1.3)], ids=repr)
@pytest.mark.parametrize("layer", LOSSES)
def test_the_upstream_gradient_is_honoured(layer, dout, rng):
    x, t = rng.standard_normal((5, 3)), rng.random((5, 3))
    expected = gradient(layer, x, t) * float(dout)
    # Times dout and divided by 5, in another order: two roundings.
    np.testing.assert_allclose(gradient(layer, x, t, dout), expected, rtol=2 * EPS)


LABEL_FORMS = [
    pytest.param(lambda labels: labels.astype(np.int8), id="int8"),
    pytest.param(lambda labels: labels.astype(np.uint64), id="uint64"),
    pytest.param(lambda labels: labels.tolist(), id="list"),
    pytest.param(lambda labels: np.eye(4)[labels], id="one-hot float64"),
    pytest.param(lambda labels: np.eye(4, dtype=np.float32)[labels], id="one-hot float32"),
    pytest.param(lambda labels: np.eye(4, dtype=int)[labels], id="one-hot int"),
    pytest.param(lambda labels: np.eye(4, dtype=bool)[labels], id="one-hot bool"),
]


@pytest.mark.parametrize("form", LABEL_FORMS)
def test_labels_and_one_hot_targets_give_the_same_bits(form, rng):
    x, labels = rng.standard_normal((6, 4)) * 5, np.array([0, 3, 1, 2, 0, 3])
    loss, expected = SoftmaxWithLoss(), SoftmaxWithLoss()
    assert loss.forward(x, form(labels)) == expected.forward(x, labels)
    np.testing.assert_array_equal(loss.backward(), expected.backward())


@pytest.mark.parametrize("label", [2, np.int64(2), np.array(2, dtype=np.uint8)], ids=repr)
def test_a_label_of_a_single_sample(label):
    x = [0.5, -1.0, 2.0]
    np.testing.assert_array_equal(gradient(SoftmaxWithLoss, x, label), gradient(SoftmaxWithLoss, x, [0, 0, 1]))


def test_as_many_samples_as_classes_decide_nothing():
    x = np.arange(9.0).reshape(3, 3)
    labels = np.array([2, 0, 1])
    np.testing.assert_array_equal(gradient(SoftmaxWithLoss, x, labels), gradient(SoftmaxWithLoss, x, np.eye(3)[labels]))


@pytest.mark.parametrize("t", [[0, 0, 0], [[1], [1], [1]]], ids=["labels", "one-hot"])
def test_one_class_has_no_loss(t):
    loss = SoftmaxWithLoss()
    assert loss.forward([[5.0], [-3.0], [0.0]], t) == 0
    np.testing.assert_array_equal(loss.backward(), np.zeros((3, 1)))


def test_soft_targets_that_do_not_sum_to_one(rng):
    x, t = rng.standard_normal((5, 4)), rng.random((5, 4)) * 3
    y = softmax(x)
    expected = (y * t.sum(axis=1, keepdims=True) - t) / 5
    # The textbook form cancels: a few eps of the terms, which are below 12 / 5.
    np.testing.assert_allclose(gradient(SoftmaxWithLoss, x, t), expected, rtol=0, atol=8 * EPS)
    np.testing.assert_allclose(SoftmaxWithLoss().forward(x, t), cross_entropy_error(y, t), rtol=32 * EPS)


def test_rows_of_a_softmax_gradient_sum_to_zero(rng):
    dx = gradient(SoftmaxWithLoss, rng.standard_normal((5, 4)) * 10, rng.integers(0, 4, 5))
    # Four terms, none above 1/5 in modulus.
    np.testing.assert_allclose(dx.sum(axis=1), 0, atol=4 * EPS)


def test_a_constant_added_to_the_scores_changes_nothing(rng):
    x = rng.integers(-50, 50, (5, 4)).astype(float)  # integers: the sums with 2**20 are exact
    labels = rng.integers(0, 4, 5)
    np.testing.assert_array_equal(softmax(x + 2**20), softmax(x))
    np.testing.assert_array_equal(gradient(SoftmaxWithLoss, x + 2**20, labels), gradient(SoftmaxWithLoss, x, labels))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("layer", "x", "t", "loss", "dx"),
    [
        (SoftmaxWithLoss, [1e4, -1e4], [1, 0], 0, [0, 0]),
        (SoftmaxWithLoss, [1e4, -1e4], [0, 1], 2e4, [1, -1]),
        (SoftmaxWithLoss, [1e4, 1e4], [0.5, 0.5], math.log(2), [0, 0]),
        (SigmoidWithLoss, [1e4, -1e4], [1, 0], 0, [0, 0]),
        (SigmoidWithLoss, [1e4, -1e4], [0, 1], 2e4, [1, -1]),
        (IdentityWithLoss, [1e4, -1e4], [0, 0], 1e8, [1e4, -1e4]),
    ],
    ids=["softmax-right", "softmax-wrong", "softmax-tie", "sigmoid-right", "sigmoid-wrong", "identity"],
)
def test_extreme_scores_are_finite(layer, x, t, loss, dx, dtype):
    function = layer()
    assert function.forward(np.array(x, dtype), np.array(t, dtype)) == dtype(loss)
    np.testing.assert_array_equal(function.backward(), np.array(dx, dtype))


def test_scores_at_the_end_of_float64():
    top = np.finfo(np.float64).max
    np.testing.assert_array_equal(softmax([top, -top, top]), [0.5, 0, 0.5])
    np.testing.assert_array_equal(gradient(SoftmaxWithLoss, [top, -top], 0), [0, 0])


def test_an_impossible_class_costs_nothing_unless_it_is_the_target():
    x = [0.0, -np.inf, 0.0]
    loss = SoftmaxWithLoss()
    assert loss.forward(x, [1, 0, 0]) == np.log(2)
    np.testing.assert_array_equal(loss.backward(), [-0.5, 0, 0.5])
    assert loss.forward(x, 1) == np.inf


@pytest.mark.parametrize("x", [[np.inf, 0.0], [np.nan, 0.0], [-np.inf, -np.inf]], ids=str)
def test_softmax_of_what_is_undefined_is_nan_in_its_row_only(x):
    np.testing.assert_array_equal(softmax([x, [0.0, 0.0]]), [[np.nan, np.nan], [0.5, 0.5]])
    dx = gradient(SoftmaxWithLoss, [x, [0.0, 0.0]], [0, 0])
    np.testing.assert_array_equal(dx, [[np.nan, np.nan], [-0.25, 0.25]])


@pytest.mark.parametrize("layer", LOSSES)
def test_nan_passes_through(layer):
    loss = layer()
    assert np.isnan(loss.forward([np.nan, 0.0], [1, 0]))
    assert np.isnan(loss.backward()[0])


def test_infinite_scores_of_a_sigmoid_that_are_right_cost_nothing():
    loss = SigmoidWithLoss()
    assert loss.forward([np.inf, -np.inf], [1, 0]) == 0
    np.testing.assert_array_equal(loss.backward(), [0, 0])
    assert loss.forward([np.inf, -np.inf], [1, 1]) == np.inf


def test_softmax_is_taken_along_the_last_axis(rng):
    x = rng.standard_normal((2, 3, 4))
    y = softmax(x)
    assert y.shape == x.shape
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(y[index], softmax(x[index]))


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)], ids=str)
def test_softmax_lies_in_memory_row_by_row(shape, rng):
    """As every new array does, whatever the scores did, and so do gradients: sums along an axis are the same then."""
    x = rng.standard_normal(shape)
    assert softmax(x).flags.c_contiguous
    assert softmax(np.asfortranarray(x)).flags.c_contiguous


@pytest.mark.parametrize("layer", LOSSES)
def test_gradients_lie_in_memory_row_by_row(layer, rng):
    x, t = rng.standard_normal((3, 4)), rng.random((3, 4))
    assert gradient(layer, x, t).flags.c_contiguous
    assert gradient(layer, np.asfortranarray(x), t).flags.c_contiguous


def test_softmax_of_an_empty_batch_is_empty():
    assert softmax(np.empty((0, 3))).shape == (0, 3)


def test_complex_softmax_has_the_real_softmax_as_its_real_part(rng):
    x = rng.standard_normal((3, 4))
    np.testing.assert_allclose(softmax(x + 0j), softmax(x), rtol=8 * EPS)


def test_cross_entropy_error_adds_nothing_inside_the_logarithm():
    assert cross_entropy_error([0.5, 0.5], [1, 0]) == np.log(2)
    assert cross_entropy_error([1.0, 0.0], [1, 0]) == 0
    assert cross_entropy_error([1.0, 0.0], 1) == np.inf
    assert not np.signbit(cross_entropy_error([1.0, 0.0], 0))


def test_cross_entropy_error_is_the_mean_over_the_batch(rng):
    y = softmax(rng.standard_normal((3, 4)))
    labels = np.array([2, 0, 3])
    expected = -np.log(y[[0, 1, 2], labels]).sum() / 3
    np.testing.assert_allclose(cross_entropy_error(y, labels), expected, rtol=4 * EPS)
    assert cross_entropy_error(y, np.eye(4)[labels]) == cross_entropy_error(y, labels)


def test_cross_entropy_error_by_the_complex_step(rng, complex_step):
    y, t = softmax(rng.standard_normal((3, 4))), rng.random((3, 4))
    np.testing.assert_allclose(complex_step(lambda y: cross_entropy_error(y, t), y), -t / y / 3, rtol=8 * EPS)


def test_a_small_loss_keeps_its_digits():
    # log1p(exp(-50)), about 2e-22: 1 + exp(-50) is 1 in float64. Without abs=0, approx allows 1e-12.
    small = pytest.approx(math.exp(-50), rel=4 * EPS, abs=0)
    assert SoftmaxWithLoss().forward([50.0, 0.0], 0) == small
    assert SigmoidWithLoss().forward([50.0], [1]) == small
    # And in both parts of a complex number.
    loss = SoftmaxWithLoss().forward([50.0 + 1e-20j, 0.0], 0)
    assert loss.real == small
    assert -loss.imag / 1e-20 == small


def test_a_small_loss_of_many_classes_keeps_its_digits():
    """What the sum of their exponentials leaves out on the way is 50 times the last digit of it here."""
    small = math.log1p(1000 * math.exp(-40))
    assert SoftmaxWithLoss().forward([0.0] + [-40.0] * 1000, 0) == pytest.approx(small, rel=4 * EPS, abs=0)


@pytest.mark.parametrize("layer", LOSSES)
def test_the_newest_forward_wins_and_instances_are_independent(layer, rng):
    x, other, t = rng.standard_normal((2, 3)), rng.standard_normal((4, 3)), rng.random((4, 3))
    first, second = layer(), layer()
    first.forward(other, t)
    first.forward(x, t[:2])
    second.forward(other, t)
    np.testing.assert_array_equal(first.backward(), gradient(layer, x, t[:2]))
    np.testing.assert_array_equal(second.backward(), gradient(layer, other, t))
