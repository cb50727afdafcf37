"""Sigmoid and softmax against mpmath: at most 4 ulp, also where y is near 1 or far from any number.

An ulp is the spacing of the dtype at the truth: |got − truth| / spacing(|truth, rounded to the dtype|).
"""

import mpmath
import numpy as np
import pytest

from scratch import Sigmoid, SigmoidWithLoss, SoftmaxWithLoss, softmax

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
SCALES = pytest.mark.parametrize("scale", [1, 10, 50, 300])

# Half an ulp to one for each rounding that is left: exp and its correction, a sum, a quotient, the product
# with dout, the division by N. Worst seen in 10**6 entries: 3.7 in float64; 0.5 in float32, rounded once.
ULP = 4


@pytest.fixture(autouse=True)
def _precision():
    # Scores normal × 300 lie up to 2,000 apart, and exp(−2000) is 2**−2885: a sum with 1 would lose it below
    # 3,000 bits. Here nothing is subtracted (1 − y is the sum of the others), so that 200 bits are enough.
    with mpmath.workprec(200):
        yield


def exact(array):
    """Return the numbers of a float array as mpmath numbers, in nested lists."""
    return [exact(entry) if np.ndim(entry) else mpmath.mpf(float(entry)) for entry in array]


def worst_ulp(actual, truth):
    """Return the largest error in ulp of a float array against nested lists of mpmath numbers."""
    flat = [number for row in truth for number in row] if actual.ndim == 2 else truth
    worst = 0.0
    for got, true in zip(actual.ravel(), flat, strict=True):
        spacing = np.spacing(np.abs(actual.dtype.type(float(true))))
        error = abs(mpmath.mpf(float(got)) - true) / mpmath.mpf(float(spacing))
        assert mpmath.isfinite(error), f"{got} for {true}"
        worst = max(worst, float(error))
    return worst


def true_softmax(row):
    """Return y and 1 − y of a row of exact scores, the latter from the sum of the others."""
    e = [mpmath.exp(x - max(row)) for x in row]
    total = mpmath.fsum(e)
    others = [mpmath.fsum(e[:i] + e[i + 1 :]) for i in range(len(e))]
    return [x / total for x in e], [x / total for x in others]


def true_sigmoid(x):
    e = mpmath.exp(-abs(x))
    return (1 if x >= 0 else e) / (1 + e), e / (1 + e) ** 2


@DTYPES
@SCALES
def test_sigmoid_values_and_gradients(scale, dtype, rng):
    x = (rng.standard_normal(500) * scale).astype(dtype)
    dout = rng.standard_normal(500).astype(dtype)
    sigmoid = Sigmoid()
    y, dx = sigmoid.forward(x), sigmoid.backward(dout)

    truth = [true_sigmoid(number) for number in exact(x)]
    assert worst_ulp(y, [value for value, _ in truth]) <= ULP
    assert worst_ulp(dx, [d * slope for d, (_, slope) in zip(exact(dout), truth, strict=True)]) <= ULP


@pytest.mark.parametrize("classes", [2, 10, 100])
@DTYPES
@SCALES
def test_softmax_gradients_of_labels_and_one_hot_targets(scale, dtype, classes, rng):
    N = 300 // classes
    x = (rng.standard_normal((N, classes)) * scale).astype(dtype)
    labels = rng.integers(0, classes, N)
    labels[::2] = x[::2].argmax(axis=1)  # a trained network: y near 1 at the target
    by_label, by_one_hot = SoftmaxWithLoss(), SoftmaxWithLoss()
    by_label.forward(x, labels)
    by_one_hot.forward(x, np.eye(classes, dtype=dtype)[labels])

    truth = []
    for row, label in zip(exact(x), labels, strict=True):
        y, one_minus_y = true_softmax(row)
        truth.append([(-one_minus_y[i] if i == label else y[i]) / N for i in range(classes)])
    assert worst_ulp(by_label.backward(), truth) <= ULP
    assert worst_ulp(by_one_hot.backward(), truth) <= ULP


