"""Every planted defect is renamed, and the judge says the same of it: it sees what calls give, and no names.

`oracle kill-rate` hands the judge every defect without a name, so its report is one of renamed defects throughout. Here
each is held against itself under its own name, with everything that could give it away: a label, and the names of its
classes, functions and modules. A diagnosis that peeks at one of these would say something else of the renamed one.
"""

import traceback

import numpy as np
import pytest

from oracle.catalog.case import materialise
from oracle.catalog.records import RECORDS
from oracle.judge import checks
from oracle.judge.causes import CAUSES
from oracle.judge.diagnosis import Explanation
from oracle.judge.examination import examine
from oracle.judge.verdict import RIGHT
from oracle.reporting import kill_rate
from oracle.reporting.kill_rate import cases_of, examine_defect, examine_loop, held_against_its_twin, names_of
from oracle.sources.autograd import is_available
from oracle.subjects.defects.catalogue import by_name
from oracle.subjects.defects.renamed import LOOP, Nameless, NamelessSubject
from oracle.subjects.interface import SubjectError
from oracle.training.planted import LOOP_DEFECTS, small_start

SEED = 0
needs_torch = pytest.mark.skipif(
    not is_available(), reason="PyTorch is not installed, and without the twin a wrong forward is not caught"
)


def under_its_own_name(defect):
    """The subject of a defect with a label that says what is wrong with it."""
    subject = defect.subject()
    subject.label = f"{defect.name} ({defect.verdict}, {defect.cause_id})"
    return subject


def outcome(subject, case):
    """Everything that the judge says of a subject in one case."""
    found = examine(subject, [case], dtype="float64")
    said = [
        (f.check, f.evidence, f.quantity, f.cause_id, f.sentence, f.explanations, str(f.comparison))
        for f in found.findings
    ]
    return found.verdict, found.cause_id, found.noticed_by(), said


def where_it_is_seen(defect):
    """(outcome, case): the first case in which a defect is found, ordinary ones and then one of each corner first."""
    cases = cases_of(defect.record, SEED)
    telling = {(case.corner, case.targets): case for case in reversed(cases)}
    first = [case for case in cases if case in telling.values()]
    for case in (*first, *(case for case in cases if case not in first)):
        told = outcome(under_its_own_name(defect), case)
        if told[0] != RIGHT:
            return told, case
    raise AssertionError(f"{defect.name}: found in none of {len(cases)} cases")


@needs_torch
@pytest.mark.parametrize("record", RECORDS)
def test_judge_says_the_same_of_every_renamed_defect(record):
    names = names_of(record)
    assert len(names) > 10
    differ = []
    for name in names:
        defect = by_name(record)[name]
        told, case = where_it_is_seen(defect)
        if outcome(NamelessSubject(defect.subject()), case) != told:
            differ.append(name)
    assert differ == []


@needs_torch
@pytest.mark.parametrize("defect", LOOP_DEFECTS, ids=lambda defect: defect.name)
def test_parity_says_the_same_of_every_renamed_loop(defect):
    record = RECORDS[defect.record]
    told = []
    for rename in (lambda loop: loop, lambda loop: Nameless(loop, LOOP)):
        start = small_start(record, SEED)
        found = held_against_its_twin(rename(defect.make(start)), record, start)
        told.append((found.first_divergence, found.noticed_by, found.comparisons, found.worst_margin))
    assert told[0] == told[1]
    assert told[0][0] is not None


# ----------------------------------------------------------------------------- the test itself can fail


def peek_at_the_label(trial):
    return trial.subject.label


def peek_at_the_class(trial):
    return f"{type(trial.handle).__module__}.{type(trial.handle).__qualname__}"


def peek_at_the_function(trial):
    return repr(vars(trial.handle))


