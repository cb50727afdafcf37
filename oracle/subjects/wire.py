"""How messages cross between the judge and a worker: JSON and the bytes of arrays, never pickle.

A message is a length (four bytes), a JSON object of that length, and the bytes of the arrays that it names, one after
the other. An array keeps its layout on the way: what a subject does to a read-only or non-contiguous array is part of
what is checked.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from oracle.catalog.case import lay_out

Array = np.ndarray

#: Kinds of entries that may cross: bool, integers, floating-point and complex numbers.
KINDS = "biufc"
#: A message that claims to be longer is none: something else wrote into the pipe.
LONGEST_HEADER = 16 * 2**20
LARGEST_ARRAY = 2**31
#: Bytes of memory that a worker may take, where the system offers a limit.
MEMORY = 4 * 2**30


class BrokenMessageError(Exception):
    """The other side wrote something that is no message, or went away in the middle of one."""


@dataclass(frozen=True)
class Message:
    """``text`` is plain data; ``arrays`` are by group and name."""

    text: dict[str, Any]
    arrays: dict[str, dict[str, Array]] = field(default_factory=dict)


def send(stream: IO[bytes], message: Message) -> None:
    """Write a message and flush."""
    described = {
        group: [
            {"name": name, "dtype": values.dtype.str, "shape": values.shape, "layout": layout_of(values)}
            for name, values in arrays.items()
        ]
        for group, arrays in message.arrays.items()
    }
    header = json.dumps({"text": message.text, "arrays": described}).encode()
    parts = [struct.pack(">I", len(header)), header]
    parts += [
        np.ascontiguousarray(values).tobytes() for arrays in message.arrays.values() for values in arrays.values()
    ]
    stream.write(b"".join(parts))
    stream.flush()


def receive(stream: IO[bytes]) -> Message:
    """Read a message. Raises BrokenMessageError for anything else."""
    (length,) = struct.unpack(">I", _read(stream, 4))
    if length > LONGEST_HEADER:
        raise BrokenMessageError(f"a message of {length} bytes")
    try:
        header = json.loads(_read(stream, length))
        arrays: dict[str, dict[str, Array]] = {}
        for group, described in header["arrays"].items():
            arrays[group] = {entry["name"]: _array(stream, entry) for entry in described}
        return Message(header["text"], arrays)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BrokenMessageError(str(error)) from error


def _array(stream: IO[bytes], entry: Mapping[str, Any]) -> Array:
    dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
    size = dtype.itemsize * math.prod(shape)
    if dtype.kind not in KINDS or size > LARGEST_ARRAY:
        raise BrokenMessageError(f"an array of {dtype} with shape {shape}")
    values = np.frombuffer(_read(stream, size), dtype).reshape(shape)
    return lay_out(values, entry["layout"])


def _read(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise BrokenMessageError("the other side went away")
    return data


def layout_of(values: Array) -> str:
    """The layout of an array, as `lay_out` makes it."""
    if not values.flags.writeable:
        return "read-only"
    if values.flags.c_contiguous:
        return "contiguous"
    return "Fortran" if values.flags.f_contiguous else "strided"
