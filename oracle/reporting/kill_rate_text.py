"""The kill rate for people: a few lines for the terminal, and the tables in Markdown."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from oracle.judge.checks import CHECKS
from oracle.judge.examination import RUNS
from oracle.reporting.environment import environment_table
from oracle.reporting.kill_rate import ALL_CHECKS, TRAINING_LOOP, by_rule_and_kind, is_as_expected, is_of_a_loop
from oracle.training.parity import MEANINGS

HOW_TO_READ = """A planted defect is a layer, loss, function or network with one mistake in it. Most come from rules
that are planted in every class whose results they change (whether they do is seen by calling, not written down); the
others are particular to a layer. Each is examined by the checks that every layer of `scratch` is held to, on the same
kind of generated cases. The judge is given the subject, and neither its name nor what is expected of it: every defect
is renamed, so that classes, functions and modules are called the same for all, and only calls can tell.

Training loops are planted in the right loop of a small network, and each is held against its PyTorch twin for a few
steps, resynchronised at each: batch, loss (`forward`), gradients and update are compared. The first that differs, its
step and its parameter are what it must be caught at; the others that differ at the same step are listed with it.

A check catches a defect where its findings alone would make another verdict than *right*. The cause is named where the
judge's cause is the one that was planted; – is a mistake that no cause is known for: none must be named then."""

OTHERS = """The same defects under the decision rules of other checkers, each a few lines in `oracle/judge/others.py`,
in three plain cases of moderate size. They are made to find wrong gradients, and most do: what they cannot see is what
they do not look at. A function without a backward pass has nothing that they check. Of a training loop they are asked
what they can be asked: about the loss and the gradients of its first step, as functions of the parameters that it
begins with. They take no second step and no update, so that whatever is wrong there is not before their eyes; it counts
as missed, since who relies on a gradient check misses it."""


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
            [(f"`{name}`", _asks(name)) for name in minimum["checks"]],
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
    layers = len({row["layer"] for row in report["defects"] if not is_of_a_loop(row)})
    of_loops = sum(map(is_of_a_loop, report["defects"]))
    loops = f", and {of_loops} in training loops" if of_loops else ""
    return [
        f"Planted: {total - of_loops} defects in {layers} layers, losses, functions and networks{loops}.",
        f"Caught: {summary['caught']} ({_percent(summary['caught'], total)}); survived: {total - summary['caught']}.",
        f"Cause named: {summary['cause_named']} ({_percent(summary['cause_named'], total)}); verdict as expected: "
        f"{summary['verdict_as_expected']} ({_percent(summary['verdict_as_expected'], total)}).",
        f"Compared: {summary['comparisons']:,} comparisons; {summary['checks_run']:,} checks run; "
        f"{report['seconds']:.0f} seconds, {report['processor_seconds']:.0f} of processor time.",
        *(f"Not run: {entry['reason']}." for entry in summary["skipped"]),
    ]


def _exceptions(report: dict[str, Any]) -> list[str]:
    survived = [row for row in report["defects"] if not row["caught_by"]]
    otherwise = [
        row
        for row in report["defects"]
        if row["caught_by"] and (row["cause_named"] != row["cause_expected"] or not is_as_expected(row))
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
                f"{row['verdict_expected']}, {_cause(row['cause_expected'])}{_place(row.get('divergence_expected'))}",
                f"{row['verdict']}, {_cause(row['cause_named'])}{_place(row.get('divergence'))}",
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
    used = [name for name in ALL_CHECKS if any(name in row["caught_by"] for row in report["defects"])]
    numbered = {name: str(number) for number, name in enumerate(used, start=1)}
    legend = _table([(number, f"`{name}`") for name, number in numbered.items()], ("", "check"))
    parts = [legend]
    for layer in dict.fromkeys(row["layer"] for row in report["defects"]):
        rows = [row for row in report["defects"] if row["layer"] == layer]
        columns = [name for name in used if any(name in row["caught_by"] for row in rows)]
        cells = [
            (
                row["name"].removeprefix(f"{layer}: "),
                f"caught{_place(row.get('divergence'))}" if row["caught_by"] else "**survived**",
                _cause(row["cause_named"]) + ("" if row["cause_named"] == row["cause_expected"] else " ✗"),
                *("✓" if name in row["caught_by"] else "·" for name in columns),
            )
            for row in rows
        ]
        parts += [f"### {layer}", _table(cells, ("defect", "", "cause", *(numbered[name] for name in columns)))]
    parts += [
        f"### {TRAINING_LOOP.capitalize()}\n\nNot run: {entry['reason']} ({entry['count']} defects)."
        for entry in report["summary"]["skipped"]
        if TRAINING_LOOP in entry["reason"]
    ]
    return parts


def _asks(name: str) -> str:
    if name in CHECKS:
        return CHECKS[name].summary
    return "it can be called" if name == RUNS else f"of a training loop; it fails where {MEANINGS[name]}"


def _place(divergence: dict[str, Any] | None) -> str:
    """Where a loop leaves its twin; nothing for a layer."""
    if divergence is None:
        return ""
    parameter = f" of {divergence['parameter']}" if divergence["parameter"] else ""
    return f", step {divergence['step']}: {divergence['kind']}{parameter}"


def _cause(cause_id: str | None) -> str:
    return f"`{cause_id}`" if cause_id else "–"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _table(cells: list[tuple[Any, ...]], headers: tuple[str, ...]) -> str:
    return tabulate(cells, headers=headers, tablefmt="github", disable_numparse=True)
