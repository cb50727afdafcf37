"""An examination: every check that a record is subject to, over many cases of one subject."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from oracle.catalog.case import Case
from oracle.catalog.corners import ORDINARY
from oracle.catalog.record import LayerSpec
from oracle.data.digits import Digits
from oracle.judge.checks import CHECKS, Check, Problem, checks_for
from oracle.judge.comparison import Comparison
from oracle.judge.exceptions import explain_exception
from oracle.judge.settlement import settle
from oracle.judge.trial import Finding, Trial
from oracle.judge.verdict import GROUNDS, RIGHT, Evidence, decide
from oracle.sources.autograd import is_available
from oracle.subjects.interface import Subject, SubjectError

#: The name under which a subject that raises is reported.
RUNS = "runs"
REFUSES = "refuses"
#: Cause ids that say which property is lacking, but not why.
NOT_SPECIFIC = frozenset({None, "lacks_a_property", "certificate_fails"})
AT_A_KINK = "entries at a kink, where the derivative does not exist"
NO_TWIN = "comparisons with autograd: PyTorch is not installed"
SLOW = "cases and all that follow: the calls took too long in all"
UNKNOWN = "comparisons with autograd: no layer is known by this name"


@dataclass
class Tally:
    """How often a check was made and in how many cases it failed."""

    cases: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Timing:
    """Seconds that the gradients of one case took each way, and how many entries were differentiated."""

    backprop: float
    numerical: float
    entries: int


@dataclass
class Examination:
    """What was compared, what was checked and what was found, in one dtype of one subject."""

    subject: Subject
    dtype: str
    with_autograd: bool
    comparisons: list[Comparison] = field(default_factory=list)
    tallies: dict[str, Tally] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    #: By gradient, the cases in which PyTorch loses digits that the function has, and the worst of them.
    autograd_off: dict[str, tuple[int, Comparison]] = field(default_factory=dict)
    cases: int = 0
    #: Of the case with the most entries among the ordinary ones.
    timing: Timing | None = None

    @property
    def record(self) -> LayerSpec:
        return self.subject.record

    @property
    def verdict(self) -> str:
        return decide((f.evidence for f in self.findings), with_autograd=self.with_autograd)

    def verdict_on(self, quantity: str) -> str:
        """The verdict on one quantity alone."""
        about = (f.evidence for f in self.findings if f.quantity in (quantity, ""))
        return decide(about, with_autograd=self.with_autograd)

    @property
    def decisive(self) -> list[Finding]:
        """What the verdict rests on: the first finding of each check that speaks for it."""
        first: dict[str, Finding] = {}
        for finding in self.findings:
            if finding.evidence in GROUNDS[self.verdict]:
                first.setdefault(finding.check, finding)
        return list(first.values())

    @property
    def cause_id(self) -> str | None:
        """The cause that is named: what the first check says that the verdict rests on and that knows of one.

        The checks stand in the order of what follows from what. None where only a property is known to be lacking.
        """
        grounds = GROUNDS[self.verdict]
        order = [RUNS, *CHECKS]
        decisive = [f for f in self.findings if f.evidence in grounds]
        first = min((order.index(f.check) for f in decisive if f.cause_id not in NOT_SPECIFIC), default=None)
        if first is None:
            return None
        causes = Counter(f.cause_id for f in decisive if f.check == order[first])
        named = max(causes, key=lambda cause_id: (causes[cause_id], cause_id not in NOT_SPECIFIC))
        return None if named in NOT_SPECIFIC else named

    def noticed_by(self) -> list[str]:
        """The checks whose findings would each make another verdict than right, in their order."""
        by_check: dict[str, set[Evidence]] = {}
        for finding in self.findings:
            by_check.setdefault(finding.check, set()).add(finding.evidence)
        return [
            check
            for check in (RUNS, *CHECKS)
            if check in by_check and decide(by_check[check], with_autograd=self.with_autograd) != RIGHT
        ]

    def failing_checks(self) -> set[str]:
        return {finding.check for finding in self.findings}


def examine(
    subject: Subject,
    cases: Iterable[Case],
    *,
    dtype: str,
    required: bool = False,
    with_autograd: bool | None = None,
    real_data: Mapping[str, Digits] | None = None,
) -> Examination:
    """Run every check of the subject's record on each of ``cases``.

    ``required``: corners may not be refused, and what is worth knowing about a foreign subject is a hazard;
    that is how ``scratch`` is held. Without it a corner refused with an exception is a note.
    ``with_autograd`` is whether to ask PyTorch; by default, whether it is installed. It has no answer where the record
    has no twin.
    """
    if with_autograd is None:
        with_autograd = is_available()
    with_autograd = with_autograd and subject.record.has_twin
    result = Examination(subject, dtype, with_autograd)
    checks = checks_for(subject.record)
    ran_with: set[str] = set()
    examined: list[Case] = []
    gone: list[Finding] = []
    for case in cases:
        result.cases += 1
        trial = Trial(subject, case, real_data, with_autograd).run()
        ran = result.tallies.setdefault(RUNS, Tally())
        ran.cases += 1
        if trial.error is not None and not trial.error.is_gone:
            ran.failed += 1
            cause_id, sentence = explain_exception(trial.error)
            sentence += "" if case.is_plain or not required else f" ({case.corner}, {case.layout})"
            result.findings.append(Finding(RUNS, Evidence.CANNOT_BE_CALLED, case, sentence, cause_id=cause_id))
            continue
        try:
            if trial.error is not None:
                raise trial.error
            _run_checks(result, trial, checks, required=required)
        except SubjectError as error:
            if error.is_slow and examined and not subject.record.has_twin:
                # Nobody knows how long it should take: what was examined counts, and what was not is said.
                result.skipped[SLOW] += 1
                break
            # Nothing more can be asked. That is no way to refuse a corner, whatever the case was.
            ran.failed += 1
            gone.append(Finding(RUNS, Evidence.CANNOT_BE_CALLED, case, str(error), cause_id="raises"))
            break
        ran_with.add(case.targets)
        examined.append(case)
        _count(result, trial)
    if not required:
        result.findings = [_weighed(finding, ran_with) for finding in result.findings]
    result.skipped = +result.skipped
    result.findings = settle([*gone, *result.findings], examined, result.comparisons)
    return result


def _run_checks(result: Examination, trial: Trial, checks: Sequence[Check], *, required: bool) -> None:
    """Every check that makes sense for the case. Raises SubjectError where the subject is gone."""
    shapes_are_right = trial.shapes_are_right and trial.bounds is not None
    for check in checks:
        if not check.for_case(trial.case):
            continue
        if check.compares and not all(source in trial.estimates for source in check.compares):
            continue
        if not (shapes_are_right or check.takes_any_shape):
            continue
        tally = result.tallies.setdefault(check.name, Tally())
        tally.cases += 1
        before = len(result.findings)
        try:
            result.findings += (_found(check, trial, problem, required=required) for problem in check.run(trial))
        except SubjectError as error:
            if error.is_gone:
                raise
            evidence = Evidence.CANNOT_BE_CALLED if required else Evidence.WORTH_KNOWING
            cause_id = "raises" if required else "refuses_corner"
            result.findings.append(Finding(check.name, evidence, trial.case, str(error), cause_id=cause_id))
        tally.failed += len(result.findings) > before
    if "numerical" in trial.estimates and trial.record.has_backward and trial.case.is_plain:
        _keep_longest(result, trial)


def _found(check: Check, trial: Trial, problem: Problem, *, required: bool) -> Finding:
    is_stricter = required and problem.evidence is Evidence.WORTH_KNOWING
    return Finding(
        check.name,
        Evidence.CAN_CORRUPT if is_stricter else problem.evidence,
        trial.case,
        problem.sentence,
        problem.quantity,
        problem.comparison,
        problem.cause_id,
        problem.explanations,
    )


def _count(result: Examination, trial: Trial) -> None:
    """What was compared, and what was not."""
    result.comparisons += trial.comparisons
    if trial.bounds is not None:
        result.skipped[AT_A_KINK] += int(sum(mask.sum() for mask in trial.bounds.open_branch.values()))
    _note_autograd(result, trial)
    if not result.with_autograd:
        shared = len(trial.record.outputs) + len(trial.gradients)
        result.skipped[NO_TWIN if trial.record.has_twin else UNKNOWN] += 2 * shared
    if "numerical" in trial.estimates:
        result.methods.update(trial.estimates["numerical"].notes.values())


def _note_autograd(result: Examination, trial: Trial) -> None:
    """PyTorch may be the one that is off."""
    for quantity in trial.gradients:
        found = trial.autograd_loses_digits(quantity)
        if found is not None:
            count, worst = result.autograd_off.get(quantity, (0, found))
            result.autograd_off[quantity] = count + 1, max(worst, found, key=lambda c: c.margin)


def _weighed(finding: Finding, ran_with: set[str]) -> Finding:
    """A foreign subject may refuse a corner or a form of target, loudly, but not everything."""
    if finding.check != RUNS:
        return finding
    case = finding.case
    refuses_targets = case.targets not in ran_with
    if not ran_with or (case.is_plain and not refuses_targets):
        return replace(finding, evidence=Evidence.CANNOT_BE_CALLED)
    refused = f"{case.targets} targets" if refuses_targets else case.corner
    if refused == ORDINARY:
        refused = f"{case.layout} arrays"
    # What the exception is due to is no matter here: it is how the subject says no.
    sentence = f"{REFUSES} {refused}: {finding.sentence}"
    return replace(finding, evidence=Evidence.WORTH_KNOWING, sentence=sentence, cause_id="refuses_corner")


def _keep_longest(result: Examination, trial: Trial) -> None:
    entries = sum(len(derivative.jacobian) for derivative in trial.derivatives.values())
    if result.timing is None or entries > result.timing.entries:
        result.timing = Timing(_fastest_backprop(trial), trial.numerical_seconds, entries)


def _fastest_backprop(trial: Trial) -> float:
    """Seconds of forward and backward: the fastest of five, since only the first finds cold caches."""
    given, handle = trial.opened()
    fastest = float("inf")
    with warnings.catch_warnings():
        # They were seen when the checks called it.
        warnings.simplefilter("ignore")
        for _ in range(5):
            start = time.perf_counter()
            handle.step(given.inputs, given.dout)
            fastest = min(fastest, time.perf_counter() - start)
    return fastest
