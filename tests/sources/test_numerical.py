"""Numerical differentiation: exact where the complex step can be trusted, and honest about its error where not."""

import math
import warnings

import numpy as np
import pytest

from oracle.catalog.own import own_record
from oracle.catalog.records import RECORDS
from oracle.sources.numerical import (
    AT_ONCE,
    Differentiated,
    _best,
    _distrust,
    _Function,
    _is_kinked,
    double,
    extrapolated_difference,
    numerical,
    power_of_two_below,
)
from oracle.subjects.in_process import InProcessSubject
from oracle.subjects.interface import SubjectError

EPS = np.finfo(np.float64).eps
COMPLEX_STEP = "complex step"


class Elementwise:
    """A layer made of a function; numerical differentiation never calls backward."""

    def __init__(self, function):
        self.forward = function


def differentiate(function, x, dout=None, record="Sigmoid", **options) -> Differentiated:
    """d Σ dout·function(x) / dx; `Sigmoid` is the record of a layer from x to y of any shape."""
    subject = InProcessSubject(RECORDS[record], lambda: Elementwise(function))
    x = np.asarray(x)
    dout = np.ones(x.shape) if dout is None else dout
    return numerical(subject, {"x": x}, {}, dout, **options)


def method_of(answer):
    return answer.estimate.notes["dx"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.where(x.real > 0, x, 0)


# ----------------------------------------------------------------------------- the complex step

KNOWN = [
    pytest.param(np.exp, np.exp, id="exp"),
    pytest.param(np.sin, np.cos, id="sin"),
    pytest.param(lambda x: 1 / x, lambda x: -1 / x**2, id="1/x"),
    pytest.param(lambda x: x**3, lambda x: 3 * x**2, id="x**3"),
    pytest.param(np.tanh, lambda x: 1 / np.cosh(x) ** 2, id="tanh"),
    pytest.param(lambda x: np.log(x**2 + 1), lambda x: 2 * x / (x**2 + 1), id="log(x**2 + 1)"),
    pytest.param(lambda x: np.sqrt(x**2), np.sign, id="sqrt(x**2)"),
    pytest.param(relu, lambda x: (x > 0) * 1.0, id="relu"),
    pytest.param(lambda x: 0 * x + 7, lambda x: 0 * x, id="a constant"),
]
POINTS = np.array([-3.0, -1.1, -0.3, -1e-3, 1e-3, 0.4, 1.7, 2.9])


@pytest.mark.parametrize(("function", "derivative"), KNOWN)
def test_complex_step_is_exact_to_a_few_ulp(function, derivative):
    """Every function here takes at most six roundings, and so does its formula."""
    answer = differentiate(function, POINTS)
    assert method_of(answer) == COMPLEX_STEP
    assert "dx" not in answer.estimate.own_error
    np.testing.assert_allclose(answer.estimate.values["dx"], derivative(POINTS), rtol=8 * EPS, atol=0)


@pytest.mark.parametrize("size", [1e-100, 1e-8, 1.0, 1e8, 1e150])
def test_complex_step_is_relative_to_the_entry(size):
    """A step of one size for all would be all there is of 1e-100, or nothing beside 1e150."""
    answer = differentiate(lambda x: x * x, np.array([size, -size]))
    assert method_of(answer) == COMPLEX_STEP
    np.testing.assert_allclose(answer.estimate.values["dx"], [2 * size, -2 * size], rtol=2 * EPS)


def test_upstream_gradient_weights_the_outputs():
    x, dout = np.array([[0.5, -1.0], [2.0, 0.1]]), np.array([[1.0, -2.0], [0.0, 3.0]])
    answer = differentiate(np.sin, x, dout)
    np.testing.assert_allclose(answer.estimate.values["dx"], dout * np.cos(x), rtol=4 * EPS)


def test_jacobian_has_a_row_for_each_input_and_a_column_for_each_output():
    answer = differentiate(lambda x: np.cumsum(x**2), np.array([1.0, 2.0, 3.0]))
    expected = [[2, 2, 2], [0, 4, 4], [0, 0, 6]]
    np.testing.assert_allclose(answer.derivatives["x"].jacobian, expected, rtol=4 * EPS)


def test_outputs_are_those_of_the_real_point():
    x = np.array([0.25, -2.0])
    np.testing.assert_array_equal(differentiate(np.exp, x).estimate.values["y"], np.exp(x))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (2, 1, 3)], ids=str)
def test_every_shape_is_differentiated(shape):
    x = np.linspace(0.5, 1.5, math.prod(shape)).reshape(shape)
    answer = differentiate(np.exp, x)
    assert answer.estimate.values["dx"].shape == shape
    assert answer.derivatives["x"].jacobian.shape == (x.size, x.size)
    np.testing.assert_allclose(answer.estimate.values["dx"], np.exp(x), rtol=4 * EPS)


