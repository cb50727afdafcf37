"""A subject that runs in a process of its own: somebody's file, served by `oracle.subjects.worker`.

Every call has a time limit. A worker that does not answer is killed, and one that is gone stays gone: the subject then
answers every further call with what happened, so that an endless loop costs its limit once and not for every case.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from oracle.catalog.case import lay_out
from oracle.catalog.record import LayerSpec
from oracle.catalog.variants import KNOWN
from oracle.subjects.conventions.calling import Calling
from oracle.subjects.conventions.recognition import Told
from oracle.subjects.conventions.subject import Found, nearest
from oracle.subjects.interface import Array, LayerTrace, Reply, SubjectError
from oracle.subjects.wire import MEMORY, BrokenMessageError, Message, layout_of, receive, send

#: Seconds for one call: the arrays of a case are small, and a call takes milliseconds.
CALL_SECONDS = 5.0
#: Seconds for all calls into one layer: some thousand of them take a second.
LAYER_SECONDS = 60.0
#: Seconds for the import of a file; what trains or plots meanwhile is left out on a second try.
IMPORT_SECONDS = 2.0
#: Seconds for recognising one layer: a few dozen calls on tiny arrays.
RECOGNITION_SECONDS = 5.0
#: Seconds until a new process answers at all: it imports NumPy.
START_SECONDS = 30.0


def limits() -> dict[str, str]:
    """What a file may take, for a report."""
    memory = f"{MEMORY / 2**30:g} GiB (RLIMIT_AS)" if importlib.util.find_spec("resource") else "none on this system"
    return {
        "seconds_per_call": f"{CALL_SECONDS:g}",
        "seconds_per_layer": f"{LAYER_SECONDS:g}",
        "seconds_for_import": f"{IMPORT_SECONDS:g}",
        "memory": memory,
    }


class ForeignError(Exception):
    """What somebody's file raised, by name and message: the exception itself stays in the worker.

    ``place`` is the line of the user's file, where there is one.
    """

    def __init__(self, kind: str, message: str, place: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.place = place


class GoneError(ForeignError):
    """The process ended, or was ended because a call did not answer in time."""

    is_gone = True


class SlowError(GoneError):
    """The process was ended because all calls together took too long."""

    is_slow = True


@dataclass(frozen=True)
class Hints:
    """What the user says about the layers of a file: names taken for records, and how layers are called."""

    taken_for: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    told: Told = field(default_factory=Told)
    #: By the name of a layer, where it is said of that one only.
    told_of: Mapping[str, Told] = field(default_factory=dict)


class Worker:
    """A process with one file in it. A context manager: the process ends with it."""

    def __init__(self, file: Path, hints: Hints | None = None) -> None:
        self.file = file
        self.found: tuple[Found, ...] = ()
        self.passed_over: tuple[dict[str, str], ...] = ()
        self.notes: tuple[str, ...] = ()
        self._hints = hints or Hints()
        self._process: subprocess.Popen[bytes] | None = None
        self._gone: SubjectError | None = None
        self._definitions_only = False
        self._replies: queue.Queue[Message | BrokenMessageError] = queue.Queue()
        self._folder = tempfile.TemporaryDirectory(prefix="oracle-", ignore_cleanup_errors=True)
        self._spent = 0.0

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, and remove what it has written by relative paths."""
        self.stop()
        self._folder.cleanup()

    def load(self) -> None:
        """Import the file, or where that fails or takes too long its definitions alone, and recognise its layers.

        Raises SubjectError where not even they can be run.
        """
        candidates: list[dict[str, Any]]
        try:
            candidates = self._load(definitions_only=False)
        except SubjectError as error:
            self.stop()
            candidates = self._load(definitions_only=True)
            self.notes = (f"imported with its definitions and constants alone: {error}", *self.notes)
        self._recognise(candidates)

    def call(
        self,
        text: dict[str, Any],
        arrays: dict[str, dict[str, Array]] | None = None,
        *,
        step: str,
        seconds: float | None = None,
    ) -> Message:
        """One call; raises SubjectError for what the file raises, for a time limit, and for a process that is gone."""
        if self._gone is not None:
            raise self._gone
        if self._spent > LAYER_SECONDS:
            raise self._lost(step, SlowError("TimeoutError", f"more than {LAYER_SECONDS:g} s in all"))
        started = time.monotonic()
        try:
            return self._ask(Message(text, arrays or {}), step, CALL_SECONDS if seconds is None else seconds)
        finally:
            self._spent += time.monotonic() - started

    def printed(self) -> str:
        """The first of what the file has printed, in its present process."""
        try:
            return str(self.call({"call": "printed"}, step="printed").text["printed"])
        except SubjectError:
            return ""

    def revive(self) -> None:
        """Start the process again where one layer of the file has ended it, so that the others can be checked.

        The time for a layer is counted anew.
        """
        self._spent = 0.0
        if self._gone is not None:
            notes = self.notes
            self._load(definitions_only=self._definitions_only)
            self.notes = notes

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                assert stream is not None  # both are pipes
                # What was written for a process that has ended meanwhile cannot be sent any more.
                with contextlib.suppress(OSError):
                    stream.close()
            self._process = None

    def _load(self, *, definitions_only: bool) -> list[dict[str, Any]]:
        self._definitions_only = definitions_only
        self._start()
        seconds = IMPORT_SECONDS + (START_SECONDS - IMPORT_SECONDS if definitions_only else 0.0)
        request = Message(
            {
                "call": "load",
                "file": str(self.file.resolve()),
                "definitions_only": definitions_only,
                "taken_for": dict(self._hints.taken_for),
            }
        )
        reply = self._ask(request, "the import", seconds)
        self.passed_over = tuple(reply.text["passed_over"])
        self.notes = tuple(reply.text["notes"])
        candidates: list[dict[str, Any]] = reply.text["candidates"]
        return candidates

    def _recognise(self, candidates: list[dict[str, Any]]) -> None:
        """Which record each candidate is, and how it is called."""
        passed_over = self.passed_over
        found: dict[str, Found] = {}
        told = self._hints.told
        # Those with a weight show by their shapes which way batches lie; in the others of the file they lie alike.
        for candidate in sorted(candidates, key=lambda c: not KNOWN[c["records"][0]].parameters):
            name = candidate["name"]
            one = self._recognised(candidate, self._hints.told_of.get(name, told))
            if isinstance(one, str):
                passed_over += ({"name": name, "reason": one},)
                continue
            found[name] = one
            if one.calling.in_columns and told.in_columns is None:
                told = replace(told, in_columns=True)
            if one.calling.one_at_a_time:
                told = replace(told, one_at_a_time=True)
        self.found = tuple(sorted(found.values(), key=lambda one: one.line))
        self.passed_over = passed_over

    def _recognised(self, candidate: Mapping[str, Any], told: Told) -> Found | str:
        """What a candidate is, or why it cannot be told."""
        name, where, problem = candidate["name"], (candidate["line"], candidate["place"]), candidate["problem"]
        if problem:
            return Found(name, *where, candidate["records"][0], Calling(), problem)
        text = {"call": "recognise", "name": name, "told": asdict(told), "is_tried": True}
        try:
            reply = self.call(text, step="the first call", seconds=RECOGNITION_SECONDS)
        except SubjectError:
            # What it does is seen, and said, when it is examined.
            self.revive()
            reply = self.call({**text, "is_tried": False}, step="the first call")
        values = reply.arrays.get("values", {})
        attempts = [
            (one["record"], Calling.from_json(one["calling"]), values.get(str(number)))
            for number, one in enumerate(reply.text["attempts"])
        ]
        if not attempts:
            return str(reply.text["reason"])
        record, calling = nearest(attempts)
        lines = next(one["lines"] for one in reply.text["attempts"] if one["record"] == record)
        return Found(name, *where, record, calling, lines={q: (place, text) for q, (place, text) in lines.items()})

    def _start(self) -> None:
        self._gone = None
        self._replies = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-m", "oracle.subjects.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # What a file writes by a relative path lands in a folder that goes away with the process.
            cwd=self._folder.name,
            env={**os.environ, "PYTHONUTF8": "1", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONPATH": _path()},
        )
        # The first call waits for NumPy as well: a call that does nothing tells when the process is there.
        threading.Thread(target=_read, args=(self._process.stdout, self._replies), daemon=True).start()
        self._ask(Message({"call": "close", "instance": -1}), "the worker", START_SECONDS)

    def _ask(self, message: Message, step: str, seconds: float) -> Message:
        assert self._process is not None
        assert self._process.stdin is not None
        started = time.monotonic()
        try:
            send(self._process.stdin, message)
            reply = self._replies.get(timeout=seconds)
        except queue.Empty:
            raise self._lost(step, GoneError("TimeoutError", f"no answer in {seconds:g} s")) from None
        except OSError as error:
            raise self._lost(step, GoneError("ProcessEnded", "the process ended")) from error
        if isinstance(reply, BrokenMessageError):
            seconds = time.monotonic() - started
            raise self._lost(step, GoneError("ProcessEnded", f"the process ended after {seconds:.1f} s"))
        if "raised" in reply.text:
            text = reply.text
            raise SubjectError(text["step"], ForeignError(text["raised"], text["message"], text["place"]))
        return reply

    def _lost(self, step: str, error: GoneError) -> SubjectError:
        self.stop()
        self._gone = SubjectError(step, error)
        return self._gone


