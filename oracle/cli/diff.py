"""``oracle diff``: two reports, of two environments or two commits, held against each other."""

from __future__ import annotations

import argparse
from pathlib import Path

from oracle.cli import regression
from oracle.cli.common import Commands, deliver, require_places
from oracle.cli.status import RIGHT, WRONG
from oracle.errors import InputError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "diff",
        help="hold two reports against each other",
        description="Hold the results in B.json against those in A.json, both written by oracle report or both by "
        "oracle check: which rows are worse, improved, unchanged, new, and vanished.",
    )
    command.add_argument("before", metavar="A.json", type=Path, help="a report or a baseline")
    command.add_argument("after", metavar="B.json", type=Path, help="a later one of the same command")
    regression.add_rules(command)
    command.add_argument("--out", metavar="DIR", type=Path, help="write diff.json and diff.md there")
    command.add_argument("--json", metavar="FILE", help="write the JSON here; - is standard output")
    command.add_argument("--quiet", action="store_true", help="print nothing but errors")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, command: str) -> int:
    """Read, compare, write, print; the exit status."""
    from oracle.reporting.baseline import read_results, require_same_cases
    from oracle.reporting.environment import environment
    from oracle.reporting.regression import differences, regression_markdown, regression_text, to_diff_report
    from oracle.reporting.render import to_json

    before, after = read_results(arguments.before), read_results(arguments.after)
    if before.of != after.of:
        raise InputError(
            f"{after.place}: was made by oracle {after.of}, but {before.place} by oracle {before.of}; two of one "
            "command are required"
        )
    require_same_cases(before, after.seed, after.plan, after.place)
    require_places(arguments)
    found = differences(before, after, limit=arguments.fail_if_worse)
    regression.require_common_rows(found)
    report = to_diff_report(found, environment(after.seed, command))
    markdown = regression_markdown(found, all_rows=arguments.all_rows)
    deliver(
        arguments,
        "diff",
        to_json(report),
        {"diff.md": markdown},
        regression_text(found, all_rows=arguments.all_rows),
    )
    return WRONG if found.regressed else RIGHT
