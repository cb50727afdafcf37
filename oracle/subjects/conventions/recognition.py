"""Recognising by trying: which way of making and calling a layer works, on arrays whose sides are all different.

Every plausible `Calling` is tried on one small forward and backward. What fits best, by whether it runs and by the
shapes that come back, is taken; where several fit equally well, the first, which is the commonest. Which of several
losses a loss is cannot be seen from shapes: all that fit are given back with the value they gave, and whoever knows the
definitions decides.
"""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from oracle.catalog.case import Arrays, Case, materialise
from oracle.catalog.record import ANY, AS_FORWARD_GIVES, BATCH, BROADCAST, LayerSpec
from oracle.subjects.conventions.calling import CLASS, FUNCTION, FUNCTIONS, MEAN, SUM, UPDATE, Calling
from oracle.subjects.conventions.layer import ForeignLayer
from oracle.subjects.conventions.places import (
    CONTAINERS,
    INPUT_GRADIENTS,
    LEARNING_RATES,
    OUTPUTS,
    container_name,
    is_named_for,
    is_named_for_gradient,
    last_name,
    numbers_in,
    places_in,
    plain,
    read,
)
from oracle.subjects.interface import Array, SubjectError

#: Names of methods, the usual ones first.
FORWARDS = (
    *("forward", "calculate", "forward_pass", "forward_propagation", "feedforward", "feed_forward", "fprop", "fwd"),
    *("loss", "activate", "__call__"),
)
DERIVATIVES = ("derivative", "deriv", "prime", "gradient", "grad")
BACKWARDS = (
    *("backward", "backward_pass", "backward_propagation", "backprop", "back_propagation", "bprop", "bwd", "back"),
    *DERIVATIVES,
)
ZERO_GRADS = ("zero_grad", "zero_grads", "zero_gradients", "reset_grad", "reset_grads", "reset_gradients")
#: How targets are called.
TARGETS = ("t", "target", "targets", "label", "labels", "ytrue", "truth", "truelabels", "ylabels", "teacher")
#: How predictions are called, beside which ``y`` means targets.
PREDICTIONS = ("p", "pred", "preds", "prediction", "predictions", "ypred", "yhat", "yp", "prob", "probs", "logits")
#: What an object with a parameter in it calls the array.
HELD_BY_OBJECTS = ("data", "value", "values", "tensor", "array")
#: Words in the name of a constructor's argument that mean a number of inputs, or of outputs.
SIZES = ("in", "out", "size", "dim", "features", "units", "neurons", "fan", "hidden", "nodes", "width")
OUTPUT_SIZES = ("out", "units", "neurons", "hidden")
#: Sides of the probe, all different: N first.
SIDES = (5, 3, 4, 6, 2)


#: What is asked first of every way: that it can be made, that forward runs, that its output has the right shape.
CALLED = ("made", "forward runs", "output fits")


#: Why most of what a file defines is passed over.
UNKNOWN_NAME = "no layer is known by this name"


#: What begins like an upstream gradient (d…), and is none.
NO_UPSTREAM = ("data", "dim", "drop", "depth", "dict")


class UnknownCallingError(Exception):
    """Why it cannot be told how something is made or called."""


class UnseenUpdateError(UnknownCallingError):
    """It runs, but what it does to its parameters cannot be told from a gradient: no other way of calling helps."""


@dataclass(frozen=True)
class Told:
    """What the user says of a layer where it cannot be guessed; None for what is not said."""

    gradients: Mapping[str, str] | None = None
    in_columns: bool | None = None
    out_first: bool | None = None
    averages_gradients: bool = False
    one_at_a_time: bool = False


@dataclass(frozen=True)
class Attempt:
    """A calling that was tried: how well it fitted (each True counts), and what forward gave.

    ``is_own_slope``: whether the gradient of a loss is the slope of its own forward.
    """

    calling: Calling
    fits: tuple[bool, ...]
    value: Array | None
    is_own_slope: bool = False
    #: What it raised, where it did not run to the end.
    raised: str = ""