def test_parameters_are_differentiated_too():
    """Of x W + b with x (2, 3), W (3, 4), b (4,), by all three."""
    rng = np.random.default_rng(0)
    x, W, b, dout = (rng.normal(size=shape) for shape in ((2, 3), (3, 4), (4,), (2, 4)))

    class Affine:
        def __init__(self, W, b):
            self.W, self.b = W, b

        def forward(self, x):
            return x @ self.W + self.b

    subject = InProcessSubject(RECORDS["Affine"], Affine)
    values = numerical(subject, {"x": x}, {"W": W, "b": b}, dout).estimate.values
    # Sums of up to 4 terms, not all of one sign: relative to the sum of their sizes.
    np.testing.assert_allclose(values["dx"], dout @ W.T, atol=8 * EPS * (np.abs(dout) @ np.abs(W.T)).max())
    np.testing.assert_allclose(values["dW"], x.T @ dout, atol=8 * EPS * (np.abs(x.T) @ np.abs(dout)).max())
    np.testing.assert_allclose(values["db"], dout.sum(axis=0), atol=8 * EPS * np.abs(dout).sum())


# ----------------------------------------------------------------------------- where it cannot be trusted


def into_a_float_array(x):
    y = np.zeros(x.shape)
    y[...] = np.exp(x)
    return y


def into_a_float_array_by_index(x):
    y = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        y[index] = np.tanh(x[index])
    return y


def sigmoid_of_the_absolute_value(x):
    e = np.exp(-np.abs(x))
    return np.where(x.real >= 0, 1, e) / (1 + e)


NOT_ANALYTIC = [
    pytest.param(lambda x: np.exp(-np.abs(x)), lambda x: -np.sign(x) * np.exp(-np.abs(x)), id="abs"),
    pytest.param(lambda x: np.abs(x) * x, lambda x: 2 * np.abs(x), id="abs as a factor"),
    pytest.param(sigmoid_of_the_absolute_value, lambda x: sigmoid(x) * sigmoid(-x), id="sigmoid with abs"),
    pytest.param(lambda x: np.exp(x.astype(float)), np.exp, id="astype(float)"),
    pytest.param(into_a_float_array, np.exp, id="a float array"),
    pytest.param(into_a_float_array_by_index, lambda x: 1 / np.cosh(x) ** 2, id="a float array by index"),
    pytest.param(lambda x: np.sin(x.real), np.cos, id="x.real"),
    pytest.param(lambda x: np.sin(x).real, np.cos, id="a real output"),
    pytest.param(lambda x: (x * np.conj(x)).real, lambda x: 2 * x, id="conj"),
    pytest.param(lambda x: x * x.real, lambda x: 2 * x, id="half of the derivative lost"),
    pytest.param(lambda x: np.array([math.sin(v) for v in x]), np.cos, id="math.sin"),
]


@pytest.mark.parametrize(("function", "derivative"), NOT_ANALYTIC)
def test_complex_step_is_distrusted_and_the_difference_is_right_within_its_own_error(function, derivative):
    answer = differentiate(function, POINTS)
    assert method_of(answer).startswith("extrapolated central difference; complex step: ")
    error = np.abs(answer.estimate.values["dx"] - derivative(POINTS))
    own = answer.estimate.own_error["dx"]
    assert (error <= own).all(), (error, own)
    # 1e-3 from the kink of abs a step of 2⁻²⁶ is the largest that stays on one side.
    assert (own < 1e-5).all()


def test_distrust_says_why():
    """The reason is part of the report."""
    start = "extrapolated central difference; complex step: "
    real = method_of(differentiate(lambda x: np.sin(x.real), POINTS))
    assert real == start + "forward returned real numbers for complex ones"
    half = method_of(differentiate(lambda x: np.where(np.arange(8) == 3, x * x.real, x), POINTS))
    assert half.startswith(start + "along a random direction output 3 changes by ")
    assert "Complex" in method_of(differentiate(into_a_float_array, POINTS))


def test_one_entry_that_is_not_analytic_among_many_is_enough():
    def function(x):
        y = np.exp(x)
        y[3] = y[3].real
        return y

    assert method_of(differentiate(function, POINTS)).startswith("extrapolated central difference")
    np.testing.assert_allclose(differentiate(function, POINTS).estimate.values["dx"], np.exp(POINTS), rtol=1e-8)


@pytest.mark.parametrize("x", [300.0, -300.0, 40.0], ids=str)
def test_flat_functions_do_not_pass_for_analytic(x):
    """A sigmoid at 300 has the derivative 0 either way: there, losing the imaginary part would go unnoticed."""
    point = np.array([x, x / 2])
    assert method_of(differentiate(lambda v: sigmoid(v.real) + 0j, point)) != COMPLEX_STEP
    assert method_of(differentiate(sigmoid, np.abs(point))) == COMPLEX_STEP


