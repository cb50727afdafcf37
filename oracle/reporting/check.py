"""What is said of somebody's file of layers: a table, a paragraph for each that is not right, and the JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from oracle.catalog.case import Case, materialise
from oracle.catalog.corners import CORNERS, ORDINARY, SMALL_INTEGERS
from oracle.catalog.record import BROADCAST
from oracle.catalog.strategies import corners_of, generated_cases
from oracle.catalog.variants import KNOWN
from oracle.judge.causes import CAUSES
from oracle.judge.checks import CHECKS
from oracle.judge.examination import Examination, examine
from oracle.judge.trial import Finding
from oracle.judge.verdict import COULD_NOT_RUN, FAULTS, GROUNDS, RIGHT, Evidence, worst
from oracle.reporting.environment import environment
from oracle.reporting.report import SCHEMA, to_finding
from oracle.subjects.remote import Found, RemoteSubject, Worker

#: Cases of each corner: enough for every check to see several shapes, and a file of five layers in a few seconds.
CASES = 4
DTYPE = "float64"
#: To make a fault small: seeds for each case, attempts in all, and seconds.
SEEDS, ATTEMPTS, SECONDS = 3, 30, 1.0
#: Arrays of a smallest failing example that are written out have at most this many entries.
SHOWN = 12


@dataclass(frozen=True)
class Checked:
    """One layer of a file, and what came of it; ``examination`` is None where it could not even be tried."""

    file: Path
    found: Found
    verdict: str
    cause_id: str | None
    cause: str
    examination: Examination | None
    #: A finding of the same cause with small integers, where one was found.
    small: Finding | None = None

    @cached_property
    def decisive(self) -> list[Finding]:
        """One finding for each quantity and cause that the verdict rests on: the one with the smallest arrays."""
        if self.examination is None:
            return []
        smallest: dict[tuple[str, str | None], Finding] = {}
        grounds = GROUNDS[self.examination.verdict]
        for finding in self.examination.findings:
            if finding.evidence not in grounds:
                continue
            key = finding.quantity, finding.cause_id
            if key not in smallest or _size(finding.case) < _size(smallest[key].case):
                smallest[key] = finding
        named = [f for f in smallest.values() if f.cause_id not in (None, "lacks_a_property")]
        # What a corner does to a shape comes after what is wrong everywhere.
        chosen = sorted(named or smallest.values(), key=lambda f: f.case.corner != ORDINARY)
        if self.small is None:
            return chosen
        key = self.small.quantity, self.small.cause_id
        return [self.small, *(f for f in chosen if (f.quantity, f.cause_id) != key)]

    def sentences(self, evidence: Evidence) -> list[str]:
        """What was found of a kind, once for each cause and quantity."""
        seen: dict[tuple[str, str | None, str], str] = {}
        for finding in self.examination.findings if self.examination else ():
            if finding.evidence is evidence:
                seen.setdefault((finding.check, finding.cause_id, finding.quantity), finding.sentence)
        return list(dict.fromkeys(seen.values()))


def check_file(
    worker: Worker, *, only: str | None, seed: int, on_layer: Callable[[str], object] = lambda name: None
) -> list[Checked]:
    """Examine every layer that was found in a file, or the one called ``only``."""
    return [_check(worker, found, seed, on_layer) for found in worker.found if only is None or found.name == only]


def _check(worker: Worker, found: Found, seed: int, on_layer: Callable[[str], object]) -> Checked:
    on_layer(found.name)
    if found.problem:
        return Checked(worker.file, found, COULD_NOT_RUN, "misspelt_method", found.problem, None)
    subject = RemoteSubject(worker, found)
    cases = [
        _asked_of_anybody(case)
        for corner in corners_of(subject.record, DTYPE)
        if found.calling.has_corner(CORNERS[corner])
        for case in generated_cases(subject.record, DTYPE, corner, CASES, seed)
    ]
    worker.revive()
    examination = examine(subject, cases, dtype=DTYPE)
    checked = Checked(worker.file, found, examination.verdict, None, "", examination)
    first = next(iter(checked.decisive), None)
    if first is None:
        return checked
    small = _made_small(RemoteSubject(worker, found), examination, first)
    shown = small or first
    return Checked(worker.file, found, examination.verdict, shown.cause_id, shown.sentence, examination, small)


def _asked_of_anybody(case: Case) -> Case:
    """The same with what only ``scratch`` promises left out: broadcasting, and soft targets that do not sum to 1."""
    shapes = dict(case.shapes)
    if any(argument.shape == BROADCAST for argument in KNOWN[case.record].arguments):
        shapes = dict.fromkeys(shapes, shapes["dout"])
    targets = "one-hot" if case.targets == "unnormalised" else case.targets
    return replace(case, shapes=tuple(shapes.items()), targets=targets)


def _made_small(subject: RemoteSubject, examination: Examination, finding: Finding) -> Finding | None:
    """The same fault in the smallest of the cases, with integers for entries, if it shows there; only for values."""
    if finding.comparison is None or examination.verdict not in FAULTS:
        return None
    started = time.monotonic()
    ordinary = {
        replace(f.case, corner=SMALL_INTEGERS, layout="contiguous", scale=1.0, seed=seed)
        for f in examination.findings
        if f.case.corner == ORDINARY and f.cause_id == finding.cause_id
        for seed in range(SEEDS)
    }
    for case in sorted(ordinary, key=lambda case: (_size(case), case.seed))[:ATTEMPTS]:
        for found in examine(subject, [case], dtype=DTYPE).findings:
            if (found.check, found.quantity, found.cause_id) == (finding.check, finding.quantity, finding.cause_id):
                return found
        if time.monotonic() - started > SECONDS:
            break
    return None


def to_report(
    checked: Sequence[Checked], passed_over: Iterable[dict[str, str]], *, seed: int, command: str
) -> dict[str, Any]:
    """The report of kind ``check``."""
    examinations = [one.examination for one in checked if one.examination is not None]
    comparisons = [c for examination in examinations for c in examination.comparisons]
    return {
        "schema": SCHEMA,
        "kind": "check",
        "environment": environment(seed, command),
        "summary": {
            "verdict": worst(one.verdict for one in checked),
            "comparisons": len(comparisons),
            "zero_both": sum(c.zero_both for c in comparisons),
            "skipped": [
                {"reason": reason, "count": count}
                for examination in examinations
                for reason, count in examination.skipped.items()
            ],
            "checks_run": sum(tally.cases for e in examinations for tally in e.tallies.values()),
        },
        "subjects": [_subject(one) for one in checked],
        "passed_over": list(passed_over),
    }


def _subject(one: Checked) -> dict[str, Any]:
    return {
        "file": str(one.file),
        "line": one.found.line,
        "name": one.found.name,
        "record": one.found.record,
        "convention": one.found.convention,
        "verdict": one.verdict,
        "cause_id": one.cause_id,
        "cause": one.cause,
        "hazards": one.sentences(Evidence.CAN_CORRUPT),
        "notes": one.sentences(Evidence.WORTH_KNOWING),
        "findings": [
            {**to_finding(one.found.name, one.verdict, finding), "example": _example(one, finding.case)}
            for finding in one.decisive
        ],
    }


def _example(one: Checked, case: Case) -> dict[str, Any]:
    """The arrays of a case, where they are small enough to be written out."""
    arrays = materialise(case, one.found.calling.applied_to(KNOWN[case.record])).everything()
    return {name: values.tolist() for name, values in arrays.items() if values.size <= SHOWN}


def _size(case: Case) -> tuple[bool, bool, float, int]:
    """What makes an example easy to look at: no corner, more than one number, moderate ones, and few."""
    entries = sum(int(np.prod(shape)) for _, shape in case.shapes)
    return (
        case.corner not in (ORDINARY, SMALL_INTEGERS),
        all(shape == () for _, shape in case.shapes),
        case.scale,
        entries,
    )


# --------------------------------------------------------------------------- for people


def check_text(checked: Sequence[Checked], report: dict[str, Any], *, only_wrong: bool) -> str:
    """The table, a paragraph for each layer that is not right, hazards and notes, and how much was compared."""
    shown = [one for one in checked if one.verdict != RIGHT] if only_wrong else list(checked)
    rows = [
        (f"{one.file.name}:{one.found.line}", one.found.name, one.found.record, one.found.convention, one.verdict)
        for one in shown
    ]
    parts = []
    if rows:
        parts.append(tabulate(rows, headers=("where", "name", "taken for", "called as", "verdict"), tablefmt="simple"))
    parts += [_paragraph(one) for one in shown if one.verdict != RIGHT]
    notes = [f"{one.found.name}: {note}" for one in shown for note in one.sentences(Evidence.WORTH_KNOWING)]
    if notes and not only_wrong:
        parts.append("Worth knowing:\n" + "\n".join(f"  - {note}" for note in notes))
    summary = report["summary"]
    parts.append(
        f"{summary['comparisons']:,} comparisons, {summary['checks_run']:,} checks run, in {DTYPE}. "
        f"Verdict: {summary['verdict']}."
    )
    return "\n\n".join(parts)


def _paragraph(one: Checked) -> str:
    lines = [f"{one.found.name} ({one.file.name}, line {one.found.line}): {one.verdict}"]
    if one.examination is None:
        return "\n".join([*lines, f"  {one.cause}"])
    for finding in one.decisive:
        lines.append(f"  {finding.sentence}")
        mend = _mending(finding)
        if mend and one.verdict not in FAULTS:
            lines.append(f"    {mend}")
    if one.verdict in FAULTS:
        lines += [f"  also: {hazard}" for hazard in one.sentences(Evidence.CAN_CORRUPT)]
    smallest = one.small or min(one.decisive, key=lambda f: _size(f.case), default=None)
    if smallest is not None:
        lines.append(f"  seen with {smallest.case}")
        lines += [f"    {name} = {_short(values)}" for name, values in _example(one, smallest.case).items()]
    return "\n".join(lines)


def _mending(finding: Finding) -> str:
    """What to do, where the sentence has not said it."""
    if finding.cause_id == "lacks_a_property":
        return f"Asked for: {CHECKS[finding.check].summary}" if finding.check in CHECKS else ""
    mend = CAUSES[finding.cause_id].mend if finding.cause_id in CAUSES else ""
    return "" if mend.rstrip(".").lower() in finding.sentence.lower() else mend


def _short(values: Any) -> str:
    """Numbers as they are read: integers whole, others to four digits."""
    if isinstance(values, list):
        return f"[{', '.join(_short(value) for value in values)}]"
    return f"{values:.4g}"
