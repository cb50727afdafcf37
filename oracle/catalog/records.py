"""The records of every layer, loss, function and network of ``scratch``: one entry each.

Adding a layer is its class and an entry here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from oracle.catalog import definitions
from oracle.catalog.directional import (
    AffineTangent,
    IdentityWithLossTangent,
    ReluTangent,
    SigmoidTangent,
    SoftmaxWithLossTangent,
    TangentLoss,
)
from oracle.catalog.record import ANY, BROADCAST, Argument, Array, ByName, LayerSpec
from oracle.catalog.rounding import (
    AffineRounding,
    IdentityWithLossRounding,
    LossRounding,
    ReluRounding,
    SigmoidRounding,
    SoftmaxWithLossRounding,
)

LOSS_CORNERS = (
    "batch of 1",
    "single sample",
    "one class",
    "integer input",
    "extreme values",
    "exact zeros",
    "one decimal",
)
BATCH_CORNERS = ("batch of 1", "single sample", "integer input", "exact zeros", "large values", "one decimal")


def _distance_from_zero(arrays: ByName) -> dict[str, Array]:
    return {"x": np.abs(arrays["x"])}


def _classes(arrays: ByName) -> int:
    return arrays["x"].shape[-1]


def _one_hot_like(scores: Array, t: Array) -> Array:
    """Targets in the shape of the scores, in float64."""
    if t.shape == scores.shape:
        return t.astype(np.float64)
    return (np.arange(scores.shape[-1]) == t[..., None]).astype(np.float64)


def _rows(scores: Array) -> int:
    return scores.shape[0] if scores.ndim > 1 else 1


def _softmax_both(scores: Array) -> tuple[Array, Array]:
    """y and 1 − y, each from sums of positive terms only, so that neither loses digits near 1."""
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    others = (exponentials[..., None, :] * (1 - np.eye(scores.shape[-1]))).sum(axis=-1)
    total = exponentials.sum(axis=-1, keepdims=True)
    return exponentials / total, others / total


def _softmax_loss_scale(arrays: ByName, dout: Array) -> dict[str, Array]:
    # dx_i = y_i Σ_{j≠i} t_j − t_i (1 − y_i): one term is 0 for hard targets, and the two cancel for soft ones.
    scores = np.asarray(arrays["x"], np.float64)
    t = np.abs(_one_hot_like(scores, arrays["t"]))
    y, rest = _softmax_both(scores)
    scale = y * (t.sum(axis=-1, keepdims=True) - t) + t * rest
    return {"dx": scale * np.abs(dout) / _rows(scores)}


def _softmax_loss_textbook(arrays: ByName, dout: Array) -> dict[str, Array]:
    # (y Σt − t)/N with y rounded near 1; log-sum-exp minus a score, both as large as the largest score.
    scores = np.asarray(arrays["x"], np.float64)
    weight = np.abs(_one_hot_like(scores, arrays["t"])).sum(axis=-1, keepdims=True)
    largest = np.abs(scores).max(axis=-1, keepdims=True)
    gradient = np.broadcast_to(weight * np.abs(dout) / _rows(scores), scores.shape)
    return {"dx": gradient, "loss": np.asarray((weight * (largest + 1)).sum() / _rows(scores))}


def _sigmoid_loss_scale(arrays: ByName, dout: Array) -> dict[str, Array]:
    # dx = (1 − t) s − t (1 − s): as for softmax.
    x, t = (np.asarray(arrays[name], np.float64) for name in ("x", "t"))
    e = np.exp(-np.abs(x))
    s, rest = np.where(x >= 0, 1, e) / (1 + e), np.where(x >= 0, e, 1) / (1 + e)
    return {"dx": (np.abs(1 - t) * s + np.abs(t) * rest) * np.abs(dout) / _rows(x)}


def _sigmoid_loss_textbook(arrays: ByName, dout: Array) -> dict[str, Array]:
    x, t = (np.asarray(arrays[name], np.float64) for name in ("x", "t"))
    return {
        "dx": (1 + np.abs(t)) * np.abs(dout) / _rows(x),
        "loss": np.asarray(((1 + np.abs(t)) * (np.abs(x) + 1)).sum() / _rows(x)),
    }


def _sigmoid_textbook(arrays: ByName, dout: Array) -> dict[str, Array]:
    # y (1 − y) with y rounded near 1: sup |J| = 1/4 is where the error of 1 − y weighs.
    # 1/(1 + exp(-x)) is 0 where exp overflows: y loses what lies below the smallest normal number, and no more.
    return {"dx": np.abs(dout) * 0.25, "y": np.zeros(dout.shape)}


NODES = (
    LayerSpec(
        name="MulLayer",
        known_as=("mullayer", "multiplylayer", "mul", "multiply"),
        section="graph nodes",
        implementation="scratch:MulLayer",
        twin="torch:mul",
        definition=definitions.multiply,
        arguments=(Argument("x", BROADCAST), Argument("y", BROADCAST)),
        output_shape=BROADCAST,
        outputs=("out",),
        corners=("scalars", "empty", "integer input", "exact zeros", "one decimal"),
        scales=(1.0, 1e3),
    ),
    LayerSpec(
        name="AddLayer",
        known_as=("addlayer", "add"),
        section="graph nodes",
        implementation="scratch:AddLayer",
        twin="torch:add",
        definition=definitions.add,
        arguments=(Argument("x", BROADCAST), Argument("y", BROADCAST)),
        output_shape=BROADCAST,
        outputs=("out",),
        corners=("scalars", "empty", "integer input", "exact zeros", "one decimal"),
        scales=(1.0, 1e3),
    ),
    LayerSpec(
        name="ExpLayer",
        known_as=("explayer", "exp"),
        section="graph nodes",
        implementation="scratch:ExpLayer",
        twin="torch:exp",
        definition=definitions.exponential,
        arguments=(Argument("x", ANY),),
        corners=("scalars", "empty", "integer input", "exact zeros", "large values", "one decimal"),
        # exp overflows beyond 88 in float32: eight standard deviations of 10.
        scales=(1.0, 10.0),
    ),
    LayerSpec(
        name="ReciprocalLayer",
        known_as=("reciprocallayer", "reciprocal", "divlayer"),
        section="graph nodes",
        implementation="scratch:ReciprocalLayer",
        twin="torch:reciprocal",
        definition=definitions.reciprocal,
        arguments=(Argument("x", ANY),),
        corners=("scalars", "empty", "integer input"),
        scales=(1.0, 1e3),
    ),
)

LAYERS = (
    LayerSpec(
        name="Relu",
        known_as=("relu", "relulayer", "rectifiedlinearunit"),
        section="layers",
        implementation="scratch:Relu",
        twin="torch:relu",
        definition=definitions.relu,
        arguments=(Argument("x", ANY),),
        corners=("scalars", "empty", "integer input", "exact zeros", "extreme values", "one decimal"),
        scales=(1.0, 1e3),
        kink_distance=_distance_from_zero,
        rounding=ReluRounding(),
        tangent=ReluTangent,
    ),
    LayerSpec(
        name="Sigmoid",
        known_as=("sigmoid", "sigmoidlayer", "logistic"),
        section="layers",
        implementation="scratch:Sigmoid",
        twin="torch:sigmoid",
        definition=definitions.sigmoid,
        arguments=(Argument("x", ANY),),
        corners=("scalars", "empty", "integer input", "exact zeros", "extreme values", "one decimal"),
        scales=(1.0, 10.0, 50.0, 300.0),
        textbook_scale=_sigmoid_textbook,
        stable_form="e = np.exp(-np.abs(x)); y = np.where(x >= 0, 1, e) / (1 + e)",
        rounding=SigmoidRounding(),
        tangent=SigmoidTangent,
    ),
    LayerSpec(
        name="Affine",
        known_as=(
            "affine",
            "affinelayer",
            "linear",
            "linearlayer",
            "dense",
            "denselayer",
            "fullyconnected",
            "fc",
            "fclayer",
        ),
        section="layers",
        implementation="scratch:Affine",
        twin="oracle.twins.layers:affine",
        definition=definitions.affine,
        arguments=(
            Argument("x", ("N", "D")),
            Argument("W", ("D", "M"), role="parameter", values="weights"),
            Argument("b", ("M",), role="parameter"),
        ),
        output_shape=("N", "M"),
        corners=(*BATCH_CORNERS, "batch of 0", "tensor shape"),
        scales=(1.0, 100.0),
        rows_are_independent=True,
        rounding=AffineRounding(),
        tangent=AffineTangent,
    ),
)

FUNCTIONS = (
    LayerSpec(
        name="softmax",
        known_as=("softmax",),
        section="functions",
        implementation="scratch:softmax",
        twin="oracle.twins.layers:softmax",
        definition=definitions.softmax,
        convention="function",
        arguments=(Argument("x", ("N", "C")),),
        output_shape=("N", "C"),
        corners=(*LOSS_CORNERS, "batch of 0"),
        scales=(1.0, 10.0, 50.0),
        has_backward=False,
        rows_are_independent=True,
        shift_invariant=True,
        inner_sum=_classes,
        stable_form="e = np.exp(x - x.max(axis=-1, keepdims=True)); y = e / e.sum(axis=-1, keepdims=True)",
        # y (δ − y): PyTorch subtracts a sum of products with y from the upstream gradient.
        textbook_scale=lambda arrays, dout: {
            "dx": np.broadcast_to(np.abs(dout).max(axis=-1, keepdims=True), dout.shape)
        },
    ),
    LayerSpec(
        name="cross_entropy_error",
        known_as=("crossentropyerror", "crossentropy"),
        section="functions",
        implementation="scratch:cross_entropy_error",
        twin="oracle.twins.layers:cross_entropy_error",
        definition=definitions.cross_entropy_error,
        convention="function",
        arguments=(
            Argument("y", ("N", "C"), values="probabilities"),
            Argument("t", ("N", "C"), role="target"),
        ),
        outputs=("loss",),
        output_shape=(),
        corners=("batch of 1", "single sample"),
        target_forms=("one-hot", "labels", "soft", "unnormalised"),
        has_backward=False,
        averages_over_batch=True,
    ),
)

LOSSES = (
    LayerSpec(
        name="SoftmaxWithLoss",
        known_as=(
            "softmaxwithloss",
            "softmaxcrossentropy",
            "softmaxcrossentropyloss",
            "crossentropyloss",
            "softmaxloss",
            "softmaxlosscategoricalcrossentropy",
            "softmaxcategoricalcrossentropy",
        ),
        section="losses",
        implementation="scratch:SoftmaxWithLoss",
        twin="oracle.twins.layers:softmax_cross_entropy",
        definition=definitions.softmax_cross_entropy,
        arguments=(Argument("x", ("N", "C")), Argument("t", ("N", "C"), role="target")),
        outputs=("loss",),
        output_shape=(),
        corners=(*LOSS_CORNERS, "as many classes as rows"),
        scales=(1.0, 10.0, 50.0, 300.0),
        target_forms=("one-hot", "labels", "soft", "unnormalised"),
        averages_over_batch=True,
        shift_invariant=True,
        inner_sum=_classes,
        gradient_scale=_softmax_loss_scale,
        textbook_scale=_softmax_loss_textbook,
        stable_form="s = x - x.max(axis=-1, keepdims=True); "
        "loss = np.sum(t * (np.log(np.exp(s).sum(axis=-1, keepdims=True)) - s)) / N",
        rounding=None,
    ),
    LayerSpec(
        name="IdentityWithLoss",
        known_as=(
            "identitywithloss",
            "meansquarederror",
            "mseloss",
            "mse",
            "squarederror",
            "squareloss",
            "square",
            "l2loss",
        ),
        section="losses",
        implementation="scratch:IdentityWithLoss",
        twin="oracle.twins.layers:half_squared_error",
        definition=definitions.half_squared_error,
        arguments=(Argument("x", ("N", "C")), Argument("t", ("N", "C"), role="target")),
        outputs=("loss",),
        output_shape=(),
        corners=("batch of 1", "single sample", "integer input", "extreme values", "exact zeros", "one decimal"),
        scales=(1.0, 100.0),
        target_forms=("values",),
        averages_over_batch=True,
    ),
    LayerSpec(
        name="SigmoidWithLoss",
        known_as=("sigmoidwithloss", "sigmoidcrossentropy", "bceloss", "bcewithlogits", "binarycrossentropy", "bce"),
        section="losses",
        implementation="scratch:SigmoidWithLoss",
        twin="oracle.twins.layers:binary_cross_entropy",
        definition=definitions.binary_cross_entropy,
        arguments=(Argument("x", ("N", "C")), Argument("t", ("N", "C"), role="target")),
        outputs=("loss",),
        output_shape=(),
        corners=LOSS_CORNERS,
        scales=(1.0, 10.0, 50.0, 300.0),
        target_forms=("binary", "soft"),
        averages_over_batch=True,
        gradient_scale=_sigmoid_loss_scale,
        textbook_scale=_sigmoid_loss_textbook,
        stable_form="loss = np.sum(np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))) / N",
    ),
)

#: The last layers of networks, by the name of the network's output: where the stack's way back starts.
LOSS_ROUNDING: dict[str, LossRounding] = {
    "softmax": SoftmaxWithLossRounding(),
    "sigmoid-squared": IdentityWithLossRounding(),
    "identity-squared": IdentityWithLossRounding(),
}
#: The same for directional derivatives of the stack.
LOSS_TANGENT: dict[str, Callable[[], TangentLoss]] = {
    "softmax": SoftmaxWithLossTangent,
    "sigmoid-squared": IdentityWithLossTangent,
    "identity-squared": IdentityWithLossTangent,
}


def _two_layers(network: Callable[..., Any], sizes: tuple[int, ...], dtype: np.dtype) -> Any:
    return network(*sizes, dtype=dtype)


def _many_layers(network: Callable[..., Any], sizes: tuple[int, ...], dtype: np.dtype, **settings: str) -> Any:
    return network(sizes[0], sizes[1:-1], sizes[-1], dtype=dtype, **settings)


def network(name: str, hidden_layers: int, hidden: str, output: str, **fields: Any) -> LayerSpec:
    """The record of a network of Affine – activation – … – Affine with a loss on top."""
    axes = ["D", *(f"H{k}" for k in range(1, hidden_layers + 1)), "C"]
    arguments = [Argument("x", ("N", "D")), Argument("t", ("N", "C"), role="target")]
    stack: list[tuple[str, tuple[str, ...]]] = []
    activation = {"relu": "Relu", "sigmoid": "Sigmoid"}[hidden]
    for k, (fan_in, fan_out) in enumerate(itertools.pairwise(axes), start=1):
        arguments.append(Argument(f"W{k}", (fan_in, fan_out), role="parameter", values="weights"))
        arguments.append(Argument(f"b{k}", (fan_out,), role="parameter"))
        stack += [("Affine", (f"W{k}", f"b{k}")), (activation, ())]
    stack.pop()
    if output == "sigmoid-squared":
        stack.append(("Sigmoid", ()))
    settings = {"hidden": hidden, "output": output}
    defaults: dict[str, Any] = {
        "implementation": "scratch:MultiLayerNet",
        "construct": partial(_many_layers, hidden=hidden, output=output),
        "real_data": ("digits",),
    }
    return LayerSpec(
        name=name,
        section="networks",
        twin="oracle.twins.networks:multi_layer_network",
        definition=definitions.multi_layer_network,
        convention="network",
        arguments=tuple(arguments),
        outputs=("loss", "scores", "accuracy"),
        output_shape=(),
        corners=(*BATCH_CORNERS, "tensor shape"),
        target_forms=("one-hot", "labels") if output == "softmax" else ("one-hot",),
        averages_over_batch=True,
        takes_dout=False,
        differentiates_inputs=False,
        gradient_pattern='grads["{}"]',
        stack=tuple(stack),
        settings=MappingProxyType(settings),
        **(defaults | fields),
    )


NETWORKS = (
    network(
        "TwoLayerNet",
        hidden_layers=1,
        hidden="relu",
        output="softmax",
        known_as=("twolayernet", "twolayernetwork", "twolayer", "neuralnetwork", "mlp"),
        implementation="scratch:TwoLayerNet",
        construct=_two_layers,
        real_data=("digits", "mnist"),
    ),
    network("MultiLayerNet sigmoid, squared error", hidden_layers=1, hidden="sigmoid", output="sigmoid-squared"),
    network("MultiLayerNet relu, regression", hidden_layers=2, hidden="relu", output="identity-squared"),
    network("MultiLayerNet sigmoid, softmax", hidden_layers=2, hidden="sigmoid", output="softmax"),
    network("MultiLayerNet relu, three hidden", hidden_layers=3, hidden="relu", output="softmax"),
)

RECORDS: dict[str, LayerSpec] = {record.name: record for record in (*NODES, *LAYERS, *FUNCTIONS, *LOSSES, *NETWORKS)}