def test_forward_that_refuses_complex_numbers_is_differentiated_by_differences():
    def function(x):
        if x.dtype.kind == "c":
            raise TypeError("real numbers, please")
        return np.exp(x)

    answer = differentiate(function, POINTS)
    assert "real numbers, please" in method_of(answer)
    np.testing.assert_array_less(np.abs(answer.estimate.values["dx"] - np.exp(POINTS)), answer.estimate.own_error["dx"])


def test_forward_that_always_raises_is_an_error():
    def function(x):
        raise ZeroDivisionError("never works")

    with pytest.raises(SubjectError, match=r"forward raised ZeroDivisionError: never works"):
        differentiate(function, POINTS)


def test_forward_that_gives_out_one_buffer_is_differentiated_all_the_same():
    """Two evaluations give the same array twice: the first must be copied before the second."""
    buffers = {}

    def function(x):
        buffer = buffers.setdefault(x.dtype, np.empty(x.shape, x.dtype))
        buffer[...] = np.exp(x)
        return buffer

    np.testing.assert_allclose(differentiate(function, POINTS).estimate.values["dx"], np.exp(POINTS), rtol=1e-8)


# ----------------------------------------------------------------------------- the extrapolated difference


@pytest.mark.parametrize(
    ("function", "derivative", "points"),
    [
        pytest.param(np.exp, np.exp, np.linspace(-20, 5, 26), id="exp"),
        pytest.param(np.sin, np.cos, np.linspace(-7, 7, 29), id="sin"),
        pytest.param(lambda x: 1 / x, lambda x: -1 / x**2, np.array([0.05, 0.1, 0.3, 1, 5, 100]), id="1/x"),
        pytest.param(lambda x: x**3, lambda x: 3 * x**2, np.linspace(-2, 2, 9), id="x**3"),
        pytest.param(
            lambda x: np.tanh(100 * x), lambda x: 100 / np.cosh(100 * x) ** 2, np.linspace(-0.05, 0.05, 11), id="a step"
        ),
        pytest.param(lambda x: np.exp(30 * x), lambda x: 30 * np.exp(30 * x), np.linspace(-1, 1, 9), id="exp(30 x)"),
        pytest.param(lambda x: 1e6 + np.sin(x), np.cos, np.linspace(0, 3, 7), id="a large constant"),
        pytest.param(np.abs, np.sign, np.array([-0.5, -1e-2, 1e-2, 3]), id="abs"),
        pytest.param(
            lambda x: np.log(1 + x**2), lambda x: 2 * x / (1 + x**2), np.array([1e-4, 1e-3, 0.1]), id="log(1 + x**2)"
        ),
        pytest.param(
            lambda x: np.float32(np.sin(x)).astype(float),
            np.cos,
            np.linspace(0, 3, 7),
            id="float32 inside",
            marks=pytest.mark.xfail(reason="two rows of the table agree by chance where the function is noisy"),
        ),
    ],
)
def test_error_estimate_of_the_difference_is_honest(function, derivative, points):
    """The error is never above the estimate, whatever the function: smooth, steep, kinked or noisy."""
    slope, estimate = extrapolated_difference(lambda step: function(points + step))
    error = np.abs(slope - derivative(points))
    # points ± step is rounded: by eps·|x|, divided by the smallest step, 2⁻¹².
    moved = EPS * np.abs(points) * 2**12 * np.abs(derivative(points))
    assert (error <= estimate + moved).all(), (error, estimate)


@pytest.mark.parametrize("function", [np.exp, np.sin, sigmoid, np.tanh], ids=["exp", "sin", "sigmoid", "tanh"])
def test_error_estimate_of_the_difference_is_small_where_the_function_is_smooth(function):
    """An estimate that is large everywhere is honest and useless: 64 eps / 2⁻¹², and twice the values."""
    points = np.linspace(-2, 2, 9)
    _, estimate = extrapolated_difference(lambda step: function(points + step))
    assert (estimate < 64 * EPS * 2**13 * np.maximum(np.abs(function(points)), 1) * 8).all()


def test_smaller_size_takes_smaller_steps():
    """1/x at 1e-3 changes altogether within 2⁻⁶."""
    taken = []

    def along(step):
        taken.append(abs(step))
        return np.array([1 / (1e-3 + step)])

    slope, estimate = extrapolated_difference(along, 2.0**-10)
    assert max(taken) == 2.0**-16
    assert abs(slope[0] + 1e6) <= estimate[0]
    assert estimate[0] < 1.0


# ----------------------------------------------------------------------------- the caller's arrays


