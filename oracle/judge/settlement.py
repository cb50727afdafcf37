"""From the explanations of single cases to one cause for each quantity.

The cases themselves may say it: all with labels fail and no other, or a batch of one. Otherwise, a mistake is the same
in every case, and sizes are not: what explains all failing cases is the cause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from oracle.catalog.case import Case, materialise
from oracle.catalog.corners import ORDINARY
from oracle.catalog.record import BATCH, CLASSES, Array, Role
from oracle.catalog.variants import KNOWN
from oracle.judge.causes import CAUSES
from oracle.judge.comparison import Comparison
from oracle.judge.diagnosis import PLACES, Explanation
from oracle.judge.trial import PAIRS, Finding
from oracle.judge.verdict import Evidence

#: Findings whose values are diagnosed.
DIAGNOSED = frozenset(
    {
        Evidence.FORWARD_DIFFERS,
        Evidence.FORWARD_DIFFERS_FROM_ITS_DOUBLE,
        Evidence.BACKPROP_DIFFERS_FROM_NUMERICAL,
        Evidence.BACKPROP_DIFFERS_FROM_AUTOGRAD,
    }
)
PAIR_NAMES = frozenset("-".join(pair) for pair in PAIRS)
ABOUT_A_REFERENCE = frozenset({Evidence.AUTOGRAD_IS_OFF, Evidence.NUMERICAL_IS_OFF})
FORWARD = frozenset({Evidence.FORWARD_DIFFERS, Evidence.FORWARD_DIFFERS_FROM_ITS_DOUBLE})
BY_ITSELF = "loss_is_not_what_backward_differentiates"
#: What a check says of a value that is wrong in some way; the diagnosis of that value says more.
GENERAL = frozenset({"lacks_a_property", "wrong_shape"})
#: The check that compares with the same values in contiguous arrays: what it objects to is due to the layout alone.
BY_LAYOUT = "layout_does_not_matter"


def settle(findings: Sequence[Finding], cases: Sequence[Case], comparisons: Sequence[Comparison] = ()) -> list[Finding]:
    """The findings, each with its cause where there is one; ``cases`` are all that were examined.

    ``comparisons`` are those that were made: where a quantity is 0 throughout, a factor does not show.
    """
    evidence = {finding.evidence for finding in findings}
    # Backprop is the twin's gradient, and not that of the subject's own forward; a corner may have a fault of its own.
    forward, numerical, autograd = (
        {f.case for f in findings if f.evidence is kind}
        for kind in (
            Evidence.FORWARD_DIFFERS,
            Evidence.BACKPROP_DIFFERS_FROM_NUMERICAL,
            Evidence.BACKPROP_DIFFERS_FROM_AUTOGRAD,
        )
    )
    both = forward & numerical
    both = {case for case in both if case.corner == ORDINARY} or both
    of_another_loss = bool(both) and 4 * len(both & autograd) <= len(both)
    causes = {}
    diagnosed = [f for f in findings if f.evidence in DIAGNOSED and f.cause_id is None]
    for quantity in dict.fromkeys(f.quantity for f in diagnosed):
        by_layout = {f.case for f in findings if f.check == BY_LAYOUT and f.quantity == quantity}
        about = [f for f in diagnosed if f.quantity == quantity]
        # Neither failing nor passing: where all is 0 or too small for an error to show, and where something else was
        # found.
        silent = {c.case for c in comparisons if c.quantity == quantity and c.agrees and c.noticed == 0}
        of_a_pair = [f for f in findings if f.comparison is not None and f.comparison.pair in PAIR_NAMES]
        silent |= {f.case for f in of_a_pair if f.quantity == quantity} - {f.case for f in about}
        # Nor where it was not compared, since the subject refuses the case.
        compared = {c.case for c in comparisons if c.quantity == quantity} or set(cases)
        telling = [case for case in cases if case in compared - silent]
        causes[quantity] = _cause(about, telling, by_layout)
    settled = []
    for finding in findings:
        if finding.evidence in ABOUT_A_REFERENCE and Evidence.FORWARD_DIFFERS in evidence:
            # Two functions may agree at a point (all do at x = 0 that differ in the sign of x): no reference is off.
            settled.append(
                replace(
                    finding,
                    evidence=Evidence.REFERENCES_DIFFER,
                    sentence=str(finding.comparison),
                    cause_id="reference_differs",
                )
            )
            continue
        if finding.evidence not in DIAGNOSED or finding.cause_id is not None:
            known = causes.get(finding.quantity)
            if finding.cause_id in GENERAL and known is not None and known.cause_id is not None:
                finding = replace(finding, cause_id=known.cause_id)
            settled.append(finding)
            continue
        cause = causes[finding.quantity]
        if of_another_loss and (cause.cause_id is None or finding.evidence not in FORWARD):
            cause = Explanation(BY_ITSELF)
        settled.append(replace(finding, cause_id=cause.cause_id, sentence=_sentence(cause, finding)))
    return settled


def _cause(about: Sequence[Finding], cases: Sequence[Case], by_layout: set[Case]) -> Explanation:
    """When it happens, if that is sure; otherwise what explains all findings, or most; or what it looks like."""
    failing = {finding.case for finding in about}
    # A single entry is always some factor of what it should be, and alone in its row; the others say more.
    about = [f for f in about if f.comparison is None or f.comparison.entries != 1] or about
    counted = Counter(e for finding in about for e in dict.fromkeys(finding.explanations) if e.cause_id is not None)
    if all(f.comparison is not None and f.comparison.entries == 1 for f in about):
        # The same factor three times is no chance.
        counted = Counter({e: n for e, n in counted.items() if e.cause_id != "constant_factor" or n > 2})
    of_all = next((e for e in about[0].explanations if counted[e] == len(about)), None)
    if failing <= by_layout:
        return Explanation("only_for_other_layouts")
    hides_in_one_row = of_all is not None and "batch_size" in str(of_all.cause_id)
    named = _circumstance(failing, [c for c in cases if not hides_in_one_row or (_rows(c) or 1) > 1])
    # A single failing case has many things that no other has; but something decides where a factor is not everywhere.
    is_sure = len(failing) > 1 or (of_all is not None and _is_refuted(of_all, failing, cases))
    if named and is_sure:
        return Explanation(named, _in_brackets(of_all) if of_all is not None else "")
    if of_all is not None:
        return of_all
    named = named or _likely_circumstance(failing, cases)
    if named:
        return Explanation(named)
    # Corners change a mistake's looks (a batch of 1 has no N): what explains most is the cause.
    # What happens only somewhere happens nowhere else: there no majority counts.
    often = [e for e in counted if not str(e.cause_id).startswith("only_")]
    best = max(often, key=lambda e: counted[e], default=None)
    if best is not None and 2 * counted[best] > len(about):
        return best
    patterns = [e for finding in about for e in finding.explanations if e.cause_id is None]
    return patterns[0] if patterns else Explanation(None)


#: Factors: the axis whose size it is; none where it is the same number in every case.
FACTORS = {
    **{f"{by}_batch_size{power}": BATCH for by in ("multiplied_by", "divided_by") for power in ("", "_squared")},
    **{f"{by}_classes": CLASSES for by in ("multiplied_by", "divided_by")},
    **dict.fromkeys(("wrong_sign", "doubled", "halved", "constant_factor"), ""),
}


def _is_refuted(explanation: Explanation, failing: set[Case], cases: Sequence[Case]) -> bool:
    """Whether there is an ordinary case that passes, and in which a factor would have shown: it is not 1 there."""
    axis = FACTORS.get(str(explanation.cause_id))
    if axis is None:
        return False
    passing = [case for case in cases if case not in failing and case.corner == ORDINARY]
    return any(not axis or _length(case, axis) > 1 for case in passing)


def _in_brackets(explanation: Explanation) -> str:
    """The first sentence on a cause as a part of another one."""
    assert explanation.cause_id is not None
    what = CAUSES[explanation.cause_id].what[:-1]
    return what[:1].lower() + what[1:]


def _sentence(cause: Explanation, finding: Finding) -> str:
    if cause.cause_id is None:
        return f"{finding.sentence}; {cause.detail}" if cause.detail else finding.sentence
    known = CAUSES[cause.cause_id]
    detail = f" ({cause.detail})" if cause.detail else ""
    return f"{known.what[:-1]}{detail}: {finding.sentence}. {known.mend}"


# --------------------------------------------------------------------------- when it happens

CIRCUMSTANCES: tuple[tuple[str, Callable[[Case], bool]], ...] = (
    ("only_for_labels", lambda case: case.targets == "labels"),
    ("only_for_one_hot", lambda case: case.targets == "one-hot"),
    # Those that do not sum to 1, where the others come out right.
    ("only_for_soft_targets", lambda case: case.targets == "unnormalised"),
    ("only_for_soft_targets", lambda case: _targets_are_soft(case)),
    ("only_for_a_single_sample", lambda case: case.corner == "single sample"),
    ("only_for_a_batch_of_one", lambda case: _rows(case) == 1),
    ("only_for_integers", lambda case: case.corner == "integer input"),
    ("only_when_labels_repeat", lambda case: _labels_repeat(case)),
    ("only_at_zero", lambda case: _some_input(case, PLACES["only_at_zero"])),
    ("only_beyond_30", lambda case: _some_input(case, PLACES["only_beyond_30"])),
    # Of several inputs it may be one that decides.
    ("only_at_zero", lambda case: _some_input(case, PLACES["only_at_zero"], 0)),
    ("only_at_zero", lambda case: _some_input(case, PLACES["only_at_zero"], 1)),
    ("only_beyond_30", lambda case: _some_input(case, PLACES["only_beyond_30"], 0)),
    ("only_beyond_30", lambda case: _some_input(case, PLACES["only_beyond_30"], 1)),
)


def _circumstance(failing: set[Case], cases: Sequence[Case]) -> str:
    """What all failing cases have and no other has that was examined; empty for nothing."""
    passing = [case for case in cases if case not in failing]
    # A corner hides mistakes: in a batch of one, N is 1. Ordinary cases that pass are what says something.
    has_contrast = any(case.corner == ORDINARY for case in passing)
    for cause_id, applies in CIRCUMSTANCES:
        if has_contrast and all(map(applies, failing)) and not any(map(applies, passing)):
            return cause_id
    return ""


def _likely_circumstance(failing: set[Case], cases: Sequence[Case]) -> str:
    """What all failing cases have, and less than as many again that pass: some cases hide a mistake."""
    for cause_id, applies in CIRCUMSTANCES:
        alike = [case for case in cases if applies(case)]
        says_something = len(failing) > 2 and len(alike) < len(cases)
        if says_something and all(map(applies, failing)) and 2 * len(failing) > len(alike):
            return cause_id
    return ""


def _rows(case: Case) -> int | None:
    record = KNOWN[case.record]
    shape = dict(case.shapes)[record.arguments[0].name]
    return shape[0] if BATCH in record.arguments[0].axes and shape and case.corner != "single sample" else None


def _length(case: Case, axis: str) -> int:
    """The length of a named axis; 1 where the case has none."""
    shapes = dict(case.shapes)
    arguments = [a for a in KNOWN[case.record].arguments if len(a.axes) == len(shapes[a.name])]
    lengths = {name: length for a in arguments for name, length in zip(a.axes, shapes[a.name], strict=True)}
    return lengths.get(axis, 1)


def _labels_repeat(case: Case) -> bool:
    return case.targets == "labels" and any(len(set(t.reshape(-1).tolist())) < t.size for t in _drawn(case, "target"))


def _targets_are_soft(case: Case) -> bool:
    return case.targets in ("soft", "unnormalised") and any(np.any((t != 0) & (t != 1)) for t in _drawn(case, "target"))


def _some_input(case: Case, applies: Callable[[Array], Array], number: int | None = None) -> bool:
    """Whether something applies to some entry of the inputs, or of the one with a number."""
    drawn = _drawn(case, "input")
    return any(np.any(applies(x)) for x in (drawn if number is None else drawn[number : number + 1]))


@lru_cache(maxsize=1024)
def _drawn(case: Case, role: Role) -> tuple[Array, ...]:
    """The arrays of a case with a role; none where they are not drawn at random."""
    record = KNOWN[case.record]
    if case.data != "random":
        return ()
    return tuple(materialise(case, record).inputs[argument.name] for argument in record.of_role(role))
