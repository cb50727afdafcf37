"""Every fault of the source material that is a layer, a loss or a network: the verdict, and the check that saw it.

Each is typed as a reader of the book would type it, with nothing else wrong. All cases of a subject are
examined, every corner included, as those of a foreign subject (`required=False`), unless a row says otherwise.

Two things keep a row to the fault that it is about:

- `scale`: inputs of moderate size. The textbook's y·(1 − y) and y − t lose digits where y is near 1, which is a
  finding of its own (`precision lost`).
- `targets`: the form of target that the fault concerns.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest

import scratch
from oracle.catalog.records import RECORDS
from oracle.judge.examination import examine
from oracle.subjects.in_process import InProcessSubject

# ----------------------------------------------------------------------------- what a reader types: functions


def softmax(x):
    shifted = x - np.max(x, axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return exponentials / np.sum(exponentials, axis=-1, keepdims=True)


def log_softmax(x):
    shifted = x - np.max(x, axis=-1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


def as_one_hot(t, like):
    """Labels as rows; targets that have a column for every class as they are; anything else is refused."""
    if t.ndim not in (like.ndim - 1, like.ndim) or (t.ndim == like.ndim and t.shape != like.shape):
        raise ValueError(f"targets of shape {t.shape}")
    return t if t.shape == like.shape else (np.arange(like.shape[-1]) == t[..., None]) * 1.0


def count_rows(x):
    return x.shape[0] if x.ndim == 2 else 1


def softmax_without_maximum(x):
    return np.exp(x) / np.sum(np.exp(x), axis=-1, keepdims=True)


def cross_entropy_with_a_small_number(y, t):
    return -np.sum(as_one_hot(t, y) * np.log(y + 1e-7)) / count_rows(y)


# ----------------------------------------------------------------------------- what a reader types: layers


class SigmoidThatForgetsOut:
    def forward(self, x):
        out = 1 / (1 + np.exp(-x))
        return out

    def backward(self, dout):
        return dout * (1.0 - self.out) * self.out


class SigmoidThatOverflows:
    def forward(self, x):
        self.out = 1 / (1 + np.exp(-x))
        return self.out.copy()

    def backward(self, dout):
        return dout * (1.0 - self.out) * self.out


class ReluThatWritesIntoDout:
    def forward(self, x):
        self.mask = x <= 0
        out = x.copy()
        out[self.mask] = 0
        return out

    def backward(self, dout):
        dout[self.mask] = 0
        dx = dout
        return dx


class AffineWithoutFlattening:
    def __init__(self, W, b):
        self.W = W
        self.b = b

    def forward(self, x):
        self.x = x
        return np.dot(x, self.W) + self.b

    def backward(self, dout):
        dx = np.dot(dout, self.W.T)
        self.dW = np.dot(self.x.T, dout)
        self.db = np.sum(dout, axis=0)
        return dx


b = 0.5  # left over from an earlier cell of the notebook


class AffineWithTheGlobalB(AffineWithoutFlattening):
    def forward(self, x):
        self.x = x
        return np.dot(x, self.W) + b


class AffineWithAnUnknownB(AffineWithoutFlattening):
    def forward(self, x):
        self.x = x
        return np.dot(x, self.W) + bias  # noqa: F821 - the name that is not there is the fault


# ----------------------------------------------------------------------------- what a reader types: losses


class SoftmaxWithLossThatIgnoresDout:
    def forward(self, x, t):
        self.y = softmax(x)
        self.t = as_one_hot(t, x)
        return -np.sum(self.t * log_softmax(x)) / count_rows(x)

    def backward(self, dout=1):
        return (self.y * np.sum(self.t, axis=-1, keepdims=True) - self.t) / count_rows(self.y)


class SoftmaxWithLossThatAddsASmallNumber(SoftmaxWithLossThatIgnoresDout):
    def forward(self, x, t):
        self.y = softmax(x)
        self.t = as_one_hot(t, x)
        return cross_entropy_with_a_small_number(self.y, t)

    def backward(self, dout=1):
        return dout * super().backward()


class SoftmaxWithLossForOneHotOnly:
    def forward(self, x, t):
        self.t = t
        self.y = softmax(x)
        return -np.sum(t * log_softmax(x)) / x.shape[0]

    def backward(self, dout=1):
        return dout * (self.y - self.t) / self.t.shape[0]


class SoftmaxWithLossThatCountsEntries:
    """One-hot where t has as many entries as y, labels otherwise."""

    def forward(self, x, t):
        self.t = t
        self.y = softmax(x)
        log_y = log_softmax(x)
        if t.size == x.size:
            return -np.sum(t * log_y) / x.shape[0]
        return -np.sum(log_y[np.arange(x.shape[0]), t]) / x.shape[0]

    def backward(self, dout=1):
        if self.t.size == self.y.size:
            return dout * (self.y - self.t) / self.y.shape[0]
        dx = self.y.copy()
        dx[np.arange(dx.shape[0]), self.t] -= 1
        return dout * dx / dx.shape[0]


# ----------------------------------------------------------------------------- what a reader types: networks


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Net:
    """A reader's network with one hidden layer of Sigmoid; nothing is wrong with it.

    Its layers are made anew from `params` at every call, so that assigning to `params` does what it should.
    """

    def __init__(self, sizes, dtype):
        fan_in, hidden, fan_out = sizes
        self.params = {
            "W1": np.zeros((fan_in, hidden), dtype),
            "b1": np.zeros(hidden, dtype),
            "W2": np.zeros((hidden, fan_out), dtype),
            "b2": np.zeros(fan_out, dtype),
        }

    def rows(self, x):
        return x.reshape(1, -1) if x.ndim == 1 else x.reshape(x.shape[0], -1)

    def hidden(self, x):
        return sigmoid(np.dot(self.rows(x), self.params["W1"]) + self.params["b1"])

    def predict(self, x):
        y = sigmoid(np.dot(self.hidden(x), self.params["W2"]) + self.params["b2"])
        return y[0] if x.ndim == 1 else y

    def loss(self, x, t):
        return np.sum((self.predict(x) - t) ** 2) / 2 / count_rows(self.rows(x))

    def accuracy(self, x, t):
        y = self.predict(x)
        return np.mean(np.argmax(y, axis=-1) == np.argmax(t, axis=-1))

    def gradient(self, x, t):
        rows, z, y = self.rows(x), self.hidden(x), self.predict(x)
        delta = ((y - t) * y * (1 - y)).reshape(len(rows), -1) / len(rows)
        back = np.dot(delta, self.params["W2"].T) * z * (1 - z)
        return {
            "W1": np.dot(rows.T, back),
            "b1": np.sum(back, axis=0),
            "W2": np.dot(z.T, delta),
            "b2": np.sum(delta, axis=0),
        }

    def numerical_gradient(self, x, t):
        def loss_with(name, index, step):
            moved = {key: np.array(value, np.float64) for key, value in self.params.items()}
            moved[name][index] += step
            kept, self.params = self.params, moved
            loss = self.loss(x, t)
            self.params = kept
            return loss

        h = 1e-4
        return {
            name: np.array(
                [
                    (loss_with(name, index, h) - loss_with(name, index, -h)) / (2 * h)
                    for index in np.ndindex(values.shape)
                ]
            ).reshape(values.shape)
            for name, values in self.params.items()
        }


class NetForRealNumbersOnly(Net):
    """Not a fault: a reader knows nothing of the complex step."""

    def __init__(self, sizes, dtype):
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype is {dtype}")
        super().__init__(sizes, dtype)


class NetThatReportsAnotherLoss(Net):
    """It descends ½ Σ (y − t)² and reports the binary cross-entropy."""

    def loss(self, x, t):
        y = self.predict(x)
        return -np.sum(t * np.log(y) + (1 - t) * np.log(1 - y)) / count_rows(self.rows(x))


class NetThatPredictsOneClassForTheBatch(Net):
    """`predict` is meant to give the class of each sample."""

    def scores(self, x):
        return Net.predict(self, x)

    def predict(self, x):
        return np.argmax(self.scores(x))

    def loss(self, x, t):
        return np.sum((self.scores(x) - t) ** 2) / 2 / count_rows(self.rows(x))

    def accuracy(self, x, t):
        return np.mean(self.predict(x) == np.argmax(t, axis=-1))

    def gradient(self, x, t):
        proper = Net((1, 1, 1), float)
        proper.params = self.params
        return proper.gradient(x, t)


class NetThatCountsOneHitForTheBatch(Net):
    def accuracy(self, x, t):
        y = self.predict(x)
        return np.mean(np.argmax(y) == np.argmax(t))


class NetWithAccuracyInPercent(Net):
    def accuracy(self, x, t):
        return 100 * super().accuracy(x, t)


class NetThatDifferentiatesInItsOwnArrays(Net):
    """The source material's numerical gradient: x ± h is written into the parameters, whatever their dtype."""

    def numerical_gradient(self, x, t):
        return {name: numerical_gradient(lambda _: self.loss(x, t), values) for name, values in self.params.items()}


