"""A layer whose name nobody knows, recognised by trying: what its input looks like, what makes it, what it holds.

How it may be called, and with what, is guessed from the names of arguments (`oracle.subjects.conventions.ways` and
`.guesses`). The forms of an input are tried from the simplest on, and of each the likeliest guesses first; what runs
from end to end and gives a gradient of the shape of its input is taken. What forward takes besides may be other inputs,
each with a gradient, or the targets of a loss. Parameters that it holds are those whose gradients its backward leaves
beside them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from oracle.catalog.case import Arrays
from oracle.catalog.own import FORMS, PROBABILITIES, TARGET_FORMS, own_name
from oracle.catalog.record import BATCH, Array, LayerSpec
from oracle.catalog.variants import KNOWN
from oracle.subjects.conventions.calling import CLASS, UPDATE, Calling
from oracle.subjects.conventions.guesses import TAKEN, Axes, Sizes, choices_by_name
from oracle.subjects.conventions.layer import ForeignLayer
from oracle.subjects.conventions.places import (
    CONTAINERS,
    container_name,
    is_named_for_gradient,
    last_name,
    numbers_in,
    places_in,
    plain,
)
from oracle.subjects.conventions.recognition import (
    HELD_BY_OBJECTS,
    Attempt,
    Told,
    UnknownCallingError,
    are_targets,
    attempt_at,
    has_method,
    parts_of,
    probe,
    required_arguments,
)
from oracle.subjects.conventions.ways import taken_by_forward, ways_to_call

#: Methods by which something is a network or a loss, whose forward and backward are made of others'.
OF_A_NETWORK = ("predict", "fit", "loss", "accuracy", "add", "train_step", "train_on_batch", "evaluate")
#: Arguments that are objects, and not arrays or numbers.
OBJECTS = ("net", "network", "model", "layer", "layers", "optimizer", "optimiser", "activation", "loss", "fn", "func")
#: The same where they need not be given: without them there is nothing to it.
OF_LAYERS = ("layers", "modules", "nodes", "model", "net", "network")
#: Parts of the names of losses.
OF_A_LOSS = (
    *("loss", "error", "cost", "criterion", "entropy", "hinge", "huber", "likelihood"),
    *("objective", "focal", "divergence"),
)
#: Of these, those of probabilities; and what probabilities are called.
OF_AN_ENTROPY = ("entropy", "focal", "divergence", "likelihood", "logloss", "bce", "nll", "kl")
OF_PROBABILITIES = ("p", "prob", "probs", "proba", "probability", "probabilities")
#: What NumPy says where an index is a float.
INDICES = "arrays used as indices must be of integer"
#: An input as wide as this is moved entry by entry in a second.
LARGEST_SIDE = 64
#: How many questions an attempt answers with yes before gradients are looked at: made, forward, output, backward.
RAN = 4
#: What targets may be to a loss of any numbers, in this order; and to one that takes logarithms.
OF_NUMBERS = tuple({"t": form} for form in TARGET_FORMS if form != "soft")
OF_LOGARITHMS = tuple({"x": PROBABILITIES, "t": form} for form in ("labels", "one-hot", "soft"))


def attempts_at_own(module: Any, name: str, given: Any, backward: str, told: Told) -> list[tuple[str, Attempt]]:
    """The way to call it that runs and fits, with the name of its record. Raises UnknownCallingError for none.

    ``backward`` is the name of the function that goes with ``given``, where that is a function; empty where that gives
    a loss and its gradient together.
    """
    _refuse(given)
    # The others are about the arguments of a record: which axis of these is the batch is found out by trying.
    search = _Search(module, name, given, backward, Told(gradients=told.gradients))
    is_loss_first = _sounds_like_a_loss(name, given) or not (isinstance(given, type) or backward)
    if is_loss_first:
        found = search.loss()
        # With a gradient for what would be its targets it has two inputs, as far as names and gradients tell.
        gives_two = found is not None and "dt" in found[1].calling.unasked
        if found is None or (gives_two and not any(are_targets(taken_by_forward(given)[:2]))):
            found = search.layer() or found
    else:
        found = search.layer() or search.loss()
    if found is None:
        raise search.reason()
    return [found]


class _Search:
    """What was tried of one thing, and why it did not do."""

    def __init__(self, module: Any, name: str, given: Any, backward: str, told: Told) -> None:
        self._module, self._name, self._given, self._backward, self._told = module, name, given, backward, told
        self._refused: list[UnknownCallingError] = []
        self._failed: list[tuple[Attempt, str]] = []

    def layer(self) -> tuple[str, Attempt] | None:
        """It as a layer: every argument of forward that is no setting has a gradient."""
        if not (isinstance(self._given, type) or self._backward):
            return None
        unchanged: list[tuple[str, Attempt]] = []
        for axes in (*_forms_of_what_it_holds(self._given), *FORMS):
            tried = self._first_that_runs(axes, {})
            if tried is None:
                continue
            found = _with_its_own_parameters(self._module, self._name, *tried, self._told)
            found = _of_one_size(self._module, self._name, *found)
            _require_repeatable(self._module, self._name, *found)
            if not _gives_its_input_back(*found):
                return found
            # That says nothing of what it does to inputs of another form: flattening leaves a row what it is.
            unchanged.append(found)
        return unchanged[0] if unchanged else None

    def loss(self) -> tuple[str, Attempt] | None:
        """It as a loss: one number of an input and targets, with the gradient of the input alone.

        Of the forms of targets that run it is the first with which the gradient is the slope of the loss: a loss of
        one-hot rows may be given any numbers, and is then no longer what its backward is the derivative of. Where the
        gradient is wrong with all of them, the first.
        """
        _, *others = taken_by_forward(self._given)
        # Beside an input and targets there may be settings.
        more = [n for n in others[1:] if not choices_by_name(n, Sizes(FORMS[0], is_loss=True))]
        if more and any(are_targets(taken_by_forward(self._given)[:2])):
            self._refused.append(
                UnknownCallingError(
                    f"no layer is known by this name, and its forward takes {', '.join(more)} beside an input and "
                    "targets: give that a default, or hand it to the constructor"
                )
            )
        if more or not others:
            return None
        for axes in FORMS:
            ran = [self._first_that_runs(axes, words) for words in OF_NUMBERS]
            running = [one for one in ran if one is not None]
            if not any(attempt.is_own_slope for _, attempt in running) and self._may_take_logarithms(running):
                of_logarithms = (self._first_that_runs(axes, words) for words in OF_LOGARITHMS)
                running += [one for one in of_logarithms if one is not None]
            if running:
                found = next((one for one in running if one[1].is_own_slope), running[0])
                found = _without_gradient_of_targets(self._module, self._name, *found)
                found = _of_one_size(self._module, self._name, *found)
                _require_repeatable(self._module, self._name, *found)
                return found
        return None

    def reason(self) -> UnknownCallingError:
        """Why nothing did."""
        if self._refused:
            # It runs to the end, and that it updates itself is why it cannot be asked.
            return self._refused[0]
        return UnknownCallingError(_why_not(*max(self._failed, key=lambda tried: min(len(tried[0].fits), RAN + 1))))

    def _first_that_runs(self, axes: Axes, words: Mapping[str, str]) -> tuple[str, Attempt] | None:
        """The first way that runs with an input of the axes; with ``words``, as a loss with such targets."""
        for record, calling in ways_to_call(self._module, self._given, self._backward, axes, words):
            try:
                attempt = attempt_at(self._module, self._name, KNOWN[record], calling, self._told)
            except UnknownCallingError as error:
                self._refused.append(error)
                continue
            if _runs(attempt, KNOWN[record]):
                return record, attempt
            self._failed.append((attempt, record))
        return None

    def _may_take_logarithms(self, running: list[tuple[str, Attempt]]) -> bool:
        """Whether a loss gives nothing finite of any numbers, or is called like one that takes logarithms.

        Such a loss may cut what is outside of 0 and 1 off, where its backward is then no derivative.
        """
        is_called = any(word in plain(self._name) for word in OF_AN_ENTROPY)
        is_called |= any(plain(name) in OF_PROBABILITIES for name in taken_by_forward(self._given)[:2])
        return is_called or (
            not running and any(a.value is not None and not _is_finite(a.value) for a, _ in self._failed)
        )


def may_be_a_loss(name: str, function: Any) -> bool:
    """Whether a function of its own is called like a loss, and takes two arguments: it may give its gradient too."""
    return any(word in plain(name) for word in OF_A_LOSS) and len(required_arguments(function, bound=False)) == 2


def _sounds_like_a_loss(name: str, given: Any) -> bool:
    """Whether its name, or that of an argument of forward, is one that losses have."""
    return any(word in plain(name) for word in OF_A_LOSS) or any(are_targets(taken_by_forward(given)[:2]))


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


def _runs(attempt: Attempt, record: LayerSpec) -> bool:
    """Whether everything ran, and the gradient of the input has its shape; that of another argument may be a fault."""
    ran = len(attempt.fits) > RAN and all(attempt.fits[: RAN + 1]) and not attempt.raised
    if not ran or attempt.value is None or attempt.value.dtype.kind != "f":
        return False
    return _has_gradient_for_each(attempt, record) and (not record.is_loss or _is_finite(attempt.value))


def _has_gradient_for_each(attempt: Attempt, record: LayerSpec) -> bool:
    """Whether every argument has a gradient of its own: what gives one for two may be no function of the second."""
    places = (*attempt.calling.input_gradients, *attempt.calling.gradients.values())
    own = [place for place in places if place != UPDATE]
    return len(set(own)) == len(own)


def _is_finite(value: Array) -> bool:
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


def _why_not(furthest: Attempt, name: str) -> str:
    """Why the attempt that came furthest, with the arguments that its record's name spells out, is not taken."""
    record, value = KNOWN[name], furthest.value
    taken = [n for n in furthest.calling.forward_takes if n in record.differentiated]
    if INDICES in furthest.raised and not record.is_loss:
        what = (
            "its forward takes indices, which have no derivative: give them to the constructor, and let forward take "
            "the array that they pick from"
        )
    elif furthest.raised:
        step = ("its constructor", "its forward", "its backward", "its backward")[min(len(furthest.fits), 3)]
        # What a constructor raises says so already.
        is_said = furthest.raised.startswith("the constructor")
        what = furthest.raised if is_said else f"{step} raised {furthest.raised}"
    elif value is not None and value.dtype.kind != "f":
        what = f"its forward gives {value.dtype}, which has no derivative"
    elif value is not None and record.is_loss and value.shape != ():
        what = f"its forward gives an array of shape {value.shape}, and a loss is one number: return its mean or sum"
    elif value is not None and not _is_finite(value):
        what = "its forward gives what is not finite"
    elif len(taken) > 1 and not _has_gradient_for_each(furthest, record):
        what = (
            f"its backward does not give a gradient for each of {', '.join(taken)}: return them in this order, and "
            "give an argument that has none a default"
        )
    else:
        what = "its backward gives no gradient of the shape of its input"
    given = name.partition(": ")[2]
    return f"no layer is known by this name, and no way to call it was found: {what} (given {given})"


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
    if not taken_by_forward(given):
        raise UnknownCallingError(
            "no layer is known by this name, and its forward needs no argument: let it take its input as one"
        )


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
    sizes = {
        axis: str(side)
        for a in spec.of_role("input")
        for axis, side in zip(a.axes, given.inputs[a.name].shape, strict=True)
    } | {BATCH: BATCH}
    arguments = {a.name: tuple(sizes.get(axis, axis) for axis in a.axes) for a in spec.arguments}
    widened = own_name({**arguments, **{n: tuple(map(str, shape)) for n, shape in held.items()}})
    try:
        found = attempt_at(module, name, KNOWN[widened], replace(_bare(calling), unasked=unasked), told)
    except UnknownCallingError:
        found = attempt
    if found is not attempt and _runs(found, KNOWN[widened]):
        return widened, found
    return record, replace(attempt, calling=replace(calling, unasked=(*(f"d{n}" for n in held), *unasked)))


