"""Records of layers whose name nobody knows: they are checked against their own forward.

There is no twin and no definition. A record is made from its name, which spells out what the layer takes:
``own forward: x (N, D), gamma (D,), beta (D,)``. The first argument is the input, the others are parameters. An axis is
a letter of `SIZES`, or a number where something else fixes it (a size that the constructor was given). So the name in a
case is enough to replay it, in another process too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from oracle.catalog.record import AS_FORWARD_GIVES, BATCH, Argument, LayerSpec

#: What a layer is taken for whose name nobody knows, before it is seen what it takes.
OWN = "own forward"
#: What an axis may have. At least three rows and features: of two, a normalisation leaves the signs alone, and its
#: derivative is what rounding makes of 0. Images are small, since every entry is moved by itself, and even, since
#: pooling may divide them.
SIZES: Mapping[str, tuple[int, ...]] = {
    "N": (3, 5),
    "D": (4, 6),
    "M": (2, 7),
    "T": (2, 7),
    "C": (2,),
    "H": (4, 6),
    "W": (6, 4),
    "FN": (5,),
    "FH": (3,),
    "FW": (2,),
}
#: The forms of an input, the simplest first.
FORMS: tuple[tuple[str, ...], ...] = (("N", "D"), ("N", "C", "H", "W"), ("N", "T", "D"), ("C", "H", "W"), ("D",))

_ARGUMENT = re.compile(r"(\w+) \(([^()]*)\)")


def own_name(arguments: Mapping[str, tuple[str, ...]]) -> str:
    """The name of the record of a layer with these arguments and axes, the input first."""
    shown = [f"{name} ({', '.join(axes)}{',' if len(axes) == 1 else ''})" for name, axes in arguments.items()]
    return f"{OWN}: {', '.join(shown)}"


@lru_cache(maxsize=256)
def own_record(name: str) -> LayerSpec:
    """The record of that name. Raises KeyError for a name that spells out nothing of the kind."""
    _, colon, written = name.partition(": ")
    spelt = {n: tuple(a.strip() for a in axes.split(",") if a.strip()) for n, axes in _ARGUMENT.findall(written)}
    if not name.startswith(OWN) or (colon and name != own_name(spelt)):
        raise KeyError(name)
    (x, axes), *parameters = (spelt or {"x": FORMS[0]}).items()
    return LayerSpec(
        name=name,
        section="layers",
        implementation="",
        twin="",
        definition=_unknown,
        arguments=(
            Argument(x, axes),
            *(Argument(n, a, role="parameter", values="weights" if len(a) > 1 else "normal") for n, a in parameters),
        ),
        output_shape=AS_FORWARD_GIVES,
        corners=("batch of 1",) if BATCH in axes else (),
        # Where functions saturate or are clipped; beyond, most are flat.
        scales=(1.0, 4.0),
        sizes={**SIZES, "N": SIZES["N"][:1]} if "H" in axes else SIZES,
    )


def _unknown(*_: Any) -> Any:
    raise TypeError("nobody knows the definition of a layer of this name")