def numerical_gradient(f, x):
    h = 1e-4
    grad = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        kept = x[index]
        x[index] = kept + h
        ahead = f(x)
        x[index] = kept - h
        behind = f(x)
        grad[index] = (ahead - behind) / (2 * h)
        x[index] = kept
    return grad


class NetWithLayersThatKeepTheOldArrays(NetThatDifferentiatesInItsOwnArrays):
    """The layers took the arrays when the network was made, as Affine(self.params['W1'], …) does."""

    def __init__(self, sizes, dtype):
        super().__init__(sizes, dtype)
        self.layers = dict(self.params)

    def with_layers(self, call, *arguments):
        kept, self.params = self.params, self.layers
        result = call(self, *arguments)
        self.params = kept
        return result

    def predict(self, x):
        return self.with_layers(Net.predict, x)

    def gradient(self, x, t):
        return self.with_layers(Net.gradient, x, t)


# ----------------------------------------------------------------------------- the table


@dataclass
class Fault:
    """`alone` is the verdict where there is no PyTorch, if it is another: then forward cannot be judged."""

    id: str
    record: str
    factory: object
    verdict: str
    check: str
    says: str
    alone: str | None = None
    dtype: str = "float64"
    required: bool = False
    drawn: dict = field(default_factory=dict)


