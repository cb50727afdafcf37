"""Every planted fault of a training loop is caught at the right step, with the right cause; a right loop is not."""

import numpy as np
import pytest

from oracle.training.parity import BATCH, FORWARD, GRADIENT, UPDATE, StepSeen, resynchronise
from oracle.training.printed_order import PrintedOrder
from oracle.training.settings import PRESETS, new_network, new_trainer
from scratch import Batches

DTYPES = ["float64", "float32"]
STEPS = 6


class Loop:
    """A right training loop. Each fault below is this loop with one thing changed."""

    def __init__(self, settings, samples, batches=None):
        self.net = new_network(settings, samples.x[0].size)
        self.x, self.t = samples.x, samples.t
        self.learning_rate = settings.learning_rate
        # Two epochs of batches that do not overlap: a gradient of other samples is another gradient.
        self.batches = batches or Batches(len(self.x), settings.batch_size, np.random.default_rng(8), "shuffled")
        self.steps_done = 0

    def parameters(self):
        return {name: values.copy() for name, values in self.net.params.items()}

    def step(self):
        indices = self.batches.draw()
        x, t = self.samples_of(indices)
        loss, gradients = self.loss_and_gradients(x, t)
        self.update(gradients)
        self.steps_done += 1
        return StepSeen(indices, x, t, float(loss), gradients)

    def samples_of(self, indices):
        return self.x[indices], self.t[indices]

    def loss_and_gradients(self, x, t):
        return self.net.loss_and_gradient(x, t)

    def update(self, gradients):
        for name, gradient in gradients.items():
            self.net.params[name] -= self.learning_rate * gradient


# ----------------------------------------------------------------------------- the batch


class TargetsShuffledAgainstTheInputs(Loop):
    def samples_of(self, indices):
        x, t = super().samples_of(indices)
        return x, np.roll(t, 1, axis=0)


class InputsShuffledAgainstTheTargets(Loop):
    def samples_of(self, indices):
        x, t = super().samples_of(indices)
        return np.roll(x, 1, axis=0), t


class NewBatchForTheTargets(Loop):
    """Two draws where one was meant; right as long as the first batch lasts."""

    def samples_of(self, indices):
        return self.x[indices], self.t[indices if self.steps_done == 0 else self.batches.draw()[: len(indices)]]


# ----------------------------------------------------------------------------- the forward pass


class TrainsOnShuffledTargetsUnseen(Loop):
    """The batch is as it says, but not what the loss is taken of."""

    def loss_and_gradients(self, x, t):
        return super().loss_and_gradients(x, np.roll(t, 1, axis=0))


class ParamsRebound(Loop):
    """``params[name] = params[name] - …`` in a plain dictionary: the layers keep the old arrays."""

    def __init__(self, settings, samples, batches=None):
        super().__init__(settings, samples, batches)
        self.params = dict(self.net.params)

    def parameters(self):
        return {name: values.copy() for name, values in self.params.items()}

    def update(self, gradients):
        for name, gradient in gradients.items():
            self.params[name] = self.params[name] - self.learning_rate * gradient


class OneBiasRebound(ParamsRebound):
    def update(self, gradients):
        for name, gradient in gradients.items():
            if name == "b2":
                self.params[name] = self.params[name] - self.learning_rate * gradient
            else:
                self.params[name] -= self.learning_rate * gradient


# ----------------------------------------------------------------------------- the gradient


class GradientsAccumulate(Loop):
    """Nothing sets them to zero."""

    def __init__(self, settings, samples, batches=None):
        super().__init__(settings, samples, batches)
        self.total = {name: np.zeros_like(values) for name, values in self.net.params.items()}

    def loss_and_gradients(self, x, t):
        loss, gradients = super().loss_and_gradients(x, t)
        for name, gradient in gradients.items():
            self.total[name] += gradient
        return loss, {name: total.copy() for name, total in self.total.items()}


class StaleGradient(Loop):
    """Each update is made with the gradient of the step before."""

    previous = None

    def loss_and_gradients(self, x, t):
        loss, gradients = super().loss_and_gradients(x, t)
        used, self.previous = self.previous or gradients, gradients
        return loss, used


