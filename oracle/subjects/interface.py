"""The interface of every subject: open, forward, backward, parameters, and the probes.

A reply says what came back *and* what the arguments look like afterwards, because mutation, aliasing, layout
and dtype show only there. Everything in a reply is a snapshot, so the same interface can be served by another
process; what must act on the very arrays that were handed out (``recall``, ``scribble``) is a step of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from oracle.catalog.record import LayerSpec

Array = np.ndarray


@dataclass(frozen=True)
class Reply:
    """What a call gave.

    ``values``: outputs or gradients by quantity. ``arguments``: the arguments, and the parameters, as they
    are after the call. ``aliases``: (result, argument) pairs that share memory. ``warnings``: what NumPy
    warned about. ``token`` names the arrays handed out, for ``recall`` and ``scribble``.
    """

    values: dict[str, Array]
    arguments: dict[str, Array]
    aliases: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    token: int = 0


class SubjectError(Exception):
    """A call into the subject raised. ``original`` is what it raised, ``step`` what was being called.

    ``is_gone``: it did not raise but took its process with it, or too long; no further call will be answered.
    ``is_slow``: every call was answered in time, and all of them together took too long.
    """

    def __init__(self, step: str, original: BaseException) -> None:
        # Of what was raised in another process there is the name only, and the place.
        kind, place = getattr(original, "kind", type(original).__name__), getattr(original, "place", "")
        where = f" ({place})" if place else ""
        super().__init__(f"{step} raised {kind}: {original}{where}")
        self.step = step
        self.original = original
        self.is_gone: bool = getattr(original, "is_gone", False)
        self.is_slow: bool = getattr(original, "is_slow", False)


class ReturnsNoneError(TypeError):
    """A call returned None where an array is required."""


class Handle(Protocol):
    """One instance of a subject. Every method raises SubjectError when the subject itself raises."""

    def forward(self, inputs: Mapping[str, Array]) -> Reply: ...

    def backward(self, dout: Array) -> Reply: ...

    def value(self, inputs: Mapping[str, Array]) -> Array:
        """The first output of forward alone: what numerical differentiation calls thousands of times."""
        ...

    def values(self, inputs: Mapping[str, Array], name: str, points: Sequence[Array]) -> list[Array]:
        """The same at many values of the argument ``name``, an input or a parameter; ``inputs`` are the others."""
        ...

    def step(self, inputs: Mapping[str, Array], dout: Array) -> dict[str, Array]:
        """The gradients of one forward and one backward with nothing observed or copied: what is timed."""
        ...

    def set_parameters(self, parameters: Mapping[str, Array]) -> None: ...

    def recall(self, token: int) -> dict[str, Array]:
        """What the arrays handed out with reply ``token`` contain now."""
        ...

    def scribble(self, token: int) -> None:
        """Overwrite the arrays handed out with reply ``token``, as their owner may."""
        ...


@dataclass(frozen=True)
class LayerTrace:
    """What went through one layer of a network: its input and output forward, dout and dx backward.

    ``gradients`` are those of its parameters, in the order in which its record names them.
    """

    x: Array
    y: Array
    dout: Array
    dx: Array
    gradients: tuple[Array, ...]


class NetworkHandle(Handle, Protocol):
    """A network can be asked for more."""

    def trace(self, inputs: Mapping[str, Array]) -> tuple[LayerTrace, ...] | None:
        """One forward and backward, layer by layer; None where the network does not show its layers."""
        ...

    def numerical_gradient(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The network's own ``numerical_gradient``, by the names of the gradients."""
        ...

    def assign_parameter(self, name: str, values: Array) -> None:
        """``net.params[name] = values``: what a reader of a book does to put weights in."""
        ...


class Subject(Protocol):
    """Whatever is under test, with the record that says what it should be."""

    record: LayerSpec
    label: str

    def open(self, parameters: Mapping[str, Array]) -> Any:
        """A Handle (a NetworkHandle where the record is a network's): a new instance with these parameters.

        They are complex where the complex step needs it.
        """
        ...
