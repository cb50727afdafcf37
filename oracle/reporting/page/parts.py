"""The reports that a page is made of: which there are, what makes them, and reading those that lie in a directory."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle.reporting.report import SCHEMA


@dataclass(frozen=True)
class Kind:
    """A kind of report: its file, the ``kind`` that stands in it, what it is, and the command that makes it."""

    file: str
    kind: str
    title: str
    command: str


#: As many threads as the committed times were taken with.
TWO_THREADS = "OMP_NUM_THREADS=2 "

GRADIENTS = Kind("gradient_errors.json", "report", "Gradient errors", "oracle report --truth")
TRAINING = Kind("training.json", "train", "Training", "oracle train")
BENCH_TRAIN = Kind("bench_train.json", "bench train", "Time of a training step", f"{TWO_THREADS}oracle bench train")
BENCH_CHECK = Kind("bench_check.json", "bench check", "Time of checking a network", f"{TWO_THREADS}oracle bench check")
KILL_RATE = Kind("kill_rate.json", "kill-rate", "Planted defects", "oracle kill-rate")
MATRIX = Kind("matrix.json", "matrix", "Every environment", "oracle matrix .tox/matrix-reports")
CHECK = Kind("check.json", "check", "Your own file", "oracle check FILE")
KINDS = (GRADIENTS, TRAINING, BENCH_TRAIN, BENCH_CHECK, KILL_RATE, MATRIX, CHECK)
WORDS = ("inf", "-inf", "nan")
#: Where every command but one writes when it is not told.
USUAL = Path("reports")


@dataclass(frozen=True)
class Part:
    """One report, or why there is none: ``problem`` is empty where the file is merely absent."""

    kind: Kind
    command: str
    report: dict[str, Any] | None = None
    problem: str = ""


def read_parts(directory: Path, fresh: Mapping[str, str]) -> dict[str, Part]:
    """Every kind of report by its file: from ``fresh``, which is about to be written there, or from the directory."""
    return {kind.file: _read(kind, directory, fresh.get(kind.file)) for kind in KINDS}


def as_numbers(value: Any) -> Any:
    """The same with the words that JSON has for infinities and NaN read as numbers, all the way down."""
    if isinstance(value, dict):
        return {key: as_numbers(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [as_numbers(entry) for entry in value]
    return float(value) if value in WORDS else value


def _read(kind: Kind, directory: Path, text: str | None) -> Part:
    command = kind.command
    if directory != USUAL or kind is CHECK:
        command += f" --out {shlex.quote(str(directory))}"
    try:
        report = json.loads((directory / kind.file).read_bytes() if text is None else text)
    except FileNotFoundError:
        return Part(kind, command)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON"
        return Part(kind, command, problem=f"cannot be read ({reason})")
    if not isinstance(report, dict) or report.get("kind") != kind.kind:
        return Part(kind, command, problem=f"is no report of the kind {kind.kind}")
    if report.get("schema") != SCHEMA:
        return Part(kind, command, problem=f"has schema {report.get('schema')}, and this version reads {SCHEMA}")
    return Part(kind, command, report)
