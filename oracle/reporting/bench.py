"""The report of a benchmark: rows, ratios, and where the time goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from oracle.bench.timing import Row
from oracle.bench.train import PRODUCTS, SCRATCH, TEXTBOOK, TORCH
from oracle.reporting.environment import environment, environment_table
from oracle.reporting.report import SCHEMA
from oracle.sources.autograd import HOW_TO_INSTALL, NOT_INSTALLED

#: What each row of the table is, for people.
WAYS = {
    TEXTBOOK: "the textbook's loop",
    TORCH: "PyTorch eager",
    SCRATCH: "the loop of scratch",
    PRODUCTS: "the five matrix products alone",
}


def to_bench_report(
    rows: Mapping[str, Sequence[Row]], parts: Mapping[str, Sequence[Row]], *, seed: int, command: str
) -> dict[str, Any]:
    """The report as a report of kind ``bench train``. ``rows`` and ``parts`` are by dtype."""
    listed, ratios = [], {}
    for dtype, timed in rows.items():
        median = {row.name: row.median_s for row in timed}
        for row in timed:
            listed.append({"name": f"train/{dtype}/{row.name}", "median_s": row.median_s, "runs": row.runs})
        for other in (TORCH, PRODUCTS, TEXTBOOK):
            if other in median:
                ratios[f"train/{dtype}/{SCRATCH}_over_{other}"] = median[SCRATCH] / median[other]
    for dtype, timed in parts.items():
        for row in timed:
            listed.append({"name": f"train/{dtype}/part/{row.name}", "median_s": row.median_s, "runs": row.runs})
    skipped = [] if any(TORCH in name for name in ratios) else [{"reason": NOT_INSTALLED, "count": len(rows)}]
    return {
        "schema": SCHEMA,
        "kind": "bench train",
        "environment": environment(seed, command),
        "summary": {
            "verdict": "right",
            "comparisons": 0,
            "zero_both": 0,
            "skipped": skipped,
            "checks_run": 0,
        },
        "rows": listed,
        "ratios": ratios,
    }


def bench_lines(report: dict[str, Any]) -> list[str]:
    """The tables for the terminal and for Markdown: a step of each loop, the ratios, and the parts of ours."""
    environment_, rows = report["environment"], report["rows"]
    whole = [row for row in rows if "/part/" not in row["name"]]
    parts = [row for row in rows if "/part/" in row["name"]]
    lines = [
        f"One step of training, TwoLayerNet 784-50-10, batch 100; {environment_['blas']} on {environment_['threads']} "
        f"threads; medians of {whole[0]['runs']} interleaved rounds.",
        _table(
            [(*_named(row["name"]), f"{row['median_s'] * 1e6:,.0f}") for row in whole], ("dtype", "loop", "µs per step")
        ),
        _table([(name, f"{ratio:.2f}") for name, ratio in report["ratios"].items()], ("ratio", "")),
        "Where the time of scratch goes:",
        _table([(*_named(row["name"]), f"{row['median_s'] * 1e6:,.1f}") for row in parts], ("dtype", "part", "µs")),
    ]
    if report["summary"]["skipped"]:
        lines.insert(1, f"PyTorch eager: {NOT_INSTALLED}; install it with: {HOW_TO_INSTALL}")
    return lines


def bench_markdown(report: dict[str, Any]) -> str:
    """The same as a file."""
    parts = ("# What a step of training costs", *bench_lines(report), "## Made with")
    return "\n\n".join((*parts, environment_table(report["environment"]))) + "\n"


def _named(name: str) -> tuple[str, str]:
    _, dtype, *rest = name.split("/")
    return dtype, WAYS.get(rest[-1], rest[-1])


def _table(rows: list[tuple[str, ...]], headers: tuple[str, ...]) -> str:
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
