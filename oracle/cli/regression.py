"""What ``report`` and ``check`` share with ``diff``: saving results, and holding new ones against saved ones."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oracle.errors import InputError

if TYPE_CHECKING:
    from oracle.reporting.baseline import Key, Results
    from oracle.reporting.regression import Differences

#: As argparse calls them.
OPTIONS = ("save_baseline", "compare", "fail_if_worse", "all_rows")


def factor(text: str) -> float:
    """A ratio larger than 1: ``10x``, ``10`` or ``1.5x``."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)[xX×]?", text)
    if match is None or float(match[1]) <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a ratio above 1, such as 10x")
    return float(match[1])


def add(command: argparse.ArgumentParser, default: Path) -> None:
    """Add the options to a command; ``default`` is the baseline where none is named."""
    group = command.add_argument_group("regression checking", "a verdict that got worse ends with 1")
    for option, does in (("--save-baseline", "keep the results"), ("--compare", "hold the results against those kept")):
        group.add_argument(
            option, nargs="?", const=default, type=Path, metavar="PATH", help=f"{does} (without a PATH: {default})"
        )
    add_rules(group)


def add_rules(group: Any) -> None:
    """Add what says how strictly results are held against each other."""
    group.add_argument(
        "--fail-if-worse", type=factor, metavar="RATIO", help="an error more than 10x as large ends with 1 too"
    )
    group.add_argument("--all-rows", action="store_true", help="list every row that has not changed")


@dataclass(frozen=True)
class Outcome:
    """What comparing came to, for each of those who are told."""

    entry: dict[str, Any]
    text: str
    markdown: str
    files: dict[Path, str]
    regressed: bool


class Regression:
    """The options of one run. Everything that can be refused is refused when it is made, before any work."""

    def __init__(self, arguments: argparse.Namespace, of: str, plan: Mapping[str, Any]) -> None:
        from oracle.files import require_replaceable, require_writable_directory
        from oracle.reporting.baseline import read_results, require_replaceable_baseline, require_same_cases

        self._limit: float | None = arguments.fail_if_worse
        self._all_rows: bool = arguments.all_rows
        self._save: Path | None = arguments.save_baseline
        self._before: Results | None = None
        if arguments.compare is None and self._limit is not None:
            raise InputError(f"--fail-if-worse {self._limit:g}x: there is nothing to compare with; add --compare PATH")
        if arguments.compare is not None:
            self._before = read_results(arguments.compare, of=of)
            require_same_cases(self._before, arguments.seed, plan)
        if self._save is not None:
            require_writable_directory(self._save.parent)
            require_replaceable(self._save)
            require_replaceable_baseline(self._save, of)

    def judge(self, report: Mapping[str, Any], asked: Callable[[Key], bool] = lambda key: True) -> Outcome:
        """Hold a report against the baseline, and say what to write and to print."""
        from oracle.reporting.baseline import results_of, to_baseline
        from oracle.reporting.regression import differences, regression_markdown, regression_text, to_json_entry
        from oracle.reporting.render import to_json

        found: Differences | None = None
        parts, files = [], {}
        if self._before is not None:
            found = differences(self._before, results_of(report, "this run"), limit=self._limit, asked=asked)
            require_common_rows(found)
            parts.append(regression_text(found, all_rows=self._all_rows))
        regressed = found is not None and found.regressed
        if self._save is not None and regressed:
            # Or the next run would be held against the regression, and pass.
            parts.append(f"{self._save} was left as it is: what has become worse is no baseline.")
        elif self._save is not None:
            files[self._save] = to_json(to_baseline(report))
        return Outcome(
            entry={"regression": to_json_entry(found)} if found else {},
            text="".join(f"\n\n{part}" for part in parts),
            markdown=f"\n{regression_markdown(found, all_rows=self._all_rows)}" if found else "",
            files=files,
            regressed=regressed,
        )


def require_common_rows(found: Differences) -> None:
    """Refuse results that have nothing to do with each other."""
    if not found.common:
        raise InputError(
            f"{found.before.place}: has no row in common with {found.after.place}, so that nothing can be compared; "
            "name the results of the same layers"
        )
