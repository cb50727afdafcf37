"""The reports of the benchmarks: rows, ratios, and where the time goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from oracle.bench import check, train
from oracle.bench.timing import Row
from oracle.blas import told_kernels
from oracle.reporting.environment import environment, environment_table
from oracle.reporting.report import SCHEMA
from oracle.sources.autograd import HOW_TO_INSTALL, NOT_INSTALLED

#: What each row of a table is, for people.
WAYS = {
    train.TEXTBOOK: "the textbook's loop",
    train.TORCH: "PyTorch eager",
    train.SCRATCH: "the loop of scratch",
    train.PRODUCTS: "the five matrix products alone",
    check.FORWARD_BACKWARD: "one forward and backward pass",
    check.CERTIFICATE: "the certificate",
    check.LOOP: f"element by element (every {check.SHARES}th entry, times {check.SHARES})",
    check.GRADCHECK: "torch.autograd.gradcheck, fast_mode",
}


@dataclass(frozen=True)
class Timings:
    """What a benchmark found: its rows and ratios as in the report, and what was left out."""

    rows: list[dict[str, Any]]
    ratios: dict[str, float]
    skipped: list[dict[str, Any]]


def train_timings(rows: Mapping[str, Sequence[Row]], parts: Mapping[str, Sequence[Row]]) -> Timings:
    """Of ``bench train``; ``rows`` and ``parts`` are by dtype."""
    listed, ratios = [], {}
    for dtype, timed in rows.items():
        listed += [_row(f"train/{dtype}/{row.name}", row) for row in timed]
        median = {row.name: row.median_s for row in timed}
        for other in (train.TORCH, train.PRODUCTS, train.TEXTBOOK):
            if other in median:
                ratios[f"train/{dtype}/{train.SCRATCH}_over_{other}"] = median[train.SCRATCH] / median[other]
    for dtype, timed in parts.items():
        listed += [_row(f"train/{dtype}/part/{row.name}", row) for row in timed]
    missing = [dtype for dtype in rows if f"train/{dtype}/{train.SCRATCH}_over_{train.TORCH}" not in ratios]
    return Timings(listed, ratios, _without_torch(len(missing)))


def check_timings(rows: Sequence[Row]) -> Timings:
    """Of ``bench check``."""
    median = {row.name: row.median_s for row in rows}
    pairs = [(check.CERTIFICATE, check.FORWARD_BACKWARD), (check.LOOP, check.CERTIFICATE)]
    if check.GRADCHECK in median:
        pairs.append((check.GRADCHECK, check.CERTIFICATE))
    ratios = {f"check/{one}_over_{other}": median[one] / median[other] for one, other in pairs}
    missing = int(check.GRADCHECK not in median)
    return Timings([_row(f"check/{row.name}", row) for row in rows], ratios, _without_torch(missing))


def _row(name: str, row: Row) -> dict[str, Any]:
    return {"name": name, "median_s": row.median_s, "runs": row.runs}


def _without_torch(count: int) -> list[dict[str, Any]]:
    return [{"reason": NOT_INSTALLED, "count": count}] if count else []


def to_report(kind: str, timings: Timings, *, seed: int, command: str) -> dict[str, Any]:
    """The report of a benchmark; ``kind`` is "bench train" or "bench check"."""
    return {
        "schema": SCHEMA,
        "kind": kind,
        "environment": environment(seed, command),
        "told_kernels": told_kernels(),
        "summary": {
            "verdict": "right",
            "comparisons": 0,
            "zero_both": 0,
            "skipped": timings.skipped,
            "checks_run": 0,
        },
        "rows": timings.rows,
        "ratios": timings.ratios,
    }


def train_lines(report: dict[str, Any]) -> list[str]:
    """The tables for the terminal and for Markdown: a step of each loop, the ratios, and the parts of ours."""
    whole = [row for row in report["rows"] if "/part/" not in row["name"]]
    parts = [row for row in report["rows"] if "/part/" in row["name"]]
    return [
        f"One step of training, TwoLayerNet 784-50-10, batch 100; {_measured(report)}",
        *_not_run(report),
        _table(
            [(_dtype(row), _named(row), f"{row['median_s'] * 1e6:,.0f}") for row in whole],
            ("dtype", "loop", "µs per step"),
        ),
        _ratios(report),
        "Where the time of scratch goes:",
        _table([(_dtype(row), _named(row), f"{row['median_s'] * 1e6:,.1f}") for row in parts], ("dtype", "part", "µs")),
    ]


def check_lines(report: dict[str, Any]) -> list[str]:
    """The tables for the terminal and for Markdown: each way, the ratios, and what the certificate notices."""
    noticed = report["thresholds"]
    return [
        f"Checking all 39,760 gradients of TwoLayerNet 784-50-10 on {report['images']}, float64; {_measured(report)}",
        *_not_run(report),
        _table([(_named(row), f"{row['median_s'] * 1e6:,.0f}") for row in report["rows"]], ("way", "µs")),
        _ratios(report),
        f"The smallest relative error in a single entry of {noticed['quantity']}, as large as the median of those that "
        f"are not 0 or larger: {noticed['guaranteed']:.1e} is noticed for certain (it follows from the bound), and "
        f"{noticed['observed']:.1e} was noticed in 95 % of {noticed['draws']} draws.",
    ]


def markdown(title: str, lines: Sequence[str], report: dict[str, Any]) -> str:
    """The same as a file."""
    return "\n\n".join((f"# {title}", *lines, "## Made with", environment_table(report["environment"]))) + "\n"


def _measured(report: dict[str, Any]) -> str:
    given, rounds = report["environment"], report["rows"][0]["runs"]
    measured = f"{given['blas']} on {given['threads']} threads; medians of {rounds} interleaved rounds."
    if report["told_kernels"] is None:
        return measured
    return (
        f"{measured} {report['told_kernels']} is set: NumPy's matrix products use the kernels of that processor, "
        "while PyTorch's library chooses its own. Unset it to compare the two."
    )


def _not_run(report: dict[str, Any]) -> list[str]:
    return [f"PyTorch: {NOT_INSTALLED}; install it with: {HOW_TO_INSTALL}"] if report["summary"]["skipped"] else []


def _ratios(report: dict[str, Any]) -> str:
    return _table([(name, f"{ratio:,.2f}") for name, ratio in report["ratios"].items()], ("ratio", ""))


def _dtype(row: dict[str, Any]) -> str:
    return str(row["name"].split("/")[1])


def _named(row: dict[str, Any]) -> str:
    last = row["name"].split("/")[-1]
    return WAYS.get(last, last)


def _table(rows: list[tuple[str, ...]], headers: tuple[str, ...]) -> str:
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
