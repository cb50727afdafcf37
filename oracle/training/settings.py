"""What a run of training is: network, data, steps; everything that decides its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from oracle.catalog.record import LayerSpec
from oracle.catalog.records import RECORDS
from oracle.data.digits import Digits, one_hot
from oracle.errors import InputError
from scratch import SGD, Batches, MultiLayerNet, Trainer, TwoLayerNet
from scratch.training import Order

Array = np.ndarray


@dataclass(frozen=True)
class NetPreset:
    """One of the networks that ``oracle train --net`` knows, with the source material's settings for it.

    ``build`` makes it from the number of pixels, a generator and a dtype. ``pixels`` is the range that pixels are
    moved to, ``targets`` are the values that stand for 0 and 1 in one-hot targets.
    """

    record: str
    build: Callable[[int, np.random.Generator, str], MultiLayerNet]
    hidden: str
    output: str
    batch_size: int
    learning_rate: float
    order: Order
    summary: str
    epochs: int | None = None
    pixels: tuple[float, float] = (0.0, 1.0)
    targets: tuple[float, float] = (0.0, 1.0)
    #: Whether the source prints its updates in an order that is worth showing beside the right one.
    has_printed_order: bool = False


def _two_layer(pixels: int, rng: np.random.Generator, dtype: str) -> MultiLayerNet:
    return TwoLayerNet(pixels, 50, 10, weight_init_std=0.01, rng=rng, dtype=dtype)


def _sigmoid(pixels: int, rng: np.random.Generator, dtype: str) -> MultiLayerNet:
    net = MultiLayerNet(pixels, [100], 10, "sigmoid", "sigmoid-squared", weight_init_std="lecun", rng=rng, dtype=dtype)
    for name in ("b1", "b2"):
        net.params[name] = rng.uniform(0, 1, size=net.params[name].shape)
    return net


def _deep(pixels: int, rng: np.random.Generator, dtype: str) -> MultiLayerNet:
    return MultiLayerNet(pixels, [100, 60, 30], 10, weight_init_std="he", rng=rng, dtype=dtype)


PRESETS: dict[str, NetPreset] = {
    "two-layer": NetPreset(
        record="TwoLayerNet",
        build=_two_layer,
        hidden="relu",
        output="softmax",
        batch_size=100,
        learning_rate=0.1,
        order="replacement",
        summary="the source's TwoLayerNet with 50 hidden units",
    ),
    "sigmoid": NetPreset(
        record="MultiLayerNet sigmoid, squared error",
        build=_sigmoid,
        hidden="sigmoid",
        output="sigmoid-squared",
        batch_size=1,
        learning_rate=0.3,
        order="file",
        summary="the source's second network with 100 hidden units, one sample at a time in file order",
        epochs=1,
        # A pixel of 0 would leave its weights as they are, and a sigmoid never reaches 0 or 1.
        pixels=(0.01, 1.0),
        targets=(0.01, 0.99),
        has_printed_order=True,
    ),
    "deep": NetPreset(
        record="MultiLayerNet relu, three hidden",
        build=_deep,
        hidden="relu",
        output="softmax",
        batch_size=100,
        learning_rate=0.1,
        order="replacement",
        summary="three hidden layers of 100, 60 and 30 units",
    ),
}


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run. Two runs with the same settings do the same; a checkpoint belongs to one."""

    net: str
    data: str
    steps: int
    batch_size: int
    learning_rate: float
    dtype: str
    targets: str
    seed: int
    train_samples: int
    test_samples: int

    @property
    def preset(self) -> NetPreset:
        return PRESETS[self.net]

    @property
    def record(self) -> LayerSpec:
        return RECORDS[self.preset.record]

    def as_json(self) -> dict[str, Any]:
        """The settings as plain values, by name."""
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Settings:
        """The settings that ``as_json`` gave. Raises TypeError for other names."""
        return Settings(**values)


@dataclass(frozen=True)
class Samples:
    """Training and test samples as a network takes them, in the dtype of the run; labels as they were."""

    x: Array
    t: Array
    x_test: Array
    t_test: Array
    labels_test: Array


def prepare(settings: Settings, train: Digits, test: Digits) -> Samples:
    """The samples of ``settings``: pixels scaled, targets in the form asked for.

    Raises InputError where the network cannot take that form.
    """
    preset = settings.preset
    if settings.targets == "labels" and preset.output != "softmax":
        raise InputError(
            f"--targets labels: the {settings.net} network has a squared error, which needs a value for every output; "
            "use --targets one-hot"
        )
    dtype = np.dtype(settings.dtype)
    low, high = preset.pixels
    off, on = preset.targets

    def scaled(images: Array) -> Array:
        return (images * (high - low) + low).astype(dtype)

    def form(labels: Array) -> Array:
        return labels if settings.targets == "labels" else (one_hot(labels, 10) * (on - off) + off).astype(dtype)

    return Samples(scaled(train.images), form(train.labels), scaled(test.images), form(test.labels), test.labels)


def new_network(settings: Settings, pixels: int) -> MultiLayerNet:
    """The network of ``settings`` with its first weights; the same ones for the same seed."""
    rng = np.random.default_rng((settings.seed, 0))
    return settings.preset.build(pixels, rng, settings.dtype)


def new_trainer(settings: Settings, samples: Samples, net: MultiLayerNet | None = None) -> Trainer:
    """A trainer at the start of the run; its batches are the same ones for the same seed."""
    rng = np.random.default_rng((settings.seed, 1))
    batches = Batches(len(samples.x), settings.batch_size, rng, settings.preset.order)
    return Trainer(
        net or new_network(settings, samples.x[0].size),
        samples.x,
        samples.t,
        batches,
        SGD(settings.learning_rate),
        x_test=samples.x_test,
        t_test=samples.t_test,
    )


def steps_per_epoch(preset: NetPreset, samples: int, batch_size: int) -> int:
    """How many steps an epoch of ``samples`` samples takes."""
    return Batches(samples, batch_size, np.random.default_rng(0), preset.order).steps_per_epoch
