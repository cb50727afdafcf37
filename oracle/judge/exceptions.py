"""Why a call into a subject raised, as far as the exception tells: a name, an attribute, a missing import or return."""

from __future__ import annotations

import re

from oracle.judge.causes import CAUSES
from oracle.subjects.interface import SubjectError

#: What files of layers use and forget to import.
IMPORTS = {
    "np": "import numpy as np",
    "numpy": "import numpy",
    "math": "import math",
    "OrderedDict": "from collections import OrderedDict",
    "plt": "import matplotlib.pyplot as plt",
}
#: What a layer and a network are called by.
METHODS = ("forward", "backward", "loss", "predict", "gradient")


def explain_exception(error: SubjectError) -> tuple[str, str]:
    """The cause id, and the exception with what to do about it."""
    kind = getattr(error.original, "kind", type(error.original).__name__)
    message = str(error.original)
    name = _quoted(r"name '(\w+)' is not defined", message)
    if kind == "NameError" and name in IMPORTS:
        return "missing_import", f"{error}. {CAUSES['missing_import'].what} {IMPORTS[name]}"
    if kind == "NameError" and name:
        hint = f"If {name} belongs to the layer, it is self.{name}; otherwise it is misspelt or never defined."
        return "undefined_name", f"{error}. {hint}"
    name = _quoted(r"object has no attribute '(\w+)'", message) or _quoted(r"self\.(\w+) is None", message)
    if kind == "AttributeError" and name in METHODS:
        return "misspelt_method", f"{error}. {CAUSES['misspelt_method'].mend}"
    if name:
        hint = f"Nothing has set self.{name} by then: keep it where it is computed (self.{name} = …)."
        return "attribute_never_set", f"{error}. {hint}"
    if kind == "ReturnsNoneError":
        return "returns_none", f"{error}. {CAUSES['returns_none'].mend}"
    return "raises", str(error)


def _quoted(pattern: str, message: str) -> str:
    found = re.search(pattern, message)
    return found.group(1) if found else ""
