"""The ways in which a layer or a loss that nobody knows may be called: names of records, with callings to each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from oracle.catalog.own import SIZES, own_name
from oracle.catalog.record import BATCH
from oracle.catalog.variants import KNOWN
from oracle.subjects.conventions.calling import CLASS, FUNCTIONS, Calling
from oracle.subjects.conventions.guesses import (
    TAKEN,
    Axes,
    Choice,
    Sizes,
    choices,
    choices_by_name,
    choices_for_input,
    is_size_of_output,
    is_state,
    side_of,
    sizes_to_try,
)
from oracle.subjects.conventions.places import LEARNING_RATES, plain
from oracle.subjects.conventions.recognition import (
    ZERO_GRADS,
    are_targets,
    methods_of,
    required_arguments,
    with_backward,
)

#: Attempts for each form of an input; each takes a few calls on small arrays.
ATTEMPTS = 24


def taken_by_forward(given: Any) -> list[str]:
    """The names of the arguments that forward must be given."""
    if isinstance(given, type):
        return required_arguments(getattr(given, methods_of(given)[0]))
    return required_arguments(given, bound=False)


def ways_to_call(
    module: Any, given: Any, backward: str, axes: Axes, words: Mapping[str, str]
) -> Iterator[tuple[str, Calling]]:
    """The names of records with an input of the axes, and callings to go with them, the likeliest first.

    With ``words`` they are those of a loss, whose targets have the axes too.
    """
    made = required_arguments(given, bound=False) if isinstance(given, type) else []
    rate = made[-1:] if plain("".join(made[-1:])) in LEARNING_RATES and len(made) > 1 else []
    made = made[: len(made) - len(rate)]
    first, *taken = taken_by_forward(given)
    own: tuple[str, ...] = ("x",)
    if words:
        is_target = are_targets([first, *taken[:1]])
        own = ("t", "x") if is_target[0] and not is_target[1] else ("x", "t")
        taken = taken[1:]
    several = not words and any(_is_input(name, first, Sizes(axes)) for name in taken)
    # One input is x; of several each keeps its name, unless that means something else in a calling.
    x = first if several and first not in TAKEN else "x"
    own = own if words else (x,)
    meant = TAKEN - {"x"} if words else TAKEN - {"x", "t"}
    names = [f"{name}2" if name in meant or name == x else name for name in taken]
    for sizes in sizes_to_try(axes, [*made, *taken], has_several_inputs=several, is_loss=bool(words)):
        options = [choices(name, sizes) for name in made]
        options += [_choices_for_forward(name, first, sizes) for name in taken]
        ways = _records_and_arguments([*made, *names], options, sizes, x, words)
        called = (
            (record, calling)
            for record, handed in ways
            for calling in _callings(
                module,
                given,
                backward,
                (*handed[: len(made)], *("lr" for _ in rate)),
                (*own, *handed[len(made) :]),
                record,
            )
        )
        yield from itertools.islice(called, ATTEMPTS)


def _is_input(name: str, first: str, sizes: Sizes) -> bool:
    """Whether what forward takes beside its first argument is another input: no name of a setting or a parameter."""
    # Beside a it is no bias.
    is_beside_another = plain(first) == "a" and plain(name) == "b"
    return is_beside_another or is_state(name) or not choices_by_name(name, sizes)


def _choices_for_forward(name: str, first: str, sizes: Sizes) -> list[Choice]:
    """What may be handed to forward beside its first argument."""
    if sizes.is_loss or not _is_input(name, first, sizes):
        return choices(name, sizes)
    return choices_for_input(name, sizes)


def _records_and_arguments(
    names: list[str], options: list[list[Choice]], sizes: Sizes, x: str, words: Mapping[str, str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The names of records with a first input ``x``, and what is handed in for each name; the likeliest first."""
    axes, last = sizes.axes, sizes.last
    # Those that are all near the front of their lists before those of which one is far behind.
    for ranks in sorted(itertools.product(*(range(len(c)) for c in options)), key=sum):
        arguments, handed = dict.fromkeys((x, *(n for n in words if n != x)), axes), []
        fixed: dict[str, str] = {}
        for name, listed, rank in zip(names, options, ranks, strict=True):
            choice = listed[rank]
            handed.append(choice if isinstance(choice, str) else name)
            if not isinstance(choice, str):
                arguments[name] = choice
            elif choice == sizes.shape:
                fixed |= {axis: str(side_of(axis)) for axis in axes if axis != BATCH}
            elif choice == str(side_of(last)) and len(SIZES.get(last, ())) > 1:
                # It may be the size of the input, which then has no other.
                fixed[last] = choice
            elif choice == str(side_of("M")) and is_size_of_output(name):
                fixed["M"] = choice
        inputs = [n for n, shape in arguments.items() if n == x or shape[:1] == (BATCH,)]
        ordered = [*inputs, *(n for n in arguments if n not in inputs)]
        record = own_name({n: tuple(fixed.get(axis, axis) for axis in arguments[n]) for n in ordered}, words)
        yield record, tuple(handed)


def _callings(
    module: Any, given: Any, backward: str, made_from: Axes, forward_takes: Axes, record: str
) -> Iterator[Calling]:
    if not isinstance(given, type):
        calling = Calling(FUNCTIONS, given.__name__, backward, (), forward_takes)
        if not backward:
            yield replace(calling, backward_takes=(), output="returned[0]", input_gradients=("returned[1]",))
            return
        yield from with_backward(calling, getattr(module, backward), KNOWN[record], bound=False)
        return
    forward, its_backward = methods_of(given)
    zero_grad = next((n for n in ZERO_GRADS if hasattr(given, n)), "")
    calling = Calling(CLASS, forward, its_backward, made_from, forward_takes, zero_grad=zero_grad)
    yield from with_backward(calling, getattr(given, its_backward), KNOWN[record])
