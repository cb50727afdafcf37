"""PyTorch's autograd on a twin: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

Array = np.ndarray


def outputs_and_gradients(
    twin: Callable[..., Any],
    arguments: Mapping[str, Array],
    labels: frozenset[str],
    differentiable: tuple[str, ...],
    outputs: tuple[str, ...],
    dout: Array,
    settings: Mapping[str, Any],
    dtype: str,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The outputs of ``twin``, and the gradient of Σ dout·y, y its first output, by argument.

    ``arguments`` are given in the order of the twin; those in ``labels`` stay integers and all others become
    ``dtype``, "float64" or "float32". A twin returns one tensor, or a dictionary of tensors by the names in
    ``outputs``.
    """
    kind = getattr(torch, dtype)
    tensors = {}
    for name, values in arguments.items():
        # A copy: PyTorch refuses negative strides, and must not see the subject's arrays.
        tensor = torch.from_numpy(np.array(values, order="C"))
        tensor = tensor if name in labels else tensor.to(kind)
        tensors[name] = tensor.requires_grad_(name in differentiable)
    returned = twin(*tensors.values(), **settings)
    by_name = returned if isinstance(returned, dict) else {outputs[0]: returned}
    upstream = torch.from_numpy(np.array(dout, order="C")).to(kind)
    wanted = [tensors[name] for name in differentiable]
    gradients = torch.autograd.grad(by_name[outputs[0]], wanted, upstream)
    return (
        {name: output.detach().numpy().copy() for name, output in by_name.items()},
        {name: gradient.numpy().copy() for name, gradient in zip(differentiable, gradients, strict=True)},
    )