@pytest.mark.parametrize("function", [np.exp, np.abs], ids=["complex step", "central difference"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool"])
def test_arrays_of_the_caller_are_untouched_whatever_their_dtype(function, dtype):
    x = np.array([1, 0, 1, 1]).astype(dtype)
    x.flags.writeable = False
    before, seen = x.copy(), []

    def spy(values):
        seen.append(np.shares_memory(values, x))
        return function(values + 0.25)

    differentiate(spy, x)
    np.testing.assert_array_equal(x, before)
    assert x.dtype == dtype
    assert seen
    assert not any(seen)


@pytest.mark.parametrize("part", ["complex step", "real part alone"])
def test_forward_that_writes_into_x_spoils_neither_the_point_nor_the_derivative(part):
    """It is given a copy at every evaluation, so that the next one is not at another point."""
    x = np.array([0.5, -1.0, 2.0])

    def function(values):
        y = values**2 * values.sum()
        values[...] = 99
        return y if part == "complex step" else y.real

    answer = differentiate(function, x)
    assert x.tolist() == [0.5, -1.0, 2.0]
    assert (method_of(answer) == COMPLEX_STEP) == (part == "complex step")
    expected = np.diag(2 * x * x.sum()) + x**2  # row i: derivatives by x_i
    np.testing.assert_allclose(answer.derivatives["x"].jacobian, expected, rtol=1e-8)


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "bool", "float32"])
def test_derivative_of_integers_and_float32_is_that_of_the_same_numbers_in_double(dtype):
    """In the caller's dtype x + h would be x for integers, and off by up to 25 % of h in float32."""
    x = np.array([1, 0, 1]).astype(dtype)
    for function in (np.exp, lambda v: np.exp(v.real)):
        estimate = differentiate(function, x).estimate
        assert estimate.values["dx"].dtype == np.float64
        error = np.abs(estimate.values["dx"] - np.exp(x.astype(np.float64)))
        assert (error <= estimate.own_error.get("dx", 0.0) + 4 * EPS).all()
        assert error.max() < 1e-8


@pytest.mark.parametrize("layout", ["Fortran", "strided"])
def test_layout_of_the_point_does_not_matter(layout):
    x = np.arange(1.0, 7.0).reshape(2, 3)
    laid = np.asfortranarray(x) if layout == "Fortran" else np.repeat(x, 2, axis=1)[:, ::-2][:, ::-1]
    np.testing.assert_array_equal(laid, x)
    for function in (np.exp, np.abs):
        expected = differentiate(function, x).estimate.values["dx"]
        np.testing.assert_array_equal(differentiate(function, laid).estimate.values["dx"], expected)


# ----------------------------------------------------------------------------- kinks


@pytest.mark.parametrize("distance", [0.1, 1e-3, 1e-7, 1e-15, 1e-300])
def test_complex_step_stays_on_its_side_of_a_kink(distance):
    """The checkers that move x itself by 1e-4 or 1e-6 raise a false alarm at 1e-7 from 0."""
    x = np.array([distance, -distance, 1.0, -1.0])
    answer = differentiate(relu, x, record="Relu", still={"x": np.abs(x) <= 2.0**-8})
    assert method_of(answer) == COMPLEX_STEP
    assert answer.estimate.values["dx"].tolist() == [1, 0, 1, 0]
    assert answer.derivatives["x"].reach == 0


def test_entries_that_are_to_stay_still_are_not_moved_by_the_random_direction():
    moved = []

    def function(x):
        moved.append(np.array(x))
        return relu(x)

    x = np.array([0.0, 1.0, -2.0])
    differentiate(function, x, record="Relu", still={"x": x == 0})
    # The complex step moves each entry by itself, the directions several at a time.
    assert all(values[0].real == 0 for values in moved)


def test_central_difference_says_how_far_it_moved_entries():
    """A kink within the reach may have been crossed: such entries are left out."""
    answer = differentiate(lambda x: np.maximum(x.real, 0), POINTS, record="Relu")
    assert answer.derivatives["x"].reach >= 2.0**-6


# ----------------------------------------------------------------------------- repeatable


