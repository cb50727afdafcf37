"""Planted subjects: for every check at least one that fails it, each with one thing wrong.

A check that nothing can fail says nothing; `test_every_check_is_failed_by_a_planted_subject` finds it, and finds a
new check for which nobody has planted a subject.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest

import scratch
from oracle.judge.checks import CHECKS
from oracle.judge.examination import RUNS
from oracle.judge.verdict import FAULTS
from oracle.sources.autograd import is_available

# ----------------------------------------------------------------------------- layers with nothing wrong
# What is planted below differs from these in a line or two.


class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def rows(self, x):
        return x[None] if x.ndim == 1 else x.reshape(len(x), int(np.prod(x.shape[1:])))

    def forward(self, x):
        self.x = x.copy()
        y = self.rows(x) @ self.W + self.b
        return y[0] if x.ndim == 1 else y

    def backward(self, dout):
        dout = dout[None] if dout.ndim == 1 else dout
        self.dW = self.rows(self.x).T @ dout
        self.db = dout.sum(axis=0)
        return (dout @ self.W.T).reshape(self.x.shape)


class Sigmoid:
    """Without the cancellation in 1 − y: 1 − y is the sigmoid of −x."""

    def forward(self, x):
        self.x = np.array(x)
        return self.sigmoid(x)

    def backward(self, dout):
        return dout * self.sigmoid(self.x) * self.sigmoid(-self.x)

    def sigmoid(self, x):
        e = np.exp(np.where(x.real > 0, -x, x))
        return np.where(x.real > 0, 1, e) / (1 + e)


class Relu:
    def forward(self, x):
        self.mask = x.real <= 0
        return np.where(self.mask, 0, x)

    def backward(self, dout):
        return np.where(self.mask, 0, dout)


class Loss:
    """½ Σ (x − t)² / N."""

    def forward(self, x, t):
        self.difference = x - t
        self.rows = len(x) if x.ndim == 2 else 1
        return 0.5 * (self.difference**2).sum() / self.rows

    def backward(self, dout=1):
        return dout * self.difference / self.rows


# ----------------------------------------------------------------------------- it does not run


class ForwardWithoutReturn(Affine):
    def forward(self, x):
        super().forward(x)


# ----------------------------------------------------------------------------- values


class HalfPrecisionInSinglePrecision(Affine):
    def forward(self, x):
        y = super().forward(x)
        return y.astype(np.float16).astype(np.float32) if y.dtype == np.float32 else y


class PlusForMinusInTheExponent(Sigmoid):
    def forward(self, x):
        return super().forward(-x)

    def backward(self, dout):
        return -super().backward(dout)


class MissingOneOverN(Loss):
    def backward(self, dout=1):
        return dout * self.difference


class WrongSign(scratch.SigmoidWithLoss):
    def backward(self, dout=1):
        return -super().backward(dout)


class PowersOfTwo:
    """In its forward; its backward is that of neither function."""

    def forward(self, x):
        self.x = np.array(x)
        return 2**self.x

    def backward(self, dout):
        return dout * self.x


class SubtractsInsteadOfAdding(scratch.AddLayer):
    def forward(self, x, y):
        return super().forward(x, -y)

    def backward(self, dout):
        dx, dy = super().backward(dout)
        return dx, -dy


class TransposedWeightGradient(Affine):
    def backward(self, dout):
        dx = super().backward(dout)
        self.dW = self.dW.T
        return dx


class BackwardInSinglePrecision(Affine):
    def backward(self, dout):
        return super().backward(dout.astype(np.float32)).astype(dout.dtype)


class ClippedGradient(Sigmoid):
    def backward(self, dout):
        return np.clip(super().backward(dout), -0.1, 0.1)


class WeightDecayInTheGradient(Affine):
    def backward(self, dout):
        dx = super().backward(dout)
        self.dW = self.dW + 0.1 * self.W
        return dx


# ----------------------------------------------------------------------------- what belongs to the caller


class WritesIntoDout(Relu):
    def backward(self, dout):
        dout[self.mask] = 0
        return dout.copy()


class WritesIntoX(Relu):
    def forward(self, x):
        self.mask = x.real <= 0
        x[self.mask] = 0
        return x.copy()


class UpdatesTheBias(Affine):
    def backward(self, dout):
        dx = super().backward(dout)
        self.b -= 0.1 * self.db
        return dx


class GivesOutItsCache(Sigmoid):
    """The source material's: `out` is both returned and kept."""

    def forward(self, x):
        self.out = super().forward(x)
        return self.out

    def backward(self, dout):
        return dout * self.out * (1 - self.out)


