"""False alarms: right layers, examined until so many comparisons are made. Any other verdict than right is one."""

from __future__ import annotations

import itertools
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tabulate import tabulate

from oracle.catalog.record import LayerSpec
from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import corners_of, generated_cases
from oracle.judge.examination import examine
from oracle.judge.verdict import RIGHT, worst
from oracle.reporting.environment import environment, environment_table
from oracle.reporting.margins import bins, to_margins
from oracle.reporting.parallel import processor_time, shared_out
from oracle.reporting.plan import DTYPES
from oracle.reporting.progress import Progress
from oracle.reporting.report import SCHEMA, to_finding
from oracle.subjects.in_process import implementation_of

#: Cases of each corner in one turn of a layer.
CASES_PER_CORNER = 10
#: Comparisons in a step of the progress shown.
STEP = 1000
#: Quantities that are counts of rows: their errors are whole rows.
COUNTED = frozenset({"accuracy"})


def build_false_alarms(
    records: Sequence[LayerSpec],
    comparisons: int,
    *,
    seed: int,
    command: str,
    jobs: int,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Examine the right implementations in turn until ``comparisons`` are made: the report of kind ``false-alarms``.

    Every turn of a layer draws new shapes, layouts, corners and seeds. The report ends with a whole round of layers
    and dtypes, so that it is the same for any number of ``jobs``.
    """
    progress = progress or Progress()
    started, taken = time.perf_counter(), processor_time()
    progress.start(comparisons // STEP)
    totals: Counter[str] = Counter()
    histogram: dict[str, Counter[str]] = {}
    largest: dict[str, dict[str, Any]] = {}
    findings: list[dict[str, Any]] = []
    verdicts: Counter[str] = Counter()
    turns = [(record.name, dtype) for record in records for dtype in DTYPES]
    results = shared_out(examine_turn, _turns(turns, seed), jobs)
    made = 0
    while totals["comparisons"] < comparisons or made % len(turns) != 0:
        result, made = next(results), made + 1
        before = totals["comparisons"] // STEP
        totals.update(result["totals"])
        for _ in range(min(totals["comparisons"], comparisons) // STEP - before):
            progress.step(result["layer"])
        verdicts[result["verdict"]] += 1
        findings += result["findings"]
        for kind, counts in result["histogram"].items():
            histogram.setdefault(kind, Counter()).update(counts)
        for layer, nearest in result["largest"].items():
            if layer not in largest or nearest["margin"] > largest[layer]["margin"]:
                largest[layer] = nearest
    results.close()
    return {
        "schema": SCHEMA,
        "kind": "false-alarms",
        "environment": environment(seed, command),
        "summary": {
            "verdict": worst(verdicts),
            "comparisons": totals["comparisons"],
            "entries": totals["entries"],
            "zero_both": totals["zero_both"],
            "skipped": [],
            "checks_run": totals["checks_run"],
            "cases": totals["cases"],
            "false_alarms": sum(count for verdict, count in verdicts.items() if verdict != RIGHT),
            "worst_margin": max(entry["margin"] for entry in largest.values()),
        },
        "largest": largest,
        "margins": {"histogram": {kind: {name: counts[name] for name in bins()} for kind, counts in histogram.items()}},
        "findings": findings,
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(processor_time() - taken, 1),
    }


def _turns(turns: Sequence[tuple[str, str]], seed: int) -> Iterator[tuple[str, str, int, int]]:
    return ((record, dtype, seed, number) for number in itertools.count() for record, dtype in turns)


def examine_turn(task: tuple[str, str, int, int]) -> dict[str, Any]:
    """One layer in one dtype, by (record, dtype, seed, number of the turn)."""
    name, dtype, seed, number = task
    record = RECORDS[name]
    drawn = [
        case
        for corner in corners_of(record, dtype)
        for case in generated_cases(record, dtype, corner, CASES_PER_CORNER, zlib.crc32(f"{seed} {number}".encode()))
    ]
    # Hypothesis begins with the simplest case every time: with a seed of its own that is another one, too.
    cases = [
        replace(case, seed=zlib.crc32(f"{seed} {number} {dtype} {place}".encode())) for place, case in enumerate(drawn)
    ]
    found = examine(implementation_of(record), cases, dtype=dtype, required=True)
    largest = {}
    for layer, counted in ((name, False), (f"{name}, counted", True)):
        compared = [c for c in found.comparisons if (c.quantity in COUNTED) is counted]
        if compared:
            nearest = max(compared, key=lambda c: c.margin)
            largest[layer] = {
                "margin": nearest.margin,
                "quantity": nearest.quantity,
                "pair": nearest.pair,
                "dtype": dtype,
                "error": nearest.error,
                "bound": nearest.bound,
                "case": str(nearest.case),
            }
    return {
        "layer": name,
        "verdict": found.verdict,
        "totals": {
            "comparisons": len(found.comparisons),
            "entries": sum(c.entries for c in found.comparisons),
            "zero_both": sum(c.zero_both for c in found.comparisons),
            "checks_run": sum(tally.cases for tally in found.tallies.values()),
            "cases": found.cases,
        },
        "histogram": to_margins([(name, record.outputs, found.comparisons)])["histogram"],
        "largest": largest,
        "findings": [to_finding(name, found.verdict, finding) for finding in found.findings],
    }


def lines(report: dict[str, Any]) -> list[str]:
    """What it comes to, for the terminal and for Markdown."""
    summary = report["summary"]
    return [
        f"Right layers: {summary['comparisons']:,} comparisons of {summary['entries']:,} entries in "
        f"{summary['cases']:,} cases; {summary['checks_run']:,} checks run; "
        f"{report['seconds']:.0f} seconds, {report['processor_seconds']:.0f} of processor time.",
        f"False alarms: {summary['false_alarms']}. Largest margin: {summary['worst_margin']:.3g} (1 is the bound)"
        f"{_of_a_count(report['largest'])}.",
    ]


def _of_a_count(largest: Mapping[str, Mapping[str, Any]]) -> str:
    """Why the largest margin is what it is where that is an accuracy; nothing otherwise."""
    nearest = max(largest.values(), key=lambda entry: float(entry["margin"]))
    others = [entry["margin"] for entry in largest.values() if entry["quantity"] not in COUNTED]
    if nearest["quantity"] not in COUNTED or not others:
        return ""
    return (
        f", of an {nearest['quantity']}: a count, whose bound is the number of rows with a tie, used up where each of "
        f"them turns. Of everything else {max(others):.2g}"
    )


def markdown(report: dict[str, Any]) -> str:
    """The report: totals, the largest margin of each layer, the histogram of all."""
    kinds = report["margins"]["histogram"]
    histogram = tabulate(
        [(name, *(f"{counts[name]:,}" for counts in kinds.values())) for name in bins()],
        headers=("margin", *kinds),
        tablefmt="github",
        disable_numparse=True,
    )
    largest = tabulate(
        [
            (layer, entry["quantity"], entry["pair"], entry["dtype"], f"{entry['margin']:.2g}")
            for layer, entry in report["largest"].items()
        ],
        headers=("layer", "quantity", "pair", "dtype", "largest margin"),
        tablefmt="github",
        disable_numparse=True,
    )
    wrong = [
        f"```\n{f['subject']}: {f['verdict']} · {f['check']}\n{f['cause']}\ncase: {f['case']}\n```"
        for f in report["findings"]
    ]
    parts = [
        "# False alarms",
        "\n".join(f"- {line}" for line in lines(report)),
        "The layers of `scratch`, which are right, over generated shapes, layouts, dtypes, corners and seeds: any "
        "other verdict than *right* is a false alarm. The margin of a comparison is its worst error divided by its "
        "bound: a bound that nothing comes near to would notice nothing either.",
        *(["## What was found wrong", *wrong] if wrong else []),
        "## Margins",
        histogram,
        "## The largest margin of each layer",
        largest,
        "## Made with",
        environment_table(report["environment"]),
    ]
    return "\n\n".join(parts) + "\n"
