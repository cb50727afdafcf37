"""The source ``backprop``: the subject's own forward and backward."""

from __future__ import annotations

from collections.abc import Mapping

from oracle.sources.estimate import Array, Estimate
from oracle.subjects.interface import Handle, Reply, Subject


def backprop(
    subject: Subject, inputs: Mapping[str, Array], parameters: Mapping[str, Array], dout: Array
) -> tuple[Estimate, Reply, Reply | None, Handle]:
    """One forward and one backward of a new instance: the values, both replies and the instance itself.

    Raises SubjectError when the subject does.
    """
    handle = subject.open(parameters)
    forward = handle.forward(inputs)
    backward = handle.backward(dout) if subject.record.has_backward else None
    gradients = backward.values if backward else {}
    return Estimate("backprop", {**forward.values, **gradients}), forward, backward, handle
