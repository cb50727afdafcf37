"""Writes reports/coverage.md from the data of coverage.py: python tests/covered/report.py.

What no test reaches is listed by file, as lines and as branches (from line → to line, "exit" being the end of the
function), each with its reason where uncovered.toml has one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from tabulate import tabulate

from oracle.files import write_atomically

REASONS = Path(__file__).with_name("uncovered.toml")
REPORT = Path("reports/coverage.md")

INTRODUCTION = """\
Lines and branches of `scratch` and `oracle` that the tests reach, in processes of their own too, with PyTorch.

Left out everywhere: what coverage.py leaves out by itself (bodies of protocols, imports for type checkers), and what
`[tool.coverage.report]` of pyproject.toml names with its reason. In the list below, where no reason stands, a test is
missing."""


def measured() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "coverage.json"
        subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", file], check=True)
        return json.loads(file.read_text(encoding="utf-8"))


def in_package(file: str) -> str:
    """The name of a file from the package on, wherever that is installed."""
    parts = Path(file).parts
    return Path(*parts[max(n for n, part in enumerate(parts) if part in ("scratch", "oracle")) :]).as_posix()


def row(name: str, summary: dict[str, Any]) -> tuple[str, ...]:
    branches = f"{summary['covered_branches']} of {summary['num_branches']}"
    lines = f"{summary['covered_lines']} of {summary['num_statements']}"
    return name, lines, branches, f"{summary['percent_covered']:.2f} %"


def ranges(numbers: list[int]) -> str:
    """1, 2, 3, 7 as "1-3, 7"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def missing(name: str, file: dict[str, Any], reason: str) -> str:
    """What of a file is not reached. A branch to or from a line that is not reached says nothing more."""
    lines = file["missing_lines"]
    branches = [
        f"{start} → {'exit' if end < 0 else end}"
        for start, end in file["missing_branches"]
        if start not in lines and end not in lines
    ]
    parts = [f"lines {ranges(lines)}"] if lines else []
    parts += [f"branches {', '.join(branches)}"] if branches else []
    return f"- {name}: {'; '.join(parts)}." + (f" {reason}" if reason else "")


def main() -> None:
    data = measured()
    groups = tomllib.loads(REASONS.read_text(encoding="utf-8"))["exceptions"]
    reasons = {file: group["reason"] for group in groups for file in group["files"]}
    files = {in_package(file): values for file, values in sorted(data["files"].items())}
    rows = [row(name, file["summary"]) for name, file in files.items()] + [row("all", data["totals"])]
    table = tabulate(rows, headers=("file", "lines", "branches", "covered"), tablefmt="github", disable_numparse=True)
    not_reached = [
        missing(name, file, reasons.get(name, ""))
        for name, file in files.items()
        if file["missing_lines"] or file["missing_branches"]
    ]
    parts = ["# Coverage", INTRODUCTION, table, "## What no test reaches", "\n".join(not_reached) or "Nothing."]
    write_atomically(REPORT, "\n\n".join(parts) + "\n")
    print(f"{data['totals']['percent_covered']:.2f} % of lines and branches are covered")


if __name__ == "__main__":
    main()
