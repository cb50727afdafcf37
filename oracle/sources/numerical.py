r"""The source ``numerical``: differentiation of the subject's own forward.

**Complex step.** For a forward that is analytic, ``Im f(x + ih)/h = f'(x) + O(h²)`` without any subtraction,
so h can be so small that nothing is left of the O(h²) (Squire and Trapp, SIAM Review 40, 1998). A forward that
is not analytic in NumPy's eyes (``abs``, ``astype(float)``, writing into a float array) gives silently wrong
derivatives, so the complex step of each argument is trusted only after one random direction of it has agreed
with an extrapolated central difference.

**Extrapolated central difference** otherwise: (f(x + h) − f(x − h))/2h for halving h, Richardson's
extrapolation, and the entry of the table with the least error estimate (Ridders, Advances in Engineering
Software 4, 1982), which comes with the result.

Always on float64 or complex128 copies; never on the caller's arrays or in their dtype.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from oracle.sources.estimate import Array, Estimate
from oracle.subjects.interface import Handle, Subject, SubjectError

#: The complex step: beside entries of 2⁻³⁰ (h/x)² is 2⁻⁶⁰, the relative error for 1/x, the least smooth of ours.
COMPLEX_STEP = 2.0**-60
#: Entries up to this size are where functions change.
TAME = 4.0
#: The first step of a central difference, and how often it is halved. Truncation falls by 4 with each
#: halving and by 4 again with each column of the table; rounding grows by 2.
FIRST_STEP = 2.0**-6
HALVINGS = 7
#: After so many of a forward that nobody knows, and that may be slow (a loop over windows), it is enough if they agree
#: as well as rounding lets them: two estimates from differences of three steps.
ENOUGH = 3
#: What the result of one evaluation may be off by in double precision, relative to its size: a few dozen
#: roundings, in a sum of which not all are as small as their result.
EVALUATION_ERROR = 64 * np.finfo(np.float64).eps
#: The same below the smallest normal number, where relative accuracy ends.
UNDERFLOW = 64 * float(np.finfo(np.float64).smallest_subnormal)

#: Entries of all points that are evaluated in one call: half a megabyte of them.
AT_ONCE = 2**16


@dataclass(frozen=True)
class Derivative:
    """Of all outputs by all entries of one argument.

    ``jacobian`` has shape (entries of the argument, entries of the output); ``own_error`` has that shape too,
    or is None for the complex step, which has no error but rounding. ``reach`` is how far
    entries were moved at most: 0 for the complex step, which stays on the branch of the real point.
    """

    jacobian: Array
    own_error: Array | None
    method: str
    reach: float
    #: Entries of the argument beside a kink, as far as the differences tell; nothing for the complex step.
    kinks: Array | None = None


@dataclass(frozen=True)
class Differentiated:
    """The numerical source's answer: an Estimate, and the derivatives it was made of, by argument."""

    estimate: Estimate
    derivatives: dict[str, Derivative]


def numerical(
    subject: Subject,
    inputs: Mapping[str, Array],
    parameters: Mapping[str, Array],
    dout: Array,
    *,
    still: Mapping[str, Array] | None = None,
    seed: int = 0,
) -> Differentiated:
    """Outputs in double precision, and the gradient of Σ dout·y for every differentiable argument.

    ``still`` marks entries (a mask for each argument) that a random direction must not move, because the
    derivative does not exist there. Raises SubjectError when forward cannot be called.
    """
    record = subject.record
    inputs = {a.name: double(inputs[a.name], a.role == "target") for a in record.arguments if a.name in inputs}
    parameters = {name: double(values) for name, values in parameters.items()}
    with quiet():
        values = dict(subject.open(_copied(parameters)).forward(_copied(inputs)).values)
    upstream = np.asarray(dout, np.float64).reshape(-1)
    derivatives: dict[str, Derivative] = {}
    own_error: dict[str, Array] = {}
    notes: dict[str, str] = {}
    for name in record.differentiated:
        point = {**inputs, **parameters}[name]
        rng = np.random.default_rng((seed, len(derivatives)))
        fixed = (still or {}).get(name)
        derivative = _differentiate(subject, inputs, parameters, name, rng, fixed)
        derivatives[name] = derivative
        gradient = record.gradient_name(name)
        values[gradient] = (derivative.jacobian @ upstream).reshape(point.shape)
        if derivative.own_error is not None:
            own_error[gradient] = (derivative.own_error @ np.abs(upstream)).reshape(point.shape)
        notes[gradient] = derivative.method
    return Differentiated(Estimate("numerical", values, own_error, notes), derivatives)


def double(values: Array, is_target: bool = False) -> Array:
    values = np.asarray(values)
    return np.array(values) if is_target and values.dtype.kind in "iub" else np.array(values, np.float64)


