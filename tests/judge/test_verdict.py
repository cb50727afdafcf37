"""From evidence to one word: the table of the verdicts."""

import itertools
from dataclasses import replace

import pytest

from oracle.judge import verdict as table
from oracle.judge.verdict import (
    BACKWARD_WRONG,
    BOTH_WRONG,
    COULD_NOT_RUN,
    FAULTS,
    FORWARD_WRONG,
    HAZARD,
    PRECEDENCE,
    RIGHT,
    VERDICTS,
    Evidence,
    decide,
    worst,
)

FORWARD = Evidence.FORWARD_DIFFERS
NUMERICAL = Evidence.BACKPROP_DIFFERS_FROM_NUMERICAL
AUTOGRAD = Evidence.BACKPROP_DIFFERS_FROM_AUTOGRAD
REFERENCES = Evidence.REFERENCES_DIFFER

#: The evidence, and the verdict it leads to where there is a twin.
TABLE = [
    ([], "right"),
    ([Evidence.WORTH_KNOWING], "right"),
    ([Evidence.CAN_CORRUPT], "hazard"),
    ([Evidence.BACKWARD_LACKS_PROPERTY], "backward wrong"),
    ([Evidence.FORWARD_LACKS_PROPERTY], "forward wrong"),
    ([NUMERICAL, AUTOGRAD], "backward wrong"),
    ([FORWARD], "forward wrong"),
    # log(y + 1e-7): backprop is the twin's, and not the derivative of the subject's own forward.
    ([FORWARD, NUMERICAL, REFERENCES], "forward wrong"),
    # A function and its own derivative, but of another function.
    ([FORWARD, AUTOGRAD, REFERENCES], "forward wrong"),
    ([FORWARD, NUMERICAL, AUTOGRAD], "both wrong"),
    # Where there is a twin, forward is compared with it and not with itself.
    ([Evidence.FORWARD_DIFFERS_FROM_ITS_DOUBLE], "right"),
    ([FORWARD, NUMERICAL, AUTOGRAD, REFERENCES], "both wrong"),
    # One reference stands alone against backprop and the other: the trouble is that reference's.
    ([NUMERICAL, REFERENCES], "right"),
    ([AUTOGRAD, REFERENCES], "right"),
    ([REFERENCES], "right"),
    # The references agree with each other: the one that does not object is a difference, and too coarse to see it.
    ([AUTOGRAD], "backward wrong"),
    ([NUMERICAL], "backward wrong"),
    # Truth says which of two references that disagree is off.
    ([AUTOGRAD, Evidence.AUTOGRAD_IS_OFF], "right"),
    ([NUMERICAL, Evidence.NUMERICAL_IS_OFF], "right"),
    ([AUTOGRAD, Evidence.NUMERICAL_IS_OFF], "backward wrong"),
    ([NUMERICAL, Evidence.AUTOGRAD_IS_OFF], "backward wrong"),
    ([Evidence.AUTOGRAD_IS_OFF], "right"),
    ([Evidence.LOSES_PRECISION, Evidence.CAN_CORRUPT], "precision lost"),
    ([Evidence.CANNOT_BE_CALLED], "could not run"),
    ([Evidence.CANNOT_BE_CALLED, FORWARD, NUMERICAL, AUTOGRAD, Evidence.CAN_CORRUPT], "could not run"),
    # What is worse hides what is less bad.
    ([Evidence.CAN_CORRUPT, Evidence.WORTH_KNOWING], "hazard"),
    ([Evidence.CAN_CORRUPT, NUMERICAL, AUTOGRAD], "backward wrong"),
    ([Evidence.CAN_CORRUPT, Evidence.BACKWARD_LACKS_PROPERTY], "backward wrong"),
    ([Evidence.FORWARD_LACKS_PROPERTY, Evidence.BACKWARD_LACKS_PROPERTY], "forward wrong"),
    ([Evidence.BACKWARD_LACKS_PROPERTY, Evidence.LOSES_PRECISION], "backward wrong"),
    # A difference outweighs a property.
    ([NUMERICAL, AUTOGRAD, Evidence.FORWARD_LACKS_PROPERTY], "backward wrong"),
]


def ids(evidence):
    return ", ".join(e.name.lower() for e in evidence) or "nothing"


