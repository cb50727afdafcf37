"""The error of a numerical gradient by its step size h: the central difference, and beside it the complex step.

A central difference is off by about h² f‴/6, and by eps |f|/h from the subtraction: it is at its best somewhere in
between, at half of the digits. The complex step subtracts nothing, so that its h can be as small as one likes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from oracle.catalog.case import materialise
from oracle.catalog.record import Array, LayerSpec
from oracle.reporting.graphs import example_case
from oracle.reporting.truth import has_relative_accuracy
from oracle.sources.truth import truth
from oracle.subjects.in_process import implementation_of
from scratch.differentiation import central_differences

#: From where a function is a curve to far below the last digit of a number of size 1.
STEPS = tuple(float(f"1e-{k}") for k in range(1, 21))

Function = Callable[[Mapping[str, Array]], Any]


def step_size_rows(records: Sequence[LayerSpec]) -> list[dict[str, Any]]:
    """For every gradient with relative accuracy: the error of both ways for each h, on a fixed small example."""
    return [row for record in filter(has_relative_accuracy, records) for row in _rows(record)]


def _rows(record: LayerSpec) -> Iterator[dict[str, Any]]:
    # Not rounded: a 0 among the entries would be a kink of some layers.
    case = example_case(record, rounded=False)
    arrays = materialise(case, record)
    handle = implementation_of(record).open(arrays.parameters)
    exact = truth(record, arrays.inputs, arrays.parameters, arrays.dout)

    def scalar(inputs: Mapping[str, Array]) -> Any:
        return np.sum(arrays.dout * handle.value(inputs))

    for name in record.differentiable_inputs:
        quantity = record.gradient_name(name)
        value, rest = exact.estimate.values[quantity], exact.rest[quantity]

        def error(gradient: Array, value: Array = value, rest: Array = rest) -> float:
            return float(np.max(np.abs((gradient - value) - rest)) / np.max(np.abs(value)))

        yield {
            "layer": record.name,
            "quantity": quantity,
            "case": str(case),
            "h": list(STEPS),
            "central": [error(_central(scalar, arrays.inputs, name, h)) for h in STEPS],
            "complex": [error(_complex(scalar, arrays.inputs, name, h)) for h in STEPS],
        }


def _central(function: Function, inputs: Mapping[str, Array], name: str, h: float) -> Array:
    moved = np.array(inputs[name], np.float64)
    return central_differences(lambda: function({**inputs, name: moved}), moved, h)


def _complex(function: Function, inputs: Mapping[str, Array], name: str, h: float) -> Array:
    gradient = np.empty_like(inputs[name])
    for index in np.ndindex(gradient.shape):
        moved = np.array(inputs[name], np.complex128)
        moved[index] += 1j * h
        gradient[index] = function({**inputs, name: moved}).imag / h
    return gradient
