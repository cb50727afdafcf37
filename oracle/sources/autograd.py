"""The source ``autograd``: PyTorch's gradient of the record's twin, in double precision.

The twin runs in float64 on the very values of the case, also where float32 is under test: the oracle should not have
the rounding errors of the subject. Only where PyTorch itself is held against truth does it run in float32.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Mapping

import numpy as np

from oracle.catalog.record import LayerSpec, resolve
from oracle.catalog.records import RECORDS
from oracle.sources.estimate import Array, Estimate

NOT_INSTALLED = "not run: PyTorch is not installed"
HOW_TO_INSTALL = "python -m pip install torch"


def is_available() -> bool:
    """Whether PyTorch can be imported; it is not imported by asking."""
    return importlib.util.find_spec("torch") is not None


def preload() -> bool:
    """Begin to import PyTorch in the background, if it is installed; whether it is, and was not there yet.

    A first derivative is taken too: it makes PyTorch import as much again.
    """
    if not is_available() or "torch" in sys.modules:
        return False

    def load() -> None:
        record = next(r for r in RECORDS.values() if r.has_backward and not r.of_role("target"))
        one = np.ones(1)
        autograd(record, {a.name: one for a in record.arguments}, {}, one)

    threading.Thread(target=load, daemon=True).start()
    return True


def twin_jacobians(
    record: LayerSpec, inputs: Mapping[str, Array], parameters: Mapping[str, Array], shape: tuple[int, ...]
) -> dict[str, Array]:
    """The Jacobian of the twin's first output, of the given shape: by argument, (entries of it, entries of the output).

    One backward pass for every entry of the output.
    """
    columns: dict[str, list[Array]] = {name: [] for name in record.differentiated}
    for index in np.ndindex(shape):
        unit = np.zeros(shape)
        unit[index] = 1.0
        values = autograd(record, inputs, parameters, unit).values
        for name, column in columns.items():
            column.append(values[record.gradient_name(name)].reshape(-1))
    given = {**inputs, **parameters}
    return {n: np.stack(c, axis=1) if c else np.zeros((given[n].size, 0)) for n, c in columns.items()}


def autograd(
    record: LayerSpec,
    inputs: Mapping[str, Array],
    parameters: Mapping[str, Array],
    dout: Array,
    *,
    dtype: str = "float64",
) -> Estimate:
    """Outputs of the twin, and the gradient of Σ dout·y for every differentiable argument, computed in ``dtype``.

    ``inputs`` and ``parameters`` are real arrays of any layout; labels stay integers.
    """
    # By name, when it is called: nothing but the twins imports PyTorch, and they only here.
    differentiation = importlib.import_module("oracle.twins.differentiation")
    given = {**inputs, **parameters}
    labels = {a.name for a in record.of_role("target") if given[a.name].dtype.kind == "i"}
    outputs, gradients = differentiation.outputs_and_gradients(
        resolve(record.twin),
        {a.name: given[a.name] for a in record.arguments},
        frozenset(labels),
        tuple(a.name for a in record.arguments if a.differentiable),
        record.outputs,
        dout,
        record.settings,
        dtype,
    )
    by_quantity = {record.gradient_name(name): gradient for name, gradient in gradients.items()}
    return Estimate("autograd", {**outputs, **by_quantity})
