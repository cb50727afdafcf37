"""The MNIST digits, read from a directory that holds the four original files, or their CSV form."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from oracle.data.digits import Digits
from oracle.data.idx import read_idx
from oracle.data.mnist_csv import LabelledPixels, read_mnist_csv
from oracle.errors import InputError

_PREFIX = {"train": "train", "test": "t10k"}
_SIDE = 28
_CLASSES = 10


def load_mnist(
    directory: str | os.PathLike[str], split: Literal["train", "test"] = "train", limit: int | None = None
) -> Digits:
    """Read the training or the test digits: images float64 (N, 784) = pixel / 255, labels (N,) in 0..9.

    directory: holds the four IDX files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
        `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each plain or with `.gz`; the spelling
        `train-images.idx3-ubyte` is read too, and a plain file is preferred to a compressed one. Or it holds
        `mnist_train.csv` and `mnist_test.csv`, with or without a header line. Only the files of the split are
        read. Where both forms of it are there, the IDX files are, as they are faster and their lengths checked.
    limit: the first so many digits; three of them take milliseconds. See `read_idx` and `read_mnist_csv` for
        what is checked then.

    Raises InputError where the directory or a file is missing, a file cannot be read or is not what its name
    says, the numbers of images and labels differ, or a label is not a digit; ValueError for an unknown split,
    a negative limit.
    """
    if split not in _PREFIX:
        raise ValueError(f"load_mnist: split = {split!r}, but one of {', '.join(map(repr, _PREFIX))} is required")
    folder = Path(directory)
    if not os.path.isdir(folder):
        problem = "is not a directory" if os.path.exists(folder) else "no such directory"
        raise InputError(f"{folder}: {problem}; the directory with the MNIST files is required; check the path")
    images_path = _find(folder, f"{_PREFIX[split]}-images", "idx3-ubyte")
    labels_path = _find(folder, f"{_PREFIX[split]}-labels", "idx1-ubyte")
    csv_path = folder / f"mnist_{split}.csv"
    if images_path and labels_path:
        pixels, labels = _read_idx_pair(images_path, labels_path, limit)
    elif os.path.isfile(csv_path):
        pixels, labels = read_mnist_csv(csv_path, limit)
    else:
        missing = f"{_PREFIX[split]}-labels-idx1-ubyte" if images_path else f"{_PREFIX[split]}-images-idx3-ubyte"
        raise InputError(
            f"{folder}: no {missing}[.gz] in it, nor {csv_path.name}; the four MNIST files or their CSV form are "
            f"required; name the directory that holds them, or put the file there"
        )
    return Digits(pixels / 255.0, labels.astype(np.intp))


def _read_idx_pair(images_path: Path, labels_path: Path, limit: int | None) -> LabelledPixels:
    pixels, image_count = read_idx(images_path, dimensions=3, limit=limit)
    if pixels.shape[1:] != (_SIDE, _SIDE):
        received = " x ".join(map(str, pixels.shape[1:]))
        raise InputError(f"{images_path}: pictures of {received} pixels, but MNIST's {_SIDE} x {_SIDE} are required")
    # All labels, whatever the limit: they are few bytes, and a file of other labels shows at once.
    labels, label_count = read_idx(labels_path, dimensions=1)
    if image_count != label_count:
        raise InputError(
            f"{labels_path}: {label_count} labels for the {image_count} images of {images_path.name}, "
            f"but as many are required; take both files from one data set"
        )
    outside = labels >= _CLASSES
    if outside.any():
        where = int(np.argmax(outside))
        raise InputError(
            f"{labels_path}: label {where} is {labels[where]}, but 0..{_CLASSES - 1} is required; "
            f"is it the label file of another data set?"
        )
    return LabelledPixels(pixels.reshape(len(pixels), _SIDE * _SIDE), labels[: len(pixels)])


def _find(folder: Path, name: str, kind: str) -> Path | None:
    """Return the file of that name in whichever spelling is there, None where it is in none."""
    names = (f"{name}{separator}{kind}{ending}" for ending in ("", ".gz") for separator in ("-", "."))
    return next((folder / spelling for spelling in names if os.path.isfile(folder / spelling)), None)