MODERATE = {"scale": 0.25}
SIGMOID_NETWORK = "MultiLayerNet sigmoid, squared error"

FAULTS = [
    Fault(
        "Sigmoid.forward does not store out",
        "Sigmoid",
        SigmoidThatForgetsOut,
        verdict="could not run",
        check="runs",
        says="backward raised AttributeError: 'SigmoidThatForgetsOut' object has no attribute 'out'",
    ),
    Fault(
        "Sigmoid overflows at -1e4",
        "Sigmoid",
        SigmoidThatOverflows,
        verdict="hazard",
        check="extreme_values_are_finite",
        says="overflow encountered in exp",
        drawn=MODERATE,
    ),
    Fault(
        "Relu.backward writes into dout",
        "Relu",
        ReluThatWritesIntoDout,
        verdict="hazard",
        check="dout_is_not_modified",
        says="backward writes into dout",
    ),
    Fault(
        "Affine adds a global b",
        "Affine",
        AffineWithTheGlobalB,
        verdict="forward wrong",
        check="forward_matches_autograd",
        says="y[",
        # Its own forward does not depend on b, so that db should be 0.
        alone="backward wrong",
    ),
    Fault(
        "Affine adds a b that is nowhere",
        "Affine",
        AffineWithAnUnknownB,
        verdict="could not run",
        check="runs",
        says="forward raised NameError: name 'bias' is not defined",
    ),
    Fault(
        "Affine does not flatten tensors, ours to survive",
        "Affine",
        AffineWithoutFlattening,
        verdict="could not run",
        check="runs",
        says="(tensor shape, ",
        required=True,
        drawn={"corners": ["ordinary", "tensor shape"]},
    ),
    Fault(
        "softmax does not subtract the maximum",
        "softmax",
        softmax_without_maximum,
        verdict="hazard",
        check="extreme_values_are_finite",
        says="overflow encountered in exp",
    ),
    Fault(
        "cross_entropy_error adds 1e-7 inside the logarithm",
        "cross_entropy_error",
        cross_entropy_with_a_small_number,
        verdict="forward wrong",
        check="forward_matches_autograd",
        says="loss = ",
        # A function with no backward, and no twin to hold its forward against: nothing to see.
        alone="right",
    ),
    Fault(
        "SoftmaxWithLoss adds 1e-7 inside the logarithm",
        "SoftmaxWithLoss",
        SoftmaxWithLossThatAddsASmallNumber,
        verdict="forward wrong",
        check="forward_matches_autograd",
        says="loss = ",
        alone="backward wrong",
        drawn=MODERATE,
    ),
    Fault(
        "SoftmaxWithLoss.backward ignores dout",
        "SoftmaxWithLoss",
        SoftmaxWithLossThatIgnoresDout,
        verdict="hazard",
        check="backward_is_linear_in_dout",
        says="backward ignores dout: the gradient is right only where dout is 1",
        drawn=MODERATE,
    ),
    Fault(
        "SoftmaxWithLoss for one-hot given labels, N = C",
        "SoftmaxWithLoss",
        SoftmaxWithLossForOneHotOnly,
        verdict="both wrong",
        check="forward_matches_autograd",
        says="loss = ",
        alone="backward wrong",
        drawn={**MODERATE, "targets": "labels", "corners": ["as many classes as rows"]},
    ),
    Fault(
        "SoftmaxWithLoss takes N labels of one class for one-hot",
        "SoftmaxWithLoss",
        SoftmaxWithLossThatCountsEntries,
        verdict="backward wrong",
        check="shape_is_kept",
        says="dx has shape (",
        drawn={**MODERATE, "targets": "labels", "corners": ["one class"]},
    ),
    Fault(
        "SoftmaxWithLoss takes labels of shape (N, 1)",
        "SoftmaxWithLoss",
        SoftmaxWithLossThatCountsEntries,
        verdict="hazard",
        check="column_labels_are_refused",
        says="labels of shape (N, 1) are taken for something else without a word",
        drawn={**MODERATE, "targets": "labels", "corners": ["ordinary"]},
    ),
    Fault(
        "network reports cross-entropy and descends a squared error",
        SIGMOID_NETWORK,
        NetThatReportsAnotherLoss,
        verdict="forward wrong",
        check="forward_matches_autograd",
        says="loss = ",
        alone="backward wrong",
    ),
    Fault(
        "network predicts one class for the whole batch",
        SIGMOID_NETWORK,
        NetThatPredictsOneClassForTheBatch,
        verdict="forward wrong",
        check="forward_matches_autograd",
        says="scores: has shape (), but should have shape (",
    ),
    Fault(
        "network counts one hit for the whole batch",
        SIGMOID_NETWORK,
        NetThatCountsOneHitForTheBatch,
        verdict="forward wrong",
        check="forward_matches_autograd",
        says="accuracy = ",
    ),
    Fault(
        "network gives accuracy in percent",
        SIGMOID_NETWORK,
        NetWithAccuracyInPercent,
        verdict="forward wrong",
        check="forward_matches_autograd",
        says="accuracy = ",
        alone="right",
    ),
    Fault(
        "network differentiates in its own float32 arrays",
        SIGMOID_NETWORK,
        NetThatDifferentiatesInItsOwnArrays,
        verdict="backward wrong",
        check="own_numerical_gradient_agrees",
        says="numerical_gradient of grads[",
        dtype="float32",
    ),
    Fault(
        "params['W1'] = new_array trains nothing",
        SIGMOID_NETWORK,
        NetWithLayersThatKeepTheOldArrays,
        verdict="hazard",
        check="assigned_parameters_are_used",
        says="assigning to params[...] trains nothing: the layers keep the old array",
    ),
]
each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)


