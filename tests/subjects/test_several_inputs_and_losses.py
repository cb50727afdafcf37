"""Layers with several inputs, and losses, of names that nobody knows: recognised, right where they are, found wrong."""

import importlib.util
import inspect
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oracle import check_layer
from oracle.catalog.case import materialise
from oracle.catalog.own import own_name, own_record
from oracle.catalog.strategies import generated_cases
from oracle.catalog.variants import KNOWN
from oracle.cli import main
from oracle.errors import InputError
from oracle.judge.trial import BACKPROP_NUMERICAL, Trial
from oracle.notebook import open_layer
from oracle.sources.backprop import shaken
from oracle.subjects.conventions.recognition import Told
from oracle.subjects.interface import SubjectError

SAMPLES = Path(__file__).parent / "samples"
#: How many cases of each right sample are looked at for a false alarm.
CASES = 100


def _of_sample(name):
    """The module of a sample, and the layers and losses in it that nobody knows."""
    spec = importlib.util.spec_from_file_location(name, SAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = {n: v for n, v in vars(module).items() if inspect.isfunction(v) or isinstance(v, type)}
    return module, {n: v for n, v in made.items() if not n.endswith(("_backward", "_grad")) and n != "sigmoid"}


SEVERAL_INPUTS, LAYERS = _of_sample("several_inputs")
UNKNOWN_LOSSES, LOSSES = _of_sample("unknown_losses")


@pytest.fixture
def opened(monkeypatch):
    """opened(layer) -> its subject and what it was found to be."""
    # Where the backward of a function is looked for.
    for module in (SEVERAL_INPUTS, UNKNOWN_LOSSES):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return lambda layer: open_layer(layer, None, Told())[:2]


def _with_dout_of_output(subject, case):
    given = materialise(case, subject.record)
    shape = subject.open(given.parameters).value(given.inputs).shape
    return replace(case, shapes=(*(pair for pair in case.shapes if pair[0] != "dout"), ("dout", shape)))


@pytest.mark.parametrize("name", [*LAYERS, *LOSSES])
def test_right_gradients_are_right_in_every_case(opened, name):
    subject, _ = opened({**LAYERS, **LOSSES}[name])
    compared = 0
    for case in generated_cases(subject.record, "float64", "ordinary", CASES, seed=1):
        trial = Trial(subject, _with_dout_of_output(subject, case), with_autograd=False).run()
        assert trial.error is None
        comparisons = trial.compared(trial.gradients, BACKPROP_NUMERICAL)
        assert all(comparison.agrees for comparison in comparisons), [str(c) for c in comparisons]
        assert {comparison.quantity for comparison in comparisons} == set(trial.gradients)
        compared += 1
    assert compared == CASES


#: One line wrong: who is, what is written and what instead, and the quantities that are not the derivative.
FAULTS = [
    # A forgotten derivative of tanh, a factor of it, another's matrix, and transposed weights.
    ("RNN", "dt = dh_next * (1 - h_next**2)", "dt = dh_next", "dx dh_prev dWx dWh db"),
    ("RNN", "(1 - h_next**2)", "(1 - h_next)", "dx dh_prev dWx dWh db"),
    ("RNN", "dh_prev = np.dot(dt, Wh.T)", "dh_prev = np.dot(dt, Wx.T)", "dh_prev"),
    ("RNN", "dh_prev = np.dot(dt, Wh.T)", "dh_prev = np.dot(dt, Wh)", "dh_prev"),
    ("RNN", "dWh = np.dot(h_prev.T, dt)", "dWh = np.dot(h_next.T, dt)", "dWh"),
    ("RNN", "dWh = np.dot(h_prev.T, dt)", "dWh = np.dot(h_prev.T, dt).T", "dWh"),
    ("RNN", "db = np.sum(dt, axis=0)", "db = np.mean(dt, axis=0)", "db"),
    ("RNN", "self.grads[2][...] = db", "self.grads[2][...] = np.sum(dh_next, axis=0)", "db"),
    ("GRU", "dh_prev = dh_prev + r * drh", "dh_prev = dh_prev + drh", "dh_prev"),
    ("GRU", "dh_prev = dh_prev + r * drh", "pass", "dh_prev"),
    ("GRU", "(h_hat - h_prev)", "(h_prev - h_hat)", "dx dh_prev dWx dWh db"),
    ("GRU", "(r * h_prev).T @ dh", "h_prev.T @ dh", "dWh"),
    ("ElmanCell", "da @ self.W_hh.T", "da @ self.W_hh", "dh"),
    ("ElmanCell", "self.dW_hh = self.h.T @ da", "self.dW_hh = self.out.T @ da", "dW_hh"),
    ("MinimalGatedUnit", "gated * self.f + df @ self.Uf.T", "gated * self.f", "dh_prev"),
    ("MinimalGatedUnit", "(self.f * self.h_prev).T @ dc", "self.h_prev.T @ dc", "dUc"),
    ("ProductNode", "dout * self.y, dout * self.x", "dout * self.x, dout * self.y", "dx dy"),
    ("ProductNode", "dout * self.y, dout * self.x", "dout * self.y, dout", "dy"),
    ("AddMean", " / self.shape[1]\n", "\n", "dothers"),
    ("AddBias", "dout.sum(axis=0)", "-dout.sum(axis=0)", "db"),
    ("AddBias", "dout.sum(axis=0)", "dout", "db"),
    ("MatMulNode", "self.a.T @ dout", "(dout.T @ self.a).T / len(dout)", "db"),
    ("DotProduct", "dout[:, None] * self.b, dout[:, None]", "dout[:, None] * self.b, np.sign(dout)[:, None]", "db"),
    ("BilinearForm", "dout * (self.a @ self.W)", "dout * (self.a @ self.W) / 2", "db"),
    ("BilinearForm", "self.a.T @ (dout * self.b)", "self.a.T @ self.b", "dW"),
    ("Attention", "ds.transpose(0, 2, 1) @ self.q", "ds @ self.q", "dk"),
    ("Attention", "(da - (da * self.a).sum(axis=-1, keepdims=True))", "da", "dq dk"),
    ("Triplet", "-scale * self.near", "scale * self.near", "dpositive"),
    ("rnn_step_forward", "da @ Wh.T", "da @ Wh", "dprev_h"),
    ("rnn_step_forward", "prev_h.T @ da", "next_h.T @ da", "dWh"),
    # Without 1/N, without the target, across the kink, of the wrong sign.
    ("HuberLoss", "-self.delta, self.delta) / self.n\n", "-self.delta, self.delta)\n", "dx"),
    ("HuberLoss", "np.clip(self.d, -self.delta, self.delta) / self.n", "self.d / self.n", "dx"),
    ("HuberLoss", "np.clip(self.d, -self.delta, self.delta) / self.n", "np.sign(self.d) / self.n", "dx"),
    ("HingeLoss", "        dx[np.arange(n), self.y] -= dx.sum(axis=1)\n", "", "dx"),
    ("HingeLoss", "-= dx.sum(axis=1)", "-= 1", "dx"),
    ("HingeLoss", "(self.margins > 0).astype(float)", "(self.margins > 1).astype(float)", "dx"),
    ("HingeLoss", "dx / n * dout", "dx * dout", "dx"),
    ("L1Loss", "dout * self.sign / self.sign.size", "dout * self.sign / len(self.sign)", "dx"),
    ("L1Loss", "dout * self.sign", "-dout * self.sign", "dx"),
    ("EpsilonInsensitive", " * (np.abs(self.d) > self.margin)", "", "dx"),
    ("PinballLoss", "-self.q, 1 - self.q)", "-self.q, self.q)", "dx"),
    ("LogCosh", "np.tanh(self.d) / self.d.size", "self.d / self.d.size", "dx"),
    ("SoftmaxFocal", "(self.t - self.p) / len", "self.t / len", "dx"),
    ("SoftmaxFocal", "2 * (1 - q) * np.log(q) * q - (1 - q) ** 2", "-((1 - q) ** 2)", "dx"),
    ("ClippedEntropy", " / (self.p * (1 - self.p))", "", "dx"),
    ("KLDivergence", "-self.t / self.p / len(self.p)", "-self.t / self.p", "dx"),
    ("TimeSoftmaxWithMask", "dx * dout / (N * T)", "dx * dout / N", "dx"),
    ("TimeSoftmaxWithMask", "        dx[np.arange(N * T), t] -= 1\n", "", "dx"),
    ("FourthPower", "4 * self.d**3", "4 * self.d**2", "dx"),
    ("svm_loss", "    dx[np.arange(n), y] -= (m > 0).sum(axis=1)\n", "", "dx"),
    ("svm_loss", "return loss, dx / n", "return loss, dx", "dx"),
    ("squared_hinge", "-2 * t * np.maximum(0, 1 - y * t)", "-2 * t * (1 - y * t)", "dx"),
    ("squared_hinge", "-2 * t", "2 * t", "dx"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "right", "wrong", "quantities"), FAULTS, ids=[f"{f[0]}-{n}" for n, f in enumerate(FAULTS)]
)
def test_one_wrong_line_is_found(altered, name, right, wrong, quantities):
    result = check_layer(altered(name, right, wrong))
    assert result.verdict == "backward wrong", str(result)
    found = {f["quantity"] for f in json.loads(result.to_json())["subjects"][0]["findings"]}
    assert found <= set(quantities.split()), found
    assert quantities.split()[0] in found or len(quantities.split()) > 1


def test_every_sample_has_a_fault():
    assert {fault[0] for fault in FAULTS} == {*LAYERS, *LOSSES}


# ----------------------------------------------------------------------------- names of records

NAMES = {
    "cell": ({"x": ("N", "D"), "h": ("N", "M"), "W": ("M", "M")}, {}, "x (N, D), h (N, M), W (M, M)"),
    "labels": ({"x": ("N", "T", "D"), "t": ("N", "T", "D")}, {"t": "labels"}, "x (N, T, D), labels t (N, T)"),
    "one-hot": ({"x": ("N", "4"), "t": ("N", "4")}, {"t": "one-hot"}, "x (N, 4), one-hot t (N, 4)"),
    "soft": (
        {"x": ("N", "D"), "t": ("N", "D")},
        {"x": "probabilities", "t": "soft"},
        "probabilities x (N, D), soft t (N, D)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "words", "written"), NAMES.values(), ids=NAMES)
def test_record_is_made_from_its_name_with_inputs_and_targets(arguments, words, written):
    name = own_name(arguments, words)
    assert name == f"own forward: {written}"
    record = KNOWN[name]
    roles = {a.name: a.role for a in record.arguments}
    wanted = {n: "input" if axes[:1] == ("N",) else "parameter" for n, axes in arguments.items()}
    assert roles == wanted | ({"t": "target"} if "t" in words else {})
    assert {a.name: a.axes for a in record.arguments} == arguments
    assert record.is_loss is ("t" in words)
    assert record.target_forms == ((words["t"],) if words else ())
    assert not record.has_class_targets


def test_name_that_is_not_written_so_is_no_record():
    for wrong in ("x (N, D), labels t (N, D, 2, )", "x (N, D), numbers t (N, D)", "x (N, D), labels  t (N,)"):
        with pytest.raises(KeyError):
            own_record(f"own forward: {wrong}")


def test_targets_of_a_case_are_of_the_form_that_the_name_says():
    for form, shape, kind in (("labels", 1, "i"), ("one-hot", 2, "f"), ("values", 2, "f")):
        record = KNOWN[own_name({"x": ("N", "D"), "t": ("N", "D")}, {"t": form})]
        for case in generated_cases(record, "float64", "ordinary", 5, seed=1):
            assert case.targets == form
            given = materialise(case, record)
            t = given.inputs["t"]
            assert (t.ndim, t.dtype.kind) == (shape, kind)
            assert form != "one-hot" or np.array_equal(t.sum(axis=1), np.ones(len(t)))
            assert given.dout.shape == ()


# ----------------------------------------------------------------------------- which of several readings is taken


def test_loss_that_gives_two_gradients_is_taken_for_two_inputs_where_nothing_calls_one_of_them_targets(opened):
    class ContrastiveLoss:
        def forward(self, one, other):
            self.d = one - other
            return np.sum(self.d**2)

        def backward(self, dout=1):
            return 2 * dout * self.d, -2 * dout * self.d

    _, found = opened(ContrastiveLoss)
    assert found.record == "own forward: one (N, D), other (N, D)"


def test_argument_called_like_targets_is_an_input_where_the_output_is_no_number(opened):
    class Timed:
        def forward(self, x, t):
            return 2 * x + 3 * t

        def backward(self, dout):
            return 2 * dout, 3 * dout

    _, found = opened(Timed)
    assert found.record == "own forward: x (N, D), t (N, D)"
    assert check_layer(Timed).verdict == "right"


def test_second_input_called_x_keeps_its_name_beside_another_first(opened):
    class Cell:
        def forward(self, h, x):
            self.x, self.h = x, h
            return x * h

        def backward(self, dout):
            return dout * self.x, dout * self.h

    assert opened(Cell)[1].record == "own forward: h (N, D), x (N, D)"


class LSTM:
    """Two outputs, and an upstream gradient for each."""

    def __init__(self, Wx, Wh, b):
        self.Wx, self.Wh, self.b = Wx, Wh, b

    def forward(self, x, h_prev, c_prev):
        H = h_prev.shape[1]
        A = x @ self.Wx + h_prev @ self.Wh + self.b
        f, i, o = (1 / (1 + np.exp(-A[:, n * H : (n + 1) * H])) for n in range(3))
        c = f * c_prev + i * np.tanh(A[:, 3 * H :])
        return o * np.tanh(c), c

    def backward(self, dh, dc):
        raise AssertionError("it is not asked")


def test_cell_with_two_outputs_is_refused_with_their_shapes_and_what_to_do():
    with pytest.raises(InputError, match=r"LSTM: it returns several arrays: \(3, 2\), \(3, 2\); to have it checked, "):
        check_layer(LSTM)


def test_what_the_refusal_of_two_outputs_advises_can_be_checked():
    class LSTMOfItsCell(LSTM):
        def forward(self, x, h_prev, c_prev):
            self.given, self.H = (x, h_prev, c_prev), h_prev.shape[1]
            return super().forward(x, h_prev, c_prev)[1]

        def backward(self, dc):
            (x, h_prev, c_prev), H = self.given, self.H
            A = x @ self.Wx + h_prev @ self.Wh + self.b
            f, i = (1 / (1 + np.exp(-A[:, n * H : (n + 1) * H])) for n in range(2))
            g = np.tanh(A[:, 3 * H :])
            dA = np.hstack([dc * c_prev * f * (1 - f), dc * g * i * (1 - i), np.zeros_like(dc), dc * i * (1 - g**2)])
            self.dWx, self.dWh, self.db = x.T @ dA, h_prev.T @ dA, dA.sum(axis=0)
            return dA @ self.Wx.T, dA @ self.Wh.T, dc * f

    result = check_layer(LSTMOfItsCell)
    assert result.verdict == "right", str(result)
    record = json.loads(result.to_json())["subjects"][0]["record"]
    assert record == "own forward: x (N, D), h_prev (N, 2), c_prev (N, 2), Wx (D, 8), Wh (2, 8), b (8,)"


# ----------------------------------------------------------------------------- functions

FUNCTIONS = """
    import numpy as np


    def absolute_loss(y, t):
        return np.abs(y - t).mean(), np.sign(y - t) / y.size


    def loss_of_nothing(y, t):
        return np.sum(y - t)


    def loss_and_more(w, x, t):
        return np.sum(x @ w - t), x.sum(axis=0)


    def pair(y, t):
        return y, t
    """


def test_function_called_like_a_loss_that_returns_two_things_is_one_and_no_other_is_mentioned(checked):
    status, subjects, printed = checked(FUNCTIONS)
    assert (status, {n: (s["verdict"], s["record"]) for n, s in subjects.items()}) == (
        0,
        {"absolute_loss": ("right", "own forward: x (N, D), values t (N, D)")},
    )
    assert "Not checked" not in printed.out


def test_function_that_is_no_loss_after_all_is_answered_with_the_reason():
    def loss_of_nothing(y, t):
        return np.sum(y - t)

    with pytest.raises(InputError, match="loss_of_nothing: no layer is known by this name, and no way to call it"):
        check_layer(loss_of_nothing)


def test_case_of_a_loss_stands_for_the_same_arrays_where_its_record_is_made_anew_from_its_name(opened):
    subject, found = opened(LOSSES["HingeLoss"])
    for case in generated_cases(subject.record, "float64", "ordinary", 5, seed=1):
        here = materialise(case, subject.record).everything()
        own_record.cache_clear()
        there = materialise(case, found.calling.applied_to(KNOWN[case.record])).everything()
        assert here.keys() == there.keys() == {"x", "t", "dout"}
        assert all(np.array_equal(here[name], there[name]) for name in here)


def test_targets_are_left_alone_where_rounding_is_looked_for(opened):
    subject, found = opened(LOSSES["HingeLoss"])
    (case,) = generated_cases(subject.record, "float64", "ordinary", 1, seed=1)
    given = materialise(case, found.spec)
    noise = shaken(subject, given.inputs, given.parameters, given.dout, seed=0)
    # Moved labels would raise, and nothing would be known of the rounding.
    assert noise.keys() == {"dx"}
    with pytest.raises(SubjectError):
        subject.open({}).forward({**given.inputs, "t": given.inputs["t"] * 1.0})


def test_a_gradient_that_comes_with_the_loss_is_asked_for_by_calling_again(capsys):
    """Whoever writes into one that he was given changes no other, and nothing of the kind is said."""
    assert main(["check", f"{SAMPLES / 'unknown_losses.py'}::svm_loss"]) == 0
    printed = capsys.readouterr().out
    assert "Verdict: right" in printed
    assert "earlier backward" not in printed