@needs_torch
@pytest.mark.parametrize(
    ("name", "peek", "word"),
    [
        ("Relu: dx is doubled", peek_at_the_label, "doubled"),
        ("Relu: dx is doubled", peek_at_the_function, "doubled"),
        ("Sigmoid: backward multiplies by dout twice", peek_at_the_class, "TakesDoutTwice"),
        ("Sigmoid: backward multiplies by dout twice", peek_at_the_label, "twice"),
    ],
)
def test_diagnosis_that_peeks_is_found_out(name, peek, word, monkeypatch):
    """It names the right cause of the defect that has a name, and not of the renamed one."""
    defect = by_name(name.partition(":")[0])[name]
    _, case = where_it_is_seen(defect)

    def peeking(trial, quantity, pair, actual, expected):
        return (Explanation(defect.cause_id),) if word in peek(trial) else ()

    assert outcome(NamelessSubject(defect.subject()), case)[1] == defect.cause_id
    monkeypatch.setattr(checks, "explain", peeking)
    told, case = where_it_is_seen(defect)
    assert told[1] == defect.cause_id
    renamed = outcome(NamelessSubject(defect.subject()), case)
    assert renamed != told
    assert renamed[1] is None


# ----------------------------------------------------------------------------- what the kill rate hands over


def gives_away(seen, words):
    """Those of ``words`` that stand in the names of an object, its class and what it holds."""
    kinds = type(seen).__mro__
    names = [getattr(seen, "label", ""), repr(vars(seen))]
    names += [f"{kind.__module__}.{kind.__qualname__} {kind.__doc__}" for kind in kinds]
    return [word for word in words if any(word in name for name in names)]


class Spied(Exception):
    """The judge was handed this."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen


@pytest.fixture
def handed_over(monkeypatch):
    """handed_over(function, task) -> what the kill rate hands the judge for a task, instead of an examination."""

    def spy(seen, *others, **options):
        raise Spied(seen)

    monkeypatch.setattr(kill_rate, "examine", spy)
    monkeypatch.setattr(kill_rate, "held_against_its_twin", spy)

    def hand(function, task):
        with pytest.raises(Spied) as caught:
            function(task)
        return caught.value.seen

    return hand


def words_of(defect, made):
    """What would give a defect away: its name, and that of the class that it makes."""
    return [defect.name, defect.name.partition(": ")[2] or defect.name, type(made).__qualname__]


@pytest.mark.parametrize("record", RECORDS)
def test_kill_rate_hands_over_no_name_of_any_defect(record, handed_over):
    parameters = materialise(cases_of(record, SEED)[0], RECORDS[record]).parameters
    for name, defect in by_name(record).items():
        seen = handed_over(examine_defect, (record, name, SEED))
        own = defect.subject()
        assert type(seen) is NamelessSubject
        assert gives_away(seen, words_of(defect, own)) == []
        handle = seen.open(parameters)
        assert type(handle) is Nameless
        assert gives_away(handle, words_of(defect, own.open(parameters))) == []


@pytest.mark.parametrize("number", range(len(LOOP_DEFECTS)), ids=[defect.name for defect in LOOP_DEFECTS])
def test_kill_rate_hands_over_no_name_of_any_loop(number, handed_over):
    defect = LOOP_DEFECTS[number]
    seen = handed_over(examine_loop, (number, SEED))
    assert type(seen) is Nameless
    assert set(vars(seen)) == set(LOOP)
    made = defect.make(small_start(RECORDS[defect.record], SEED))
    assert gives_away(seen, words_of(defect, made)) == []
    assert gives_away(made, words_of(defect, made)) != []


def test_exception_of_a_renamed_subject_does_not_lead_to_the_mistake():
    defect = by_name("Relu")["Relu: backward raises"]
    told = []
    for subject in (defect.subject(), NamelessSubject(defect.subject())):
        handle = subject.open({})
        handle.forward({"x": np.ones((2, 3))})
        with pytest.raises(SubjectError) as caught:
            handle.backward(np.ones((2, 3)))
        lines = traceback.format_exception(caught.value) + traceback.format_exception(caught.value.original)
        told.append((str(caught.value), any("rules.py" in line for line in lines)))
    (message, leads_there), (same, still) = told
    assert message == same
    assert leads_there
    assert not still


def test_loops_have_names_of_their_own_and_causes_that_are_known():
    """What is asked of the defects of layers too, in test_defects.py."""
    assert all(defect.cause_id is None or defect.cause_id in CAUSES for defect in LOOP_DEFECTS)
    assert len({defect.name for defect in LOOP_DEFECTS}) == len(LOOP_DEFECTS) > 20
