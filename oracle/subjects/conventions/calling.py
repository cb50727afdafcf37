"""How a layer of somebody's file is made and called: plain data, recognised or told, printed for the user to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from oracle.catalog.corners import Corner
from oracle.catalog.record import BATCH, Array, LayerSpec

#: Where a gradient is recovered from the change of the parameter: the layer updates itself inside backward.
UPDATE = "update"
#: What a loss that returns one number for each sample is averaged to, and one for each entry is summed to.
MEAN, SUM = "mean of returned", "sum of returned"
#: How one of the functions is shown that has no backward beside it.
LOSS_AND_GRADIENT = "a function that gives the gradient too"
CLASS, FUNCTIONS, FUNCTION, NETWORK = "class", "functions with a cache", "function", "network"


@dataclass(frozen=True)
class Calling:
    """The answers to the questions that conventions differ in. Names of arguments are those of the record.

    ``forward`` and ``backward`` are names of methods, or of functions where ``kind`` says so; ``backward`` is empty
    where there is none. ``made_from``, ``forward_takes`` and ``backward_takes`` are what is handed in, in order: names
    of arguments, of axes (sizes), ``dout``, ``lr``, ``cache``, ``output``, or settings written out: ``2``. Places are
    as in `oracle.subjects.conventions.places`.
    """

    kind: str = CLASS
    forward: str = "forward"
    backward: str = "backward"
    made_from: tuple[str, ...] = ()
    forward_takes: tuple[str, ...] = ()
    backward_takes: tuple[str, ...] = ("dout",)
    output: str = "returned"
    cache: str = ""
    input_gradients: tuple[str, ...] = ("returned",)
    parameters: Mapping[str, str] = field(default_factory=dict)
    gradients: Mapping[str, str] = field(default_factory=dict)
    #: A batch lies in columns: x is (D, N). A weight is stored (out, in). A bias is (1, M) or (M, 1).
    in_columns: bool = False
    out_first: bool = False
    bias_shape: str = "(M,)"
    #: A method that sets accumulated gradients to zero, and whether gradients are written into the same arrays.
    zero_grad: str = ""
    writes_in_place: bool = False
    #: Where a learning rate lies that backward uses to update; and whether dW and db are divided by N on purpose.
    learning_rate: str = ""
    averages_gradients: bool = False
    #: A batch of several samples is refused; backward gives the derivative, still to be multiplied by dout.
    one_at_a_time: bool = False
    times_dout: bool = False
    #: Forms of targets that a loss raises for.
    refused_targets: tuple[str, ...] = ()
    #: For a network: which of the outputs of the record it gives.
    outputs: tuple[str, ...] = ()
    #: Of a layer that nobody knows: gradients that backward gives and that cannot be asked for.
    unasked: tuple[str, ...] = ()

    @property
    def takes_dout(self) -> bool:
        return "dout" in self.backward_takes or self.times_dout

    def turned_outward(self, record: LayerSpec, name: str, values: Array) -> Array:
        """An array of the record's, ``dout`` included, as the layer wants it: a view."""
        if self._is_turned(record, name, values):
            return values.T
        if self._is_bias(record, name) and np.ndim(values) == 1:
            return values.reshape((1, -1) if self.bias_shape == "(1, M)" else (-1, 1))
        return values

    def turned_inward(self, record: LayerSpec, name: str, values: Any) -> Any:
        """The way back; what has another shape than it should have stays as it is, to be seen."""
        if self._is_turned(record, name, values):
            return values.T
        if self._is_bias(record, name) and np.ndim(values) == 2:
            along = 0 if self.bias_shape == "(1, M)" else 1
            return values.reshape(-1) if values.shape[along] == 1 else values
        return values

    def _is_bias(self, record: LayerSpec, name: str) -> bool:
        return self.bias_shape != "(M,)" and name in record.parameters and len(record.axes_of(name)) == 1

    def _is_turned(self, record: LayerSpec, name: str, values: Any) -> bool:
        axes = record.axes_of(name)
        turned = self.in_columns if BATCH in axes else self.out_first
        return turned and len(axes) == 2 and isinstance(values, np.ndarray) and values.ndim == 2

    def has_corner(self, corner: Corner) -> bool:
        """Whether a corner makes sense: in columns a batch has two axes, always; no rows have no average."""
        if self.one_at_a_time and (corner.sizes.get(BATCH) == 0 or BATCH in corner.sizes.values()):
            return False
        has_average = not (self.averages_gradients and corner.sizes.get(BATCH) == 0)
        return has_average and not (self.in_columns and (corner.drops_batch_axis or corner.unfolds))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calling:
        given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**given)

    def applied_to(self, record: LayerSpec) -> LayerSpec:
        """The record, less what this way of calling does not offer: a backward, its dout, some outputs of a network."""
        if self.kind == NETWORK:
            return replace(record, outputs=self.outputs)
        if self.kind == FUNCTION:
            return replace(record, has_backward=False)
        return replace(record, takes_dout=record.takes_dout and (self.takes_dout or not record.is_loss))

    def __str__(self) -> str:
        sizes = {"D": "in", "M": "out", "H1": "hidden", "C": "out"}
        made = f"({', '.join(sizes.get(name, name) for name in self.made_from)})"
        kind = LOSS_AND_GRADIENT if self.kind == FUNCTIONS and not self.backward else self.kind
        parts = [made if self.kind in (CLASS, NETWORK) else kind]
        settings = [name for name in self.forward_takes if not name.isidentifier()]
        if settings:
            parts.append(f"with {', '.join(settings)}")
        if self.forward_takes[:1] == ("t",):
            parts.append("targets first")
        parts += [f"no {form}" for form in self.refused_targets]
        if self.in_columns:
            parts.append("batch in columns")
        if self.one_at_a_time:
            parts.append("one sample at a time")
        if self.times_dout:
            parts.append(f"dx is dout · {self.backward}({'x' if self.backward_takes == ('x',) else 'y'})")
        if self.out_first:
            parts.append("W is (out, in)")
        if self.bias_shape != "(M,)":
            parts.append(f"b is {self.bias_shape}")
        if self.output.startswith("self."):
            parts.append(f"output in {self.output}")
        parts += [f"dx in {place}" for place in self.input_gradients if place.startswith("self.")]
        if UPDATE in self.gradients.values():
            parts.append("gradients from the update inside backward")
        elif self.kind == CLASS:
            unusual = [f"d{n} in {p}" for n, p in self.gradients.items() if p != f"self.d{n}"]
            parts.append(", ".join(unusual))
        if self.zero_grad:
            parts.append(f"{self.zero_grad}() before backward")
        if self.backward and self.kind != NETWORK and not self.takes_dout:
            parts.append("backward without dout")
        if self.averages_gradients and self.gradients:
            parts.append("dW and db are averages")
        if self.unasked:
            parts.append(f"{', '.join(self.unasked)} not asked")
        return "; ".join(part for part in parts if part)
