"""A layer or a loss of somebody's file, called the way that its `Calling` says."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from oracle.catalog.record import LayerSpec
from oracle.subjects.conventions.calling import CLASS, MEAN, SUM, UPDATE, Calling
from oracle.subjects.conventions.places import read, replace_everywhere, write
from oracle.subjects.in_process import Instance
from oracle.subjects.interface import Array, ReturnsNoneError, SubjectError

#: The learning rate given to a layer that updates itself: W − 2⁴⁰ dW holds dW to the last digit, and little else.
LEARNING_RATE = 2.0**40


#: NumPy's global generator is set to this before a layer that nobody knows is made, and before each of its forwards, so
#: that a mask that it draws there is always the same one.
SEED = 20


class MissingGradientError(Exception):
    """Backward has not left a gradient where it was looked for."""


def handed_in(name: str, known: Mapping[str, Any]) -> Any:
    """What goes by a name in a `Calling`, or the setting that is written out there, new for every call."""
    return known[name] if name in known else ast.literal_eval(name)


class ForeignLayer(Instance):
    """An instance. The arrays that it is handed are views of the caller's, so that what it writes is seen there."""

    def __init__(self, record: LayerSpec, module: Any, name: str, calling: Calling, given: Mapping[str, Array]) -> None:
        super().__init__(record)
        self._module, self._name, self.calling = module, name, calling
        self._axes = {a.name: a.axes for a in record.arguments}
        self._given = dict(given)
        self._known: dict[str, Any] = {}
        self._rows = 1
        self._is_asked_again = False
        self._make()

    def set_parameters(self, parameters: Mapping[str, Array]) -> None:
        self._given.update(parameters)
        self._make()

    # ------------------------------------------------------------------------- made

    def _make(self) -> None:
        try:
            self._seed(SEED)
            self._object = self._made()
        except Exception as error:
            raise SubjectError("the constructor", error) from error

    def _made(self) -> Any:
        calling, updates = self.calling, UPDATE in self.calling.gradients.values()
        # What a layer does to parameters that it updates itself is its business: it gets copies.
        own = {n: np.array(v) if updates else v for n, v in self._given.items()}
        self._known = {name: self.outward(name, values) for name, values in own.items()}
        if calling.kind != CLASS:
            functions = {n: getattr(self._module, n) for n in (calling.forward, calling.backward) if n}
            return SimpleNamespace(**functions)
        sizes = {
            axis: side
            for name, values in own.items()
            for axis, side in zip(self._axes[name], values.shape, strict=True)
        }
        handed = {**self._known, **sizes, "lr": LEARNING_RATE}
        made = getattr(self._module, self._name)(*(handed_in(name, handed) for name in calling.made_from))
        if not set(calling.made_from) & set(own):
            for name, place in calling.parameters.items():
                old = read(place, {"self": made})
                replace_everywhere(made, old, self._known[name])
                write(place, {"self": made}, self._known[name])
        if calling.learning_rate:
            write(calling.learning_rate, {"self": made, "module": self._module}, LEARNING_RATE)
        return made

    # ------------------------------------------------------------------------- called

    def call_forward(self, inputs: Mapping[str, Array]) -> Any:
        """Forward alone: what it returned."""
        self._known.update({name: self.outward(name, values) for name, values in inputs.items()})
        first = np.asarray(next(iter(inputs.values())))
        self._rows = len(first) if first.ndim > 1 else 1
        self._is_asked_again = False
        return self._called_with_what_is_known()

    def _called_with_what_is_known(self) -> Any:
        forward = getattr(self._object, self.calling.forward)
        self._seed(SEED)
        self._known["forward"] = forward(*(handed_in(name, self._known) for name in self.calling.forward_takes))
        return self._known["forward"]

    def _seed(self, seed: int) -> None:
        """NumPy's global generator at the same place every time, where it is not known what is random."""
        if not self.record.has_twin:
            # The generator that people's own layers draw from: there is no other way to it.
            np.random.seed(seed)  # noqa: NPY002

    def _first_output(self, inputs: Mapping[str, Array]) -> Any:
        returned = self.call_forward(inputs)
        roots = {"self": self._object, "returned": returned}
        if self.calling.cache:
            self._known["cache"] = read(self.calling.cache, roots)
        if self.calling.output in (MEAN, SUM):
            value = np.mean(returned) if self.calling.output == MEAN else np.sum(returned)
        else:
            value = read(self.calling.output, roots)
        if value is None:
            raise ReturnsNoneError(f"{self.calling.forward} returned None; an array is required")
        self._known["output"] = value
        return self.inward("dout", value)

    def call_backward(self, dout: Array) -> Any:
        """Backward alone: what it returned."""
        calling = self.calling
        handed = {**self._known, "dout": self.outward("dout", dout), "lr": LEARNING_RATE}
        if "output" in calling.backward_takes and self.record.is_loss:
            handed["output"] = read("self.output", {"self": self._object})
        if calling.zero_grad:
            getattr(self._object, calling.zero_grad)()
        if not calling.backward:
            # The gradient came with the value: to ask for it again is to call the function again.
            returned = self._called_with_what_is_known() if self._is_asked_again else handed["forward"]
            self._is_asked_again = True
            return returned
        # Another place than in forward: a mask that is drawn anew in backward is another one.
        self._seed(SEED + 1)
        returned = getattr(self._object, calling.backward)(*(handed[name] for name in calling.backward_takes))
        return handed["dout"] * returned if calling.times_dout else returned

    def _backward(self, dout: Array) -> dict[str, Any]:
        calling = self.calling
        before = self._before_update()
        returned = self.call_backward(dout)
        roots = {"self": self._object, "returned": returned}
        gradients: dict[str, Any] = {}
        for name, place in zip(self.record.differentiable_inputs, calling.input_gradients, strict=True):
            gradients[self.record.gradient_name(name)] = self.inward(name, self._read(place, roots, name))
        for name in self.record.parameters:
            place = calling.gradients[name]
            found = self._updated(name, before) if place == UPDATE else self._read(place, roots, name)
            gradients[self.record.gradient_name(name)] = self._gradient(name, found)
        if before:
            self._put_back(before)
        return gradients

    def _read(self, place: str, roots: Mapping[str, Any], name: str) -> Any:
        try:
            found = read(place, roots)
        except (AttributeError, KeyError, IndexError, TypeError) as error:
            what = f"d{name} was looked for in {place} after {self.calling.backward}, and is not there"
            raise MissingGradientError(what) from error
        if found is None:
            raise ReturnsNoneError(f"d{name} is None ({place} after {self.calling.backward}); an array is required")
        return found

    def _gradient(self, name: str, found: Any) -> Any:
        found = self.inward(name, found)
        if self.calling.averages_gradients:
            return np.asarray(found) * self._rows
        return np.array(found) if self.calling.writes_in_place else found

    # ------------------------------------------------------------------------- updates inside backward

    def _before_update(self) -> dict[str, Array]:
        if UPDATE not in self.calling.gradients.values():
            return {}
        return {name: np.array(read(place, {"self": self._object})) for name, place in self.calling.parameters.items()}

    def _updated(self, name: str, before: Mapping[str, Array]) -> Array:
        after = np.asarray(read(self.calling.parameters[name], {"self": self._object}))
        return np.asarray((before[name] - after) / LEARNING_RATE)

    def _put_back(self, before: Mapping[str, Array]) -> None:
        for name, values in before.items():
            place = self.calling.parameters[name]
            replace_everywhere(self._object, read(place, {"self": self._object}), values)
            write(place, {"self": self._object}, values)

    def _parameters(self) -> dict[str, Array]:
        if UPDATE in self.calling.gradients.values() or self.calling.kind != CLASS:
            return dict(self._given)
        roots = {"self": self._object}
        kept = {name: self.inward(name, read(place, roots)) for name, place in self.calling.parameters.items()}
        return {**self._given, **kept}

    # ------------------------------------------------------------------------- which way arrays lie

    def outward(self, name: str, values: Array) -> Array:
        """An array of the record's as the layer wants it: a view."""
        return self.calling.turned_outward(self.record, name, values)

    def inward(self, name: str, values: Any) -> Any:
        """The way back; what has another shape than it should have stays as it is, to be seen."""
        return self.calling.turned_inward(self.record, name, values)
