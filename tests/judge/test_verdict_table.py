"""The table of verdicts, row by row: for each example at least three subjects, the verdict, and the cause.

Most subjects are made by a rule: a correct layer of ``scratch`` with one thing spoilt. The rule is the same for every
layer, and the judge sees arrays only, so that a cause is never read off a name.
"""

import numpy as np
import pytest

import scratch
from oracle.catalog.records import RECORDS
from oracle.judge.causes import CAUSES
from oracle.judge.examination import AT_A_KINK
from oracle.judge.verdict import PRECEDENCE, VERDICTS

# ----------------------------------------------------------------------------- rules: a layer with one thing spoilt


def spoilt(name, **methods):
    """The layer of ``scratch`` for a record with some methods replaced: each gets the layer's own first."""
    base = getattr(scratch, RECORDS[name].class_name)

    def bound(method, own):
        return lambda self, *arguments: method(lambda *given: own(self, *given), self, *arguments)

    replaced = {key: bound(method, getattr(base, key)) for key, method in methods.items()}
    return type("Spoilt", (base,), replaced)


def writes_into_dout(name):
    def backward(own, self, dout):
        dx = own(dout.copy())
        dout *= 0.5
        return dx

    return spoilt(name, backward=backward)


def writes_into_x(name):
    def forward(own, self, x, *others):
        y = own(x.copy(), *others)
        x *= 0.5
        return y

    return spoilt(name, forward=forward)


def writes_into_parameter(parameter, factor):
    def backward(own, self, dout):
        dx = own(dout)
        getattr(self, parameter)[...] *= factor
        return dx

    return spoilt("Affine", backward=backward)


def keeps_the_first_forward(name):
    """Where the second has the shapes of the first."""

    def forward(own, self, *inputs):
        y = own(*inputs)
        if [np.shape(i) for i in inputs] == [np.shape(i) for i in getattr(self, "first", ())]:
            own(*self.first)
        else:
            self.first = tuple(np.array(i) for i in inputs)
        return y

    return spoilt(name, forward=forward)


def accumulates(name, parts=("dx",)):
    def backward(own, self, dout):
        dx = own(dout)
        if "dx" in parts:
            before = getattr(self, "before", None)
            dx = dx + before if before is not None and before.shape == dx.shape else dx
            self.before = dx.copy()
        for part in set(parts) - {"dx"}:
            total = getattr(self, part) + getattr(self, f"{part}_before", 0)
            setattr(self, part, total)
            setattr(self, f"{part}_before", total.copy())
        return dx

    def forward(own, self, *inputs):
        self.before = None
        for part in ("dW", "db"):
            setattr(self, f"{part}_before", 0)
        return own(*inputs)

    return spoilt(name, forward=forward, backward=backward)


def shares_its_state(name):
    newest = []

    def forward(own, self, *inputs):
        newest[:] = [self]
        return own(*inputs)

    base = spoilt(name, forward=forward)

    class Shares(base):
        def backward(self, dout=1):
            if newest and newest[0] is not self:
                return getattr(scratch, RECORDS[name].class_name).backward(newest[0], np.resize(dout, newest_shape()))
            return super().backward(dout)

    def newest_shape():
        return newest[0]._y_shape

    return Shares


def gives_out_one_buffer(name):
    def backward(own, self, dout):
        dx = own(dout)
        buffer = getattr(self, "buffer", None)
        if buffer is None or buffer.shape != dx.shape or buffer.dtype != dx.dtype:
            self.buffer = np.empty_like(dx)
        self.buffer[...] = dx
        return self.buffer

    return spoilt(name, backward=backward)


def ignores_dout(name):
    return spoilt(name, backward=lambda own, self, dout=1: own(np.ones_like(dout)))


def rounds_to(dtype, name, method="backward"):
    def rounded(own, self, *arguments):
        result = own(*arguments)
        return np.asarray(result).astype(dtype).astype(np.asarray(result).dtype)

    return spoilt(name, **{method: rounded})


