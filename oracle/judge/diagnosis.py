"""The diagnosis: which mistake would give just these values.

A rule is one function, named by the cause (`oracle.judge.causes`) that it stands for: it gives the arrays that a
subject with that mistake would return. It sees arrays, shapes and the roles of arguments, never a name of a layer. A
rule fits where what came is one of its arrays, and not what should have come; which of several is the cause is seen
from all cases together, since all sizes in a case are different and differ from case to case.

The rules are tried in the order of this file, the more specific first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from oracle.catalog.record import BATCH, BROADCAST, CLASSES, Array, LayerSpec
from oracle.judge.bounds import UNKNOWN_CANCELLATION
from oracle.judge.comparison import compare

if TYPE_CHECKING:
    from oracle.judge.trial import Trial

#: Two results of the same mistake differ by rounding: within a thousand eps of their size.
ROUNDING = 1e3
#: Sizes in a case are 7 at most: what a reference is off by may be multiplied by that.
LARGEST_SIZE = 8
#: Entries of an array that are named, where nothing explains them.
LISTED = 5


@dataclass(frozen=True)
class Explanation:
    """A cause that fits, and a detail that must be the same in all cases (a factor). No cause: only the pattern."""

    cause_id: str | None
    detail: str = ""


@dataclass(frozen=True)
class Symptom:
    """What a rule may look at: what came, what should have come, and the case."""

    record: LayerSpec
    quantity: str
    actual: Array
    expected: Array
    arrays: Mapping[str, Array]
    dout: Array
    #: The first output, as the subject gave it.
    y: Array
    #: By axis of the record, as long as the case has it: N, D, C, …
    sizes: Mapping[str, int]
    #: Of a gradient: ∂y/∂argument, (entries of the argument, entries of y).
    jacobian: Array | None
    #: Whether there is a parameter that the twin depends on, and the subject's forward does not.
    ignores_parameter: bool

    @property
    def is_output(self) -> bool:
        return self.quantity in self.record.outputs

    @property
    def is_elementwise(self) -> bool:
        return not self.is_output and self.expected.shape == self.dout.shape == self.y.shape != ()


Rule = Callable[[Symptom], Iterator[Array]]
#: What people add to a probability so that its logarithm is finite.
ADDED = (1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15)
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Register a rule under the name of its function, which is the id of the cause."""
    RULES[function.__name__] = function
    return function


def _factor(name: str, factor: Callable[[Symptom], float | None]) -> None:
    """Register a rule for a factor."""

    def scaled(s: Symptom) -> Iterator[Array]:
        value = factor(s)
        if value is not None and value != 1:
            yield value * s.expected

    RULES[name] = scaled


def _size(axis: str, power: int = 1) -> Callable[[Symptom], float | None]:
    return lambda s: float(s.sizes[axis]) ** power if s.sizes.get(axis) else None


def _features(s: Symptom) -> float | None:
    return float(s.sizes["D"]) if "D" in s.sizes else float(s.actual.shape[-1]) if s.actual.ndim > 1 else None


@rule
def gradient_is_zero(s: Symptom) -> Iterator[Array]:
    if not s.is_output:
        yield np.zeros(s.expected.shape)


_factor("wrong_sign", lambda s: -1.0)
_factor("multiplied_by_batch_size", _size(BATCH))
_factor("divided_by_batch_size", _size(BATCH, -1))
_factor("multiplied_by_batch_size_squared", _size(BATCH, 2))
_factor("divided_by_batch_size_squared", _size(BATCH, -2))
_factor("multiplied_by_classes", _size(CLASSES))
_factor("divided_by_classes", _size(CLASSES, -1))
_factor("multiplied_by_features", _features)
_factor("divided_by_features", lambda s: 1 / features if (features := _features(s)) else None)


@rule
def upstream_gradient_ignored(s: Symptom) -> Iterator[Array]:
    if s.jacobian is not None and s.record.takes_dout:
        yield s.jacobian.sum(axis=1).reshape(s.expected.shape)


@rule
def upstream_gradient_squared(s: Symptom) -> Iterator[Array]:
    if s.jacobian is not None and s.record.takes_dout:
        yield (s.jacobian @ np.square(s.dout).reshape(-1)).reshape(s.expected.shape)


