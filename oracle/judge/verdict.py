"""Verdicts: from what the checks found to one word. `VERDICTS` is the whole table, the worst first.

Three say what a gradient is: backprop, numerical and autograd. One of them alone against the other two is the one that
is wrong; where the references disagree with each other truth says which of them is off, and its word no longer counts.
A subject whose forward is another function than the twin's has no gradient in common with the twin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

RIGHT = "right"
HAZARD = "hazard"
PRECISION_LOST = "precision lost"
BACKWARD_WRONG = "backward wrong"
FORWARD_WRONG = "forward wrong"
BOTH_WRONG = "both wrong"
COULD_NOT_RUN = "could not run"


class Evidence(Enum):
    """What one finding says."""

    CANNOT_BE_CALLED = "the subject's main path raises"
    FORWARD_DIFFERS = "forward differs from the twin"
    BACKPROP_DIFFERS_FROM_NUMERICAL = "backprop differs from the derivative of the subject's own forward"
    BACKPROP_DIFFERS_FROM_AUTOGRAD = "backprop differs from the twin's gradient"
    FORWARD_DIFFERS_FROM_ITS_DOUBLE = "forward differs from the same forward in double precision"
    REFERENCES_DIFFER = "numerical differs from autograd"
    AUTOGRAD_IS_OFF = "numerical differs from autograd, and truth sides with numerical"
    NUMERICAL_IS_OFF = "numerical differs from autograd, and truth sides with autograd"
    FORWARD_LACKS_PROPERTY = "an output lacks a property of the definition"
    BACKWARD_LACKS_PROPERTY = "a gradient lacks a property of the definition"
    LOSES_PRECISION = "digits are lost that the function has"
    CAN_CORRUPT = "values are right, but somebody's result can be corrupted"
    WORTH_KNOWING = "never an error"


@dataclass(frozen=True)
class Found:
    """All evidence about one subject, or about one quantity of it."""

    evidence: frozenset[Evidence]
    with_autograd: bool

    def has(self, evidence: Evidence) -> bool:
        return evidence in self.evidence

    @property
    def forward_differs(self) -> bool:
        """Without PyTorch there is no twin: forward is judged against itself in double precision only."""
        alone = self.has(Evidence.FORWARD_DIFFERS_FROM_ITS_DOUBLE) and not self.with_autograd
        return self.has(Evidence.FORWARD_DIFFERS) or alone

    @property
    def backprop_is_outvoted(self) -> bool:
        """Against both references, or against one where the other is off, too coarse to see it, or not there."""
        against_numerical = self.has(Evidence.BACKPROP_DIFFERS_FROM_NUMERICAL)
        against_autograd = self.has(Evidence.BACKPROP_DIFFERS_FROM_AUTOGRAD)
        if against_numerical and not self.with_autograd:
            return True
        if against_numerical and against_autograd:
            return True
        if self.forward_differs:
            return False  # of two different functions truth knows one only
        disagree = (Evidence.REFERENCES_DIFFER, Evidence.AUTOGRAD_IS_OFF, Evidence.NUMERICAL_IS_OFF)
        if (against_numerical or against_autograd) and not any(map(self.has, disagree)):
            return True  # the references agree; the one that does not object has the larger error of its own
        return (against_numerical and self.has(Evidence.AUTOGRAD_IS_OFF)) or (
            against_autograd and self.has(Evidence.NUMERICAL_IS_OFF)
        )


_DIFFERS = frozenset(
    {
        Evidence.BACKPROP_DIFFERS_FROM_NUMERICAL,
        Evidence.BACKPROP_DIFFERS_FROM_AUTOGRAD,
        Evidence.BACKWARD_LACKS_PROPERTY,
    }
)
_FORWARD = frozenset(
    {Evidence.FORWARD_DIFFERS, Evidence.FORWARD_DIFFERS_FROM_ITS_DOUBLE, Evidence.FORWARD_LACKS_PROPERTY}
)


@dataclass(frozen=True)
class Verdict:
    """One row of the table: the word, when it is said, and the evidence that it rests on."""

    word: str
    when: str
    applies: Callable[[Found], bool]
    rests_on: frozenset[Evidence]


#: From worst to best: the first that applies is the verdict of a subject.
VERDICTS = (
    Verdict(
        COULD_NOT_RUN,
        "the main path cannot be called",
        lambda found: found.has(Evidence.CANNOT_BE_CALLED),
        frozenset({Evidence.CANNOT_BE_CALLED}),
    ),
    Verdict(
        BOTH_WRONG,
        "forward differs from the twin, and backprop from numerical and autograd",
        lambda found: found.forward_differs and found.backprop_is_outvoted,
        _FORWARD | _DIFFERS,
    ),
    Verdict(
        FORWARD_WRONG,
        "forward differs from the twin",
        lambda found: found.forward_differs,
        _FORWARD,
    ),
    Verdict(
        BACKWARD_WRONG,
        "forward agrees with the twin, and backprop differs from the derivative",
        lambda found: found.backprop_is_outvoted,
        _DIFFERS,
    ),
    Verdict(
        FORWARD_WRONG,
        "an output lacks a property of the definition",
        lambda found: found.has(Evidence.FORWARD_LACKS_PROPERTY),
        _FORWARD,
    ),
    Verdict(
        BACKWARD_WRONG,
        "a gradient lacks a property of the definition",
        lambda found: found.has(Evidence.BACKWARD_LACKS_PROPERTY),
        _DIFFERS,
    ),
    Verdict(
        PRECISION_LOST,
        "digits are lost that the function has: a textbook's cancellation, or fewer digits inside",
        lambda found: found.has(Evidence.LOSES_PRECISION),
        frozenset({Evidence.LOSES_PRECISION}),
    ),
    Verdict(
        HAZARD,
        "values are right, but somebody's result can be corrupted",
        lambda found: found.has(Evidence.CAN_CORRUPT),
        frozenset({Evidence.CAN_CORRUPT}),
    ),
    Verdict(
        RIGHT,
        "all agree; what is worth knowing are notes, and what is wrong with a reference is said of the reference",
        lambda found: True,
        frozenset(),
    ),
)

#: The words from worst to best, for a run of several subjects.
PRECEDENCE = (COULD_NOT_RUN, BOTH_WRONG, FORWARD_WRONG, BACKWARD_WRONG, PRECISION_LOST, HAZARD, RIGHT)
#: The verdicts that mean that a value is wrong, or was not to be had.
FAULTS = frozenset({COULD_NOT_RUN, BOTH_WRONG, FORWARD_WRONG, BACKWARD_WRONG})
#: What each verdict rests on.
GROUNDS = {verdict.word: verdict.rests_on for verdict in VERDICTS}


def decide(evidence: Iterable[Evidence], *, with_autograd: bool) -> str:
    """The verdict on one subject. Without PyTorch the derivative of the subject's own forward decides alone."""
    found = Found(frozenset(evidence), with_autograd)
    return next(verdict.word for verdict in VERDICTS if verdict.applies(found))


def worst(verdicts: Iterable[str]) -> str:
    """The verdict of a run: the worst of its subjects'. Right for none at all."""
    given = set(verdicts)
    return next((verdict for verdict in PRECEDENCE if verdict in given), RIGHT)
