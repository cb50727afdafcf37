"""Messages between the tool and a worker: what is sent arrives, and what is no message is refused."""

import io
import struct

import numpy as np
import pytest

from oracle.catalog.case import lay_out
from oracle.subjects.wire import BrokenMessageError, Message, layout_of, receive, send


def test_what_is_sent_arrives():
    stream = io.BytesIO()
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    send(stream, Message({"call": "forward"}, {"inputs": {"x": x, "nothing": np.empty((0, 2))}}))
    stream.seek(0)
    message = receive(stream)
    assert message.text == {"call": "forward"}
    np.testing.assert_array_equal(message.arrays["inputs"]["x"], x)
    assert message.arrays["inputs"]["x"].dtype == np.float32
    assert message.arrays["inputs"]["nothing"].shape == (0, 2)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "c16"])
@pytest.mark.parametrize("layout", ["contiguous", "Fortran", "strided", "read-only"])
def test_layout_arrives_too(layout, dtype):
    stream = io.BytesIO()
    x = lay_out(np.arange(6).reshape(2, 3).astype(dtype), layout)
    send(stream, Message({}, {"inputs": {"x": x}}))
    stream.seek(0)
    arrived = receive(stream).arrays["inputs"]["x"]
    np.testing.assert_array_equal(arrived, x)
    assert (arrived.dtype, layout_of(arrived)) == (x.dtype, layout)


def framed(header):
    return struct.pack(">I", len(header)) + header


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x00",
        struct.pack(">I", 2**31),
        framed(b"not json"),
        framed(b"{}"),
        framed(b'{"arrays": 1, "text": {}}'),
        framed(b'{"arrays": {"inputs": [{"name": "x"}]}, "text": {}}'),
        framed(b'{"arrays": {"inputs": [{"name": "x", "dtype": "f8", "shape": [2]}]}, "text": {}}') + b"too short",
    ],
    ids=["nothing", "half a length", "too long", "no JSON", "no text", "no arrays", "no shape", "half an array"],
)
def test_what_is_no_message_is_refused(sent):
    with pytest.raises(BrokenMessageError):
        receive(io.BytesIO(sent))
