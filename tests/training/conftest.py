"""What the tests of training share: runs on the digits, and trainers of networks small enough to train thousands."""

import importlib
from functools import cache

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from oracle.data import split_digits
from oracle.sources.autograd import is_available
from oracle.training.settings import PRESETS, Settings, prepare
from scratch import SGD, Batches, MultiLayerNet, Trainer


@pytest.fixture
def needs_the_twin():
    """Skip where PyTorch is not installed; where it is, one thread for each of the two.

    Both keep threads that wait for their next sum by spinning. Called in turn on two busy cores they take them from
    each other, and a step takes ten times as long.
    """
    if not is_available():
        pytest.skip("PyTorch is not installed, and this is held against its twin")
    importlib.import_module("torch")  # the threads of what is not loaded yet are not limited
    with threadpool_limits(1):
        yield


@cache
def _digits(seed):
    return split_digits(seed)


@pytest.fixture(scope="session")
def on_digits():
    """on_digits(net, dtype, steps=…, …) -> (settings, samples) of a run on the digits, as the command line makes them.

    What is not given is the preset's own.
    """

    def make(net="two-layer", dtype="float64", *, steps=100, seed=0, targets="one-hot", batch_size=None, rate=None):
        train, test = _digits(seed)
        preset = PRESETS[net]
        settings = Settings(
            net=net,
            data="digits",
            steps=steps,
            batch_size=batch_size or preset.batch_size,
            learning_rate=rate or preset.learning_rate,
            dtype=dtype,
            targets=targets,
            seed=seed,
            train_samples=len(train),
            test_samples=len(test),
        )
        return settings, prepare(settings, train, test)

    return make


@pytest.fixture(scope="session")
def twin_of():
    """twin_of(settings, parameters, dtype) -> the PyTorch twin of the loop, at these parameters."""

    def make(settings, parameters, dtype="float64"):
        from oracle.twins.training import TorchTraining  # here, as it imports PyTorch

        preset = settings.preset
        return TorchTraining(
            parameters,
            hidden=preset.hidden,
            output=preset.output,
            learning_rate=settings.learning_rate,
            dtype=dtype,
        )

    return make


@pytest.fixture(scope="session")
def small_trainer():
    """small_trainer(order, dtype) -> a new trainer of 8-6-3 on 30 samples in batches of 8; always the same one."""

    def make(order="replacement", dtype="float64", seed=0):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(40, 8)).astype(dtype)
        t = rng.integers(0, 3, size=40)
        net = MultiLayerNet(8, [6], 3, rng=rng, dtype=dtype)
        batches = Batches(30, 8, np.random.default_rng(seed + 1), order)
        return Trainer(net, x[:30], t[:30], batches, SGD(0.1), x_test=x[30:], t_test=t[30:])

    return make
