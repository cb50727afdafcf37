"""A few lines of NumPy that show a fault without this tool: to be pasted beside the file that has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oracle.catalog.case import Arrays
from oracle.catalog.record import Array, LayerSpec
from oracle.judge.trial import Finding
from oracle.subjects.conventions.calling import CLASS, MEAN, NETWORK, SUM, UPDATE, Calling
from oracle.subjects.conventions.network import sizes_handed
from oracle.subjects.conventions.subject import Found

#: Arrays with more entries are not written out.
LARGEST = 40
STEP = 1e-6


def snippet(file: Path, found: Found, record: LayerSpec, given: Arrays, finding: Finding) -> str:
    """The lines, or nothing where a few lines do not show it; ``given`` are the arrays of the finding's case."""
    arrays = given.everything()
    if any(values.size > LARGEST for values in arrays.values()) or finding.case.layout != "contiguous":
        return ""
    script = _Script(file, found, record, given)
    if finding.cause_id == "dout_overwritten":
        return script.overwritten("dout")
    if finding.comparison is None or not _is_an_entry(finding, record, arrays):
        return ""
    if finding.quantity in record.outputs:
        return script.forward_is(finding)
    name = next((n for n in record.differentiated if record.gradient_name(n) == finding.quantity), None)
    return script.gradient_of(name, finding) if name is not None else ""


def _is_an_entry(finding: Finding, record: LayerSpec, arrays: dict[str, Array]) -> bool:
    """Whether what was compared is an entry of the quantity, and not a sum over a row of it."""
    assert finding.comparison is not None
    names = {record.gradient_name(name): name for name in record.differentiated} | {record.outputs[0]: "dout"}
    wanted = arrays.get(names.get(finding.quantity, ""))
    return bool(finding.comparison.mismatch) or (wanted is not None and len(finding.comparison.index) == wanted.ndim)


