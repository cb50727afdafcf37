"""The source ``autograd``: PyTorch's gradient of the record's twin, in double precision.

The twin always runs in float64 on the very values of the case, also where float32 is under test: the oracle
should not have the rounding errors of the subject.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

import numpy as np

from oracle.catalog.record import LayerSpec
from oracle.sources.estimate import Array, Estimate
from oracle.subjects.in_process import resolve

MISSING = "not run: PyTorch is not installed (python -m pip install torch)"


def is_available() -> bool:
    """Whether PyTorch can be imported; it is not imported by asking."""
    return importlib.util.find_spec("torch") is not None


def autograd(record: LayerSpec, inputs: Mapping[str, Array], parameters: Mapping[str, Array], dout: Array) -> Estimate:
    """Outputs of the twin, and the gradient of Σ dout·y for every differentiable argument.

    ``inputs`` and ``parameters`` are real arrays of any layout; integers other than labels become float64.
    """
    import torch

    given = {**inputs, **parameters}
    tensors = {}
    for argument in record.arguments:
        # A copy: PyTorch refuses negative strides, and must not see the subject's arrays.
        values = np.array(given[argument.name], order="C")
        is_labels = argument.role == "target" and values.dtype.kind == "i"
        tensor = torch.from_numpy(values) if is_labels else torch.from_numpy(values).to(torch.float64)
        tensors[argument.name] = tensor.requires_grad_(argument.differentiable)
    returned = resolve(record.twin)(*tensors.values(), **record.settings)
    outputs = returned if isinstance(returned, dict) else {record.outputs[0]: returned}
    first = outputs[record.outputs[0]]
    wanted = [name for name, tensor in tensors.items() if tensor.requires_grad]
    upstream = torch.from_numpy(np.array(dout, order="C")).to(torch.float64)
    gradients = torch.autograd.grad(first, [tensors[name] for name in wanted], upstream)
    values = {name: output.detach().numpy().copy() for name, output in outputs.items()}
    for name, gradient in zip(wanted, gradients, strict=True):
        values[record.gradient_name(name)] = gradient.numpy().copy()
    return Estimate("autograd", values)
