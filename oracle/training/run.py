"""One run of training: the loop of ``scratch``, its twin and the yardstick side by side over the same batches."""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from oracle.sources.autograd import is_available
from oracle.training import checkpoint
from oracle.training.parity import (
    Divergence,
    FreeRunning,
    Resynchronised,
    Resynchroniser,
    StepSeen,
    one_ulp_away,
    resynchronise,
)
from oracle.training.printed_order import PrintedOrder
from oracle.training.settings import Samples, Settings, new_network, new_trainer
from scratch import Step, Trainer

Array = np.ndarray

#: At most so many steps are resynchronised, evenly spread: each costs several steps of training.
RESYNCHRONISED_STEPS = 10_000
#: Points at which free-running parameters are compared.
FREE_POINTS = 100


@dataclass
class TrainingRun:
    """What came of a run. ``twin_*`` are None without PyTorch; ``interrupted`` says that it ended early."""

    settings: Settings
    trainer: Trainer
    samples: Samples
    resynchronised: Resynchronised | None = None
    free: FreeRunning = field(default_factory=FreeRunning)
    yardstick: FreeRunning = field(default_factory=FreeRunning)
    #: The number of steps that were done before the twin began: those of a checkpoint.
    twin_begins: int = 0
    twin_loss: list[float] | None = None
    twin_train_accuracy: list[float] | None = None
    twin_test_accuracy: list[float] | None = None
    interrupted: bool = False

    def predictions(self) -> tuple[list[int], list[dict[str, int]]]:
        """Test samples that the trained network reads right, by index, and those that it misreads, and as what."""
        predicted = self.trainer.net.predict(self.samples.x_test).argmax(axis=1)
        labels = self.samples.labels_test
        unmatched = np.flatnonzero(predicted != labels)
        misread = [{"index": int(i), "label": int(labels[i]), "predicted": int(predicted[i])} for i in unmatched]
        return np.flatnonzero(predicted == labels).tolist(), misread


def train(
    settings: Settings,
    samples: Samples,
    *,
    save: Path | None = None,
    save_every: int = 1000,
    resume: Path | None = None,
    compare: bool = True,
    on_step: Callable[[Step], None] = lambda step: None,
    warn: Callable[[str], None] = lambda text: None,
) -> TrainingRun:
    """Train as ``settings`` say, and compare every step with the twin, if PyTorch is there and ``compare`` is set.

    ``save`` is written every ``save_every`` steps and at the end. With ``resume`` the run goes on from a checkpoint,
    and is compared from there on. The first Ctrl-C ends the run after the step under way, with all that it has; what is
    returned then says ``interrupted``. Raises InputError for a checkpoint that cannot be used.
    """
    trainer = new_trainer(settings, samples)
    if resume is not None:
        for text in checkpoint.resume(resume, settings, trainer):
            warn(text)
    run = TrainingRun(settings, trainer, samples)
    beside = _Beside(run) if compare and is_available() else None
    if trainer.at_the_start:
        trainer.evaluate()
    with _stops_after_the_step() as stopping, _twin_on_one_thread(beside is not None):
        while trainer.steps_done < settings.steps and not stopping.is_set():
            step = trainer.step() if beside is None else beside.step()
            if trainer.at_the_end_of_an_epoch:
                trainer.evaluate()
                if beside is not None:
                    beside.evaluate()
            on_step(step)
            if save is not None and trainer.steps_done % save_every == 0:
                checkpoint.save(save, settings, trainer)
        run.interrupted = trainer.steps_done < settings.steps
        if save is not None and trainer.steps_done % save_every != 0:
            checkpoint.save(save, settings, trainer)
    return run


def _twin_on_one_thread(runs: bool) -> AbstractContextManager[None]:
    return importlib.import_module("oracle.twins.training").one_thread() if runs else nullcontext()


