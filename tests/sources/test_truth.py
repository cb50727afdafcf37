"""Truth: known derivatives to many digits, precision that adapts, and kinks."""

import importlib.util
from contextlib import contextmanager
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from oracle.catalog.case import materialise
from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import corners_of, generated_cases
from oracle.sources import balls
from oracle.sources.autograd import autograd, is_available
from oracle.sources.balls import UndecidedError, UndefinedError, flint_balls, mpmath_balls
from oracle.sources.truth import PRECISIONS, NoTruthError, truth

ONE = np.ones(())
ARITHMETICS = [
    mpmath_balls,
    pytest.param(
        flint_balls,
        marks=pytest.mark.skipif(
            importlib.util.find_spec("flint") is None, reason="python-flint (the extra `precise`) is not installed"
        ),
    ),
]


def of(name, *, dout=ONE, arithmetic=mpmath_balls, only=None, **arrays):
    record = RECORDS[name]
    given = {argument: np.asarray(values) for argument, values in arrays.items()}
    parameters = {parameter: given.pop(parameter) for parameter in record.parameters}
    return truth(record, given, parameters, np.asarray(dout, float), arithmetic=arithmetic, only=only)


def exactly(found, quantity):
    """The first value of a quantity, with 106 bits."""
    value, rest = (np.asarray(part).reshape(-1)[0] for part in (found.estimate.values[quantity], found.rest[quantity]))
    return mpmath.mpf(float(value)) + mpmath.mpf(float(rest))


# ----------------------------------------------------------------------------- values


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("x", [0.0, 1.0, -3.5, 40.0, -700.0, 1e-300])
def test_sigmoid_is_the_formula_to_106_bits(x, arithmetic):
    found = of("Sigmoid", x=x, dout=1.0, arithmetic=arithmetic)
    with mpmath.workprec(2500):
        e = mpmath.exp(-mpmath.mpf(x))
        for quantity, expected in (("y", 1 / (1 + e)), ("dx", e / (1 + e) ** 2)):
            # Below the smallest normal number the second part has fewer digits.
            assert abs(exactly(found, quantity) - expected) <= 2.0**-104 * expected + mpmath.mpf(2) ** -1075


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_gradients_of_rational_layers_are_exact_fractions(arithmetic):
    x, W, b = [[0.1, -0.7]], [[0.3], [1e-3]], [5.0]
    found = of("Affine", x=x, W=W, b=b, dout=[[0.9]], arithmetic=arithmetic)
    exact = {
        "y": Fraction(0.1) * Fraction(0.3) + Fraction(-0.7) * Fraction(1e-3) + 5,
        "dx": Fraction(0.9) * Fraction(0.3),
        "dW": Fraction(0.9) * Fraction(0.1),
        "db": Fraction(0.9),
    }
    for quantity, expected in exact.items():
        value, rest = (
            float(np.asarray(p).reshape(-1)[0]) for p in (found.estimate.values[quantity], found.rest[quantity])
        )
        assert value == float(expected)
        assert abs(Fraction(value) + Fraction(rest) - expected) <= expected * Fraction(1, 2**104)


def test_gradient_of_a_softmax_loss_is_y_minus_t_over_n():
    x = np.log([[0.3, 0.2, 0.5], [0.3, 0.2, 0.5]])
    found = of("SoftmaxWithLoss", x=x, t=[1, 2])
    expected = np.array([[0.3, -0.8, 0.5], [0.3, 0.2, -0.5]]) / 2
    assert found.estimate.values["dx"] == pytest.approx(expected, rel=1e-14)


@pytest.mark.skipif(not is_available(), reason="PyTorch is not installed")
@pytest.mark.parametrize("name", RECORDS)
def test_truth_is_what_autograd_is_near(name):
    """On inputs of moderate size, where PyTorch has digits: a definition is not something else than the twin."""
    record = RECORDS[name]
    for case in generated_cases(record, "float64", "ordinary", 6, seed=1):
        arrays = materialise(case, record)
        found = truth(record, arrays.inputs, arrays.parameters, arrays.dout).estimate.values
        theirs = autograd(record, arrays.inputs, arrays.parameters, arrays.dout).values
        # Only the twin has what is no quantity of ours, or has no derivative.
        assert set(theirs) - set(found) <= {"accuracy", 'grads["x"]'}
        for quantity, values in found.items():
            # A scale of 50 leaves PyTorch's softmax gradients with an error of one eps of 1.
            largest = max(float(np.abs(values).max(initial=0.0)), 1.0)
            assert np.abs(values - theirs[quantity]).max(initial=0.0) <= 1e-12 * largest, (str(case), quantity)


