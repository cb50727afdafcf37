"""Hypothesis strategies of cases: the one place where shapes, layouts, corners and seeds are drawn.

Cases are valid by construction (nothing is filtered) and small numbers come first, so that hypothesis shrinks
a failing case to small shapes. A case holds no arrays; its seed makes them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st

from oracle.catalog.case import LAYOUTS, Case, Shape
from oracle.catalog.corners import CORNERS, ORDINARY, Corner
from oracle.catalog.record import ANY, AS_FORWARD_GIVES, BATCH, BROADCAST, LayerSpec, Template

#: Sizes of named axes: all different in one case, since square shapes hide transposes; 1 and 0 are corners.
AXIS_SIZES = st.integers(2, 7)
#: An axis that is a product of others has sizes of its own, so that the product stays small.
UNFOLDED_SIZES = st.permutations((2, 3, 4))


def corners_of(record: LayerSpec, dtype: str) -> tuple[str, ...]:
    """The corners of ``record`` that make sense in ``dtype``, the ordinary one first."""
    return (ORDINARY, *(name for name in record.corners if dtype in CORNERS[name].dtypes))


@st.composite
def cases(draw: st.DrawFn, record: LayerSpec, dtype: str | None = None, corner: str | None = None) -> Case:
    """A case of ``record``; ``dtype`` and ``corner`` are drawn where they are not given.

    Any layout goes with any corner. The seed is drawn from 32 bits without shrinking towards special arrays.
    """
    dtype = dtype or draw(st.sampled_from(("float64", "float32")), label="dtype")
    name = corner or draw(st.sampled_from(corners_of(record, dtype)), label="corner")
    targets = draw(st.sampled_from(record.target_forms), label="targets") if record.target_forms else ""
    return Case(
        record=record.name,
        dtype=dtype,
        shapes=tuple(draw(_shapes(record, CORNERS[name]), label="shapes").items()),
        corner=name,
        layout=draw(st.sampled_from(LAYOUTS), label="layout"),
        scale=draw(st.sampled_from(record.scales), label="scale"),
        targets=targets,
        seed=draw(st.integers(0, 2**32 - 1), label="seed"),
    )


@st.composite
def _shapes(draw: st.DrawFn, record: LayerSpec, corner: Corner) -> dict[str, Shape]:
    templates: dict[str, Template | tuple[()]] = {a.name: a.shape for a in record.arguments}
    if BROADCAST in templates.values():
        names = [name for name, template in templates.items() if template == BROADCAST]
        drawn = draw(
            hnp.mutually_broadcastable_shapes(
                num_shapes=len(names),
                min_dims=corner.dimensions[0],
                max_dims=min(corner.dimensions[1], 3),
                min_side=1,
                max_side=4,
            )
        )
        broadcast = (*drawn.input_shapes, drawn.result_shape)
        shapes: dict[str, Shape] = dict(zip([*names, "dout"], broadcast, strict=True))
        if corner.least_side == 0:
            last = draw(st.integers(1, len(drawn.result_shape)))
            shapes = {name: _emptied(shape, last, drawn.result_shape[-last]) for name, shape in shapes.items()}
        return shapes
    if ANY in templates.values():
        least, most = corner.dimensions
        sides = draw(st.lists(st.integers(max(corner.least_side, 1), 4), min_size=least, max_size=most, unique=True))
        if corner.least_side == 0:
            sides[draw(st.integers(0, len(sides) - 1))] = 0
        return dict.fromkeys([*templates, "dout"], tuple(sides))

    # Where nobody knows the shape of the output, that of dout is filled in when forward has been called.
    templates["dout"] = () if record.output_shape == AS_FORWARD_GIVES else record.output_shape
    axes = sorted({axis for template in templates.values() for axis in template})
    if record.sizes:
        sizes = draw(_listed_sizes(record, axes))
    else:
        drawn_sizes = draw(st.lists(AXIS_SIZES, min_size=len(axes), max_size=len(axes), unique=True))
        sizes = dict(zip(axes, drawn_sizes, strict=True))
    unfolded: dict[str, tuple[int, ...]] = {}
    for axis, parts in corner.unfolds.items():
        unfolded[axis] = tuple(draw(UNFOLDED_SIZES))[: len(parts)]
        sizes[axis] = math.prod(unfolded[axis])
    for axis, size in corner.sizes.items():
        sizes[axis] = sizes[size] if isinstance(size, str) else size
    shapes = {}
    for name, template in templates.items():
        kept = [axis for axis in template if not (axis == BATCH and corner.drops_batch_axis)]
        unfold = unfolded if name == record.arguments[0].name else {}
        shapes[name] = tuple(side for axis in kept for side in unfold.get(axis, (sizes[axis],)))
    return shapes


@st.composite
def _listed_sizes(draw: st.DrawFn, record: LayerSpec, axes: list[str]) -> dict[str, int]:
    """A size for each axis from those that the record lists, another for each where there is another."""
    sizes = {axis: int(axis) for axis in axes if axis.isdigit()}
    for axis in axes:
        if axis not in sizes:
            free = [size for size in record.sizes[axis] if size not in sizes.values()]
            sizes[axis] = draw(st.sampled_from(free or record.sizes[axis]))
    return sizes


def _emptied(shape: Shape, axis: int, side: int) -> Shape:
    """``shape`` with 0 in the place of ``side`` on the ``axis``-th axis from the end, if it has that side there."""
    at = len(shape) - axis
    return (*shape[:at], 0, *shape[at + 1 :]) if at >= 0 and shape[at] == side else shape


def generated_cases(record: LayerSpec, dtype: str, corner: str, count: int, seed: int) -> Iterator[Case]:
    """``count`` cases of one corner as hypothesis generates them, the same ones for the same ``seed``.

    This is hypothesis outside of a test: nothing is shrunk, no example database is read or written.
    """
    collected: list[Case] = []
    # A seed of its own for each corner: with one for all, every corner would get the same layouts and scales.
    own_seed = zlib.crc32(f"{seed} {record.name} {dtype} {corner}".encode())

    @hypothesis.seed(own_seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases(record, dtype, corner))
    def collect(case: Case) -> None:
        collected.append(case)

    collect()
    return iter(collected)


def real_data_case(
    record: LayerSpec, dtype: str, data: str, samples: int, pixels: int, hidden: tuple[int, ...], seed: int
) -> Case:
    """The case of a network on the first ``samples`` digits of a real data set, ten classes, one-hot targets.

    ``hidden`` are the sizes of its hidden layers, as many of them as it has.
    """
    sizes = {"N": samples, "D": pixels, "C": 10, **{f"H{k}": size for k, size in enumerate(hidden, start=1)}}
    templates = {**{a.name: a.axes for a in record.arguments}, "dout": ()}
    shapes = tuple((name, tuple(sizes[axis] for axis in axes)) for name, axes in templates.items())
    return Case(record.name, dtype, shapes, targets="one-hot", data=data, seed=seed)
