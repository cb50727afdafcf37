"""The source ``backprop``: the subject's own forward and backward."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from oracle.sources.estimate import Array, Estimate
from oracle.sources.numerical import double, quiet
from oracle.subjects.interface import Handle, Reply, Subject, SubjectError

#: How far, relative to themselves, arguments are moved to see what rounding does: sixteen units in the last place; and
#: how often. Of a few entries that are all noise, each may come out alike once.
MOVED, MOVES = 2.0**-48, 6


def backprop(
    subject: Subject, inputs: Mapping[str, Array], parameters: Mapping[str, Array], dout: Array
) -> tuple[Estimate, Reply, Reply | None, Handle]:
    """One forward and one backward of a new instance: the values, both replies and the instance itself.

    Raises SubjectError when the subject does.
    """
    handle = subject.open(parameters)
    forward = handle.forward(inputs)
    backward = handle.backward(dout) if subject.record.has_backward else None
    gradients = backward.values if backward else {}
    return Estimate("backprop", {**forward.values, **gradients}), forward, backward, handle


def shaken(
    subject: Subject, inputs: Mapping[str, Array], parameters: Mapping[str, Array], dout: Array, *, seed: int
) -> dict[str, float]:
    """By gradient, the most that any entry changes when every argument is moved by a few units in the last place.

    It is the stochastic arithmetic of Vignes (Mathematics and Computers in Simulation 35, 1993) with the arguments
    alone disturbed: what cancels inside, so that rounding is all that is left of it, comes out otherwise every time. In
    double precision. Empty where a moved call raises, or the gradients are not the same twice.
    """
    rng = np.random.default_rng((seed, 7))
    # A label stays what it is, and 1 in a one-hot row is compared with 1.
    targets = {a.name: double(inputs[a.name], is_target=True) for a in subject.record.of_role("target")}

    def gradients(size: float) -> dict[str, Array]:
        def near(values: Array) -> Array:
            values = np.array(values, np.float64)
            return values * (1 + size * rng.uniform(-1, 1, size=values.shape))

        with quiet():
            handle = subject.open({name: near(values) for name, values in parameters.items()})
            others = {name: near(values) for name, values in inputs.items() if name not in targets}
            kept = {name: values.copy() for name, values in targets.items()}
            # In the order of the record.
            return handle.step({name: {**others, **kept}[name] for name in inputs}, near(dout))

    try:
        still, again = gradients(0.0), gradients(0.0)
        moved = [gradients(MOVED) for _ in range(MOVES)]
    except SubjectError:
        return {}
    if any(not np.array_equal(again[name], values, equal_nan=True) for name, values in still.items()):
        # What changes of itself is no rounding, and excuses nothing.
        return {}
    return {
        name: max(float(np.abs(other[name] - values).max(initial=0.0)) for other in moved)
        for name, values in still.items()
        if all(np.shape(other[name]) == np.shape(values) for other in moved)
    }
