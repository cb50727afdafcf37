"""Verdicts: from what the checks found to one word."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

RIGHT = "right"
HAZARD = "hazard"
PRECISION_LOST = "precision lost"
BACKWARD_WRONG = "backward wrong"
FORWARD_WRONG = "forward wrong"
BOTH_WRONG = "both wrong"
COULD_NOT_RUN = "could not run"

#: From worst to best: the first that applies is the verdict of a subject, and of a run.
PRECEDENCE = (COULD_NOT_RUN, BOTH_WRONG, FORWARD_WRONG, BACKWARD_WRONG, PRECISION_LOST, HAZARD, RIGHT)
#: The verdicts that mean that a value is wrong, or was not to be had.
FAULTS = frozenset({COULD_NOT_RUN, BOTH_WRONG, FORWARD_WRONG, BACKWARD_WRONG})


class Evidence(Enum):
    """What one finding says."""

    CANNOT_BE_CALLED = "the subject's main path raises"
    FORWARD_DIFFERS = "forward differs from the twin"
    BACKPROP_DIFFERS_FROM_NUMERICAL = "backprop differs from the derivative of the subject's own forward"
    BACKPROP_DIFFERS_FROM_AUTOGRAD = "backprop differs from the twin's gradient"
    FORWARD_DIFFERS_FROM_ITS_DOUBLE = "forward differs from the same forward in double precision"
    REFERENCES_DIFFER = "numerical differs from autograd"
    FORWARD_LACKS_PROPERTY = "an output lacks a property of the definition"
    BACKWARD_LACKS_PROPERTY = "a gradient lacks a property of the definition"
    LOSES_PRECISION = "digits are lost that the function has"
    CAN_CORRUPT = "values are right, but somebody's result can be corrupted"
    WORTH_KNOWING = "never an error"


def decide(found: Iterable[Evidence], *, with_autograd: bool) -> str:
    """The verdict on one subject.

    Without PyTorch there is no twin: forward is judged against itself in double precision only, and backprop against
    the derivative of the subject's own forward decides alone.
    """
    evidence = set(found)
    against_numerical = Evidence.BACKPROP_DIFFERS_FROM_NUMERICAL in evidence
    against_autograd = Evidence.BACKPROP_DIFFERS_FROM_AUTOGRAD in evidence
    # One reference alone against backprop and the other reference is a trouble of that reference.
    outvoted = against_numerical and (against_autograd or not with_autograd)
    if Evidence.CANNOT_BE_CALLED in evidence:
        return COULD_NOT_RUN
    against_itself = Evidence.FORWARD_DIFFERS_FROM_ITS_DOUBLE in evidence and not with_autograd
    if Evidence.FORWARD_DIFFERS in evidence or against_itself:
        return BOTH_WRONG if outvoted else FORWARD_WRONG
    if outvoted:
        return BACKWARD_WRONG
    if Evidence.FORWARD_LACKS_PROPERTY in evidence:
        return FORWARD_WRONG
    if Evidence.BACKWARD_LACKS_PROPERTY in evidence:
        return BACKWARD_WRONG
    if Evidence.LOSES_PRECISION in evidence:
        return PRECISION_LOST
    if Evidence.CAN_CORRUPT in evidence:
        return HAZARD
    return RIGHT


_DIFFERS = {
    Evidence.BACKPROP_DIFFERS_FROM_NUMERICAL,
    Evidence.BACKPROP_DIFFERS_FROM_AUTOGRAD,
    Evidence.BACKWARD_LACKS_PROPERTY,
}
_FORWARD = {Evidence.FORWARD_DIFFERS, Evidence.FORWARD_DIFFERS_FROM_ITS_DOUBLE, Evidence.FORWARD_LACKS_PROPERTY}
#: What each verdict rests on.
GROUNDS: dict[str, set[Evidence]] = {
    COULD_NOT_RUN: {Evidence.CANNOT_BE_CALLED},
    BOTH_WRONG: _FORWARD | _DIFFERS,
    FORWARD_WRONG: _FORWARD,
    BACKWARD_WRONG: _DIFFERS,
    PRECISION_LOST: {Evidence.LOSES_PRECISION},
    HAZARD: {Evidence.CAN_CORRUPT},
    RIGHT: set(),
}


def worst(verdicts: Iterable[str]) -> str:
    """The verdict of a run: the worst of its subjects'. Right for none at all."""
    given = set(verdicts)
    return next((verdict for verdict in PRECEDENCE if verdict in given), RIGHT)
