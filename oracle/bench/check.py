"""``oracle bench check``: what it costs to check all 39,760 parameters of TwoLayerNet 784-50-10 on three images.

The certificate beside one forward and backward pass, beside the loop over all entries that books teach, and beside the
fast mode of ``torch.autograd.gradcheck``; and how small an error in a single entry the certificate notices.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from oracle.bench.timing import Row, Way, interleaved
from oracle.catalog.record import LayerSpec, resolve
from oracle.catalog.records import RECORDS
from oracle.data.digits import Digits
from oracle.judge.certificate import Certificate, Certifier
from oracle.sources.autograd import is_available
from oracle.subjects.in_process import implementation_of

Array = np.ndarray

SIZES = (784, 50, 10)
SAMPLES = 3
FORWARD_BACKWARD, CERTIFICATE, LOOP, GRADCHECK = "fwdbwd", "certificate", "loop", "gradcheck_fast"
#: A call of the loop takes every fortieth entry, other ones each time; its time is that of forty calls.
SHARES = 40
#: The step of the central difference in the source material.
STEP = 1e-4
#: Entries that are planted an error in, to see how small it may be.
DRAWS = 200
#: Which array they are in; they are at least as large as the median of its entries that are not 0.
PLANTED_IN = "W1"
NOTICED_IN = 0.95


#: Of the pixels of MNIST's training images 19.1 % are not 0.
NOT_ZERO = 0.191


def images_like_mnist(seed: int) -> Digits:
    """Random images for where MNIST is not at hand: the zeros are what matters to sums, and to a bound."""
    rng = np.random.default_rng((seed, 4))
    pixels = rng.random((SAMPLES, SIZES[0])) * (rng.random((SAMPLES, SIZES[0])) < NOT_ZERO)
    return Digits(pixels, rng.integers(0, SIZES[-1], SAMPLES))


def time_checks(images: Digits, *, rounds: int, seed: int, on_round: Callable[[], object] = lambda: None) -> list[Row]:
    """Time every way of checking the network on the first three of ``images``. Without PyTorch its row is missing."""
    options = {"x": images.images[:SAMPLES], "labels": images.labels[:SAMPLES], "seed": seed}
    ways = [
        Way(FORWARD_BACKWARD, "oracle.bench.check:forward_and_backward", options, repeats=100),
        Way(CERTIFICATE, "oracle.bench.check:certificate", options, repeats=20),
        Way(LOOP, "oracle.bench.check:share_of_the_loop", options, repeats=1, part=1 / SHARES),
    ]
    if is_available():
        ways.append(Way(GRADCHECK, "oracle.bench.check:gradcheck", options, repeats=10))
    return interleaved(ways, rounds=rounds, on_round=on_round)


def _network(seed: int) -> tuple[LayerSpec, dict[str, Array]]:
    """The record, and parameters as the source material draws them."""
    record = RECORDS["TwoLayerNet"]
    rng = np.random.default_rng(seed)
    net = resolve(record.implementation)(*SIZES, rng=rng)
    return record, {name: values.copy() for name, values in net.params.items()}


def _inputs(record: LayerSpec, x: Array, labels: Array) -> dict[str, Array]:
    return dict(zip((a.name for a in record.arguments), (x.astype(np.float64), labels.astype(np.int64)), strict=False))


def forward_and_backward(x: Array, labels: Array, seed: int) -> Callable[[], object]:
    """One forward and one backward pass: all gradients."""
    record, parameters = _network(seed)
    handle = implementation_of(record).open(parameters)
    return partial(handle.step, _inputs(record, x, labels), np.ones(()))


def certificate(x: Array, labels: Array, seed: int) -> Callable[[], object]:
    """The certificate, from the gradients to the margin, with all that depends on the images."""
    record, parameters = _network(seed)
    certifier = Certifier(implementation_of(record), parameters, seed=seed)
    inputs = _inputs(record, x, labels)

    def call() -> Certificate:
        given = certifier.certify(inputs)
        assert given.passed, f"the certificate fails for a correct network: {given.directions}"
        return given

    return call


def share_of_the_loop(x: Array, labels: Array, seed: int) -> Callable[[], object]:
    """Central differences of the loss, element by element, for a fortieth of the entries and another one each time."""
    record, parameters = _network(seed)
    net = resolve(record.implementation)(*SIZES)
    net.params.update(parameters)
    x, t = _inputs(record, x, labels).values()
    entries = [(values, index) for values in net.params.values() for index in np.ndindex(values.shape)]
    turn = 0

    def call() -> list[float]:
        nonlocal turn
        slopes = []
        for values, index in entries[turn % SHARES :: SHARES]:
            before = values[index]
            values[index] = before + STEP
            ahead = net.loss(x, t)
            values[index] = before - STEP
            behind = net.loss(x, t)
            values[index] = before
            slopes.append((ahead - behind) / (2 * STEP))
        turn += 1
        return slopes

    return call


def gradcheck(x: Array, labels: Array, seed: int) -> Callable[[], object]:
    """``torch.autograd.gradcheck(fast_mode=True)`` on the same network, wrapped."""
    record, parameters = _network(seed)
    net = resolve(record.implementation)(*SIZES)
    x, t = _inputs(record, x, labels).values()

    def put(given: list[Array]) -> None:
        for name, values in zip(parameters, given, strict=True):
            net.params[name][...] = values

    def loss(given: list[Array]) -> float:
        put(given)
        return float(net.loss(x, t))

    def gradient(given: list[Array]) -> list[Array]:
        put(given)
        return list(net.gradient(x, t).values())

    check: Callable[[], bool] = resolve("oracle.twins.gradcheck:fast_gradcheck")(
        loss, gradient, list(parameters.values())
    )

    def call() -> bool:
        passed = check()
        assert passed, "gradcheck fails for a correct network"
        return passed

    return call


def thresholds(images: Digits, *, seed: int) -> dict[str, Any]:
    """How small an error in a single entry of dW1 the certificate notices: guaranteed, and observed.

    Both are relative to the entry. ``guaranteed`` is for an entry as large as the median of those that are not 0;
    ``observed`` is noticed in 95 % of draws of an entry at least that large, of a sign, and of directions.
    """
    record, parameters = _network(seed)
    certifier = Certifier(implementation_of(record), parameters, seed=seed)
    point = certifier.at(_inputs(record, images.images[:SAMPLES], images.labels[:SAMPLES]))
    before = itertools.takewhile(lambda name: name != PLANTED_IN, point.reference.shapes)
    start = sum(parameters[name].size for name in before)
    planted = point.gradient[start : start + parameters[PLANTED_IN].size]
    sizes = np.abs(planted)
    candidates = start + np.flatnonzero(sizes >= np.median(sizes[sizes > 0]))
    rng = np.random.default_rng((seed, 3))
    guaranteed, noticed = [], []
    for entry in rng.choice(candidates, DRAWS):
        directions = point.draw()
        compared = point.compare(point.gradient, directions)
        sign = rng.choice((-1.0, 1.0))
        # The error e is noticed where |r + e v| is beyond the bound, r what rounding left between the two sides.
        needed = [
            (d.bound - np.sign(sign * v[entry]) * (d.backprop - d.numerical)) / abs(v[entry])
            for d, v in zip(compared, directions, strict=True)
        ]
        noticed.append(min(needed) / abs(point.gradient[entry]))
        certain = 4 * min(d.bound for d in compared) / point.scales[PLANTED_IN]
        guaranteed.append(certain / float(np.median(sizes[sizes > 0])))
    return {
        "quantity": record.gradient_name(PLANTED_IN),
        "draws": DRAWS,
        "guaranteed": max(guaranteed),
        "observed": float(np.quantile(noticed, NOTICED_IN)),
    }