def _of_one_size(module: Any, name: str, record: str, attempt: Attempt) -> tuple[str, Attempt]:
    """The same with the sizes of the input fixed, where forward takes no others: something that it holds has a size."""
    spec = KNOWN[record]
    other = probe(spec, with_other_sizes=True)
    try:
        ForeignLayer(spec, module, name, attempt.calling, other.parameters)._first_output(other.inputs)
    except Exception:
        # Of the inputs alone, which have each of them.
        given = probe(spec).inputs
        sides = [pair for a in spec.of_role("input") for pair in zip(a.axes, given[a.name].shape, strict=True)]
        fixed = {axis: str(side) for axis, side in sides if axis != BATCH}
        return _renamed(spec, fixed), attempt
    return record, attempt


def _renamed(spec: LayerSpec, fixed: Mapping[str, str]) -> str:
    """The name of the record with some axes of other sizes."""
    arguments = {a.name: tuple(fixed.get(axis, axis) for axis in a.axes) for a in spec.arguments}
    words = {a.name: PROBABILITIES for a in spec.arguments if a.values == PROBABILITIES}
    return own_name(arguments, words | {a.name: spec.target_forms[0] for a in spec.of_role("target")})


def _without_gradient_of_targets(module: Any, name: str, record: str, attempt: Attempt) -> tuple[str, Attempt]:
    """The same, saying that a gradient that it gives for its targets as well is not asked for."""
    calling, given = attempt.calling, probe(KNOWN[record])
    layer = ForeignLayer(KNOWN[record], module, name, calling, given.parameters)
    layer._first_output(given.inputs)
    if not calling.backward or len(dict(parts_of(layer.call_backward(given.dout), "returned"))) < 2:
        return record, attempt
    return record, replace(attempt, calling=replace(calling, unasked=("dt",)))


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


__all__ = ["attempts_at_own", "may_be_a_loss"]
