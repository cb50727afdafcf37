"""Records of layers whose name nobody knows: they are checked against their own forward.

There is no twin and no definition. A record is made from its name, which spells out what the layer takes:
``own forward: x (N, D), h_prev (N, M), Wx (D, M)``. The first argument is an input, and so is every other whose first
axis is that of the batch; the rest are parameters. An axis is a letter of `SIZES`, or a number where something else
fixes it (a size that the constructor was given). A loss has targets, with a word before them for what they are:
``own forward: x (N, D), labels t (N,)``. So the name in a case is enough to replay it, in another process too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from oracle.catalog.record import AS_FORWARD_GIVES, BATCH, Argument, LayerSpec, TargetForm

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

#: What the targets of a loss may be: numbers of the input's shape, the index of a class, rows of zeros with a one, or
#: probabilities.
TARGET_FORMS: tuple[TargetForm, ...] = ("values", "labels", "one-hot", "soft")
#: What an input is that a logarithm is taken of.
PROBABILITIES = "probabilities"

#: Where functions saturate or are clipped; beyond, most are flat. Of several inputs the sum is larger than each, and of
#: the softmax in a loss a difference counts: where all that is left of 1 − h² or p − t is below 1e-4, a textbook's
#: formula keeps fewer digits than `oracle.judge.bounds.UNKNOWN_CANCELLATION` leaves it.
SCALES = (1.0, 4.0)
SCALES_OF_LOSSES = (1.0, 2.0)

_ARGUMENT = re.compile(rf"(?:({'|'.join((PROBABILITIES, *TARGET_FORMS))}) )?(\w+) \(([^()]*)\)")
Axes = tuple[str, ...]


def own_name(arguments: Mapping[str, Axes], words: Mapping[str, str] | None = None) -> str:
    """The name of the record of a layer with these arguments and axes, an input first.

    ``words`` says of an argument that it is probabilities, or which form of `TARGET_FORMS` it has. Labels have the axes
    of the input here, as in a case, and are written without the last, along which the classes lie.
    """
    words = words or {}
    shown = []
    for name, axes in arguments.items():
        written = axes[:-1] if words.get(name) == "labels" else axes
        before = f"{words[name]} " if name in words else ""
        shown.append(f"{before}{name} ({', '.join(written)}{',' if len(written) == 1 else ''})")
    return f"{OWN}: {', '.join(shown)}"


@lru_cache(maxsize=256)
def own_record(name: str) -> LayerSpec:
    """The record of that name. Raises KeyError for a name that spells out nothing of the kind."""
    _, colon, written = name.partition(": ")
    words: dict[str, str] = {}
    spelt: dict[str, Axes] = {}
    for word, argument, listed in _ARGUMENT.findall(written):
        axes = tuple(a.strip() for a in listed.split(",") if a.strip())
        words |= {argument: word} if word else {}
        spelt[argument] = (*axes, *next(iter(spelt.values()))[-1:]) if word == "labels" and spelt else axes
    if not name.startswith(OWN) or (colon and name != own_name(spelt, words)):
        raise KeyError(name)
    spelt = spelt or {"x": FORMS[0]}
    first = next(iter(spelt))
    targets = tuple(form for form in TARGET_FORMS if form in words.values())
    inputs = sum(n == first or axes[:1] == (BATCH,) for n, axes in spelt.items())
    record = LayerSpec(
        name=name,
        section="losses" if targets else "layers",
        implementation="",
        twin="",
        definition=_unknown,
        arguments=tuple(_argument(n, axes, words.get(n, ""), is_first=n == first) for n, axes in spelt.items()),
        output_shape=AS_FORWARD_GIVES,
        corners=("batch of 1",) if BATCH in spelt[first] else (),
        scales=SCALES_OF_LOSSES if targets else SCALES if inputs == 1 else SCALES[:1],
        sizes={**SIZES, "N": SIZES["N"][:1]} if "H" in spelt[first] else SIZES,
    )
    return replace(record, outputs=("loss",), output_shape=(), target_forms=targets) if targets else record


def _argument(name: str, axes: Axes, word: str, *, is_first: bool) -> Argument:
    if word in TARGET_FORMS:
        return Argument(name, axes, role="target")
    if is_first or axes[:1] == (BATCH,):
        return Argument(name, axes, values="probabilities" if word == PROBABILITIES else "normal")
    return Argument(name, axes, role="parameter", values="weights" if len(axes) > 1 else "normal")


def _unknown(*_: Any) -> Any:
    raise TypeError("nobody knows the definition of a layer of this name")