@pytest.mark.parametrize("function", [np.exp, np.abs], ids=["complex step", "central difference"])
def test_same_seed_same_answer(function):
    first, again = (differentiate(function, POINTS, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.estimate.values["dx"], again.estimate.values["dx"])
    assert method_of(first) == method_of(again)


def test_no_seed_is_the_seed_0():
    points = [evaluated(np.exp, POINTS, **seed)[1] for seed in ({}, {"seed": 0}, {"seed": 1})]
    np.testing.assert_array_equal(points[0], points[1])
    assert (points[0] != points[2]).any()


# ----------------------------------------------------------------------------- where forward is evaluated


def evaluated(function, x, **options):
    """The points at which ``function`` is evaluated, in order."""
    points = []

    def spy(values):
        points.append(values.copy())
        return function(values)

    differentiate(spy, x, **options)
    return points


def steps_of(direction_points, x, direction, entry):
    return [float((point[entry] - x[entry]) / direction[entry]) for point in direction_points]


def test_random_direction_is_relative_to_the_entries_within_limits():
    """Multiples of 1/1024 from a half to 1 of the power of two below the entry, taken for 2⁻⁶ at least, 1 at most."""
    sizes = {0.0: 2.0**-6, 2.0**-8: 2.0**-6, 2.0**-6: 2.0**-6, 0.3: 0.25, -0.99: 0.5, 1.0: 1.0, -3.0: 1.0}
    x = np.repeat(list(sizes), 20)
    _, stepped, *_ = evaluated(np.exp, x)
    assert stepped.dtype == np.complex128
    np.testing.assert_array_equal(stepped.real, x)
    direction = stepped.imag * 2.0**60
    parts = direction / np.repeat(list(sizes.values()), 20)
    assert (np.abs(parts) >= 0.5).all()
    assert (np.abs(parts) < 1).all()
    np.testing.assert_array_equal(parts * 1024, np.round(parts * 1024))
    assert set(np.sign(parts)) == {-1, 1}
    assert len(np.unique(np.abs(parts))) > 100


def test_differences_along_the_direction_have_four_steps():
    x = np.array([0.0, 0.5])
    _, stepped, *others = evaluated(np.exp, x)
    expected = [part * 2.0**-power for power in (8, 14, 20, 24) for part in (1, -1, 0.5, -0.5)]
    assert steps_of(others[:16], x, stepped.imag * 2.0**60, entry=0) == expected
    assert len(others) == 16 + 2  # and the complex step of each entry


@pytest.mark.parametrize("x", [[4.0, -4.0], [4.0, 4.5], [300.0, 0.0]], ids=str)
def test_large_points_are_tried_where_functions_change_too(x):
    x = np.array(x)
    complex_points = [point for point in evaluated(np.tanh, x) if np.iscomplexobj(point)]
    at_both = np.abs(x).max() > 4
    assert len(complex_points) == 1 + at_both + 2
    if at_both:
        np.testing.assert_array_equal(complex_points[1].real, 4 * x / (4 + np.abs(x)))


def test_complex_step_must_be_trusted_at_the_point_itself_and_where_functions_change():
    answer = differentiate(lambda x: np.where(np.abs(x.real) > 100, x.real, x), np.array([300.0, 1.0]))
    assert "output 0 changes by 0 instead of 0." in method_of(answer)


def test_steps_of_the_complex_step():
    """2⁻⁶⁰, and as much less as a tiny entry is smaller than 1."""
    x = np.array([1.0, 0.0, 2.0**-30, 1.5 * 2.0**-31, -1e-100, 5.0, 1e300])
    points = evaluated(lambda x: x * 1, x)[-x.size :]
    steps = [float(point.imag[entry]) for entry, point in enumerate(points)]
    below_1e_100 = 2.0 ** math.floor(math.log2(1e-100))
    assert steps == [2.0**-60 * size for size in (1, 1, 1, 2.0**-31, below_1e_100, 1, 1)]
    for entry, point in enumerate(points):
        np.testing.assert_array_equal(point.real, x)
        assert np.count_nonzero(point.imag) == 1, entry


def test_steps_of_the_central_difference():
    sizes = {0.0: 2.0**-20, 2.0**-25: 2.0**-20, 2.0**-10: 2.0**-10, 0.3: 0.25, 1.0: 1.0, 8.0: 1.0}
    x = np.array(list(sizes))
    points = evaluated(lambda x: x.real * 1, x)[-14 * x.size :]
    for entry, size in enumerate(sizes.values()):
        expected = [x[entry] + sign * size * 2.0**-power for power in range(6, 13) for sign in (1, -1)]
        of_entry = np.array(points[14 * entry : 14 * (entry + 1)])
        assert of_entry[:, entry].tolist() == expected
        np.testing.assert_array_equal(np.delete(of_entry, entry, axis=1), [np.delete(x, entry)] * 14)


@pytest.mark.parametrize("shape", [(2, 3), (0,), (0, 3)], ids=str)
def test_error_of_the_central_difference_has_the_shape_of_the_point(shape):
    answer = differentiate(lambda x: x.real * 2, np.ones(shape))
    assert method_of(answer).startswith("extrapolated")
    assert answer.estimate.values["dx"].shape == answer.estimate.own_error["dx"].shape == shape
    assert answer.derivatives["x"].jacobian.shape == (math.prod(shape), math.prod(shape))


@pytest.mark.parametrize(
    ("size", "power"), [(1.0, 0), (1.99, 0), (2.0, 1), (0.75, -1), (2.0**-30, -30), (3e-320, -1062)]
)
def test_power_of_two_below(size, power):
    assert power_of_two_below(np.array(size)) == math.ldexp(1.0, power)


class Counting:
    """A subject whose handle notes how many points are asked for at once."""

    def __init__(self):
        self.counts = []

    def open(self, parameters):
        return self

    def values(self, inputs, name, points):
        self.counts.append(len(points))
        return [point + 1 for point in points]


@pytest.mark.parametrize(
    ("shape", "points", "counts"),
    [
        ((2**7, 2**8), 7, [3, 3, 1]),
        ((1,), AT_ONCE + 3, [AT_ONCE + 1, 2]),
        ((0,), 5, [5]),
    ],
    ids=["large points", "small points", "points without entries"],
)
def test_points_are_evaluated_together_as_far_as_memory_goes(shape, points, counts):
    subject = Counting()
    function = _Function(subject, {"x": np.zeros(shape)}, {}, "x", np.float64)
    values = list(function.many([np.zeros(shape)] * points))
    assert subject.counts == counts
    assert len(values) == points
    assert values[-1].tolist() == [1.0] * math.prod(shape)


def test_parameters_are_complex_only_while_one_of_them_is_moved():
    """A constructor may decide by them what it computes in."""
    opened = []

    class Affine:
        def __init__(self, W, b):
            opened.append((W.dtype.char, b.dtype.char))
            self.W, self.b = W, b

        def forward(self, x):
            return x @ self.W + self.b

    subject = InProcessSubject(RECORDS["Affine"], Affine)
    numerical(subject, {"x": np.ones((2, 3))}, {"W": np.ones((3, 4)), "b": np.ones(4)}, np.ones((2, 4)))
    # Forward at the point; then for each of x, W and b in real and in complex numbers.
    assert opened == [("d", "d"), *[("d", "d")] * 2, *[("d", "d"), ("D", "D")] * 2]


@pytest.mark.parametrize("labels", [np.array([2, 0]), np.array([2, 0], np.uint8), np.array([True, False])], ids=str)
def test_labels_stay_what_they_are(labels):
    seen = []

    class Loss:
        def forward(self, x, t):
            seen.append(t.dtype)
            return np.sum(np.log(np.sum(np.exp(x), axis=-1)) - x[np.arange(2), t.astype(int)])

    numerical(InProcessSubject(RECORDS["SoftmaxWithLoss"], Loss), {"x": np.ones((2, 3)), "t": labels}, {}, 1.0)
    assert set(seen) == {labels.dtype}


@pytest.mark.parametrize("dtype", ["int8", "uint8", "bool", "float32", "float64"])
def test_what_is_no_label_is_taken_in_double_precision(dtype):
    values = np.array([1, 0], dtype)
    is_label = dtype in ("int8", "uint8", "bool")
    assert double(values).dtype == np.float64
    assert double(values, True).dtype == (dtype if is_label else np.float64)
    for is_target in (True, False):
        assert double(values, is_target).tolist() == [1, 0]
        assert not np.shares_memory(double(values, is_target), values)


def test_answer_is_in_double_precision_whatever_dout_is():
    answer = differentiate(np.exp, POINTS, dout=np.ones(8, np.longdouble))
    assert answer.estimate.values["dx"].dtype == np.float64
    assert answer.estimate.source == "numerical"


def test_neither_warnings_nor_the_callers_error_state_get_in_the_way():
    def function(x):
        warnings.warn("mind the gap", UserWarning, stacklevel=1)
        return np.exp(x) + 0 * np.exp(-1e4 * np.ones(x.shape))

    with np.errstate(all="raise"):
        assert method_of(differentiate(function, POINTS)) == COMPLEX_STEP


# ----------------------------------------------------------------------------- whom to trust, and how far


class Along:
    """Forward along a direction: in complex numbers of the given slope, in real ones the given values, in order."""

    def __init__(self, values):
        self.real_values = values

    def many(self, points):
        for value, _ in zip(self.real_values, points, strict=True):
            yield np.array([value])

    def __call__(self, point):
        return np.array([1j * self.imaginary_part])

    def trusts(self, slope):
        self.imaginary_part = slope * 2.0**-60
        return _distrust(self, self, np.zeros(1), np.ones(1)) is None


def along(function):
    return Along([function(part * 2.0**-power) for power in (8, 14, 20, 24) for part in (1, -1, 0.5, -0.5)])


def test_slope_of_a_constant_may_be_off_by_the_rounding_of_its_values():
    """64 eps of 1 on both sides, at the largest step."""
    bound = 64 * EPS * 2 * 2.0**8
    for sign in (1, -1):
        assert along(lambda s: 1.0).trusts(sign * bound)
        assert not along(lambda s: 1.0).trusts(sign * bound * (1 + EPS))


def test_slope_of_zero_may_be_off_by_what_underflows_in_the_imaginary_part():
    smallest = float(np.finfo(np.float64).smallest_subnormal)
    assert along(lambda s: 0.0).trusts(128 * smallest * 2.0**60)
    assert not along(lambda s: 0.0).trusts(129 * smallest * 2.0**60)


def test_slope_of_a_cube_may_be_off_by_twice_what_halving_the_smallest_step_changes():
    """K h² at the step h, a quarter of it at half the step: extrapolated to 0, the error is 2 · ¾ K h²."""
    curved = along(lambda s: 2.0**40 * s**3)
    unit = 2.0**40 * 2.0**-48
    for sign in (1, -1):
        assert curved.trusts(sign * 1.49 * unit)
        assert not curved.trusts(sign * 1.51 * unit)


def test_slope_may_be_off_by_what_the_next_best_difference_differs_by_and_no_other():
    """The larger the slope, the larger its error of rounding: 1 is the best of these, 1.001 the next best."""
    slopes = {2.0**-8: 5.0, 2.0**-14: 1.0, 2.0**-20: 1.001, 2.0**-24: 5.0}
    linear = Along([slope * step * part for step, slope in slopes.items() for part in (1, -1, 0.5, -0.5)])
    assert linear.trusts(1.0009)
    assert not linear.trusts(1.002)


def test_nothing_finite_is_held_against_the_complex_step():
    assert along(lambda s: np.nan).trusts(3.0)


def test_best_estimate_is_the_one_with_the_least_error_entry_by_entry():
    estimates = [np.array([1.0, 7.0]), np.array([1.5, 8.0]), np.array([3.0, 9.0])]
    errors = [np.array([0.1, 0.3]), np.array([0.2, 0.2]), np.array([0.3, 0.1])]
    for others, expected in enumerate([[0.1, 0.1], [0.5, 1.0], [2.0, 2.0]]):
        best, error = _best(estimates, errors, others=others)
        assert best.tolist() == [1.0, 9.0]
        assert error.tolist() == expected


def test_estimate_beside_one_that_is_not_a_number_is_not_known():
    estimates, errors = [np.array([1.0]), np.array([np.nan])], [np.array([0.1]), np.array([np.nan])]
    assert _best(estimates, errors, others=0)[1] == 0.1
    assert _best(estimates, errors, others=1)[1] == np.inf


def richardsons_table(function):
    """Rows of extrapolated differences, and beside them what rounding adds to the error of each row."""
    rows, roundings = [], []
    for halving in range(7):
        step = 2.0 ** -(6 + halving)
        ahead, behind = function(step), function(-step)
        row = [(ahead - behind) / (2 * step)]
        for column, before in enumerate(rows[-1] if rows else [], start=1):
            row.append(row[-1] + (row[-1] - before) / (4**column - 1))
        rows.append(row)
        roundings.append(64 * EPS * (abs(ahead) + abs(behind)) / step)
    return rows, roundings


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda s: math.exp(3 * s), id="smooth"),
        pytest.param(lambda s: math.sin(200 * s), id="steep"),
        pytest.param(lambda s: abs(s - 0.002), id="a kink"),
        pytest.param(lambda s: float(np.float32(math.exp(s + 0.3))), id="noisy"),
    ],
)
def test_difference_is_the_best_of_richardsons_table(function):
    """Of each row the estimate that least differs from both of which it was made; of these the best, as far as the
    two next best agree with it."""
    rows, roundings = richardsons_table(function)
    of_rows = []
    for before, row, rounding in zip(rows[:-1], rows[1:], roundings[1:], strict=True):
        made_of = zip(row[1:], row[:-1], before, strict=True)
        errors = [rounding + max(abs(new - left), abs(new - above)) for new, left, above in made_of]
        of_rows.append(min(zip(errors, row[1:], strict=True), key=lambda pair: pair[0]))
    of_rows.sort(key=lambda pair: pair[0])
    (least, best), *others = of_rows
    slope, error = extrapolated_difference(lambda s: np.array([function(s)]))
    assert slope == best
    assert error == max(least, *(abs(other - best) for _, other in others[:2]))


