"""A layer whose name nobody knows, recognised by trying: what its input looks like, what makes it, what it holds.

What a constructor or a function must be given is guessed from the name of the argument: an array that may be a
parameter (gamma, W, b), a size of the input (num_features), a setting (pool_h, stride, p). The forms of an input are
tried from the simplest on, and of each the likeliest guesses first; what runs from end to end and gives a gradient of
the shape of its input is taken. Parameters that it holds are those whose gradients its backward leaves beside them.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from oracle.catalog.case import Arrays
from oracle.catalog.own import FORMS, SIZES, own_name
from oracle.catalog.record import Array
from oracle.catalog.variants import KNOWN
from oracle.subjects.conventions.calling import CLASS, FUNCTIONS, Calling
from oracle.subjects.conventions.layer import ForeignLayer
from oracle.subjects.conventions.places import (
    CONTAINERS,
    LEARNING_RATES,
    container_name,
    is_named_for_gradient,
    last_name,
    numbers_in,
    places_in,
    plain,
)
from oracle.subjects.conventions.recognition import (
    HELD_BY_OBJECTS,
    TARGETS,
    ZERO_GRADS,
    Attempt,
    Told,
    UnknownCallingError,
    attempt_at,
    has_method,
    methods_of,
    probe,
    required_arguments,
    with_backward,
)

Axes = tuple[str, ...]
#: What may be handed in for an argument: the axes of an array that may be a parameter, or a setting written out.
Choice = Axes | str

#: Methods by which something is a network or a loss, whose forward and backward are made of others'.
OF_A_NETWORK = ("predict", "fit", "loss", "accuracy", "add", "train_step", "train_on_batch", "evaluate")
#: Arguments that are objects, and not arrays or numbers.
OBJECTS = ("net", "network", "model", "layer", "layers", "optimizer", "optimiser", "activation", "loss", "fn", "func")
#: The same where they need not be given: without them there is nothing to it.
OF_LAYERS = ("layers", "modules", "nodes", "model", "net", "network")
WEIGHTS = ("w", "weight", "weights", "kernel", "kernels", "filter", "filters")
BIASES = ("b", "bias", "biases")
VECTORS = ("gamma", "beta", "scale", "shift", "g")
SLOPES = ("alpha", "a", "slope", "negativeslope", "leak")
#: Settings by a part of the argument's name, the first that fits.
SETTINGS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("eps",), ("1e-05",)),
    (("momentum", "decay"), ("0.9",)),
    (("stride", "step"), ("1", "2")),
    (("pad",), ("0", "1")),
    (("pool", "kernel", "window", "filtersize", "ksize", "filterh", "filterw"), ("2", "(2, 2)")),
    (("ratio", "rate", "drop", "prob", "keep"), ("0.5",)),
    (("min", "low"), ("-1.0",)),
    (("max", "high", "upper"), ("1.0",)),
    (("seed",), ("0",)),
    (("mode",), ("'train'",)),
    (("training", "istrain", "trainflg"), ("True",)),
)
#: Dictionaries of settings, as the assignments of CS231n have them, by a part of the argument's name.
DICTIONARIES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("conv",), "{'stride': 1, 'pad': 1}"),
    (("pool",), "{'pool_height': 2, 'pool_width': 2, 'stride': 2}"),
    (("drop",), "{'mode': 'train', 'p': 0.5, 'seed': 123}"),
    (("bn", "ln", "norm", "sbn", "gn"), "{'mode': 'train'}"),
)
OF_SIZES = ("num", "feature", "dim", "channel", "size", "units", "hidden", "neurons", "width")
#: The same of a whole word.
SIZE_WORDS = frozenset({"in", "out", "n", "d", "c", "nin", "nout"})
#: Attempts for each form of an input; each takes a few calls on small arrays.
ATTEMPTS = 24
#: Names that mean something else in a calling: what is handed to backward, and the axes of parameters.
TAKEN = frozenset({"x", "dout", "lr", "cache", "output", "forward", *SIZES} - {"W", "H"})
#: An input as wide as this is moved entry by entry in a second.
LARGEST_SIDE = 64
#: How many questions an attempt answers with yes before gradients are looked at: made, forward, output, backward.
RAN = 4


def attempts_at_own(module: Any, name: str, given: Any, backward: str, told: Told) -> list[tuple[str, Attempt]]:
    """The way to call it that runs and fits, with the name of its record. Raises UnknownCallingError for none.

    ``backward`` is the name of the function that goes with ``given``, where that is a function.
    """
    # The others are about the arguments of a record: which axis of these is the batch is found out by trying.
    told = Told(gradients=told.gradients)
    _refuse(given)
    refused: list[UnknownCallingError] = []
    failed: list[tuple[Attempt, str]] = []
    unchanged: list[tuple[str, Attempt]] = []
    for axes in (*_forms_of_what_it_holds(given), *FORMS):
        for record, calling in itertools.islice(_ways(module, given, backward, axes), ATTEMPTS):
            try:
                attempt = attempt_at(module, name, KNOWN[record], calling, told)
            except UnknownCallingError as error:
                refused.append(error)
                continue
            if not _runs(attempt):
                failed.append((attempt, record.partition(": ")[2]))
                continue
            found = _with_its_own_parameters(module, name, record, attempt, told)
            found = _of_one_size(module, name, *found)
            _require_repeatable(module, name, *found)
            if not _gives_its_input_back(*found):
                return [found]
            # That says nothing of what it does to inputs of another form: flattening leaves a row what it is.
            unchanged.append(found)
            break
    if unchanged:
        return unchanged[:1]
    if refused:
        # It runs to the end, and that it updates itself is why it cannot be asked.
        raise refused[0]
    raise UnknownCallingError(_why_not(*max(failed, key=lambda tried: len(tried[0].fits))))


def _forms_of_what_it_holds(given: Any) -> Iterator[Axes]:
    """Batches of as many features as a side of an array that it holds: what needs no arguments may be of any size."""
    if not isinstance(given, type) or required_arguments(given, bound=False):
        return
    try:
        held = [values.shape for _, values in places_in(given(), "self")]
    except Exception:
        # What it raises is said of the other forms.
        return
    sides = {side for shape in held for side in shape[:2] if 1 < side <= LARGEST_SIDE}
    yield from (("N", str(side)) for side in sorted(sides))


def _runs(attempt: Attempt) -> bool:
    """Whether everything ran, and the gradient of the input has its shape; that of a parameter may be a fault."""
    is_float = attempt.value is not None and attempt.value.dtype.kind == "f"
    return len(attempt.fits) > RAN and all(attempt.fits[: RAN + 1]) and is_float and not attempt.raised


def _why_not(furthest: Attempt, where: str) -> str:
    """Why the attempt that came furthest, with the arguments that are written out in ``where``, is not taken."""
    if furthest.raised:
        step = ("its constructor", "its forward", "its backward", "its backward")[min(len(furthest.fits), 3)]
        # What a constructor raises says so already.
        is_said = furthest.raised.startswith("the constructor")
        what = furthest.raised if is_said else f"{step} raised {furthest.raised}"
    elif furthest.value is not None and furthest.value.dtype.kind != "f":
        what = f"its forward gives {furthest.value.dtype}, which has no derivative"
    else:
        what = "its backward gives no gradient of the shape of its input"
    return f"no layer is known by this name, and no way to call it was found: {what} (given {where})"


def _refuse(given: Any) -> None:
    """Raises UnknownCallingError for what is no layer, although it has a forward and a backward."""
    if isinstance(given, type):
        has = [n for n in OF_A_NETWORK if has_method(given, n)]
        if has:
            raise UnknownCallingError(f"it is a network or a loss by its methods ({', '.join(has)}), of no known form")
        objects = [n for n in required_arguments(given, bound=False) if plain(n) in OBJECTS]
        objects += [n for n in inspect.signature(given).parameters if plain(n) in OF_LAYERS and n not in objects]
        if objects:
            raise UnknownCallingError(f"it is made from another object ({', '.join(objects)})")
    required = _taken_by_forward(given)
    others = [n for n in required[1:] if plain(n) in TARGETS or not _choices_by_name(n, FORMS[0])]
    if others or not required:
        wants = f"({', '.join(required)})"
        raise UnknownCallingError(f"no layer is known by this name, and its forward takes {wants}: not one input")


def _taken_by_forward(given: Any) -> list[str]:
    if isinstance(given, type):
        return required_arguments(getattr(given, methods_of(given)[0]))
    return required_arguments(given, bound=False)


# --------------------------------------------------------------------------- ways to call it


def _ways(module: Any, given: Any, backward: str, axes: Axes) -> Iterator[tuple[str, Calling]]:
    """The names of records with an input of the axes, and callings to go with them, the likeliest first."""
    made = required_arguments(given, bound=False) if isinstance(given, type) else []
    rate = made[-1:] if plain("".join(made[-1:])) in LEARNING_RATES and len(made) > 1 else []
    _, *taken = _taken_by_forward(given)
    wanted = [name for name in made if name not in rate] + taken
    choices = [_choices(name, axes) for name in wanted]
    # Those that are all near the front of their lists before those of which one is far behind.
    ranked = sorted(itertools.product(*(range(len(c)) for c in choices)), key=sum)
    for ranks in ranked:
        arguments, handed, last = {"x": axes}, [], _last(axes)
        fixed: dict[str, str] = {}
        for name, options, rank in zip(wanted, choices, ranks, strict=True):
            choice = options[rank]
            handed.append(choice if isinstance(choice, str) else name)
            if not isinstance(choice, str):
                arguments[name] = choice
            elif choice in _shapes(axes):
                fixed |= {axis: str(_side(axis)) for axis in axes if axis != "N"}
            elif choice == str(_side(last)) and len(SIZES.get(last, ())) > 1:
                # It may be the size of the input, which then has no other.
                fixed[last] = choice
        record = own_name({n: tuple(fixed.get(axis, axis) for axis in shape) for n, shape in arguments.items()})
        split = len(made) - len(rate)
        makes: Axes = (*handed[:split], *("lr" for _ in rate))
        takes: Axes = ("x", *handed[split:])
        for called in _callings(module, given, backward, makes, takes, record):
            yield record, called


def _callings(
    module: Any, given: Any, backward: str, made_from: Axes, forward_takes: Axes, record: str
) -> Iterator[Calling]:
    if not isinstance(given, type):
        calling = Calling(FUNCTIONS, given.__name__, backward, (), forward_takes)
        yield from with_backward(calling, getattr(module, backward), KNOWN[record], bound=False)
        return
    forward, its_backward = methods_of(given)
    zero_grad = next((n for n in ZERO_GRADS if hasattr(given, n)), "")
    calling = Calling(CLASS, forward, its_backward, made_from, forward_takes, zero_grad=zero_grad)
    yield from with_backward(calling, getattr(given, its_backward), KNOWN[record])


def _choices(name: str, axes: Axes) -> list[Choice]:
    """What may be handed in for an argument of that name, the likeliest first."""
    known = _choices_by_name(name, axes)
    last = _last(axes)
    return known or ["2", str(_side(last)), "0.5", *([] if name in TAKEN else [(last,)])]


def _choices_by_name(name: str, axes: Axes) -> list[Choice]:
    """The same of a name that says what it is; nothing for any other."""
    wanted = plain(name)
    is_image, last = "C" in axes, _last(axes)
    vectors: list[Choice] = [(last,), ("1", "C", "1", "1") if is_image else ("1", last)]
    weights: list[Choice] = [("FN", "C", "FH", "FW"), ("FN", "C", "3", "3")] if is_image else [(last, "M")]
    if wanted in WEIGHTS:
        return [*weights, *vectors]
    if wanted in BIASES:
        return [("FN",) if is_image else ("M",), *vectors, ("1", "FN" if is_image else "M")]
    if wanted in VECTORS:
        return vectors
    if wanted in SLOPES:
        return [(last,), (), "0.25"]
    for words, written in DICTIONARIES:
        if wanted.endswith(("param", "params", "config", "cfg")) and any(word in wanted for word in words):
            return [written]
    for words, settings in SETTINGS:
        if any(word in wanted for word in words):
            return list(settings)
    side = str(_side(last))
    if "shape" in wanted:
        return _shapes(axes)
    if any(word in wanted for word in OF_SIZES) or not SIZE_WORDS.isdisjoint(name.lower().split("_")):
        other = str(SIZES["FN" if is_image else "M"][0])
        return [other, side] if wanted.startswith(("out", "num_filters", "numfilters")) else [side, other]
    return ["0.5"] if wanted == "p" else []


def _shapes(axes: Axes) -> list[Choice]:
    """The shape of a sample, as a constructor may want it: that of the input, which then has no other."""
    return [str(tuple(_side(axis) for axis in axes if axis != "N"))]


def _side(axis: str) -> int:
    """What an axis has where it is tried."""
    return int(axis) if axis.isdigit() else SIZES[axis][0]


def _last(axes: Axes) -> str:
    """The axis that has an entry for each parameter: features, or channels of an image."""
    return "C" if "C" in axes else axes[-1]


# --------------------------------------------------------------------------- what it holds


def _with_its_own_parameters(module: Any, name: str, record: str, attempt: Attempt, told: Told) -> tuple[str, Attempt]:
    """The same with the parameters that the object holds, where their gradients are beside them after a backward."""
    calling, spec = attempt.calling, KNOWN[record]
    if calling.kind != CLASS:
        return record, attempt
    given = probe(spec)
    layer = ForeignLayer(spec, module, name, calling, given.parameters)
    made = {place: np.array(values) for place, values in places_in(layer._object, "self")}
    layer._first_output(given.inputs)
    layer._backward(np.ones(np.shape(layer._known["output"])))
    after = dict(places_in(layer._object, "self")) | {
        place: np.zeros(()) for place in numbers_in(layer._object, "self")
    }
    known = {calling.parameters.get(parameter) for parameter in spec.parameters}
    held = {
        _name_of(place): values.shape
        for place, values in made.items()
        if place not in known and _has_gradient(place, values, after, updates="lr" in calling.backward_takes)
    }
    held = {n: shape for n, shape in held.items() if n.isidentifier() and n not in TAKEN}
    unasked = tuple(n for n in _unasked(layer, given) if n.removeprefix("d") not in {*held, *spec.parameters})
    if not held:
        return record, replace(attempt, calling=replace(calling, unasked=unasked))
    # Arrays that it holds have the sizes of this input: it was made for them, or takes whatever comes.
    sizes = dict(zip(spec.axes_of("x"), map(str, given.inputs["x"].shape), strict=True)) | {"N": "N"}
    arguments = {a.name: tuple(sizes.get(axis, axis) for axis in a.axes) for a in spec.arguments}
    widened = own_name({**arguments, **{n: tuple(map(str, shape)) for n, shape in held.items()}})
    try:
        found = attempt_at(module, name, KNOWN[widened], replace(_bare(calling), unasked=unasked), told)
    except UnknownCallingError:
        found = attempt
    if _runs(found) and found is not attempt:
        return widened, found
    return record, replace(attempt, calling=replace(calling, unasked=(*(f"d{n}" for n in held), *unasked)))


def _of_one_size(module: Any, name: str, record: str, attempt: Attempt) -> tuple[str, Attempt]:
    """The same with the sizes of the input fixed, where forward takes no others: something that it holds has a size."""
    spec = KNOWN[record]
    other = probe(spec, with_other_sizes=True)
    try:
        ForeignLayer(spec, module, name, attempt.calling, other.parameters)._first_output(other.inputs)
    except Exception:
        # Of the first argument alone, which has each of them.
        sides = zip(spec.arguments[0].axes, probe(spec).inputs["x"].shape, strict=True)
        fixed = {axis: str(side) for axis, side in sides if axis != "N"}
        return own_name({a.name: tuple(fixed.get(axis, axis) for axis in a.axes) for a in spec.arguments}), attempt
    return record, attempt


def _bare(calling: Calling) -> Calling:
    """The calling as it was before it was tried."""
    return replace(calling, output="returned", cache="", input_gradients=("returned",), parameters={}, gradients={})


def _name_of(place: str) -> str:
    """The name of the parameter that lies at a place: of the object that holds it, where that has the name."""
    last = last_name(place)
    return container_name(place) if plain(last) in HELD_BY_OBJECTS else last


def _has_gradient(place: str, values: Array, after: Mapping[str, Array], *, updates: bool) -> bool:
    name = _name_of(place)
    if not name or values.dtype.kind != "f" or plain(container_name(place)) in CONTAINERS:
        return False
    if updates and place in after and not np.array_equal(after[place], values):
        return True
    beside = f"{place.rsplit('.', 1)[0]}.grad"
    return any(
        other != place
        and (
            other == beside
            or is_named_for_gradient(last_name(other), name, values.ndim)
            or (plain(container_name(other)) in CONTAINERS and last_name(other) == name)
        )
        for other in after
    )


def _unasked(layer: ForeignLayer, given: Arrays) -> tuple[str, ...]:
    """The gradients of what cannot be replaced: a number (alpha = 0.25, dalpha), or an array made by a forward."""
    numbers = {last_name(place) for place in numbers_in(layer._object, "self")}
    arrays = {last_name(place): values for place, values in places_in(layer._object, "self", depth=1)}
    # An input that is kept for backward is as large as that, and a parameter is not.
    small = {n for n, values in arrays.items() if all(values.shape != x.shape for x in given.inputs.values())}
    return tuple(
        f"d{n}"
        for n in sorted(numbers | small)
        if any(other != n and is_named_for_gradient(other, n, 0) for other in numbers | arrays.keys())
    )


# --------------------------------------------------------------------------- whether it can be differentiated


def _require_repeatable(module: Any, name: str, record: str, attempt: Attempt) -> None:
    """Raises UnknownCallingError where the same input gives another output, on the same instance or on another."""
    spec, given = KNOWN[record], probe(KNOWN[record])
    layers = [ForeignLayer(spec, module, name, attempt.calling, given.parameters) for _ in range(2)]
    values = [np.array(layer._first_output(given.inputs)) for layer in (layers[0], layers[0], layers[1])]
    if not all(np.array_equal(values[0], other, equal_nan=True) for other in values):
        raise UnknownCallingError(
            "its forward gives another result each time for the same input: let the randomness come from NumPy's "
            "global generator (np.random.rand, np.random.randn), which is seeded before every call here"
        )


def _gives_its_input_back(record: str, attempt: Attempt) -> bool:
    given = probe(KNOWN[record])
    x = next(iter(given.inputs.values()))
    return attempt.value is not None and np.array_equal(attempt.value, x)


__all__ = ["attempts_at_own"]
