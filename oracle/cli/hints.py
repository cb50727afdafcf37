"""What the user says about layers where it cannot be guessed: options of the command line, and ``[tool.oracle]``."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from oracle.errors import InputError

LAYOUTS = ("rows", "columns")
WEIGHTS = ("in,out", "out,in")
REDUCTIONS = ("sum", "layer")
#: The keys of ``[tool.oracle]``, and of ``[tool.oracle.layers.NAME]`` for one layer.
KEYS = ("as", "grads", "layout", "weights", "reduction")


def add(command: argparse.ArgumentParser) -> None:
    """Add the options to a command."""
    group = command.add_argument_group("what cannot be guessed", "also in pyproject.toml, under [tool.oracle]")
    group.add_argument("--as", dest="taken_for", metavar="LAYER", help="what FILE::Name is, such as Affine or Relu")
    group.add_argument("--grads", metavar="W=PLACE,…", help="where gradients are: W=dLdW,b=grads['bias'],…")
    group.add_argument("--layout", choices=LAYOUTS, help="whether a batch lies in rows, x (N, D), or in columns")
    group.add_argument("--weights", choices=WEIGHTS, help="the shape of W")
    group.add_argument(
        "--reduction", choices=REDUCTIONS, help="layer: dW and db are averages over the batch on purpose"
    )


def hints_for(file: Path, name: str | None, arguments: argparse.Namespace) -> Any:
    """The `Hints` for a file: those of the nearest pyproject.toml, and over them the options.

    Raises InputError for what nobody understands.
    """
    from oracle.subjects.remote import Hints

    place, settings = _settings(file)
    of_layers = settings.pop("layers", {})
    taken_for = {n: known(v, place) for n, v in _table(settings.pop("as", {}), f"{place}: as").items()}
    options = {key: getattr(arguments, key) for key in KEYS[1:] if getattr(arguments, key) is not None}
    if arguments.taken_for is not None:
        if name is None:
            raise InputError("--as needs the layer that it is said of: oracle check FILE::Name --as Affine")
        taken_for[name] = known(arguments.taken_for, "--as")
    told = _told({**settings, **options}, place)
    told_of = {}
    for layer, own in _table(of_layers, f"{place}: layers").items():
        table = dict(_table(own, f"{place}: layers.{layer}"))
        if "as" in table:
            taken_for[layer] = known(table.pop("as"), place)
        told_of[layer] = _told({**settings, **table, **options}, f"{place}: layers.{layer}")
    return Hints(taken_for, told, told_of)


def known(name: object, place: str) -> str:
    """The name of the record that people call so."""
    from oracle.catalog.variants import KNOWN

    wanted = str(name).lower().replace("_", "")
    for record in KNOWN.values():
        if wanted in (record.name.lower().replace("_", ""), *record.known_as):
            return record.name
    names = ", ".join(f"{record!r}" if "," in record else record for record in KNOWN)
    raise InputError(f"{place}: {name} is no layer that is known; one of these is required: {names}")


def _settings(file: Path) -> tuple[str, dict[str, Any]]:
    """The table ``[tool.oracle]`` of the nearest pyproject.toml, and where it stands."""
    for folder in file.resolve().parents:
        place = folder / "pyproject.toml"
        if place.is_file():
            try:
                table = tomllib.loads(place.read_text(encoding="utf-8")).get("tool", {}).get("oracle", {})
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise InputError(f"{place}: this is no TOML ({error}); mend the file") from error
            return f"{place}: [tool.oracle]", dict(_table(table, f"{place}: [tool.oracle]"))
    return "the options", {}


def _table(given: object, place: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise InputError(f"{place} is {given!r}; a table is required")
    return given


def _told(settings: Mapping[str, Any], place: str) -> Any:
    from oracle.subjects.conventions.recognition import Told

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
    from oracle.subjects.conventions.places import require_place

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
