"""Training: mini-batch stochastic gradient descent over any network.

Source: "Deep Learning from Scratch" (Koki Saitoh), section 4.5, with the batches, the update and the record of what
happened in pieces of their own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from scratch._inputs import Array, result_dtype
from scratch.networks import MultiLayerNet

__all__ = ["SGD", "Batches", "History", "Step", "Trainer"]

Order = Literal["replacement", "shuffled", "file"]


class SGD:
    """Stochastic gradient descent: p ← p − η · ∂L/∂p for every parameter p, in place.

    >>> params = {"W": np.array([1.0, 2.0])}
    >>> SGD(learning_rate=0.5).update(params, {"W": np.array([1.0, -1.0])})
    >>> print(params["W"])
    [0.5 2.5]
    """

    def __init__(self, learning_rate: float) -> None:
        """Raises ValueError for a learning rate η that is not positive and finite."""
        if not (math.isfinite(learning_rate) and learning_rate > 0):
            raise ValueError(f"SGD: learning_rate is {learning_rate}; required: a positive, finite number")
        self.learning_rate = float(learning_rate)
        self._new: dict[str, Array] = {}  # memory for the new parameters: large arrays are dear to allocate

    def update(self, params: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Change every array of params in place; gradients have the same names and shapes."""
        for name, gradient in gradients.items():
            p = params[name]
            dtype = result_dtype(p.dtype, gradient.dtype)
            new = self._new.get(name)
            if new is None or new.shape != gradient.shape or new.dtype != dtype:
                new = self._new[name] = np.empty(gradient.shape, dtype)
            np.multiply(self.learning_rate, gradient, out=new)
            np.subtract(p, new, out=new)
            # Written all at once: the other cores hold copies of p from the matrix products, and a subtraction in place
            # has to take back one cache line after the other.
            np.copyto(p, new)


