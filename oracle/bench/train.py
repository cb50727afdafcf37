"""``oracle bench train``: seconds per step of training, TwoLayerNet 784-50-10, batch 100.

Every loop draws its batch with replacement from the same random samples, computes loss and gradients, and updates the
parameters. The functions that make a step are called in processes of their own.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from oracle.bench.textbook import TextbookStep
from oracle.bench.timing import Row, Way, interleaved
from oracle.sources.autograd import is_available
from scratch import SGD, Affine, Batches, Trainer, TwoLayerNet

Array = np.ndarray

SIZES = (784, 50, 10)
BATCH = 100
LEARNING_RATE = 0.1
#: As many samples as there are in MNIST: gathering a batch from all over memory is part of a step.
SAMPLES = 60_000

TEXTBOOK, TORCH, SCRATCH, PRODUCTS = "textbook", "torch", "scratch", "gemm"


def time_training(dtype: str, *, rounds: int, seed: int, on_round: Callable[[], object] = lambda: None) -> list[Row]:
    """Time a step of each loop in ``dtype``: the textbook's, PyTorch's, ours, and the five matrix products alone.

    Without PyTorch its row is missing.
    """
    options = {"dtype": dtype, "seed": seed, "samples": SAMPLES}
    makers = {
        TEXTBOOK: "oracle.bench.train:textbook_step",
        TORCH: "oracle.bench.train:torch_step",
        SCRATCH: "oracle.bench.train:scratch_step",
        PRODUCTS: "oracle.bench.train:matrix_products",
    }
    ways = [Way(name, maker, options) for name, maker in makers.items() if name != TORCH or is_available()]
    return interleaved(ways, rounds=rounds, on_round=on_round)


def _samples(dtype: str, seed: int, samples: int) -> tuple[Array, Array, TwoLayerNet]:
    """Random samples, their labels, and a network: the same for every loop."""
    rng = np.random.default_rng(seed)
    x = rng.random((samples, SIZES[0]), dtype=np.dtype(dtype).type)
    return x, rng.integers(0, SIZES[-1], samples), TwoLayerNet(*SIZES, rng=rng, dtype=dtype)


def _one_hot(labels: Array, dtype: str) -> Array:
    return np.eye(SIZES[-1], dtype=dtype)[labels]


def textbook_step(dtype: str, seed: int, samples: int) -> Callable[[], object]:
    """A step as a textbook writes it."""
    x, labels, net = _samples(dtype, seed, samples)
    t = _one_hot(labels, dtype)
    step = TextbookStep(dict(net.params), LEARNING_RATE)
    rng = np.random.default_rng(seed)

    def call() -> None:
        chosen = rng.choice(samples, BATCH)
        step(x[chosen], t[chosen])

    return call


def torch_step(dtype: str, seed: int, samples: int) -> Callable[[], object]:
    """A step as users of PyTorch write it."""
    from oracle.catalog.record import resolve

    x, labels, net = _samples(dtype, seed, samples)
    make = resolve("oracle.twins.training:eager_step")
    step: Callable[[], object] = make(
        net.params, x, labels, learning_rate=LEARNING_RATE, batch=BATCH, dtype=dtype, seed=seed
    )
    return step


def scratch_step(dtype: str, seed: int, samples: int) -> Callable[[], object]:
    """A step of ours."""
    x, labels, net = _samples(dtype, seed, samples)
    batches = Batches(samples, BATCH, np.random.default_rng(seed))
    return Trainer(net, x, _one_hot(labels, dtype), batches, SGD(LEARNING_RATE)).step


def matrix_products(dtype: str, seed: int, samples: int) -> Callable[[], object]:
    """The five matrix products of a step, on arrays of its shapes: what no loop can do without."""
    x, _, net = _samples(dtype, seed, samples)
    x = x[:BATCH].copy()
    W1, W2 = net.params["W1"], net.params["W2"]
    hidden, scores = x @ W1, x @ W1 @ W2

    def call() -> None:
        x @ W1
        hidden @ W2
        hidden.T @ scores
        scores @ W2.T
        x.T @ hidden

    return call


def time_parts(dtype: str, *, steps: int, seed: int) -> list[Row]:
    """Time the parts of a step of ours within whole steps, as they find the caches: where its time goes.

    A part alone, called again and again on the same arrays, is much cheaper than in its place: fetching a batch from
    all over memory is the third largest part of a step, and looks like one of the smallest.
    """
    samples, labels, net = _samples(dtype, seed, SAMPLES)
    batches = Batches(SAMPLES, BATCH, np.random.default_rng(seed))
    trainer = Trainer(net, samples, _one_hot(labels, dtype), batches, SGD(LEARNING_RATE))
    seconds: dict[str, list[float]] = {}

    def timed(name: str, part: Callable[..., Any], *arguments: Any) -> Any:
        start = time.perf_counter()
        result = part(*arguments)
        seconds.setdefault(name, []).append(time.perf_counter() - start)
        return result

    (first, affine), *others = net.layers.items()
    assert isinstance(affine, Affine)
    for _ in range(steps):
        indices = timed("draw a batch", batches.draw)
        flowing = timed("gather its samples", trainer.gather, indices)
        targets = timed("gather its targets", trainer.t.take, indices, 0)
        for name, layer in net.layers.items():
            flowing = timed(f"{name}.forward", layer.forward, flowing)
        timed("loss forward", net.last_layer.forward, flowing, targets)
        flowing = timed("loss backward", net.last_layer.backward)
        for name, layer in reversed(others):
            flowing = timed(f"{name}.backward", layer.backward, flowing)
        timed(f"{first}.differentiate_parameters", affine.differentiate_parameters, flowing)
        gradients = {
            name: gradient
            for k, layer in enumerate((layer for layer in net.layers.values() if isinstance(layer, Affine)), start=1)
            for name, gradient in ((f"W{k}", layer.dW), (f"b{k}", layer.db))
        }
        timed("update", trainer.optimizer.update, net.params, gradients)
    return [Row(name, statistics.median(taken), len(taken)) for name, taken in seconds.items()]
