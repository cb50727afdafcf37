"""The same network trained by numerical gradients, by backprop and by PyTorch gives the same parameters.

**The bound.** Two of the three trainings, from the same weights over the same batches, are δ apart after a step, where

    δ' = δ − η·(g(p + δ) − g(p)) + r,   to first order   δ' = (I − η·H)·δ + r

with H the Hessian of the batch's loss and r what the two steps may differ by at the *same* parameters: η times what two
double-precision gradients may differ by (``stack_errors``, for the errors of both at once) and the rounding of
p − η·g, which is η·|g|·u for the product and (|p| + η·|g|)·u for the difference on each side, u = eps/2. Hence

    |δ_K| ≤ Σ_k |Φ_k|·r_k,   Φ_k = (I − η·H_{K-1})⋯(I − η·H_{k+1})

entry by entry. H is taken from central differences of the gradient, of which six digits are right; what is of second
order in δ ~ 1e-15 is below a millionth of it: both are covered by one per cent.

**Kinks.** Where a pre-activation of a Relu may have either sign within the errors of the three, they may branch apart
and no bound holds. Such draws are rejected: every pre-activation must be further from 0 than KINK, and none may change
its sign under the central differences.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from oracle.catalog.case import Arrays
from oracle.catalog.records import NETWORKS, RECORDS
from oracle.judge.bounds import stack_errors
from oracle.sources.autograd import is_available
from oracle.sources.numerical import numerical
from oracle.subjects.in_process import implementation_of
from scratch import SGD, Batches, Relu, Trainer

EPS = np.finfo(np.float64).eps
STEPS = 20
#: Step of the central differences of the gradient. Truncation h², rounding eps/h: both below 1e-9.
DIFFERENCE = 1e-6
#: A bound above this would say little, and is a failure. Over 150 draws the largest was 4e-13.
LARGEST_BOUND = 1e-10
#: Parameters that are so far apart move a pre-activation by that times inputs and weights: a hundred at most.
KINK = 100 * LARGEST_BOUND


@dataclass(frozen=True)
class Run:
    """What is drawn: plain values, from which everything else follows."""

    record: str
    sizes: tuple[int, ...]
    samples: int
    batch_size: int
    learning_rate: float
    targets: str
    order: str
    seed: int

    def trainer(self):
        record = RECORDS[self.record]
        rng = np.random.default_rng(self.seed)
        subject = implementation_of(record)
        net = subject.factory(sizes=self.sizes, dtype=np.dtype(np.float64))
        for name, values in net.params.items():
            scale = 1 / np.sqrt(values.shape[0]) if values.ndim == 2 else 0.5
            net.params[name] = rng.normal(size=values.shape) * scale
        x = rng.normal(size=(self.samples, self.sizes[0]))
        t = rng.integers(0, self.sizes[-1], size=self.samples)
        t = t if self.targets == "labels" else np.eye(self.sizes[-1])[t]
        batches = Batches(self.samples, self.batch_size, rng, self.order)
        return Trainer(net, x, t, batches, SGD(self.learning_rate))


@st.composite
def runs(draw):
    record = draw(st.sampled_from(SHALLOW))
    affine_layers = sum(bool(parameters) for _, parameters in record.stack)
    hidden = st.integers(1, 5 if affine_layers == 2 else 3)
    sizes = (draw(st.integers(1, 5)), *(draw(hidden) for _ in range(affine_layers - 1)), draw(st.integers(2, 4)))
    return Run(
        record=record.name,
        sizes=sizes,
        samples=draw(st.integers(1, 8)),
        batch_size=draw(st.integers(1, 12)),
        learning_rate=draw(st.floats(0.01, 0.5)),
        targets=draw(st.sampled_from(("one-hot", "labels"))) if record.has_class_targets else "one-hot",
        order=draw(st.sampled_from(("replacement", "shuffled", "file"))),
        seed=draw(st.integers(0, 2**16)),
    )


#: Up to two hidden layers; deeper networks take longer than they tell more.
SHALLOW = [record for record in NETWORKS if len(record.parameters) <= 6]
TWO_LAYERS, SQUARED = "TwoLayerNet", "MultiLayerNet sigmoid, squared error"
BATCH_OF_1 = Run(TWO_LAYERS, (4, 5, 3), 6, 1, 0.1, "one-hot", "replacement", 1)
LARGER_THAN_THE_DATA = Run(TWO_LAYERS, (4, 5, 3), 5, 9, 0.2, "labels", "replacement", 2)
SAMPLE_BY_SAMPLE = Run(SQUARED, (3, 4, 2), 5, 1, 0.3, "one-hot", "file", 3)
SQUARED_LARGER = Run(SQUARED, (3, 4, 2), 5, 9, 0.3, "one-hot", "shuffled", 4)

drawn = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=11,  # and the four that are named
    suppress_health_check=[HealthCheck.too_slow],
)


def by_numerical_gradients(run):
    """Train with the derivative of the network's own forward, by the complex step; return the parameters."""
    record = RECORDS[run.record]
    subject = implementation_of(record)
    trainer = run.trainer()

    def loss_and_gradient(x, t):
        estimate = numerical(subject, {"x": x, "t": t}, trainer.net.params, np.ones(())).estimate
        # The bound is that of a complex step, which has no error but rounding.
        assert set(estimate.notes.values()) == {"complex step"}
        names = trainer.net.params
        return estimate.values["loss"], {name: estimate.values[record.gradient_name(name)] for name in names}

    trainer.loss_and_gradient = loss_and_gradient
    trainer.run(STEPS)
    return trainer.net.params


