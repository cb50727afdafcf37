"""The catalogue: every rule in every record whose results it changes, and the defects particular to a layer.

Whether a rule changes anything is seen by calling: the right implementation and the one with the mistake go through
the same calls, on the same arrays, and all that can be seen from outside is compared. The judge has no part in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from oracle.catalog.case import Arrays, Case, lay_out, materialise
from oracle.catalog.corners import ORDINARY
from oracle.catalog.record import Array, LayerSpec
from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import corners_of, generated_cases
from oracle.subjects.defects.particular import PARTICULAR
from oracle.subjects.defects.planted import Defect
from oracle.subjects.defects.rules import Candidate, candidates
from oracle.subjects.in_process import implementation_of
from oracle.subjects.interface import SubjectError

DTYPE = "float64"
#: Corners that are tried besides those of the record: a mistake at 0 is one, also where nobody draws a 0.
CORNERS_TRIED = ("exact zeros",)
#: The same for sizes of inputs.
LARGE = 100.0
CASES_TRIED = 4
SEED = 0
#: Two computations of one value may differ by this many eps of the largest entry.
ROUNDING = 64


def defects_of(record: LayerSpec) -> Iterator[Defect]:
    """The defects of one record. Records of one class share the rules: it is the same code, otherwise arranged."""
    tried = _Tried(record)
    of_one_class = [r.name for r in RECORDS.values() if r.class_name == record.class_name]
    turn = of_one_class.index(record.name)
    for ways in itertools.islice(candidates(record), turn, None, len(of_one_class)):
        shown = next((way for way in ways if tried.shows(way)), None)
        if shown is not None:
            yield shown.defect
    yield from (defect for defect in PARTICULAR if defect.record == record.name)


@cache
def by_name(record: str) -> Mapping[str, Defect]:
    """Every rule in a record, whether it changes anything or not, and what is particular to it: by name.

    To find a defect again whose name is known takes no trying.
    """
    of_rules = {way.defect.name: way.defect for ways in candidates(RECORDS[record]) for way in ways}
    return {**of_rules, **{defect.name: defect for defect in PARTICULAR if defect.record == record}}


class _Tried:
    """The cases of a record on which mistakes are tried, and what the right implementation gives."""

    def __init__(self, record: LayerSpec) -> None:
        corners = [*corners_of(record, DTYPE), *(name for name in CORNERS_TRIED if name not in record.corners)]
        drawn = [c for corner in corners for c in generated_cases(record, DTYPE, corner, CASES_TRIED, SEED)]
        large = [replace(case, scale=LARGE) for case in drawn if case.corner == ORDINARY]
        right = implementation_of(record)
        self._record = record
        self._right: dict[Case, list[dict[str, Array]]] = {}
        for case in (*drawn, *large):
            seen = list(transcript(right, case))
            # Where the right value is not finite there is no truth to depart from.
            if all(np.isfinite(values).all() for step in seen for values in step.values()):
                self._right[case] = seen

    def shows(self, candidate: Candidate) -> bool:
        """Whether a mistake changes anything; one that holds sometimes has to leave some cases as they were."""
        subject = candidate.defect.make(self._record)
        some_changed = some_stayed = False
        for case, right in self._right.items():
            if _differ(right, list(transcript(subject, case))):
                some_changed = True
            elif case.corner in corners_of(self._record, DTYPE):
                some_stayed = True
            if some_changed and (some_stayed or not candidate.sometimes):
                return True
        return False


def transcript(subject: Any, case: Case) -> Iterator[dict[str, Array]]:
    """What can be seen from outside of two instances that are called in turn; it ends where a call raises.

    Each step holds the results of a call, and the arguments as they are after it.
    """
    record = subject.record
    given = materialise(case, record)
    try:
        first, second = (subject.open(_fresh(given, case).parameters) for _ in range(2))
        replies = [first.forward(_fresh(given, case).inputs)]
        yield from _seen(record, replies[0])
        if record.has_backward:
            for _ in range(2):
                replies.append(first.backward(_fresh(given, case).dout))
                yield from _seen(record, replies[-1])
            # Each belongs to its own newest forward.
            first.forward(_other(given, case, record))
            second.forward(_fresh(given, case).inputs)
            yield from _seen(record, first.backward(_fresh(given, case).dout))
        else:
            first.forward(_other(given, case, record))
        for reply in replies:
            yield first.recall(reply.token)
    except SubjectError as error:
        yield {type(error.original).__name__: np.zeros(())}


def _seen(record: LayerSpec, reply: Any) -> Iterator[dict[str, Array]]:
    yield reply.values
    # A network is given no dout.
    yield {name: values for name, values in reply.arguments.items() if name != "dout" or record.takes_dout}


def _fresh(given: Arrays, case: Case) -> Arrays:
    inputs, parameters = (
        {name: lay_out(values, case.layout) for name, values in arrays.items()}
        for arrays in (given.inputs, given.parameters)
    )
    return Arrays(inputs, parameters, lay_out(given.dout, case.layout))


def _other(given: Arrays, case: Case, record: LayerSpec) -> dict[str, Array]:
    """Other inputs of the same shapes; probabilities stay probabilities."""
    inputs = _fresh(given, case).inputs
    return {name: values / 2 if name in record.differentiable_inputs else values for name, values in inputs.items()}


def _differ(right: list[dict[str, Array]], other: list[dict[str, Array]]) -> bool:
    return len(right) != len(other) or any(map(_steps_differ, right, other))


def _steps_differ(right: Mapping[str, Array], other: Mapping[str, Array]) -> bool:
    return right.keys() != other.keys() or any(_arrays_differ(values, other[name]) for name, values in right.items())


def _arrays_differ(right: Array, other: Array) -> bool:
    if right.shape != other.shape:
        return True
    size = float(np.abs(right).max(initial=0.0))
    return not np.allclose(other, right, rtol=0, atol=ROUNDING * float(np.finfo(DTYPE).eps) * size)