class Batches:
    """Which samples make up each mini-batch, as indices.

    order: "replacement" draws every batch anew, with replacement (as the source does); "shuffled" goes through all
    samples in a new random order each epoch, the last batch of an epoch being what is left; "file" goes through them
    in the order of the file.

    >>> batches = Batches(5, batch_size=2, rng=np.random.default_rng(0), order="file")
    >>> [batches.draw().tolist() for _ in range(4)]
    [[0, 1], [2, 3], [4], [0, 1]]
    """

    def __init__(self, samples: int, batch_size: int, rng: np.random.Generator, order: Order = "replacement") -> None:
        """A batch may be larger than the data: with replacement it then repeats samples, in an epoch it is all of them.

        Raises:
            TypeError: an rng that is no numpy.random.Generator.
            ValueError: no samples, an empty batch, an unknown order.
        """
        if samples < 1 or batch_size < 1:
            raise ValueError(
                f"Batches: {samples} samples in batches of {batch_size}; required: at least one sample and a batch "
                "size of at least 1"
            )
        if order not in get_args(Order):
            raise ValueError(f"Batches: order is {order!r}; required: one of {', '.join(get_args(Order))}")
        if not isinstance(rng, np.random.Generator):
            raise TypeError(
                f"Batches: rng is of type {type(rng).__name__}; required: a numpy.random.Generator, for example "
                "numpy.random.default_rng(0)"
            )
        self.samples = samples
        self.batch_size = batch_size
        self.rng = rng
        self.order = order
        self._epoch = np.arange(samples)
        self._used = samples  # of the current epoch's order; all of it: the next draw begins an epoch

    @property
    def steps_per_epoch(self) -> int:
        """How many batches see as many samples as there are; drawn with replacement, at least one (as the source)."""
        if self.order == "replacement":
            return max(self.samples // self.batch_size, 1)
        return -(-self.samples // self.batch_size)

    def draw(self) -> Array:
        """Return the indices of the next batch, shape (batch_size,), fewer at the end of an epoch; intp."""
        if self.order == "replacement":
            return self.rng.integers(0, self.samples, size=self.batch_size)
        if self._used >= self.samples:
            self._epoch = self.rng.permutation(self.samples) if self.order == "shuffled" else self._epoch
            self._used = 0
        drawn = self._epoch[self._used : self._used + self.batch_size].copy()
        self._used += len(drawn)
        return drawn

    def state(self) -> dict[str, Any]:
        """Everything that decides the next batches: plain numbers, and the epoch's order as an array."""
        return {"rng": self.rng.bit_generator.state, "epoch": self._epoch.copy(), "used": self._used}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken. Raises ValueError where it belongs to another kind of generator or data."""
        kind = self.rng.bit_generator.state["bit_generator"]
        if state["rng"].get("bit_generator") != kind or len(state["epoch"]) != self.samples:
            raise ValueError(
                f"Batches: the state is that of {len(state['epoch'])} samples and the generator "
                f"{state['rng'].get('bit_generator')}; required: {self.samples} samples and {kind}"
            )
        self.rng.bit_generator.state = state["rng"]
        self._epoch = np.array(state["epoch"])
        self._used = int(state["used"])


class Step(NamedTuple):
    """One step of training: the samples used, the loss before the update, and the gradients it was made with."""

    indices: Array
    loss: float
    gradients: dict[str, Array]


@dataclass
class History:
    """What happened: the loss of every step; accuracies (0 to 1) before training and after every epoch; seconds."""

    loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    seconds: float = 0.0


class Trainer:
    """Trains a network on (x, t), a mini-batch at a time, and keeps the history.

    The history is up to date after every step, so that it is still there when training is interrupted.

    >>> from scratch import TwoLayerNet
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 3)); t = (x[:, 0] > 0).astype(int)
    >>> trainer = Trainer(TwoLayerNet(3, 8, 2, rng=rng), x, t, Batches(20, 10, rng), SGD(0.5))
    >>> history = trainer.run(steps=100)
    >>> history.loss[-1] < 0.3 < history.loss[0], len(history.loss), history.train_accuracy[-1]
    (True, 100, 1.0)
    """

    def __init__(
        self,
        net: MultiLayerNet,
        x: ArrayLike,
        t: ArrayLike,
        batches: Batches,
        optimizer: SGD,
        *,
        x_test: ArrayLike | None = None,
        t_test: ArrayLike | None = None,
        loss_and_gradient: Callable[[Array, Array], tuple[Any, dict[str, Array]]] | None = None,
    ) -> None:
        """Keep references; nothing is computed yet.

        Args:
            x: training samples, shape (samples, …), and t: their targets, labels or one row each.
            x_test, t_test: samples whose accuracy is followed; None: none.
            loss_and_gradient: another way to the gradients of the network, for example numerical; by default
                net.loss_and_gradient. It is called with memory that the next batch takes over.

        Raises:
            ValueError: numbers of samples in x, t and batches that differ.
        """
        self.x, self.t = np.asarray(x), np.asarray(t)
        if not len(self.x) == len(self.t) == batches.samples:
            raise ValueError(
                f"Trainer: x has {len(self.x)} samples, t has {len(self.t)}, batches are of {batches.samples}; "
                "required: the same number"
            )
        self.net = net
        self.batches = batches
        self.optimizer = optimizer
        self.x_test = None if x_test is None else np.asarray(x_test)
        self.t_test = None if t_test is None else np.asarray(t_test)
        self.loss_and_gradient = loss_and_gradient or net.loss_and_gradient
        self.history = History()
        self._batch: Array | None = None

    @property
    def steps_done(self) -> int:
        """The number of steps in the history."""
        return len(self.history.loss)

    def step(self) -> Step:
        """Draw a batch, compute loss and gradients, update the parameters."""
        started = time.perf_counter()
        indices = self.batches.draw()
        loss, gradients = self.loss_and_gradient(self.gather(indices), self.t.take(indices, axis=0))
        self.optimizer.update(self.net.params, gradients)
        self.history.loss.append(float(loss))
        self.history.seconds += time.perf_counter() - started
        return Step(indices, float(loss), gradients)

    def gather(self, indices: Array) -> Array:
        """Return the samples of a batch, in memory that the next batch of this size takes over."""
        if self._batch is None or len(self._batch) != len(indices):
            self._batch = np.empty((len(indices), *self.x.shape[1:]), self.x.dtype)
        # "clip" lets NumPy write straight into the memory; there is no index to clip.
        return np.take(self.x, indices, axis=0, out=self._batch, mode="clip")

    def run(self, steps: int, on_step: Callable[[Step], None] | None = None) -> History:
        """Train until ``steps`` are done, those of an earlier run included, and return the history.

        Accuracies are taken before the first step and after every epoch. ``on_step`` is called after every step.
        """
        if self.at_the_start:
            self.evaluate()
        while self.steps_done < steps:
            step = self.step()
            if self.at_the_end_of_an_epoch:
                self.evaluate()
            if on_step is not None:
                on_step(step)
            del step  # the next gradients take over the memory of these
        return self.history

    @property
    def at_the_start(self) -> bool:
        """Whether nothing has been done yet."""
        return self.steps_done == 0 and not self.history.train_accuracy

    @property
    def at_the_end_of_an_epoch(self) -> bool:
        """Whether the newest step was the last of an epoch."""
        return self.steps_done > 0 and self.steps_done % self.batches.steps_per_epoch == 0

    def evaluate(self) -> None:
        """Add the accuracies of the network as it is to the history."""
        self.history.train_accuracy.append(self.net.accuracy(self.x, self.t))
        if self.x_test is not None and self.t_test is not None:
            self.history.test_accuracy.append(self.net.accuracy(self.x_test, self.t_test))
