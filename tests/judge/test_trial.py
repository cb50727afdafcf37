"""One case, run: what is said where a source has nothing to say."""

from dataclasses import replace

import numpy as np
import pytest

import scratch
from oracle.catalog.case import materialise
from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import generated_cases, real_data_case
from oracle.data.digits import load_digits
from oracle.judge import others, trial
from oracle.judge.examination import examine
from oracle.judge.settlement import CIRCUMSTANCES
from oracle.judge.trial import Trial
from oracle.sources.truth import NoTruthError
from oracle.subjects.in_process import InProcessSubject, implementation_of
from oracle.subjects.interface import SubjectError


@pytest.fixture
def no_truth(monkeypatch):
    def refuses(*_, **__):
        raise NoTruthError("nobody knows")

    monkeypatch.setattr(trial, "truth", refuses)


def large_cases(record):
    return [replace(case, scale=30.0) for case in generated_cases(record, "float64", "ordinary", 5, 0)]


def test_where_truth_has_nothing_to_say_pytorch_is_not_said_to_be_off(needs_the_twin, no_truth):
    """Nor is anybody else: two references that differ are no reason to call a layer wrong."""
    record = RECORDS["Sigmoid"]
    found = examine(implementation_of(record), large_cases(record), dtype="float64")
    assert found.verdict == "right"
    assert found.autograd_off == {}


def test_where_truth_speaks_pytorch_is_off_for_the_same_cases(needs_the_twin):
    record = RECORDS["Sigmoid"]
    found = examine(implementation_of(record), large_cases(record), dtype="float64")
    assert found.verdict == "right"
    assert found.autograd_off.keys() == {"dx"}


@pytest.mark.parametrize("source", ["numerical", "autograd"])
def test_reference_that_is_off_is_told_by_truth_alone(source, needs_the_twin, monkeypatch):
    record = RECORDS["Sigmoid"]
    (case,) = generated_cases(record, "float64", "ordinary", 1, 0)
    run = Trial(implementation_of(record), case).run()
    assert run.reference_that_is_off("dx") is None
    run.estimates[source].values["dx"] = 2 * run.estimates[source].values["dx"]
    assert run.reference_that_is_off("dx") == source
    monkeypatch.setattr(run, "truth", None)  # it has nothing to say
    assert run.reference_that_is_off("dx") is None


def test_sources_that_were_not_run_are_not_compared():
    record = RECORDS["Sigmoid"]
    (case,) = generated_cases(record, "float64", "ordinary", 1, 0)
    assert Trial(implementation_of(record), case).compared(("dx",), ("backprop", "numerical")) == []


class OnlyWithinTheNetwork(scratch.SoftmaxWithLoss):
    """Nobody else may call its backward: the network cannot be walked through layer by layer."""

    inside = False

    def backward(self, dout=1):
        if not self.inside:
            raise RuntimeError("who calls?")
        return super().backward(dout)


class DoubledWithinOneself(scratch.TwoLayerNet):
    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.last_layer = OnlyWithinTheNetwork()

    def gradient(self, x, t):
        self.last_layer.inside = True
        try:
            return {name: 2 * values for name, values in super().gradient(x, t).items()}
        finally:
            self.last_layer.inside = False


def test_network_that_cannot_be_walked_through_is_judged_as_a_whole(needs_the_twin):
    record = RECORDS["TwoLayerNet"]
    subject = InProcessSubject(record, lambda sizes, dtype: DoubledWithinOneself(*sizes, dtype=dtype))
    found = examine(subject, generated_cases(record, "float64", "ordinary", 2, 0), dtype="float64")
    assert found.verdict == "backward wrong"
    assert "doubled" in {finding.cause_id for finding in found.findings}


def test_real_digits_have_no_circumstance_that_hangs_on_what_was_drawn():
    digits = load_digits()
    case = real_data_case(RECORDS["TwoLayerNet"], "float64", "digits", 3, digits.images.shape[1], (5,), 0)
    circumstances = dict(CIRCUMSTANCES)
    for name in ("only_at_zero", "only_beyond_30"):
        assert not circumstances[name](case)


def test_real_digits_come_with_labels_where_a_case_wants_them():
    digits, record = load_digits(), RECORDS["TwoLayerNet"]
    case = real_data_case(record, "float64", "digits", 3, digits.images.shape[1], (5,), 0)
    arrays = materialise(replace(case, targets="labels"), record, {"digits": digits})
    assert np.array_equal(arrays.inputs["x"], digits.images[:3])
    assert np.array_equal(arrays.inputs["t"], digits.labels[:3])


# ----------------------------------------------------------------------------- other checkers, and what has no backward


class NotSummed(scratch.Affine):
    def backward(self, dout):
        dx = super().backward(dout)
        self.db = np.array(dout)
        return dx


def plain_cases(record):
    return generated_cases(record, "float64", "ordinary", 1, 0)


def test_gradient_of_another_shape_is_noticed_by_a_random_projection():
    record = RECORDS["Affine"]
    found = others.verdicts_of_others(InProcessSubject(record, NotSummed), plain_cases(record))
    assert found["random projection"]


def test_without_pytorch_its_rules_have_no_verdict(monkeypatch):
    monkeypatch.setattr(others, "is_available", lambda: False)
    record = RECORDS["Affine"]
    found = others.verdicts_of_others(implementation_of(record), plain_cases(record))
    assert {name for name, verdict in found.items() if verdict is None} == others.NEED_TORCH
    assert {verdict for name, verdict in found.items() if name not in others.NEED_TORCH} == {False}


def test_function_has_no_backward_and_says_so():
    record = RECORDS["softmax"]
    handle = implementation_of(record).open({})
    handle.forward({"x": np.ones((2, 3))})
    with pytest.raises(SubjectError, match="softmax has no backward"):
        handle.backward(np.ones((2, 3)))


def test_network_whose_numerical_gradient_or_step_raises_says_which():
    class Raises(scratch.TwoLayerNet):
        def gradient(self, x, t):
            raise ZeroDivisionError("no gradient")

        def numerical_gradient(self, x, t, h=1e-4):
            raise ZeroDivisionError("h is 0")

    record = RECORDS["TwoLayerNet"]
    (case,) = plain_cases(record)
    arrays = materialise(case, record)
    handle = InProcessSubject(record, lambda sizes, dtype: Raises(*sizes, dtype=dtype)).open(arrays.parameters)
    with pytest.raises(SubjectError, match="no gradient") as of_step:
        handle.step(arrays.inputs, arrays.dout)
    assert of_step.value.step == "forward and backward"
    with pytest.raises(SubjectError, match="h is 0") as of_numerical:
        handle.numerical_gradient(arrays.inputs)
    assert of_numerical.value.step == "numerical_gradient"
