"""Work shared out to processes, its results in the order of the tasks."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

from oracle.sources.autograd import is_available

Task = TypeVar("Task")
Result = TypeVar("Result")

#: Tasks that wait for each process, so that none is idle.
WAITING = 4


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_time() -> float:
    """Seconds of processor time that this process and those it has waited for have taken."""
    return sum(os.times()[:4])


def shared_out(function: Callable[[Task], Result], tasks: Iterable[Task], jobs: int) -> Generator[Result, None, None]:
    """``function`` of each task, in their order, from ``jobs`` processes; in this one where that is 1.

    Tasks are taken as they are needed: there may be no end of them. Processes are started anew, so that a result is
    the same on every platform and for every number of jobs.
    """
    if jobs == 1:
        with threadpool_limits(1):
            yield from map(function, tasks)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_alone_on_its_core)
    try:
        under_way: deque[Future[Result]] = deque()
        for task in tasks:
            under_way.append(pool.submit(function, task))
            if len(under_way) >= WAITING * jobs:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone_on_its_core() -> None:
    # An interrupt is for the process that shares out the work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if is_available():
        importlib.import_module("torch")  # the threads of what is not loaded yet are not limited
    threadpool_limits(1)