def scaled(name, factor):
    """dx times a factor; called with the layer after forward."""
    return spoilt(name, backward=lambda own, self, *dout: own(*dout) * factor(self))


def raises(name, error, method="backward"):
    def raising(own, self, *arguments):
        raise error

    return spoilt(name, **{method: raising})


def misspelt(name, method, written):
    base = getattr(scratch, RECORDS[name].class_name)
    return lambda *parameters: _Misspelt(base(*parameters), method, written)


class _Misspelt:
    def __init__(self, layer, method, written):
        self.__dict__.update(layer=layer, method=method, written=written)

    def __getattr__(self, name):
        if name == self.method:
            raise AttributeError(f"'Layer' object has no attribute {name!r}")
        return getattr(self.layer, self.method if name == self.written else name)


def rows(layer):
    return layer._x_shape[0] if len(layer._x_shape) == 2 else 1


# ----------------------------------------------------------------------------- textbook layers


class TextbookSigmoid:
    sign = -1

    def forward(self, x):
        self.y = 1 / (1 + np.exp(self.sign * x))
        return self.y.copy()

    def backward(self, dout):
        return -self.sign * dout * self.y * (1 - self.y)


class ExpOfXForExpOfMinusX(TextbookSigmoid):
    sign = 1


class ExpOfXWithTheRightBackward(TextbookSigmoid):
    sign = 1

    def backward(self, dout):
        return dout * self.y * (1 - self.y)


class TanhForSigmoid:
    def forward(self, x):
        self.y = np.tanh(x)
        return self.y.copy()

    def backward(self, dout):
        return dout * (1 - self.y**2)


class TextbookSigmoidLoss:
    def forward(self, x, t):
        self.y, self.t, self.rows = 1 / (1 + np.exp(-x)), t, len(x) if x.ndim == 2 else 1
        return np.sum(np.logaddexp(0, x) - t * x) / self.rows

    def backward(self, dout=1):
        return dout * (self.y - self.t) / self.rows


class TextbookSoftmaxLoss:
    small = 0.0

    def forward(self, x, t):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        self.y, self.rows = e / e.sum(axis=-1, keepdims=True), len(x) if x.ndim == 2 else 1
        self.t = t if t.shape == x.shape else (np.arange(x.shape[-1]) == t[..., None]).astype(x.dtype)
        return -np.sum(self.t * np.log(self.y + self.small)) / self.rows

    def backward(self, dout=1):
        return dout * (self.y * self.t.sum(axis=-1, keepdims=True) - self.t) / self.rows


class AddsASmallNumber(TextbookSoftmaxLoss):
    small = 1e-7


class AddsALargerNumber(TextbookSoftmaxLoss):
    small = 1e-5


class AddsASmallNumberToASigmoidLoss(TextbookSigmoidLoss):
    def forward(self, x, t):
        super().forward(x, t)
        return -np.sum(t * np.log(self.y + 1e-7) + (1 - t) * np.log(1 - self.y + 1e-7)) / self.rows


class Overflows:
    def forward(self, x):
        with np.errstate(invalid="ignore"):
            self.y = np.where(x >= 0, 1 / (1 + np.exp(-x)), np.exp(x) / (1 + np.exp(x)))
        e = np.exp(-np.abs(x))
        self.slope = e / (1 + e) ** 2
        return self.y.copy()

    def backward(self, dout):
        return dout * self.slope