@pytest.mark.parametrize("name", RECORDS)
def test_both_arithmetics_agree_to_80_bits(name):
    pytest.importorskip("flint", reason="python-flint (the extra `precise`) is not installed")
    record = RECORDS[name]
    for corner in corners_of(record, "float64"):
        for case in generated_cases(record, "float64", corner, 2, seed=2):
            arrays = materialise(case, record)
            one, other = (
                truth(record, arrays.inputs, arrays.parameters, arrays.dout, arithmetic=arithmetic)
                for arithmetic in (mpmath_balls, flint_balls)
            )
            for quantity, value in one.estimate.values.items():
                difference = (value - other.estimate.values[quantity]) + (one.rest[quantity] - other.rest[quantity])
                assert np.all(np.abs(difference) <= 2.0**-80 * np.abs(value) + 5e-324), (str(case), quantity)


# ----------------------------------------------------------------------------- precision


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize(("apart", "more_than"), [(1.0, 0), (139.0, 200), (346.0, 400), (700.0, 800)])
def test_precision_follows_from_how_far_scores_are_apart(apart, more_than, arithmetic):
    """y − t = −e^(−apart) is 0 in 200 bits from 139 on, and in 400 bits as well from 278 on: two zeros that agree."""
    found = of("SoftmaxWithLoss", x=[apart, 0.0], t=0, arithmetic=arithmetic)
    with mpmath.workprec(3000):
        e = mpmath.exp(-mpmath.mpf(apart))
        assert abs(exactly(found, "dx") + e / (1 + e)) <= 2.0**-104 * e + mpmath.mpf(2) ** -1075
        assert abs(exactly(found, "loss") - mpmath.log1p(e)) <= 2.0**-104 * e + mpmath.mpf(2) ** -1075
    assert found.bits > more_than


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_what_is_below_the_smallest_float64_is_0(arithmetic):
    found = of("SoftmaxWithLoss", x=[1e4, -1e4], t=0, arithmetic=arithmetic)
    assert found.estimate.values["dx"].tolist() == [0.0, 0.0]
    assert found.bits in PRECISIONS


def test_error_in_ulp_is_measured_from_the_truth_and_not_from_its_rounding():
    found = of("ReciprocalLayer", x=3.0, dout=1.0)
    third = 1 / 3  # the float64 nearest to 1/3 is a third of an ulp below it
    expected = float((Fraction(1, 3) - Fraction(third)) / Fraction(np.spacing(third)))
    assert found.error_in_ulp("y", np.asarray(third)) == pytest.approx(expected, rel=1e-12)
    assert found.error_in_ulp("y", np.asarray(np.nextafter(third, 1))) == pytest.approx(1 - expected, rel=1e-12)
    assert found.error_in_ulp("y", np.asarray(np.float32(third)), "float32") < 0.5
    assert found.error_in_ulp("y", np.asarray(np.nan)) == np.inf


def test_global_precision_of_mpmath_is_left_alone():
    before = mpmath.mp.prec
    of("Sigmoid", x=[1.0, 2.0], dout=[1.0, 1.0])
    assert mpmath.mp.prec == before


# ----------------------------------------------------------------------------- kinks, and where there is no truth


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_at_0_relu_has_the_derivative_0(arithmetic):
    found = of("Relu", x=[0.0, -0.0, 1.0, -1.0], dout=[5.0, 5.0, 5.0, 5.0], arithmetic=arithmetic)
    assert found.estimate.values["dx"].tolist() == [0.0, 0.0, 5.0, 0.0]


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_ball_that_contains_0_is_undecided(arithmetic):
    with arithmetic(200) as numbers:
        third = numbers.number(1.0) / numbers.number(3.0)
        nearly_nothing = third * numbers.number(3.0) - numbers.number(1.0)
        with pytest.raises(UndecidedError):
            numbers.is_positive(nearly_nothing)
        assert numbers.is_positive(third)
        assert not numbers.is_positive(-third)
        assert not numbers.is_positive(numbers.number(0.0))


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_pre_activation_that_is_exactly_0_is_known_to_be_0(arithmetic):
    record = RECORDS["TwoLayerNet"]
    parameters = {"W1": [[1.0, 2.0], [-1.0, 1.0]], "b1": [0.0, 0.1], "W2": [[1.0, -1.0], [2.0, 0.5]], "b2": [0.0, 0.0]}
    found = truth(
        record,
        {"x": np.array([[0.1, 0.1]]), "t": np.array([0])},
        {name: np.array(values) for name, values in parameters.items()},
        ONE,
        arithmetic=arithmetic,
    )
    assert found.estimate.values['grads["W1"]'][:, 0].tolist() == [0.0, 0.0]
    assert np.all(found.estimate.values['grads["W1"]'][:, 1] != 0)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_definition_without_a_value_is_refused_with_the_reason(arithmetic):
    with pytest.raises(NoTruthError, match=r"^ReciprocalLayer: (the definition has no|2400 bits)"):
        of("ReciprocalLayer", x=[1.0, 0.0], dout=[1.0, 1.0], arithmetic=arithmetic)


def test_argument_that_is_not_finite_is_refused_by_name():
    with pytest.raises(NoTruthError, match=r"^Sigmoid: x has entries that are not finite"):
        of("Sigmoid", x=[1.0, np.inf], dout=[1.0, 1.0])


def test_logarithm_of_0_is_undefined():
    with mpmath_balls(200) as numbers, pytest.raises(UndefinedError):
        numbers.number(0.0).log()