def probe(record: LayerSpec, *, is_one_sample: bool = False, with_other_sizes: bool = False) -> Arrays:
    """A small case of the record with sides that are all different; targets are one-hot.

    ``with_other_sizes`` takes the last of the sizes that the record lists, and not the first.
    """
    axes = sorted({axis for a in record.arguments for axis in a.axes}, key=lambda axis: (axis != BATCH, axis))
    sizes = dict(zip(axes, SIDES, strict=False))
    if is_one_sample and BATCH in sizes:
        sizes[BATCH] = 1
    anything = (3, 4)
    shapes: dict[str, tuple[int, ...]] = {}
    if record.sizes:
        sizes = {axis: listed[-1 if with_other_sizes else 0] for axis, listed in record.sizes.items()}
        sizes |= {axis: int(axis) for a in record.arguments for axis in a.axes if axis.isdigit()}
    for a in record.arguments:
        shapes[a.name] = anything if a.shape in (ANY, BROADCAST) else tuple(sizes[axis] for axis in a.axes)
    has_axes = isinstance(record.output_shape, tuple)
    shapes["dout"] = tuple(sizes[axis] for axis in record.output_shape) if has_axes else anything
    targets = record.target_forms[0] if record.target_forms else ""
    return materialise(Case(record.name, "float64", tuple(shapes.items()), targets=targets, seed=20), record)


def attempts_at(module: Any, name: str, record: LayerSpec, candidates: list[Calling], told: Told) -> list[Attempt]:
    """Those of the candidates that fit best, each with its places filled in. Raises UnknownCallingError.

    Where no backward takes a batch of several samples, all are tried with a single one.
    """
    if told.one_at_a_time:
        candidates = [replace(calling, one_at_a_time=True) for calling in candidates]
    fitting = _best_of(module, name, record, candidates, told)
    if record.has_backward and not any(len(attempt.fits) > len(CALLED) for attempt in fitting):
        alone = [replace(calling, one_at_a_time=True) for calling in candidates]
        of_one = [a for a in _best_of(module, name, record, alone, told) if all(a.fits) and len(a.fits) > len(CALLED)]
        return of_one or fitting
    return fitting


def _best_of(module: Any, name: str, record: LayerSpec, candidates: list[Calling], told: Told) -> list[Attempt]:
    tried: list[Attempt] = []
    reasons: list[UnknownCallingError] = []
    for calling in candidates:
        try:
            tried.append(attempt_at(module, name, record, calling, told))
        except UnseenUpdateError:
            raise
        except UnknownCallingError as error:
            reasons.append(error)
    if not tried:
        raise reasons[0]
    best = max(sum(attempt.fits) for attempt in tried)
    fitting = [attempt for attempt in tried if sum(attempt.fits) == best]
    # What backward of a loss wants to be given is settled by its slope; nothing else is, or a wrong sign would be taken
    # for targets that come first.
    return [
        a
        for a in fitting
        if a.is_own_slope
        or not any(b.is_own_slope and b.calling.forward_takes == a.calling.forward_takes for b in fitting)
    ]


def untried(calling: Calling, record: LayerSpec) -> Attempt:
    """A calling for what does harm, or raises, when it is called: with the usual places where none are known."""
    places = {name: f"self.{name}" for name in record.parameters} if calling.kind == CLASS else {}
    gradients = {name: f"self.{record.gradient_name(name)}" for name in record.parameters}
    several = len(record.differentiable_inputs) > 1
    inputs = tuple(f"returned[{n}]" for n in range(len(record.differentiable_inputs))) if several else ("returned",)
    calling = replace(
        calling,
        parameters=calling.parameters or places,
        gradients=calling.gradients or gradients,
        input_gradients=calling.input_gradients if len(calling.input_gradients) == len(inputs) else inputs,
    )
    return Attempt(calling, (), None)


# --------------------------------------------------------------------------- candidates


