"""The bounds: small enough to notice, large enough for what rounding does, and for networks derived as chains."""

from dataclasses import replace

import numpy as np
import pytest

import scratch
from oracle.catalog.case import Arrays, Case, materialise
from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import real_data_case
from oracle.judge.bounds import LOCAL, gradient_weight, own_error_of_backprop, stack_errors
from oracle.judge.comparison import compare
from oracle.judge.examination import AT_A_KINK, examine
from oracle.judge.trial import Trial
from oracle.sources.numerical import numerical
from oracle.subjects.in_process import InProcessSubject, implementation_of

DTYPES = ("float64", "float32")
WITH_BACKWARD = [name for name, record in RECORDS.items() if record.has_backward]


class Altered:
    """A subject whose gradients pass through a function on their way out."""

    def __init__(self, subject, alter):
        self.subject, self.alter = subject, alter
        self.record, self.label = subject.record, subject.label

    def open(self, parameters):
        handle = self.subject.open(parameters)
        backward = handle.backward

        def altered(dout):
            reply = backward(dout)
            return replace(reply, values={name: self.alter(name, v) for name, v in reply.values.items()})

        handle.backward = altered
        return handle


# ----------------------------------------------------------------------------- small enough


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WITH_BACKWARD)
def test_rule_wrong_by_a_twentieth_of_a_percent_is_caught(name, dtype, draw_cases):
    """In every quantity by itself, in every ordinary case in which it is not 0 altogether."""
    subject = implementation_of(RECORDS[name])
    for case in draw_cases(name, dtype, corners=["ordinary"], count=3):
        trial = Trial(subject, case, with_autograd=False).run()
        for quantity in trial.gradients:
            right = trial.estimates["backprop"].values[quantity]
            wrong = right * right.dtype.type(1.0005)
            found = trial.compare(
                quantity, ("backprop", "numerical"), wrong, trial.estimates["numerical"].values[quantity]
            )
            # A gradient that underflows (a sigmoid far out) has no digits to be wrong in.
            small = 1e4 * np.finfo(dtype).smallest_normal
            assert not found.agrees or np.abs(right).max(initial=0) < small, (str(case), quantity)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WITH_BACKWARD)
def test_subject_wrong_by_a_twentieth_of_a_percent_is_backward_wrong(name, dtype, draw_cases):
    """The whole way: a subject, an examination, a verdict."""
    wrong = Altered(implementation_of(RECORDS[name]), lambda _, values: values * values.dtype.type(1.0005))
    # One case is ordinary, in moderate numbers: it must be enough.
    cases = draw_cases(name, dtype, corners=["ordinary"], count=1, scale=1.0)
    examination = examine(wrong, cases, dtype=dtype)
    assert examination.verdict == "backward wrong"
    assert "backward_matches_numerical" in examination.failing_checks()


@pytest.mark.parametrize("quantity", ["dx", "dW", "db"])
@pytest.mark.parametrize("relative", [1e-9, 1e-13])
def test_a_tiny_error_in_one_entry_of_an_affine_gradient_is_caught(quantity, relative, draw_cases):
    """Sums here have at most 7 terms: the bound is (7 + 8)·2⁻⁵² = 3e-15 of the sum of their sizes, for each side.

    An entry that cancels to a tenth of that sum has ten times that in relative terms.
    """

    def alter(name, values):
        altered = values.copy()
        if name == quantity:
            altered[np.unravel_index(np.argmax(np.abs(altered)), altered.shape)] *= 1 + relative
        return altered

    for case in draw_cases("Affine", corners=["ordinary"], count=5):
        wrong = Altered(implementation_of(RECORDS["Affine"]), alter)
        examination = examine(wrong, [case], dtype="float64")
        assert examination.verdict_on(quantity) == "backward wrong"
        others = {"dx", "dW", "db"} - {quantity}
        assert [examination.verdict_on(other) for other in others] == ["right", "right"]
        finding = next(f for f in examination.findings if f.check == "backward_matches_numerical")
        assert finding.comparison.wrong == 1
        assert finding.comparison.error == pytest.approx(relative * abs(finding.comparison.expected), rel=0.1)