def _path() -> str:
    """Where the worker finds this package, whatever folder it runs in, and what else was to be found."""
    ours = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([ours, *filter(None, [os.environ.get("PYTHONPATH")])])


def _read(stream: Any, replies: queue.Queue[Message | BrokenMessageError]) -> None:
    while True:
        try:
            replies.put(receive(stream))
        except (BrokenMessageError, OSError, ValueError) as error:
            replies.put(BrokenMessageError(str(error)))
            return


class RemoteSubject:
    """One layer of a file, as a subject."""

    def __init__(self, worker: Worker, found: Found) -> None:
        self.record: LayerSpec = found.spec
        self.label = found.name
        self._worker = worker
        self._opening = {
            "name": found.name,
            "record": found.record,
            "calling": found.calling.to_json(),
        }

    def open(self, parameters: Mapping[str, Array]) -> RemoteHandle:
        """A new instance with these parameters, made by the first call into it."""
        return RemoteHandle(self._worker, self._opening, dict(parameters))


class RemoteHandle:
    """An instance in the worker. It is made together with the first call: a way through the pipe is saved."""

    def __init__(self, worker: Worker, opening: dict[str, Any], parameters: dict[str, Array]) -> None:
        self._worker = worker
        self._opening = opening
        # Copies: whoever asked may change them before the first call.
        self._parameters = {name: lay_out(values, layout_of(values)) for name, values in parameters.items()}
        self._number: int | None = None

    def forward(self, inputs: Mapping[str, Array]) -> Reply:
        return _reply(self._call("forward", inputs=dict(inputs)))

    def backward(self, dout: Array) -> Reply:
        return _reply(self._call("backward", dout={"dout": dout}))

    def value(self, inputs: Mapping[str, Array]) -> Array:
        return self._call("value", inputs=dict(inputs)).arrays["values"]["value"]

    def values(self, inputs: Mapping[str, Array], name: str, points: Sequence[Array]) -> list[Array]:
        # One message for all: a way through the pipe takes longer than a forward.
        numbered = {str(number): point for number, point in enumerate(points)}
        reply = self._call("values", name=name, inputs=dict(inputs), points=numbered)
        return [reply.arrays["values"][number] for number in numbered]

    def step(self, inputs: Mapping[str, Array], dout: Array) -> dict[str, Array]:
        return self._call("step", inputs=dict(inputs), dout={"dout": dout}).arrays["values"]

    def set_parameters(self, parameters: Mapping[str, Array]) -> None:
        self._call("set_parameters", parameters=dict(parameters))

    def trace(self, inputs: Mapping[str, Array]) -> tuple[LayerTrace, ...] | None:
        reply = self._call("trace", inputs=dict(inputs))
        if reply.text["layers"] is None:
            return None
        traces = []
        for number in range(reply.text["layers"]):
            held = reply.arrays[str(number)]
            gradients = tuple(values for name, values in held.items() if name.startswith("gradient"))
            traces.append(LayerTrace(held["x"], held["y"], held["dout"], held["dx"], gradients))
        return tuple(traces)

    def numerical_gradient(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return self._call("numerical_gradient", inputs=dict(inputs)).arrays["values"]

    def assign_parameter(self, name: str, values: Array) -> None:
        self._call("assign_parameter", parameters={name: values})

    def recall(self, token: int) -> dict[str, Array]:
        return self._call("recall", token=token).arrays["values"]

    def scribble(self, token: int) -> None:
        self._call("scribble", token=token)

    def _call(self, call: str, *, token: int = 0, name: str = "", **arrays: dict[str, Array]) -> Message:
        text: dict[str, Any] = {"call": call, "instance": self._number, "token": token, "name": name}
        if self._number is not None:
            return self._worker.call(text, arrays, step=call)
        reply = self._worker.call(
            {**text, "opening": self._opening}, {**arrays, "opening": self._parameters}, step=call
        )
        self._number = reply.text["instance"]
        return reply


def _reply(message: Message) -> Reply:
    text = message.text
    return Reply(
        values=message.arrays["values"],
        arguments=message.arrays["arguments"],
        aliases=tuple((result, argument) for result, argument in text["aliases"]),
        warnings=tuple(text["warnings"]),
        token=text["token"],
    )
