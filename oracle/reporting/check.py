"""Somebody's file examined: each of its layers in cases that anybody must stand, and the JSON of what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from oracle.catalog.case import Case, materialise
from oracle.catalog.corners import CORNERS, ORDINARY, SMALL_INTEGERS
from oracle.catalog.record import AS_FORWARD_GIVES, BATCH, BROADCAST, LayerSpec
from oracle.catalog.strategies import corners_of, generated_cases
from oracle.catalog.variants import KNOWN
from oracle.judge.examination import Examination, examine
from oracle.judge.trial import Finding
from oracle.judge.verdict import COULD_NOT_RUN, FAULTS, GROUNDS, Evidence, worst
from oracle.reporting.environment import environment
from oracle.reporting.report import SCHEMA, quantity_rows, to_finding
from oracle.reporting.snippet import snippet
from oracle.subjects.conventions.subject import Found
from oracle.subjects.interface import Subject, SubjectError
from oracle.subjects.remote import RemoteSubject, Worker, limits

#: Ordinary cases, and cases of each corner: every check sees several shapes, and a file of five layers takes seconds.
ORDINARY_CASES, CORNER_CASES = 5, 3
#: The same of images: a forward may be a loop over every window, and every pixel is moved by itself.
IMAGE_CASES = (2, 1)
DTYPE = "float64"
#: To make a fault small: seeds for each case, and attempts in all; not seconds, since what is shown would hang on them.
SEEDS, ATTEMPTS = 3, 30
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
            if key not in smallest or size_of(finding.case) < size_of(smallest[key].case):
                smallest[key] = finding
        named = [f for f in smallest.values() if f.cause_id not in (None, "lacks_a_property")]
        # What a corner does to a shape comes after what is wrong everywhere.
        chosen = sorted(named or smallest.values(), key=lambda f: f.case.corner != ORDINARY)
        if self.small is None:
            return chosen
        key = self.small.quantity, self.small.cause_id
        return [self.small, *(f for f in chosen if (f.quantity, f.cause_id) != key)]

    @property
    def shown(self) -> Finding | None:
        """The finding whose case is the smallest: the example to look at."""
        return self.small or min(self.decisive, key=lambda f: size_of(f.case), default=None)

    def place_of(self, finding: Finding) -> str | None:
        """The line that computes the quantity, with its text, where the text of the file tells."""
        place, text = self.found.lines.get(finding.quantity, ("", ""))
        return f"{place}: {text}" if place else None

    def sentences(self, evidence: Evidence) -> list[str]:
        """What was found of a kind, once for each cause and quantity."""
        seen: dict[tuple[str, str | None, str], str] = {}
        for finding in self.examination.findings if self.examination else ():
            if finding.evidence is evidence:
                # A hazard is said once, however many checks see it.
                is_hazard = evidence is Evidence.CAN_CORRUPT and finding.cause_id != "lacks_a_property"
                key = ("", finding.cause_id, "") if is_hazard else (finding.check, finding.cause_id, finding.quantity)
                seen.setdefault(key, finding.sentence)
        return list(dict.fromkeys(seen.values()))


def check_file(
    worker: Worker, *, only: str | None, seed: int, on_layer: Callable[[str], object] = lambda name: None
) -> list[Checked]:
    """Examine every layer that was found in a file, or the one called ``only``."""
    return [_check(worker, found, seed, on_layer) for found in worker.found if only is None or found.name == only]


def first_verdicts(worker: Worker, *, only: str | None, seed: int) -> Iterator[tuple[str, str]]:
    """The name of each layer and the verdict of numerical differentiation alone, on a few ordinary cases."""
    for found in worker.found:
        # Nothing follows for those whose function nobody knows: that verdict is the whole.
        if only in (None, found.name) and not found.problem and found.spec.has_twin:
            worker.revive()
            subject = RemoteSubject(worker, found)
            cases = _cases(subject, found, seed, (ORDINARY,))
            yield found.name, examine(subject, cases, dtype=DTYPE, with_autograd=False).verdict


def _check(worker: Worker, found: Found, seed: int, on_layer: Callable[[str], object]) -> Checked:
    on_layer(found.name)
    worker.revive()
    return check_found(RemoteSubject(worker, found), found, worker.file, seed=seed)


def check_found(subject: Subject, found: Found, file: Path, *, seed: int) -> Checked:
    """Examine one layer; ``file`` is where it stands."""
    if found.problem:
        return Checked(file, found, COULD_NOT_RUN, "misspelt_method", found.problem, None)
    cases = _cases(subject, found, seed, corners_of(subject.record, DTYPE))
    examination = examine(subject, cases, dtype=DTYPE)
    checked = Checked(file, found, examination.verdict, None, "", examination)
    first = next(iter(checked.decisive), None)
    if first is None:
        return checked
    small = _made_small(subject, examination, first)
    shown = small or first
    return Checked(file, found, examination.verdict, shown.cause_id, shown.sentence, examination, small)


def _cases(subject: Subject, found: Found, seed: int, corners: Iterable[str]) -> list[Case]:
    calling = found.calling
    cases = [
        _asked_of_anybody(case)
        for corner in corners
        if calling.has_corner(CORNERS[corner])
        for case in generated_cases(subject.record, DTYPE, corner, _count(subject.record, corner), seed)
    ]
    if subject.record.output_shape == AS_FORWARD_GIVES:
        cases = [_with_its_output(subject, case) for case in cases]
    cases = [_with_other_targets(case) if case.targets in calling.refused_targets else case for case in cases]
    return [_one_sample(case) for case in cases] if calling.one_at_a_time else cases


def _with_its_output(subject: Subject, case: Case) -> Case:
    """The same with a dout of the shape of what forward gives; as it is where forward raises, which is said later."""
    given = materialise(case, subject.record)
    try:
        shape = subject.open(given.parameters).value(given.inputs).shape
    except SubjectError:
        return case
    return replace(case, shapes=(*(pair for pair in case.shapes if pair[0] != "dout"), ("dout", shape)))


def _with_other_targets(case: Case) -> Case:
    """Targets that are refused are asked for in ordinary cases only: in a corner they may slip through by accident."""
    return case if case.corner == ORDINARY else replace(case, targets={"labels": "one-hot"}.get(case.targets, "labels"))


def _count(record: LayerSpec, corner: str) -> int:
    ordinary, of_corner = IMAGE_CASES if len(record.arguments[0].axes) > 2 else (ORDINARY_CASES, CORNER_CASES)
    return ordinary if corner == ORDINARY else of_corner


def _asked_of_anybody(case: Case) -> Case:
    """The same with what only ``scratch`` promises left out: broadcasting, and soft targets."""
    shapes = dict(case.shapes)
    if any(argument.shape == BROADCAST for argument in KNOWN[case.record].arguments):
        shapes = dict.fromkeys(shapes, shapes["dout"])
    if not KNOWN[case.record].has_twin:
        # Its targets are of the one form that it was seen to take.
        return case
    hard = ("one-hot", "labels") if KNOWN[case.record].has_class_targets else ("binary", "binary")
    targets = {"soft": hard[1], "unnormalised": hard[0]}.get(case.targets, case.targets)
    return replace(case, shapes=tuple(shapes.items()), targets=targets)


def _one_sample(case: Case) -> Case:
    """The same with a batch of one."""
    if CORNERS[case.corner].drops_batch_axis:
        return case
    record = KNOWN[case.record]
    shapes = {}
    for name, shape in case.shapes:
        axes = record.axes_of(name)
        shapes[name] = (1, *shape[1:]) if axes[:1] == (BATCH,) else shape
    return replace(case, shapes=tuple(shapes.items()))


def _made_small(subject: Subject, examination: Examination, finding: Finding) -> Finding | None:
    """The same fault in the smallest of the cases, with integers for entries, if it shows there; only for values."""
    if finding.comparison is None or examination.verdict not in FAULTS:
        return None
    if not subject.record.has_twin:
        # Integers repeat, and are where functions are clipped: a maximum of two that are equal has no derivative.
        return None
    ordinary = {
        replace(f.case, corner=SMALL_INTEGERS, layout="contiguous", scale=1.0, seed=seed)
        for f in examination.findings
        if f.case.corner == ORDINARY and f.cause_id == finding.cause_id
        for seed in range(SEEDS)
    }
    for case in sorted(ordinary, key=lambda case: (size_of(case), case.seed))[:ATTEMPTS]:
        for found in examine(subject, [case], dtype=DTYPE).findings:
            if (found.check, found.quantity, found.cause_id) == (finding.check, finding.quantity, finding.cause_id):
                return found
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
        "plan": plan_facts(),
        "limits": limits(),
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


def plan_facts() -> dict[str, Any]:
    """What decides, beside the seed and the versions, on which cases a layer is examined."""
    return {"ordinary_cases": ORDINARY_CASES, "corner_cases": CORNER_CASES}


def _subject(one: Checked) -> dict[str, Any]:
    return {
        "file": str(one.file),
        "line": one.found.line,
        "name": one.found.name,
        "record": one.found.record,
        "convention": one.found.convention,
        "calling": one.found.calling.to_json(),
        "verdict": one.verdict,
        "cause_id": one.cause_id,
        "cause": one.cause,
        "snippet": snippet_of(one),
        "hazards": one.sentences(Evidence.CAN_CORRUPT),
        "notes": one.sentences(Evidence.WORTH_KNOWING),
        "rows": quantity_rows(one.examination, one.examination.record) if one.examination else [],
        "findings": [
            {
                **to_finding(one.found.name, one.verdict, finding),
                "place": one.place_of(finding),
                "example": example_of(one, finding.case),
            }
            for finding in one.decisive
        ],
    }


def snippet_of(one: Checked) -> str:
    """Lines of NumPy that show the fault; empty where there is none to be shown so."""
    finding = one.shown
    if finding is None or one.examination is None or one.verdict == COULD_NOT_RUN:
        return ""
    record = one.examination.record
    return snippet(one.file, one.found, record, materialise(finding.case, record), finding)


def example_of(one: Checked, case: Case) -> dict[str, Any]:
    """The arrays of a case, where they are small enough to be written out."""
    arrays = materialise(case, one.found.spec).everything()
    return {name: values.tolist() for name, values in arrays.items() if values.size <= SHOWN}


def size_of(case: Case) -> tuple[bool, bool, float, int]:
    """What makes an example easy to look at: no corner, more than one number, moderate ones, and few."""
    entries = sum(int(np.prod(shape)) for _, shape in case.shapes)
    return (
        case.corner not in (ORDINARY, SMALL_INTEGERS),
        all(shape == () for _, shape in case.shapes),
        case.scale,
        entries,
    )
