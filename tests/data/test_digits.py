"""scikit-learn's digits, and one-hot rows."""

import numpy as np
import pytest

from oracle.data import load_digits, one_hot, split_digits


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


def rows(digits):
    """The digits as sorted rows of pixels and label, to compare them whatever their order."""
    return sorted(map(tuple, np.column_stack([digits.images, digits.labels]).tolist()))


def test_split_digits_is_a_partition():
    train, test = split_digits(seed=0)
    assert (len(train), len(test)) == (1437, 360)
    assert (train.images.shape, test.images.shape) == ((1437, 64), (360, 64))
    assert train.images.dtype == np.float64
    assert train.labels.dtype == np.intp
    # Pictures together with their labels: all of them, each as often as before.
    assert sorted(rows(train) + rows(test)) == rows(load_digits())


def test_split_digits_shuffles():
    train, test = split_digits(seed=0)
    digits = load_digits()
    assert not np.array_equal(train.labels, digits.labels[:1437])
    # Every digit is in both parts about as often as in the whole.
    np.testing.assert_allclose(np.bincount(test.labels) / 360, 0.1, atol=0.05)


def test_split_digits_is_decided_by_the_seed():
    first, again, other = split_digits(7), split_digits(7), split_digits(8)
    for part in (0, 1):
        np.testing.assert_array_equal(first[part].images, again[part].images)
        np.testing.assert_array_equal(first[part].labels, again[part].labels)
    assert not np.array_equal(first[0].labels, other[0].labels)
    # These labels are the same on every NumPy, so that figures in reports can be compared.
    assert first[1].labels[:10].tolist() == [6, 1, 8, 1, 7, 8, 8, 4, 6, 6]


def test_split_digits_draws_from_a_generator():
    rng = np.random.default_rng(7)
    np.testing.assert_array_equal(split_digits(rng)[1].labels, split_digits(7)[1].labels)
    assert not np.array_equal(split_digits(rng)[1].labels, split_digits(7)[1].labels)


@pytest.mark.parametrize("test", [1, 500, 1796])
def test_split_digits_of_another_size(test):
    assert tuple(map(len, split_digits(0, test=test))) == (1797 - test, test)


@pytest.mark.parametrize("test", [0, -1, 1797])
def test_split_digits_refuses_an_empty_part(test):
    with pytest.raises(ValueError, match=rf"test = {test}, but 1\.\.1796 of 1797 digits are required"):
        split_digits(0, test=test)


def test_split_digits_belong_to_the_caller():
    split_digits(0)[0].images[:] = -1
    assert split_digits(0)[0].images.min() == 0


def test_one_hot():
    rows = one_hot([2, 0, 2], classes=4)
    assert rows.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0]]
    assert rows.dtype == np.float64


def test_one_hot_of_no_labels():
    assert one_hot([], classes=3).shape == (0, 3)


def test_one_hot_of_unsigned_labels():
    assert one_hot(np.array([1], dtype=np.uint8), classes=2).tolist() == [[0, 1]]


@pytest.mark.parametrize(("labels", "message"), [([0, 3], r"labels\[1\] = 3"), ([-1, 0], r"labels\[0\] = -1")])
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
