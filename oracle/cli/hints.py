"""What the user says about layers where it cannot be guessed: options of the command line, and ``[tool.oracle]``."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oracle.errors import InputError


def add(command: argparse.ArgumentParser) -> None:
    """Add the options to a command."""
    group = command.add_argument_group("what cannot be guessed", "also in pyproject.toml, under [tool.oracle]")
    group.add_argument("--as", dest="taken_for", metavar="LAYER", help="what FILE::Name is, such as Affine or Relu")
    group.add_argument("--grads", metavar="W=PLACE,…", help="where gradients are: W=dLdW,b=grads['bias'],…")
    group.add_argument(
        "--layout", choices=("rows", "columns"), help="whether a batch lies in rows, x (N, D), or in columns"
    )
    group.add_argument("--weights", choices=("in,out", "out,in"), help="the shape of W")
    group.add_argument(
        "--reduction", choices=("sum", "layer"), help="layer: dW and db are averages over the batch on purpose"
    )


def hints_for(file: Path, name: str | None, arguments: argparse.Namespace) -> Any:
    """The `Hints` for a file: those of the nearest pyproject.toml, and over them the options.

    Raises InputError for what nobody understands.
    """
    from oracle.subjects.remote import Hints
    from oracle.subjects.told import KEYS, known_record, told_from

    place, settings = _settings(file)
    of_layers = settings.pop("layers", {})
    taken_for = {n: known_record(v, place) for n, v in _table(settings.pop("as", {}), f"{place}: as").items()}
    options = {key: getattr(arguments, key) for key in KEYS[1:] if getattr(arguments, key) is not None}
    if arguments.taken_for is not None:
        if name is None:
            raise InputError("--as needs the layer that it is said of: oracle check FILE::Name --as Affine")
        taken_for[name] = known_record(arguments.taken_for, "--as")
    told = told_from({**settings, **options}, place)
    told_of = {}
    for layer, own in _table(of_layers, f"{place}: layers").items():
        table = dict(_table(own, f"{place}: layers.{layer}"))
        if "as" in table:
            taken_for[layer] = known_record(table.pop("as"), place)
        told_of[layer] = told_from({**settings, **table, **options}, f"{place}: layers.{layer}")
    return Hints(taken_for, told, told_of)


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
