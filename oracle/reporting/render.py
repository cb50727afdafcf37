"""The report for people: the table on the terminal, and the same in Markdown with the rest."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from tabulate import tabulate

from oracle.reporting.environment import environment_table
from oracle.reporting.margins import margins_section
from oracle.reporting.report import PAIR_NAMES
from oracle.reporting.truth import truth_section

COLUMNS = (
    "layer",
    "quantity",
    "dtype",
    "n",
    *(name.replace("-", " – ") for name in PAIR_NAMES),
    "mean abs",
    "worst: error / bound",
    "margin",
    "verdict",
)


def to_json(report: dict[str, Any]) -> str:
    """UTF-8 JSON. Infinities and NaN, for which JSON has no number, are the strings "inf", "-inf", "nan"."""
    return json.dumps(plain(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """The same with a string for every number that JSON has none for."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def terminal(report: dict[str, Any]) -> str:
    """The one table, what is not right, and what was checked."""
    parts = [tabulate(_named_once(_cells(report["rows"])), headers=COLUMNS, tablefmt="simple", disable_numparse=True)]
    parts += _not_right(report["findings"])
    parts.append("\n".join(summary_lines(report)))
    return "\n\n".join(parts) + "\n"


def markdown(report: dict[str, Any], picture: str | None = None) -> str:
    """The whole report: how to read it, tables by section, truth, checks, exhibits, timings, what was skipped.

    ``picture`` is the file name of the picture of errors against truth, if there is one.
    """
    parts = ["# Gradient errors, three ways", "\n".join(f"- {line}" for line in summary_lines(report)), HOW_TO_READ]
    findings = _not_right(report["findings"])
    if findings:
        parts += ["## What is not right", *(f"```\n{text}\n```" for text in findings)]
    for section in dict.fromkeys(row["section"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["section"] == section]
        parts += [f"## {section.capitalize()}", _table(_cells(rows), COLUMNS)]
    parts += margins_section(report["margins"])
    if report["references"]:
        parts += ["## Where PyTorch is the one that is off", WHERE_PYTORCH_IS_OFF, _references(report["references"])]
    if "truth" in report:
        parts += truth_section(report["truth"], picture)
    parts += [
        "## Checks",
        "Cases in which each check was made, in both dtypes; ✗ says in how many it failed, and a "
        "dot that it does not apply.",
        _check_matrix(report),
    ]
    for exhibit in report["exhibits"]:
        parts += [
            "## Exhibit: " + exhibit["title"],
            f"The {exhibit['quantity']}.",
            _table(
                _exhibit_cells(exhibit),
                (
                    "parameter",
                    "printed in the source",
                    "the source's recipe",
                    "exact loss, h = 1e-4",
                    "exact loss, complex step",
                ),
            ),
            exhibit["explanation"],
        ]
    parts += [
        "## What numerical differentiation costs",
        _table(
            [
                (
                    t["layer"],
                    t["dtype"],
                    t["entries"],
                    f"{t['backprop_s'] * 1e6:,.0f} µs",
                    f"{t['numerical_s'] * 1e3:,.1f} ms",
                    f"{t['numerical_over_backprop']:,.0f}×",
                )
                for t in report["timings"]
            ],
            ("layer", "dtype", "entries", "backprop", "numerical", "ratio"),
        ),
    ]
    parts += ["## Made with", environment_table(report["environment"])]
    return "\n\n".join(parts) + "\n"


HOW_TO_READ = """## How to read the tables

Every gradient is computed three ways: **backprop** (the layer's own `backward`), **numerical** (differentiation of
the layer's own `forward`) and **autograd** (PyTorch through an independent twin, in double precision). The three error
columns give the largest absolute difference of each pair; *n* counts the comparisons of all three, one comparison being
one quantity of one generated case between two sources.

- **mean abs** is the book's figure: the mean absolute difference between backprop and the numerical gradient.
- **worst** is the entry of backprop that comes nearest to its bound: its error, and what rounding and the sources' own
  errors can explain there. **margin** is the first divided by the second: agreement is a margin of at
  most 1. The bound is derived for each entry, so margins can be compared where absolute errors cannot: a large
  error of a large entry may be rounding, a small one of a small entry may be a mistake.
- An error of exactly **0** is normal where independent code does the same arithmetic.
- Upstream gradients are random, never all ones; shapes, batch sizes, layouts and corners are drawn by hypothesis."""


WHERE_PYTORCH_IS_OFF = """The definition in high precision says so: backprop and numerical agree with it, and
autograd, in double precision, has lost digits that the function has. It is no fault of the layer, and the bound between
backprop and autograd leaves room for it. *cases* counts those in which it happens; the entry is the worst of them."""


def _references(rows: list[dict[str, Any]]) -> str:
    cells = [
        (
            row["layer"],
            f"{row['quantity']}[{', '.join(map(str, row['index']))}]",
            row["dtype"],
            str(row["cases"]),
            f"{row['autograd']:.6e}",
            f"{row['truth']:.6e}",
        )
        for row in rows
    ]
    return _table(cells, ("layer", "entry", "dtype of the case", "cases", "PyTorch", "truth"))


def summary_lines(report: dict[str, Any]) -> list[str]:
    """What was checked and what came of it, a sentence each."""
    summary = report["summary"]
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in summary["verdicts"].items())
    lines = [
        f"Verdict: {summary['verdict']} ({verdicts}; a layer counts once for each dtype).",
        f"Compared: {summary['comparisons']:,} comparisons of {summary['entries']:,} entries in "
        f"{summary['cases']:,} cases; {summary['checks_run']:,} checks run; "
        f"{summary['zero_both']:,} entries are exactly 0 on both sides.",
    ]
    for dtype, noticed in summary["smallest_error_noticed"].items():
        if noticed["typical"] is not None:
            lines.append(
                f"Noticed in {dtype}: an error in any one entry of a gradient above {noticed['typical']:.1g} of the "
                f"largest entry in the median comparison, above {noticed['in 99 %']:.1g} in 99 % of them."
            )
    nearest = summary["worst_margin"] or 0.0
    lines.append(f"Margins: the largest is {nearest:.2g}; a histogram is in the report.")
    lines += [f"Left out: {entry['count']:,} {entry['reason']}." for entry in summary["skipped"]]
    lines += [f"Not run: {entry['what']}: {entry['reason']}." for entry in summary["not_run"]]
    return lines