@rule
def mask_from_upstream_gradient(s: Symptom) -> Iterator[Array]:
    if s.is_elementwise:
        yield np.where(s.dout > 0, s.dout, 0)


@rule
def passes_upstream_gradient_on(s: Symptom) -> Iterator[Array]:
    if s.is_elementwise:
        yield s.dout


def _slope_is(s: Symptom, slope: Callable[[Array], Array]) -> bool:
    """Whether the derivative is this function of the output, to half of the digits of float32."""
    return s.is_elementwise and bool(np.allclose(s.expected, s.dout * slope(s.y), rtol=1e-3, atol=1e-12))


@rule
def term_1_minus_y_missing(s: Symptom) -> Iterator[Array]:
    if _slope_is(s, lambda y: y * (1 - y)):
        yield s.dout * s.y


@rule
def term_y_missing(s: Symptom) -> Iterator[Array]:
    if _slope_is(s, lambda y: y * (1 - y)):
        yield s.dout * (1 - s.y)


@rule
def square_missing(s: Symptom) -> Iterator[Array]:
    if _slope_is(s, lambda y: 1 - y * y):
        yield s.dout * (1 - s.y)


@rule
def diagonal_only(s: Symptom) -> Iterator[Array]:
    if s.jacobian is not None and s.is_elementwise:
        diagonal = np.diagonal(s.jacobian)
        if np.count_nonzero(s.jacobian) > np.count_nonzero(diagonal):
            yield diagonal.reshape(s.dout.shape) * s.dout


@rule
def integers_inside(s: Symptom) -> Iterator[Array]:
    # Integers in, integers out is another matter.
    if np.any(s.expected != np.trunc(s.expected)) and all(v.dtype.kind == "f" for v in s.arrays.values()):
        yield np.trunc(s.expected)
        yield np.round(s.expected)
        yield np.floor(s.expected)


@rule
def input_for_output(s: Symptom) -> Iterator[Array]:
    if s.is_elementwise:
        x = next(iter(s.arrays.values()))
        if x.shape == s.dout.shape:
            yield s.dout * x * (1 - x)


@rule
def added_inside_logarithm(s: Symptom) -> Iterator[Array]:
    names = tuple(a.name for a in s.record.arguments if a.values == "probabilities")
    if s.is_output and names:
        for added in ADDED:
            yield from _defined(s, lambda y, added=added: y + added, names)  # type: ignore[misc]


@rule
def wrong_sign_in_exponent(s: Symptom) -> Iterator[Array]:
    if s.is_output and not s.record.parameters and not s.record.is_loss:
        yield from _defined(s, lambda values: -values, s.record.differentiable_inputs)


@rule
def parameter_unused(s: Symptom) -> Iterator[Array]:
    # Whatever stands in its place: nothing, or a global variable of the same name.
    if s.is_output and s.ignores_parameter:
        yield s.actual


@rule
def normalised_over_the_whole_batch(s: Symptom) -> Iterator[Array]:
    yield from _softmax(s, None)


@rule
def normalised_over_the_wrong_axis(s: Symptom) -> Iterator[Array]:
    yield from _softmax(s, 0)


@rule
def transposed(s: Symptom) -> Iterator[Array]:
    if s.expected.ndim >= 2:
        yield s.expected.T


@rule
def not_summed_over_the_batch(s: Symptom) -> Iterator[Array]:
    has_rows = s.actual.ndim == s.expected.ndim + 1 and len(s.actual) > 1 and s.actual.shape[1:] == s.expected.shape
    if has_rows and Closeness(_eps(s.actual), np.zeros(()))(s.actual.sum(axis=0), s.expected):
        yield s.actual


@rule
def summed_over_the_wrong_axis(s: Symptom) -> Iterator[Array]:
    if not s.is_output and s.dout.ndim == 2:
        yield s.dout.sum(axis=1)
        yield s.dout.sum(axis=1, keepdims=True)
        # Over both axes: one number for all.
        yield np.full(s.expected.shape, s.dout.sum())