def test_difference_of_zero_may_be_off_by_what_underflows():
    _, error = extrapolated_difference(lambda s: np.zeros(1))
    assert error == 64 * np.finfo(np.float64).smallest_subnormal * 2.0**7


# ----------------------------------------------------------------------------- kinks, where nobody knows of them


def seen_of(function, steps=(2.0**-6, 2.0**-7, 2.0**-8)):
    """f(h) for every step to both sides, and for 0."""
    return {h: np.asarray(function(h)) for h in (0.0, *(sign * step for step in steps for sign in (1, -1)))}


def of_bends(*bends):
    """Values of an even function whose slopes differ by ``bends`` over the steps 1/2, 1/4, …, the longest first."""
    seen = {0.0: np.zeros(1)}
    for halving, bend in enumerate(bends, start=1):
        seen[2.0**-halving] = seen[-(2.0**-halving)] = np.asarray([bend * 2.0**-halving / 2])
    return seen


SMOOTH = {
    "constant": lambda h: [3.0],
    "nothing": lambda h: np.zeros(0),
    "zero": lambda h: [0.0, 0.0],
    "line": lambda h: [3.0 - h],
    "parabola": lambda h: [1.0 + h + 5 * h**2, h],
    "cubic": lambda h: [h**3],
    "exponential": lambda h: [math.exp(h)],
}


