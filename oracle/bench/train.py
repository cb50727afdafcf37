"""``oracle bench train``: microseconds per step of training, TwoLayerNet 784-50-10, batch 100."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from oracle.bench.textbook import TextbookStep
from oracle.bench.timing import Row, interleaved
from oracle.sources.autograd import is_available
from scratch import SGD, Affine, Batches, Trainer, TwoLayerNet

Array = np.ndarray

SIZES = (784, 50, 10)
BATCH = 100
LEARNING_RATE = 0.1
#: As many samples as there are in MNIST: gathering a batch from all over memory is part of a step.
SAMPLES = 60_000

TEXTBOOK, TORCH, SCRATCH, PRODUCTS = "textbook", "torch", "scratch", "gemm"


def time_training(
    dtype: str, *, rounds: int, repeats: int, seed: int, on_round: Callable[[], None] = lambda: None
) -> list[Row]:
    """Time a step of each loop in ``dtype``: the textbook's, PyTorch's, ours, and the five matrix products alone.

    Every loop draws its batch with replacement from the same random samples, computes loss and gradients, and updates
    the parameters. Without PyTorch its row is missing.
    """
    rng = np.random.default_rng(seed)
    x = rng.random((SAMPLES, SIZES[0])).astype(dtype)
    labels = rng.integers(0, SIZES[-1], SAMPLES)
    t = np.eye(SIZES[-1], dtype=dtype)[labels]
    net = TwoLayerNet(*SIZES, rng=rng, dtype=dtype)
    start = {name: values.copy() for name, values in net.params.items()}

    textbook = TextbookStep({name: values.copy() for name, values in start.items()}, LEARNING_RATE)
    draws = np.random.default_rng(seed)

    def textbook_step() -> None:
        chosen = draws.choice(SAMPLES, BATCH)
        textbook(x[chosen], t[chosen])

    trainer = Trainer(net, x, t, Batches(SAMPLES, BATCH, np.random.default_rng(seed)), SGD(LEARNING_RATE))
    ways: dict[str, Callable[[], object]] = {TEXTBOOK: textbook_step}
    if is_available():
        ways[TORCH] = _torch_step(start, x, labels, dtype, seed)
    ways[SCRATCH] = trainer.step
    ways[PRODUCTS] = _products(x[:BATCH].copy(), start)
    return interleaved(ways, rounds=rounds, repeats=repeats, on_round=on_round)


def _torch_step(start: dict[str, Array], x: Array, labels: Array, dtype: str, seed: int) -> Callable[[], object]:
    twin: Any = importlib.import_module("oracle.twins.training")
    return twin.eager_step(start, x, labels, learning_rate=LEARNING_RATE, batch=BATCH, dtype=dtype, seed=seed)


def _products(x: Array, parameters: dict[str, Array]) -> Callable[[], object]:
    W1, W2 = parameters["W1"], parameters["W2"]
    hidden, scores = x @ W1, x @ W1 @ W2

    def products() -> None:
        x @ W1
        hidden @ W2
        hidden.T @ scores
        scores @ W2.T
        x.T @ hidden

    return products


def time_parts(dtype: str, *, rounds: int, repeats: int, seed: int) -> list[Row]:
    """Time the parts of a step of ours: where its time goes."""
    rng = np.random.default_rng(seed)
    samples = rng.random((SAMPLES, SIZES[0])).astype(dtype)
    targets = np.eye(SIZES[-1], dtype=dtype)[rng.integers(0, SIZES[-1], SAMPLES)]
    net = TwoLayerNet(*SIZES, rng=rng, dtype=dtype)
    batches, optimizer = Batches(SAMPLES, BATCH, rng), SGD(LEARNING_RATE)
    chosen = batches.draw()
    x, t = samples[chosen], targets[chosen]
    ways: dict[str, Callable[[], object]] = {"draw and gather the batch": lambda: samples[batches.draw()]}
    flowing = x
    backwards: list[tuple[str, Callable[[], object]]] = []
    first, *others = net.layers.items()
    for name, layer in net.layers.items():
        ways[f"{name}.forward"] = partial(layer.forward, flowing)
        flowing = layer.forward(flowing)
    loss = net.last_layer
    ways["loss forward"] = partial(loss.forward, flowing, t)
    loss.forward(flowing, t)
    dout = loss.backward()
    backwards.append(("loss backward", loss.backward))
    for name, layer in reversed(others):
        backwards.append((f"{name}.backward", partial(layer.backward, dout)))
        dout = layer.backward(dout)
    name, affine = first
    assert isinstance(affine, Affine)
    backwards.append((f"{name}.differentiate_parameters", partial(affine.differentiate_parameters, dout)))
    ways.update(backwards)
    gradients = net.gradient(x, t)
    ways["update"] = lambda: optimizer.update(net.params, gradients)
    return interleaved(ways, rounds=rounds, repeats=repeats)