def callings_of_class(given: type, record: LayerSpec, told: Told) -> list[Calling]:
    """The plausible ways to make and call a class, the commonest first. Raises UnknownCallingError."""
    forward = next((n for n in FORWARDS if has_method(given, n)), None)
    backward = next((n for n in BACKWARDS if has_method(given, n)), None)
    if hasattr(given, "calculate") and record.is_loss:
        forward = "calculate"
    if forward is None and backward is None:
        raise UnknownCallingError("it has neither forward nor backward")
    forward, backward = forward or "forward", backward or "backward"
    zero_grad = next((n for n in ZERO_GRADS if hasattr(given, n)), "")
    found: list[Calling] = []
    for made_from in _makings(given, record):
        for forward_takes in _forward_arguments(getattr(given, forward, None), record, bool(made_from)):
            calling = Calling(CLASS, forward, backward, made_from, forward_takes, zero_grad=zero_grad)
            for called in with_backward(calling, getattr(given, backward, None), record):
                found += _orientations(called, record, told)
    return found


def callings_of_function(function: Callable[..., Any], record: LayerSpec, told: Told) -> list[Calling]:
    """The same for a function that has no backward."""
    name = function.__name__
    ways = [
        Calling(FUNCTION, name, "", (), takes, ()) for takes in _forward_arguments(function, record, False, bound=False)
    ]
    return [turned for calling in ways for turned in _orientations(calling, record, told)]


def callings_of_functions(
    forward: Callable[..., Any], backward: Callable[..., Any] | None, record: LayerSpec, told: Told
) -> list[Calling]:
    """The same for a pair of functions, or for one that returns a loss and its gradient together."""
    found: list[Calling] = []
    for forward_takes in _forward_arguments(forward, record, False, bound=False):
        if backward is None:
            calling = Calling(FUNCTIONS, forward.__name__, "", (), forward_takes, (), "returned[0]")
            found += _orientations(replace(calling, input_gradients=("returned[1]",)), record, told)
            continue
        calling = Calling(FUNCTIONS, forward.__name__, backward.__name__, (), forward_takes)
        for called in with_backward(calling, backward, record, bound=False):
            found += _orientations(called, record, told)
    return found


def has_method(given: type, name: str) -> bool:
    """Whether a class has a method; every class can be called, which does not make its instances callable."""
    return any(name in vars(base) for base in given.__mro__ if base is not object)


def methods_of(given: type) -> tuple[str, str]:
    """The names of the methods by which a class of an unknown name is a layer; empty for what it has not.

    ``loss`` is what a network has, and a loss of another form.
    """
    forward = next((n for n in FORWARDS if n != "loss" and has_method(given, n)), "")
    return forward, next((n for n in BACKWARDS if has_method(given, n)), "")


def with_backward(calling: Calling, function: Any, record: LayerSpec, *, bound: bool = True) -> Iterator[Calling]:
    """The ways in which backward may be called; one that takes neither dout nor a cache gives the derivative alone."""
    required = required_arguments(function, bound=bound) if function is not None else []
    is_derivative = (calling.backward in DERIVATIVES or not bound) and len(record.differentiable_inputs) == 1
    if is_derivative and not record.is_loss and len(required) == 1 and not is_upstream(required[0]):
        yield from (replace(calling, backward_takes=(taken,), times_dout=True) for taken in ("x", "output"))
        return
    for taken in _backward_arguments(function, record, bound=bound):
        yield replace(calling, backward_takes=taken)


def _orientations(calling: Calling, record: LayerSpec, told: Told) -> Iterator[Calling]:
    has_weights = any(len(a.axes) == 2 for a in record.of_role("parameter"))
    has_batch = any(BATCH in a.axes for a in record.arguments)
    # Without a weight the shapes do not tell rows from columns: a softmax along the wrong axis would be taken for one
    # in columns.
    columns = (told.in_columns,) if told.in_columns is not None else (False, True) if has_weights else (False,)
    out_first = (told.out_first,) if told.out_first is not None else (False, True)
    for in_columns, first in itertools.product(
        columns if has_batch else (False,), out_first if has_weights else (False,)
    ):
        turned = replace(calling, in_columns=in_columns, out_first=first, averages_gradients=told.averages_gradients)
        is_given = set(record.parameters) & {*calling.made_from, *calling.forward_takes}
        shapes = ("(M, 1)", "(M,)", "(1, M)") if in_columns else ("(M,)", "(1, M)")
        yield from (replace(turned, bias_shape=shape) for shape in (shapes if is_given else ("(M,)",)))


