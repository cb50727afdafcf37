"""The decision rules of other gradient checkers, in a few lines each: what they would have said of a subject.

Each is given a subject at one plain case in double precision, as its users would call it, and says whether something
is wrong. A call that raises is noticed by everybody.

- ``book``: central differences of Σy with h = 1e-4, element by element, upstream gradient 1; the mean absolute error
  of each gradient ("Deep Learning from Scratch", section 5.7.4). The book prints errors up to 1.4e-7 and is content.
- ``cs231n``: central differences with h = 1e-5, random upstream gradient; the largest relative error
  |a − n|/max(|a| + |n|, 1e-8), which the course's notes call usually okay up to 1e-4.
- ``gradcheck``, ``gradcheck fast``: ``torch.autograd.gradcheck`` with its own settings, in both modes.
- ``random projection``: one random direction against one random upstream gradient, as ``jax.test_util.check_grads``
  does in reverse mode (eps 1e-4, tolerance 1e-5).
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oracle.catalog.case import Arrays, Case, materialise
from oracle.catalog.record import Array
from oracle.sources.autograd import is_available
from oracle.subjects.interface import Subject, SubjectError

BOOK_STEP, BOOK_ERROR = 1e-4, 1e-6
CS231N_STEP, CS231N_ERROR, CS231N_FLOOR = 1e-5, 1e-4, 1e-8
PROJECTION_STEP, PROJECTION_TOLERANCE = 1e-4, 1e-5

Backward = Callable[[Array], list[Array]]


@dataclass(frozen=True)
class Layer:
    """A subject as a function of everything that it is differentiated by, at one case."""

    subject: Subject
    given: Arrays
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        return self.subject.record.differentiated

    @property
    def points(self) -> list[Array]:
        everything = self.given.everything()
        return [np.array(everything[name], np.float64) for name in self.names]

    def call(self, points: Iterable[Array]) -> tuple[Array, Backward]:
        """The first output at ``points``, and a function from an upstream gradient to the gradients."""
        moved = {name: point.copy() for name, point in zip(self.names, points, strict=True)}
        inputs = {name: moved.get(name, values).copy() for name, values in self.given.inputs.items()}
        handle = self.subject.open({name: moved.get(name, values) for name, values in self.given.parameters.items()})
        value = np.asarray(handle.forward(inputs).values[self.subject.record.outputs[0]], np.float64)

        def backward(dout: Array) -> list[Array]:
            values = handle.backward(np.array(dout)).values
            return [np.asarray(values[self.subject.record.gradient_name(name)], np.float64) for name in self.names]

        return value, backward

    def value(self, points: Iterable[Array]) -> Array:
        return self.call(points)[0]

    def rng(self) -> np.random.Generator:
        return np.random.default_rng((self.seed, 6))

    def differences(self, dout: Array, step: float) -> list[Array]:
        """Central differences of Σ dout·y, element by element."""
        points = self.points
        slopes = []
        for point in points:
            slope = np.empty(point.shape)
            for index in np.ndindex(point.shape):
                kept = point[index]
                point[index] = kept + step
                ahead = np.sum(dout * self.value(points))
                point[index] = kept - step
                behind = np.sum(dout * self.value(points))
                point[index] = kept
                slope[index] = (ahead - behind) / (2 * step)
            slopes.append(slope)
        return slopes


def book(layer: Layer) -> bool:
    value, backward = layer.call(layer.points)
    ones = np.ones(value.shape)
    pairs = zip(backward(ones), layer.differences(ones, BOOK_STEP), strict=True)
    return any(not np.mean(np.abs(own - slope)) <= BOOK_ERROR for own, slope in pairs)


def cs231n(layer: Layer) -> bool:
    value, backward = layer.call(layer.points)
    dout = _upstream(layer, value)
    return any(
        not np.max(np.abs(own - slope) / np.maximum(np.abs(own) + np.abs(slope), CS231N_FLOOR), initial=0.0)
        <= CS231N_ERROR
        for own, slope in zip(backward(dout), layer.differences(dout, CS231N_STEP), strict=True)
    )


def random_projection(layer: Layer) -> bool:
    points, rng = layer.points, layer.rng()
    tangents = [rng.normal(size=point.shape) for point in points]
    ahead, behind = (
        layer.value([p + sign * PROJECTION_STEP * v for p, v in zip(points, tangents, strict=True)]) for sign in (1, -1)
    )
    value, backward = layer.call(points)
    dout = _upstream(layer, value)
    expected = float(np.sum(dout * (ahead - behind) / (2 * PROJECTION_STEP)))
    gradients = backward(dout)
    if any(own.shape != v.shape for own, v in zip(gradients, tangents, strict=True)):
        return True
    found = sum(float(np.sum(own * v)) for own, v in zip(gradients, tangents, strict=True))
    return not abs(found - expected) <= PROJECTION_TOLERANCE * (1 + abs(expected))


def _gradcheck(layer: Layer, *, fast: bool) -> bool:
    check: Callable[..., bool] = importlib.import_module("oracle.twins.gradcheck").gradcheck
    # A network has no upstream gradient: its gradients are those of the loss, and the chain rule goes on outside.
    return not check(layer.call, layer.points, fast=fast, takes_dout=layer.subject.record.takes_dout)


def _upstream(layer: Layer, value: Array) -> Array:
    return layer.rng().normal(size=value.shape) if layer.subject.record.takes_dout else np.ones(value.shape)


RULES: Mapping[str, Callable[[Layer], bool]] = {
    "book": book,
    "cs231n": cs231n,
    "gradcheck": lambda layer: _gradcheck(layer, fast=False),
    "gradcheck fast": lambda layer: _gradcheck(layer, fast=True),
    "random projection": random_projection,
}
NEED_TORCH = frozenset({"gradcheck", "gradcheck fast"})


def verdicts_of_others(subject: Subject, cases: Iterable[Case]) -> dict[str, bool | None]:
    """By rule, whether it finds something wrong in any of ``cases``; None where PyTorch is missing.

    A record without a backward has nothing that they check: False.
    """
    return verdicts_at([Layer(subject, materialise(case, subject.record), case.seed) for case in cases])


def verdicts_at(layers: Sequence[Layer]) -> dict[str, bool | None]:
    """The same of one subject at the points given, at least one."""
    found: dict[str, bool | None] = {}
    for name, rule in RULES.items():
        if name in NEED_TORCH and not is_available():
            found[name] = None
        else:
            has_backward = layers[0].subject.record.has_backward
            found[name] = has_backward and any(_notices(rule, layer) for layer in layers)
    return found


def _notices(rule: Callable[[Layer], bool], layer: Layer) -> bool:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return bool(rule(layer))
        except (SubjectError, ValueError, TypeError, RuntimeError):
            # The subject raises, or what it gives does not fit what it is compared with.
            return True
