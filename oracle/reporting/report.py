"""The gradient-error report: from examinations to the rows that people and machines read."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oracle.catalog.record import LayerSpec
from oracle.data.digits import Digits
from oracle.judge.checks import CHECKS
from oracle.judge.comparison import Comparison
from oracle.judge.examination import Examination, examine
from oracle.judge.trial import PAIRS, Finding
from oracle.judge.verdict import Evidence, worst
from oracle.reporting.environment import environment
from oracle.reporting.exhibits import source_gradient_check
from oracle.reporting.graphs import to_graphs
from oracle.reporting.margins import to_margins
from oracle.reporting.plan import CASES_PER_CORNER, Item, plan
from oracle.reporting.progress import Progress
from oracle.reporting.step_sizes import step_size_rows
from oracle.reporting.truth import steps, truth_rows
from oracle.sources.autograd import NOT_INSTALLED, is_available
from oracle.subjects.in_process import implementation_of

SCHEMA = 1
PAIR_NAMES = tuple("-".join(pair) for pair in PAIRS)
NO_BACKWARD = "no backward"


@dataclass(frozen=True)
class Examined:
    """An item of the plan with what came of it."""

    item: Item
    examination: Examination


def build_report(
    records: Sequence[LayerSpec],
    dtypes: Sequence[str],
    real_data: Mapping[str, Digits],
    *,
    seed: int,
    command: str,
    cases_per_corner: int = CASES_PER_CORNER,
    with_truth: bool = False,
    not_run: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Examine every record and return the report as a report of kind ``report``.

    ``with_truth`` holds every source against truth as well. ``not_run`` names what was left out of the plan and why.
    Times are in ``timings`` and ``seconds``; all else is the same for the same seed on the same machine.
    """
    progress = progress or Progress()
    started = time.perf_counter()
    items = list(plan(records, dtypes, seed, real_data, cases_per_corner))
    shows_exhibit = "mnist" in real_data and any("mnist" in record.real_data for record in records)
    progress.start(len(items) + 3 * shows_exhibit + (steps(records, dtypes) if with_truth else 0))
    examined = []
    for item in items:
        progress.step(f"{item.label}, {item.dtype}")
        examined.append(_examine(item, real_data))
    exhibits = [source_gradient_check(real_data["mnist"], seed, progress.step)] if shows_exhibit else []
    against_truth = {"truth": truth_rows(records, dtypes, seed, progress)} if with_truth else {}
    return {
        "schema": SCHEMA,
        "kind": "report",
        "environment": {**environment(seed, command), "data": ", ".join(real_data)},
        "plan": plan_facts(cases_per_corner),
        "summary": _summary(examined, not_run or {}),
        "layers": [
            {"layer": one.item.label, "dtype": one.item.dtype, "verdict": one.examination.verdict} for one in examined
        ],
        "rows": [row for one in examined for row in _rows(one)],
        "checks": [entry for one in examined for entry in _checks(one)],
        "check_summaries": {name: check.summary for name, check in CHECKS.items()},
        "margins": to_margins(
            [(one.item.label, one.item.record.outputs, one.examination.comparisons) for one in examined]
        ),
        "references": [entry for one in examined for entry in _references(one)],
        "exhibits": exhibits,
        **against_truth,
        "step_sizes": step_size_rows(records),
        "graphs": to_graphs(records),
        "findings": [entry for one in examined for entry in _findings(one)],
        "timings": [timing for one in examined for timing in _timing(one)],
        "seconds": round(time.perf_counter() - started, 1),
    }


def plan_facts(cases_per_corner: int) -> dict[str, Any]:
    """What decides, beside the seed and the versions, on which cases a layer is examined."""
    return {"cases_per_corner": cases_per_corner}


def _examine(item: Item, real_data: Mapping[str, Digits]) -> Examined:
    subject = implementation_of(item.record)
    result = examine(subject, item.cases, dtype=item.dtype, required=True, real_data=real_data)
    return Examined(item, result)


def _summary(examined: Iterable[Examined], not_run: Mapping[str, str]) -> dict[str, Any]:
    examined = list(examined)
    comparisons = [c for one in examined for c in one.examination.comparisons]
    skipped: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    checks_run = 0
    for one in examined:
        skipped.update(one.examination.skipped)
        verdicts[one.examination.verdict] += 1
        checks_run += sum(tally.cases for tally in one.examination.tallies.values())
    noticed = {}
    for dtype in dict.fromkeys(one.item.dtype for one in examined):
        sizes = [
            c.noticed
            for one in examined
            if one.item.dtype == dtype
            for c in one.examination.comparisons
            if c.pair == PAIR_NAMES[0] and c.quantity not in one.item.record.outputs and c.noticed > 0
        ]
        noticed[dtype] = {"typical": _quantile(sizes, 0.5), "in 99 %": _quantile(sizes, 0.99)}
    return {
        "verdict": worst(one.examination.verdict for one in examined),
        "comparisons": len(comparisons),
        "entries": sum(c.entries for c in comparisons),
        "zero_both": sum(c.zero_both for c in comparisons),
        "skipped": [{"reason": reason, "count": count} for reason, count in sorted(skipped.items())],
        "not_run": [{"what": what, "reason": reason} for what, reason in not_run.items()],
        "checks_run": checks_run,
        "cases": sum(one.examination.cases for one in examined),
        "verdicts": dict(sorted(verdicts.items())),
        "smallest_error_noticed": noticed,
        "numerical_methods": dict(sum((one.examination.methods for one in examined), Counter())),
        "worst_margin": max((c.margin for c in comparisons), default=None),
    }