def sentences(examination, check):
    return [finding.sentence for finding in examination.findings if finding.check == check]


@each_fault
def test_verdict_and_the_check_that_found_it(fault, examine_planted, needs_the_twin):
    found = examine_planted(fault.record, fault.factory, fault.dtype, required=fault.required, **fault.drawn)
    assert found.verdict == fault.verdict
    assert any(fault.says in sentence for sentence in sentences(found, fault.check))


@each_fault
def test_verdict_without_the_twin(fault, examine_planted):
    found = examine_planted(
        fault.record,
        fault.factory,
        fault.dtype,
        required=fault.required,
        with_autograd=False,
        **fault.drawn,
    )
    assert found.verdict == (fault.alone or fault.verdict)


@pytest.mark.parametrize(
    ("record", "factory", "drawn"),
    [
        pytest.param("Affine", AffineWithoutFlattening, {}, id="Affine"),
        pytest.param("Sigmoid", SigmoidThatOverflows, {"scale": 0.25, "corners": ["ordinary"]}, id="Sigmoid"),
        pytest.param(SIGMOID_NETWORK, Net, {}, id="network"),
        pytest.param(SIGMOID_NETWORK, NetForRealNumbersOnly, {}, id="network without complex numbers"),
    ],
)
def test_nothing_else_is_wrong_with_the_subjects(record, factory, drawn, examine_planted):
    """The frame around the faults is right: what the judge finds is the fault."""
    assert examine_planted(record, factory, **drawn).verdict == "right"


