"""``oracle explain``: what a cause or a check means, why it matters, and how to mend it."""

from __future__ import annotations

import argparse
import difflib

from oracle.cli.common import Commands
from oracle.cli.status import RIGHT
from oracle.errors import InputError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "explain",
        help="say what a cause or a check means",
        description="Say what a cause or a check means, why it matters, and how to mend it. Without a name: list all.",
    )
    command.add_argument("name", nargs="?", help="the id of a cause (wrong_sign) or a check (dout_is_not_modified)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, command: str) -> int:
    """Print what is known of the name; the exit status."""
    from oracle.judge.causes import CAUSES
    from oracle.judge.checks import CHECKS

    if arguments.name is None:
        print("Causes:")
        print("\n".join(f"  {name}: {cause.what}" for name, cause in CAUSES.items()))
        print("Checks:")
        print("\n".join(f"  {name}: {check.summary}" for name, check in CHECKS.items()))
        return RIGHT
    if arguments.name in CAUSES:
        cause = CAUSES[arguments.name]
        print(f"{arguments.name}\n  {cause.what}\n  {cause.mend}")
        return RIGHT
    if arguments.name in CHECKS:
        print(f"{arguments.name}\n  Asked of every layer that it makes sense for: {CHECKS[arguments.name].summary}")
        return RIGHT
    near = difflib.get_close_matches(arguments.name, [*CAUSES, *CHECKS], n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "oracle explain lists all"
    raise InputError(f"explain {arguments.name}: neither a cause nor a check has this name; {hint}")
