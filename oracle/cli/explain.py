"""``oracle explain``: what a cause or a check means, why it matters, and how to mend it."""

from __future__ import annotations

import argparse
import difflib

from oracle.cli.common import Commands
from oracle.cli.status import RIGHT
from oracle.errors import InputError

#: The cause that a failing check has, where it always has the same.
CAUSE_OF = {
    "assigned_parameters_are_used": "assigned_parameters_unused",
    "backward_before_forward_is_refused": "backward_before_forward_answers",
    "backward_is_repeatable": "accumulates_over_calls",
    "certificate_holds": "certificate_fails",
    "dout_is_not_modified": "dout_overwritten",
    "dtype_is_kept": "dtype_promoted",
    "earlier_results_stay": "earlier_result_overwritten",
    "extreme_values_are_finite": "overflows",
    "inputs_are_not_modified": "input_overwritten",
    "instances_are_independent": "state_shared_between_instances",
    "kink_convention_is_that_of_pytorch": "kink_convention",
    "newest_forward_wins": "stale_cache",
    "own_numerical_gradient_agrees": "own_numerical_gradient_wrong",
    "parameters_are_not_modified": "parameter_overwritten",
    "results_own_their_memory": "result_shares_memory",
    "shape_is_kept": "wrong_shape",
}


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
        if arguments.name in CAUSE_OF:
            cause_id = CAUSE_OF[arguments.name]
            print(f"  Where it fails ({cause_id}): {CAUSES[cause_id]}")
        return RIGHT
    near = difflib.get_close_matches(arguments.name, [*CAUSES, *CHECKS], n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "oracle explain lists all"
    raise InputError(f"explain {arguments.name}: neither a cause nor a check has this name; {hint}")
