"""Interleaved rounds: machines are noisy, so that what is compared takes turns and medians are compared."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One way of doing something: the median of its rounds in seconds, and how many rounds there were."""

    name: str
    median_s: float
    runs: int


def interleaved(
    ways: Mapping[str, Callable[[], object]], *, rounds: int, repeats: int, on_round: Callable[[], None] = lambda: None
) -> list[Row]:
    """Time every way in turn, ``rounds`` times ``repeats`` calls each, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for number in range(rounds + 1):
            for name, way in ways.items():
                # What the way before left in the caches is not its fault.
                way()
                start = time.perf_counter()
                for _ in range(repeats):
                    way()
                taken = (time.perf_counter() - start) / repeats
                if number > 0:
                    seconds[name].append(taken)
            on_round()
    finally:
        if was_enabled:
            gc.enable()
    return [Row(name, statistics.median(taken), len(taken)) for name, taken in seconds.items()]
