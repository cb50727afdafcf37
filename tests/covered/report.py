"""Writes reports/coverage.md from the data of coverage.py, and holds it against uncovered.toml.

    python tests/covered/report.py

Ends with 1 where a line or a branch is not reached and uncovered.toml has no reason for it, and where uncovered.toml
has a reason for what is reached, or is not there any more.

What is not reached is named by file, function and code, and not by number, so that a reason outlives the lines above
it: a line by its text (of a statement over several lines, the first), a branch as "text of its line → text of the line
that it never goes to", the end of the function being "→ exit". The same text twice in a function is listed twice.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from oracle.files import write_atomically

REASONS = Path(__file__).with_name("uncovered.toml")
REPORT = Path("reports/coverage.md")

INTRODUCTION = """\
Lines and branches of `scratch` and `oracle` that the tests reach, in processes of their own too, by
`tox run -e coverage`: on Linux, with PyTorch and python-flint, and without the MNIST files.

Left out of the count is what `[tool.coverage.report]` of pyproject.toml names, with its reason. What is listed below
with a reason is held against `tests/covered/uncovered.toml`: anything else that is not reached fails, and so does a
reason for what is reached."""


@dataclass(frozen=True, order=True)
class Place:
    """A line or a branch. ``function`` is "" at the top of a module."""

    file: str
    function: str
    code: str

    def __str__(self) -> str:
        return f"{self.file}, {self.function or 'top of the module'}: `{self.code}`"


def measured() -> dict[str, Any]:
    """The data as coverage.py gives it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "coverage.json"
        subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", file], check=True)
        return json.loads(file.read_text(encoding="utf-8"))


def in_package(file: str) -> str:
    """The name of a file from the package on, wherever that is installed."""
    parts = Path(file).parts
    return Path(*parts[max(n for n, part in enumerate(parts) if part in ("scratch", "oracle")) :]).as_posix()


def not_reached(name: str, file: Mapping[str, Any], source: Iterable[str]) -> Iterator[tuple[Place, int]]:
    """What of a file is not reached, with its line. A branch to or from such a line says nothing more, and is none."""
    text = [line.strip() for line in source]
    function = {
        line: called
        for called, part in file["functions"].items()
        for line in (*part["executed_lines"], *part["missing_lines"])
    }
    lines = set(file["missing_lines"])
    for line in file["missing_lines"]:
        yield Place(name, function[line], text[line - 1]), line
    for start, end in file["missing_branches"]:
        if not {start, end} & lines:
            yield Place(name, function[start], f"{text[start - 1]} → {'exit' if end < 0 else text[end - 1]}"), start


def row(name: str, summary: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    branches = f"{summary['covered_branches']} of {summary['num_branches']}"
    lines = f"{summary['covered_lines']} of {summary['num_statements']}"
    return name, lines, branches, f"{summary['percent_covered']:.2f} %"


def exceptions(text: str) -> list[tuple[str, list[Place]]]:
    """Reasons, each with the places that it stands for, from the text of uncovered.toml."""
    return [
        (" ".join(group["reason"].split()), [Place(at["file"], at["function"], code) for code in at["code"]])
        for group in tomllib.loads(text).get("exceptions", [])
        for at in group["at"]
    ]


def held(found: Iterable[tuple[Place, int]], reasons: Iterable[tuple[str, list[Place]]]) -> list[str]:
    """What is wrong, a sentence each: places that are not reached and have no reason, and reasons without a place."""
    left = Counter(place for _, places in reasons for place in places)
    problems = []
    for place, line in found:
        if left[place] > 0:
            left[place] -= 1
        else:
            problems.append(f"not reached by any test, and no reason in {REASONS.name}: {place} (line {line})")
    problems += [f"a reason in {REASONS.name}, but reached by a test, or gone: {place}" for place in left.elements()]
    return problems


def markdown(
    data: Mapping[str, Any],
    files: Mapping[str, Mapping[str, Any]],
    reasons: list[tuple[str, list[Place]]],
    problems: list[str],
) -> str:
    """The report."""
    rows = [row(name, file["summary"]) for name, file in files.items()] + [row("all", data["totals"])]
    table = tabulate(rows, headers=("file", "lines", "branches", "covered"), tablefmt="github", disable_numparse=True)
    parts = ["# Coverage", INTRODUCTION, table, "## What no test reaches, and why"]
    by_reason: dict[str, list[Place]] = {}
    for reason, places in reasons:
        by_reason.setdefault(reason, []).extend(places)
    for reason, places in by_reason.items():
        parts.append("\n".join((f"{reason}\n", *(f"- {place}" for place in places))))
    if not by_reason:
        parts.append("Nothing.")
    if problems:
        parts += ["## What is wrong", "\n".join(f"- {problem}" for problem in problems)]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Write the report; 1 where it does not agree with the reasons."""
    data = measured()
    paths = {in_package(file): Path(file) for file in sorted(data["files"])}
    if len(paths) < len(data["files"]):
        raise SystemExit("the same module was measured at two places: [tool.coverage.paths] must map one to the other")
    files = {name: data["files"][str(path)] for name, path in paths.items()}
    found = [
        place
        for name, path in paths.items()
        for place in not_reached(name, files[name], path.read_text(encoding="utf-8").split("\n"))
    ]
    reasons = exceptions(REASONS.read_text(encoding="utf-8"))
    problems = held(found, reasons)
    write_atomically(REPORT, markdown(data, files, reasons, problems))
    totals = data["totals"]
    print(*problems, sep="\n", end="\n" if problems else "")
    print(
        f"{totals['covered_lines']} of {totals['num_statements']} lines and {totals['covered_branches']} of "
        f"{totals['num_branches']} branches are reached ({totals['percent_covered']:.2f} %); "
        f"{sum(len(places) for _, places in reasons)} exceptions have reasons; {len(problems)} problems"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
