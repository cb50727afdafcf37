"""The rules that say which mistake would have made a step, asked directly, of the first step of a small network.

No twin and no PyTorch: the gradients of a right loop stand for the right ones, and the step is changed by hand.
"""

from dataclasses import replace

import numpy as np
import pytest

from oracle.catalog.records import RECORDS
from oracle.training.diagnosis import Past, StepTaken, of_forward, of_gradient
from oracle.training.planted import Loop, small_start

RECORD = RECORDS["TwoLayerNet"]
#: Two gradients of float64 agree to this, and none of float32 does.
BOUND = 1e-14


@pytest.fixture
def step():
    """The first step of a right loop."""
    loop = Loop(small_start(RECORD, 0))
    before = loop.parameters()
    seen = loop.step()
    right = {name: values.copy() for name, values in seen.gradients.items()}
    return StepTaken(
        before=before,
        seen=seen,
        after=loop.parameters(),
        loss=seen.loss,
        gradients=right,
        stepped=loop.parameters(),
        bounds={name: np.full(values.shape, BOUND) for name, values in right.items()},
        loss_bound=np.asarray(BOUND),
        left_out={name: np.zeros(values.shape, bool) for name, values in right.items()},
    )


RATE = small_start(RECORD, 0).learning_rate


def using(step, gradients):
    """The step, had it used these gradients."""
    return replace(step, seen=replace(step.seen, gradients=step.seen.gradients | gradients))


def neighbours(gradients, *, how_far):
    """Numbers of single precision that lie so many places beside the nearest ones, away from 0; a 0 stays one."""
    found = {}
    for name, values in gradients.items():
        single = values.astype(np.float32)
        for _ in range(how_far):
            single = np.where(single == 0, single, np.nextafter(single, np.copysign(np.float32(np.inf), single)))
        found[name] = single.astype(np.float64)
    return found


def test_gradients_computed_in_single_precision_are_neighbours_of_the_nearest_numbers(step):
    """Rounded at the end they would be the nearest; all of float32 they are beside them."""
    nearest, beside = (neighbours(step.gradients, how_far=n) for n in (0, 1))
    halfway = {name: (nearest[name] + beside[name]) / 2 for name in nearest}
    right = replace(step, gradients=halfway)
    for used in (nearest, beside):
        assert of_gradient(RECORD, using(right, used), Past(), RATE) == "single_precision_inside"
    further = neighbours(step.gradients, how_far=8)
    assert of_gradient(RECORD, using(right, further), Past(), RATE) is None
    # As far off, but in numbers of double precision: no single precision is inside.
    off = {name: values * (1 + 0.4 * np.finfo(np.float32).eps) for name, values in halfway.items()}
    assert of_gradient(RECORD, using(right, off), Past(), RATE) is None


@pytest.mark.parametrize("shape", [(3, 1, 1), (11,), ()])
def test_gradient_of_a_shape_that_fits_nothing_has_no_cause(step, shape):
    assert of_gradient(RECORD, using(step, {"b1": np.ones(shape)}), Past(), RATE) is None
    # Of the right shape, one entry off is the one thing that is wrong.
    off = step.gradients["b1"].copy()
    off[2] += 1
    assert of_gradient(RECORD, using(step, {"b1": off}), Past(), RATE) == "single_entry"


def test_parameters_that_are_all_zero_do_not_decay(step):
    """Any decay of nothing is nothing: none may be named, whatever the gradients are off by."""
    decay = {name: right + 0.25 * step.before[name] for name, right in step.gradients.items()}
    assert of_gradient(RECORD, using(step, decay), Past(), RATE) == "weight_decay_in_the_update"
    zeros = {name: np.zeros_like(values) for name, values in step.before.items()}
    assert of_gradient(RECORD, replace(using(step, decay), before=zeros), Past(), RATE) is None


class NeverAsked:
    """A twin that nobody may ask."""

    def set_parameters(self, parameters):
        raise AssertionError("there is no start to move the twin to")


def test_wrong_loss_of_the_first_step_has_no_cause(step):
    """No parameters of a start could have been kept: this is the start."""
    wrong = replace(step, seen=replace(step.seen, loss=2 * step.loss))
    assert of_forward(wrong, Past(), NeverAsked()) is None


class OfTheStart:
    """A twin whose loss and gradients are those of the step, whatever its parameters; it remembers these."""

    def __init__(self, step):
        self.seen = step.seen
        self.given = []

    def set_parameters(self, parameters):
        self.given.append(parameters)

    def step(self, x, t):
        return self.seen.loss, self.seen.gradients


def test_wrong_loss_of_a_later_step_is_held_against_the_parameters_of_the_start(step):
    past = Past()
    past.add(step)
    later = replace(step, before=step.after)
    twin = OfTheStart(step)
    assert of_forward(later, past, twin) == "assigned_parameters_unused"
    (given,) = twin.given
    assert all(np.array_equal(given[name], step.before[name]) for name in step.before)


def test_wrong_loss_that_no_parameters_of_the_start_give_has_no_cause(step):
    past = Past()
    past.add(step)
    later = replace(step, before=step.after, seen=replace(step.seen, loss=2 * step.loss))
    twin = OfTheStart(step)
    assert of_forward(later, past, twin) is None
    # All of them were tried, and each alone.
    kept = [{n for n in given if np.array_equal(given[n], step.before[n])} for given in twin.given]
    assert kept == [set(step.before), *({name} for name in step.before)]