class _Script:
    def __init__(self, file: Path, found: Found, record: LayerSpec, given: Arrays) -> None:
        self._calling: Calling = found.calling
        self._found = found
        self._record = record
        self._arrays = given.everything()
        self._outward = {n: found.calling.turned_outward(record, n, v) for n, v in self._arrays.items()}
        self._names = [n for n in self._arrays if n != "dout"]
        # What the lines call their own, where an argument has that name already.
        self._own = {n: f"its_{n}" if n in self._names else n for n in ("y", "h", "step", "up", "down", "gradient")}
        self._is_importable = file.suffix == ".py" and file.stem.isidentifier()
        self._module = file.stem

    # ------------------------------------------------------------------------- what is shown

    def overwritten(self, name: str) -> str:
        return "\n".join(
            [
                *self._beginning(),
                *self._called(),
                f"before = {name}.copy()",
                self._backward(),
                f'print("{name} before:", before)',
                f'print("{name} after: ", {name})',
            ]
        )

    def forward_is(self, finding: Finding) -> str:
        entry = finding.comparison
        assert entry is not None
        at = self._at("dout", entry.index)
        return "\n".join(
            [
                *self._beginning(),
                *self._called(),
                f'print("forward:  ", {self._own["y"]}{at})',
                f'print("should be:", {entry.expected!r})',
            ]
        )

    def gradient_of(self, name: str, finding: Finding) -> str:
        entry = finding.comparison
        assert entry is not None
        own = self._own
        gradient, h, step, up, down = (own[n] for n in ("gradient", "h", "step", "up", "down"))
        lines = [*self._beginning(), *self._called(), self._backward(), f"{gradient} = {self._gradient(name)}"]
        wanted = self._outward[name]
        if entry.mismatch:
            return "\n".join([*lines, f'print("shape:", np.shape({gradient}), "but it should be", {wanted.shape})'])
        at = self._at(name, entry.index)
        moved = ", ".join(f"{n} + {step}" if n == name else n for n in self._names)
        upstream = "dout * " if self._takes_dout() else ""
        return "\n".join(
            [
                *lines,
                f'print("backward: ", {gradient}{at})',
                f"{h} = np.zeros({wanted.shape})",
                f"{h}{at or '[()]'} = {STEP}",
                f"{up}, {down} = (np.sum({upstream}forward({moved})[1]) for {step} in ({h}, -{h}))",
                f'print("numerical:", ({up} - {down}) / {2 * STEP})',
            ]
        )

    # ------------------------------------------------------------------------- its lines

    def _beginning(self) -> list[str]:
        calling = self._calling
        names = [self._found.name] if calling.kind in (CLASS, NETWORK) else [calling.forward, calling.backward]
        found = [f"from {self._module} import {', '.join(filter(None, names))}"] if self._is_importable else []
        shown = [n for n in self._arrays if n != "dout" or self._takes_dout()]
        arrays = [f"{name} = {_written(self._outward[name])}" for name in shown]
        return ["import numpy as np", *found, "", *arrays, "", *self._forward(), ""]

    def _forward(self) -> list[str]:
        calling = self._calling
        lines = [f"def forward({', '.join(self._names)}):"]
        if calling.kind == CLASS:
            lines.append(f"    layer = {self._found.name}({', '.join(map(self._handed, calling.made_from))})")
        elif calling.kind == NETWORK:
            sizes = sizes_handed(self._record, calling, self._arrays)
            lines.append(f"    layer = {self._found.name}({', '.join(map(str, sizes))})")
        if calling.kind == NETWORK or (calling.kind == CLASS and not set(calling.made_from) & set(self._names)):
            lines += [f"    {_of_layer(place)}[...] = {name}" for name, place in calling.parameters.items()]
        call = f"{self._function(calling.forward)}({', '.join(calling.forward_takes)})"
        if calling.cache:
            return [*lines, f"    y, cache = {call}", f"    return {self._object('cache')}, y"]
        if calling.output.startswith("self."):
            return [*lines, f"    {call}", f"    return layer, {_of_layer(calling.output)}"]
        value = {MEAN: f"np.mean({call})", SUM: f"np.sum({call})"}.get(calling.output, call)
        if calling.output == "returned[0]":
            return [*lines, f"    returned = {call}", "    return returned, returned[0]"]
        return [*lines, f"    y = {value}", f"    return {self._object('None')}, y"]

    def _called(self) -> list[str]:
        name = "layer" if self._calling.kind in (CLASS, NETWORK) else "cache" if self._calling.cache else "returned"
        name = "(layer, cache)" if self._calling.kind == CLASS and self._calling.cache else name
        lines = [f"{name}, {self._own['y']} = forward({', '.join(self._names)})"]
        if UPDATE in self._calling.gradients.values():
            lines += [f"before_{n} = {_of_layer(p)}.copy()" for n, p in self._calling.parameters.items()]
        return lines

    def _backward(self) -> str:
        calling = self._calling
        if not calling.backward:
            return "# the gradient came with the value"
        taken = ("x", "t") if calling.kind == NETWORK else calling.backward_takes
        handed = ["1.0" if n == "lr" else "layer.output" if n == "output" else n for n in taken]
        call = f"returned = {self._function(calling.backward)}({', '.join(handed)})"
        return f"layer.{calling.zero_grad}()\n{call}" if calling.zero_grad else call

    def _gradient(self, name: str) -> str:
        calling = self._calling
        if name in self._record.parameters:
            place = calling.gradients[name]
            return f"before_{name} - {_of_layer(calling.parameters[name])}" if place == UPDATE else _of_layer(place)
        return _of_layer(calling.input_gradients[self._record.differentiable_inputs.index(name)])

    def _handed(self, name: str) -> str:
        sizes = {
            axis: side
            for parameter in self._record.parameters
            for axis, side in zip(self._record.axes_of(parameter), self._arrays[parameter].shape, strict=True)
        }
        return "1.0" if name == "lr" else str(sizes.get(name, name))

    def _function(self, name: str) -> str:
        return f"layer.{name}" if self._calling.kind in (CLASS, NETWORK) else name

    def _object(self, otherwise: str) -> str:
        if self._calling.kind not in (CLASS, NETWORK):
            return otherwise
        return "(layer, cache)" if self._calling.cache else "layer"

    def _takes_dout(self) -> bool:
        return self._record.takes_dout and self._calling.kind != NETWORK

    def _at(self, name: str, index: tuple[int, ...]) -> str:
        """The index of an entry the way that the layer's own arrays lie."""
        if not index:
            return ""
        mark = np.zeros(self._arrays[name].shape)
        mark[index] = 1
        (place,) = np.argwhere(self._calling.turned_outward(self._record, name, mark)).tolist()
        return f"[{', '.join(map(str, place))}]"


def _of_layer(place: str) -> str:
    return f"layer{place.removeprefix('self')}" if place.startswith("self") else place


def _written(values: Array) -> str:
    whole = values.dtype.kind == "i"
    return f"np.array({values.tolist()})" if whole or values.size else f"np.zeros({values.shape})"