def is_upstream(name: str) -> bool:
    """Whether an argument is called as an upstream gradient is: dout, dy, grad_output, delta, …"""
    wanted = plain(name)
    return (
        wanted.startswith(("d", "grad", "upstream")) or wanted.endswith(("grad", "gradient", "error")) or wanted == "g"
    )


def required_arguments(function: Callable[..., Any], *, bound: bool = True) -> list[str]:
    """The names of the arguments that must be given by position, without ``self``."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []
    required = [
        p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return required[1:] if bound else required


def _takes_learning_rate(function: Callable[..., Any]) -> str | None:
    """The last of its arguments, if that is a learning rate, required or not."""
    names = list(inspect.signature(function).parameters)
    return names[-1] if names and plain(names[-1]) in LEARNING_RATES else None


def _makings(given: type, record: LayerSpec) -> list[tuple[str, ...]]:
    required = required_arguments(given, bound=False)
    rate = tuple("lr" for name in required[-1:] if plain(name) in LEARNING_RATES)
    rest = required[: len(required) - len(rate)]
    if not record.parameters or not rest:
        if rest:
            raise UnknownCallingError(f"its constructor wants {len(rest)} arguments ({', '.join(rest)})")
        return [rate]
    if len(rest) != len(record.parameters):
        raise UnknownCallingError(
            f"its constructor wants {len(rest)} arguments ({', '.join(rest)}), and {len(record.parameters)} parameters "
            f"({', '.join(record.parameters)}) are known"
        )
    sizes = record.of_role("parameter")[0].axes
    inverted = tuple(reversed(sizes))
    if any(word in plain(rest[0]) for word in OUTPUT_SIZES):
        sizes, inverted = inverted, sizes
    weights_first = not any(word in plain(rest[0]) for word in SIZES)
    ways = [record.parameters, sizes, inverted] if weights_first else [sizes, inverted, record.parameters]
    return [(*way, *rate) for way in ways]


def _forward_arguments(
    function: Any, record: LayerSpec, has_parameters: bool, *, bound: bool = True
) -> list[tuple[str, ...]]:
    inputs = tuple(a.name for a in record.arguments if a.role != "parameter")
    if function is None:
        return [inputs]
    required = required_arguments(function, bound=bound)
    known = (*inputs, *record.parameters)
    if len(required) > len(known):
        raise UnknownCallingError(
            f"it wants {len(required)} arguments ({', '.join(required)}), and {len(known)} are known"
        )
    orders = [inputs]
    if len(inputs) == 2 and record.target_forms and len(required) >= 2:
        # By their names, where those tell: values do not for a squared error.
        is_target = are_targets(required[:2])
        if is_target[0] and not is_target[1]:
            orders = [inputs[::-1]]
        elif not any(is_target):
            orders.append(inputs[::-1])
    if record.parameters and not has_parameters and len(required) > len(inputs):
        return [(*order, *record.parameters) for order in orders]
    return orders


def are_targets(names: list[str]) -> list[bool]:
    """Which of two arguments are targets by their names; beside predictions, ``y`` means targets."""
    others = {plain(name) for name in names} & {*PREDICTIONS, "output", "outputs", "scores"}
    return [plain(name) in TARGETS or (plain(name) == "y" and bool(others)) for name in names]


def _backward_arguments(function: Any, record: LayerSpec, *, bound: bool = True) -> list[tuple[str, ...]]:
    if function is None:
        return [("dout",)]
    required = required_arguments(function, bound=bound)
    everything = list(inspect.signature(function).parameters)[1 if bound else 0 :]
    rate = ("lr",) if _takes_learning_rate(function) else ()
    required = [name for name in required if plain(name) not in LEARNING_RATES]
    inputs = tuple(a.name for a in record.arguments if a.role != "parameter")
    if not required:
        takes_one = bool(everything) and not rate
        return [("dout",)] if takes_one or not record.is_loss else [()]
    if len(required) == 1:
        if "cache" in plain(required[0]):
            return [("cache",)]
        return [("dout", *rate)]
    if record.is_loss and len(required) == 2 and "cache" not in plain(required[1]):
        way = inputs[::-1] if are_targets(required)[0] else inputs
        return [("output", way[1]), way] if plain(required[0]).startswith("d") else [way, ("output", way[1])]
    if len(required) == 2:
        first_is_cache = "cache" in plain(required[0])
        return [("cache", "dout")] if first_is_cache else [("dout", "cache"), ("dout", inputs[0])]
    # Everything that forward took, once more.
    again = (*inputs, *record.parameters)
    return [("dout", *again[: len(required) - 1])]


# --------------------------------------------------------------------------- trying


def attempt_at(module: Any, name: str, record: LayerSpec, calling: Calling, told: Told) -> Attempt:
    """One calling, tried on the probe of the record. Raises UnknownCallingError."""
    given = probe(record, is_one_sample=calling.one_at_a_time)
    fits: list[bool] = []
    value = None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            calling = _with_parameters(module, name, record, calling, given)
            fits.append(True)
            calling, layer, value = _forward(module, name, record, calling, given)
            if record.output_shape == AS_FORWARD_GIVES:
                given = replace(given, dout=np.random.default_rng(1).normal(size=np.shape(value)))
            fits += [True, np.shape(value) == given.dout.shape]
            if not record.has_backward:
                return Attempt(calling, tuple(fits), np.asarray(value))
            calling = _with_gradients(layer, record, calling, given, told)
            gradients = layer._backward(given.dout)
            fits.append(True)
            fits += _shapes_fit(record, gradients, given)
            calling = replace(calling, writes_in_place=_writes_in_place(layer, record, calling, given))
            calling = replace(calling, refused_targets=_refused(layer, record, given))
            is_own_slope = (record.is_loss or calling.times_dout) and _is_own_slope(layer, record, given)
        except UnknownCallingError:
            raise
        except Exception as error:
            calling = untried(calling, record).calling
            raised = str(error) if isinstance(error, SubjectError) else f"{type(error).__name__}: {error}"
            return Attempt(calling, tuple(fits), None if value is None else np.asarray(value), raised=raised)
    return Attempt(calling, tuple(fits), np.asarray(value), is_own_slope)


def _with_parameters(module: Any, name: str, record: LayerSpec, calling: Calling, given: Arrays) -> Calling:
    """With the places of its parameters, where it keeps them; which way a weight lies is seen from one of its own."""
    if calling.kind != CLASS or not record.parameters:
        return calling
    layer = ForeignLayer(record, module, name, calling, given.parameters)
    held = dict(places_in(layer._object, "self"))
    places: dict[str, str] = {}
    for a in record.of_role("parameter"):
        values = given.parameters[a.name]
        if a.name in calling.made_from:
            same = [p for p, kept in held.items() if kept.size == values.size and np.shares_memory(kept, values)]
            same = same or [p for p, kept in held.items() if np.array_equal(kept.reshape(-1), values.reshape(-1))]
        else:
            sides = sorted(s for s in values.shape if s > 1)
            like = [p for p, kept in held.items() if sorted(s for s in kept.shape if s > 1) == sides]
            same = [p for p in like if _is_called(p, a.name, values.ndim)]
            same = same or [p for p in like if not _sounds_like_a_gradient(p, a.name, values.ndim)]
            if not same and not calling.made_from:
                # An instance that was there already may have any size.
                named = [p for p in held if is_named_for(last_name(p), a.name, values.ndim)]
                same = [p for p in named if held[p].ndim >= values.ndim]
            if not same:
                if a.name in calling.forward_takes:
                    continue
                raise UnknownCallingError(f"no array like {a.name} {values.shape} was found among its attributes")
            calling = _lying_as(calling, a.name, held[same[0]], values)
        if same:
            places[a.name] = same[0]
    rate = next((p for p in _learning_rates(layer._object, module)), "")
    return replace(calling, parameters=places, learning_rate=rate)


def _lying_as(calling: Calling, name: str, kept: Array, values: Array) -> Calling:
    if kept.ndim == 2 and values.ndim == 1:
        return replace(calling, bias_shape="(1, M)" if kept.shape[0] == 1 else "(M, 1)")
    if kept.ndim == 2 and kept.shape == values.shape[::-1] != values.shape and not calling.out_first:
        return replace(calling, out_first=True)
    return calling


def _is_called(place: str, name: str, axes: int) -> bool:
    """Whether a place is called like a parameter: W, params["W"], or an object with that name that holds the array."""
    holds = plain(last_name(place)) in HELD_BY_OBJECTS and is_named_for(container_name(place), name, axes)
    return holds or is_named_for(last_name(place), name, axes)


def _sounds_like_a_gradient(place: str, name: str, axes: int) -> bool:
    last = last_name(place)
    return plain(last) in CONTAINERS or is_named_for_gradient(last, name, axes)


def _learning_rates(made: Any, module: Any) -> Iterator[str]:
    for held, root in ((made, "self"), (module, "module")):
        yield from (
            f"{root}.{name}"
            for name, value in vars(held).items()
            if plain(name) in LEARNING_RATES and isinstance(value, float)
        )


def _forward(
    module: Any, name: str, record: LayerSpec, calling: Calling, given: Arrays
) -> tuple[Calling, ForeignLayer, Array]:
    """One forward, with the place where its output is. Targets may be wanted as labels."""
    errors: list[Exception] = []
    for inputs in _forms(record, given).values():
        try:
            layer = ForeignLayer(record, module, name, calling, given.parameters)
            value = layer.call_forward(inputs)
            layer.calling = calling = _with_output(layer, value, record, calling, given)
            value = layer._first_output(inputs)
        except Exception as error:
            errors.append(error)
            continue
        return calling, layer, value
    raise errors[0]


def _with_output(layer: ForeignLayer, returned: Any, record: LayerSpec, calling: Calling, given: Arrays) -> Calling:
    """With the place of the output, and of the cache that functions hand on."""
    if calling.output != "returned":
        return calling
    if returned is None:
        shape = None if record.output_shape == AS_FORWARD_GIVES else given.dout.shape
        place = _first_named(layer._object, OUTPUTS, shape)
        if not place:
            raise TypeError(f"{calling.forward} returned None, and no attribute holds an output")
        return replace(calling, output=place)
    if not record.has_twin:
        _require_one_output(layer, returned, calling)
    if isinstance(returned, tuple) and len(returned) == 2:
        return replace(calling, output="returned[0]", cache="returned[1]")
    if not isinstance(returned, (np.ndarray, np.number, int, float)):
        raise TypeError(f"{calling.forward} returned {type(returned).__name__}; an array is required")
    if record.output_shape == () and np.ndim(returned) > 0 and record.has_twin:
        return replace(calling, output=MEAN if np.ndim(returned) == 1 else SUM)
    return calling


def _require_one_output(layer: ForeignLayer, returned: Any, calling: Calling) -> None:
    """Raises UnknownCallingError where forward returns several arrays, and not an output with what backward needs."""
    if not isinstance(returned, (tuple, list)):
        return
    shapes = [values.shape for values in returned if isinstance(values, np.ndarray) and values.dtype.kind == "f"]
    function = getattr(layer._object, calling.backward, None)
    required = required_arguments(function, bound=False) if function is not None else []
    upstream = [name for name in required if is_upstream(name) and not plain(name).startswith(NO_UPSTREAM)]
    # Of two, the second may be kept for backward alone: it is an output where backward takes a gradient of it.
    if len(shapes) > 2 or (len(shapes) == 2 and len(upstream) > 1):
        raise UnknownCallingError(
            f"it returns several arrays: {', '.join(map(str, shapes))}; to have it checked, write a class whose "
            "forward returns one of them, and whose backward takes the gradient of that one and has zeros for the "
            "others"
        )


def _forms(record: LayerSpec, given: Arrays) -> dict[str, dict[str, Array]]:
    """The inputs with one-hot targets, and with labels where the record knows them."""
    if not record.has_class_targets:
        return {"": dict(given.inputs)}
    (target,) = record.of_role("target")
    labels = given.inputs[target.name].argmax(axis=-1)
    return {"one-hot": dict(given.inputs), "labels": {**given.inputs, target.name: labels}}


def _refused(layer: ForeignLayer, record: LayerSpec, given: Arrays) -> tuple[str, ...]:
    """The forms of targets that raise, in a batch of several samples."""
    refused = []
    for form, inputs in _forms(record, given).items():
        try:
            layer._first_output(inputs)
            layer._backward(given.dout)
        except Exception:
            refused.append(form)
    return tuple(refused)


def _first_named(made: Any, names: tuple[str, ...], shape: tuple[int, ...] | None) -> str:
    """The place of an array of that shape, either way round, with the first of the names that there is; or empty."""
    fitting = [p for p, kept in places_in(made, "self", depth=1) if shape is None or kept.shape in (shape, shape[::-1])]
    return next((p for name in names for p in fitting if plain(last_name(p)) == name), "")


def _with_gradients(layer: ForeignLayer, record: LayerSpec, calling: Calling, given: Arrays, told: Told) -> Calling:
    """With the places of all gradients, seen from what a backward returns and leaves behind."""
    if not calling.backward:
        return calling
    before = {place: np.array(kept) for place, kept in places_in(layer._object, "self")}
    returned = layer.call_backward(given.dout)
    parts = dict(parts_of(returned, "returned"))
    differentiable = [a for a in record.arguments if a.role != "target"]
    # Beside gradients that are left in attributes it may be those of the inputs alone that are returned.
    of_inputs_alone = len(parts) == len(record.differentiable_inputs)
    of_inputs: dict[str, str] = {}
    of_parameters: dict[str, str] = {}
    for position, a in enumerate(differentiable):
        shape = np.shape(layer.outward(a.name, {**given.inputs, **given.parameters}[a.name]))
        count = len(parts) if a.role == "input" and of_inputs_alone else len(differentiable)
        place = _in_what_was_returned(parts, shape, position, count, a.name, len(a.axes))
        if a.role == "input":
            attribute = _first_named(layer._object, INPUT_GRADIENTS, shape)
            of_inputs[a.name] = (attribute or "returned") if returned is None else place or "returned"
        else:
            known = (told.gradients or {}).get(a.name)
            left = _left_behind(layer._object, a.name, len(a.axes), record, before, shape, calling)
            of_parameters[a.name] = known or left or place or f"self.d{a.name}"
    calling = replace(calling, input_gradients=tuple(of_inputs.values()), gradients=of_parameters)
    layer.calling = calling
    if UPDATE in of_parameters.values():
        # It has updated itself by now.
        layer.set_parameters({})
        layer._first_output(_working(layer, record, given))
    return calling


def _working(layer: ForeignLayer, record: LayerSpec, given: Arrays) -> dict[str, Array]:
    for inputs in _forms(record, given).values():
        try:
            layer._first_output(inputs)
        except Exception:
            continue
        return inputs
    return dict(given.inputs)


def parts_of(returned: Any, place: str) -> Iterator[tuple[str, Array]]:
    """The arrays in what backward returned."""
    if isinstance(returned, (np.ndarray, np.number, float)):
        yield place, np.asarray(returned)
    elif isinstance(returned, Mapping):
        for key, value in returned.items():
            yield from parts_of(value, f"{place}[{key!r}]")
    elif isinstance(returned, (list, tuple)):
        for index, value in enumerate(returned):
            yield from parts_of(value, f"{place}[{index}]")


def _in_what_was_returned(
    parts: Mapping[str, Array], shape: tuple[int, ...], position: int, count: int, name: str, axes: int
) -> str:
    named = [p for p in parts if last_name(p) and is_named_for_gradient(last_name(p), name, axes)]
    named = named or [p for p in parts if last_name(p) and is_named_for(last_name(p), name, axes)]
    if named:
        return named[0]
    fitting = [p for p, values in parts.items() if values.shape == shape]
    if len(parts) == count:
        in_order = list(parts)[position]
        return in_order if len(fitting) != 1 else fitting[0]
    return fitting[0] if fitting else ""


def _left_behind(
    made: Any,
    name: str,
    axes: int,
    record: LayerSpec,
    before: Mapping[str, Array],
    shape: tuple[int, ...],
    calling: Calling,
) -> str:
    """Where backward has left the gradient of a parameter; empty where it has not."""
    position = record.parameters.index(name)
    held = dict(places_in(made, "self"))
    own = calling.parameters.get(name)
    rate_is_known = calling.learning_rate or "lr" in (*calling.made_from, *calling.backward_takes)
    if own in held and own in before and not np.array_equal(held[own], before[own]):
        if rate_is_known:
            return UPDATE
        raise UnseenUpdateError(
            f"its backward updates {name} itself, by a step that cannot be seen: make the learning rate an argument of "
            "backward, or an attribute called lr"
        )
    in_attributes = [p for p in held if is_named_for_gradient(last_name(p), name, axes)]
    containers = [p for p in held if plain(container_name(p)) in CONTAINERS]
    in_containers = [p for p in containers if is_named_for(last_name(p), name, axes)]
    by_index = [p for p in containers if p.endswith(f"[{position}]") and not last_name(p)]
    of_parameter = [p for p in held if own and p == f"{own.rsplit('.', 1)[0]}.grad"]
    fresh = [
        p
        for p, values in held.items()
        if values.shape == shape and p != own and (p not in before or not np.array_equal(before[p], values))
    ]
    # A sum over too much is a number.
    numbers = [p for p in numbers_in(made, "self") if is_named_for_gradient(last_name(p), name, axes)]
    for found in (in_attributes, in_containers, by_index, of_parameter, numbers):
        if found:
            return found[0]
    return fresh[0] if len(fresh) == 1 else ""


def _shapes_fit(record: LayerSpec, gradients: Mapping[str, Any], given: Arrays) -> Iterator[bool]:
    for name in record.differentiated:
        values = {**given.inputs, **given.parameters}[name]
        yield np.shape(gradients[record.gradient_name(name)]) == values.shape


def _writes_in_place(layer: ForeignLayer, record: LayerSpec, calling: Calling, given: Arrays) -> bool:
    """Whether gradients that lie in a list or dictionary are written into the same arrays at every backward."""
    contained = [p for p in calling.gradients.values() if plain(container_name(p)) in CONTAINERS] if (
        UPDATE not in calling.gradients.values()) else []  # fmt: skip
    if not contained:
        return False
    roots = {"self": layer._object}
    first = [read(place, roots) for place in contained if place.startswith("self")]
    layer._backward(given.dout)
    again = [read(place, roots) for place in contained if place.startswith("self")]
    return bool(first) and all(a is b for a, b in zip(first, again, strict=True))


def _is_own_slope(layer: ForeignLayer, record: LayerSpec, given: Arrays) -> bool:
    """Whether the gradient is that of its own forward, to four digits, in one direction."""
    inputs = _working(layer, record, given)
    (name,) = record.differentiable_inputs
    dout = np.ones(()) if record.is_loss else given.dout
    gradient = np.asarray(layer._backward(dout)[record.gradient_name(name)])
    if gradient.shape != inputs[name].shape:
        return False
    direction = np.random.default_rng(1).normal(size=gradient.shape)
    h = 1e-5
    ahead, behind = (
        float(np.sum(dout * layer._first_output({**inputs, name: inputs[name] + sign * h * direction})))
        for sign in (1, -1)
    )
    slope, wanted = float((gradient * direction).sum()), (ahead - behind) / (2 * h)
    return bool(abs(slope - wanted) <= 1e-4 * max(abs(wanted), 1e-6))


__all__ = ["Attempt", "Told", "UnknownCallingError", "attempts_at", "probe"]