class GivesDoutBack:
    """An add node without broadcasting: dx and dy are dout itself."""

    def forward(self, x, y):
        if x.shape != y.shape:
            raise ValueError("shapes differ")
        return x + y

    def backward(self, dout):
        return dout, dout


class WritesIntoOneBuffer(Sigmoid):
    buffer = np.empty(())

    def forward(self, x):
        y = super().forward(x)
        if self.buffer.shape != y.shape or self.buffer.dtype != y.dtype:
            self.buffer = np.empty_like(y)
        self.buffer[...] = y
        return self.buffer


# ----------------------------------------------------------------------------- state


class AccumulatesWeightGradients(Affine):
    dW = db = 0

    def backward(self, dout):
        before = self.dW, self.db
        dx = super().backward(dout)
        self.dW, self.db = before[0] + self.dW, before[1] + self.db
        return dx


class KeepsItsFirstInput(Affine):
    x = None

    def forward(self, x):
        kept = self.x
        y = super().forward(x)
        if kept is not None and kept.shape == x.shape:
            self.x = kept
        return y


class SharesItsCacheBetweenInstances(Sigmoid):
    cache: dict = {}  # noqa: RUF012 - that it belongs to the class is the fault

    def forward(self, x):
        self.cache["x"] = np.array(x)
        return self.sigmoid(x)

    def backward(self, dout):
        self.x = self.cache["x"]
        return super().backward(dout)


class AnswersBeforeItIsAsked(Sigmoid):
    x = np.zeros(())


# ----------------------------------------------------------------------------- dtype, shape, layout


class PromotesToDouble(Sigmoid):
    def forward(self, x):
        return super().forward(x.astype(np.result_type(x, np.float64)))


class BiasGradientAsARow(Affine):
    def backward(self, dout):
        dx = super().backward(dout)
        self.db = self.db[None]
        return dx


class ReadsMemoryInItsOwnOrder(Sigmoid):
    """What code does that is handed a pointer and takes the array for contiguous."""

    def forward(self, x):
        return super().forward(x.ravel(order="K").reshape(x.shape))


# ----------------------------------------------------------------------------- batches


def softmax_over_the_whole_batch(x):
    e = np.exp(x - x.max())
    return e / e.sum()


class BiasGradientOfTheFirstRow(Affine):
    def backward(self, dout):
        dx = super().backward(dout)
        self.db = dout[0] if dout.ndim == 2 and len(dout) else self.db
        return dx


class SumsOverTheBatch(Loss):
    def forward(self, x, t):
        loss = super().forward(x, t) * self.rows
        self.rows = 1
        return loss


class DividesASampleByItsFeatures(Loss):
    def forward(self, x, t):
        self.difference = x - t
        self.rows = len(x)
        return 0.5 * (self.difference**2).sum() / self.rows


# ----------------------------------------------------------------------------- losses


class CountsLabelsFromOne(scratch.SoftmaxWithLoss):
    def forward(self, x, t):
        if t.shape != x.shape:
            t = (t - 1) % x.shape[-1]
        return super().forward(x, t)


