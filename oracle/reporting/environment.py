"""What a report was made with: versions, threads, platform."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from typing import Any

import numpy as np
from tabulate import tabulate

from oracle.blas import blas_name, blas_threads


def environment(seed: int, command: str) -> dict[str, Any]:
    """The facts that a figure depends on, by the keys that every report has."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": _version("torch"),
        "blas": blas_name(),
        "threads": blas_threads(),
        "platform": f"{platform.system()} {platform.machine()}",
        "seed": seed,
        "command": command,
        "hypothesis": _version("hypothesis"),
        "scikit-learn": _version("scikit-learn"),
        "byteorder": sys.byteorder,
    }


def environment_table(facts: dict[str, Any]) -> str:
    """The facts as a table of Markdown, in which a bar would end a cell."""
    cells = [(name, str(value).replace("|", "\\|")) for name, value in facts.items()]
    return tabulate(cells, headers=("", ""), tablefmt="github", disable_numparse=True)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