def test_what_is_said_to_be_noticed_is_noticed(draw_cases):
    """`noticed`: an error of this size, relative to the largest entry, is caught in any entry."""
    (case,) = draw_cases("Affine", corners=["ordinary"], count=1)
    trial = Trial(implementation_of(RECORDS["Affine"]), case, with_autograd=False).run()
    expected = trial.estimates["numerical"].values["dW"]
    noticed = trial.compare("dW", ("backprop", "numerical"), expected, expected).noticed
    assert 0 < noticed < 1e-13
    for index in np.ndindex(expected.shape):
        wrong = expected.copy()
        wrong[index] += 1.01 * noticed * np.abs(expected).max()
        assert not trial.compare("dW", ("backprop", "numerical"), wrong, expected).agrees


# ----------------------------------------------------------------------------- large enough


@pytest.mark.parametrize("shape", [(3, 5, 4), (64, 300, 20), (200, 3, 50)], ids=str)
@pytest.mark.parametrize("order", ["as it comes", "backwards", "one after the other"])
def test_bound_of_affine_holds_for_any_order_of_summation(shape, order):
    """Float32 sums, added up in other orders than BLAS does: n·eps·Σ|terms| covers all of them."""
    N, D, M = shape
    rng = np.random.default_rng(0)
    x, dout = rng.normal(size=(N, D)).astype(np.float32), rng.normal(size=(N, M)).astype(np.float32)
    if order == "as it comes":
        dW = x.T @ dout
    elif order == "backwards":
        dW = np.ascontiguousarray(x[::-1].T) @ np.ascontiguousarray(dout[::-1])
    else:
        dW = np.zeros((D, M), np.float32)
        for row in range(N):
            dW += np.outer(x[row], dout[row])
    exact = x.T.astype(np.float64) @ dout.astype(np.float64)
    scale = np.abs(x).T.astype(np.float64) @ np.abs(dout)
    bound = own_error_of_backprop((N + 8) * scale, np.dtype(np.float32))
    case = Case("Affine", "float32", (("x", (N, D)), ("W", (D, M)), ("b", (M,)), ("dout", (N, M))))
    comparison = compare("dW", "backprop-exact", case, dW, exact, bound)
    assert 0 < comparison.margin < 1


@pytest.mark.parametrize("name", WITH_BACKWARD)
def test_correct_float32_layers_are_within_their_bounds(name, draw_cases):
    cases = draw_cases(name, "float32", corners=["ordinary"], count=8)
    examination = examine(implementation_of(RECORDS[name]), cases, dtype="float32")
    gradients = [c for c in examination.comparisons if c.quantity.startswith(("d", "grads"))]
    assert gradients
    assert max(comparison.margin for comparison in gradients) <= 1


# ----------------------------------------------------------------------------- networks

BOOK_NET = RECORDS["TwoLayerNet"]


def book_case(dtype, samples=3, seed=0):
    case = real_data_case(BOOK_NET, dtype, "random", samples, 784, (50,), seed)
    return case, materialise(case, BOOK_NET)