class TakesAColumnForRows(scratch.SoftmaxWithLoss):
    """Like y[np.arange(N), t], which takes the entries of every label from every row."""

    def forward(self, x, t):
        if t.ndim == x.ndim == 2 and t.shape != x.shape:
            return np.sum([super(TakesAColumnForRows, self).forward(x, np.full(len(x), k[0])) for k in t])
        return super().forward(x, t)


class OnlyTheTargetHasAGradient(scratch.SoftmaxWithLoss):
    def forward(self, x, t):
        self.at_target = t if t.shape == x.shape else np.arange(x.shape[-1]) == t[..., None]
        return super().forward(x, t)

    def backward(self, dout=1):
        return super().backward(dout) * (self.at_target != 0)


def softmax_divided_by_the_maximum(x):
    return scratch.softmax(x / x.max(axis=-1, keepdims=True))


def softmax_that_overflows(x):
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


class LogarithmOfZero:
    """A textbook softmax whose logarithm is taken afterwards: −inf where y has underflowed to 0."""

    def forward(self, x, t):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        self.y, self.t = e / e.sum(axis=-1, keepdims=True), t
        self.rows = len(x) if x.ndim == 2 else 1
        return -np.sum(t * np.log(self.y)) / self.rows

    def backward(self, dout=1):
        return dout * (self.y - self.t) / self.rows


# ----------------------------------------------------------------------------- kinks


class PassesAtZero(Relu):
    """The derivative at 0 is 1; PyTorch has 0 there."""

    def forward(self, x):
        self.mask = x.real < 0
        return np.where(self.mask, 0, x)


# ----------------------------------------------------------------------------- networks


class ReplacesParameters:
    """A dictionary in front of a network: assigning to it leaves the network's arrays as they are."""

    def __init__(self, sizes, dtype):
        self.net = scratch.TwoLayerNet(*sizes, dtype=dtype)
        self.params = dict(self.net.params)

    def __getattr__(self, name):
        return getattr(self.net, name)


class OneSidedDifferences(scratch.TwoLayerNet):
    """(f(x + h) − f(x))/h with a large step, in its numerical_gradient."""

    def __init__(self, sizes, dtype):
        super().__init__(*sizes, dtype=dtype)

    def numerical_gradient(self, x, t):
        before = self.loss(x, t)
        gradients = {}
        for name, values in self.params.items():
            gradients[name] = np.empty(values.shape)
            for index in np.ndindex(values.shape):
                kept = values[index]
                values[index] = kept + 0.1
                gradients[name][index] = (self.loss(x, t) - before) / 0.1
                values[index] = kept
        return gradients


class ForgetsTheFirstFeature(scratch.TwoLayerNet):
    def __init__(self, sizes, dtype):
        super().__init__(*sizes, dtype=dtype)

    def gradient(self, x, t):
        gradients = super().gradient(x, t)
        gradients["W1"][0] = 0
        return gradients


# ----------------------------------------------------------------------------- the table


@dataclass
class Planted:
    """`alone` is the verdict without PyTorch, if it is another; None where the check needs it."""

    factory: object
    record: str
    check: str
    verdict: str
    says: str = ""
    alone: str | None = ""
    dtype: str = "float64"
    drawn: dict = field(default_factory=dict)

    @property
    def id(self):
        return f"{self.check}-{self.factory.__name__}"


