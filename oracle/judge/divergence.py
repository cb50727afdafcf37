"""Where in a network two ways part: the first layer, and the direction, in which it differs from its twin.

Activations are walked forward and gradients backward, each held against the twin's within what rounding has carried so
far. The first layer that differs is then checked alone, on the arrays that reached it: a layer that is right there only
passes on what came wrong.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from oracle.catalog.case import Case
from oracle.catalog.record import Array
from oracle.catalog.records import LOSS_ROUNDING, RECORDS
from oracle.catalog.rounding import LOCAL, Flow, Rounding
from oracle.judge.bounds import AUTOGRAD_FLOOR, DOUBLE, targets_as_rows
from oracle.judge.comparison import Comparison, compare
from oracle.sources.autograd import autograd
from oracle.subjects.interface import LayerTrace, Subject

PAIR = "backprop-autograd"


@dataclass(frozen=True)
class Divergence:
    """The first layer in which a network differs from its twin.

    ``number`` counts the layers from 0, the loss after the last. ``alone`` are the disagreements of that layer by
    itself, on the arrays that reached it; none where it only passes on what came wrong from the loss.
    """

    layer: str
    number: int
    direction: Literal["forward", "backward"]
    comparison: Comparison
    alone: tuple[Comparison, ...]

    def __str__(self) -> str:
        where = f"layer {self.number + 1}, {self.layer}, {self.direction}"
        if not self.alone:
            return f"first differs from the twin at {where}: {self.comparison}"
        listed = "; ".join(map(str, self.alone))
        return f"first differs from the twin at {where}; that layer alone, on what reached it: {listed}"


def first_divergence(
    subject: Subject, case: Case, inputs: Mapping[str, Array], parameters: Mapping[str, Array]
) -> Divergence | None:
    """Walk a network beside its twin; None where they agree, or where the network does not show its layers.

    ``inputs`` are a batch with its targets. Raises SubjectError when a layer raises.
    """
    record = subject.record
    traces = subject.open(parameters).trace(inputs)
    if traces is None:
        return None
    x, t = inputs.values()
    walk = importlib.import_module("oracle.twins.networks").activations_and_gradients
    twin = walk(x, t, [parameters[name] for name in record.parameters], **record.settings)
    eps = float(np.finfo(np.result_type(*parameters.values())).eps) + float(DOUBLE.eps)

    roundings, value, error = [], np.asarray(x, np.float64), np.zeros(x.shape)
    for number, ((name, parameter_names), trace) in enumerate(zip(record.stack, traces, strict=True)):
        rounding = _fresh(name)
        given = tuple(np.asarray(parameters[p], np.float64) for p in parameter_names)
        value, error = rounding.forward(value, error, given, eps)
        roundings.append(rounding)
        comparison = _compare("y", case, trace.y, twin[number][0], error)
        if not comparison.agrees:
            return _found(subject, case, number, "forward", comparison, trace, given, eps)
    targets = targets_as_rows(t, value.shape[1], is_single=False)
    flow = LOSS_ROUNDING[record.settings["output"]].start(value, error, targets, eps).flow
    for number in reversed(range(len(traces))):
        (name, parameter_names), trace = record.stack[number], traces[number]
        given = tuple(np.asarray(parameters[p], np.float64) for p in parameter_names)
        comparison = _compare("dout", case, trace.dout, twin[number][1], flow.error, flow.open_branch)
        if not comparison.agrees:
            # What reached this layer is wrong already: the one above it made it, or the loss.
            above = number + 1
            if above == len(traces):
                return Divergence("the loss", above, "backward", comparison, ())
            names = record.stack[above][1]
            above_given = tuple(np.asarray(parameters[p], np.float64) for p in names)
            return _found(subject, case, above, "backward", comparison, traces[above], above_given, eps)
        alone = _alone(name, case, trace, given, eps, "backward")
        if any(c.quantity != "dx" for c in alone):
            return Divergence(_label(subject, number), number, "backward", alone[0], alone)
        flow, _, _ = roundings[number].backward(flow, eps)
    return None


def _found(
    subject: Subject,
    case: Case,
    number: int,
    direction: Literal["forward", "backward"],
    comparison: Comparison,
    trace: LayerTrace,
    given: tuple[Array, ...],
    eps: float,
) -> Divergence:
    name = subject.record.stack[number][0]
    alone = _alone(name, case, trace, given, eps, direction)
    return Divergence(_label(subject, number), number, direction, comparison, alone)


def _label(subject: Subject, number: int) -> str:
    """The record's name, with its place among the layers of its kind: Affine2."""
    names = [name for name, _ in subject.record.stack]
    return f"{names[number]}{names[: number + 1].count(names[number])}"


def _alone(
    name: str,
    case: Case,
    trace: LayerTrace,
    given: tuple[Array, ...],
    eps: float,
    direction: Literal["forward", "backward"],
) -> tuple[Comparison, ...]:
    """The disagreements of one layer with its own twin, on the input and the upstream gradient that it had."""
    record = RECORDS[name]
    x = np.asarray(trace.x, np.float64).reshape(len(trace.x), -1) if given else np.asarray(trace.x, np.float64)
    dout = np.asarray(trace.dout, np.float64)
    parameters = dict(zip(record.parameters, given, strict=True))
    expected = autograd(record, {record.differentiable_inputs[0]: x}, parameters, dout).values
    rounding = _fresh(name)
    _, y_error = rounding.forward(x, np.zeros(x.shape), given, eps)
    flow = Flow(np.abs(dout), np.zeros(dout.shape), np.zeros(dout.shape, bool))
    below, errors, opened = rounding.backward(flow, eps)
    if direction == "forward":
        compared = [_compare("y", case, trace.y, expected[record.outputs[0]], y_error)]
    else:
        dx = np.asarray(trace.dx).reshape(below.error.shape)
        compared = [_compare("dx", case, dx, expected["dx"], below.error, below.open_branch)]
        for parameter, gradient, bound, left_out in zip(
            record.parameters, trace.gradients, errors, opened, strict=True
        ):
            quantity = record.gradient_name(parameter)
            compared.append(_compare(quantity, case, gradient, expected[quantity], bound, left_out))
    return tuple(comparison for comparison in compared if not comparison.agrees)


def _fresh(name: str) -> Rounding:
    rounding = RECORDS[name].rounding
    assert rounding is not None, f"{name} stands in a stack and has no rounding"
    return rounding.fresh()


def _compare(
    quantity: str, case: Case, actual: Array, expected: Array, error: Array, left_out: Array | None = None
) -> Comparison:
    return compare(quantity, PAIR, case, actual, expected, error + LOCAL * AUTOGRAD_FLOOR, left_out)
