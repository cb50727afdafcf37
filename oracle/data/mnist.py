"""The MNIST digits, read from a directory that holds the four original files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from oracle.data.digits import Digits
from oracle.data.idx import read_idx
from oracle.errors import InputError

_PREFIX = {"train": "train", "test": "t10k"}
_SIDE = 28
_CLASSES = 10


def load_mnist(
    directory: str | os.PathLike[str], split: Literal["train", "test"] = "train", limit: int | None = None
) -> Digits:
    """Read the training or the test digits: images float64 (N, 784) = pixel / 255, labels (N,) in 0..9.

    directory: holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
        `t10k-labels-idx1-ubyte`, each plain or with `.gz`; the spelling `train-images.idx3-ubyte` is read
        too. A plain file is preferred to a compressed one. Only the two files of the split are read.
    limit: the first so many digits; three of them take milliseconds. See `read_idx` for what is checked then.

    Raises InputError where the directory or a file is missing, a file cannot be read or is not what its name
    says, the numbers of images and labels differ, or a label is not a digit; ValueError for an unknown split,
    a negative limit.
    """
    if split not in _PREFIX:
        raise ValueError(f"load_mnist: split = {split!r}, but one of {', '.join(map(repr, _PREFIX))} is required")
    folder = Path(directory)
    if not os.path.isdir(folder):
        problem = "is not a directory" if os.path.exists(folder) else "no such directory"
        raise InputError(f"{folder}: {problem}; the directory with the four MNIST files is required; check the path")
    images_path = _find(folder, f"{_PREFIX[split]}-images", "idx3-ubyte")
    labels_path = _find(folder, f"{_PREFIX[split]}-labels", "idx1-ubyte")

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
    images = pixels.reshape(len(pixels), _SIDE * _SIDE) / 255.0
    return Digits(images, labels[: len(pixels)].astype(np.intp))


def _find(folder: Path, name: str, kind: str) -> Path:
    """Return the file of that name in whichever spelling is there."""
    names = [f"{name}{separator}{kind}{ending}" for ending in ("", ".gz") for separator in ("-", ".")]
    for candidate in names:
        if os.path.isfile(folder / candidate):
            return folder / candidate
    raise InputError(
        f"{folder}: no {names[0]}[.gz] in it; the four MNIST files are required; "
        f"name the directory that holds them, or put the file there"
    )