def by_pytorch(run):
    """Train the twin over the batches that backprop was given; return the parameters."""
    from oracle.twins.training import TorchTraining  # here, as it imports PyTorch

    trainer = run.trainer()
    network = RECORDS[run.record].settings
    twin = TorchTraining(trainer.net.params, **network, learning_rate=run.learning_rate, dtype="float64")
    for _ in range(STEPS):
        indices = trainer.batches.draw()
        twin.step(trainer.x[indices], trainer.t[indices])
    return twin.parameters()


def by_backprop(run):
    """Train by backprop; return the parameters, and by how much another training's may differ from them."""
    trainer = run.trainer()
    net, rate, record = trainer.net, run.learning_rate, RECORDS[run.record]
    # Column k of `carried` is Φ_k·r_k as a diagonal: what the errors of step k, one entry each, have grown to.
    carried = []
    for _ in range(STEPS):
        before = {name: values.copy() for name, values in net.params.items()}
        step = trainer.step()
        after = {name: values.copy() for name, values in net.params.items()}
        x, t = trainer.x[step.indices], trainer.t[step.indices]

        bounds, _ = stack_errors(record, Arrays({"x": x, "t": t}, before, np.ones(())), 2 * EPS)
        own = [
            rate * bounds[record.gradient_name(name)]
            + EPS * (np.abs(before[name]) + 2 * rate * np.abs(step.gradients[name]))
            for name in before
        ]
        net.params.update(before)
        assume(furthest_from_kinks(net, x) > KINK)
        growth = np.eye(sum(values.size for values in before.values())) - rate * hessian(net, x, t)
        net.params.update(after)
        carried = [growth @ errors for errors in carried] + [np.diag(flat(own))]
    bound = 1.01 * sum(np.abs(errors).sum(axis=1) for errors in carried)
    return net.params, bound


def furthest_from_kinks(net, x):
    """The smallest |pre-activation| of any Relu."""
    nearest = np.inf
    for layer in net.layers.values():
        if isinstance(layer, Relu):
            nearest = min(nearest, float(np.abs(x).min()))
        x = layer.forward(x)
    return nearest


def branches(net):
    """Which side of the kink each unit was on in the latest forward, for every sample."""
    return [layer.mask for layer in net.layers.values() if isinstance(layer, Relu)]


def hessian(net, x, t):
    net.predict(x)
    here = branches(net)

    def gradient():
        gradients = flat(net.gradient(x, t).values())
        assume(all(map(np.array_equal, branches(net), here)))
        return gradients

    columns = []
    for values in net.params.values():
        for index in np.ndindex(values.shape):
            centre = values[index]
            values[index] = centre + DIFFERENCE
            ahead = gradient()
            values[index] = centre - DIFFERENCE
            behind = gradient()
            values[index] = centre
            columns.append((ahead - behind) / (2 * DIFFERENCE))
    return np.stack(columns, axis=1)


def flat(arrays):
    return np.concatenate([np.ravel(values) for values in arrays])


def assert_alike(theirs, ours, bound):
    assert bound.max() < LARGEST_BOUND
    difference = np.abs(flat(theirs[name] for name in ours) - flat(ours.values()))
    assert np.all(difference <= bound), f"worst margin {np.max(difference / bound):.3g}"


@drawn
@example(BATCH_OF_1)
@example(LARGER_THAN_THE_DATA)
@example(SAMPLE_BY_SAMPLE)
@example(SQUARED_LARGER)
@given(runs())
def test_numerical_gradients_and_backprop_train_the_same_network(run):
    ours, bound = by_backprop(run)
    assert_alike(by_numerical_gradients(run), ours, bound)


@pytest.mark.skipif(not is_available(), reason="PyTorch is not installed, and this is held against its twin")
@drawn
@example(BATCH_OF_1)
@example(LARGER_THAN_THE_DATA)
@example(SAMPLE_BY_SAMPLE)
@example(SQUARED_LARGER)
@given(runs())
def test_pytorch_and_backprop_train_the_same_network(run):
    """And so PyTorch and numerical gradients, which are at most the sum of both bounds apart."""
    ours, bound = by_backprop(run)
    assert_alike(by_pytorch(run), ours, bound)


@drawn
@given(st.sampled_from((BATCH_OF_1, SQUARED_LARGER)))
def test_one_gradient_entry_wrong_in_one_step_leaves_the_bound(run):
    """The bound can fail: 1e-9 in one entry of one of twenty gradients is more than it allows."""
    ours, bound = by_backprop(run)
    wrong = run.trainer()
    net = wrong.net

    def loss_and_gradient(x, t):
        loss, gradients = net.loss_and_gradient(x, t)
        if wrong.steps_done == 10:
            gradients["W2"][1, 1] += 1e-9
        return loss, gradients

    wrong.loss_and_gradient = loss_and_gradient
    wrong.run(STEPS)
    with pytest.raises(AssertionError, match="worst margin"):
        assert_alike(net.params, ours, bound)
