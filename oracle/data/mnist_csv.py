"""Reader of MNIST as comma-separated text: a line per digit, first its label, then its 784 pixels, row by row.

That is the form of `mnist_train.csv` and `mnist_test.csv`. Some of them begin with a header line
(`label,1x1,1x2,…`), some with the first digit.
"""

from __future__ import annotations

import os
import re
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from oracle.errors import InputError

_PIXELS = 28 * 28
_COLUMNS = 1 + _PIXELS
_LARGEST_LABEL = 9
_LARGEST_PIXEL = 255
_LAYOUT = f"{_COLUMNS} (the label, then {_PIXELS} pixels)"
_FETCH_AGAIN = "fetch or copy the file again"

_LINES_AT_A_TIME = 1000

# A name, quoted or not. A first line that starts in any other way is a digit, so that a damaged one is refused and not
# passed over as a header.
_HEADER = re.compile(r'\s*"?[A-Za-z_]')
# That many figures at most, as Python refuses to turn thousands of them into a number.
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,99}")


class LabelledPixels(NamedTuple):
    """The digits of a file: `pixels`, shape (N, 784), each in 0..255; `labels`, shape (N,), each in 0..9."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def read_mnist_csv(path: str | os.PathLike[str], limit: int | None = None) -> LabelledPixels:
    """Read a text file with a line per digit: the label, then 784 pixels, separated by commas.

    A header line, empty lines and spaces around a number are passed over. A file cut off inside its very last number
    cannot be told from a whole one: 25 is a pixel as well as 255.

    limit: read that many digits at most. What comes after them is neither read nor checked.

    Raises InputError where the file is missing, unreadable or empty, and, naming the line, where one has not 785
    columns, or an entry is no whole number, a label is not in 0..9 or a pixel not in 0..255; ValueError for a
    negative limit.
    """
    if limit is not None and limit < 0:
        raise ValueError(f"read_mnist_csv: limit = {limit}, but None or at least 0 is required")
    path = Path(path)
    try:
        # Spreadsheets put a byte order mark first. Bytes that are no text are replaced, and so refused with their line.
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            # One digit is read even where none is wanted: a file of something else shows at once.
            values = _read(path, file, None if limit is None else max(limit, 1))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; a CSV file of digits is required; check the path") from error
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be read ({reason}); a readable CSV file is required") from error
    values = values[:limit]
    return LabelledPixels(values[:, 1:], values[:, 0])


def _read(path: Path, file: TextIO, wanted: int | None) -> NDArray[np.uint8]:
    """Return the first `wanted` digits, all where that is None, as rows of label and pixels: shape (N, 785)."""
    lines = ((number, line) for number, line in enumerate(file, 1) if not line.isspace())
    first = next(lines, None)
    if first is None:
        raise InputError(
            f"{path}: the file is empty; a line per digit of {_LAYOUT} numbers is required; {_FETCH_AGAIN}"
        )
    if _HEADER.match(first[1]):
        _check_columns(path, *first)
        first = next(lines, None)
        if first is None:
            raise InputError(
                f"{path}: holds a header line and no digit; a line per digit of {_LAYOUT} numbers is required; "
                f"{_FETCH_AGAIN}"
            )
    digits = islice(chain([first], lines), wanted)
    parts = []
    while some := list(islice(digits, _LINES_AT_A_TIME)):
        parts.append(_parse(path, some))
    return np.concatenate(parts)


def _parse(path: Path, lines: list[tuple[int, str]]) -> NDArray[np.uint8]:
    """Turn numbered lines into rows; InputError names the first line that is not a digit."""
    # NumPy is thirty times faster than Python here, but cannot say in which line of the file it met what.
    try:
        values = np.loadtxt([line for _, line in lines], dtype=np.uint8, delimiter=",", comments=None, ndmin=2)
    except ValueError as error:
        _check_lines(path, lines)
        # Such as -0, which is a whole number in that range.
        raise InputError(f"{path}: cannot be read as lines of {_LAYOUT} numbers ({error}); {_FETCH_AGAIN}") from error
    if values.shape[1] != _COLUMNS or values[:, 0].max() > _LARGEST_LABEL:
        _check_lines(path, lines)
    return values


def _check_lines(path: Path, lines: list[tuple[int, str]]) -> None:
    for number, line in lines:
        _check_columns(path, number, line)
        for column, field in enumerate(line.split(",")):
            text = field.strip()
            what, largest = ("the label", _LARGEST_LABEL) if column == 0 else (f"pixel {column}", _LARGEST_PIXEL)
            if not _WHOLE_NUMBER.fullmatch(text) or not 0 <= int(text) <= largest:
                raise InputError(
                    f"{path}: line {number}: {what} is {text[:20]!a}, but a whole number in 0..{largest} is required; "
                    f"correct the line"
                )


def _check_columns(path: Path, number: int, line: str) -> None:
    columns = line.count(",") + 1
    if columns == _COLUMNS:
        return
    received = f"{columns} column" if columns == 1 else f"{columns} columns"
    if columns < _COLUMNS and not line.endswith("\n"):
        raise InputError(
            f"{path}: line {number}, the last one, ends after {received} (truncated), but {_LAYOUT} are required; "
            f"{_FETCH_AGAIN}"
        )
    raise InputError(f"{path}: line {number} has {received}, but {_LAYOUT} are required; is it the right file?")
