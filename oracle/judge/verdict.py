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
    REFERENCES_DIFFER = "numerical differs from autograd"
    FORWARD_LACKS_PROPERTY = "an output lacks a property of the definition"
    BACKWARD_LACKS_PROPERTY = "a gradient lacks a property of the definition"
    CAN_CORRUPT = "values are right, but somebody's result can be corrupted"
    WORTH_KNOWING = "never an error"


def decide(found: Iterable[Evidence], *, with_autograd: bool) -> str:
    """The verdict on one subject.

    Without PyTorch there is no twin: forward cannot be judged, and backprop against the derivative of the
    subject's own forward decides alone.
    """
    evidence = set(found)
    against_numerical = Evidence.BACKPROP_DIFFERS_FROM_NUMERICAL in evidence
    against_autograd = Evidence.BACKPROP_DIFFERS_FROM_AUTOGRAD in evidence
    # One reference alone against backprop and the other reference is a trouble of that reference.
    outvoted = against_numerical and (against_autograd or not with_autograd)
    if Evidence.CANNOT_BE_CALLED in evidence:
        return COULD_NOT_RUN
    if Evidence.FORWARD_DIFFERS in evidence:
        return BOTH_WRONG if outvoted else FORWARD_WRONG
    if outvoted:
        return BACKWARD_WRONG
    if Evidence.FORWARD_LACKS_PROPERTY in evidence:
        return FORWARD_WRONG
    if Evidence.BACKWARD_LACKS_PROPERTY in evidence:
        return BACKWARD_WRONG
    if Evidence.CAN_CORRUPT in evidence:
        return HAZARD
    return RIGHT


def worst(verdicts: Iterable[str]) -> str:
    """The verdict of a run: the worst of its subjects'. Right for none at all."""
    given = set(verdicts)
    return next((verdict for verdict in PRECEDENCE if verdict in given), RIGHT)
