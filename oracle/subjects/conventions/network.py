"""A network of somebody's file: ``params``, ``loss``, ``predict`` and ``gradient``, as the source material has it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from oracle.catalog.case import Arrays
from oracle.catalog.record import LayerSpec
from oracle.subjects.conventions.calling import NETWORK, Calling
from oracle.subjects.conventions.places import (
    is_named_for,
    is_named_for_gradient,
    last_name,
    places_in,
    plain,
    read,
    replace_everywhere,
    write,
)
from oracle.subjects.conventions.recognition import Attempt, UnknownCallingError, probe, required_arguments
from oracle.subjects.in_process import NetworkInstance
from oracle.subjects.interface import Array, SubjectError

LIST = "list"
#: What gives the gradients.
GRADIENTS = ("gradient", "gradients", "backward", "backprop")
#: What the last layer, the one with the loss, is called.
LAST_LAYERS = ("last_layer", "lastLayer", "loss_layer", "lossLayer", "criterion")


class ForeignNetwork(NetworkInstance):
    """An instance. Parameters are put wherever the very arrays of the network are found: its layers share them."""

    def __init__(self, record: LayerSpec, module: Any, name: str, calling: Calling, given: Mapping[str, Array]) -> None:
        super(NetworkInstance, self).__init__(record)
        self.calling = calling
        self._inputs: tuple[Array, ...] | None = None
        #: Complex parameters, which have been put in the place of the network's own.
        self._replaced: dict[str, Array] = {}
        try:
            self._network = getattr(module, name)(*sizes_handed(record, calling, given))
            self.set_parameters(given)
        except Exception as error:
            raise SubjectError("the constructor", error) from error

    def set_parameters(self, parameters: Mapping[str, Array]) -> None:
        for name, values in parameters.items():
            place, roots = self.calling.parameters[name], {"self": self._network}
            kept = self._replaced.get(name)
            old = read(place, roots) if kept is None else kept
            given = values.reshape(old.shape) if old.size == values.size else values
            if given.dtype.kind != "c" and old.shape == given.shape and old.flags.writeable:
                # Into the very array: whatever shares it sees it, and what the network makes of an assignment does not
                # matter.
                old[...] = given
            else:
                replace_everywhere(self._network, old, given)
                self._replaced[name] = given

    def assign_parameter(self, name: str, values: Array) -> None:
        write(self.calling.parameters[name], {"self": self._network}, values)

    def trace(self, inputs: Mapping[str, Array]) -> Any:
        last = next((getattr(self._network, name) for name in LAST_LAYERS if hasattr(self._network, name)), None)
        if last is None or not hasattr(last, "forward"):
            return None
        self._network.last_layer = last
        return super().trace(inputs)

    def _forward(self, inputs: Mapping[str, Array]) -> dict[str, Any]:
        x, t = self._inputs = tuple(inputs.values())
        results = {"loss": self._network.loss(x, t)}
        if "scores" in self.record.outputs:
            results["scores"] = self._network.predict(x)
        if "accuracy" in self.record.outputs:
            results["accuracy"] = self._network.accuracy(x, t)
        return results

    def _backward(self, dout: Array) -> dict[str, Any]:
        if self._inputs is None:
            raise RuntimeError("gradient needs the inputs of a forward")
        return self._read_gradients(getattr(self._network, self.calling.backward)(*self._inputs))

    def numerical_gradient(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if not hasattr(self._network, "numerical_gradient"):
            return {}
        try:
            returned = self._network.numerical_gradient(*inputs.values())
            return {name: np.array(values) for name, values in self._read_gradients(returned).items()}
        except Exception as error:
            raise SubjectError("numerical_gradient", error) from error

    def _read_gradients(self, returned: Any) -> dict[str, Any]:
        roots = {"self": self._network, "returned": returned}
        gradients = {}
        for name in self.record.parameters:
            found = read(self.calling.gradients[name], roots)
            is_row = len(self.record.axes_of(name)) == 1 and np.ndim(found) == 2 and np.shape(found)[0] == 1
            gradients[self.record.gradient_name(name)] = found.reshape(-1) if is_row else found
        return gradients

    def _parameters(self) -> dict[str, Array]:
        roots = {"self": self._network}
        return {name: read(place, roots) for name, place in self.calling.parameters.items()}


def attempts_at_network(module: Any, name: str, record: LayerSpec, *, is_tried: bool = True) -> list[Attempt]:
    """The one way to make and call it, tried. Raises UnknownCallingError where it cannot be told."""
    given = probe(record)
    cls = getattr(module, name)
    wanted = len(record.parameters) // 2 + 1
    required = required_arguments(cls.__init__)
    if len(required) not in (3, wanted):
        raise UnknownCallingError(
            f"its constructor wants {len(required)} arguments ({', '.join(required)}), and {wanted} sizes are known"
        )
    backward = next((n for n in GRADIENTS if callable(getattr(cls, n, None))), "")
    if not backward or not callable(getattr(cls, "loss", None)):
        raise UnknownCallingError("a network with loss(x, t) and gradient(x, t) is required")
    made_from = ("in", LIST, "out") if any("list" in plain(n) for n in required) else ("in", "hidden", "out")
    calling = Calling(NETWORK, "loss", backward, made_from, ("x", "t"), (), outputs=_outputs(cls, record))
    if not is_tried:
        usual = {name: f"self.params[{name!r}]" for name in record.parameters}
        returned = {name: f"returned[{name!r}]" for name in record.parameters}
        return [Attempt(replace(calling, parameters=usual, gradients=returned), (), None)]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return [_attempt(module, name, record, calling, given)]


def sizes_handed(record: LayerSpec, calling: Calling, parameters: Mapping[str, Array]) -> list[Any]:
    """What the constructor is given: the sizes of input, hidden layers and output, the hidden ones in a list or not."""
    shapes = [parameters[a.name].shape for a in record.of_role("parameter") if len(a.axes) == 2]
    sizes = [shapes[0][0], *(shape[1] for shape in shapes)]
    return [sizes[0], sizes[1:-1], sizes[-1]] if LIST in calling.made_from else sizes


def _outputs(cls: type, record: LayerSpec) -> tuple[str, ...]:
    methods = {"loss": "loss", "scores": "predict", "accuracy": "accuracy"}
    return tuple(output for output in record.outputs if callable(getattr(cls, methods[output], None)))


def _attempt(module: Any, name: str, record: LayerSpec, calling: Calling, given: Arrays) -> Attempt:
    value = None
    fits: list[bool] = []
    try:
        network = getattr(module, name)(*sizes_handed(record, calling, given.parameters))
        held = dict(places_in(network, "self"))
        places = {a.name: _place_of(held, a.name, len(a.axes)) for a in record.of_role("parameter")}
        calling = replace(calling, parameters=places)
        fits.append(True)
        opened = ForeignNetwork(record, module, name, calling, given.parameters)
        value = np.asarray(opened._network.loss(*given.inputs.values()))
        if "scores" in calling.outputs and _gives_probabilities(opened._network, given, record):
            calling = replace(calling, outputs=tuple(o for o in calling.outputs if o != "scores"))
        fits.append(True)
        returned = getattr(opened._network, calling.backward)(*given.inputs.values())
        found = dict(places_in(network, "self") if returned is None else places_in(returned, "returned"))
        of = {a.name: _gradient_of(found, record, a.name, len(a.axes)) for a in record.of_role("parameter")}
        calling = replace(calling, gradients=of)
        fits.append(True)
    except Exception as error:
        if isinstance(error, UnknownCallingError):
            raise
        usual = {name: f"returned[{name!r}]" for name in record.parameters}
        calling = replace(calling, gradients=calling.gradients or usual)
    return Attempt(calling, tuple(fits), value)


def _place_of(held: Mapping[str, Array], name: str, axes: int) -> str:
    number = name.lstrip("Wb")
    for place, kept in held.items():
        last = plain(last_name(place))
        if kept.ndim >= axes and last.endswith(number) and is_named_for(last.removesuffix(number), name[0], axes):
            return place
    raise UnknownCallingError(f"no parameter called {name} was found, such as params[{name!r}]")


def _gradient_of(found: Mapping[str, Array], record: LayerSpec, name: str, axes: int) -> str:
    number, letter = name.lstrip("Wb"), name[0]
    for place in found:
        last = plain(last_name(place))
        rest = last.removesuffix(number)
        if last.endswith(number) and (is_named_for_gradient(rest, letter, axes) or is_named_for(rest, letter, axes)):
            return place
    by_order = list(found)
    position = record.parameters.index(name)
    return by_order[position] if len(by_order) == len(record.parameters) else f"returned[{name!r}]"


def _gives_probabilities(network: Any, given: Arrays, record: LayerSpec) -> bool:
    """Whether predict gives what a softmax gives, rather than the scores: rows that are positive and sum to 1."""
    if record.settings["output"] != "softmax":
        return False
    predicted = np.asarray(network.predict(next(iter(given.inputs.values()))))
    return bool((predicted > 0).all() and np.allclose(predicted.sum(axis=-1), 1))