class _Beside:
    """The twins that run beside a trainer: one resynchronised, one free, and a yardstick that starts one ulp away."""

    def __init__(self, run: TrainingRun) -> None:
        settings, samples, trainer = run.settings, run.samples, run.trainer
        self._run = run
        preset = settings.preset
        twin_class: Any = importlib.import_module("oracle.twins.training").TorchTraining
        options = {"hidden": preset.hidden, "output": preset.output, "learning_rate": settings.learning_rate}
        start = _copies(trainer)
        self._resynchronised = Resynchroniser(
            settings.record,
            twin_class(start, dtype="float64", **options),
            trainer.x,
            trainer.t,
            settings.learning_rate,
            np.dtype(settings.dtype),
        )
        run.resynchronised = self._resynchronised.outcome
        self._free = twin_class(start, dtype=settings.dtype, **options)
        self._yardstick = new_trainer(settings, samples, new_network(settings, samples.x[0].size))
        self._yardstick.net.params.update(one_ulp_away(start))
        ahead = max(settings.steps - trainer.steps_done, 1)
        self._every = -(-ahead // RESYNCHRONISED_STEPS)
        self._points = set(np.unique(np.linspace(1, ahead, min(FREE_POINTS, ahead)).astype(int)).tolist())
        self._first = trainer.steps_done
        run.twin_begins = self._first
        run.twin_loss, run.twin_train_accuracy, run.twin_test_accuracy = [], [], []
        if self._first == 0:
            self.evaluate()

    def step(self) -> Step:
        trainer = self._run.trainer
        number = trainer.steps_done
        resynchronises = (number - self._first) % self._every == 0
        before = _copies(trainer) if resynchronises else {}
        step = trainer.step()
        x, t = trainer.x[step.indices], trainer.t[step.indices]
        if resynchronises:
            seen = StepSeen(step.indices, x, t, step.loss, step.gradients)
            self._resynchronised.compare_step(number, before, seen, _copies(trainer))
        loss, _ = self._free.step(x, t)
        assert self._run.twin_loss is not None
        self._run.twin_loss.append(loss)
        _, gradients = self._yardstick.loss_and_gradient(x, t)
        self._yardstick.optimizer.update(self._yardstick.net.params, gradients)
        done = trainer.steps_done - self._first
        if done in self._points:
            ours = _copies(trainer)
            self._run.free.take(trainer.steps_done, ours, self._free.parameters())
            self._run.yardstick.take(trainer.steps_done, ours, _copies(self._yardstick))
        return step

    def evaluate(self) -> None:
        """Take the accuracies of the free-running twin."""
        samples, run = self._run.samples, self._run
        assert run.twin_train_accuracy is not None
        assert run.twin_test_accuracy is not None
        run.twin_train_accuracy.append(self._free.accuracy(samples.x, samples.t))
        run.twin_test_accuracy.append(self._free.accuracy(samples.x_test, samples.t_test))


def _copies(trainer: Trainer) -> dict[str, Array]:
    return {name: values.copy() for name, values in trainer.net.params.items()}


@contextmanager
def _stops_after_the_step() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C into an event, so that no step is left half done; the second interrupts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def note(number: int, frame: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)


@dataclass(frozen=True)
class PrintedOrderRun:
    """What the source's second network reaches with its updates in the printed order."""

    test_accuracy: float
    divergence: Divergence | None


def train_in_printed_order(
    settings: Settings, samples: Samples, steps: int, on_step: Callable[[], None]
) -> PrintedOrderRun:
    """Train the network of ``settings`` from the same start with the printed order of updates, sample by sample.

    The divergence is that of its first steps from the PyTorch twin, None where PyTorch is not installed.
    """
    start = new_network(settings, samples.x[0].size)
    divergence = None
    if is_available():
        twin_class: Any = importlib.import_module("oracle.twins.training").TorchTraining
        preset = settings.preset
        twin = twin_class(
            start.params,
            hidden=preset.hidden,
            output=preset.output,
            learning_rate=settings.learning_rate,
            dtype="float64",
        )
        subject = PrintedOrder(new_network(settings, samples.x[0].size), samples.x, samples.t, settings.learning_rate)
        outcome = resynchronise(
            subject,
            settings.record,
            twin,
            samples.x,
            samples.t,
            learning_rate=settings.learning_rate,
            dtype=settings.dtype,
            steps=10,
        )
        divergence = outcome.first_divergence
    printed = PrintedOrder(start, samples.x, samples.t, settings.learning_rate)
    for _ in range(steps):
        printed.step()
        on_step()
    return PrintedOrderRun(start.accuracy(samples.x_test, samples.t_test), divergence)
