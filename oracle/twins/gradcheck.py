"""``torch.autograd.gradcheck`` on a function of NumPy: the checker that users of PyTorch would take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

Array = np.ndarray


def fast_gradcheck(
    loss: Callable[[list[Array]], float], gradient: Callable[[list[Array]], list[Array]], parameters: Sequence[Array]
) -> Callable[[], bool]:
    """A function that runs gradcheck in its fast mode, with its own settings, on ``loss`` and its ``gradient``."""

    class Wrapped(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, *given: torch.Tensor) -> torch.Tensor:
            ctx.given = [tensor.detach().numpy() for tensor in given]
            return torch.tensor(loss(ctx.given), dtype=torch.float64)

        @staticmethod
        def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(upstream * torch.from_numpy(values) for values in gradient(ctx.given))

    tensors = [torch.from_numpy(values.copy()).requires_grad_() for values in parameters]
    return lambda: bool(torch.autograd.gradcheck(Wrapped.apply, tensors, fast_mode=True, raise_exception=False))


def gradcheck(
    call: Callable[[list[Array]], tuple[Array, Callable[[Array], list[Array]]]],
    points: Sequence[Array],
    *,
    fast: bool,
    takes_dout: bool,
) -> bool:
    """Whether gradcheck, with its own settings, accepts a function of NumPy at ``points``.

    ``call`` gives a value and a function from an upstream gradient to the gradients. Where a function takes none
    (``takes_dout`` is false) its gradients are those for 1, and are multiplied by the upstream gradient here.
    """

    class Wrapped(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, *given: torch.Tensor) -> torch.Tensor:
            value, ctx.gradients = call([tensor.detach().numpy() for tensor in given])
            return torch.tensor(value, dtype=torch.float64)

        @staticmethod
        def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, ...]:
            dout = upstream.detach().numpy()
            factor = 1.0 if takes_dout else float(dout)
            gradients = ctx.gradients(dout if takes_dout else np.ones(dout.shape))
            return tuple(torch.from_numpy(np.array(factor * values)) for values in gradients)

    tensors = [torch.from_numpy(values.copy()).requires_grad_() for values in points]
    return bool(torch.autograd.gradcheck(Wrapped.apply, tensors, fast_mode=fast, raise_exception=False))