def torch_float32(arrays):
    """Loss, scores and gradients of the same network by PyTorch, in float32 throughout."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed, and its float32 is what is asked for")
    tensors = {
        name: torch.from_numpy(np.array(values)).requires_grad_(name in BOOK_NET.parameters)
        for name, values in {**arrays.inputs, **arrays.parameters}.items()
    }
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    hidden = torch.relu(tensors["x"] @ tensors["W1"] + tensors["b1"])
    scores = hidden @ tensors["W2"] + tensors["b2"]
    loss = torch.nn.functional.cross_entropy(scores, tensors["t"])
    loss.backward()
    gradients = {f'grads["{name}"]': tensors[name].grad.numpy() for name in BOOK_NET.parameters}
    return {"loss": loss.detach().numpy(), "scores": scores.detach().numpy(), **gradients}


def scratch_float32(arrays):
    net = scratch.TwoLayerNet(784, 50, 10, dtype=np.float32)
    net.params.update(arrays.parameters)
    x, t = arrays.inputs.values()
    gradients = {f'grads["{name}"]': values for name, values in net.gradient(x, t).items()}
    return {"loss": net.loss(x, t), "scores": net.predict(x), **gradients}


def exact(arrays):
    """The same in float64, on the very numbers."""
    as_double = Arrays(
        {name: values.astype(np.float64) for name, values in arrays.inputs.items()},
        {name: values.astype(np.float64) for name, values in arrays.parameters.items()},
        arrays.dout,
    )
    net = scratch.TwoLayerNet(784, 50, 10)
    net.params.update(as_double.parameters)
    x, t = as_double.inputs.values()
    gradients = {f'grads["{name}"]': values for name, values in net.gradient(x, t).items()}
    return {"loss": net.loss(x, t), "scores": net.predict(x), **gradients}


@pytest.mark.parametrize("implementation", [scratch_float32, torch_float32], ids=["scratch", "PyTorch"])
@pytest.mark.parametrize("samples", [3, 100])
def test_bound_of_a_network_contains_correct_float32(implementation, samples):
    """784-50-10, the source material's case. |J|ᵀ|dout| of the whole network, as for one layer, is exceeded
    up to 650 times.
    """
    margins = []
    for seed in range(5):
        case, arrays = book_case("float32", samples, seed)
        bounds, opened = stack_errors(BOOK_NET, arrays, float(np.finfo(np.float32).eps))
        results, expected = implementation(arrays), exact(arrays)
        for quantity, values in results.items():
            comparison = compare(quantity, "", case, values, expected[quantity], bounds[quantity], opened.get(quantity))
            assert comparison.entries > 0
            assert comparison.margin <= 1, (seed, str(comparison))
            margins.append(comparison.margin)
    # A bound that is never approached shows nothing. It adds up n = 784 roundings as if all had one sign, and
    # they add up to √n: a factor of 28 in each layer.
    assert max(margins) > 1e-4


@pytest.mark.parametrize(("dtype", "relative"), [("float64", 1e-9), ("float32", 0.1)])
def test_bound_of_a_network_of_mnist_size_notices(dtype, relative):
    """Two sums of 784 and 50 terms carry rounding on, all of it counted with one sign: 1e-2 in float32."""
    for seed in range(3):
        case, arrays = book_case(dtype, 3, seed)
        bounds, opened = stack_errors(BOOK_NET, arrays, float(np.finfo(dtype).eps))
        for quantity, right in exact(arrays).items():
            wrong = np.array(right)
            worst = np.unravel_index(np.argmax(np.abs(wrong)), wrong.shape)
            wrong[worst] *= 1 + relative
            comparison = compare(quantity, "", case, wrong, right, bounds[quantity], opened.get(quantity))
            assert comparison.index == worst
            assert comparison.wrong == 1, (seed, str(comparison))


def test_bounds_of_a_network_grow_with_eps():
    _, arrays = book_case("float64")
    single, _ = stack_errors(BOOK_NET, arrays, 2.0**-23)
    double, _ = stack_errors(BOOK_NET, arrays, 2.0**-52)
    for quantity in ("loss", "scores", 'grads["W1"]', 'grads["b1"]', 'grads["W2"]', 'grads["b2"]'):
        some = double[quantity] > 1e-30  # entries of dead units are 0 but for the floor
        np.testing.assert_allclose(single[quantity][some] / double[quantity][some], 2.0**29, rtol=0.01)


# ----------------------------------------------------------------------------- kinks

SMALL_NET = Case(
    "TwoLayerNet",
    "float64",
    (("x", (3, 4)), ("t", (3, 2)), ("W1", (4, 5)), ("b1", (5,)), ("W2", (5, 2)), ("b2", (2,)), ("dout", ())),
    targets="one-hot",
)


def with_a_unit_at_the_kink():
    """Hidden unit 2 has the pre-activation 0.1 + 0.2 − 0.3 in row 1: 0, or 5.6e-17, as the order has it."""
    arrays = materialise(SMALL_NET, BOOK_NET)
    arrays.inputs["x"][1] = [0.1, 0.2, 0.3, 0.0]
    arrays.parameters["W1"][:, 2] = [1.0, 1.0, -1.0, 1.0]
    arrays.parameters["b1"][2] = 0.0
    arrays.parameters["W2"][2] = [1.0, 2.0]
    return arrays


def test_entries_that_hang_on_a_kink_are_left_open_and_no_others():
    arrays = with_a_unit_at_the_kink()
    _, opened = stack_errors(BOOK_NET, arrays, float(np.finfo(np.float64).eps))
    # The weights into unit 2, from every input that is not 0 in row 1, and its bias.
    assert np.argwhere(opened['grads["W1"]']).tolist() == [[0, 2], [1, 2], [2, 2]]
    assert np.argwhere(opened['grads["b1"]']).tolist() == [[2]]
    # What comes after the kink sees an activation of 0 or nearly 0: continuous, within the bound.
    assert not opened['grads["W2"]'].any()
    assert not opened['grads["b2"]'].any()


def test_nothing_is_left_open_without_a_kink():
    arrays = materialise(SMALL_NET, BOOK_NET)
    _, opened = stack_errors(BOOK_NET, arrays, float(np.finfo(np.float64).eps))
    assert {quantity: int(mask.sum()) for quantity, mask in opened.items()} == dict.fromkeys(opened, 0)


class AffineFromTheLastFeature(scratch.Affine):
    """Adds the same products in the opposite order."""

    def forward(self, x):
        y = super().forward(x)
        rows = np.asarray(x).reshape(-1, len(self.W))
        total = np.zeros((len(rows), self.W.shape[1]), y.dtype)
        for k in reversed(range(len(self.W))):
            total = total + rows[:, [k]] * self.W[k]
        return (total + self.b).reshape(y.shape)


class TheOtherOrder(scratch.TwoLayerNet):
    """Right, but where sums cancel it may take the other branch."""

    def __init__(self, sizes, dtype):
        super().__init__(*sizes, dtype=dtype)
        self.layers["Affine1"].__class__ = AffineFromTheLastFeature


def test_kinks_of_a_network_are_counted_and_do_not_decide_the_verdict(draw_cases):
    """Inputs with one decimal: sums cancel to 0 in one order of summation and to 1e-17 in another."""
    record = RECORDS["TwoLayerNet"]
    cases = draw_cases("TwoLayerNet", corners=["one decimal"], count=80)
    ours = examine(implementation_of(record), cases, dtype="float64", required=True)
    other = examine(InProcessSubject(record, TheOtherOrder), cases, dtype="float64", required=True)
    assert ours.verdict == other.verdict == "right"
    assert ours.skipped[AT_A_KINK] == other.skipped[AT_A_KINK] > 0


@pytest.mark.parametrize("corner", ["exact zeros", "integer input", "one decimal"])
def test_kinks_of_relu_are_left_out_exactly_where_x_is_0(corner, draw_cases):
    """The complex step stays on its branch: nothing but 0 itself is at the kink."""
    record = RECORDS["Relu"]
    cases = draw_cases("Relu", corners=[corner], count=10)
    zeros = sum(int((materialise(case, record).inputs["x"] == 0).sum()) for case in cases)
    examination = examine(implementation_of(record), cases, dtype="float64", required=True)
    assert examination.skipped[AT_A_KINK] == zeros
    assert (zeros > 0) == (corner == "exact zeros")
    compared = [c for c in examination.comparisons if c.quantity == "dx" and c.pair == "backprop-numerical"]
    assert sum(c.left_out for c in compared) == zeros
    assert sum(c.entries for c in compared) > 0


def test_what_underflows_in_a_complex_step_is_not_taken_for_nothing():
    """exp(−704) times the step is no number any more, and the gradient of Sigmoid there is a normal one."""
    record = RECORDS["Sigmoid"]
    arrays = Arrays({"x": np.array([-704.0, 1.0])}, {}, np.array([1.5, 1.0]))
    derivative = numerical(implementation_of(record), arrays.inputs, {}, arrays.dout).derivatives["x"]
    assert derivative.jacobian[0, 0] == 0
    weight = gradient_weight(record, arrays, "x", derivative, arrays.dout)
    truth = 1.5 * np.exp(-704.0)
    assert own_error_of_backprop(weight, np.dtype(np.float64))[0] >= 2 * np.spacing(truth)
    # And where nothing underflows it is what it was: eps · (1 + LOCAL) · scale.
    assert weight[1] == pytest.approx((1 + LOCAL) * derivative.jacobian[1, 1], rel=1e-12)


def test_what_underflows_in_a_network_is_multiplied_on_its_way():
    """δ of 1e-45 loses half of its digits, and W2's gradient multiplies that by activations of a hundred."""
    axes = {"x": (2, 4), "t": (2, 6), "W1": (4, 3), "b1": (3,), "W2": (3, 6), "b2": (6,), "dout": ()}
    case = Case(
        "TwoLayerNet",
        "float32",
        tuple(axes.items()),
        corner="large values",
        layout="Fortran",
        targets="one-hot",
        seed=2104350387,
    )
    found = examine(implementation_of(RECORDS["TwoLayerNet"]), [case], dtype="float32", required=True)
    assert not found.findings
    assert max(comparison.margin for comparison in found.comparisons) > 0.01
