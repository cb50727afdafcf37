"""Loading MNIST: made-up small files for what can go wrong, the real ones where `MNIST_DIR` names them."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from oracle.data import load_mnist
from oracle.errors import InputError

FILES = {
    "train-images-idx3-ubyte": (4, 28, 28),
    "train-labels-idx1-ubyte": (4,),
    "t10k-images-idx3-ubyte": (2, 28, 28),
    "t10k-labels-idx1-ubyte": (2,),
}


def contents(name: str) -> np.ndarray:
    shape = FILES[name]
    rng = np.random.default_rng(len(name) + shape[0])
    return rng.integers(0, 10 if len(shape) == 1 else 256, size=shape, dtype=np.uint8)


def write(path: Path, values: np.ndarray) -> None:
    data = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        write(tmp_path / name, contents(name))
    return tmp_path


def refusal(directory: Path) -> str:
    """Return the message that refuses the directory; it is one line."""
    with pytest.raises(InputError) as caught:
        load_mnist(directory)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_every_spelling(tmp_path, split, prefix, separator, ending):
    for name in FILES:
        write(tmp_path / (name.replace("-idx", f"{separator}idx") + ending), contents(name))
    digits = load_mnist(tmp_path, split)
    pixels = contents(f"{prefix}-images-idx3-ubyte")
    np.testing.assert_array_equal(digits.images, pixels.reshape(-1, 784) / 255)
    np.testing.assert_array_equal(digits.labels, contents(f"{prefix}-labels-idx1-ubyte"))
    assert digits.images.dtype == np.float64
    assert digits.labels.dtype == np.intp


def write_csv(folder: Path, split: str) -> None:
    """Write what `contents` has for the split as CSV."""
    prefix = {"train": "train", "test": "t10k"}[split]
    pixels = contents(f"{prefix}-images-idx3-ubyte").reshape(-1, 784)
    table = np.column_stack([contents(f"{prefix}-labels-idx1-ubyte"), pixels])
    np.savetxt(folder / f"mnist_{split}.csv", table, fmt="%d", delimiter=",")


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("limit", [None, 0, 1, 99])
def test_csv_gives_the_same_digits_as_idx(tmp_path, folder, split, limit):
    other = tmp_path / "csv"
    other.mkdir()
    write_csv(other, split)
    expected, received = load_mnist(folder, split, limit), load_mnist(other, split, limit)
    np.testing.assert_array_equal(received.images, expected.images)
    np.testing.assert_array_equal(received.labels, expected.labels)
    assert received.images.dtype == np.float64
    assert received.labels.dtype == np.intp


def test_idx_is_preferred_to_csv(folder):
    (folder / "mnist_train.csv").write_text("no digits\n", encoding="utf-8")
    assert len(load_mnist(folder)) == 4


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
def test_csv_is_read_where_one_of_the_two_idx_files_is_missing(folder, name):
    write_csv(folder, "train")
    expected = load_mnist(folder)
    (folder / name).unlink()
    np.testing.assert_array_equal(load_mnist(folder).images, expected.images)


def test_csv_of_the_other_split_does_not_help(tmp_path):
    write_csv(tmp_path, "test")
    assert "no train-images-idx3-ubyte[.gz] in it, nor mnist_train.csv;" in refusal(tmp_path)


@pytest.mark.parametrize("limit", [0, 1, 3, 4, 99])
def test_limit(folder, limit):
    whole, part = load_mnist(folder), load_mnist(folder, limit=limit)
    assert len(part) == min(limit, 4)
    np.testing.assert_array_equal(part.images, whole.images[:limit])
    np.testing.assert_array_equal(part.labels, whole.labels[:limit])


def test_unknown_split(folder):
    with pytest.raises(ValueError, match="split = 't10k', but one of 'train', 'test' is required"):
        load_mnist(folder, "t10k")


def test_missing_directory(tmp_path):
    assert "nowhere: no such directory" in refusal(tmp_path / "nowhere")


def test_file_in_place_of_the_directory(folder):
    assert "is not a directory" in refusal(folder / "train-images-idx3-ubyte")


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    assert f"no {name}[.gz] in it" in refusal(folder)


def test_fewer_labels_than_images(folder):
    write(folder / "train-labels-idx1-ubyte", np.array([1, 2, 3], dtype=np.uint8))
    assert "3 labels for the 4 images of train-images-idx3-ubyte" in refusal(folder)


def test_labels_outside_the_digits(folder):
    write(folder / "train-labels-idx1-ubyte", np.array([1, 2, 10, 3], dtype=np.uint8))
    assert "label 2 is 10, but 0..9 is required" in refusal(folder)


def test_pictures_of_another_size(folder):
    write(folder / "train-images-idx3-ubyte", np.zeros((4, 8, 8), dtype=np.uint8))
    assert "pictures of 8 x 8 pixels, but MNIST's 28 x 28 are required" in refusal(folder)


def test_exchanged_files(folder):
    write(folder / "train-images-idx3-ubyte", contents("train-labels-idx1-ubyte"))
    assert "magic number 2049" in refusal(folder)


@pytest.fixture
def mnist() -> Path:
    directory = os.environ.get("MNIST_DIR")
    if not directory:
        pytest.skip("the environment variable MNIST_DIR does not name a directory with the MNIST files")
    return Path(directory)


@pytest.mark.parametrize(
    ("split", "counts"),
    [
        ("train", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("test", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
    ],
)
def test_real_mnist(mnist, split, counts):
    digits = load_mnist(mnist, split)
    assert digits.images.shape == (sum(counts), 784)
    assert digits.images.min() == 0
    assert digits.images.max() == 1
    assert np.bincount(digits.labels).tolist() == counts


def test_real_mnist_as_csv(mnist, tmp_path):
    """The 10,000 test digits, since a file of the training ones would be 110 MB."""
    expected = load_mnist(mnist, "test")
    pixels = np.rint(expected.images * 255).astype(int).tolist()
    lines = (",".join(map(str, [label, *row])) for label, row in zip(expected.labels, pixels, strict=True))
    (tmp_path / "mnist_test.csv").write_text("\n".join(["label" + ",pixel" * 784, *lines]), encoding="utf-8")
    received = load_mnist(tmp_path, "test")
    np.testing.assert_array_equal(received.images, expected.images)
    np.testing.assert_array_equal(received.labels, expected.labels)


def test_first_three_images_of_real_mnist(mnist):
    digits = load_mnist(mnist, limit=3)
    assert digits.images.shape == (3, 784)
    assert digits.labels.tolist() == [5, 0, 4]
