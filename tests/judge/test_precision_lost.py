"""Right but for digits that a better formula keeps: the textbook at large inputs, and stable formulas beside it."""

import numpy as np
import pytest

from oracle.catalog.case import Case
from oracle.catalog.corners import ORDINARY
from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import corners_of, generated_cases
from oracle.judge.examination import examine
from oracle.subjects.in_process import InProcessSubject


class StableSigmoid:
    """As exact as ours; ``np.abs`` makes the complex step impossible, so that it is differentiated by differences."""

    def forward(self, x):
        self.e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1, self.e) / (1 + self.e)

    def backward(self, dout):
        return dout * self.e / (1 + self.e) ** 2


class TextbookSigmoid:
    def forward(self, x):
        self.y = 1 / (1 + np.exp(-x))
        return self.y.copy()

    def backward(self, dout):
        return dout * self.y * (1 - self.y)


class TextbookSoftmaxWithLoss:
    def forward(self, x, t):
        shifted = x - x.max(axis=-1, keepdims=True)
        total = np.exp(shifted).sum(axis=-1, keepdims=True)
        self.y, self.t = np.exp(shifted) / total, t
        return np.sum(t * (np.log(total) - shifted)) / len(x)

    def backward(self, dout=1):
        return (self.y * self.t.sum(axis=-1, keepdims=True) - self.t) / len(self.t) * dout


def examined(name, factory, dtype):
    record = RECORDS[name]
    corners = corners_of(record, dtype)
    cases = [case for corner in corners for case in generated_cases(record, dtype, corner, 20, seed=0)]
    return examine(InProcessSubject(record, factory), cases, dtype=dtype)


both_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])


@both_dtypes
def test_a_stable_formula_that_cannot_be_stepped_into_the_complex_is_right(dtype):
    assert examined("Sigmoid", StableSigmoid, dtype).verdict == "right"


@both_dtypes
def test_the_textbook_sigmoid_loses_precision(dtype):
    found = examined("Sigmoid", TextbookSigmoid, dtype)
    assert found.verdict == "precision lost"
    assert all("loses digits" in finding.sentence for finding in found.decisive)


@both_dtypes
def test_the_textbook_softmax_loss_loses_precision(dtype):
    record = RECORDS["SoftmaxWithLoss"]
    shapes = (("x", (3, 4)), ("t", (3, 4)), ("dout", ()))
    # Hard targets and scores ten apart: 1 - y is small where the target has the largest score.
    cases = [Case(record.name, dtype, shapes, scale=10.0, targets="one-hot", seed=seed) for seed in range(20)]
    found = examine(InProcessSubject(record, TextbookSoftmaxWithLoss), cases, dtype=dtype)
    assert found.verdict == "precision lost"


@both_dtypes
def test_a_mistake_is_no_lost_precision(dtype):
    class WithoutItsLastFactor(TextbookSigmoid):
        def backward(self, dout):
            return dout * self.y

    assert examined("Sigmoid", WithoutItsLastFactor, dtype).verdict == "backward wrong"


def test_without_a_twin_forward_is_held_against_itself_in_double():
    class RoundsInFloat32(StableSigmoid):
        def forward(self, x):
            y = super().forward(x)
            return y * np.asarray(1.25, y.dtype) if y.dtype == np.float32 else y

    record = RECORDS["Sigmoid"]
    cases = list(generated_cases(record, "float32", ORDINARY, 10, seed=0))
    subject = InProcessSubject(record, RoundsInFloat32)
    assert examine(subject, cases, dtype="float32", with_autograd=False).verdict == "forward wrong"
