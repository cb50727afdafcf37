"""The loop learns: test accuracies that the source material states, or better."""

import os
from statistics import median

import pytest

from oracle.data import load_mnist
from oracle.training.run import train
from oracle.training.settings import PRESETS, Settings, prepare

LONG = bool(os.environ.get("MNIST_DIR") and os.environ.get("ORACLE_LONG"))
takes_minutes = pytest.mark.skipif(not LONG, reason="takes minutes: set MNIST_DIR and ORACLE_LONG=1")


def accuracy_of(run):
    return run.trainer.net.accuracy(run.samples.x_test, run.samples.t_test)


@pytest.mark.parametrize("seed", range(5))
def test_digits_in_2000_steps(seed, on_digits):
    settings, samples = on_digits(steps=2000, seed=seed)
    run = train(settings, samples, compare=False)
    # Measured: 0.953 to 0.978; one of 360 samples is 0.003.
    assert accuracy_of(run) >= 0.95
    history = run.trainer.history
    assert len(history.loss) == 2000
    # 14 steps are an epoch. Before training one in ten is right by chance.
    assert len(history.train_accuracy) == len(history.test_accuracy) == 1 + 2000 // 14
    assert history.train_accuracy[0] < 0.3
    assert history.train_accuracy[-1] > 0.97
    # They take half a second of the ten that they may take.
    assert 0 < history.seconds < 10


@pytest.fixture(scope="module")
def mnist():
    return tuple(load_mnist(os.environ["MNIST_DIR"], split) for split in ("train", "test"))


def on_mnist(mnist, net, steps, seed):
    preset = PRESETS[net]
    sizes = tuple(map(len, mnist))
    settings = Settings(
        net, "mnist", steps, preset.batch_size, preset.learning_rate, "float32", "one-hot", seed, *sizes
    )
    return train(settings, prepare(settings, *mnist), compare=False)


@takes_minutes
def test_mnist_in_10000_steps(mnist):
    """The source states 0.972; ten seeds measured 0.968 to 0.972."""
    reached = [accuracy_of(on_mnist(mnist, "two-layer", 10_000, seed)) for seed in range(5)]
    assert min(reached) >= 0.966
    assert median(reached) >= 0.969


@takes_minutes
def test_the_second_network_in_one_epoch_of_mnist(mnist):
    """The source states 0.943 with its updates in the printed order; the right order measured 0.947 to 0.952."""
    run = on_mnist(mnist, "sigmoid", 60_000, 0)
    assert run.trainer.batches.steps_per_epoch == 60_000
    assert accuracy_of(run) >= 0.945
