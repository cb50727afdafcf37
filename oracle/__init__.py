"""scratch-oracle: is the backward pass that you wrote by hand right?

``from oracle import check_layer`` checks a layer from Python, ``from oracle import parametrize_with_checks`` makes a
pytest test of each check.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oracle.notebook import check_layer
    from oracle.pytest_checks import parametrize_with_checks

__all__ = ["check_layer", "parametrize_with_checks"]

_PLACES = {"check_layer": "oracle.notebook", "parametrize_with_checks": "oracle.pytest_checks"}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the worker and the command line need neither."""
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
