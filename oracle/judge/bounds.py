"""Bounds: what rounding, and the sources' own errors, can explain. Every constant stands here with its reason.

The bound of a comparison is the sum of what each of its two sources may be off by. A source's own error is

    eps·(n + c)·scale + floor + own

- ``eps`` is that of the arithmetic the source computes in: the dtype of the case for backprop, float64 for
  numerical and autograd.
- ``scale`` is |J|ᵀ|dout| for a gradient and |J||x| + |y| for an output: the absolute values of everything that
  is summed. ``n`` is the length of that sum (Higham, Accuracy and Stability, ch. 3: |error| ≤ n·u·Σ|terms| for
  any order of summation; we allow 2u = eps), ``c`` = LOCAL the few roundings of a local derivative.
- A sum inside a network takes the probabilistic bound of ``oracle.catalog.rounding.summed`` instead of n.
- ``floor``: below the smallest normal number relative accuracy ends.
- ``own``: the error estimate of a difference, or of the way a gradient was observed.

A network has no relative accuracy: its errors are carried from layer to layer (``oracle.catalog.rounding``).

Of a layer that nobody knows, the Jacobian does not tell what is summed inside: what a normalisation subtracts is larger
than what is left. Its bound is the same for every entry of a quantity (``UNKNOWN_CANCELLATION``, ``UNKNOWN_SHAKEN``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from oracle.catalog.case import Arrays
from oracle.catalog.record import Array, LayerSpec
from oracle.catalog.records import LOSS_ROUNDING, RECORDS
from oracle.catalog.rounding import LOCAL, Flow
from oracle.sources.estimate import Estimate
from oracle.sources.numerical import COMPLEX_STEP, Derivative

DOUBLE = np.finfo(np.float64)

#: What cancels inside a layer that nobody knows is taken to be at most 2¹⁰ times the largest |J|ᵀ|dout| of a quantity:
#: of standard deviations from 2⁻⁵ to 2⁵ of the entries, divided by one another. Scales of a case are 1 and 4. It leaves
#: (n + c)·eps·2¹⁰ = 5e-12 for sums of twelve terms: a missing term, factor or axis is above 1e-3.
UNKNOWN_CANCELLATION = 2.0**10
#: What cancels further (a batch of one, of which a normalisation leaves nothing) is seen by moving the arguments by up
#: to 16 units in the last place (``oracle.sources.backprop.shaken``). Roundings inside move a result as arguments do
#: that are moved by (n + c) units, and n + c is below 64·16 for every sum of a case.
UNKNOWN_SHAKEN = 64.0

#: PyTorch flushes to zero, or overflows on the way (exp(720) in 1/(1 + exp(-x))), below the smallest normal.
AUTOGRAD_FLOOR = float(DOUBLE.smallest_normal)
#: The imaginary part of a complex step is a derivative times the step: what underflows there is lost.
COMPLEX_FLOOR = float(DOUBLE.smallest_subnormal) / COMPLEX_STEP


@dataclass(frozen=True)
class OwnErrors:
    """By source and quantity, what it may be off by; by quantity, the entries that a kink leaves open."""

    errors: dict[str, dict[str, Array]]
    open_branch: dict[str, Array]
    #: (n + c)·scale by quantity, of layers.
    weights: dict[str, Array] = field(default_factory=dict)
    #: What a textbook formula in the dtype of the case may lose besides, where the record knows of such a formula.
    textbook: dict[str, Array] = field(default_factory=dict)

    def bound(self, quantity: str, pair: tuple[str, str]) -> Array:
        return self.errors[pair[0]][quantity] + self.errors[pair[1]][quantity]


def own_errors(
    record: LayerSpec,
    arrays: Arrays,
    dtype: np.dtype,
    derivatives: Mapping[str, Derivative],
    numerical: Estimate,
    dout: Array,
    shaken: Mapping[str, float] | None = None,
) -> OwnErrors:
    """What each source may be off by in a case, for every quantity. ``numerical`` gives the outputs' sizes.

    ``shaken`` is by how much each gradient changes when the arguments are moved by a few units in the last place, where
    the record has no twin.
    """
    if record.stack:
        return _stack_errors(record, arrays, dtype, numerical)
    return _layer_errors(record, arrays, dtype, derivatives, numerical, dout, shaken or {})


def own_error_of_backprop(weight: Array, dtype: np.dtype) -> Array:
    """eps·weight + floor, where ``weight`` = (n + c)·scale; a sum of n terms may lose n subnormals."""
    info = np.finfo(dtype)
    return np.asarray(float(info.eps) * weight + LOCAL * float(info.smallest_subnormal))


def gradient_weight(record: LayerSpec, arrays: Arrays, name: str, derivative: Derivative, dout: Array) -> Array:
    """(n + c)·|J|ᵀ|dout| for every entry of argument ``name``, in its shape."""
    given = {**arrays.inputs, **arrays.parameters}
    # Of a derivative that is only estimated, the scale is what it may be.
    absolute = np.abs(derivative.jacobian) + (0.0 if derivative.own_error is None else derivative.own_error)
    terms = np.count_nonzero(absolute, axis=1) + (record.inner_sum(given) if record.inner_sum else 0)
    upstream = np.abs(np.asarray(dout, np.float64))
    # What underflowed in the imaginary part of a complex step is 0 in the Jacobian, and no 0.
    lost = COMPLEX_FLOOR if derivative.own_error is None else 0.0
    scale = ((absolute + lost) @ upstream.reshape(-1)).reshape(given[name].shape)
    if record.gradient_scale is not None:
        scale = np.maximum(scale, record.gradient_scale(given, upstream)[f"d{name}"])
    if not record.has_twin:
        largest = float(np.max(scale, initial=0.0)) * UNKNOWN_CANCELLATION
        return np.full(scale.shape, (float(np.max(terms, initial=0)) + LOCAL) * largest)
    return np.asarray((terms.reshape(given[name].shape) + LOCAL) * scale)


def _layer_errors(
    record: LayerSpec,
    arrays: Arrays,
    dtype: np.dtype,
    derivatives: Mapping[str, Derivative],
    numerical: Estimate,
    dout: Array,
    shaken: Mapping[str, float],
) -> OwnErrors:
    given = {**arrays.inputs, **arrays.parameters}
    textbook = record.textbook_scale(given, np.abs(dout)) if record.textbook_scale else {}
    weights: dict[str, Array] = {}
    open_branch: dict[str, Array] = {}

    output = record.outputs[0]
    y = np.abs(numerical.values[output])
    size, terms = y.copy(), np.zeros(y.shape)
    for name, derivative in derivatives.items():
        absolute = np.abs(derivative.jacobian)
        entries = np.abs(np.asarray(given[name], np.float64)).reshape(-1)
        size = size + (entries @ absolute).reshape(y.shape)
        terms = terms + np.count_nonzero(absolute, axis=0).reshape(y.shape)
        weights[f"d{name}"] = gradient_weight(record, arrays, name, derivative, dout)
    if record.inner_sum:
        terms = terms + record.inner_sum(given)
    weights[output] = (terms + LOCAL) * size
    if not record.has_twin:
        largest = float(np.max(weights[output], initial=0.0)) * UNKNOWN_CANCELLATION
        weights[output] = np.full(y.shape, largest)
        # Its kinks are where the differences are kinked.
        open_branch |= {f"d{n}": d.kinks for n, d in derivatives.items() if d.kinks is not None}

    if record.kink_distance is not None:
        for name, distance in record.kink_distance(given).items():
            open_branch[f"d{name}"] = distance <= derivatives[name].reach

    errors: dict[str, dict[str, Array]] = {"backprop": {}, "numerical": {}, "autograd": {}}
    for quantity, weight in weights.items():
        rounding = float(DOUBLE.eps) * weight
        errors["backprop"][quantity] = own_error_of_backprop(weight, dtype) + UNKNOWN_SHAKEN * shaken.get(quantity, 0.0)
        floor = LOCAL * COMPLEX_FLOOR
        errors["numerical"][quantity] = rounding + floor + numerical.own_error.get(quantity, 0.0)
        lost = float(DOUBLE.eps) * LOCAL * np.asarray(textbook.get(quantity, 0.0))
        errors["autograd"][quantity] = rounding + lost + LOCAL * AUTOGRAD_FLOOR
    info = np.finfo(dtype)
    by_textbook = {
        # What overflows on the way (exp(100) in float32) ends in 0 where there is a subnormal number.
        quantity: LOCAL * (float(info.eps) * np.asarray(scale) + float(info.smallest_normal))
        for quantity, scale in textbook.items()
    }
    return OwnErrors(errors, open_branch, weights, by_textbook)


def _stack_errors(record: LayerSpec, arrays: Arrays, dtype: np.dtype, numerical: Estimate) -> OwnErrors:
    subject, opened = stack_errors(record, arrays, float(np.finfo(dtype).eps))
    double, _ = stack_errors(record, arrays, float(DOUBLE.eps))
    observed = {q: double[q] + numerical.own_error.get(q, 0.0) for q in double}
    errors = {"backprop": subject, "numerical": observed, "autograd": double}
    return OwnErrors(errors, opened)


def _with_lost(flow: Flow, underflow: float) -> Flow:
    return replace(flow, error=flow.error + underflow)


def targets_as_rows(t: Array, classes: int, *, is_single: bool) -> Array:
    """Targets of a network as rows (N, C) in double precision: label indices become one-hot."""
    if t.ndim == (0 if is_single else 1):
        return (np.arange(classes) == t.reshape(-1, 1)).astype(np.float64)
    return np.asarray(t, np.float64).reshape(-1, classes)


def stack_errors(record: LayerSpec, arrays: Arrays, eps: float) -> tuple[dict[str, Array], dict[str, Array]]:
    """For a network: by quantity the error bound of arithmetic with ``eps``, and the entries left open."""
    x = np.asarray(next(iter(arrays.inputs.values())), np.float64)
    single = np.asarray(arrays.dout).ndim == 0 and x.ndim == 1
    rows = x[None] if single else x
    layers = []
    value, error = rows, np.zeros(rows.shape)
    for name, parameter_names in record.stack:
        rounding = RECORDS[name].rounding
        assert rounding is not None, f"{name} has no rounding, but stands in the stack of {record.name}"
        layer = rounding.fresh()
        given = tuple(np.asarray(arrays.parameters[p], np.float64) for p in parameter_names)
        value, error = layer.forward(value, error, given, eps)
        layers.append((layer, parameter_names))
    scores, scores_error = value, error
    classes = scores.shape[-1]
    targets = targets_as_rows(arrays.inputs["t"], classes, is_single=single)
    start = LOSS_ROUNDING[record.settings["output"]].start(scores, scores_error, targets, eps)

    errors: dict[str, Array] = {"loss": np.asarray(start.error + eps)}
    opened: dict[str, Array] = {}
    errors["scores"] = scores_error.reshape(scores.shape[1:] if single else scores.shape) + eps * np.finfo(float).tiny
    # A hit may turn into a miss where the two best scores are closer than their errors.
    ranked = np.sort(scores, axis=-1)
    gap = ranked[:, -1] - ranked[:, -2] if classes > 1 else np.full(len(scores), np.inf)
    undecided = gap <= 2 * scores_error.max(axis=-1)
    errors["accuracy"] = np.asarray(undecided.sum() / len(scores) + eps)
    # Half a subnormal is lost in each product; what is lost in δ is multiplied by the activations and the weights.
    subnormal = 2.0**-149 if eps > float(DOUBLE.eps) else float(DOUBLE.smallest_subnormal)
    flow = _with_lost(start.flow, subnormal)
    for layer, parameter_names in reversed(layers):
        width = flow.error.shape[-1]
        flow, parameter_errors, parameter_open = layer.backward(flow, eps)
        flow = _with_lost(flow, subnormal * width)
        for name, parameter_error, open_entries in zip(parameter_names, parameter_errors, parameter_open, strict=True):
            quantity = record.gradient_name(name)
            # The floor of subnormals, for gradients that underflow.
            # One for the product of each row.
            errors[quantity] = parameter_error + subnormal * len(rows) + LOCAL * COMPLEX_FLOOR
            opened[quantity] = open_entries
    return errors, opened