def test_network_is_differentiated_by_complex_step_where_it_takes_complex_numbers(examine_planted):
    assert set(examine_planted(SIGMOID_NETWORK, Net, count=1).methods) == {"complex step"}


def test_network_is_differentiated_by_central_differences_where_it_does_not(examine_planted):
    (method,) = examine_planted(SIGMOID_NETWORK, NetForRealNumbersOnly, count=1).methods
    assert method.startswith("extrapolated central difference; complex step: ")
    assert "dtype is complex128" in method


# ----------------------------------------------------------------------------- refused loudly: a note


def test_affine_that_refuses_tensors_is_right_with_a_note(examine_planted):
    """What it does not promise to do, and says so, is no fault of a foreign subject."""
    found = examine_planted("Affine", AffineWithoutFlattening, corners=["ordinary", "tensor shape"])
    assert found.verdict == "right"
    (note,) = {finding.sentence.partition(":")[0] for finding in found.findings}
    assert note == "refuses tensor shape"
    assert found.tallies["runs"].failed == 4  # every tensor, and nothing else


@pytest.mark.parametrize(
    ("forms", "verdict"),
    [
        pytest.param(["one-hot"], "right", id="one-hot alone"),
        # Labels unsupported loudly are a note; silently wrong (N = C, in the table above) they are a fault.
        pytest.param(["one-hot", "labels"], "right", id="labels beside one-hot"),
        pytest.param(["labels"], "could not run", id="labels alone, which it cannot take at all"),
    ],
)
def test_loss_that_refuses_labels(forms, verdict, draw_cases):
    """N differs from C in ordinary cases, so that labels do not broadcast against the scores."""
    subject = InProcessSubject(RECORDS["SoftmaxWithLoss"], SoftmaxWithLossForOneHotOnly)
    drawn = {"corners": ["ordinary"], "scale": 0.25}
    cases = [case for form in forms for case in draw_cases("SoftmaxWithLoss", targets=form, **drawn)]
    found = examine(subject, cases, dtype="float64")
    assert found.verdict == verdict
    assert {finding.case.targets for finding in found.findings} <= {"labels"}
    assert found.failing_checks() <= {"runs"}


# ----------------------------------------------------------------------------- the numerical gradient itself


def sum_of_squares(x):
    return np.sum(np.asarray(x, np.float64) ** 2)


def test_textbook_numerical_gradient_of_integers_is_nonsense_and_ours_is_not():
    """x ± h is rounded to x, and x − h to x − 1: the quotient says 1 / 2h times the difference of two values."""
    x = np.array([3, 4])
    assert np.abs(numerical_gradient(sum_of_squares, x) - 2 * x).max() > 1
    # A parabola has no third derivative; what is left is rounding, eps · f / h.
    np.testing.assert_allclose(scratch.numerical_gradient(sum_of_squares, x), 2 * x, rtol=1e-10)
    assert x.tolist() == [3, 4]


def test_textbook_numerical_gradient_of_float32_is_off_and_ours_is_not():
    """x ± h is rounded to a multiple of ulp(x): by 25 % of h where x is in the thousands."""
    x = np.array([1000.0, 2000.0], np.float32)
    off = np.abs(numerical_gradient(sum_of_squares, x.copy()) / (2 * x) - 1)
    assert off.max() > 0.05
    # eps · f / h, relative to f': 2.2e-16 · 5e6 / 1e-4 / 2000.
    np.testing.assert_allclose(scratch.numerical_gradient(sum_of_squares, x), 2 * x, rtol=1e-8)
