"""A subject by another name: what the judge is handed of a planted defect, so that nothing but its calls can tell.

Only the methods of the interface are there, in classes that are the same for every defect: no label, class, module or
function that would say what is wrong, and no traceback that leads to one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from oracle.subjects.interface import Subject, SubjectError

#: Of a Handle, of a NetworkHandle, and of a loop that is trained.
HANDLE = ("forward", "backward", "value", "values", "step", "set_parameters", "recall", "scribble")
NETWORK_HANDLE = (*HANDLE, "trace", "numerical_gradient", "assign_parameter")
LOOP = ("parameters", "step")

LABEL = "subject"


class Nameless:
    """The methods of an object that are called ``names``, and nothing else of it."""

    def __init__(self, of: Any, names: Iterable[str]) -> None:
        for name in names:
            setattr(self, name, _passed_on(getattr(of, name)))


class NamelessSubject:
    """A subject with the record of another and its instances, each without a name."""

    def __init__(self, of: Subject) -> None:
        self.record = of.record
        self.label = LABEL
        self._open = _passed_on(of.open)

    def open(self, parameters: Mapping[str, np.ndarray]) -> Any:
        return Nameless(self._open(parameters), NETWORK_HANDLE if self.record.stack else HANDLE)


def _passed_on(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except SubjectError as error:
            raised = error
        # Not from the one above, whose traceback goes through the lines of the mistake.
        raise SubjectError(raised.step, raised.original.with_traceback(None))

    return call