def softmax_without_the_maximum(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


class ReciprocalOfExp(Overflows):
    """1/(1 + exp(−x)) for the values, a stable form for the slope."""

    def forward(self, x):
        super().forward(x)
        return 1 / (1 + np.exp(-x))


class OnesAtZero(scratch.Relu):
    def backward(self, dout):
        dx = super().backward(dout)
        return np.where(self.at_zero, dout, dx)

    def forward(self, x):
        self.at_zero = np.asarray(x) == 0
        return super().forward(x)


class HalvesAtZero(OnesAtZero):
    def backward(self, dout):
        dx = super().backward(dout)
        return np.where(self.at_zero, dx / 2, dx)


class MinusAtZero(OnesAtZero):
    def backward(self, dout):
        dx = super().backward(dout)
        return np.where(self.at_zero, dx / 4, dx)


class SquareWithAnotherDerivative:
    """In forward a power of two, in backward that of neither."""

    def forward(self, x):
        self.x = np.array(x, np.result_type(x, np.float64) if np.asarray(x).dtype.kind == "i" else None)
        return 2**self.x

    def backward(self, dout):
        return dout * self.x


class Names:
    """A layer with a name in it that is not there."""

    def forward(self, x):
        self.x = x
        return 1 / (1 + nump.exp(-x))  # noqa: F821 - the name that is not there is the fault

    def backward(self, dout):
        return dout


class NamesInBackward(Names):
    def forward(self, x):
        return scratch.Relu().forward(x)

    def backward(self, dout):
        return dout * self.mask


class PytorchSigmoid:
    """PyTorch itself in the dock."""

    def forward(self, x):
        import torch

        self.x = torch.from_numpy(np.array(x, order="C", ndmin=0)).requires_grad_()
        self.y = torch.sigmoid(self.x)
        return self.y.detach().numpy().copy()

    def backward(self, dout):
        import torch

        upstream = torch.from_numpy(np.array(dout, order="C", ndmin=0))
        (dx,) = torch.autograd.grad(self.y, [self.x], upstream, retain_graph=True)
        return dx.numpy().copy()


# ----------------------------------------------------------------------------- the table

RIGHT_FOR_HARD = {"targets": "one-hot", "scale": 1.0}
SMALL = {"scale": 0.25}

#: verdict, example: the subjects (record, factory, how cases are drawn) and the cause that each is given.
EXAMPLES = {
    ("right", "all agree"): [
        ("Affine", scratch.Affine, {}, None),
        ("Sigmoid", scratch.Sigmoid, {}, None),
        ("SoftmaxWithLoss", scratch.SoftmaxWithLoss, {}, None),
    ],
    ("right", "another convention at a kink is a note"): [
        ("Relu", OnesAtZero, {}, "kink_convention"),
        ("Relu", HalvesAtZero, {}, "kink_convention"),
        ("Relu", MinusAtZero, {}, "kink_convention"),
    ],
    ("hazard", "writes into dout"): [
        (name, writes_into_dout(name), {}, "dout_overwritten") for name in ("Relu", "Sigmoid", "Affine")
    ],
    ("hazard", "writes into x"): [
        (name, writes_into_x(name), {}, "input_overwritten") for name in ("Relu", "Sigmoid", "ExpLayer")
    ],
    ("hazard", "writes into parameters"): [
        ("Affine", writes_into_parameter(parameter, factor), {}, "parameter_overwritten")
        for parameter, factor in (("W", 0.5), ("b", 2.0), ("W", -1.0))
    ],
    ("hazard", "keeps a stale cache"): [
        (name, keeps_the_first_forward(name), {}, "stale_cache") for name in ("Relu", "Sigmoid", "Affine")
    ],
    ("hazard", "accumulates over calls"): [
        ("Sigmoid", accumulates("Sigmoid"), {}, "accumulates_over_calls"),
        ("Affine", accumulates("Affine", ("dW",)), {}, "accumulates_over_calls"),
        ("Affine", accumulates("Affine", ("db",)), {}, "accumulates_over_calls"),
    ],
    ("hazard", "shares state between instances"): [
        (name, shares_its_state(name), {}, "state_shared_between_instances") for name in ("Relu", "Sigmoid", "ExpLayer")
    ],
    ("hazard", "overwrites a result given out earlier"): [
        (name, gives_out_one_buffer(name), {}, "earlier_result_overwritten") for name in ("Relu", "Sigmoid", "Affine")
    ],
    ("hazard", "a loss ignores dout"): [
        (name, ignores_dout(name), {}, "loss_ignores_dout")
        for name in ("SoftmaxWithLoss", "SigmoidWithLoss", "IdentityWithLoss")
    ],
    ("hazard", "overflows where the function is finite"): [
        ("Sigmoid", Overflows, {"corners": ["extreme values"]}, "overflows"),
        ("softmax", softmax_without_the_maximum, {}, "overflows"),
        ("Sigmoid", ReciprocalOfExp, {"corners": ["extreme values"]}, "overflows"),
    ],
    ("precision lost", "float32 inside"): [
        ("Sigmoid", rounds_to(np.float32, "Sigmoid"), {}, "single_precision_inside"),
        ("Affine", rounds_to(np.float32, "Affine"), {}, "single_precision_inside"),
        ("ExpLayer", rounds_to(np.float32, "ExpLayer"), SMALL, "single_precision_inside"),
        ("Affine", rounds_to(np.float32, "Affine", "forward"), {}, "single_precision_inside"),
    ],
    ("precision lost", "y (1 − y) near y = 1"): [
        ("Sigmoid", TextbookSigmoid, {"scale": 50.0}, "difference_of_nearly_equal_numbers"),
        (
            "SigmoidWithLoss",
            TextbookSigmoidLoss,
            {"scale": 50.0, "targets": "binary", "corners": ["ordinary"], "count": 12},
            "difference_of_nearly_equal_numbers",
        ),
        (
            "SoftmaxWithLoss",
            TextbookSoftmaxLoss,
            {"scale": 10.0, "targets": "one-hot", "corners": ["ordinary"], "count": 12},
            "difference_of_nearly_equal_numbers",
        ),
    ],
    ("backward wrong", "a missing 1/N"): [
        (name, scaled(name, rows), RIGHT_FOR_HARD | targets, "multiplied_by_batch_size")
        for name, targets in (
            ("SoftmaxWithLoss", {}),
            ("IdentityWithLoss", {"targets": None}),
            ("SigmoidWithLoss", {"targets": "binary"}),
        )
    ],
    ("backward wrong", "any layer but a loss that ignores dout"): [
        (name, ignores_dout(name), SMALL, "upstream_gradient_ignored") for name in ("Relu", "Sigmoid", "Affine")
    ],
    ("forward wrong", "exp(x) for exp(−x)"): [
        ("Sigmoid", ExpOfXForExpOfMinusX, SMALL, "wrong_sign_in_exponent"),
        ("Sigmoid", ExpOfXWithTheRightBackward, SMALL, "wrong_sign_in_exponent"),
        (
            "ExpLayer",
            spoilt("ExpLayer", forward=lambda own, self, x: own(-x), backward=lambda own, self, d: -own(d)),
            SMALL,
            "wrong_sign_in_exponent",
        ),
    ],
    ("forward wrong", "log(y + 1e-7)"): [
        ("SoftmaxWithLoss", AddsASmallNumber, SMALL, "loss_is_not_what_backward_differentiates"),
        ("SoftmaxWithLoss", AddsALargerNumber, SMALL, "loss_is_not_what_backward_differentiates"),
        ("SigmoidWithLoss", AddsASmallNumberToASigmoidLoss, SMALL, "loss_is_not_what_backward_differentiates"),
    ],
    ("both wrong", "forward and backward are each something else"): [
        ("ExpLayer", SquareWithAnotherDerivative, SMALL, None),
        (
            "Sigmoid",
            spoilt("Sigmoid", forward=lambda own, self, x: own(x) * 3, backward=lambda own, self, d: own(d) * 2),
            SMALL,
            "constant_factor",
        ),
        (
            "Affine",
            spoilt("Affine", forward=lambda own, self, x: own(x) + 1, backward=lambda own, self, d: own(d) / 2),
            SMALL,
            None,
        ),
    ],
    ("could not run", "a misspelt method"): [
        ("Sigmoid", misspelt("Sigmoid", "backward", "backword"), {}, "misspelt_method"),
        ("Relu", misspelt("Relu", "forward", "forwar"), {}, "misspelt_method"),
        ("Affine", misspelt("Affine", "backward", "backwards"), {}, "misspelt_method"),
    ],
    ("could not run", "a name that does not exist"): [
        ("Sigmoid", Names, {}, "undefined_name"),
        ("Relu", NamesInBackward, {}, "attribute_never_set"),
        ("Affine", raises("Affine", NameError("name 'b' is not defined"), "forward"), {}, "undefined_name"),
    ],
}

SUBJECTS = [
    pytest.param(verdict, *subject, id=f"{verdict}: {example} ({number})")
    for (verdict, example), subjects in EXAMPLES.items()
    for number, subject in enumerate(subjects, start=1)
]


@pytest.mark.parametrize(("verdict", "record", "factory", "drawn", "cause_id"), SUBJECTS)
def test_subject_gets_its_verdict_and_its_cause(
    verdict, record, factory, drawn, cause_id, examine_planted, needs_the_twin
):
    found = examine_planted(record, factory, **{"count": 6} | drawn)
    assert found.verdict == verdict, [(f.check, f.sentence) for f in found.decisive]
    decisive = found.decisive or [f for f in found.findings if f.cause_id == cause_id]
    if cause_id is not None:
        assert cause_id in {finding.cause_id for finding in decisive}, [(f.check, f.sentence) for f in decisive]
        assert any(finding.sentence for finding in decisive)


def test_every_example_has_three_subjects_and_every_verdict_an_example():
    assert all(len(subjects) >= 3 for subjects in EXAMPLES.values())
    assert {verdict for verdict, _ in EXAMPLES} == set(PRECEDENCE) == {row.word for row in VERDICTS}


def test_entries_at_a_kink_are_skipped_and_counted(examine_planted):
    for zero in ("Relu",):
        found = examine_planted(zero, scratch.Relu, corners=["exact zeros"], count=6)
        assert found.verdict == "right"
        assert found.skipped[AT_A_KINK] > 0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_pytorch_itself_loses_precision_where_y_is_near_1(dtype, examine_planted, needs_the_twin):
    """Sigmoid inputs near 40, PyTorch as the subject."""
    found = examine_planted("Sigmoid", PytorchSigmoid, dtype, scale=50.0, corners=["ordinary"], count=12)
    assert found.verdict == "precision lost"
    assert {f.cause_id for f in found.decisive} == {"difference_of_nearly_equal_numbers"}


def test_where_pytorch_is_the_one_that_is_off_it_is_said_and_is_no_fault_of_the_subject(
    examine_planted, needs_the_twin
):
    found = examine_planted("Sigmoid", scratch.Sigmoid, scale=50.0, corners=["ordinary"], count=6, required=True)
    assert found.verdict == "right"
    count, worst = found.autograd_off["dx"]
    assert 0 < count <= 6
    assert worst.pair == "autograd-truth"
    assert worst.error > 0


def test_every_cause_has_two_sentences():
    for cause_id, cause in CAUSES.items():
        assert cause_id == cause_id.lower()
        assert cause.what.endswith(".")
        assert cause.mend.endswith(".")


@pytest.mark.parametrize("name", ["A", "Totally_Different", "β"])
def test_diagnosis_does_not_depend_on_names(name, examine_planted, needs_the_twin):
    subject = type(name, (scaled("IdentityWithLoss", rows),), {})
    found = examine_planted("IdentityWithLoss", subject)
    assert {f.cause_id for f in found.decisive} == {"multiplied_by_batch_size"}


def test_error_below_that_of_a_difference_is_seen_by_the_twin(examine_planted, needs_the_twin):
    """With np.abs there is no complex step, and the numerical gradient is too coarse for an error of 2e-12."""

    class Sigmoid:
        def forward(self, x):
            e = np.exp(-np.abs(x))
            self.slope = e / (1 + e) ** 2
            return np.where(x >= 0, 1, e) / (1 + e)

        def backward(self, dout):
            return dout * self.slope * (1 + 2e-12)

    found = examine_planted("Sigmoid", Sigmoid, scale=1.0, corners=["ordinary"], count=12)
    assert found.verdict == "backward wrong"
