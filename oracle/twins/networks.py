"""The twin of a network: torch modules, with the parameters put in."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from oracle.twins import layers


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