@rule
def extra_axis(s: Symptom) -> Iterator[Array]:
    if s.actual.ndim == s.expected.ndim + 1 and s.actual.size == s.expected.size:
        yield s.expected.reshape(s.actual.shape)


_factor("doubled", lambda s: 2.0)
_factor("halved", lambda s: 0.5)


def explain(
    trial: Trial, quantity: str, pair: tuple[str, str], actual: Array, expected: Array
) -> tuple[Explanation, ...]:
    """The causes that would give ``actual``, the most specific first; the pattern of what is wrong where none does."""
    symptom = _symptom(trial, quantity, actual, expected)
    # What the references may be off by, a difference above all: for factors up to the sizes of a case.
    alike = Closeness(_eps(actual), LARGEST_SIZE * trial.bounds.bound(quantity, pair) if trial.bounds else np.zeros(()))
    fitting = []
    with np.errstate(all="ignore"):
        for name, candidates in RULES.items():
            for candidate in candidates(symptom):
                if alike(symptom.actual, candidate) and not alike(candidate, symptom.expected):
                    fitting.append(Explanation(name))
                    break
        fitting += _factor_of_no_name(symptom, alike)
        if not fitting or symptom.actual.shape == symptom.expected.shape:
            # Also beside a cause that fits: one wrong row is all there is of a batch of one.
            fitting += _places(trial, symptom, pair)
    return tuple(fitting)


#: Arithmetics of fewer digits, and the cause where one is inside.
LOWER = (("float32", "single_precision_inside"), ("float16", "half_precision_inside"))


def lower_precision(trial: Trial) -> tuple[float, str]:
    """How many times the eps of the case a subject rounds by, and the cause; 1 and nothing where it computes in full.

    Seen in any quantity: its errors are within the bound of an arithmetic of fewer digits, and are those of rounding.
    """
    for dtype, cause_id in LOWER:
        ratio = float(np.finfo(dtype).eps) / float(np.finfo(trial.dtype).eps)
        for quantity, actual in trial.estimates["backprop"].values.items():
            if ratio > 1 and np.isfinite(actual).all() and _rounds(trial, quantity, actual, dtype, ratio):
                return ratio, cause_id
    return 1.0, ""


def _rounds(trial: Trial, quantity: str, actual: Array, dtype: str, ratio: float) -> bool:
    """Whether one quantity differs from a reference by the rounding of ``dtype``."""
    for source in ("numerical", "autograd"):
        expected = trial.estimates[source].values.get(quantity) if source in trial.estimates else None
        if expected is None or actual.shape != expected.shape:
            continue
        pair = ("backprop", source)
        if trial.compare(quantity, pair, actual, expected).agrees:
            continue
        a, e = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
        # An error of a thousandth may be anything: in half precision only its very numbers are believed.
        looks_so = dtype == "float32" and _looks_like_rounding(a, e, float(np.finfo(dtype).eps))
        if (_representable(a, dtype) or looks_so) and _is_within(trial, quantity, pair, a, e, ratio):
            return True
    return False


def inside(trial: Trial, quantity: str, pair: tuple[str, str], actual: Array, expected: Array) -> str:
    """The cause where an arithmetic of fewer digits than that of the case explains the error; empty otherwise."""
    ratio, cause_id = trial.lower_precision
    if cause_id and pair == ("backprop", "numerical") and trial.forward_lacks_digits:
        # Differences of such numbers are noise: the twin is the reference that is left.
        pair, expected = ("backprop", "autograd"), trial.estimates["autograd"].values[quantity]
    return cause_id if cause_id and _is_within(trial, quantity, pair, actual, expected, ratio) else ""


