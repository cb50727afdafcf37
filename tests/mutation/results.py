"""Writes reports/mutants.md and .json from mutmut's results, and fails where they are not what equivalent.toml says.

A mutant is known by its function and the line that it changes, not by mutmut's number for it, which moves with every
change of the function. It fails where a survivor is not listed, where one that is listed did not survive, and where
more survive than `LIMITS` allow.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from mutmut.utils.format_utils import orig_function_and_class_names_from_key
from tabulate import tabulate

from oracle.files import write_together

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
REPORTS = Path("reports")
#: The share of survivors, listed ones included.
LIMITS = {"scratch": 0.05, "oracle": 0.10}
#: A loop that does not end and a crash are noticed as a failed assertion is.
KILLED = ("killed", "timeout", "segfault")

INTRODUCTION = """\
Mutmut {mutmut} changes one thing at a time: an operator, a number, an argument left out, a branch forced. A mutant is
killed when a test fails, and survives when none does. Those that survive change nothing that can be observed, each for
the reason given below, which `tests/mutation/equivalent.toml` holds; the environment `mutants` of tox fails for any
other.

The tests need no PyTorch. Two processes ran them, for {minutes:.0f} minutes together.

What runs on import is not changed (tables of constants, decorators, default arguments that are not plain values, the
lambdas of the table of verdicts, of which tests/judge/test_verdict.py makes mutants of its own), nor are annotations,
calls of len and isinstance, and the fixed parts of f-strings."""


class Change(NamedTuple):
    """What a mutant is known by."""

    function: str
    was: str
    becomes: str


class Mutant(NamedTuple):
    file: str
    status: str
    seconds: float
    change: Change | None  # of a survivor


def tested() -> list[Mutant]:
    """Every mutant, as mutmut left its results."""
    mutants = []
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name, code in data.exit_code_by_key.items():
            status = status_by_exit_code[code]
            change = None if status in KILLED else change_of(name, path)
            seconds = data.durations_by_key.get(name, 0.0)
            mutants.append(Mutant(path.as_posix(), status, seconds, change))
    return mutants


def change_of(name: str, path: Path) -> Change:
    function, of_class = orig_function_and_class_names_from_key(name)
    lines = get_diff_for_mutant(name, path=path).splitlines()
    was, becomes = (
        " ".join(line[1:].strip() for line in lines if line[0] == sign and line[:3] != sign * 3) for sign in "-+"
    )
    return Change(".".join(filter(None, (path.stem, of_class, function))), was, becomes)


def reasons() -> dict[Change, str]:
    """Why each listed mutant cannot be told from what it was made of."""
    groups = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    return {Change(*mutant): group["reason"] for group in groups for mutant in group["mutants"]}


def failures(mutants: list[Mutant], listed: dict[Change, str]) -> list[str]:
    survived = {mutant.change for mutant in mutants if mutant.change}
    failed = [f"survives and is not listed: {change}" for change in sorted(survived - listed.keys())]
    failed += [f"is listed and does not survive: {change}" for change in sorted(listed.keys() - survived)]
    for package, limit in LIMITS.items():
        of_package = [mutant for mutant in mutants if mutant.file.startswith(package)]
        share = sum(mutant.change is not None for mutant in of_package) / len(of_package)
        if share > limit:
            failed.append(f"of the mutants of {package} {share:.1%} survive; at most {limit:.0%} may")
    return failed


def counts(mutants: list[Mutant]) -> list[dict[str, str | int]]:
    """How many of each status, by file and by package."""
    rows = []
    for package in LIMITS:
        of_package = [mutant for mutant in mutants if mutant.file.startswith(package)]
        files = {file: [m for m in of_package if m.file == file] for file in sorted({m.file for m in of_package})}
        for name, group in [*files.items(), (f"{package}, all of these", of_package)]:
            status = Counter(mutant.status for mutant in group)
            killed = sum(status[each] for each in KILLED)
            rows.append({"file": name, "mutants": len(group), "killed": killed, "survived": len(group) - killed})
    return rows


def report(mutants: list[Mutant], listed: dict[Change, str]) -> tuple[str, dict]:
    """The report as Markdown and as what goes into JSON."""
    mutmut, minutes = version("mutmut"), sum(mutant.seconds for mutant in mutants) / 60
    of_files = counts(mutants)
    survivors = [m.change._asdict() | {"reason": listed.get(m.change)} for m in mutants if m.change]
    cells = [
        (row["file"], row["mutants"], row["killed"], row["survived"], f"{row['survived'] / row['mutants']:.1%}")
        for row in of_files
    ]
    headers = ("file", "mutants", "killed", "survived", "share")
    parts = [
        "# Mutation testing",
        INTRODUCTION.format(mutmut=mutmut, minutes=minutes),
        tabulate(cells, headers=headers, tablefmt="github", disable_numparse=True),
        "## What survives, and why",
    ]
    for reason in dict.fromkeys(survivor["reason"] for survivor in survivors):
        parts.append(reason.strip() if reason else "No reason is known:")
        changes = [s for s in survivors if s["reason"] == reason]
        parts.append("\n".join(f"- {s['function']}: `{s['was']}` → `{s['becomes']}`" for s in changes))
    return "\n\n".join(parts) + "\n", {
        "mutmut": mutmut,
        "minutes": round(minutes, 1),
        "files": of_files,
        "survivors": survivors,
    }


def main() -> int:
    mutants, listed = tested(), reasons()
    markdown, data = report(mutants, listed)
    as_json = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    write_together({REPORTS / "mutants.md": markdown, REPORTS / "mutants.json": as_json})
    failed = failures(mutants, listed)
    print("\n".join([*failed, f"{len(mutants)} mutants, {sum(m.change is not None for m in mutants)} survive"]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