@pytest.mark.parametrize("function", SMOOTH.values(), ids=SMOOTH.keys())
def test_what_is_smooth_has_no_kink(function):
    assert not _is_kinked(seen_of(function))


@pytest.mark.parametrize("size", [1.0, 1e-30, 1e30])
@pytest.mark.parametrize("distance", [0.0, 2.0**-12, -(2.0**-9), 0.9 * 2.0**-8])
def test_a_kink_is_seen_within_a_quarter_of_the_first_step(distance, size):
    assert _is_kinked(seen_of(lambda h: [size * abs(h - distance), size]))


@pytest.mark.parametrize(
    ("bends", "is_kinked"),
    [
        ((3.0, 2.0), False),
        ((3.0, 2.001), True),
        ((3.0, 1.999), False),
        ((3.0, 1.5, 1.4), True),
        ((3.0, 1.5, 0.75), False),
    ],
)
def test_slopes_that_differ_by_more_than_two_thirds_at_half_the_step_are_a_kink(bends, is_kinked):
    assert _is_kinked(of_bends(*bends)) is is_kinked


@pytest.mark.parametrize(("times", "is_kinked"), [(0.95, False), (1.0, False), (1.05, True)])
def test_a_jump_below_a_thousandth_of_the_largest_slope_is_none(times, is_kinked):
    # A second output, which has no kink, is steeper: it is the largest slope of all outputs that counts.
    jump = times * 2.0**-10 * 4
    assert _is_kinked(seen_of(lambda h: [h + jump / 2 * abs(h), 4 * h])) is is_kinked


