"""A forward that nobody knows, held against itself in double precision: what differs there is explained too."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from oracle.catalog.variants import KNOWN
from oracle.judge.examination import examine
from oracle.judge.verdict import Evidence
from oracle.subjects.in_process import InProcessSubject

UNKNOWN = "own forward: x (N, D)"


class InSinglePrecision:
    """tanh in float64, and something else in float32."""

    def __init__(self, differently):
        self.differently = differently

    def forward(self, x):
        self.y = np.tanh(x)
        return self.differently(self.y) if x.dtype == np.float32 else self.y

    def backward(self, dout):
        return dout * (1 - self.y**2)


@pytest.mark.parametrize(
    ("differently", "cause_id"),
    [
        (lambda y: 2 * y, "doubled"),
        (lambda y: np.float32(1.25) * y, "constant_factor"),
        # What only the definition would tell, of arguments that were altered, has no name here.
        (lambda y: y + np.float32(0.5), None),
    ],
)
def test_forward_of_no_known_definition_that_differs_in_single_precision(differently, cause_id, draw_cases):
    subject = InProcessSubject(KNOWN[UNKNOWN], partial(InSinglePrecision, differently))
    drawn = draw_cases(UNKNOWN, "float32", corners=["ordinary"])
    cases = [replace(case, shapes=(("x", shape := dict(case.shapes)["x"]), ("dout", shape))) for case in drawn]
    found = [f for f in examine(subject, cases, dtype="float32").findings if f.quantity == "y"]
    of_forward = [f for f in found if f.evidence is Evidence.FORWARD_DIFFERS_FROM_ITS_DOUBLE]
    assert {f.case for f in of_forward} == set(cases)
    assert {f.cause_id for f in of_forward} == {cause_id}