def _is_within(
    trial: Trial, quantity: str, pair: tuple[str, str], actual: Array, expected: Array, ratio: float
) -> bool:
    assert trial.bounds is not None
    # What is below the smallest number of the lower dtype is lost altogether.
    smallest = max(
        float(np.finfo(d).smallest_subnormal) for d, _ in LOWER if np.finfo(d).eps <= ratio * np.finfo(trial.dtype).eps
    )
    own = trial.bounds.errors["backprop"][quantity]
    if not trial.record.has_twin and ratio * np.finfo(trial.dtype).eps >= np.finfo(np.float16).eps:
        # Times what may cancel in a layer that nobody knows, a thousandth is as much as the gradient: whole numbers, as
        # a hinge loss has them, would all be explained by it.
        own = own / UNKNOWN_CANCELLATION
    bound = trial.bounds.bound(quantity, pair) + ratio * own + smallest
    left_out = trial.bounds.open_branch.get(quantity)
    return compare(quantity, "-".join(pair), trial.case, actual, expected, bound, left_out).agrees


def _looks_like_rounding(a: Array, e: Array, eps: float) -> bool:
    """Whether the relative errors are those of rounding: in most entries, of about ``eps``, and of no constant factor.

    Numbers that the lower dtype holds exactly do not round, so half of several entries are enough. A rounding error is
    below eps/32 once in sixteen times; of the few entries of a small array none may be.
    """
    with np.errstate(over="ignore"):
        relative = np.abs(a - e)[e != 0] / np.abs(e)[e != 0]
    rounded = relative >= eps / 32
    if relative.size < 6:
        return bool(relative.size and rounded.all()) and not _is_constant(relative)
    return np.count_nonzero(rounded) >= relative.size / 2 and not _is_constant(relative)


def _is_constant(relative: Array) -> bool:
    return bool(np.ptp(relative) <= 1e-3 * relative.max())


def _representable(values: Array, dtype: str) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.all(values == values.astype(dtype)))


def _symptom(trial: Trial, quantity: str, actual: Array, expected: Array) -> Symptom:
    given = trial.arrays()
    record = trial.record
    shapes = dict(trial.case.shapes)
    sizes: dict[str, int] = {}
    for argument in record.arguments:
        shape = shapes[argument.name]
        if len(argument.axes) == len(shape):
            sizes.update(zip(argument.axes, shape, strict=True))
        elif argument.axes[:1] == (BATCH,) and len(argument.axes) < len(shape):
            sizes[BATCH] = shape[0]  # samples that are tensors
    names = {record.gradient_name(name): name for name in record.differentiated}
    derivative = trial.derivatives.get(names.get(quantity, ""))
    inputs = {**given.inputs, **given.parameters}
    return Symptom(
        record=record,
        quantity=quantity,
        actual=np.asarray(actual, np.float64),
        expected=np.asarray(expected, np.float64),
        arrays={name: np.asarray(values) for name, values in inputs.items()},
        dout=np.asarray(given.dout, np.float64),
        y=np.asarray(trial.estimates["backprop"].values[record.outputs[0]], np.float64),
        sizes=sizes,
        jacobian=None if derivative is None else derivative.jacobian,
        ignores_parameter=any(map(trial.forward_ignores, record.parameters)),
    )


def _eps(values: Array) -> float:
    return float(np.finfo(values.dtype if values.dtype.kind == "f" else np.float64).eps)


@dataclass(frozen=True)
class Closeness:
    """How near two arrays are that differ by rounding: ``eps`` of their arithmetic, and the references' errors."""

    eps: float
    slack: Array

    def __call__(self, one: Array, other: Array) -> bool:
        if one.shape != other.shape:
            return False
        size = np.maximum(np.abs(one), np.abs(other))
        known = np.where(np.isfinite(self.slack), self.slack, 0.0)
        slack = known if known.shape == one.shape else known.max(initial=0.0)
        return bool(np.all(np.abs(one - other) <= ROUNDING * self.eps * (size + size.max(initial=0.0)) + slack))


def _defined(s: Symptom, alter: Callable[[Array], Array], names: tuple[str, ...]) -> Iterator[Array]:
    """The first output of the definition with some arguments altered; nothing where nobody knows the definition."""
    if not s.record.has_twin:
        return
    given = [alter(s.arrays[a.name]) if a.name in names else np.asarray(s.arrays[a.name]) for a in s.record.arguments]
    returned = s.record.definition(*given, **s.record.settings)
    outputs = returned if isinstance(returned, dict) else {s.record.outputs[0]: returned}
    yield np.asarray(outputs[s.quantity])


