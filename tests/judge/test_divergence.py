"""The first divergence of a network from its twin: the layer, the direction, and that layer alone."""

import numpy as np
import pytest

import scratch
from oracle.catalog.case import materialise
from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import generated_cases
from oracle.judge.comparison import compare
from oracle.judge.divergence import Divergence, first_divergence
from oracle.judge.examination import examine
from oracle.sources.autograd import is_available
from oracle.subjects.in_process import InProcessSubject, implementation_of

pytestmark = pytest.mark.skipif(not is_available(), reason="PyTorch is not installed, and the twin is what diverges")
NETWORKS = [name for name, record in RECORDS.items() if record.stack]


class WrongSlope(scratch.Relu):
    def backward(self, dout):
        return np.where(self.mask, 0.01, 1.0) * dout


class HalvedWeights(scratch.Affine):
    """In its gradient of W alone: nothing below sees it."""

    def differentiate_parameters(self, dout):
        rows = super().differentiate_parameters(dout)
        self.dW = self.dW / 2
        return rows


class WrongInput(scratch.Affine):
    def backward(self, dout):
        return super().backward(dout) * 1.0001


class ShiftedOutput(scratch.Affine):
    def forward(self, x):
        return super().forward(x) + 1e-6


class LossTimesTwo(scratch.SoftmaxWithLoss):
    def backward(self, dout=1):
        return 2 * super().backward(dout)


def network(record, **layers):
    """A network of ``scratch`` for a record, with some of its layers replaced by others of the same parameters."""

    def build(sizes, dtype):
        net = record.construct(getattr(scratch, record.class_name), sizes=sizes, dtype=dtype)
        for name, kind in layers.items():
            if name == "last_layer":
                net.last_layer = kind()
                continue
            old = net.layers[name]
            net.layers[name] = kind(old.W, old.b) if isinstance(old, scratch.Affine) else kind()
        return net

    return InProcessSubject(record, build)


def diverged(name, dtype="float64", **layers):
    record = RECORDS[name]
    found = []
    for case in generated_cases(record, dtype, "ordinary", 5, seed=0):
        arrays = materialise(case, record)
        found.append(first_divergence(network(record, **layers), case, arrays.inputs, arrays.parameters))
    return found


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NETWORKS)
def test_correct_network_has_none(name, dtype):
    record = RECORDS[name]
    for corner in ("ordinary", "batch of 1", "one decimal", "tensor shape"):
        for case in generated_cases(record, dtype, corner, 10, seed=1):
            arrays = materialise(case, record)
            assert first_divergence(implementation_of(record), case, arrays.inputs, arrays.parameters) is None, case


THREE = "MultiLayerNet relu, three hidden"


@pytest.mark.parametrize(
    ("planted", "layer", "direction", "quantities"),
    [
        ({"Affine2": ShiftedOutput}, "Affine2", "forward", {"y"}),
        ({"Affine1": ShiftedOutput, "Affine3": ShiftedOutput}, "Affine1", "forward", {"y"}),
        ({"Relu2": WrongSlope}, "Relu2", "backward", {"dx"}),
        ({"Relu1": WrongSlope, "Relu3": WrongSlope}, "Relu3", "backward", {"dx"}),
        ({"Affine3": WrongInput}, "Affine3", "backward", {"dx"}),
        ({"Affine1": HalvedWeights}, "Affine1", "backward", {"dW"}),
        ({"Affine4": HalvedWeights, "Relu1": WrongSlope}, "Affine4", "backward", {"dW"}),
    ],
    ids=["forward", "the first of two", "slope", "the last of two backward", "dx", "dW", "dW above"],
)
def test_first_layer_that_differs_is_named_and_checked_alone(planted, layer, direction, quantities):
    found = [divergence for divergence in diverged(THREE, **planted) if divergence is not None]
    # A rectifier that passes everything hides its wrong slope, and another one that is planted comes first then.
    assert {divergence.layer for divergence in found} <= set(planted)
    found = [divergence for divergence in found if divergence.layer == layer]
    assert len(found) >= 3
    for divergence in found:
        assert divergence.direction == direction
        assert {comparison.quantity for comparison in divergence.alone} == quantities
        assert layer in str(divergence)


def test_finding_about_a_network_names_the_layer():
    record = RECORDS[THREE]
    cases = list(generated_cases(record, "float64", "ordinary", 4, seed=0))
    found = examine(network(record, Relu2=WrongSlope), cases, dtype="float64")
    assert found.verdict == "backward wrong"
    assert any("layer 4, Relu2, backward; that layer alone" in finding.sentence for finding in found.findings)


def test_wrong_loss_is_named_and_no_layer_below_it():
    for divergence in diverged("TwoLayerNet", last_layer=LossTimesTwo):
        assert (divergence.layer, divergence.direction, divergence.alone) == ("the loss", "backward", ())


def test_network_that_does_not_show_its_layers_has_nothing_to_walk():
    record = RECORDS["TwoLayerNet"]
    (case,) = list(generated_cases(record, "float64", "ordinary", 1, seed=0))
    arrays = materialise(case, record)

    class Hidden:
        def __init__(self, sizes, dtype):
            self._net = scratch.TwoLayerNet(*sizes, dtype=dtype)
            self.params = self._net.params

    assert first_divergence(InProcessSubject(record, Hidden), case, arrays.inputs, arrays.parameters) is None


def test_a_layer_that_only_passes_on_what_came_wrong_is_named_with_what_it_passed_on():
    (case,) = generated_cases(RECORDS["TwoLayerNet"], "float64", "ordinary", 1, seed=0)
    passed_on = compare("dx", "backprop-autograd", case, np.ones(1), np.zeros(1), np.zeros(1))
    first = Divergence("Affine2", 2, "backward", passed_on, alone=())
    assert str(first).startswith("first differs from the twin at layer 3, Affine2, backward: dx[0] = 1.0, but should")