def test_the_slope_beside_which_a_jump_counts_is_that_of_the_shortest_step():
    # 1.25 over the shortest step, and 2 over the one before.
    assert _is_kinked(seen_of(lambda h: [h + 2**14 * h**3 + 1.5 * 2.0**-10 / 2 * abs(h)]))


@pytest.mark.parametrize(("times", "is_kinked"), [(0.9, False), (1.1, True)])
def test_a_jump_that_is_rounding_of_the_largest_output_is_none(times, is_kinked):
    # Beside outputs of the size 8, rounding reaches 4 · 2⁻⁴⁶ · 8: exact beside 1, of which an ulp is 2⁻⁵².
    rounding = times * 2.0**-41
    seen = {0.0: np.asarray([1.0, 8.0])}
    for step, changed in ((2.0**-6, 2 * rounding), (2.0**-7, rounding)):
        seen[step] = seen[-step] = np.asarray([1.0 + changed / 2, 8.0])
    assert _is_kinked(seen) is is_kinked


def test_a_jump_among_what_underflows_is_none():
    tiny = 100 * float(np.finfo(np.float64).smallest_subnormal)
    assert not _is_kinked({0.0: np.zeros(1), **{h: np.full(1, tiny * abs(h) * 2) for h in (0.5, -0.5, 0.25, -0.25)}})


def test_a_difference_stops_where_it_has_enough_and_only_rounding_is_left():
    asked = []

    def parabola(h):
        asked.append(h)
        return np.asarray([1.0 + 2 * h + h**2])

    slope, error = extrapolated_difference(parabola, enough=3)
    assert len(asked) == 2 * 3
    assert abs(slope - 2) <= error
    asked.clear()
    extrapolated_difference(parabola, enough=4)
    assert len(asked) == 2 * 4
    asked.clear()
    # Not where it is not done: the steps of a kink do not agree.
    extrapolated_difference(lambda h: parabola(h) * 0 + abs(h - 0.003), enough=3)
    assert len(asked) > 2 * 4


def beside_one(x):
    return np.abs(x - 1)


def differences_of(record, function, x):
    """The derivative with respect to x, and how often the function was called."""
    calls = []

    def counted(x):
        calls.append(x)
        return function(x)

    subject = InProcessSubject(record, lambda: Elementwise(counted))
    return numerical(subject, {"x": x}, {}, np.ones(x.shape)).derivatives["x"], len(calls)


def test_a_function_that_nobody_knows_is_called_less_often_and_its_kinks_are_found():
    x = np.asarray([[3.0, 1 + 2.0**-10, -3.0], [1.0, 0.5, -1.0]])
    unknown, called = differences_of(own_record("own forward: x (N, D)"), beside_one, x)
    known, called_of_known = differences_of(RECORDS["Sigmoid"], beside_one, x)
    for derivative in (unknown, known):
        assert "central difference" in derivative.method
        assert derivative.kinks.dtype == bool
        np.testing.assert_array_equal(derivative.kinks, [[False, True, False], [True, False, False]])
    assert called < called_of_known
    smooth = ~unknown.kinks.reshape(-1)
    np.testing.assert_allclose(np.diag(unknown.jacobian)[smooth], np.sign(x.reshape(-1) - 1)[smooth], rtol=1e-12)
