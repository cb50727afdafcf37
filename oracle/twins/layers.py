"""Twins of layers, losses and functions: tensors in the order of the record in, one tensor out.

Each is PyTorch's own operation, called as its documentation says; no formula of ``scratch`` is repeated. Where the
operation itself takes the arguments of the record, the record names it and there is nothing here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def affine(x: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """``F.linear`` keeps its weight as (out, in)."""
    rows = x if x.ndim == 1 else x.flatten(start_dim=1)
    return F.linear(rows, W.T, b)


def softmax(x: Tensor) -> Tensor:
    return F.softmax(x, dim=-1)


def _class_targets(t: Tensor) -> Tensor:
    """Class indices stay integers; class probabilities are floating."""
    return t if t.dtype == torch.int64 else t.to(torch.float64)


def cross_entropy_error(y: Tensor, t: Tensor, *, over: str = "rows") -> Tensor:
    """Of probabilities. ``F.nll_loss`` takes labels only; other targets are weights of the logarithms."""
    log_y = torch.log(y)
    if t.dtype == torch.int64:
        return F.nll_loss(log_y, t, reduction="sum") / _count(y, over)
    return -torch.sum(log_y * t) / _count(y, over)


def softmax_cross_entropy(x: Tensor, t: Tensor, *, over: str = "rows") -> Tensor:
    if over == "rows":
        return F.cross_entropy(x, _class_targets(t))
    return F.cross_entropy(x, _class_targets(t), reduction="sum") / _count(x, over)


def half_squared_error(x: Tensor, t: Tensor, *, over: str = "rows") -> Tensor:
    return F.mse_loss(x, t, reduction="sum") / (2 * _count(x, over))


def squared_error(x: Tensor, t: Tensor, *, over: str = "entries") -> Tensor:
    return F.mse_loss(x, t, reduction="sum") / _count(x, over)


def binary_cross_entropy(x: Tensor, t: Tensor, *, over: str = "rows") -> Tensor:
    return F.binary_cross_entropy_with_logits(x, t, reduction="sum") / _count(x, over)


def binary_cross_entropy_error(y: Tensor, t: Tensor, *, over: str = "rows") -> Tensor:
    """``F.binary_cross_entropy`` would clamp its logarithms."""
    return -torch.sum(t * torch.log(y) + (1 - t) * torch.log1p(-y)) / _count(y, over)


def _count(x: Tensor, over: str) -> int:
    """What a sum over all entries of a batch is divided by."""
    return {"rows": x.shape[0] if x.ndim > 1 else 1, "entries": x.numel(), "nothing": 1}[over]
