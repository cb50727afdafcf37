"""Reader of IDX files, the format of the MNIST files, plain or compressed with gzip.

An IDX file is: two zero bytes, one byte for the element type, one byte for the number of dimensions; the size
of each dimension as a big-endian 32-bit integer; the elements, last dimension fastest. The first four bytes
read as one integer are the "magic number": 2049 for one dimension of unsigned bytes, 2051 for three.
Source: the description on the MNIST page, http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oracle.errors import InputError

_UNSIGNED_BYTE = 0x08
_GZIP_START = b"\x1f\x8b"
_CHUNK = 1 << 20
_FETCH_AGAIN = "fetch or copy the file again"


class Idx(NamedTuple):
    """The content of an IDX file: `values`, its (first) entries; `total`, how many the whole file has."""

    values: NDArray[np.uint8]
    total: int


def read_idx(path: str | os.PathLike[str], dimensions: int, limit: int | None = None) -> Idx:
    """Read an IDX file of unsigned bytes; a name ending in `.gz` is read as gzip.

    dimensions: how many dimensions the file must have; its first one counts the entries.
    limit: read that many entries at most. The header and the length of the file are checked all the same, at
        little cost; the checksum of a gzip file can only be checked by a read of all of it, which a limit
        leaves out.

    Raises InputError where the file is missing, unreadable, of another format, type or number of dimensions,
    shorter or longer than its header says, or damaged; ValueError for a negative limit.
    """
    if limit is not None and limit < 0:
        raise ValueError(f"read_idx: limit = {limit}, but None or at least 0 is required")
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if path.suffix != ".gz":
                return _read(path, file, start, _plain_length(file), dimensions, limit)
            if start[:2] != _GZIP_START:
                raise InputError(_not_gzip(path, start))
            length = _gzip_length(file)
            with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                return _read(path, stream, start, length, dimensions, limit)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; an IDX file is required; check the path") from error
    except EOFError as error:
        raise InputError(f"{path}: the gzip data ends too early (truncated); {_FETCH_AGAIN}") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: the gzip data is damaged ({error}); {_FETCH_AGAIN}") from error
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be read ({reason}); a readable IDX file is required") from error


def _read(
    path: Path,
    stream: BinaryIO | gzip.GzipFile,
    start: bytes,
    length: int,
    dimensions: int,
    limit: int | None,
) -> Idx:
    """Check header and length, read the entries. `length`: of the unpacked file, as far as known cheaply."""
    header = bytes(_take(stream, 4))
    _check_magic(path, header, start, dimensions)
    sizes = _take(stream, 4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise InputError(
            f"{path}: ends inside its header after {4 + len(sizes)} bytes (truncated), "
            f"but {4 + 4 * dimensions} are required; {_FETCH_AGAIN}"
        )
    shape = tuple(int(size) for size in np.frombuffer(sizes, dtype=">u4"))
    required = 4 + 4 * dimensions + math.prod(shape)

    total = shape[0]
    wanted = total if limit is None else min(limit, total)
    # A wrong length of a gzip file is only a suspicion (see `_gzip_length`), so then everything is read.
    if wanted == total or length != required:
        body = _take(stream, math.prod(shape))
        received = 4 + 4 * dimensions + len(body)
        if received < required:
            raise InputError(
                f"{path}: holds {received} bytes (truncated), but its header says {_shape_text(shape)}, "
                f"which requires {required}; {_FETCH_AGAIN}"
            )
        # This read also makes gzip compare its checksum.
        if stream.read(1):
            raise InputError(
                f"{path}: holds more bytes than the {required} that its header ({_shape_text(shape)}) "
                f"requires; {_FETCH_AGAIN}"
            )
    else:
        body = _take(stream, wanted * math.prod(shape[1:]))
    values = np.frombuffer(body, dtype=np.uint8, count=wanted * math.prod(shape[1:]))
    return Idx(values.reshape(wanted, *shape[1:]), total)


def _take(stream: BinaryIO | gzip.GzipFile, wanted: int) -> bytearray:
    """Read `wanted` bytes, fewer at the end of the file.

    In chunks: `read(n)` sets n bytes of memory aside at once, and n comes from a header that may be nonsense.
    """
    taken = bytearray()
    while len(taken) < wanted and (chunk := stream.read(min(_CHUNK, wanted - len(taken)))):
        taken += chunk
    return taken


def _plain_length(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _gzip_length(file: BinaryIO) -> int:
    """Return the unpacked length (modulo 2**32) that a gzip file states in its last bytes; rewind the file.

    A truncated file ends in something else. So does an intact one with padding or several members, which is
    why a length that does not fit is a reason to look closer and not an error.
    """
    file.seek(max(0, os.fstat(file.fileno()).st_size - 4))
    length = int.from_bytes(file.read(4), "little")
    file.seek(0)
    return length


def _check_magic(path: Path, header: bytes, start: bytes, dimensions: int) -> None:
    required = _UNSIGNED_BYTE << 8 | dimensions
    received = int.from_bytes(header, "big")
    if len(header) == 4 and received == required:
        return
    kind = f"unsigned bytes with {_count(dimensions, 'dimension')}"
    wish = f"an IDX file of {kind} (magic number {required}) is required"
    if not start:
        raise InputError(f"{path}: the file is empty; {wish}; {_FETCH_AGAIN}")
    if len(header) < 4:
        raise InputError(f"{path}: holds {_count(len(header), 'byte')} (truncated); {wish}; {_FETCH_AGAIN}")
    if path.suffix != ".gz" and start[:2] == _GZIP_START:
        raise InputError(f"{path}: compressed with gzip; {wish}; unpack it, or let its name end in .gz")
    if header[:2] != b"\0\0":
        raise InputError(f"{path}: starts with bytes {header.hex(' ')}, so it is no IDX file; {wish}")
    if header[2] != _UNSIGNED_BYTE:
        raise InputError(f"{path}: magic number {received}, element type 0x{header[2]:02x}; {wish}")
    raise InputError(
        f"{path}: magic number {received}, {_count(header[3], 'dimension')}; {wish}; is it the right file?"
    )


def _not_gzip(path: Path, start: bytes) -> str:
    if not start:
        return f"{path}: the file is empty; an IDX file compressed with gzip is required; {_FETCH_AGAIN}"
    advice = "take .gz off its name" if start[:2] == b"\0\0" else _FETCH_AGAIN
    return f"{path}: starts with bytes {start.hex(' ')}, so it is not gzip, but its name ends in .gz; {advice}"


def _shape_text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