@pytest.mark.parametrize(("evidence", "verdict"), [pytest.param(e, v, id=ids(e)) for e, v in TABLE])
def test_verdict_with_the_twin(evidence, verdict):
    assert decide(evidence, with_autograd=True) == verdict


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        ([], "right"),
        ([NUMERICAL], "backward wrong"),
        ([NUMERICAL, Evidence.CAN_CORRUPT], "backward wrong"),
        ([REFERENCES], "right"),
        ([Evidence.FORWARD_DIFFERS_FROM_ITS_DOUBLE], "forward wrong"),
        ([Evidence.FORWARD_DIFFERS_FROM_ITS_DOUBLE, NUMERICAL], "both wrong"),
        ([Evidence.CAN_CORRUPT], "hazard"),
        ([Evidence.FORWARD_LACKS_PROPERTY], "forward wrong"),
        ([Evidence.CANNOT_BE_CALLED, NUMERICAL], "could not run"),
    ],
    ids=lambda value: ids(value) if isinstance(value, list) else value,
)
def test_verdict_without_the_twin(evidence, verdict):
    """Then the derivative of the subject's own forward decides alone."""
    assert decide(evidence, with_autograd=False) == verdict


@pytest.mark.parametrize("with_autograd", [True, False])
def test_neither_the_order_nor_the_number_of_findings_matters(with_autograd):
    for count in (2, 3):
        for found in itertools.permutations(Evidence, count):
            once = decide(sorted(found, key=lambda e: e.name), with_autograd=with_autograd)
            assert decide([*found, *found], with_autograd=with_autograd) == once


@pytest.mark.parametrize("with_autograd", [True, False])
def test_more_evidence_never_makes_a_verdict_better(with_autograd):
    """Forward and backward wrong are equally bad. What is wrong with a reference takes away its vote."""
    of_the_subject = set(Evidence) - {REFERENCES, Evidence.AUTOGRAD_IS_OFF, Evidence.NUMERICAL_IS_OFF}

    def badness(evidence):
        verdict = decide(evidence, with_autograd=with_autograd)
        return -PRECEDENCE.index(FORWARD_WRONG if verdict == BACKWARD_WRONG else verdict)

    for count in range(len(Evidence)):
        for found in itertools.combinations(Evidence, count):
            for more in of_the_subject:
                assert badness([*found, more]) >= badness(found), (found, more)


def test_precedence_is_that_of_the_plan():
    assert PRECEDENCE == (
        "could not run",
        "both wrong",
        "forward wrong",
        "backward wrong",
        "precision lost",
        "hazard",
        "right",
    )
    assert {COULD_NOT_RUN, BOTH_WRONG, FORWARD_WRONG, BACKWARD_WRONG} == FAULTS


def changed(row, how):
    """The table with one row left out, said of everything, or exchanged with the next one."""
    before, this, after = VERDICTS[:row], VERDICTS[row], VERDICTS[row + 1 :]
    if how == "left out":
        return before + after
    if how == "of everything":
        return (*before, replace(this, applies=lambda found: True), *after)
    return (*before, after[0], this, *after[1:])


@pytest.mark.parametrize("how", ["left out", "of everything", "after the next one"])
@pytest.mark.parametrize("row", range(len(VERDICTS) - 1))
def test_every_row_of_the_table_is_needed_where_it_is(row, how, monkeypatch):
    """Mutation testing changes no constants: these are the mutants of this one."""
    if VERDICTS[row].when == "forward differs from the twin" and how == "after the next one":
        pytest.skip("of this row and the next one applies at most: both at once are the row before")
    monkeypatch.setattr(table, "VERDICTS", changed(row, how))
    assert any(decide(evidence, with_autograd=True) != verdict for evidence, verdict in TABLE)


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [
        ([], RIGHT),
        ([RIGHT, RIGHT], RIGHT),
        ([RIGHT, HAZARD], HAZARD),
        ([HAZARD, BACKWARD_WRONG, RIGHT], BACKWARD_WRONG),
        ([BACKWARD_WRONG, FORWARD_WRONG], FORWARD_WRONG),
        ([FORWARD_WRONG, BOTH_WRONG], BOTH_WRONG),
        ([COULD_NOT_RUN, BOTH_WRONG], COULD_NOT_RUN),
    ],
    ids=str,
)
def test_verdict_of_a_run_is_its_worst(verdicts, verdict):
    assert worst(verdicts) == verdict
    assert worst(reversed(verdicts)) == verdict
    assert worst(iter(verdicts)) == verdict
