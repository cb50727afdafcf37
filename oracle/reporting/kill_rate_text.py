"""The kill rate for people: a few lines for the terminal, and the tables in Markdown."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from oracle.judge.checks import CHECKS
from oracle.judge.examination import RUNS
from oracle.reporting.environment import environment_table
from oracle.reporting.kill_rate import by_rule_and_kind

HOW_TO_READ = """A planted defect is a layer, loss, function or network with one mistake in it. Most come from rules
that are planted in every class whose results they change (whether they do is seen by calling, not written down); the
others are particular to a layer. Each is examined by the checks that every layer of `scratch` is held to, on the same
kind of generated cases. The judge is given the subject, and neither its name nor what is expected of it.

A check catches a defect where its findings alone would make another verdict than *right*. The cause is named where the
judge's cause is the one that was planted; – is a mistake that no cause is known for: none must be named then."""

OTHERS = """The same defects under the decision rules of other checkers, each a few lines in `oracle/judge/others.py`,
in three plain cases of moderate size. They are made to find wrong gradients, and most do: what they cannot see is what
they do not look at. A function without a backward pass has nothing that they check."""


def terminal(report: dict[str, Any]) -> str:
    """What it comes to, what survives, and what is called by another name."""
    return "\n\n".join(["\n".join(_totals(report)), *_exceptions(report), _compared(report)]) + "\n"


def markdown(report: dict[str, Any]) -> str:
    """The whole report: totals, exceptions, the smallest set of checks, the others, and every defect by check."""
    minimum = report["minimum_checks"]
    how = "No smaller set does." if minimum["exact"] else "Found greedily; a smaller set may do."
    alarms = [(rule, ", ".join(records) or "none") for rule, records in report["false_alarms_of_others"].items()]
    parts = [
        "# Kill rate",
        "\n".join(f"- {line}" for line in _totals(report)),
        HOW_TO_READ,
        *_exceptions(report),
        "## The fewest checks that catch all",
        f"{len(minimum['checks'])} checks catch every defect that is caught. {how}",
        _table(
            [
                (f"`{name}`", CHECKS[name].summary if name in CHECKS else "it can be called")
                for name in minimum["checks"]
            ],
            ("check", "asks"),
        ),
        "## What others would have noticed",
        OTHERS,
        _compared(report),
        "False alarms of the same rules, on the right layers in the same cases:",
        _table(alarms, ("rule", "right layers that it calls wrong")),
        "## Every defect, and which check catches it",
        *_matrix(report),
        "## Made with",
        environment_table(report["environment"]),
    ]
    return "\n\n".join(parts) + "\n"


def _totals(report: dict[str, Any]) -> list[str]:
    summary = report["summary"]
    total = summary["defects"]
    layers = len({row["layer"] for row in report["defects"]})
    return [
        f"Planted: {total} defects in {layers} layers, losses, functions and networks.",
        f"Caught: {summary['caught']} ({_percent(summary['caught'], total)}); survived: {total - summary['caught']}.",
        f"Cause named: {summary['cause_named']} ({_percent(summary['cause_named'], total)}); verdict as expected: "
        f"{summary['verdict_as_expected']} ({_percent(summary['verdict_as_expected'], total)}).",
        f"Compared: {summary['comparisons']:,} comparisons; {summary['checks_run']:,} checks run; "
        f""
        f"{report['seconds']:.0f} seconds, {report['processor_seconds']:.0f} of processor time.",
        *(f"Not run: {entry['reason']}." for entry in summary["skipped"]),
    ]


def _exceptions(report: dict[str, Any]) -> list[str]:
    survived = [row for row in report["defects"] if not row["caught_by"]]
    otherwise = [
        row
        for row in report["defects"]
        if row["caught_by"]
        and (row["cause_named"] != row["cause_expected"] or row["verdict"] != row["verdict_expected"])
    ]
    parts = []
    if survived:
        parts += [
            "## Survived",
            _table([(row["name"], _cause(row["cause_expected"])) for row in survived], ("defect", "planted")),
        ]
    if otherwise:
        cells = [
            (
                row["name"],
                f"{row['verdict_expected']}, {_cause(row['cause_expected'])}",
                f"{row['verdict']}, {_cause(row['cause_named'])}",
            )
            for row in otherwise
        ]
        parts += ["## Caught, and called something else", _table(cells, ("defect", "planted", "named"))]
    return parts


def _compared(report: dict[str, Any]) -> str:
    counted = by_rule_and_kind(report)
    kinds = list(next(iter(counted.values())))
    total = len(report["defects"])
    cells = []
    for who, by_kind in counted.items():
        ran = who == "this judge" or any(row["others"][who] is not None for row in report["defects"])
        caught = sum(caught for caught, _ in by_kind.values())
        figures = [f"{caught} of {of}" for caught, of in by_kind.values()]
        cells.append(
            (who, *(figures if ran else ["not run"] * len(kinds)), _percent(caught, total) if ran else "not run")
        )
    return _table(cells, ("caught by", *kinds, "of all"))


def _matrix(report: dict[str, Any]) -> list[str]:
    used = [name for name in (RUNS, *CHECKS) if any(name in row["caught_by"] for row in report["defects"])]
    numbered = {name: str(number) for number, name in enumerate(used, start=1)}
    legend = _table([(number, f"`{name}`") for name, number in numbered.items()], ("", "check"))
    parts = [legend]
    for layer in dict.fromkeys(row["layer"] for row in report["defects"]):
        rows = [row for row in report["defects"] if row["layer"] == layer]
        columns = [name for name in used if any(name in row["caught_by"] for row in rows)]
        cells = [
            (
                row["name"].removeprefix(f"{layer}: "),
                "caught" if row["caught_by"] else "**survived**",
                _cause(row["cause_named"]) + ("" if row["cause_named"] == row["cause_expected"] else " ✗"),
                *("✓" if name in row["caught_by"] else "·" for name in columns),
            )
            for row in rows
        ]
        parts += [f"### {layer}", _table(cells, ("defect", "", "cause", *(numbered[name] for name in columns)))]
    return parts


def _cause(cause_id: str | None) -> str:
    return f"`{cause_id}`" if cause_id else "–"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _table(cells: list[tuple[Any, ...]], headers: tuple[str, ...]) -> str:
    return tabulate(cells, headers=headers, tablefmt="github", disable_numparse=True)
