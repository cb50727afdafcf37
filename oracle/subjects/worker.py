"""The process in which somebody's file runs: it serves the interface of subjects over a pipe.

Nothing of the judge is here, and no expected value ever arrives: a file cannot answer right without computing it. The
first of what the file prints is kept for whoever asks, the rest goes nowhere; it has no terminal to read from. Started
as ``python -B -m oracle.subjects.worker``.
"""

from __future__ import annotations

import io
import os
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

from oracle.catalog.variants import KNOWN
from oracle.subjects.conventions.calling import Calling
from oracle.subjects.conventions.recognition import Told, UnknownCallingError
from oracle.subjects.conventions.subject import ForeignSubject
from oracle.subjects.interface import Reply, SubjectError
from oracle.subjects.source_file import Code, SourceFile, read_code, recognise
from oracle.subjects.wire import KINDS, MEMORY, Array, BrokenMessageError, Message, receive, send

#: How much of what a file prints is kept.
PRINTED_BYTES = 10_000


class _FirstBytes(io.RawIOBase):
    """A stream that keeps the first bytes that are written to it."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        given = bytes(data)
        self._kept += given[: PRINTED_BYTES - len(self._kept)]
        return len(given)

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")


PRINTED = _FirstBytes()


class Worker:
    """One file, and the instances of its layers by number."""

    def __init__(self) -> None:
        self.path = ""
        self.code = Code("")
        self._file: SourceFile | None = None
        self._instances: dict[int, Any] = {}

    def answer(self, message: Message) -> Message:
        """The reply to one call; raises what the file raises."""
        text, arrays = message.text, message.arrays
        if "opening" in text:
            text = {**text, "instance": self._open(text["opening"], arrays["opening"])}
        reply: Message = getattr(self, f"_{text['call']}")(text, arrays)
        return Message({**reply.text, "instance": text["instance"]}, reply.arrays) if "opening" in text else reply

    def _load(self, text: Mapping[str, Any], arrays: Mapping[str, Any]) -> Message:
        self.path = str(Path(text["file"]).resolve())
        self.code = read_code(Path(self.path))
        self._file = SourceFile(
            text["file"], self.code, definitions_only=text["definitions_only"], taken_for=dict(text["taken_for"])
        )
        candidates = [asdict(candidate) for candidate in self._file.candidates]
        return Message({"candidates": candidates, "passed_over": self._file.passed_over, "notes": self._file.notes})

    def _recognise(self, text: Mapping[str, Any], arrays: Mapping[str, Any]) -> Message:
        assert self._file is not None
        (candidate,) = (c for c in self._file.candidates if c.name == text["name"])
        try:
            found = recognise(self._file.module, candidate, Told(**text["told"]), is_tried=text["is_tried"])
        except UnknownCallingError as error:
            return Message({"attempts": [], "reason": str(error)})
        attempts = [
            {
                "record": name,
                "calling": attempt.calling.to_json(),
                "lines": self._file.lines_of(candidate, KNOWN[name], attempt.calling),
            }
            for name, attempt in found
        ]
        values = {
            str(n): a.value for n, (_, a) in enumerate(found) if a.value is not None and a.value.dtype.kind in KINDS
        }
        return Message({"attempts": attempts, "reason": ""}, {"values": values})

    def _open(self, text: Mapping[str, Any], parameters: Mapping[str, Array]) -> int:
        """Make an instance; its number."""
        assert self._file is not None
        calling = Calling.from_json(text["calling"])
        record = calling.applied_to(KNOWN[text["record"]])
        number = len(self._instances)
        subject = ForeignSubject(self._file.module, text["name"], record, calling)
        self._instances[number] = subject.open(parameters)
        return number

    def _forward(self, text: Mapping[str, Any], arrays: Mapping[str, dict[str, Array]]) -> Message:
        return _replied(self._instances[text["instance"]].forward(arrays["inputs"]))

    def _backward(self, text: Mapping[str, Any], arrays: Mapping[str, dict[str, Array]]) -> Message:
        return _replied(self._instances[text["instance"]].backward(arrays["dout"]["dout"]))

    def _value(self, text: Mapping[str, Any], arrays: Mapping[str, dict[str, Array]]) -> Message:
        value = self._instances[text["instance"]].value(arrays["inputs"])
        return Message({}, {"values": {"value": value}})

    def _values(self, text: Mapping[str, Any], arrays: Mapping[str, dict[str, Array]]) -> Message:
        points = arrays["points"]
        found = self._instances[text["instance"]].values(arrays["inputs"], text["name"], list(points.values()))
        return Message({}, {"values": dict(zip(points, found, strict=True))})

    def _step(self, text: Mapping[str, Any], arrays: Mapping[str, dict[str, Array]]) -> Message:
        gradients = self._instances[text["instance"]].step(arrays["inputs"], arrays["dout"]["dout"])
        return Message({}, {"values": dict(gradients)})

    def _set_parameters(self, text: Mapping[str, Any], arrays: Mapping[str, dict[str, Array]]) -> Message:
        self._instances[text["instance"]].set_parameters(arrays["parameters"])
        return Message({})

    def _trace(self, text: Mapping[str, Any], arrays: Mapping[str, dict[str, Array]]) -> Message:
        traces = self._instances[text["instance"]].trace(arrays["inputs"])
        if traces is None:
            return Message({"layers": None})
        groups = {}
        for number, trace in enumerate(traces):
            gradients = {f"gradient {n}": values for n, values in enumerate(trace.gradients)}
            groups[str(number)] = {"x": trace.x, "y": trace.y, "dout": trace.dout, "dx": trace.dx, **gradients}
        return Message({"layers": len(traces)}, groups)

    def _numerical_gradient(self, text: Mapping[str, Any], arrays: Mapping[str, dict[str, Array]]) -> Message:
        return Message({}, {"values": self._instances[text["instance"]].numerical_gradient(arrays["inputs"])})

    def _assign_parameter(self, text: Mapping[str, Any], arrays: Mapping[str, dict[str, Array]]) -> Message:
        for name, values in arrays["parameters"].items():
            self._instances[text["instance"]].assign_parameter(name, values)
        return Message({})

    def _recall(self, text: Mapping[str, Any], arrays: Mapping[str, dict[str, Array]]) -> Message:
        return Message({}, {"values": self._instances[text["instance"]].recall(text["token"])})

    def _scribble(self, text: Mapping[str, Any], arrays: Mapping[str, dict[str, Array]]) -> Message:
        self._instances[text["instance"]].scribble(text["token"])
        return Message({})

    def _printed(self, text: Mapping[str, Any], arrays: Mapping[str, dict[str, Array]]) -> Message:
        return Message({"printed": PRINTED.text()})

    def _close(self, text: Mapping[str, Any], arrays: Mapping[str, dict[str, Array]]) -> Message:
        self._instances.pop(text["instance"], None)
        return Message({})


def _replied(reply: Reply) -> Message:
    text = {"aliases": [list(pair) for pair in reply.aliases], "warnings": list(reply.warnings), "token": reply.token}
    return Message(text, {"values": reply.values, "arguments": reply.arguments})


def _failed(error: BaseException, file: str, code: Code) -> Message:
    """What was raised, with the line of the user's file that it came from."""
    original = error.original if isinstance(error, SubjectError) else error
    step = error.step if isinstance(error, SubjectError) else "the file"
    frames = [(f, line) for f, line in traceback.walk_tb(original.__traceback__) if f.f_code.co_filename == file]
    message, line = str(original), frames[-1][1] if frames else None
    if isinstance(original, SyntaxError):
        # Its text names the file and the line once more.
        message, line = original.msg, original.lineno
    elif frames and "NoneType" in message:
        message += "".join(f"; self.{name} is None" for name in _that_are_none(frames[-1][0], code, frames[-1][1]))
    place = code.place(line) if line is not None else ""
    return Message({"raised": type(original).__name__, "message": message, "step": step, "place": place})


def _that_are_none(frame: FrameType, code: Code, line: int) -> list[str]:
    """The attributes of self that are read in a line and are None."""
    written = code.text.splitlines()[line - 1 : line]
    held = getattr(frame.f_locals.get("self"), "__dict__", {})
    named = re.findall(r"self\.(\w+)", "".join(written))
    return [name for name in dict.fromkeys(named) if name in held and held[name] is None]


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:
        return  # Windows has none
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """The pipes, on descriptors of their own; the standard ones lead nowhere from now on."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    sys.stdout = sys.stderr = io.TextIOWrapper(PRINTED, "utf-8", "replace", write_through=True)
    return incoming, outgoing


def main() -> None:
    """Answer calls until the pipe is closed."""
    incoming, outgoing = _own_streams()
    _limit_memory()
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.dont_write_bytecode = True
    worker = Worker()
    while True:
        try:
            message = receive(incoming)
        except BrokenMessageError:
            return
        try:
            reply = worker.answer(message)
        except BaseException as error:
            # Also SystemExit and KeyboardInterrupt: what a file raises never ends the worker.
            reply = _failed(error, worker.path, worker.code)
        send(outgoing, reply)


if __name__ == "__main__":
    main()