def _softmax(s: Symptom, axis: int | None) -> Iterator[Array]:
    """What normalising over another axis gives: the probabilities, or a loss of them and its gradient."""
    scores = next(iter(s.arrays.values()))
    if not s.record.shift_invariant or scores.ndim != 2:
        return
    for of_maximum in (axis, -1):
        yield from _softmax_by(s, scores, axis, of_maximum)


def _softmax_by(s: Symptom, scores: Array, axis: int | None, of_maximum: int | None) -> Iterator[Array]:
    """The same with the maximum along another axis: it cancels only where that is the axis of the sum."""
    e = np.exp(scores.astype(np.float64) - scores.max(axis=of_maximum, keepdims=True))
    y = e / e.sum(axis=axis, keepdims=True)
    if not s.record.is_loss:
        yield y
        return
    t = s.arrays[s.record.of_role("target")[0].name]
    rows = t if t.shape == scores.shape else (np.arange(scores.shape[1]) == t[:, None]).astype(np.float64)
    if s.is_output:
        yield np.asarray(-np.sum(rows * np.log(y)) / len(scores))
    else:
        yield (y * rows.sum(axis=1, keepdims=True) - rows) / len(scores) * s.dout


def _factor_of_no_name(s: Symptom, alike: Closeness) -> list[Explanation]:
    """A constant factor. A single entry always has one: it counts where other cases have the same."""
    if s.actual.shape != s.expected.shape or not np.any(s.expected) or not np.isfinite(s.actual).all():
        return []
    largest = np.unravel_index(int(np.argmax(np.abs(s.expected))), s.expected.shape)
    factor = float(s.actual[largest] / s.expected[largest])
    if not np.isfinite(factor) or not alike(s.actual, factor * s.expected):
        return []
    # As many digits as rounding leaves: two cases have the same factor, or nearly, which is another mistake.
    digits = 10 if alike.eps < np.finfo(np.float32).eps else 5
    return [Explanation("constant_factor", f"{factor:.{digits}g}")]


#: Properties of an entry of an input that may decide whether what belongs to it is wrong.
PLACES: dict[str, Callable[[Array], Array]] = {
    "only_beyond_30": lambda x: np.abs(x) > 30,
    "only_at_zero": lambda x: x == 0,
}


def _places(trial: Trial, s: Symptom, pair: tuple[str, str]) -> list[Explanation]:
    """Where the wrong entries are, when they are not everywhere."""
    if s.actual.shape != s.expected.shape or trial.bounds is None:
        return [Explanation("wrong_shape")] if s.actual.shape != s.expected.shape else []
    if not np.isfinite(s.actual).all():
        wrong = ~np.isfinite(s.actual)
    else:
        bound = trial.bounds.bound(s.quantity, pair)
        wrong = np.abs(s.actual - s.expected) > 2 * bound + ROUNDING * _eps(s.actual) * np.abs(s.expected)
    count = np.count_nonzero(wrong)
    if count == 0:
        return []
    found = []
    for x in (s.arrays[name] for name in s.record.differentiable_inputs):
        if x.shape == wrong.shape or (s.record.output_shape == BROADCAST and s.is_output):
            for cause_id, applies in PLACES.items():
                # Where it applies to every entry it says nothing.
                place = np.broadcast_to(applies(x), wrong.shape)
                if np.all(place[wrong]) and not place.all():
                    found.append(Explanation(cause_id))
    if count == 1 and wrong.size > 1:
        found.append(Explanation("single_entry"))
    if wrong.ndim > 1 and len(wrong) > 1 and np.count_nonzero(wrong.reshape(len(wrong), -1).any(axis=1)) == 1:
        found.append(Explanation("single_row"))
    return [*found, Explanation(None, _pattern(wrong))]


def _pattern(wrong: Array) -> str:
    count = np.count_nonzero(wrong)
    if count == wrong.size:
        return "every entry is wrong"
    listed = ", ".join(str([int(i) for i in index]) for index in np.argwhere(wrong)[:LISTED])
    return f"{count} of {wrong.size} entries are wrong: {listed}" + (", …" if count > LISTED else "")