PLANTED = [
    Planted(ForwardWithoutReturn, "Affine", "runs", "could not run", "y is None; an array is required"),
    # values
    Planted(
        HalfPrecisionInSinglePrecision,
        "Affine",
        "forward_matches_numerical",
        "precision lost",
        "y[",
        dtype="float32",
    ),
    Planted(PlusForMinusInTheExponent, "Sigmoid", "forward_matches_autograd", "forward wrong", "y[", alone=None),
    Planted(MissingOneOverN, "IdentityWithLoss", "backward_matches_numerical", "backward wrong", "dx["),
    Planted(WrongSign, "SigmoidWithLoss", "backward_matches_autograd", "backward wrong", "dx[", alone=None),
    Planted(PowersOfTwo, "ExpLayer", "backward_matches_autograd", "both wrong", "dx", alone=None),
    Planted(SubtractsInsteadOfAdding, "AddLayer", "numerical_matches_autograd", "forward wrong", "out", alone=None),
    Planted(
        TransposedWeightGradient,
        "Affine",
        "backward_matches_numerical",
        "backward wrong",
        "dW: has shape (",
    ),
    Planted(BackwardInSinglePrecision, "Affine", "backward_matches_numerical", "precision lost", "dW["),
    Planted(ClippedGradient, "Sigmoid", "backward_is_linear_in_dout", "backward wrong", "not linear in dout"),
    Planted(
        WeightDecayInTheGradient,
        "Affine",
        "zero_dout_gives_zero",
        "backward wrong",
        "dW is not 0 for dout = 0",
    ),
    # what belongs to the caller
    Planted(WritesIntoDout, "Relu", "dout_is_not_modified", "hazard", "backward writes into dout"),
    Planted(WritesIntoX, "Relu", "inputs_are_not_modified", "hazard", "forward writes into x"),
    Planted(UpdatesTheBias, "Affine", "parameters_are_not_modified", "hazard", "backward writes into b"),
    Planted(
        GivesOutItsCache,
        "Sigmoid",
        "results_own_their_memory",
        "right",
        "after the output of forward was overwritten",
        drawn={"scale": 0.25},  # its y·(1 − y) loses digits beyond
    ),
    Planted(
        GivesDoutBack,
        "AddLayer",
        "results_own_their_memory",
        "right",
        "dx of backward shares memory with dout",
        drawn={"corners": ["scalars"]},
    ),
    Planted(
        WritesIntoOneBuffer,
        "Sigmoid",
        "earlier_results_stay",
        "hazard",
        "y handed out earlier is overwritten by the next call",
    ),
    # state
    Planted(
        AccumulatesWeightGradients,
        "Affine",
        "backward_is_repeatable",
        "hazard",
        "backprop called a second time",
    ),
    Planted(KeepsItsFirstInput, "Affine", "newest_forward_wins", "hazard", "backprop after another forward"),
    Planted(
        SharesItsCacheBetweenInstances,
        "Sigmoid",
        "instances_are_independent",
        "hazard",
        "while another instance is in use",
    ),
    Planted(
        AnswersBeforeItIsAsked,
        "Sigmoid",
        "backward_before_forward_is_refused",
        "right",
        "answers instead of raising",
    ),
    # dtype, shape, layout
    Planted(
        PromotesToDouble,
        "Sigmoid",
        "dtype_is_kept",
        "right",
        "y is float64 for float32 arguments",
        dtype="float32",
    ),
    Planted(BiasGradientAsARow, "Affine", "shape_is_kept", "backward wrong", "db has shape (1, "),
    Planted(
        ReadsMemoryInItsOwnOrder,
        "Sigmoid",
        "layout_does_not_matter",
        # Its forward moves entries to other places, and its backward does not.
        "both wrong",
        "of contiguous copies instead of Fortran arrays",
        drawn={"count": 12},  # a third of them have two dimensions or more and Fortran order
    ),
    # batches
    Planted(
        softmax_over_the_whole_batch,
        "softmax",
        "batch_rows_are_independent",
        "forward wrong",
        "backprop of row 0 alone",
    ),
    Planted(
        BiasGradientOfTheFirstRow,
        "Affine",
        "batch_order_does_not_matter",
        "backward wrong",
        "of the rows in another order",
    ),
    Planted(
        SumsOverTheBatch,
        "IdentityWithLoss",
        "loss_is_an_average_over_the_batch",
        "forward wrong",
        "of the batch followed by itself",
    ),
    Planted(
        DividesASampleByItsFeatures,
        "IdentityWithLoss",
        "single_sample_equals_batch_of_one",
        "forward wrong",
        "of the same sample as a batch of one",
    ),
    # losses
    Planted(
        CountsLabelsFromOne,
        "SoftmaxWithLoss",
        "one_hot_equals_label_index",
        "forward wrong",
        "of one-hot targets instead of labels",
        drawn={"targets": "labels"},
    ),
    Planted(
        TakesAColumnForRows,
        "SoftmaxWithLoss",
        "column_labels_are_refused",
        "hazard",
        "labels of shape (N, 1) are taken for something else",
        drawn={"targets": "labels"},
    ),
    Planted(
        OnlyTheTargetHasAGradient,
        "SoftmaxWithLoss",
        "gradient_rows_sum_to_zero",
        "backward wrong",
        "a row of dx does not sum to 0",
    ),
    Planted(
        softmax_divided_by_the_maximum,
        "softmax",
        "constant_added_to_scores_changes_nothing",
        "forward wrong",
        "backprop of scores + 64",
    ),
    Planted(
        softmax_that_overflows,
        "softmax",
        "extreme_values_are_finite",
        "hazard",
        "y is not finite for inputs of ±1e4",
    ),
    Planted(
        LogarithmOfZero,
        "SoftmaxWithLoss",
        "extreme_values_are_finite",
        "hazard",
        "loss is not finite for inputs of ±1e4",
        drawn={"targets": "one-hot", "scale": 0.25},
    ),
    # kinks, networks
    Planted(
        ForgetsTheFirstFeature,
        "TwoLayerNet",
        "certificate_holds",
        "backward wrong",
        'grads["W1"][0, ',
    ),
    Planted(
        PassesAtZero,
        "Relu",
        "kink_convention_is_that_of_pytorch",
        "right",
        "dx at a kink follows another convention than PyTorch",
        alone=None,
    ),
    Planted(
        ReplacesParameters,
        "TwoLayerNet",
        "assigned_parameters_are_used",
        "hazard",
        "assigning to params[...] trains nothing",
    ),
    Planted(
        OneSidedDifferences,
        "TwoLayerNet",
        "own_numerical_gradient_agrees",
        "backward wrong",
        'numerical_gradient of grads["W1"] is off by',
    ),
]