# ----------------------------------------------------------------------------- a few entries of many


def test_only_some_entries_are_those_of_all():
    record = RECORDS["TwoLayerNet"]
    (case,) = list(generated_cases(record, "float64", "ordinary", 1, seed=3))
    arrays = materialise(case, record)
    all_of_them = truth(record, arrays.inputs, arrays.parameters, arrays.dout).estimate.values
    mask = np.zeros(arrays.parameters["W1"].shape, bool)
    mask[1, 0] = mask[0, 1] = True
    some = truth(record, arrays.inputs, arrays.parameters, arrays.dout, only={"W1": mask}).estimate.values
    assert set(some) == {"loss", "scores", 'grads["W1"]'}
    assert np.array_equal(some['grads["W1"]'][mask], all_of_them['grads["W1"]'][mask])
    assert np.isnan(some['grads["W1"]'][~mask]).all()


# ----------------------------------------------------------------------------- radii


OPERATIONS = {
    "+": lambda a, b, exp, log: a + b,
    "-": lambda a, b, exp, log: a - b,
    "*": lambda a, b, exp, log: a * b,
    "/": lambda a, b, exp, log: a / b,
    "exp": lambda a, b, exp, log: exp(a),
    "log": lambda a, b, exp, log: log(a),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_radius_holds_what_an_operation_is_off_by(operation):
    """Arguments are known to 2⁻⁶⁰ here, and the exact result for them is known to 600 bits."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = (float(value) for value in np.exp(rng.normal(size=2) * 3))
        with mpmath_balls(64) as numbers, mpmath.workprec(600):
            one, other = numbers.number(a), numbers.number(b)
            shift = [mpmath.mpf(2) ** -60 * rng.uniform(-1, 1) for _ in range(2)]
            one.radius = other.radius = -60.0
            x, y = mpmath.mpf(a) + shift[0], mpmath.mpf(b) + shift[1]
            calculate = OPERATIONS[operation]
            result = calculate(one, other, lambda n: n.exp(), lambda n: n.log())
            exact = calculate(x, y, mpmath.exp, mpmath.log)
            error = abs(mpmath.mpf(numbers.to_mpf(result)) - exact)
            # To first order, so with a hundredth to spare.
            assert error <= 1.01 * mpmath.mpf(2) ** result.radius


def test_exact_sums_and_products_have_no_radius():
    with mpmath_balls(200) as numbers:
        a, b = numbers.number(0.1), numbers.number(0.3)
        assert (a * b).radius == (a + b).radius == (a * b - b * a).radius == balls.EXACT
        assert (a / b).radius > balls.EXACT


def test_value_beyond_float64_is_infinite_and_nothing_is_left_of_it():
    found = of("ExpLayer", x=1000.0, dout=1.0)
    assert found.estimate.values["y"] == np.inf
    assert found.rest["y"] == 0


# ----------------------------------------------------------------------------- what takes more digits


def hidden_of_a_net(x, weights, arithmetic):
    """The gradient of the weights of the first of two hidden units; the other one is at work whatever x is."""
    parameters = {
        "W1": np.array([[weight, 0.0] for weight in weights]),
        "b1": np.array([0.0, 1.0]),
        "W2": np.array([[1.0, 0.0], [0.5, 1.0]]),
        "b2": np.zeros(2),
    }
    return truth(
        RECORDS["TwoLayerNet"], {"x": np.array([x]), "t": np.array([0])}, parameters, ONE, arithmetic=arithmetic
    )


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_sign_that_200_bits_do_not_show_is_found_with_more(arithmetic):
    """1e100 + 1e-100 − 1e100 > 0: 665 bits lie between the two sizes."""
    found = hidden_of_a_net([1e100, 1e-100, 1e100], [1.0, 1.0, -1.0], arithmetic)
    assert found.bits >= 800
    assert np.all(found.estimate.values['grads["W1"]'][:, 0] != 0)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_sign_that_no_precision_shows_leaves_no_truth(arithmetic):
    """Of 1e300² and 1e-300²: 3,986 bits lie between the two sizes, and the last precision has 2,400."""
    with pytest.raises(NoTruthError, match="TwoLayerNet: 2400 bits do not settle the value"):
        hidden_of_a_net([1e300, 1e-300, 1e300], [1e300, 1e-300, -1e300], arithmetic)


def test_value_that_two_precisions_do_not_agree_on_is_asked_for_once_more():
    """Of an arithmetic that takes itself for more accurate than it is."""
    asked = []

    @contextmanager
    def boasts(bits):
        asked.append(bits)
        with mpmath_balls(60 if len(asked) == 1 else bits) as numbers:
            numbers.is_accurate = lambda number: True
            yield numbers

    found = of("Sigmoid", x=[0.3], dout=[1.0], arithmetic=boasts)
    assert asked == list(PRECISIONS[:3])
    assert found.estimate.values["dx"] == of("Sigmoid", x=[0.3], dout=[1.0]).estimate.values["dx"]