def _quantile(values: list[float], part: float) -> float | None:
    return sorted(values)[int(part * (len(values) - 1))] if values else None


def _rows(one: Examined) -> list[dict[str, Any]]:
    return [
        {
            "section": one.item.section,
            "layer": one.item.label,
            **row,
            "not_run": {name: _why_not(one, name) for name, pair in row["pairs"].items() if pair is None},
        }
        for row in quantity_rows(one.examination, one.item.record)
    ]


def quantity_rows(examination: Examination, record: LayerSpec) -> list[dict[str, Any]]:
    """What the comparisons of an examination come to, quantity by quantity, the outputs of the record first."""
    by_quantity: dict[str, dict[str, list[Comparison]]] = {}
    for comparison in examination.comparisons:
        by_quantity.setdefault(comparison.quantity, {}).setdefault(comparison.pair, []).append(comparison)
    order = [*(q for q in record.outputs if q in by_quantity), *(q for q in by_quantity if q not in record.outputs)]
    rows = []
    for quantity in order:
        pairs = by_quantity[quantity]
        compared = [c for comparisons in pairs.values() for c in comparisons]
        rows.append(
            {
                "quantity": quantity,
                "dtype": examination.dtype,
                "verdict": examination.verdict_on(quantity),
                "comparisons": len(compared),
                "pairs": {name: _pair(pairs.get(name)) for name in PAIR_NAMES},
                "margin": max(c.margin for c in compared),
                "left_out": sum(c.left_out for c in compared),
                "zero_both": sum(c.zero_both for c in compared),
            }
        )
    return rows


def _why_not(one: Examined, pair: str) -> str:
    if "autograd" in pair and not is_available():
        return NOT_INSTALLED
    return NO_BACKWARD if not one.item.record.has_backward else "not run"


def _pair(comparisons: list[Comparison] | None) -> dict[str, Any] | None:
    """The worst of many comparisons of one pair: index, bound and margin are those of the worst entry."""
    if not comparisons:
        return None
    worst_one = max(comparisons, key=lambda c: c.margin)
    entries = sum(c.entries for c in comparisons)
    return {
        "max_abs": max(c.max_abs for c in comparisons),
        "max_rel": max(c.max_rel for c in comparisons),
        "mean_abs": sum(c.mean_abs * c.entries for c in comparisons) / entries if entries else 0.0,
        "index": list(worst_one.index),
        "error": worst_one.error,
        "bound": worst_one.bound,
        "margin": worst_one.margin,
        "worst_ulp": max(c.ulps for c in comparisons),
        "median_ulp": statistics.median(c.ulps for c in comparisons),
        "comparisons": len(comparisons),
        "case": str(worst_one.case),
    }


def _checks(one: Examined) -> list[dict[str, Any]]:
    return [
        {
            "layer": one.item.label,
            "check": name,
            "dtype": one.item.dtype,
            "passed": tally.failed == 0,
            "cases": tally.cases,
            "failed": tally.failed,
        }
        for name, tally in one.examination.tallies.items()
    ]


def _references(one: Examined) -> Iterator[dict[str, Any]]:
    """Where PyTorch is the one that is off, by truth."""
    for quantity, (count, worst_entry) in one.examination.autograd_off.items():
        yield {
            "layer": one.item.label,
            "quantity": quantity,
            "dtype": one.item.dtype,
            "cause_id": "autograd_is_off",
            "cases": count,
            "case": str(worst_entry.case),
            "index": list(worst_entry.index),
            "autograd": worst_entry.actual,
            "truth": worst_entry.expected,
            "error": worst_entry.error,
            "bound": worst_entry.bound,
        }


def _findings(one: Examined) -> list[dict[str, Any]]:
    verdict = one.examination.verdict
    return [to_finding(one.item.label, verdict, finding) for finding in one.examination.findings]


def to_finding(subject: str, verdict: str, finding: Finding) -> dict[str, Any]:
    """A finding about a subject as it stands in a report, ``verdict`` being that on the subject."""
    worst_entry = finding.comparison
    return {
        "subject": subject,
        "check": finding.check,
        "quantity": finding.quantity or None,
        "dtype": finding.case.dtype,
        "case": str(finding.case),
        "index": list(worst_entry.index) if worst_entry else None,
        "actual": worst_entry.actual if worst_entry else None,
        "expected": worst_entry.expected if worst_entry else None,
        "error": worst_entry.error if worst_entry else None,
        "bound": worst_entry.bound if worst_entry else None,
        "margin": worst_entry.margin if worst_entry else None,
        "verdict": verdict,
        "is_note": finding.evidence is Evidence.WORTH_KNOWING,
        "cause_id": finding.cause_id,
        "cause": finding.sentence,
    }


def _timing(one: Examined) -> Iterator[dict[str, Any]]:
    timing = one.examination.timing
    if timing is not None:
        yield {
            "layer": one.item.label,
            "dtype": one.item.dtype,
            "entries": timing.entries,
            "backprop_s": timing.backprop,
            "numerical_s": timing.numerical,
            "numerical_over_backprop": timing.numerical / timing.backprop,
        }