def _copied(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Copies: a subject may write into what it is given, and must not move the point."""
    return {name: values.copy() for name, values in arrays.items()}


@contextmanager
def quiet() -> Iterator[None]:
    """Silences NumPy, but turns the discarding of an imaginary part into an error."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        yield


class _Function:
    """Forward as a function of one argument alone, on one instance."""

    def __init__(
        self,
        subject: Subject,
        inputs: Mapping[str, Array],
        parameters: Mapping[str, Array],
        name: str,
        dtype: type,
    ) -> None:
        self._name = name
        self._inputs = dict(inputs)
        self._is_parameter = name in parameters
        opened = {k: np.array(v, dtype) if self._is_parameter else v for k, v in parameters.items()}
        self._handle: Handle = subject.open(opened)

    def __call__(self, values: Array) -> Array:
        (value,) = self.many([values])
        return value

    def many(self, points: Iterable[Array]) -> Iterator[Array]:
        """At each of ``points``, several in one call, but never so many that they fill the memory."""
        waiting = iter(points)
        for first in waiting:
            others = itertools.islice(waiting, AT_ONCE // max(first.size, 1))
            for value in self._handle.values(self._inputs, self._name, [first, *others]):
                yield value.reshape(-1)


def _differentiate(
    subject: Subject,
    inputs: Mapping[str, Array],
    parameters: Mapping[str, Array],
    name: str,
    rng: np.random.Generator,
    fixed: Array | None,
) -> Derivative:
    point = {**inputs, **parameters}[name]
    with quiet():
        real = _Function(subject, inputs, parameters, name, np.float64)
        # Multiples of 2⁻¹⁰ times a power of two: adding a step of 2⁻²⁴ of them to an entry is then exact, or
        # rounded relative to the step and not to the entry.
        direction = rng.choice((-1.0, 1.0), size=point.shape) * rng.integers(512, 1024, size=point.shape) / 1024
        direction = direction * power_of_two_below(np.clip(np.abs(point), 2.0**-6, 1.0))
        direction = np.where(fixed, 0.0, direction) if fixed is not None else direction
        try:
            complex_function = _Function(subject, inputs, parameters, name, np.complex128)
            distrust = _distrust(complex_function, real, point, direction)
            if distrust is None and np.any(np.abs(point) > TAME):
                # Where a function is flat (a sigmoid at 300) any derivative would have agreed.
                distrust = _distrust(complex_function, real, TAME * point / (TAME + np.abs(point)), direction)
        except (SubjectError, np.exceptions.ComplexWarning) as error:
            distrust = str(error)
        if distrust is None:
            return Derivative(_complex_jacobian(complex_function, point), None, "complex step", 0.0)
        jacobian, error_estimate, kinks = _difference_jacobian(
            real, point, HALVINGS if subject.record.has_twin else ENOUGH
        )
        method = f"extrapolated central difference; complex step: {distrust}"
        return Derivative(jacobian, error_estimate, method, FIRST_STEP, kinks)


def power_of_two_below(size: Array) -> Array:
    return np.ldexp(1.0, np.frexp(size)[1] - 1)


def _distrust(complex_function: _Function, real: _Function, point: Array, direction: Array) -> str | None:
    """Why the complex step along ``direction`` cannot be trusted, or None.

    Of several central differences the one with the least error estimate is asked, output by output: a branch
    that changes within a large step (a kink nearby) disturbs the difference there, but not at a smaller one.
    """
    stepped = complex_function(point + 1j * COMPLEX_STEP * direction)
    if not np.iscomplexobj(stepped):
        return "forward returned real numbers for complex ones"
    slope = stepped.imag / COMPLEX_STEP
    estimates, errors = [], []
    steps = (2.0**-8, 2.0**-14, 2.0**-20, 2.0**-24)
    values = real.many(point + part * step * direction for step in steps for part in (1, -1, 0.5, -0.5))
    for step in steps:
        ahead, behind, half_ahead, half_behind = itertools.islice(values, 4)
        coarse, fine = (ahead - behind) / (2 * step), (half_ahead - half_behind) / step
        error = 2 * np.abs(fine - coarse) + (EVALUATION_ERROR * (np.abs(ahead) + np.abs(behind)) + UNDERFLOW) / step
        estimates.append(fine + (fine - coarse) / 3)
        errors.append(error)
    expected, tolerance = _best(estimates, errors, others=1)
    # What underflows in the imaginary part; a direction is at least 2⁻⁷ in each entry that it moves.
    tolerance = tolerance + 2.0**7 * float(np.finfo(np.float64).smallest_subnormal) / COMPLEX_STEP
    # Where nothing finite came of the differences there is nothing to hold against the complex step.
    agreed = (np.abs(slope - expected) <= tolerance) | ~np.isfinite(expected)
    if agreed.all():
        return None
    worst = int(np.argmin(agreed))
    return f"along a random direction output {worst} changes by {slope[worst]:.3g} instead of {expected[worst]:.3g}"


def _complex_jacobian(function: _Function, point: Array) -> Array:
    # Powers of two, by which multiplying and dividing is exact; smaller only beside entries so small that the step
    # would not be small beside them.
    is_tiny = (np.abs(point) < 2.0**-30) & (point != 0)
    sizes = np.where(is_tiny, power_of_two_below(np.where(is_tiny, np.abs(point), 1.0)), 1.0)
    steps = COMPLEX_STEP * sizes

    def moved() -> Iterator[Array]:
        for index in np.ndindex(point.shape):
            stepped = point.astype(np.complex128)
            stepped[index] = complex(point[index], steps[index])
            yield stepped

    rows = [value.imag / step for value, step in zip(function.many(moved()), steps.reshape(-1), strict=True)]
    return _stacked(rows, function, point)


def _difference_jacobian(
    function: Callable[[Array], Array], point: Array, enough: int = HALVINGS
) -> tuple[Array, Array, Array]:
    slopes, errors = [], []
    moved, middle, kinks = point.copy(), function(point.copy()), np.zeros(point.shape, bool)
    for index in np.ndindex(point.shape):
        centre = float(point[index])

        seen: dict[float, Array] = {0.0: middle}

        def along(
            offset: float, index: tuple[int, ...] = index, centre: float = centre, seen: dict[float, Array] = seen
        ) -> Array:
            moved[index] = centre + offset
            value = seen[offset] = function(moved)
            moved[index] = centre
            return value

        # A function may change at once beside a small entry (1/x), but hardly faster beside a large one.
        size = float(power_of_two_below(np.clip(np.abs(centre), 2.0**-20, 1.0)))
        slope, error = extrapolated_difference(along, size, enough)
        slopes.append(slope)
        errors.append(error)
        kinks[index] = _is_kinked(seen)
    return _stacked(slopes, function, point), _stacked(errors, function, point), kinks


def _is_kinked(seen: Mapping[float, Array]) -> bool:
    """Whether there is a kink within a quarter of the first step of a difference; ``seen`` is f(x + h) by h, with 0.

    Differences taken across it agree with each other, and their limit is the mean of the two slopes. How much these
    differ, a(h) = |f(x + h) − 2f(x) + f(x − h)|/h, halves with h where f is smooth. For a kink at distance d < h it is
    jump·(1 − d/h): from 2h to h it falls to (1 − d/h)/(1 − d/2h), which is above 2/3 for d < h/2. Farther away it
    disturbs the first differences alone, and the others agree without them. What is below 2⁻¹⁰ of the largest slope is
    no jump: a third derivative may stand out where the second is 0.
    """
    steps = sorted((step for step in seen if step > 0), reverse=True)
    # Of the largest output: a small one may be all that is left of terms as large as that.
    around = np.abs(list(seen.values())).max(initial=0.0)
    shortest = steps[-1]
    steepest = np.abs(seen[shortest] - seen[-shortest]).max(initial=0.0) / (2 * shortest)
    before = None
    for step in steps:
        bend = np.abs(seen[step] - 2 * seen[0.0] + seen[-step]) / step
        least = max(4 * (EVALUATION_ERROR * around + UNDERFLOW) / step, 2.0**-10 * steepest)
        if before is not None and np.any((bend > least) & (bend > 2 / 3 * before)):
            return True
        before = bend
    return False


def _stacked(rows: list[Array], function: Callable[[Array], Array], point: Array) -> Array:
    return np.stack(rows) if rows else np.zeros((0, function(point).size))


def extrapolated_difference(
    along: Callable[[float], Array], size: float = 1.0, enough: int = HALVINGS
) -> tuple[Array, Array]:
    """d/ds ``along(s)`` at s = 0 by Richardson's extrapolation, and an estimate of its error, entry by entry.

    ``size``, a power of two, is the scale on which the function changes; the first step is that times 2⁻⁶. After
    ``enough`` steps it stops where nothing but rounding is left.
    """
    table: list[Array] = []
    estimates: list[Array] = []
    errors: list[Array] = []
    for halving in range(HALVINGS):
        step = FIRST_STEP * size / 2**halving
        ahead, behind = along(step), along(-step)
        row = [(ahead - behind) / (2 * step)]
        rounding = (EVALUATION_ERROR * (np.abs(ahead) + np.abs(behind)) + UNDERFLOW) / step
        for column, before in enumerate(table, start=1):
            row.append(row[-1] + (row[-1] - before) / (4**column - 1))
        of_row = [
            rounding + np.maximum(np.abs(row[column] - row[column - 1]), np.abs(row[column] - table[column - 1]))
            for column in range(1, len(row))
        ]
        if of_row:
            best, least = _best(row[1:], of_row, others=0)
            estimates.append(best)
            errors.append(least)
        table = row
        if halving + 1 >= enough:
            found, least = _best(estimates, errors, others=2)
            if np.all(least <= 4 * rounding):
                break
    return found, least


def _best(estimates: list[Array], errors: list[Array], *, others: int) -> tuple[Array, Array]:
    """Entry by entry the estimate with the least error, and that error.

    Two differences may agree by chance where rounding is all there is. So the ``others`` next best estimates must agree
    too: by how much they differ is added to the error.
    """
    known = [np.where(np.isfinite(error), error, np.inf) for error in errors]
    order = np.argsort(np.stack(known), axis=0, kind="stable")
    ranked = np.take_along_axis(np.stack(estimates), order, axis=0)
    least = np.take_along_axis(np.stack(known), order, axis=0)[0]
    for other in ranked[1 : 1 + others]:
        least = np.maximum(least, np.abs(other - ranked[0]))
    return ranked[0], np.where(np.isnan(least), np.inf, least)