class SumInsteadOfMean(Loop):
    def loss_and_gradients(self, x, t):
        loss, gradients = super().loss_and_gradients(x, t)
        return loss, {name: len(x) * gradient for name, gradient in gradients.items()}


class LastBatchDividedByTheFullSize(Loop):
    """1,437 samples in batches of 500 end an epoch with 437."""

    def loss_and_gradients(self, x, t):
        loss, gradients = super().loss_and_gradients(x, t)
        return loss, {name: gradient * (len(x) / 500) for name, gradient in gradients.items()}


# ----------------------------------------------------------------------------- the update


class WrongLearningRate(Loop):
    """By one in a hundred."""

    def __init__(self, settings, samples, batches=None):
        super().__init__(settings, samples, batches)
        self.learning_rate *= 1.01


class LearningRateDecays(Loop):
    def update(self, gradients):
        super().update(gradients)
        self.learning_rate *= 0.99


class MomentumForgottenIn(Loop):
    velocity = None

    def update(self, gradients):
        old = self.velocity or {name: np.zeros_like(gradient) for name, gradient in gradients.items()}
        self.velocity = {name: 0.9 * old[name] + gradient for name, gradient in gradients.items()}
        super().update(self.velocity)


class WeightDecayForgottenIn(Loop):
    def update(self, gradients):
        super().update({name: g + 1e-3 * self.net.params[name] for name, g in gradients.items()})


class UpdateAppliedTwice(Loop):
    def update(self, gradients):
        super().update(gradients)
        super().update(gradients)


class UpdateAscends(Loop):
    def update(self, gradients):
        super().update({name: -gradient for name, gradient in gradients.items()})


class LastBiasNeverUpdated(Loop):
    def update(self, gradients):
        super().update({name: gradient for name, gradient in gradients.items() if name != "b2"})


FAULTS = {
    "targets shuffled against the inputs": (TargetsShuffledAgainstTheInputs, 0, BATCH, None),
    "inputs shuffled against the targets": (InputsShuffledAgainstTheTargets, 0, BATCH, None),
    "targets of another batch from the second step on": (NewBatchForTheTargets, 1, BATCH, None),
    "targets shuffled where nobody looks": (TrainsOnShuffledTargetsUnseen, 0, FORWARD, None),
    "params rebound and no longer seen by the layers": (ParamsRebound, 1, FORWARD, None),
    "one bias rebound": (OneBiasRebound, 1, FORWARD, None),
    "gradients accumulated": (GradientsAccumulate, 1, GRADIENT, "W1"),
    "stale gradient": (StaleGradient, 1, GRADIENT, "W1"),
    "sum instead of mean": (SumInsteadOfMean, 0, GRADIENT, "W1"),
    "wrong learning rate": (WrongLearningRate, 0, UPDATE, "W1"),
    "learning rate decays": (LearningRateDecays, 1, UPDATE, "W1"),
    "momentum forgotten in": (MomentumForgottenIn, 1, UPDATE, "W1"),
    "weight decay forgotten in": (WeightDecayForgottenIn, 0, UPDATE, "W1"),
    "update applied twice": (UpdateAppliedTwice, 0, UPDATE, "W1"),
    "update ascends": (UpdateAscends, 0, UPDATE, "W1"),
    "one parameter never updated": (LastBiasNeverUpdated, 0, UPDATE, "b2"),
}


@pytest.fixture
def held_against_its_twin(needs_the_twin, twin_of):
    """held_against_its_twin(subject, settings, samples, steps) -> the outcome, resynchronised at every step."""

    def hold(subject, settings, samples, steps=STEPS):
        return resynchronise(
            subject,
            settings.record,
            twin_of(settings, subject.parameters()),
            samples.x,
            samples.t,
            learning_rate=settings.learning_rate,
            dtype=settings.dtype,
            steps=steps,
        )

    return hold


