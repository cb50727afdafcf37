"""Labelled pictures of digits, as every data set here returns them, and scikit-learn's 8x8 ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)  # arrays have no == with one answer
class Digits:
    """Pictures of handwritten digits with their labels.

    images: float64, shape (N, pixels), each pixel in [0, 1], a picture flattened row by row.
    labels: integers, shape (N,), each in 0..9.
    """

    images: NDArray[np.float64]
    labels: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.labels)


def load_digits() -> Digits:
    """Return scikit-learn's 8x8 digits in the order of their file: images (1797, 64), labels (1797,).

    They come with scikit-learn, so nothing is downloaded. Neighbours in the file were written by the same
    hand: a split for training has to be shuffled, as `split_digits` does.
    """
    # Imported here because scikit-learn takes longer to import than everything else on this floor together.
    from sklearn.datasets import load_digits as sklearn_digits

    images, labels = sklearn_digits(return_X_y=True)
    # Each pixel counts the dark ones among 4x4 smaller ones: 0..16, and a division by 16 is exact.
    return Digits(np.asarray(images, dtype=np.float64) / 16.0, np.asarray(labels, dtype=np.intp))


def split_digits(seed: int | np.random.Generator, test: int = 360) -> tuple[Digits, Digits]:
    """Return scikit-learn's digits, shuffled by the seed, as (train, test): 1,437 and 360 of the 1,797.

    seed: decides the order; the same one gives the same split. A Generator is drawn from once.
    test: how many go to the test digits, all others to the training ones; no digit is in both.

    The arrays are copies that belong to the caller. Raises ValueError for a `test` that leaves either part empty.
    """
    digits = load_digits()
    if not 0 < test < len(digits):
        raise ValueError(f"split_digits: test = {test}, but 1..{len(digits) - 1} of {len(digits)} digits are required")
    order = np.random.default_rng(seed).permutation(len(digits))
    parts = order[:-test], order[-test:]
    train_digits, test_digits = (Digits(digits.images[part], digits.labels[part]) for part in parts)
    return train_digits, test_digits


def one_hot(labels: ArrayLike, classes: int) -> NDArray[np.float64]:
    """Return rows of zeros with a one in the column that the label names: shape (N, classes), float64.

    labels: integers, shape (N,), each in 0..classes-1.

    Raises TypeError for labels that are not integers, ValueError for another shape or a label outside the
    classes.
    """
    index = np.asarray(labels)
    if index.ndim != 1:
        raise ValueError(f"one_hot: labels have shape {index.shape}, but one dimension (N,) is required; flatten them")
    if index.size == 0:
        return np.zeros((0, classes))
    if index.dtype.kind not in "iu":
        raise TypeError(f"one_hot: labels are {index.dtype}, but integers are required; use labels.astype(int)")
    outside = (index < 0) | (index >= classes)
    if outside.any():
        where = int(np.argmax(outside))
        raise ValueError(f"one_hot: labels[{where}] = {index[where]}, but {classes} classes require 0..{classes - 1}")
    rows = np.zeros((index.size, classes))
    rows[np.arange(index.size), index] = 1.0
    return rows