@DTYPES
@SCALES
def test_softmax_values(scale, dtype, rng):
    x = (rng.standard_normal((30, 10)) * scale).astype(dtype)
    assert worst_ulp(softmax(x), [true_softmax(row)[0] for row in exact(x)]) <= ULP


@DTYPES
@SCALES
@pytest.mark.parametrize("smoothed", [False, True], ids=["any", "smoothed one-hot"])
def test_softmax_gradients_of_soft_targets(scale, dtype, smoothed, rng):
    # y · Σ of the other t − t · (1 − y) cancels by nature: the bound is that of its terms, with a few roundings each.
    N, classes = 30, 10
    x = (rng.standard_normal((N, classes)) * scale).astype(dtype)
    t = rng.random((N, classes)).astype(dtype)
    if smoothed:
        t = np.where(np.eye(classes, dtype=bool)[x.argmax(axis=1)], 1 - 1e-6, 1e-6 * t).astype(dtype)
    loss = SoftmaxWithLoss()
    loss.forward(x, t)
    dx = loss.backward()

    eps = float(np.finfo(dtype).eps)
    for n, (scores, targets) in enumerate(zip(exact(x), exact(t), strict=True)):
        y, one_minus_y = true_softmax(scores)
        for i in range(classes):
            others = y[i] * mpmath.fsum(targets[:i] + targets[i + 1 :])
            own = targets[i] * one_minus_y[i]
            error = abs(mpmath.mpf(float(dx[n, i])) - (others - own) / N)
            assert error <= 4 * eps * (others + own) / N


@DTYPES
@SCALES
def test_sigmoid_with_loss_gradients_of_labels(scale, dtype, rng):
    x = (rng.standard_normal((30, 10)) * scale).astype(dtype)
    t = rng.integers(0, 2, (30, 10))
    loss = SigmoidWithLoss()
    loss.forward(x, t)

    # y − 1 is −sigmoid(−x).
    truth = [
        (-true_sigmoid(-score)[0] if target else true_sigmoid(score)[0]) / 30
        for score, target in zip(exact(x.ravel()), t.ravel(), strict=True)
    ]
    assert worst_ulp(loss.backward().ravel(), truth) <= ULP


@DTYPES
@SCALES
@pytest.mark.parametrize("layer", [SoftmaxWithLoss, SigmoidWithLoss])
def test_losses(layer, scale, dtype, rng):
    x = (rng.standard_normal((30, 10)) * scale).astype(dtype)
    labels = rng.integers(0, 10, 30)
    t = np.eye(10)[labels]
    truth = mpmath.mpf(0)
    for row, target in zip(exact(x), t, strict=True):
        if layer is SoftmaxWithLoss:
            truth -= mpmath.log(true_softmax(row)[0][int(target.argmax())])
        else:
            signed = [-score if one else score for score, one in zip(row, target, strict=True)]
            truth += mpmath.fsum(mpmath.log1p(mpmath.exp(score)) for score in signed)
    # Terms of one sign, each to a few ulp; summing them in pairs adds log2(300) roundings of half an ulp.
    assert worst_ulp(np.atleast_1d(layer().forward(x, t)), [truth / 30]) <= ULP + 4


def test_the_textbook_would_not_pass(rng):
    """The measure itself: y · (1 − y) and y − t lose every digit where y is near 1."""
    x = rng.standard_normal(500) * 10
    y = 1 / (1 + np.exp(-x))
    assert worst_ulp(y * (1 - y), [true_sigmoid(number)[1] for number in exact(x)]) > 1e6

    scores = rng.standard_normal((30, 10)) * 50
    labels = scores.argmax(axis=1)
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    dx = e / e.sum(axis=1, keepdims=True) - np.eye(10)[labels]
    truth = []
    for row, label in zip(exact(scores), labels, strict=True):
        y, one_minus_y = true_softmax(row)
        truth.append([-one_minus_y[i] if i == label else y[i] for i in range(10)])
    assert worst_ulp(dx, truth) > 1e6
