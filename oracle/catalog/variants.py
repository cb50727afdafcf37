"""What people write besides the layers of ``scratch``: the same losses otherwise averaged or taken of probabilities, …

None of these is examined unless somebody's file has it, so there is no implementation to go with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from oracle.catalog import definitions
from oracle.catalog.own import own_record
from oracle.catalog.record import ANY, Argument, Array, ByName, LayerSpec
from oracle.catalog.records import NETWORKS, RECORDS, network

NONE = ""
#: How a loss is averaged, as a part of its name.
AVERAGED = {"rows": "averaged over the batch", "entries": "averaged over all entries", "nothing": "summed"}
CROSS_ENTROPIES = (*RECORDS["SoftmaxWithLoss"].known_as, "crossentropy", "categoricalcrossentropy", "crossentropyerror")
BINARY_CROSS_ENTROPIES = RECORDS["SigmoidWithLoss"].known_as

Scale = Callable[[ByName, Array], dict[str, Array]]


def _averaged(base: LayerSpec, over: str, **fields: Any) -> LayerSpec:
    """A loss, averaged otherwise than over the rows."""

    def rescaled(scale: Scale | None) -> Scale | None:
        if scale is None:
            return None

        def of(arrays: ByName, dout: Array) -> dict[str, Array]:
            x = next(iter(arrays.values()))
            factor = definitions.count(x, "rows") / definitions.count(x, over)
            return {name: values * factor for name, values in scale(arrays, dout).items()}

        return of

    changed: dict[str, Any] = {
        "name": f"{fields.pop('name', base.name)}, {AVERAGED[over]}",
        "implementation": NONE,
        "settings": MappingProxyType({"over": over}),
        "averages_over_batch": over != "nothing",
        "gradient_scale": rescaled(base.gradient_scale),
        "textbook_scale": rescaled(base.textbook_scale),
    }
    return replace(base, **(changed | fields))


_OF_PROBABILITIES = LayerSpec(
    name="cross-entropy of probabilities",
    known_as=CROSS_ENTROPIES,
    section="losses",
    implementation=NONE,
    twin="oracle.twins.layers:cross_entropy_error",
    definition=definitions.cross_entropy_error,
    arguments=(Argument("y", ("N", "C"), values="probabilities"), Argument("t", ("N", "C"), role="target")),
    outputs=("loss",),
    output_shape=(),
    corners=("batch of 1", "single sample"),
    target_forms=("one-hot", "labels"),
    averages_over_batch=True,
)
_BINARY_OF_PROBABILITIES = replace(
    _OF_PROBABILITIES,
    name="binary cross-entropy of probabilities",
    # Some call it cross-entropy without more; values tell.
    known_as=(*BINARY_CROSS_ENTROPIES, "crossentropy"),
    twin="oracle.twins.layers:binary_cross_entropy_error",
    definition=definitions.binary_cross_entropy_error,
    target_forms=("binary",),
)
_SQUARED = {
    "name": "squared error",
    "twin": "oracle.twins.layers:squared_error",
    "definition": definitions.squared_error,
}


def _tanh_textbook(arrays: ByName, dout: Array) -> dict[str, Array]:
    # 1 − y² with y rounded near 1: sup |J| is 1.
    return {"dx": np.abs(dout) * 2.0, "y": np.full(dout.shape, 2.0)}


_VARIANTS = (
    _averaged(RECORDS["SoftmaxWithLoss"], "nothing", known_as=CROSS_ENTROPIES),
    *(_averaged(_OF_PROBABILITIES, over) for over in ("rows", "nothing")),
    *(_averaged(RECORDS["IdentityWithLoss"], over, **_SQUARED) for over in ("entries", "rows", "nothing")),
    *(_averaged(RECORDS["IdentityWithLoss"], over, name="half squared error") for over in ("entries", "nothing")),
    *(_averaged(RECORDS["SigmoidWithLoss"], over) for over in ("entries", "nothing")),
    *(_averaged(_BINARY_OF_PROBABILITIES, over) for over in ("rows", "entries", "nothing")),
    replace(
        RECORDS["softmax"],
        name="softmax layer",
        known_as=("softmax",),
        implementation=NONE,
        section="layers",
        convention="layer",
        has_backward=True,
    ),
    LayerSpec(
        name="tanh",
        known_as=("tanh", "hyperbolictangent"),
        section="layers",
        implementation=NONE,
        twin="torch:tanh",
        definition=definitions.hyperbolic_tangent,
        arguments=(Argument("x", ANY),),
        corners=("scalars", "empty", "integer input", "exact zeros"),
        scales=(1.0, 10.0),
        textbook_scale=_tanh_textbook,
    ),
    network("TwoLayerNet, sigmoid", hidden_layers=1, hidden="sigmoid", output="softmax", known_as=NETWORKS[0].known_as),
)

VARIANTS: dict[str, LayerSpec] = {record.name: record for record in _VARIANTS}


class _Known(dict[str, LayerSpec]):
    """Records by name; those of layers that nobody knows are made from theirs."""

    def __missing__(self, name: str) -> LayerSpec:
        return own_record(name)


#: Everything that a file can be taken for.
KNOWN: dict[str, LayerSpec] = _Known({**RECORDS, **VARIANTS})