def _cells(rows: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [_row(row) for row in rows]


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    pairs = [row["pairs"][name] for name in PAIR_NAMES]
    # Of the layer's own comparisons: the references are compared too, but in double precision whatever the dtype.
    own = [pair for pair in pairs[:2] if pair is not None] or [pairs[2]]
    worst = max(own, key=lambda pair: float(pair["margin"]))
    return (
        row["layer"],
        row["quantity"],
        row["dtype"],
        str(row["comparisons"]),
        *(_figure(pair["max_abs"]) if pair else row["not_run"][name] for name, pair in row["pairs"].items()),
        _figure(pairs[0]["mean_abs"]) if pairs[0] else "",
        f"{_figure(worst['error'])} / {_figure(worst['bound'])}",
        f"{worst['margin']:.2g}",
        row["verdict"],
    )


def _named_once(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The same rows with a layer's name only where it is another than above."""
    above = ["", *(row[0] for row in rows)]
    return [("" if row[0] == before else row[0], *row[1:]) for before, row in zip(above, rows, strict=False)]


def _figure(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


def _not_right(findings: list[dict[str, Any]]) -> list[str]:
    """One paragraph for each subject and check, with its first finding and the number of the others."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for finding in findings:
        groups.setdefault((finding["subject"], finding["check"], finding["dtype"]), []).append(finding)
    return [
        f"{subject} ({dtype}): {group[0]['verdict']} · {check}\n  {group[0]['cause']}\n  case: {group[0]['case']}"
        + (f"\n  and {len(group) - 1} more of this kind" if len(group) > 1 else "")
        for (subject, check, dtype), group in groups.items()
    ]


def _check_matrix(report: dict[str, Any]) -> str:
    """Checks by layers; networks on real digits are counted with their layer."""
    counts: dict[str, dict[str, list[int]]] = {}
    layers: dict[str, None] = {}
    for entry in report["checks"]:
        layer = entry["layer"]
        layers.setdefault(layer)
        cell = counts.setdefault(entry["check"], {}).setdefault(layer, [0, 0])
        cell[0] += entry["cases"]
        cell[1] += entry["failed"]
    numbered = {layer: str(number) for number, layer in enumerate(layers, start=1)}
    legend = ", ".join(f"{number} {layer}" for layer, number in numbered.items())
    order = [name for name in ("runs", *report["check_summaries"]) if name in counts]
    cells = [(f"`{name}`", *(_check_cell(counts[name].get(layer)) for layer in layers)) for name in order]
    meanings = [(f"`{name}`", summary) for name, summary in report["check_summaries"].items() if name in counts]
    return "\n\n".join(
        (
            f"Columns: {legend}.",
            _table(cells, ("check", *numbered.values())),
            _table(meanings, ("check", "asks")),
        )
    )


def _check_cell(counted: list[int] | None) -> str:
    if counted is None:
        return "·"
    cases, failed = counted
    return f"✗ {failed}/{cases}" if failed else str(cases)


def _exhibit_cells(exhibit: dict[str, Any]) -> list[tuple[str, ...]]:
    columns = ("printed", "source_recipe", "exact_loss", "complex_step")
    return [(row["parameter"], *(f"{row[column]:.1e}" for column in columns)) for row in exhibit["rows"]]


def _table(cells: list[tuple[Any, ...]], headers: tuple[str, ...]) -> str:
    return tabulate(cells, headers=headers, tablefmt="github", disable_numparse=True)
