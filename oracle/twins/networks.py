"""The twin of a network: torch modules, with the parameters put in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from oracle.twins import layers

Array = np.ndarray


def multi_layer_network(x: Tensor, t: Tensor, *parameters: Tensor, hidden: str, output: str) -> dict[str, Tensor]:
    """Loss, scores and accuracy of Linear – activation – … – Linear with the given loss on top.

    ``parameters`` are W1, b1, W2, b2, … with W of shape (in, out); ``x`` may be a batch of any shape or a
    single sample.
    """
    activation = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}[hidden]
    modules: list[nn.Module] = []
    state: dict[str, Tensor] = {}
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        if modules:
            modules.append(activation())
        state[f"{len(modules)}.weight"] = weight.T
        state[f"{len(modules)}.bias"] = bias
        modules.append(nn.Linear(*weight.shape, device="meta"))
    if output == "sigmoid-squared":
        modules.append(nn.Sigmoid())
    rows = x if x.ndim == 1 else nn.Flatten()(x)
    scores = functional_call(nn.Sequential(*modules), state, (rows,))
    loss = layers.softmax_cross_entropy if output == "softmax" else layers.half_squared_error
    labels = t if t.dtype == torch.int64 else t.argmax(dim=-1)
    hits = (scores.argmax(dim=-1) == labels).to(torch.float64)
    return {"loss": loss(scores, t), "scores": scores, "accuracy": hits.mean()}


def activations_and_gradients(
    x: Array, t: Array, parameters: Sequence[Array], *, hidden: str, output: str
) -> list[tuple[Array, Array]]:
    """Of every layer in turn: its output, and the gradient of the loss by it, in float64.

    ``x`` is a batch (N, …), ``t`` labels or rows; ``parameters`` are W1, b1, W2, …
    """
    activation = {"relu": torch.relu, "sigmoid": torch.sigmoid}[hidden]
    flowing = torch.from_numpy(np.array(x, np.float64)).flatten(start_dim=1)
    target = torch.from_numpy(np.array(t))
    target = target if target.dtype == torch.int64 else target.to(torch.float64)
    tensors = [torch.from_numpy(np.array(values, np.float64)) for values in parameters]
    outputs = []

    def keep(tensor: Tensor) -> Tensor:
        tensor = tensor.requires_grad_() if tensor.is_leaf else tensor
        tensor.retain_grad()
        outputs.append(tensor)
        return tensor

    flowing = flowing.requires_grad_()
    pairs = list(zip(tensors[::2], tensors[1::2], strict=True))
    for number, (W, b) in enumerate(pairs):
        flowing = keep(layers.affine(flowing, W, b))
        if number < len(pairs) - 1:
            flowing = keep(activation(flowing))
    if output == "sigmoid-squared":
        flowing = keep(torch.sigmoid(flowing))
    loss = layers.softmax_cross_entropy if output == "softmax" else layers.half_squared_error
    loss(flowing, target).backward()
    return [(tensor.detach().numpy().copy(), tensor.grad.numpy().copy()) for tensor in outputs]
