"""``oracle matrix``: the reports of many environments in one table."""

from __future__ import annotations

import argparse
from pathlib import Path

from oracle.cli.common import Commands, add_common, deliver, require_places
from oracle.cli.status import RIGHT, WRONG


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "matrix",
        help="gather the reports of many environments in one table",
        description="Gather what oracle report wrote in several environments: the worst margin of each layer in each, "
        "what failed first. Writes matrix.md and matrix.json.",
    )
    command.add_argument(
        "folders", nargs="+", metavar="DIR", type=Path, help="the folder of an environment, or one with such folders"
    )
    command.add_argument(
        "--expect", nargs="+", default=[], metavar="NAME", help="environments that are named where they left nothing"
    )
    command.add_argument(
        "--strict", action="store_true", help="a missing environment, a hazard or lost precision is an error as well"
    )
    add_common(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, command: str) -> int:
    """Read, write, print; the exit status."""
    from oracle.judge import verdict
    from oracle.reporting.environment import environment
    from oracle.reporting.matrix import gather, matrix_markdown, matrix_text, to_report
    from oracle.reporting.render import to_json

    require_places(arguments)
    matrix = gather(arguments.folders, arguments.expect)
    report = to_report(matrix, environment(arguments.seed, command))
    deliver(arguments, "matrix", to_json(report), {"matrix.md": matrix_markdown(matrix)}, matrix_text(matrix))
    is_strictly_wrong = arguments.strict and (bool(matrix.missing) or matrix.verdict != verdict.RIGHT)
    return WRONG if is_strictly_wrong or any(one.is_wrong for one in matrix.environments) else RIGHT
