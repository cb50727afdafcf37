"""The IDX reader: what it returns, and that whatever is not a whole IDX file is refused in one clear line."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from oracle.data.idx import read_idx
from oracle.errors import InputError

PICTURES = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2)


def idx_bytes(values: np.ndarray, element_type: int = 0x08) -> bytes:
    header = struct.pack(f">HBB{values.ndim}I", 0, element_type, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


WHOLE = idx_bytes(PICTURES)


@pytest.fixture(params=["plain", "gzip"])
def write(request: pytest.FixtureRequest, tmp_path: Path):
    """Write the bytes of an IDX file, as they are or compressed, and return its path."""

    def writer(content: bytes) -> Path:
        if request.param == "plain":
            path = tmp_path / "pictures"
            path.write_bytes(content)
        else:
            path = tmp_path / "pictures.gz"
            path.write_bytes(gzip.compress(content))
        return path

    return writer


def refusal(path: Path, dimensions: int = 3, limit: int | None = None) -> str:
    """Return the message that refuses the file; it is one line and names the file."""
    with pytest.raises(InputError) as caught:
        read_idx(path, dimensions, limit)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


@pytest.mark.parametrize("limit", [None, 0, 1, 3, 5, 99])
def test_entries_come_back_in_order_up_to_the_limit(write, limit):
    values, total = read_idx(write(WHOLE), 3, limit)
    np.testing.assert_array_equal(values, PICTURES[:limit])
    assert values.dtype == np.uint8
    assert total == 5


@pytest.mark.parametrize("shape", [(0, 3, 2), (4, 0, 2), (0, 0, 0), (1, 1, 1)])
def test_sizes_of_zero_and_one(write, shape):
    values, total = read_idx(write(idx_bytes(np.ones(shape))), 3)
    assert values.shape == shape
    assert total == shape[0]


def test_one_dimension(write):
    values, total = read_idx(write(idx_bytes(np.array([7, 0, 9]))), 1)
    assert values.tolist() == [7, 0, 9]
    assert total == 3


def test_result_belongs_to_the_caller(write):
    values, _ = read_idx(write(WHOLE), 3)
    values[:] = 0


@pytest.mark.parametrize("limit", [None, 1])
def test_truncated_entries(write, limit):
    message = refusal(write(WHOLE[:-1]), limit=limit)
    assert "holds 45 bytes (truncated)" in message
    assert "5 x 3 x 2, which requires 46" in message


@pytest.mark.parametrize("limit", [None, 1])
def test_trailing_bytes(write, limit):
    assert "holds more bytes than the 46 that" in refusal(write(WHOLE + b"\0"), limit=limit)


def test_truncated_header(write):
    assert "inside its header after 9 bytes (truncated), but 16 are required" in refusal(write(WHOLE[:9]))


def test_truncated_magic(write):
    assert "holds 3 bytes (truncated)" in refusal(write(WHOLE[:3]))


def test_sizes_that_no_memory_holds(write):
    header = struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    assert "truncated" in refusal(write(header + b"abc"))


def test_labels_in_place_of_pictures(write):
    message = refusal(write(idx_bytes(np.array([1, 2]))))
    assert "magic number 2049, 1 dimension;" in message
    assert "3 dimensions (magic number 2051) is required" in message


def test_other_element_type(write):
    assert "element type 0x0d" in refusal(write(idx_bytes(PICTURES, element_type=0x0D)))


def test_foreign_file(write):
    assert "starts with bytes 89 50 4e 47, so it is no IDX file" in refusal(write(b"\x89PNG\r\n\x1a\n" + bytes(99)))


@pytest.mark.parametrize("name", ["pictures", "pictures.gz"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    assert "the file is empty" in refusal(tmp_path / name)


def test_missing_file(tmp_path):
    assert "no such file" in refusal(tmp_path / "nothing")


def test_directory_in_place_of_a_file(tmp_path):
    assert "cannot be read" in refusal(tmp_path)


def test_name_says_gzip_but_content_does_not(tmp_path):
    path = tmp_path / "pictures.gz"
    path.write_bytes(WHOLE)
    assert "not gzip, but its name ends in .gz; take .gz off its name" in refusal(path)
    path.write_bytes(b"<html>")
    assert "starts with bytes 3c 68 74 6d, so it is not gzip" in refusal(path)


def test_content_is_gzip_but_name_does_not_say_so(tmp_path):
    path = tmp_path / "pictures"
    path.write_bytes(gzip.compress(WHOLE))
    assert "compressed with gzip" in refusal(path)
    assert "let its name end in .gz" in refusal(path)


@pytest.mark.parametrize("limit", [None, 0, 1])
def test_gzip_truncated_anywhere(tmp_path, limit):
    path = tmp_path / "pictures.gz"
    packed = gzip.compress(WHOLE)
    for kept in range(2, len(packed)):
        path.write_bytes(packed[:kept])
        assert "truncated" in refusal(path, limit=limit)


def test_gzip_damaged_checksum(tmp_path):
    packed = bytearray(gzip.compress(WHOLE))
    packed[-8] ^= 1
    path = tmp_path / "pictures.gz"
    path.write_bytes(packed)
    assert "the gzip data is damaged (CRC check failed" in refusal(path)


def test_gzip_damaged_data(tmp_path):
    packed = bytearray(gzip.compress(WHOLE))
    packed[10:14] = b"\xff\xff\xff\xff"
    path = tmp_path / "pictures.gz"
    path.write_bytes(packed)
    assert "the gzip data is damaged" in refusal(path)


def test_gzip_of_several_members_and_padding_is_read(tmp_path):
    """The length in the last bytes is then not that of the file: a reason to look closer, not to refuse."""
    path = tmp_path / "pictures.gz"
    path.write_bytes(gzip.compress(WHOLE[:20]) + gzip.compress(WHOLE[20:]) + bytes(8))
    values, total = read_idx(path, 3, limit=2)
    np.testing.assert_array_equal(values, PICTURES[:2])
    assert total == 5


def test_negative_limit(write):
    with pytest.raises(ValueError, match="limit = -1"):
        read_idx(write(WHOLE), 3, limit=-1)
