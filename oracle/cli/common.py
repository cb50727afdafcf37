"""What the commands share: options, kinds of values, and delivering a report."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

Commands = argparse._SubParsersAction  # what add_subparsers returns; argparse has no public name for it


def add_common(command: argparse.ArgumentParser) -> None:
    """The options that every command has."""
    command.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("reports"), help="where reports go (default: reports)"
    )
    command.add_argument("--json", metavar="FILE", help="write the JSON here as well; - is standard output")
    command.add_argument("--seed", metavar="N", type=seed, default=0, help="seed of all random numbers (default: 0)")
    command.add_argument("--quiet", action="store_true", help="print nothing but errors")


def add_mnist(command: argparse.ArgumentParser) -> None:
    """Where MNIST is."""
    command.add_argument(
        "--mnist",
        metavar="DIR",
        default=os.environ.get("MNIST_DIR") or None,
        help="directory with the MNIST files, IDX or CSV (default: the variable MNIST_DIR)",
    )


def seed(text: str) -> int:
    """A whole number that NumPy and hypothesis both take as a seed."""
    if not (text.isdecimal() and int(text) < 2**32):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return int(text)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def rate(text: str) -> float:
    """A positive, finite number."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def require_places(arguments: argparse.Namespace, *files: Path | None) -> None:
    """Refuse, before any work, directories that cannot be written: of the report, its JSON, and other ``files``."""
    from oracle.files import require_replaceable, require_writable_directory

    if arguments.out is not None:
        require_writable_directory(arguments.out)
    as_json = Path(arguments.json) if arguments.json not in (None, "-") else None
    for file in (as_json, *files):
        if file is not None:
            require_writable_directory(file.parent)
            require_replaceable(file)


def deliver(
    arguments: argparse.Namespace,
    name: str,
    as_json: str,
    others: Mapping[str, str | bytes],
    text: str,
    elsewhere: Mapping[Path, str] | None = None,
) -> None:
    """Write the JSON as ``name``.json and the other files beside it, all or none, and print what was asked for.

    ``elsewhere`` are files with places of their own. Without a directory (a command whose --out has no default) only
    they and the JSON are written, where they were asked for.
    """
    from oracle.files import write_together

    contents: dict[Path, str | bytes] = dict(elsewhere or {})
    if arguments.out is not None:
        contents |= {arguments.out / file: content for file, content in others.items()}
        contents[arguments.out / f"{name}.json"] = as_json
    if arguments.json not in (None, "-"):
        contents[Path(arguments.json)] = as_json
    write_together(contents)
    if arguments.json == "-":
        sys.stdout.write(as_json)
    elif not arguments.quiet:
        print(text)
        if contents:
            print(f"Written: {', '.join(str(path) for path in contents)}")
