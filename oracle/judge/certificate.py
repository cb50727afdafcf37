"""The certificate: every entry of every gradient of a network, checked in the time of a few forward passes.

⟨backprop, v⟩ and the derivative of the loss along v are the same number, within what rounding explains
(`oracle.catalog.directional`). With random directions v no entry hides: |v_i| ≥ ½, so that an error of more than four
bounds in a single entry is noticed by every direction, whatever its place. Errors in several entries might cancel. Say
the largest of them is e, and all v but its own are given: the sum is within the bounds only where that v lies in an
interval of length 4 B/e, and of its 1,024 values, 1/1024 apart, at most 1024·4B/e + 1 do. From e = 4,096 B on the
probability is at most 2/1024 for each direction, and directions are independent.

When a direction fails the set of entries is halved until the wrong ones are found, each with its index.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from oracle.catalog.case import Arrays
from oracle.catalog.directional import Roundings, TangentLayer
from oracle.catalog.records import LOSS_TANGENT, RECORDS
from oracle.judge.bounds import DOUBLE, stack_errors, targets_as_rows
from oracle.sources.directional import LEVELS, AlongDirections, draw_directions
from oracle.subjects.interface import Array, Subject

#: Of errors that cancel, the largest 4,096 bounds or more: the probability that every direction misses them.
MISS_PROBABILITY = 1e-5
DIRECTIONS = math.ceil(math.log(MISS_PROBABILITY) / math.log(2 / LEVELS))


@dataclass(frozen=True)
class Direction:
    """One direction: ⟨backprop, v⟩ and the numerical derivative along v, with the bound of their difference."""

    backprop: float
    numerical: float
    bound: float
    method: str

    @property
    def margin(self) -> float:
        error = abs(self.backprop - self.numerical)
        margin = error / self.bound if self.bound > 0 else (0.0 if error == 0 else math.inf)
        return math.inf if math.isnan(margin) else margin


@dataclass(frozen=True)
class Certificate:
    """What the directions said of all entries at once.

    ``gradients`` by quantity are those that were compared, in double precision; along ``scales`` times random signs and
    magnitudes in [½, 1). ``left_out`` counts entries at a kink, which no direction moves. ``evaluations`` are forwards
    of the reference.
    """

    directions: tuple[Direction, ...]
    gradients: dict[str, Array]
    scales: dict[str, float]
    entries: int
    left_out: int
    evaluations: int
    miss_probability: float = MISS_PROBABILITY

    @property
    def margin(self) -> float:
        return max(direction.margin for direction in self.directions)

    @property
    def passed(self) -> bool:
        return self.margin <= 1

    @property
    def guaranteed(self) -> dict[str, float]:
        """By quantity, the smallest error of a single entry that is noticed for certain.

        Relative to the median of the entries that are not 0; a quantity of nothing but zeros is missing.
        """
        # |v| ≥ ½, and rounding may take one bound away from the error before it is held against another.
        noticed = 4 * min(direction.bound for direction in self.directions)
        present = {quantity: np.abs(values[values != 0]) for quantity, values in self.gradients.items()}
        return {
            quantity: noticed / (self.scales[quantity] * float(np.median(sizes)))
            for quantity, sizes in present.items()
            if sizes.size
        }


class Certifier:
    """A network opened once, with its parameters, to be certified at any inputs.

    ``parameters`` are in the dtype under test; the reference runs in double precision on the same values.

    Raises:
        ValueError: a record that is no stack of layers.
        SubjectError: the subject raises.
    """

    def __init__(self, subject: Subject, parameters: Mapping[str, Array], *, seed: int = 0) -> None:
        if not subject.record.stack:
            raise ValueError(
                f"{subject.label}: received a single layer; required: a network. The entries of a layer are few: "
                "compare them one by one"
            )
        self.subject = subject
        self.parameters = dict(parameters)
        self.dtype = np.result_type(*parameters.values())
        self.handle = subject.open(parameters)
        self.reference = AlongDirections(subject, parameters)
        self.rng = np.random.default_rng((seed, 2))
        self.layers = tuple(self._tangent_layers())
        #: Filled at every call: to map new memory takes longer than to fill it.
        self.directions = np.empty((DIRECTIONS, self.reference.entries))
        self.gradient = np.empty(self.reference.entries)
        self.products = np.empty((2, self.reference.entries))

    def at(self, inputs: Mapping[str, Array]) -> Point:
        """The network at these inputs, its gradients computed; good until the next call.

        Raises ValueError for a gradient of the wrong shape, and SubjectError.
        """
        return Point(self, inputs)

    def certify(self, inputs: Mapping[str, Array]) -> Certificate:
        """Compare all gradients at ``inputs`` along random directions; raises what `at` raises."""
        return self.at(inputs).certificate()

    def _tangent_layers(self) -> Iterator[tuple[TangentLayer, tuple[str, ...]]]:
        record = self.subject.record
        for name, parameters in record.stack:
            make = RECORDS[name].tangent
            assert make is not None, f"{name} has no tangent, but stands in the stack of {record.name}"
            yield make(*(np.asarray(self.parameters[p], np.float64) for p in parameters)), parameters


class Point:
    """A network at one set of inputs: its gradients, and what rounding can explain along any direction."""

    def __init__(self, certifier: Certifier, inputs: Mapping[str, Array]) -> None:
        self._certifier = certifier
        self.record = certifier.subject.record
        self.reference = certifier.reference
        self._layers = certifier.layers
        self.reference.at(inputs)
        self.inputs = dict(inputs)
        self.parameters = certifier.parameters
        self._eps = float(np.finfo(certifier.dtype).eps)
        self.gradient = self._gradient()
        self.scales = self._scales()
        self._go_through_the_stack()
        self.still = self._entries_at_a_kink()

    def certificate(self) -> Certificate:
        """Compare all gradients along random directions."""
        before = self.reference.evaluations
        compared = self.compare(self.gradient, self.draw(), self.scales)
        left_out = 0 if self.still is None else int(self.still.sum())
        names = {name: self.record.gradient_name(name) for name in self.reference.shapes}
        return Certificate(
            compared,
            # Copies: the next call fills the same memory.
            {names[name]: part.copy() for name, part in self.reference.split(self.gradient).items()},
            {names[name]: scale for name, scale in self.scales.items()},
            entries=self.gradient.size - left_out,
            left_out=left_out,
            evaluations=self.reference.evaluations - before,
        )

    def draw(self) -> Array:
        """Random directions through all entries but those at a kink, shape (K, entries); the next call overwrites them.

        Random signs times magnitudes in [½, 1) times the scale of the array.
        """
        directions = draw_directions(self._certifier.directions, self._certifier.rng)
        for name, part in self.reference.split(directions).items():
            part *= self.scales[name]
        if self.still is not None:
            directions[:, self.still] = 0.0
        return directions

    def compare(
        self, gradient: Array, directions: Array, scales: Mapping[str, float] | None = None
    ) -> tuple[Direction, ...]:
        """⟨gradient, v⟩ with the derivative along v, for every direction; shapes (entries,) and (K, entries).

        ``scales``, by parameter, say how far directions move any entry at most; with them the bound is had sooner.
        """
        compared = []
        for v, bound, reach in zip(directions, *self._bounds(directions, scales), strict=True):
            slope = self.reference.slope(v, float(reach))
            compared.append(
                Direction(
                    inner(gradient, v, self._certifier.products),
                    slope.value,
                    float(bound) + slope.own_error,
                    slope.method,
                )
            )
        return tuple(compared)

    def random_direction(self, start: int, stop: int, step: int = 1) -> Array:
        """A random direction, shape (1, entries), that moves the entries start:stop:step, but none at a kink."""
        direction = np.zeros((1, self.gradient.size))
        direction[0, start:stop:step] = draw_directions(np.empty(len(range(start, stop, step))), self._certifier.rng)
        if self.still is not None:
            direction[0, self.still] = 0.0
        return direction

    def _bounds(self, directions: Array, scales: Mapping[str, float] | None) -> tuple[Array, Array]:
        """What rounding can explain along each direction, and how far each can be gone without a kink; shapes (K,)."""
        moved = self.reference.split(directions)
        tangent = None
        for layer, names in self._layers:
            along = tuple(moved[name] for name in names)
            extents = along if scales is None else tuple(np.full((1,) * moved[n].ndim, scales[n]) for n in names)
            tangent = layer.along(tangent, along, extents)
        assert tangent is not None
        reach = np.full(len(directions), np.inf)
        for layer, _ in self._layers:
            reach = reach if layer.reach is None else np.minimum(reach, layer.reach)
        made = Roundings()
        sensitivity = self._loss.gather(tangent, made)
        for layer, _ in reversed(self._layers):
            sensitivity = layer.gather(sensitivity, made)
        # What underflows in a gradient, entry by entry.
        subnormal = float(np.finfo(self._certifier.dtype).smallest_subnormal)
        return made.bound(self._eps, float(DOUBLE.eps)) + self.gradient.size * self._rows * subnormal, reach

    def _gradient(self) -> Array:
        """The subject's gradients of all parameters, one after the other, in double precision."""
        certifier = self._certifier
        # Copies: a subject may write into what it is given.
        inputs = {name: np.copy(values, order="K") for name, values in self.inputs.items()}
        gradients = certifier.handle.step(inputs, np.ones((), certifier.dtype))
        parts = []
        for name, shape in self.reference.shapes.items():
            quantity = self.record.gradient_name(name)
            part = np.asarray(gradients[quantity])
            if part.shape != shape:
                raise ValueError(
                    f"{certifier.subject.label}: {quantity} has shape {part.shape}, but {name} has shape {shape}"
                )
            parts.append(part.reshape(-1))
        return np.concatenate(parts, out=certifier.gradient)

    def _scales(self) -> dict[str, float]:
        """By parameter, a power of two by which its directions are scaled.

        Gradients of one array are often a hundred times those of another, and so is the rounding that they bring into
        the sum. With steps that go with the inverse of their size no array drowns in the rounding of another.
        """
        sizes = {
            name: float(np.linalg.norm(part)) / max(part.size, 1) ** 0.5
            for name, part in self.reference.split(self.gradient).items()
        }
        largest = max(sizes.values())
        if not 0 < largest < math.inf:
            return dict.fromkeys(sizes, 1.0)
        # Steps stay within the range in which complex steps and differences are good: 2⁻¹⁰ to 1.
        smallest = min(size for size in sizes.values() if size > 0)
        return {
            name: 2.0 ** max(-10, math.floor(math.log2(smallest / size)) if size > 0 else 0)
            for name, size in sizes.items()
        }

    def _go_through_the_stack(self) -> None:
        """Values and δ of every layer, in double precision."""
        x, t = (np.asarray(values) for values in self.inputs.values())
        value = np.asarray(x[None] if x.ndim == 1 else x, np.float64)
        self._rows = len(value)
        error = np.zeros(value.shape)
        for layer, _ in self._layers:
            value, error = layer.at(value, error, self._eps)
        self._loss = LOSS_TANGENT[self.record.settings["output"]]()
        delta = self._loss.at(value, targets_as_rows(t, value.shape[1], is_single=x.ndim == 1))
        for layer, _ in reversed(self._layers):
            delta = layer.weigh(delta)

    def _entries_at_a_kink(self) -> Array | None:
        """The entries that hang on a pre-activation so near 0 that rounding decides on the branch; None for none."""
        if all(layer.at_kink is None for layer, _ in self._layers):
            return None
        arrays = Arrays(self.inputs, self.parameters, np.ones(()))
        _, opened = stack_errors(self.record, arrays, self._eps)
        return np.concatenate([opened[self.record.gradient_name(name)].reshape(-1) for name in self.reference.shapes])


def inner(gradient: Array, direction: Array, work: Array) -> float:
    """Σ g v, with one rounding for each product and none worth mentioning for their sum; ``work`` is (2, entries).

    σ is a power of two above the sum: the leading digits (σ + p) − σ of all products are multiples of one number, and
    their sum is exact (Rump, Ogita and Oishi, Accurate floating-point summation, part I, 2008).
    """
    products, leading = work
    np.multiply(gradient, direction, out=products)
    largest = max(float(products.max(initial=0.0)), -float(products.min(initial=0.0)))
    if largest == 0 or not math.isfinite(largest):
        return float(products.sum())
    sigma = math.ldexp(1.0, math.frexp(largest)[1] + products.size.bit_length())
    np.add(products, sigma, out=leading)
    leading -= sigma
    total = float(leading.sum())
    products -= leading
    return total + float(products.sum())
