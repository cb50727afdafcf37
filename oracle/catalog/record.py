"""The record of one kind of layer: everything known about it, as data.

A record is the single source of truth. The class that implements the layer, its PyTorch twin, the shapes of
its arguments, the corners it must survive and what is known about its rounding all stand here; strategies,
checks, reports and tests are generic and read them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from oracle.catalog.directional import TangentLayer
from oracle.catalog.rounding import Rounding

Array = np.ndarray
ByName = Mapping[str, Array]

#: An argument's shape: named axes such as ``("N", "D")``; ``ANY`` is any shape at all, and arguments that
#: are ``BROADCAST`` have shapes that broadcast against each other.
Template = tuple[str, ...] | Literal["any", "broadcast", "as forward gives"]
ANY: Literal["any"] = "any"
BROADCAST: Literal["broadcast"] = "broadcast"
#: Of an output: nobody knows its shape before forward has been called.
AS_FORWARD_GIVES: Literal["as forward gives"] = "as forward gives"

#: The axis along which a batch is stacked.
BATCH = "N"
#: The axis of the classes (or outputs) that a loss sums over.
CLASSES = "C"


def resolve(reference: str) -> Any:
    """The object that ``"module:attribute"`` names; its module is imported now."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


Role = Literal["input", "parameter", "target"]
TargetForm = Literal["one-hot", "labels", "soft", "unnormalised", "binary", "values"]


@dataclass(frozen=True)
class Argument:
    """One argument of a layer.

    ``values`` names how its entries are drawn: ``normal`` (times the scale of the case), ``weights`` (normal,
    divided by the square root of the fan-in) or ``probabilities`` (positive rows that sum to 1).
    """

    name: str
    shape: Template
    role: Role = "input"
    values: Literal["normal", "weights", "probabilities"] = "normal"

    @property
    def axes(self) -> tuple[str, ...]:
        """Its named axes; none where it may have any shape."""
        return () if isinstance(self.shape, str) else self.shape

    @property
    def differentiable(self) -> bool:
        return self.role != "target"


@dataclass(frozen=True)
class LayerSpec:
    """Everything known about one kind of layer. See the fields' comments.

    References such as ``"scratch:Relu"`` are ``module:attribute`` and are imported only when used, so that a
    record can be read where PyTorch is not installed.
    """

    name: str
    #: The section of the report: graph nodes, layers, losses, functions or networks.
    section: str
    #: The class or function of ours that implements it, and its independent twin: an operation of PyTorch, or a
    #: few lines of ``oracle.twins`` around one.
    implementation: str
    #: No twin where nobody knows which function it is: then there is no definition either.
    twin: str
    #: Its mathematical definition: takes the arguments in order, arrays of any kind of numbers, and the settings.
    definition: Callable[..., Any]
    arguments: tuple[Argument, ...]
    #: What people call it: names in lower case, without underscores.
    known_as: tuple[str, ...] = ()
    #: How it is called; a key of ``oracle.subjects.in_process.CONVENTIONS``.
    convention: Literal["layer", "function", "network"] = "layer"
    #: The outputs, the differentiated one first, and the shape of that one.
    outputs: tuple[str, ...] = ("y",)
    output_shape: Template | tuple[()] = ANY
    #: Where the inputs of a case come from besides the ordinary draw (``oracle.catalog.corners``).
    corners: tuple[str, ...] = ()
    #: Standard deviations of the inputs.
    scales: tuple[float, ...] = (1.0,)
    #: What each named axis may have, where that is not left to the strategies.
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    target_forms: tuple[TargetForm, ...] = ()
    #: What else holds for it; the checks that it is subject to follow from these.
    rows_are_independent: bool = False
    averages_over_batch: bool = False
    shift_invariant: bool = False
    takes_dout: bool = True
    differentiates_inputs: bool = True
    has_backward: bool = True
    #: How far each entry of an input is from where the derivative does not exist, by the input's name.
    kink_distance: Callable[[ByName], dict[str, Array]] | None = None
    #: The length of sums that the definition holds inside, beyond those that the Jacobian shows.
    inner_sum: Callable[[ByName], int] | None = None
    #: (arguments, dout) -> scale of the rounding in ``d<input>`` where the derivative is itself a difference
    #: of terms that cannot be had more exactly.
    gradient_scale: Callable[[ByName, Array], dict[str, Array]] | None = None
    #: The same for a textbook formula, PyTorch's included: (sup |J|)ᵀ|dout| for gradients, and the largest
    #: intermediate value for outputs.
    textbook_scale: Callable[[ByName, Array], dict[str, Array]] | None = None
    #: Where the usual formula overflows or takes log(0): lines of NumPy that do not.
    stable_form: str = ""
    #: How rounding travels through it when it is one of a stack.
    rounding: Rounding | None = None
    #: The same for a directional derivative of the stack: makes a layer with tangents from its parameters.
    tangent: Callable[..., TangentLayer] | None = None
    #: For a network: the records of the layers it is made of, in order, with their parameters' names.
    stack: tuple[tuple[str, tuple[str, ...]], ...] = ()
    #: How the gradient of an argument is called as a quantity.
    gradient_pattern: str = "d{}"
    #: (class, sizes, dtype) -> an instance of it, for a network: sizes are input, hidden…, output.
    construct: Callable[..., Any] | None = None
    #: For a network: the real data sets that it is examined on as well.
    real_data: tuple[str, ...] = ()
    #: Keyword arguments of the twin.
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def of_role(self, role: Role) -> tuple[Argument, ...]:
        return tuple(a for a in self.arguments if a.role == role)

    def axes_of(self, name: str) -> tuple[str, ...]:
        """The named axes of an argument, or of ``dout``; none where it may have any shape."""
        if name == "dout":
            return () if isinstance(self.output_shape, str) else self.output_shape
        return next(a.axes for a in self.arguments if a.name == name)

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.of_role("parameter"))

    @property
    def differentiable_inputs(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.of_role("input"))

    @property
    def differentiated(self) -> tuple[str, ...]:
        """The arguments whose gradients the layer gives: its inputs, then its parameters."""
        return (*(self.differentiable_inputs if self.differentiates_inputs else ()), *self.parameters)

    @property
    def has_twin(self) -> bool:
        """Whether it is known which function it is; otherwise it is checked against its own forward."""
        return bool(self.twin)

    @property
    def class_name(self) -> str:
        return self.implementation.partition(":")[2]

    @property
    def is_loss(self) -> bool:
        return bool(self.target_forms) and self.convention == "layer"

    @property
    def has_class_targets(self) -> bool:
        """Whether targets may be given either way, as labels and as one-hot rows."""
        return "labels" in self.target_forms and "one-hot" in self.target_forms

    def gradient_name(self, argument: str) -> str:
        """The name of the gradient of ``argument`` as a quantity: ``dx``, ``dW``, or ``grads["W1"]``."""
        return self.gradient_pattern.format(argument)
