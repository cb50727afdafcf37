"""What a defect is, and the instance that mistakes are planted in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from oracle.catalog.record import Array, LayerSpec
from oracle.catalog.records import RECORDS
from oracle.subjects.in_process import InProcessSubject, Instance, implementation_of
from oracle.subjects.interface import LayerTrace

Inputs = Mapping[str, Array]
Values = dict[str, Any]
#: Makes a subject of a record.
Maker = Callable[[LayerSpec], Any]
#: Verdicts that a defect can be expected to have.
Expected = Literal["hazard", "precision lost", "backward wrong", "forward wrong", "both wrong", "could not run"]


@dataclass(frozen=True)
class Defect:
    """A subject that is wrong on purpose. ``verdict`` and ``cause_id`` are what the judge must say of it.

    ``cause_id`` is None for a mistake that no cause is known for. ``make`` plants it in a record; what it makes does
    not know the name.
    """

    name: str
    record: str
    verdict: Expected
    cause_id: str | None
    make: Maker

    def subject(self) -> Any:
        """A new subject with the mistake in it."""
        return self.make(RECORDS[self.record])


class Planted(Instance):
    """An instance that passes every call on to a right one; a mistake is a subclass that does one thing otherwise.

    The right one sees copies, so that what a mistake does to the caller's arrays does not reach it. ``shared`` is the
    same for all instances of a subject, as an attribute of a class or a global variable would be.
    """

    def __init__(self, right: Any, shared: Values) -> None:
        super().__init__(right.record)
        self.right = right
        self.shared = shared

    def outputs(self, inputs: Inputs, right: Callable[[Inputs], Values]) -> Values:
        """The outputs; ``right`` computes those that are asked for: all, or only the first."""
        return right(copied(inputs))

    def gradients(self, dout: Array) -> Values:
        """The gradients by quantity, of the latest forward."""
        return dict(self.right._backward(np.copy(dout, order="K")))

    def set_parameters(self, parameters: Inputs) -> None:
        self.right.set_parameters(parameters)

    def trace(self, inputs: Inputs) -> tuple[LayerTrace, ...] | None:
        """Nothing: the layers of the right network are not those of the wrong one."""
        return None

    def numerical_gradient(self, inputs: Inputs) -> dict[str, Array]:
        return dict(self.right.numerical_gradient(inputs))

    def assign_parameter(self, name: str, values: Array) -> None:
        self.right.assign_parameter(name, values)

    def _forward(self, inputs: Inputs) -> Values:
        return self.outputs(inputs, self.right._forward)

    def _first_output(self, inputs: Inputs) -> Any:
        first = self.record.outputs[0]
        return self.outputs(inputs, lambda given: {first: self.right._first_output(given)})[first]

    def _backward(self, dout: Array) -> Values:
        return self.gradients(dout)

    def _step(self, inputs: Inputs, dout: Array) -> Values:
        # A network computes its gradient at the inputs of the latest whole forward.
        self._forward(inputs)
        return self._backward(dout)

    def _parameters(self) -> dict[str, Array]:
        return dict(self.right._parameters())


class PlantedSubject:
    """The right implementation of a record with a mistake planted in each of its instances."""

    def __init__(self, record: LayerSpec, mistake: Callable[[Any, Values], Planted]) -> None:
        self.record = record
        self.label = record.name
        self._mistake = mistake
        self._shared: Values = {}

    def open(self, parameters: Inputs) -> Planted:
        return self._mistake(implementation_of(self.record).open(parameters), self._shared)


def planting(mistake: Callable[[Any, Values], Planted]) -> Maker:
    """Plants ``mistake`` in the implementation that the record names."""
    return lambda record: PlantedSubject(record, mistake)


def written(factory: Callable[..., Any]) -> Maker:
    """A layer, function or network that is written out; a network is constructed as its record says."""
    return lambda record: InProcessSubject(record, constructed(record, factory))


def constructed(record: LayerSpec, factory: Callable[..., Any]) -> Callable[..., Any]:
    if record.construct is None:
        return factory
    construct = record.construct
    return lambda sizes, dtype: construct(factory, sizes=sizes, dtype=dtype)


def copied(arrays: Inputs) -> dict[str, Array]:
    return {name: np.copy(values, order="K") for name, values in arrays.items()}


# --------------------------------------------------------------------------- altered values


@dataclass(frozen=True)
class Seen:
    """What an alteration of one quantity may look at. ``dout`` is None in forward."""

    record: LayerSpec
    inputs: dict[str, Array]
    output: Array
    quantity: str
    dout: Any = None

    @property
    def x(self) -> Array:
        """The input that the quantity is the gradient of, or else the first."""
        names = {self.record.gradient_name(name): name for name in self.record.differentiable_inputs}
        return self.inputs[names.get(self.quantity, self.record.arguments[0].name)]

    @property
    def t(self) -> Array | None:
        """The targets, where there are any."""
        names = [a.name for a in self.record.of_role("target")]
        return self.inputs[names[0]] if names else None

    def size(self, axis: str) -> int | None:
        """The length of a named axis of the inputs; None where there is none, as in a single sample."""
        for argument in self.record.arguments:
            values = self.inputs.get(argument.name)
            if values is not None and axis in argument.axes and len(argument.axes) == values.ndim:
                return int(values.shape[argument.axes.index(axis)])
        return None


#: (right value, what is seen) -> what the subject gives instead.
Alteration = Callable[[Array, Seen], Any]


class Altered(Planted):
    """Some quantities altered, the others right."""

    def __init__(self, right: Any, shared: Values, alterations: Mapping[str, Alteration]) -> None:
        super().__init__(right, shared)
        self._alterations = alterations

    def outputs(self, inputs: Inputs, right: Callable[[Inputs], Values]) -> Values:
        found = super().outputs(inputs, right)
        self._inputs = copied(inputs)
        self._output = np.asarray(found[self.record.outputs[0]])
        return {name: self._altered(name, value) for name, value in found.items()}

    def gradients(self, dout: Array) -> Values:
        found = super().gradients(dout)
        return {name: self._altered(name, value, np.array(dout)) for name, value in found.items()}

    def _altered(self, quantity: str, value: Any, dout: Array | None = None) -> Any:
        if quantity not in self._alterations:
            return value
        seen = Seen(self.record, self._inputs, self._output, quantity, dout)
        return self._alterations[quantity](np.array(value), seen)


def altering(**alterations: Alteration) -> Maker:
    """Alters the quantities named."""
    return altering_each(alterations)


def altering_each(alterations: Mapping[str, Alteration]) -> Maker:
    """The same for quantities whose names are no identifiers, such as ``grads["W1"]``."""
    return planting(lambda right, shared: Altered(right, shared, alterations))
