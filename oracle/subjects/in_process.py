"""Subjects that live in this process: our own layers, and anything given as a Python object.

Three conventions map onto the one interface: a class with ``forward`` and ``backward``, a plain function, and
a network with ``loss``, ``predict``, ``accuracy`` and ``gradient``.
"""

from __future__ import annotations

import itertools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from oracle.catalog.record import LayerSpec, resolve
from oracle.subjects.interface import Array, LayerTrace, Reply, ReturnsNoneError, SubjectError


class InProcessSubject:
    """A subject made by ``factory``: a class, a function, or whatever makes an instance of a network.

    A layer's factory is called with its parameters in the order of the record; a network's with keyword
    arguments ``sizes`` (input, hidden…, output) and ``dtype``.
    """

    def __init__(self, record: LayerSpec, factory: Callable[..., Any], label: str | None = None) -> None:
        self.record = record
        self.factory = factory
        self.label = label or record.name

    def open(self, parameters: Mapping[str, Array]) -> Any:
        return CONVENTIONS[self.record.convention](self.record, self.factory, parameters)


def implementation_of(record: LayerSpec) -> InProcessSubject:
    """The implementation in ``scratch`` that the record names, as a subject."""
    factory = resolve(record.implementation)
    return InProcessSubject(record, partial(record.construct, factory) if record.construct else factory)


class Instance(ABC):
    """What the conventions share: snapshots, aliasing, warnings, errors, and arrays handed out."""

    def __init__(self, record: LayerSpec) -> None:
        self.record = record
        self._tokens = itertools.count(1)
        self._handed_out: dict[int, dict[str, Any]] = {}

    def forward(self, inputs: Mapping[str, Array]) -> Reply:
        return self._observed("forward", lambda: self._forward(inputs), inputs)

    def backward(self, dout: Array) -> Reply:
        return self._observed("backward", lambda: self._backward(dout), {"dout": dout})

    def value(self, inputs: Mapping[str, Array]) -> Array:
        try:
            # A copy: a subject may give out one buffer again and again.
            value = np.array(self._first_output(inputs))
            return value.astype(np.float64) if value.dtype.kind in "biu" else value
        except Exception as error:
            raise SubjectError("forward", error) from error

    def values(self, inputs: Mapping[str, Array], name: str, points: Sequence[Array]) -> list[Array]:
        found = []
        for point in points:
            # Copies: a subject may write into what it is given, and must not move the next point.
            given = {key: values.copy() for key, values in inputs.items()}
            if name in self.record.parameters:
                self.set_parameters({name: point.copy()})
            else:
                given[name] = point.copy()
            found.append(self.value(given))
        return found

    @abstractmethod
    def set_parameters(self, parameters: Mapping[str, Array]) -> None:
        """Other values for some parameters."""

    def step(self, inputs: Mapping[str, Array], dout: Array) -> dict[str, Array]:
        try:
            return self._step(inputs, dout)
        except Exception as error:
            raise SubjectError("forward and backward", error) from error

    def recall(self, token: int) -> dict[str, Array]:
        return _snapshot(self._handed_out[token])

    def scribble(self, token: int) -> None:
        for values in self._handed_out[token].values():
            if isinstance(values, np.ndarray) and values.flags.writeable:
                values[...] = -77  # nothing drawn has this value

    def _observed(self, step: str, call: Callable[[], dict[str, Any]], arguments: Mapping[str, Array]) -> Reply:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                results = call()
                for name, values in results.items():
                    if values is None:
                        raise ReturnsNoneError(f"{name} is None; an array is required")
                    if np.asarray(values).dtype.kind not in "biufc":
                        raise TypeError(f"{name} is {values!r}, which is not a number or an array of numbers")
            except Exception as error:
                raise SubjectError(step, error) from error
        seen: dict[str, Any] = {**arguments, **self._parameters()}
        token = next(self._tokens)
        self._handed_out[token] = results
        return Reply(
            values=_snapshot(results),
            arguments=_snapshot(seen),
            aliases=tuple(
                (result, argument)
                for result, values in results.items()
                for argument, given in seen.items()
                if isinstance(values, np.ndarray) and isinstance(given, np.ndarray) and np.shares_memory(values, given)
            ),
            warnings=tuple(f"{w.category.__name__}: {w.message}" for w in caught),
            token=token,
        )

    def _step(self, inputs: Mapping[str, Array], dout: Array) -> dict[str, Any]:
        self._first_output(inputs)
        return self._backward(dout)

    def _forward(self, inputs: Mapping[str, Array]) -> dict[str, Any]:
        return {self.record.outputs[0]: self._first_output(inputs)}

    @abstractmethod
    def _first_output(self, inputs: Mapping[str, Array]) -> Any:
        """The output or the loss."""

    def _backward(self, dout: Array) -> dict[str, Any]:
        raise NotImplementedError(f"{self.record.name} has no backward")

    def _parameters(self) -> dict[str, Array]:
        return {}


def _snapshot(values: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.array(value) for name, value in values.items()}


