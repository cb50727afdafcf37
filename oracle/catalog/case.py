"""A case: one concrete instance of a record, as plain data, and the arrays that it stands for.

A case holds shapes, a layout, a corner and a seed, never arrays: it can be printed, pickled, compared and
replayed, and hypothesis shrinks it quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from oracle.catalog.corners import CORNERS, ORDINARY
from oracle.catalog.record import BATCH, Argument, Array, LayerSpec
from oracle.data.digits import Digits, one_hot

LAYOUTS = ("contiguous", "Fortran", "strided", "read-only")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One concrete instance of a record. ``shapes`` holds every argument's shape and that of ``dout``."""

    record: str
    dtype: str
    shapes: tuple[tuple[str, Shape], ...]
    corner: str = ORDINARY
    layout: str = "contiguous"
    scale: float = 1.0
    targets: str = ""
    #: "random", or the name of a real data set, whose samples are then the first input and the targets.
    data: str = "random"
    seed: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether nothing about it is unusual: what every subject must be able to do."""
        return self.corner == ORDINARY and self.layout == "contiguous"

    def __str__(self) -> str:
        shapes = ", ".join(f"{name} {shape}" for name, shape in self.shapes)
        parts = [self.record, self.dtype, shapes, self.corner, self.layout, f"scale {self.scale:g}"]
        if self.targets:
            parts.append(f"targets {self.targets}")
        if self.data != "random":
            parts.append(f"data {self.data}")
        return " · ".join([*parts, f"seed {self.seed}"])


@dataclass(frozen=True)
class Arrays:
    """The arrays of a case. ``inputs`` holds inputs and targets in the order of the record."""

    inputs: dict[str, Array]
    parameters: dict[str, Array]
    dout: Array

    def everything(self) -> dict[str, Array]:
        return {**self.inputs, **self.parameters, "dout": self.dout}


def materialise(case: Case, record: LayerSpec, real_data: Mapping[str, Digits] | None = None) -> Arrays:
    """The arrays that ``case`` stands for: always the same ones for the same case.

    Floating arrays have the dtype of the case, labels are int64, ``dout`` is normal (never all ones). Each
    array has the layout of the case and memory of its own.
    """
    rng = np.random.default_rng(case.seed)
    shapes = dict(case.shapes)
    corner = CORNERS[case.corner]
    dtype = np.dtype(case.dtype)
    drawn: dict[str, Array] = {}
    labels: Array | None = None
    for argument in record.arguments:
        shape = shapes[argument.name]
        if argument.role == "target":
            if labels is not None and case.targets == "labels":
                drawn[argument.name] = labels
            elif labels is not None:
                drawn[argument.name] = _one_hot(labels, shape).astype(dtype)
            else:
                drawn[argument.name] = _targets(case.targets, shape, rng, dtype)
        elif argument.role == "input" and case.data != "random":
            samples = (real_data or {})[case.data]
            # The first images of a training set are what the source material shows its figures for.
            drawn[argument.name] = samples.images[: shape[0]].astype(dtype)
            labels = samples.labels[: shape[0]].astype(np.int64)
        else:
            values = _DRAWS[argument.values](argument, shape, case.scale, rng)
            if argument.role == "input" or corner.parameters_too:
                values = ALTERATIONS[corner.entries](values, rng)
            drawn[argument.name] = values if values.dtype.kind == "i" else values.astype(dtype)
    dout = rng.normal(size=shapes["dout"])
    dout = (ALTERATIONS[corner.entries](dout, rng) if corner.dout_too else dout).astype(dtype)
    if not record.takes_dout:
        dout = np.ones((), dtype)
    laid = {name: lay_out(np.asarray(values), case.layout) for name, values in drawn.items()}
    parameters = {name: laid.pop(name) for name in record.parameters}
    return Arrays(laid, parameters, lay_out(dout, case.layout))


def lay_out(values: Array, layout: str) -> Array:
    """A copy of ``values`` in memory of its own with the named layout."""
    if layout == "Fortran":
        return np.array(values, order="F")
    if layout == "strided":
        # Every axis runs backwards over every other entry of a larger array full of NaN (or of a number
        # that is no label): whoever reads past the strides meets them.
        filler = np.nan if values.dtype.kind in "fc" else np.iinfo(values.dtype).min
        larger = np.full(tuple(2 * side for side in values.shape), filler, values.dtype)
        every_other: tuple[Any, ...] = (..., *[slice(None, None, -2)] * values.ndim)
        view = larger[every_other]
        view[...] = values
        return view
    copy = np.array(values, order="C")
    copy.flags.writeable = layout != "read-only"
    return copy


def select_rows(case: Case, record: LayerSpec, values: Mapping[str, Array], rows: Any) -> dict[str, Array]:
    """``values`` with the given rows (an index of NumPy) of every array that has a batch axis."""
    batched = {a.name for a in record.arguments if BATCH in a.axes}
    if BATCH in record.output_shape:
        batched.add("dout")
    return {name: np.array(array[rows]) if name in batched else array for name, array in values.items()}


def _normal(argument: Argument, shape: Shape, scale: float, rng: np.random.Generator) -> Array:
    return rng.normal(size=shape) * scale


def _weights(argument: Argument, shape: Shape, scale: float, rng: np.random.Generator) -> Array:
    fan_in = shape[0] if len(shape) > 1 else 1
    return rng.normal(size=shape) / np.sqrt(max(fan_in, 1))


def _probabilities(argument: Argument, shape: Shape, scale: float, rng: np.random.Generator) -> Array:
    positive = rng.uniform(0.1, 1.0, size=shape)
    return positive / positive.sum(axis=-1, keepdims=True)


_DRAWS: dict[str, Callable[[Argument, Shape, float, np.random.Generator], Array]] = {
    "normal": _normal,
    "weights": _weights,
    "probabilities": _probabilities,
}


def _as_drawn(values: Array, rng: np.random.Generator) -> Array:
    return values


def _integers(values: Array, rng: np.random.Generator) -> Array:
    # Away from 0, where a reciprocal has no value and a Relu no derivative.
    return np.where(values < 0, -1, 1) * (np.ceil(np.abs(values)).astype(np.int64) + 0)


def _extremes(values: Array, rng: np.random.Generator) -> Array:
    extreme = np.where(rng.uniform(size=values.shape) < 0.5, -1e4, 1e4)
    return np.where(rng.uniform(size=values.shape) < 0.5, extreme, values)


def _zeros(values: Array, rng: np.random.Generator) -> Array:
    return np.where(rng.uniform(size=values.shape) < 0.5, 0.0, values)


def _large(values: Array, rng: np.random.Generator) -> Array:
    large = rng.choice((-1.0, 1.0), size=values.shape) * rng.uniform(31, 60, size=values.shape)
    return np.where(rng.uniform(size=values.shape) < 0.5, large, values)


def _one_decimal(values: Array, rng: np.random.Generator) -> Array:
    return np.round(values, 1)


def _small_integers(values: Array, rng: np.random.Generator) -> Array:
    # None is 0, where a rectifier has no derivative and a product hides its other factor.
    return np.sign(values) * np.ceil(np.abs(values))


ALTERATIONS: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "as drawn": _as_drawn,
    "integers": _integers,
    "extremes": _extremes,
    "zeros": _zeros,
    "large": _large,
    "one decimal": _one_decimal,
    "small integers": _small_integers,
}


def _one_hot(labels: Array, shape: Shape) -> Array:
    return one_hot(labels.reshape(-1), shape[-1]).reshape(shape)


def _targets(form: str, shape: Shape, rng: np.random.Generator, dtype: np.dtype) -> Array:
    if form == "labels":
        # The shape of a label array says nothing about the classes; they are kept in the last axis of the
        # shape, and dropped here.
        return np.asarray(rng.integers(0, shape[-1], size=shape[:-1]))
    if form == "one-hot":
        return _one_hot(np.asarray(rng.integers(0, shape[-1], size=shape[:-1])), shape).astype(dtype)
    if form == "binary":
        return rng.integers(0, 2, size=shape).astype(dtype)
    if form == "values":
        return rng.normal(size=shape).astype(dtype)
    positive = rng.uniform(size=shape)
    if form == "soft":
        positive = positive / positive.sum(axis=-1, keepdims=True)
    return positive.astype(dtype)
