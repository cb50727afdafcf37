"""``oracle bench train``: microseconds per step of training, TwoLayerNet 784-50-10, batch 100."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from oracle.bench.textbook import TextbookStep
from oracle.bench.timing import Row, interleaved
from oracle.sources.autograd import is_available
from scratch import SGD, Batches, Trainer, TwoLayerNet

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
