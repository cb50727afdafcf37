"""What something was taken for, how it is called, and the subject that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oracle.catalog.record import Array, LayerSpec
from oracle.catalog.variants import KNOWN
from oracle.subjects.conventions.calling import NETWORK, Calling
from oracle.subjects.conventions.layer import ForeignLayer
from oracle.subjects.conventions.network import ForeignNetwork
from oracle.subjects.conventions.recognition import probe


@dataclass(frozen=True)
class Found:
    """A layer: its name, the line it begins in, the record it is taken for, and how it is called."""

    name: str
    line: int
    #: The line as the user sees it: ``line 4``, or ``cell 2, line 4`` in a notebook.
    place: str
    record: str
    calling: Calling
    #: Why it cannot be called, where that is seen before any call.
    problem: str = ""
    #: By quantity, where it is computed, and the text of that line.
    lines: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def convention(self) -> str:
        return str(self.calling)

    @property
    def spec(self) -> LayerSpec:
        """The record, less what its way of calling does not offer."""
        return self.calling.applied_to(KNOWN[self.record])


class ForeignSubject:
    """Something of somebody's module, as a subject in this process."""

    def __init__(self, module: Any, name: str, record: LayerSpec, calling: Calling) -> None:
        self.record = record
        self.label = name
        self._module = module
        self._calling = calling

    def open(self, parameters: Mapping[str, Array]) -> ForeignLayer | ForeignNetwork:
        """A new instance with these parameters. Raises SubjectError where it cannot be made."""
        kind = ForeignNetwork if self._calling.kind == NETWORK else ForeignLayer
        return kind(self.record, self._module, self.label, self._calling, parameters)


def nearest(attempts: Sequence[tuple[str, Calling, Array | None]]) -> tuple[str, Calling]:
    """The attempt whose value is nearest to the definition of its record: it tells a sum from a mean.

    The first, where none is near: what is wrong is then wrong with the commonest.
    """
    far = 1e-3
    distances = []
    for name, calling, value in attempts:
        distance = far if value is None or not KNOWN[name].has_twin else _distance(KNOWN[name], value, calling)
        # What differs by rounding alone is equally near.
        distances.append(max(distance, 1e-9) if distance < far else far)
    name, calling, _ = attempts[distances.index(min(distances))]
    return name, calling


def _distance(record: LayerSpec, value: Array, calling: Calling) -> float:
    given = probe(record, is_one_sample=calling.one_at_a_time)
    wanted = record.definition(*given.inputs.values(), *given.parameters.values(), **record.settings)
    wanted = np.asarray(wanted[record.outputs[0]] if isinstance(wanted, dict) else wanted)
    if value.shape != wanted.shape:
        return float("inf")
    return float(np.max(np.abs(value - wanted)) / np.max(np.abs(wanted)))
