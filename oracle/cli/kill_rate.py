"""``oracle kill-rate``: what the judge would have noticed, and that it cries wolf at nothing."""

from __future__ import annotations

import argparse

from oracle.cli.common import Commands, add_common, deliver, positive, require_places
from oracle.cli.status import RIGHT, WRONG


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "kill-rate",
        help="run the checks over the catalogue of planted defects: which are caught, and named",
        description="Run the checks over every planted defect and write kill_rate.md and kill_rate.json. With "
        "--false-alarms, run them over the right layers instead and write false_alarms.md and false_alarms.json.",
    )
    command.add_argument(
        "--layer", action="append", default=[], metavar="NAME", help="only this layer; may be repeated"
    )
    command.add_argument(
        "--false-alarms",
        type=positive,
        metavar="N",
        help="examine right layers until N comparisons are made (a million: some twenty minutes on two cores)",
    )
    command.add_argument("--jobs", type=positive, metavar="N", help="processes (default: one for each core)")
    add_common(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, command: str) -> int:
    """Examine, write, print; the exit status: wrong where a defect survives, or an alarm is false."""
    from oracle.reporting import false_alarms, kill_rate_text
    from oracle.reporting.kill_rate import build_kill_rate
    from oracle.reporting.parallel import cores
    from oracle.reporting.plan import select_records
    from oracle.reporting.progress import Bar
    from oracle.reporting.render import to_json

    records = select_records(arguments.layer)
    require_places(arguments)
    jobs = arguments.jobs or cores()
    with Bar(shown=not arguments.quiet) as bar:
        options = {"seed": arguments.seed, "command": command, "jobs": jobs, "progress": bar}
        if arguments.false_alarms:
            report = false_alarms.build_false_alarms(records, arguments.false_alarms, **options)
        else:
            report = build_kill_rate(records, **options)
    if arguments.false_alarms:
        text = "\n".join(false_alarms.lines(report)) + "\n"
        files = {"false_alarms.md": false_alarms.markdown(report)}
        deliver(arguments, "false_alarms", to_json(report), files, text)
        return WRONG if report["summary"]["false_alarms"] else RIGHT
    files = {"kill_rate.md": kill_rate_text.markdown(report)}
    deliver(arguments, "kill_rate", to_json(report), files, kill_rate_text.terminal(report))
    return WRONG if report["summary"]["caught"] < report["summary"]["defects"] else RIGHT
