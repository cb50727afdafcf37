"""Interleaved rounds: machines are noisy, so that what is compared takes turns and medians are compared.

Each way runs in a process of its own: in one process the idle threads of one library go on spinning for a while and
take the cores from the other. NumPy and PyTorch by turns, two threads each, are several times slower than alone.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from oracle.catalog.record import resolve

#: Seconds between two turns: threads that still spin after the turn before have gone to sleep by then.
PAUSE = 0.02


@dataclass(frozen=True)
class Way:
    """One way of doing something: ``maker`` ("module:function"), called with ``options``, gives what is timed.

    ``repeats`` calls make a turn: long enough for caches and clocks to settle. A call does ``part`` of the whole.
    """

    name: str
    maker: str
    options: Mapping[str, Any] = field(default_factory=dict)
    repeats: int = 200
    part: float = 1.0


@dataclass(frozen=True)
class Row:
    """The median of the rounds of one way, in seconds for the whole, and how many rounds there were."""

    name: str
    median_s: float
    runs: int


def interleaved(ways: Sequence[Way], *, rounds: int, on_round: Callable[[], object] = lambda: None) -> list[Row]:
    """Time every way in turn, ``rounds`` times, after one round that is not counted."""
    context = multiprocessing.get_context("spawn")
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    with ExitStack() as stack:
        workers: dict[str, Connection] = {}
        for way in ways:
            ours, theirs = context.Pipe()
            worker = context.Process(target=_serve, args=(theirs, way), daemon=True)
            worker.start()
            theirs.close()
            stack.callback(worker.join)
            stack.callback(worker.terminate)
            workers[way.name] = ours
        for number in range(rounds + 1):
            for way in ways:
                connection = workers[way.name]
                time.sleep(PAUSE)
                connection.send(way.repeats)
                taken = connection.recv()
                if isinstance(taken, BaseException):
                    raise taken
                if number > 0:
                    seconds[way.name].append(taken / way.part)
            on_round()
    return [Row(name, statistics.median(taken), len(taken)) for name, taken in seconds.items()]


def _serve(connection: Connection, way: Way) -> None:
    """The worker: for every number received, that many calls, and the seconds that one took."""
    # Ctrl-C reaches all processes of a terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        call = resolve(way.maker)(**way.options)
        while True:
            repeats = connection.recv()
            connection.send(time_calls(call, repeats))
    except (EOFError, BrokenPipeError):
        return  # whoever asked is gone
    except Exception as error:
        connection.send(error)


def time_calls(call: Callable[[], object], repeats: int) -> float:
    """Seconds of one of ``repeats`` calls, after half as many uncounted ones: the turn before left cold caches."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(max(repeats // 2, 2)):
            call()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - start) / repeats
    finally:
        if was_enabled:
            gc.enable()