class LayerInstance(Instance):
    """A class with (W, b), ``forward``, ``backward``, and gradients of its parameters in ``dW`` and ``db``."""

    def __init__(self, record: LayerSpec, factory: Callable[..., Any], parameters: Mapping[str, Array]) -> None:
        super().__init__(record)
        try:
            self._layer = factory(*(parameters[name] for name in record.parameters))
        except Exception as error:
            raise SubjectError("the constructor", error) from error

    def _first_output(self, inputs: Mapping[str, Array]) -> Any:
        return self._layer.forward(*inputs.values())

    def _backward(self, dout: Array) -> dict[str, Any]:
        returned = self._layer.backward(dout)
        names = [self.record.gradient_name(name) for name in self.record.differentiable_inputs]
        parts = returned if isinstance(returned, tuple) else (returned,)
        if len(parts) != len(names):
            raise TypeError(f"backward returned {len(parts)} values, but {', '.join(names)} are required")
        gradients = dict(zip(names, parts, strict=True))
        for name in self.record.parameters:
            gradient = self.record.gradient_name(name)
            gradients[gradient] = getattr(self._layer, gradient)
        return gradients

    def set_parameters(self, parameters: Mapping[str, Array]) -> None:
        for name, values in parameters.items():
            setattr(self._layer, name, values)

    def _parameters(self) -> dict[str, Array]:
        return {name: getattr(self._layer, name) for name in self.record.parameters if hasattr(self._layer, name)}


class FunctionInstance(Instance):
    """A plain function: it has no backward, and its derivative is known to the other sources only."""

    def __init__(self, record: LayerSpec, factory: Callable[..., Any], parameters: Mapping[str, Array]) -> None:
        super().__init__(record)
        self._function = factory

    def _first_output(self, inputs: Mapping[str, Array]) -> Any:
        return self._function(*inputs.values())

    def set_parameters(self, parameters: Mapping[str, Array]) -> None:
        """A function has none."""


class NetworkInstance(Instance):
    """A network with ``params``, ``loss``, ``predict``, ``accuracy`` and ``gradient``.

    Its upstream gradient is 1: ``gradient(x, t)`` is that of the loss, at the inputs of the latest forward.
    """

    def __init__(self, record: LayerSpec, factory: Callable[..., Any], parameters: Mapping[str, Array]) -> None:
        super().__init__(record)
        weights = [values for values in parameters.values() if values.ndim == 2]
        sizes = (weights[0].shape[0], *(w.shape[1] for w in weights))
        dtype = np.result_type(*parameters.values())
        self._complex = dtype.kind == "c"
        self._inputs: tuple[Array, ...] | None = None
        try:
            self._network = factory(sizes=sizes, dtype=dtype)
        except Exception as error:
            raise SubjectError("the constructor", error) from error
        self.set_parameters(parameters)

    def _forward(self, inputs: Mapping[str, Array]) -> dict[str, Any]:
        x, t = self._inputs = tuple(inputs.values())
        return {
            "loss": self._network.loss(x, t),
            "scores": self._network.predict(x),
            "accuracy": self._network.accuracy(x, t),
        }

    def _first_output(self, inputs: Mapping[str, Array]) -> Any:
        return self._network.loss(*inputs.values())

    def _backward(self, dout: Array) -> dict[str, Any]:
        if self._inputs is None:
            raise RuntimeError("gradient needs the inputs of a forward")
        gradients = self._network.gradient(*self._inputs)
        return {self.record.gradient_name(name): gradients[name] for name in self.record.parameters}

    def _step(self, inputs: Mapping[str, Array], dout: Array) -> dict[str, Any]:
        # ``gradient`` runs forward itself.
        self._inputs = tuple(inputs.values())
        return self._backward(dout)

    def numerical_gradient(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            gradients = self._network.numerical_gradient(*inputs.values())
        except Exception as error:
            raise SubjectError("numerical_gradient", error) from error
        return {self.record.gradient_name(name): np.array(gradients[name]) for name in self.record.parameters}

    def trace(self, inputs: Mapping[str, Array]) -> tuple[LayerTrace, ...] | None:
        layers, last = getattr(self._network, "layers", None), getattr(self._network, "last_layer", None)
        if not isinstance(layers, Mapping) or last is None or len(layers) != len(self.record.stack):
            return None
        x, t = inputs.values()
        forward, backward = [], []
        try:
            for layer in layers.values():
                y = layer.forward(x)
                forward.append((np.array(x), np.array(y)))
                x = y
            last.forward(x, t)
            dout = last.backward()
            for layer, (_, names) in zip(reversed(list(layers.values())), reversed(self.record.stack), strict=True):
                dx = layer.backward(np.array(dout))
                # A layer calls its own parameters W and b, whatever the network calls them.
                gradients = tuple(np.array(getattr(layer, f"d{name.rstrip('0123456789')}")) for name in names)
                backward.append((np.array(dout), np.array(dx), gradients))
                dout = dx
        except Exception as error:
            raise SubjectError("a layer of the network", error) from error
        return tuple(
            LayerTrace(x, y, dout, dx, gradients)
            for (x, y), (dout, dx, gradients) in zip(forward, reversed(backward), strict=True)
        )

    def assign_parameter(self, name: str, values: Array) -> None:
        self._network.params[name] = values

    def set_parameters(self, parameters: Mapping[str, Array]) -> None:
        # In place: the layers of a network hold the very arrays of ``params``.
        for name, values in parameters.items():
            self._network.params[name][...] = values

    def _parameters(self) -> dict[str, Array]:
        return {name: self._network.params[name] for name in self.record.parameters}


CONVENTIONS: dict[str, Callable[[LayerSpec, Callable[..., Any], Mapping[str, Array]], Any]] = {
    "layer": LayerInstance,
    "function": FunctionInstance,
    "network": NetworkInstance,
}
