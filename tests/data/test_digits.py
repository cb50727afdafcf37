"""scikit-learn's digits, and one-hot rows."""

import numpy as np
import pytest

from oracle.data import load_digits, one_hot


def test_digits():
    digits = load_digits()
    assert digits.images.shape == (1797, 64)
    assert digits.images.dtype == np.float64
    assert digits.images.min() == 0
    assert digits.images.max() == 1
    # Whole sixteenths: the scaling rounds nothing.
    np.testing.assert_array_equal(digits.images * 16, np.round(digits.images * 16))
    assert digits.labels.dtype == np.intp
    assert np.bincount(digits.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert len(digits) == 1797


def test_one_hot():
    rows = one_hot([2, 0, 2], classes=4)
    assert rows.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0]]
    assert rows.dtype == np.float64


def test_one_hot_of_no_labels():
    assert one_hot([], classes=3).shape == (0, 3)


def test_one_hot_of_unsigned_labels():
    assert one_hot(np.array([1], dtype=np.uint8), classes=2).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("labels", "message"), [([0, 3], r"labels\[1\] = 3"), ([-1, 0], r"labels\[0\] = -1")]
)
def test_one_hot_refuses_labels_outside_the_classes(labels, message):
    with pytest.raises(ValueError, match=message + r", but 3 classes require 0\.\.2"):
        one_hot(labels, classes=3)


def test_one_hot_refuses_a_column():
    with pytest.raises(ValueError, match=r"shape \(2, 1\)"):
        one_hot([[0], [1]], classes=2)


@pytest.mark.parametrize("labels", [[0.0, 1.0], [True, False]])
def test_one_hot_refuses_what_is_no_integer(labels):
    with pytest.raises(TypeError, match="integers are required"):
        one_hot(labels, classes=2)
