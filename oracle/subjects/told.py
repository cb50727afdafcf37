"""What the user says of a layer where it cannot be guessed, in the words of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oracle.catalog.variants import KNOWN
from oracle.errors import InputError
from oracle.subjects.conventions.places import require_place
from oracle.subjects.conventions.recognition import Told

LAYOUTS = ("rows", "columns")
WEIGHTS = ("in,out", "out,in")
REDUCTIONS = ("sum", "layer")
#: The keys of ``[tool.oracle]``, and of ``[tool.oracle.layers.NAME]`` for one layer.
KEYS = ("as", "grads", "layout", "weights", "reduction")


def known_record(name: object, place: str) -> str:
    """The name of the record that people call so; ``place`` is where the name was read. Raises InputError."""
    wanted = str(name).lower().replace("_", "")
    for record in KNOWN.values():
        if wanted in (record.name.lower().replace("_", ""), *record.known_as):
            return record.name
    names = ", ".join(f"{record!r}" if "," in record else record for record in KNOWN)
    raise InputError(f"{place}: {name} is no layer that is known; one of these is required: {names}")


def told_from(settings: Mapping[str, Any], place: str) -> Told:
    """What ``settings`` say, which were read at ``place``. Raises InputError for what nobody understands."""
    unknown = settings.keys() - set(KEYS)
    if unknown:
        raise InputError(f"{place}: {', '.join(sorted(unknown))} is unknown; the keys are {', '.join(KEYS)}, layers")
    told = Told()
    if "grads" in settings:
        told = replace(told, gradients=_gradients(settings["grads"], place))
    if "layout" in settings:
        told = replace(told, in_columns=_choice(settings["layout"], LAYOUTS, f"{place}: layout") == "columns")
    if "weights" in settings:
        told = replace(told, out_first=_choice(settings["weights"], WEIGHTS, f"{place}: weights") == "out,in")
    if "reduction" in settings:
        is_average = _choice(settings["reduction"], REDUCTIONS, f"{place}: reduction") == "layer"
        told = replace(told, averages_gradients=is_average)
    return told


def _choice(given: object, choices: tuple[str, ...], place: str) -> str:
    plain = str(given).replace(" ", "")
    if plain not in choices:
        raise InputError(f"{place} is {given!r}; one of {', '.join(choices)} is required")
    return plain


def _gradients(given: object, place: str) -> dict[str, str]:
    pairs = dict(given) if isinstance(given, Mapping) else {}
    if not isinstance(given, Mapping):
        for part in str(given).split(","):
            name, equals, where = part.partition("=")
            if not (name.strip() and equals and where.strip()):
                raise InputError(f"{place}: grads: {part!r} is not NAME=PLACE, such as W=dLdW")
            pairs[name.strip()] = where.strip()
    try:
        return {str(name): require_place(str(where)) for name, where in pairs.items()}
    except ValueError as error:
        raise InputError(f"{place}: grads: {error}") from error