def where(outcome):
    divergence = outcome.first_divergence
    assert divergence is not None, f"not caught; worst margin {outcome.worst_margin:.3g}"
    return divergence.step, divergence.kind, divergence.parameter


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("fault", "step", "kind", "parameter"), FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_is_caught_with_step_and_cause(
    fault, step, kind, parameter, dtype, on_digits, held_against_its_twin
):
    settings, samples = on_digits(dtype=dtype, batch_size=20)
    outcome = held_against_its_twin(fault(settings, samples), settings, samples)
    assert where(outcome) == (step, kind, parameter)
    # Nothing is said about what came after.
    assert outcome.steps == step + 1
    sentence = str(outcome.first_divergence)
    assert sentence.startswith(f"step {step}: {kind}")
    assert "\n" not in sentence


@pytest.mark.parametrize("targets", ["one-hot", "labels"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_loop_that_the_faults_were_planted_in_is_right(dtype, targets, on_digits, held_against_its_twin):
    settings, samples = on_digits(dtype=dtype, batch_size=20, targets=targets)
    outcome = held_against_its_twin(Loop(settings, samples), settings, samples, steps=20)
    assert outcome.first_divergence is None
    assert outcome.steps == 20


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_last_batch_of_an_epoch_divided_by_the_full_size(dtype, on_digits, held_against_its_twin):
    settings, samples = on_digits(dtype=dtype, batch_size=500)
    outcome = held_against_its_twin(LastBatchDividedByTheFullSize(settings, samples), settings, samples)
    assert where(outcome) == (2, GRADIENT, "W1")


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_output_layer_updated_before_the_gradient_of_the_hidden_one_is_taken(
    dtype, on_digits, held_against_its_twin
):
    """The source's second network as printed."""
    settings, samples = on_digits("sigmoid", dtype)
    net = new_network(settings, samples.x[0].size)
    subject = PrintedOrder(net, samples.x, samples.t, settings.learning_rate)
    outcome = held_against_its_twin(subject, settings, samples)
    assert where(outcome) == (0, GRADIENT, "W1")
    assert "the gradients that the step used are not those of the loss" in str(outcome.first_divergence)


class BiasBroadcast:
    """The source's second network given a batch: a bias that is not summed takes the batch's shape."""

    def __init__(self, settings, samples):
        self.params = dict(new_network(settings, samples.x[0].size).params)
        self.x, self.t = samples.x, samples.t
        self.learning_rate, self.batch_size = settings.learning_rate, settings.batch_size

    def parameters(self):
        return {name: values.copy() for name, values in self.params.items()}

    def step(self):
        indices = np.arange(self.batch_size)
        x, t, params = self.x[indices], self.t[indices], self.params
        hidden = 1 / (1 + np.exp(-(x @ params["W1"] + params["b1"])))
        output = 1 / (1 + np.exp(-(hidden @ params["W2"] + params["b2"])))
        output_delta = (output - t) * output * (1 - output) / len(x)
        hidden_delta = output_delta @ params["W2"].T * hidden * (1 - hidden)
        gradients = {
            "W1": x.T @ hidden_delta,
            "b1": hidden_delta.sum(axis=0),
            "W2": hidden.T @ output_delta,
            "b2": output_delta.sum(axis=0),
        }
        params["W1"] = params["W1"] - self.learning_rate * gradients["W1"]
        params["b1"] = params["b1"] - self.learning_rate * hidden_delta
        params["W2"] = params["W2"] - self.learning_rate * gradients["W2"]
        params["b2"] = params["b2"] - self.learning_rate * gradients["b2"]
        loss = 0.5 * float(np.sum((output - t) ** 2)) / len(x)
        return StepSeen(indices, x, t, loss, gradients)


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_bias_broadcast_to_the_shape_of_the_batch(dtype, batch_size, on_digits, held_against_its_twin):
    settings, samples = on_digits("sigmoid", dtype, batch_size=batch_size)
    outcome = held_against_its_twin(BiasBroadcast(settings, samples), settings, samples)
    assert where(outcome) == (0, UPDATE, "b1")
    assert f"b1: has shape ({batch_size}, 100), but should have shape (100,)" in str(outcome.first_divergence)


# ----------------------------------------------------------------------------- small errors


class OneEntryWrong(Loop):
    """From the fourth step on one entry of one gradient is off by 1e-6."""

    def __init__(self, settings, samples, name, index):
        super().__init__(settings, samples)
        self.name, self.index = name, index

    def loss_and_gradients(self, x, t):
        loss, gradients = super().loss_and_gradients(x, t)
        if self.steps_done >= 3:
            gradients[self.name][self.index] += 1e-6
        return loss, gradients


@pytest.mark.parametrize(
    ("name", "index"), [("W1", (20, 7)), ("b1", (49,)), ("W2", (3, 9)), ("b2", (0,))], ids=["W1", "b1", "W2", "b2"]
)
def test_one_entry_of_a_gradient_wrong_by_a_millionth(name, index, on_digits, held_against_its_twin):
    settings, samples = on_digits()
    outcome = held_against_its_twin(OneEntryWrong(settings, samples, name, index), settings, samples)
    assert where(outcome) == (3, GRADIENT, name)
    sentence = outcome.first_divergence.sentence
    assert f'grads["{name}"][{", ".join(map(str, index))}]' in sentence
    assert "error 1e-06" in sentence
    assert "1 of " in sentence


class ThroughSinglePrecision(Loop):
    """A float64 loop in which one step goes through float32: 1e-8 of each value, and nothing else."""

    def __init__(self, settings, samples, where):
        super().__init__(settings, samples)
        self.where = where

    def loss_and_gradients(self, x, t):
        loss, gradients = super().loss_and_gradients(x, t)
        return loss, self._rounded(gradients) if self.where == "gradient" else gradients

    def update(self, gradients):
        super().update(self._rounded(gradients) if self.where == "update" else gradients)

    def _rounded(self, gradients):
        return {name: gradient.astype(np.float32).astype(np.float64) for name, gradient in gradients.items()}


@pytest.mark.parametrize(("place", "kind"), [("gradient", GRADIENT), ("update", UPDATE)])
def test_single_precision_inside_a_double_loop(place, kind, on_digits, held_against_its_twin):
    settings, samples = on_digits()
    outcome = held_against_its_twin(ThroughSinglePrecision(settings, samples, place), settings, samples)
    assert where(outcome) == (0, kind, "W1")


# ----------------------------------------------------------------------------- the right loop


class OfScratch:
    """The Trainer of scratch as a subject."""

    def __init__(self, settings, samples):
        self.trainer = new_trainer(settings, samples)

    def parameters(self):
        return {name: values.copy() for name, values in self.trainer.net.params.items()}

    def step(self):
        step = self.trainer.step()
        x, t = self.trainer.x[step.indices], self.trainer.t[step.indices]
        return StepSeen(step.indices, x, t, step.loss, step.gradients)


def assert_right(outcome, settings, steps):
    assert outcome.first_divergence is None
    assert 0 < outcome.worst_margin < 1
    assert outcome.steps == steps
    # Two of the batch, the loss, and gradient and update of every parameter.
    assert outcome.comparisons == steps * (3 + 2 * len(settings.record.parameters))
    assert len(outcome.margins) == 1 + 2 * len(settings.record.parameters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("net", PRESETS)
def test_the_trainer_diverges_nowhere(net, dtype, on_digits, held_against_its_twin):
    settings, samples = on_digits(net, dtype)
    outcome = held_against_its_twin(OfScratch(settings, samples), settings, samples, steps=300)
    assert_right(outcome, settings, 300)


@pytest.mark.parametrize("batch_size", [1, 2000], ids=["batch of 1", "batch larger than the data"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("net", "targets"), [("two-layer", "labels"), ("sigmoid", "one-hot")])
def test_the_trainer_diverges_nowhere_at_the_ends(net, targets, dtype, batch_size, on_digits, held_against_its_twin):
    settings, samples = on_digits(net, dtype, targets=targets, batch_size=batch_size)
    outcome = held_against_its_twin(OfScratch(settings, samples), settings, samples, steps=20)
    assert_right(outcome, settings, 20)
