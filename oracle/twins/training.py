"""The twin of the training loop: torch modules and torch's own SGD."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from oracle.twins import layers

Array = np.ndarray


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread, as long as it takes turns with NumPy.

    The idle threads of each go on spinning for a while and take the cores from the other: with several threads each, a
    step of both takes several times as long as with one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class TorchTraining:
    """A network of torch modules under ``torch.optim.SGD``, with parameters in and out by the names of ``scratch``.

    ``parameters`` are W1, b1, W2, … with W of shape (in, out); ``dtype`` is "float32" or "float64", in which the twin
    keeps and computes everything.
    """

    def __init__(
        self, parameters: Mapping[str, Array], *, hidden: str, output: str, learning_rate: float, dtype: str
    ) -> None:
        activation = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}[hidden]
        self._dtype = getattr(torch, dtype)
        modules: list[nn.Module] = []
        self._linear: list[nn.Linear] = []
        for name in (name for name in parameters if name.startswith("W")):
            if modules:
                modules.append(activation())
            fan_in, fan_out = parameters[name].shape
            self._linear.append(nn.Linear(fan_in, fan_out, dtype=self._dtype))
            modules.append(self._linear[-1])
        if output == "sigmoid-squared":
            modules.append(nn.Sigmoid())
        self._model = nn.Sequential(nn.Flatten(), *modules)
        self._loss = layers.softmax_cross_entropy if output == "softmax" else layers.half_squared_error
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=learning_rate)
        self.set_parameters(parameters)

    def step(self, x: Array, t: Array) -> tuple[float, dict[str, Array]]:
        """One step on a batch: the loss before it, and the gradients it was made with."""
        self._optimizer.zero_grad()
        loss = self._loss(self._model(self._tensor(x)), self._tensor(t))
        loss.backward()
        self._optimizer.step()
        gradients = {}
        for k, linear in enumerate(self._linear, start=1):
            gradients[f"W{k}"] = linear.weight.grad.numpy().T.copy()
            gradients[f"b{k}"] = linear.bias.grad.numpy().copy()
        return loss.item(), gradients

    def parameters(self) -> dict[str, Array]:
        """Copies of the parameters as they are now."""
        values = {}
        for k, linear in enumerate(self._linear, start=1):
            values[f"W{k}"] = linear.weight.detach().numpy().T.copy()
            values[f"b{k}"] = linear.bias.detach().numpy().copy()
        return values

    def set_parameters(self, parameters: Mapping[str, Array]) -> None:
        """Copy in other parameters, converted to the dtype of the twin."""
        with torch.no_grad():
            for k, linear in enumerate(self._linear, start=1):
                linear.weight.copy_(self._tensor(parameters[f"W{k}"].T))
                linear.bias.copy_(self._tensor(parameters[f"b{k}"]))

    def accuracy(self, x: Array, t: Array) -> float:
        """The fraction of samples whose largest output is at the target's class; t as labels or rows."""
        with torch.no_grad():
            chosen = self._model(self._tensor(x)).argmax(dim=1).numpy()
        return float(np.mean(chosen == (t if t.ndim == 1 else t.argmax(axis=1))))

    def _tensor(self, values: Array) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        return tensor.to(torch.int64) if values.dtype.kind in "iu" else tensor.to(self._dtype)


def eager_step(
    parameters: Mapping[str, Array], x: Array, labels: Array, *, learning_rate: float, batch: int, dtype: str, seed: int
) -> Callable[[], object]:
    """A function that takes one step of a two-layer network as PyTorch users write it, for timing.

    Samples and labels are tensors beforehand; each call draws a batch with replacement.
    """
    kind = getattr(torch, dtype)
    W1, b1, W2, b2 = (torch.from_numpy(parameters[name].copy()) for name in ("W1", "b1", "W2", "b2"))
    model = nn.Sequential(nn.Linear(*W1.shape, dtype=kind), nn.ReLU(), nn.Linear(*W2.shape, dtype=kind))
    with torch.no_grad():
        for parameter, values in zip(model.parameters(), (W1.T, b1, W2.T, b2), strict=True):
            parameter.copy_(values)
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    samples, targets = torch.from_numpy(x), torch.from_numpy(labels)
    generator = torch.Generator().manual_seed(seed)

    def step() -> None:
        chosen = torch.randint(len(samples), (batch,), generator=generator)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(samples[chosen]), targets[chosen])
        loss.backward()
        optimizer.step()

    return step