def test_every_check_is_failed_by_a_planted_subject():
    assert {planted.check for planted in PLANTED} == {*CHECKS, RUNS}


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.id)
def test_planted_subject_is_caught(planted, examine_planted):
    if planted.alone is None and not is_available():
        pytest.skip("PyTorch is not installed, and this check compares with its twin")
    found = examine_planted(planted.record, planted.factory, planted.dtype, **planted.drawn)
    sentences = [finding.sentence for finding in found.findings if finding.check == planted.check]
    assert any(planted.says in sentence for sentence in sentences), found.findings
    assert found.verdict == (planted.verdict if is_available() else planted.alone or planted.verdict)
    assert found.tallies[planted.check].failed > 0


def test_subject_that_refuses_every_case_is_not_right(examine_planted):
    """Refusing a corner is a note; but where nothing ran, nothing was compared, and nothing is known to be right."""

    class RefusesEverything(Affine):
        def forward(self, x):
            raise NotImplementedError("some day")

    assert examine_planted("Affine", RefusesEverything, corners=["tensor shape"]).verdict == "could not run"


@pytest.mark.parametrize("name", ["Sigmoid", "ReciprocalLayer"])
@pytest.mark.parametrize("check", ["newest_forward_wins", "instances_are_independent"])
def test_state_is_seen_where_the_derivative_is_even(name, check, examine_planted):
    """The derivatives at x and at −x are the same there: what is tried in between must differ by more than a sign."""
    implementation = getattr(scratch, name)
    shared = {"newest_forward_wins": {}, "instances_are_independent": {}}[check]

    class Stale:
        def __init__(self):
            self.cache = shared if check == "instances_are_independent" else {}

        def forward(self, x):
            keeps = check == "newest_forward_wins" and self.cache.get("x", np.empty(())).shape == x.shape
            self.cache["x"] = self.cache["x"] if keeps and "x" in self.cache else np.array(x)
            return implementation().forward(x)

        def backward(self, dout):
            layer = implementation()
            layer.forward(self.cache["x"])
            return layer.backward(dout)

    found = examine_planted(name, Stale, corners=["ordinary"])
    assert check in found.failing_checks()
    assert found.verdict == "hazard"


