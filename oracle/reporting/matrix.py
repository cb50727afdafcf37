"""The reports of many environments in one table: layer × environment, worst margin. Drift between versions shows."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from oracle.errors import InputError
from oracle.judge.verdict import FAULTS, RIGHT, worst
from oracle.reporting.baseline import FACTS, Results, read_results

#: What an environment leaves in its folder, which is called as it is.
REPORT = "gradient_errors.json"
TESTS = "tests.xml"
SCHEMA = 1
#: Failed tests that are named; the others are counted.
NAMED = 20


@dataclass(frozen=True)
class Tests:
    """What pytest said in an environment."""

    passed: int
    skipped: int
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Environment:
    """An environment that left something; without ``results`` it stopped before its report."""

    name: str
    results: Results | None
    tests: Tests | None

    @property
    def verdict(self) -> str | None:
        return worst(row.verdict for row in self.results.rows.values()) if self.results else None

    @property
    def is_wrong(self) -> bool:
        return self.verdict is None or self.verdict in FAULTS or bool(self.tests and self.tests.failed)

    def layers(self) -> dict[str, tuple[str, float | None]]:
        """By layer, its worst verdict and its largest margin, all quantities and dtypes together."""
        found: dict[str, tuple[str, float | None]] = {}
        for key, row in self.results.rows.items() if self.results else ():
            verdict, margin = found.get(key.layer, (RIGHT, None))
            margins = [value for value in (margin, row.margin) if value is not None]
            found[key.layer] = worst((verdict, row.verdict)), max(margins, default=None)
        return found


@dataclass(frozen=True)
class Matrix:
    """All environments, and by name those that were expected and left nothing, each with the reason."""

    environments: tuple[Environment, ...]
    missing: Mapping[str, str]

    @property
    def verdict(self) -> str:
        return worst(one.verdict for one in self.environments if one.verdict is not None)


def gather(folders: Sequence[Path], expected: Sequence[str] = ()) -> Matrix:
    """Read what lies in the folders: each holds one environment's report, or a folder for each environment.

    Raises InputError where there is no report at all, or one that cannot be used.
    """
    places: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such directory; one with the reports of environments is required")
        inside = [folder] if _left_something(folder) else sorted(p for p in folder.iterdir() if _left_something(p))
        for place in inside:
            name = place.resolve().name
            if name in places:
                raise InputError(f"{place}: {places[name]} is of an environment of this name too; name one of them")
            places[name] = place
    if not any((place / REPORT).is_file() for place in places.values()):
        given = ", ".join(map(str, folders))
        raise InputError(f"{given}: no {REPORT} was found here; run the environments first: tox run -m matrix")
    order = [*(name for name in expected if name in places), *(name for name in places if name not in expected)]
    return Matrix(
        tuple(_environment(name, places[name]) for name in order),
        {name: _why_missing(name) for name in expected if name not in places},
    )


def _left_something(folder: Path) -> bool:
    return (folder / REPORT).is_file() or (folder / TESTS).is_file()


def _environment(name: str, place: Path) -> Environment:
    results = read_results(place / REPORT, of="report") if (place / REPORT).is_file() else None
    return Environment(name, results, _tests(place / TESTS) if (place / TESTS).is_file() else None)


def _tests(path: Path) -> Tests:
    """The outcome of pytest from its JUnit file."""
    try:
        cases = list(ElementTree.parse(path).iter("testcase"))
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: is damaged ({error}); run the environment again") from error
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    names = tuple(f"{case.get('classname', '')}.{case.get('name', '')}" for case in failed)
    return Tests(len(cases) - len(failed) - skipped, skipped, names)


def _why_missing(name: str) -> str:
    python = _interpreter(name)
    if python is not None and not _runs(python):
        # It may have stopped where there is one: on another machine, as in a workflow.
        return f"it left nothing, and its interpreter, {python}, is missing here"
    return "it was not run, or stopped before it left anything"


def _interpreter(name: str) -> str | None:
    """``python3.12`` for an environment called ``py312-…``."""
    factor = name.partition("-")[0]
    digits = factor.removeprefix("py")
    return f"python{digits[0]}.{digits[1:]}" if factor != digits and digits.isdecimal() and len(digits) > 1 else None


def _runs(python: str) -> bool:
    """Whether there is such a command and it works: a version manager leaves commands that only complain."""
    path = shutil.which(python)
    if path is None:
        return False
    return subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0


def to_report(matrix: Matrix, environment: Mapping[str, Any]) -> dict[str, Any]:
    """The report of kind ``matrix``."""
    rows = [
        {"environment": one.name, "layer": layer, "verdict": verdict, "margin": margin}
        for one in matrix.environments
        for layer, (verdict, margin) in one.layers().items()
    ]
    return {
        "schema": SCHEMA,
        "kind": "matrix",
        "environment": dict(environment),
        "summary": {
            "verdict": matrix.verdict,
            "comparisons": len(rows),
            "zero_both": 0,
            "skipped": [{"reason": f"{name}: {reason}", "count": 1} for name, reason in matrix.missing.items()],
            "checks_run": 0,
        },
        "environments": [
            {
                "name": one.name,
                "verdict": one.verdict,
                **{fact: one.results.environment.get(fact) if one.results else None for fact in FACTS},
                "tests": None
                if one.tests is None
                else {"passed": one.tests.passed, "skipped": one.tests.skipped, "failed": list(one.tests.failed)},
            }
            for one in matrix.environments
        ],
        "missing": [{"name": name, "reason": reason} for name, reason in matrix.missing.items()],
        "rows": rows,
    }


def matrix_text(matrix: Matrix) -> str:
    """What a terminal shows."""
    return "\n\n".join([*_summary(matrix), _environments(matrix, "simple"), _table(matrix, "simple"), _legend()])


def matrix_markdown(matrix: Matrix) -> str:
    """The same for a file: failures first, then environments, then the table."""
    parts = ["# Layers in every environment", *_summary(matrix), "## Environments", _environments(matrix, "github")]
    parts += ["## Worst margins", _table(matrix, "github"), _legend()]
    return "\n\n".join(parts) + "\n"


def _summary(matrix: Matrix) -> list[str]:
    lines = [line for one in matrix.environments for line in _failures(one)]
    lines += [f"- **{name}** is missing: {reason}" for name, reason in matrix.missing.items()]
    wrong = sum(one.is_wrong for one in matrix.environments)
    count = len(matrix.environments)
    counted = f"{count} environment{'' if count == 1 else 's'}"
    state = f"{wrong} of {counted} failed" if wrong else f"{counted}, none failed"
    untested = sum(one.tests is None for one in matrix.environments)
    tests = f"; tests not run in {untested}" if untested else ""
    return [f"{state}; {len(matrix.missing)} missing{tests}.", *(["\n".join(lines)] if lines else [])]


def _failures(one: Environment) -> list[str]:
    lines = []
    if one.verdict is None:
        lines.append(f"- **{one.name}** failed: it left no report")
    elif one.verdict in FAULTS:
        layers = [f"{layer} ({verdict})" for layer, (verdict, _) in one.layers().items() if verdict in FAULTS]
        lines.append(f"- **{one.name}** failed: {', '.join(layers)}")
    if one.tests and one.tests.failed:
        rest = len(one.tests.failed) - NAMED
        named = ", ".join(f"`{name}`" for name in one.tests.failed[:NAMED])
        more = f" and {rest} more" if rest > 0 else ""
        failed = "1 test" if len(one.tests.failed) == 1 else f"{len(one.tests.failed)} tests"
        lines.append(f"- **{one.name}** failed {failed}: {named}{more}")
    return lines


def _environments(matrix: Matrix, style: str) -> str:
    cells = []
    for number, one in enumerate(matrix.environments, start=1):
        versions = [one.results.environment.get(fact) if one.results else None for fact in FACTS]
        tests = f"{one.tests.passed:,} passed, {len(one.tests.failed)} failed" if one.tests else "not run"
        cells.append((str(number), one.name, *(str(v or "–") for v in versions), one.verdict or "no report", tests))
    cells += [("–", name, *("–" for _ in FACTS), "missing", "not run") for name in matrix.missing]
    return tabulate(
        cells, headers=("", "environment", *FACTS.values(), "verdict", "tests"), tablefmt=style, disable_numparse=True
    )


def _table(matrix: Matrix, style: str) -> str:
    columns = [one.layers() for one in matrix.environments]
    layers = dict.fromkeys(layer for column in columns for layer in column)
    cells = []
    for layer in layers:
        found = [column.get(layer) for column in columns]
        cells.append((layer, *map(_cell, found), _spread(found)))
    numbers = (str(number) for number in range(1, len(columns) + 1))
    return tabulate(cells, headers=("layer", *numbers, "spread"), tablefmt=style, disable_numparse=True)


def _cell(found: tuple[str, float | None] | None) -> str:
    if found is None:
        return "·"
    verdict, margin = found
    figure = "–" if margin is None else f"{margin:.2g}"
    return figure if verdict == RIGHT else f"✗ {verdict} {figure}" if verdict in FAULTS else f"{verdict} {figure}"


def _spread(found: Iterable[tuple[str, float | None] | None]) -> str:
    """How many times as large the largest margin is as the smallest."""
    margins = [entry[1] for entry in found if entry is not None and entry[1] is not None]
    if len(margins) < 2 or max(margins) == 0:
        return ""
    return f"{max(margins) / min(margins):.2g}×" if min(margins) > 0 else "∞"


def _legend() -> str:
    return (
        "The largest margin (error / bound) of backprop over all quantities and dtypes of a layer; agreement is at "
        "most 1. A dot: the environment does not have the layer. *spread* is the largest divided by the smallest of a "
        "row."
    )
