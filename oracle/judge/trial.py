"""A trial: one case of one subject, with every source's values and their bounds, for the checks to look at."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from oracle.catalog.case import Arrays, Case, lay_out, materialise
from oracle.catalog.corners import CORNERS
from oracle.catalog.record import Array, LayerSpec
from oracle.data.digits import Digits
from oracle.judge.bounds import OwnErrors, gradient_weight, own_error_of_backprop, own_errors
from oracle.judge.comparison import Comparison, compare
from oracle.judge.diagnosis import Explanation, lower_precision
from oracle.judge.divergence import Divergence, first_divergence
from oracle.judge.verdict import Evidence
from oracle.sources.autograd import autograd, twin_jacobians
from oracle.sources.backprop import backprop, shaken
from oracle.sources.estimate import Estimate
from oracle.sources.numerical import Derivative, numerical
from oracle.sources.truth import NoTruthError, Truth, truth
from oracle.subjects.interface import Handle, Reply, Subject, SubjectError

BACKPROP_NUMERICAL = ("backprop", "numerical")
BACKPROP_AUTOGRAD = ("backprop", "autograd")
NUMERICAL_AUTOGRAD = ("numerical", "autograd")
#: How far beside a kink its slopes are taken: further than a difference reaches around it.
BESIDE = 2.0**-5
PAIRS = (BACKPROP_NUMERICAL, BACKPROP_AUTOGRAD, NUMERICAL_AUTOGRAD)


@dataclass(frozen=True)
class Finding:
    """What a check found: the evidence, a sentence, the comparison where values were compared, and the cause.

    ``explanations`` are the causes that fit this case alone; ``cause_id`` is settled over all cases.
    """

    check: str
    evidence: Evidence
    case: Case
    sentence: str
    quantity: str = ""
    comparison: Comparison | None = None
    cause_id: str | None = None
    explanations: tuple[Explanation, ...] = ()


@dataclass
class Trial:
    """One case, run. ``error`` says why the subject could not be called; then there is nothing to compare.

    ``arrays()`` gives fresh arrays of the case; those that the sources saw are not handed on to the checks.
    """

    subject: Subject
    case: Case
    real_data: Mapping[str, Digits] | None = None
    with_autograd: bool = True
    error: SubjectError | None = None
    ignores_dout: bool = False
    estimates: dict[str, Estimate] = field(default_factory=dict)
    derivatives: dict[str, Derivative] = field(default_factory=dict)
    forward: Reply | None = None
    backward: Reply | None = None
    handle: Handle | None = None
    bounds: OwnErrors | None = None
    numerical_seconds: float = 0.0
    #: Every comparison of two sources that a check has made.
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def record(self) -> LayerSpec:
        return self.subject.record

    @cached_property
    def _arrays(self) -> Arrays:
        arrays = materialise(self.case, self.record, self.real_data)
        return replace(arrays, dout=np.ones_like(arrays.dout)) if self.ignores_dout else arrays

    def arrays(self) -> Arrays:
        """The arrays of the case: copies, in the layout of the case, that may be spoilt."""
        layout = self.case.layout
        return Arrays(
            {name: lay_out(values, layout) for name, values in self._arrays.inputs.items()},
            {name: lay_out(values, layout) for name, values in self._arrays.parameters.items()},
            lay_out(self._arrays.dout, layout),
        )

    def opened(self) -> tuple[Arrays, Any]:
        """Fresh arrays of the case, and a new instance with their parameters."""
        arrays = self.arrays()
        return arrays, self.subject.open(arrays.parameters)

    def other(self) -> Arrays:
        """Arrays of the same shapes with other values: inputs doubled and dout, both with the other sign."""
        arrays = self.arrays()
        differentiable = self.record.differentiable_inputs
        # Not only the sign: the derivatives of a sigmoid and of 1/x are even.
        inputs = {name: -2 * values if name in differentiable else values for name, values in arrays.inputs.items()}
        return Arrays(inputs, arrays.parameters, -arrays.dout)

    @cached_property
    def lower_precision(self) -> tuple[float, str]:
        """How many times the eps of the case the subject rounds by, and the cause where it is more than once."""
        return lower_precision(self) if self.bounds is not None and "numerical" in self.estimates else (1.0, "")

    @property
    def forward_lacks_digits(self) -> bool:
        """Whether forward itself computes in fewer digits than the case has, and is the twin's function otherwise."""
        output = self.record.outputs[0]
        if not self.lower_precision[1] or not self.with_autograd:
            return False
        ours, theirs = (self.estimates[source].values[output] for source in BACKPROP_AUTOGRAD)
        return not self.compare(output, BACKPROP_AUTOGRAD, ours, theirs).agrees

    @cached_property
    def divergence(self) -> Divergence | None:
        """The first layer of a network that differs from the twin; None where there is nothing to walk through."""
        has_batch = not CORNERS[self.case.corner].drops_batch_axis
        if not (self.record.stack and self.with_autograd and has_batch):
            return None
        given = self.arrays()
        try:
            return first_divergence(self.subject, self.case, given.inputs, given.parameters)
        except SubjectError:
            return None

    @cached_property
    def truth(self) -> Truth | None:
        """The definition differentiated in high precision; None where it has no value."""
        given = self._arrays
        try:
            return truth(self.record, given.inputs, given.parameters, given.dout)
        except NoTruthError:
            return None

    def rng(self) -> np.random.Generator:
        """Random numbers that belong to the case, other than those its arrays were made of."""
        return np.random.default_rng((self.case.seed, 1))

    def overflowed(self) -> str:
        """NumPy's warning of an overflow (or of a division by what underflowed) during a call; empty if none."""
        texts = [text for reply in (self.forward, self.backward) if reply is not None for text in reply.warnings]
        return next((text for text in texts if "overflow" in text or "divide by zero" in text), "")

    def not_comparable(self, quantity: str, bound: Array, shape: tuple[int, ...]) -> Array:
        """Entries at which two evaluations by backprop may differ by more than rounding: a mask.

        They hang on a kink, where rounding decides on the branch, or something infinite left them without a bound.
        """
        unbounded = ~np.isfinite(bound)
        mask = unbounded if unbounded.shape == shape else np.zeros(shape, bool)
        at_kink = self.bounds.open_branch.get(quantity) if self.bounds is not None else None
        return mask | at_kink if at_kink is not None and at_kink.shape == shape else mask

    def slopes_beside_kinks(self, quantity: str) -> tuple[Array, Array]:
        """The least and the largest gradient of the twin beside the kinks: where the inputs are a little more, or less.

        Which of both any entry takes is free, since where there are kinks an entry depends on its own input alone.
        """
        given = self._arrays
        found = []
        for sign in (1, -1):
            moved = {
                name: values + sign * BESIDE if name in self.record.differentiable_inputs else values
                for name, values in given.inputs.items()
            }
            found.append(autograd(self.record, moved, given.parameters, given.dout).values[quantity])
        return np.minimum(*found), np.maximum(*found)

    @property
    def dtype(self) -> np.dtype:
        """The dtype that results should have: integer inputs become float64."""
        return np.dtype(self.case.dtype)

    @property
    def gradients(self) -> tuple[str, ...]:
        """The names of the gradients that the subject gives."""
        return tuple(self.record.gradient_name(name) for name in self.record.differentiated)

    @property
    def shapes_are_right(self) -> bool:
        """Whether every result has the shape that it should have; otherwise there is little to compare."""
        given = self._arrays
        shapes = {self.record.outputs[0]: given.dout.shape}
        shapes.update({q: v.shape for q, v in self.estimates["autograd"].values.items()} if self.with_autograd else {})
        for name, values in {**given.inputs, **given.parameters}.items():
            shapes[self.record.gradient_name(name)] = values.shape
        results = self.estimates["backprop"].values
        return all(values.shape == shapes.get(quantity, values.shape) for quantity, values in results.items())

    @property
    def differentiates(self) -> bool:
        """Whether forward gave an output of the right shape, so that there is something to differentiate."""
        assert self.forward is not None
        return self.forward.values[self.record.outputs[0]].shape == self._arrays.dout.shape

    def run(self) -> Trial:
        """Ask every source. A subject that raises leaves ``error`` set."""
        try:
            self._ask_backprop()
            if self.record.is_loss and self._dout_is_ignored():
                self.ignores_dout = True
                del self._arrays
                self._ask_backprop()
            self._ask_references()
        except SubjectError as error:
            self.error = error
        return self

    def _ask_backprop(self) -> None:
        given = self.arrays()
        estimate, self.forward, self.backward, self.handle = backprop(
            self.subject, given.inputs, given.parameters, given.dout
        )
        self.estimates["backprop"] = estimate

    def _dout_is_ignored(self) -> bool:
        given, handle = self.opened()
        handle.forward(given.inputs)
        # Four times as much: times 1.1, a gradient of one subnormal stays what it is.
        for_one, for_four = (handle.backward(np.full_like(given.dout, factor)).values for factor in (1, 4))
        some = any(np.any(values != 0) for values in for_one.values())
        return some and all(np.array_equal(values, for_four[name]) for name, values in for_one.items())

    def _ask_references(self) -> None:
        given = self._arrays
        if self.with_autograd:
            self.estimates["autograd"] = autograd(self.record, given.inputs, given.parameters, given.dout)
        if not self.differentiates:
            return
        still = None
        if self.record.kink_distance is not None:
            distances = self.record.kink_distance({**given.inputs, **given.parameters})
            still = {name: distance <= 2.0**-8 for name, distance in distances.items()}
        start = time.perf_counter()
        answer = numerical(self.subject, given.inputs, given.parameters, given.dout, still=still, seed=self.case.seed)
        self.estimates["numerical"] = answer.estimate
        self.numerical_seconds = time.perf_counter() - start
        self.derivatives = answer.derivatives
        if self.with_autograd and not self.record.stack and self._differentiates_another_function():
            self.derivatives = self._at_least_those_of_the_twin(answer.derivatives)
        self.bounds = own_errors(
            self.record, given, self.dtype, self.derivatives, answer.estimate, given.dout, self._shaken()
        )

    def _shaken(self) -> dict[str, float]:
        """What rounding does to the gradients of a layer that nobody knows."""
        if self.record.has_twin or not self.record.has_backward:
            return {}
        given = self._arrays
        return shaken(self.subject, given.inputs, given.parameters, given.dout, seed=self.case.seed)

    def _differentiates_another_function(self) -> bool:
        """Also where forward answers rightly, but from a table: then nothing moves it."""
        ignored = any(map(self.forward_ignores, self.record.differentiated))
        return ignored or not self._forward_is_that_of_the_twin()

    def forward_ignores(self, argument: str) -> bool:
        """Whether the derivative of the subject's own forward is 0 in every entry, and that of the twin is not."""
        if any(source not in self.estimates for source in NUMERICAL_AUTOGRAD):
            return False
        gradient = self.record.gradient_name(argument)
        own, of_twin = (self.estimates[source].values[gradient] for source in NUMERICAL_AUTOGRAD)
        return not np.any(own) and bool(np.any(of_twin))

    def _forward_is_that_of_the_twin(self) -> bool:
        output = self.record.outputs[0]
        ours, theirs = (self.estimates[source].values[output] for source in NUMERICAL_AUTOGRAD)
        # Both are in double precision; what is not alike to half of its digits is another function.
        return bool(np.allclose(ours, theirs, rtol=1e-8, atol=0.0))

    def _at_least_those_of_the_twin(self, derivatives: dict[str, Derivative]) -> dict[str, Derivative]:
        """The derivatives that bounds are made of, where the subject's forward is another function.

        Its own Jacobian may then be 0 (a parameter that it does not use) or infinite, and says nothing of the rounding
        between backprop and autograd.
        """
        given = self._arrays
        theirs = twin_jacobians(self.record, given.inputs, given.parameters, given.dout.shape)
        return {
            name: replace(derivative, jacobian=np.fmax(np.abs(derivative.jacobian), np.abs(theirs[name])))
            for name, derivative in derivatives.items()
        }

    def compared(self, quantities: tuple[str, ...], pair: tuple[str, str]) -> list[Comparison]:
        """The comparisons of one pair of sources, for those of ``quantities`` that both have."""
        if any(source not in self.estimates for source in pair):
            return []
        first, second = (self.estimates[source].values for source in pair)
        shared = [q for q in quantities if q in first and q in second]
        return [self.compare(q, pair, first[q], second[q]) for q in shared]

    def values(self, comparison: Comparison, pair: tuple[str, str]) -> tuple[Array, Array]:
        """The two arrays that a comparison of this trial was made of."""
        first, second = (self.estimates[source].values[comparison.quantity] for source in pair)
        return first, second

    def compare(self, quantity: str, pair: tuple[str, str], actual: Array, expected: Array) -> Comparison:
        name = "-".join(pair)
        if self.bounds is None:
            # Nothing could be differentiated: outputs of a wrong shape. Only the shapes are told apart.
            return compare(quantity, name, self.case, actual, expected, np.asarray(0.0))
        left_out = self.bounds.open_branch.get(quantity)
        return compare(quantity, name, self.case, actual, expected, self.bounds.bound(quantity, pair), left_out)

    def reference_that_is_off(self, quantity: str) -> str | None:
        """Which of numerical and autograd is beyond its own error from truth; None where both or neither are.

        None as well where the forwards are different functions, or truth has nothing to say.
        """
        if not self._forward_is_that_of_the_twin() or quantity in self.record.outputs or self.bounds is None:
            return None
        exact = self.truth
        if exact is None:
            return None
        off = []
        for source in NUMERICAL_AUTOGRAD:
            values, own = self.estimates[source].values[quantity], self.bounds.errors[source][quantity]
            left_out = self.bounds.open_branch.get(quantity)
            expected = exact.estimate.values[quantity]
            if not compare(quantity, f"{source}-truth", self.case, values, expected, own, left_out).agrees:
                off.append(source)
        return off[0] if len(off) == 1 else None

    def autograd_loses_digits(self, quantity: str) -> Comparison | None:
        """PyTorch against truth, where it is beyond rounding and within what a textbook's formula loses."""
        if self.bounds is None or quantity not in self.bounds.textbook or "autograd" not in self.estimates:
            return None
        strict = self.bounds.errors["numerical"][quantity] + own_error_of_backprop(
            self.bounds.weights[quantity], np.dtype(np.float64)
        )
        left_out = self.bounds.open_branch.get(quantity)
        theirs = self.estimates["autograd"].values[quantity]
        numerical = self.estimates["numerical"].values[quantity]
        found = compare(quantity, "-".join(("autograd", "numerical")), self.case, theirs, numerical, strict, left_out)
        if found.agrees:
            return None
        if self.truth is None:
            return None
        found = compare(
            quantity, "autograd-truth", self.case, theirs, self.truth.estimate.values[quantity], strict, left_out
        )
        return None if found.agrees else found

    def lost_digits(self, quantity: str) -> Comparison | None:
        """Backprop against truth, where it loses digits that a difference as reference does not have either.

        None where the reference is good enough, or nothing is lost.
        """
        assert self.bounds is not None
        is_difference = quantity in self.estimates["numerical"].own_error
        if not is_difference or quantity not in self.bounds.textbook or not self.with_autograd:
            return None
        if not self._forward_is_that_of_the_twin() or self.truth is None:
            return None
        actual, expected = self.estimates["backprop"].values[quantity], self.truth.estimate.values[quantity]
        own, left_out = self.bounds.errors["backprop"][quantity], self.bounds.open_branch.get(quantity)
        found = compare(quantity, "backprop-truth", self.case, actual, expected, own, left_out)
        by_textbook = own + self.bounds.textbook[quantity]
        within = compare(quantity, "backprop-truth", self.case, actual, expected, by_textbook, left_out)
        return found if within.agrees and not found.agrees else None

    def rounding(self, quantity: str) -> Array:
        """What two evaluations by backprop may differ by when they round differently, by a textbook's formula too."""
        assert self.bounds is not None
        own = self.lower_precision[0] * self.bounds.errors["backprop"][quantity]
        return np.asarray(2 * (own + self.bounds.textbook.get(quantity, 0.0)))

    def loses_precision_only(self, quantity: str, pair: tuple[str, str], actual: Array, expected: Array) -> bool:
        """Whether what is beyond the bound is within what a textbook's formula loses."""
        if self.bounds is None or quantity not in self.bounds.textbook:
            return False
        bound = self.bounds.bound(quantity, pair) + self.bounds.textbook[quantity]
        left_out = self.bounds.open_branch.get(quantity)
        return compare(quantity, "-".join(pair), self.case, actual, expected, bound, left_out).agrees

    def rounding_for(self, argument: str, dout: Array) -> Array:
        """The same for the gradient of ``argument`` with another upstream gradient."""
        assert self.bounds is not None
        weight = gradient_weight(self.record, self._arrays, argument, self.derivatives[argument], dout)
        lost = self.bounds.textbook.get(self.record.gradient_name(argument), 0.0)
        grown = max(
            float(np.abs(dout).max(initial=0.0)) / max(float(np.abs(self._arrays.dout).max(initial=0.0)), 1e-3), 1
        )
        if not self.record.has_twin:
            # What rounding leaves of a cancellation.
            lost = self.bounds.errors["backprop"][self.record.gradient_name(argument)]
        return np.asarray(2 * (self.lower_precision[0] * own_error_of_backprop(weight, self.dtype) + lost * grown))