@pytest.mark.parametrize(
    ("record", "factory"),
    [("Affine", Affine), ("Sigmoid", Sigmoid), ("Relu", Relu), ("IdentityWithLoss", Loss)],
    ids=["Affine", "Sigmoid", "Relu", "Loss"],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_the_subjects_are_planted_in_is_right(record, factory, dtype, examine_planted):
    assert examine_planted(record, factory, dtype).verdict == "right"


# ----------------------------------------------------------------------------- the judge itself stays up


class Odd(Affine):
    """An Affine whose forward and backward are altered by functions."""

    def __init__(self, W, b, of_y=np.asarray, of_dx=np.asarray, of_dW=np.asarray):
        super().__init__(W, b)
        self.of_y, self.of_dx, self.of_dW = of_y, of_dx, of_dW

    def forward(self, x):
        return self.of_y(super().forward(x))

    def backward(self, dout):
        dx = super().backward(dout)
        self.dW = self.of_dW(self.dW)
        return self.of_dx(dx)


ODDITIES = {
    "None": lambda values: None,
    "a word": lambda values: "gradient",
    "a list of rows too short": lambda values: values.tolist()[:-1],
    "a tuple": lambda values: (values, values, values),
    "a scalar": lambda values: 0.0,
    "transposed": lambda values: values.T,
    "one axis more": lambda values: values[..., None],
    "one axis more in front": lambda values: values[None],
    "the mean": lambda values: values.mean(axis=-1) if values.size else values,
    "nothing": lambda values: values[:0],
    "NaN": lambda values: values * np.nan,
    "booleans": lambda values: values > 0,
    "objects": lambda values: values.astype(object),
}


@pytest.mark.parametrize("of", ["of_y", "of_dx", "of_dW"])
@pytest.mark.parametrize("oddity", ODDITIES)
def test_nothing_that_a_layer_returns_brings_the_judge_down(of, oddity, examine_planted):
    """Whatever comes back, the subject gets a verdict, and one that says that something is wrong."""

    def factory(W, b):
        return Odd(W, b, **{of: ODDITIES[oddity]})

    found = examine_planted("Affine", factory, count=2, corners=["ordinary", "batch of 1"])
    assert found.verdict in FAULTS


@pytest.mark.parametrize("of", ["loss", "dx"])
@pytest.mark.parametrize("oddity", ["None", "a word", "one axis more", "NaN"])
def test_nothing_that_a_loss_returns_brings_the_judge_down(of, oddity, examine_planted):
    alter = ODDITIES[oddity]

    class OddLoss(Loss):
        def forward(self, x, t):
            loss = np.asarray(super().forward(x, t))
            return alter(loss) if of == "loss" else loss

        def backward(self, dout=1):
            dx = super().backward(dout)
            return alter(dx) if of == "dx" else dx

    found = examine_planted("IdentityWithLoss", OddLoss, count=2, corners=["ordinary", "single sample"])
    assert found.verdict in FAULTS


def test_loss_of_each_sample_gets_a_verdict(examine_planted):
    """Not averaged: an output of shape (N,) where a scalar is required."""

    class LossOfEachSample(Loss):
        def forward(self, x, t):
            super().forward(x, t)
            return 0.5 * (self.difference**2).sum(axis=-1)

    assert examine_planted("IdentityWithLoss", LossOfEachSample, count=2).verdict in FAULTS
