"""Corners: the places of the input space where layers break, each with what it changes in an ordinary case.

A corner is required of ``scratch`` and optional for foreign subjects, where refusing it loudly is a note.
"""

from __future__ import annotations

from dataclasses import dataclass, field

ORDINARY = "ordinary"
SMALL_INTEGERS = "small integers"


@dataclass(frozen=True)
class Corner:
    """``sizes`` fixes axes to a size, or to that of another axis. The other fields say what they name."""

    name: str
    sizes: dict[str, int | str] = field(default_factory=dict)
    drops_batch_axis: bool = False
    #: Axes that replace one axis of the first input; the one axis is their product.
    unfolds: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: For arguments of any shape: the numbers of dimensions and the least size of one.
    dimensions: tuple[int, int] = (0, 4)
    least_side: int = 1
    #: How the drawn entries are altered; a key of ``oracle.catalog.case.ALTERATIONS``.
    entries: str = "as drawn"
    #: Whether the parameters are altered like the inputs.
    parameters_too: bool = False
    dout_too: bool = False
    dtypes: tuple[str, ...] = ("float32", "float64")


CORNERS: dict[str, Corner] = {
    c.name: c
    for c in (
        Corner(ORDINARY),
        Corner("batch of 1", sizes={"N": 1}),
        Corner("batch of 0", sizes={"N": 0}),
        Corner("single sample", drops_batch_axis=True),
        Corner("tensor shape", unfolds={"D": ("D1", "D2", "D3")}),
        Corner("one class", sizes={"C": 1}),
        # A label array that broadcasts against the scores shows only where the two sizes agree.
        Corner("as many classes as rows", sizes={"C": "N"}),
        Corner("scalars", dimensions=(0, 0)),
        Corner("empty", dimensions=(1, 4), least_side=0),
        # Integers become float64 in scratch, so there is nothing to ask in float32.
        Corner("integer input", entries="integers", dtypes=("float64",)),
        Corner("extreme values", entries="extremes"),
        Corner("exact zeros", entries="zeros"),
        # Where people clip, and half of the digits of a sum with smaller terms are gone.
        Corner("large values", entries="large"),
        # On inputs with one decimal sums cancel to 0 in one order of summation and to 1e-17 in another.
        Corner("one decimal", entries="one decimal", parameters_too=True),
        # No record has this one: a fault that was found elsewhere is shown with numbers that people can follow.
        Corner(SMALL_INTEGERS, entries="small integers", parameters_too=True, dout_too=True),
    )
}
