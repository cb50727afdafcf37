"""Computational graphs with numbers in them: the book's examples, and every layer on a small fixed example.

Forward values and gradients are what the layers of ``scratch`` return when they are run here; a page only draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oracle.catalog.case import Case, Shape, materialise
from oracle.catalog.corners import ORDINARY
from oracle.catalog.record import ANY, BROADCAST, Array, LayerSpec, Template, resolve
from scratch import AddLayer, ExpLayer, MulLayer, ReciprocalLayer

#: Sizes of named axes: small enough to be written out, and those that could be mistaken for each other differ.
SIZES = {"D": 3, "C": 3}
OTHER_SIZE = 2
#: Numbers with one decimal are followed more easily than those that are drawn.
ONE_DECIMAL = "one decimal"
#: With it something comes back along every arrow of every example: a small net of Relus may be dead.
SEED = 0


@dataclass
class Wire:
    """An arrow of the graph: what went along it forward, and the gradient that came back, if one did."""

    name: str
    value: Array
    source: int
    gradient: Array | None = None


@dataclass
class _Operation:
    node: int
    inputs: tuple[Wire, ...]
    output: Wire
    backward: Callable[[Array], Sequence[Any]] | None


@dataclass
class Recorder:
    """Runs layers, and remembers what went through them.

    >>> graph = Recorder()
    >>> price = graph.node("×", MulLayer(), graph.given("apple", 100.0), graph.given("number", 2.0), name="price")
    >>> graph.back(price, 1.0)
    >>> [edge["backward"] for edge in graph.to_json()["edges"]]
    [2.0, 100.0, 1.0]
    """

    nodes: list[dict[str, Any]] = field(default_factory=list)
    operations: list[_Operation] = field(default_factory=list)

    def given(self, name: str, value: Any) -> Wire:
        """An input, a parameter, a target or a constant: something that no layer computes."""
        return Wire(name, np.asarray(value), self._add(name, "input"))

    def apply(
        self,
        label: str,
        forward: Callable[..., Any],
        backward: Callable[[Array], Sequence[Any]] | None,
        *inputs: Wire,
        passed: Sequence[Wire] | None = None,
        name: str = "",
    ) -> Wire:
        """One node. ``forward`` is called with the values of ``passed``, by default those of all ``inputs``.

        ``backward`` takes dout and gives the gradients of ``inputs`` in order, None where there is none.
        """
        taken = inputs if passed is None else passed
        node = self._add(label, "operation")
        output = Wire(name, np.array(forward(*(wire.value for wire in taken))), node)
        self.operations.append(_Operation(node, inputs, output, backward))
        return output

    def node(self, label: str, layer: Any, *inputs: Wire, name: str = "") -> Wire:
        """A node of `scratch.graph`, whose backward gives a gradient for each of its inputs."""

        def backward(dout: Array) -> Sequence[Any]:
            returned = layer.backward(dout)
            return returned if isinstance(returned, tuple) else (returned,)

        return self.apply(label, layer.forward, backward, *inputs, name=name)

    def back(self, output: Wire, dout: Any) -> None:
        """Backward through everything, from the last output."""
        output.gradient = np.asarray(dout)
        for operation in reversed(self.operations):
            assert operation.backward is not None
            assert operation.output.gradient is not None
            gradients = operation.backward(operation.output.gradient)
            for wire, gradient in zip(operation.inputs, gradients, strict=True):
                wire.gradient = None if gradient is None else np.array(gradient)

    def to_json(self) -> dict[str, Any]:
        """Nodes, and edges from node to node in the order of the computation; the last one leaves the graph."""
        edges = [(wire, operation.node) for operation in self.operations for wire in operation.inputs]
        last = self.operations[-1].output
        nodes = [*self.nodes, {"id": len(self.nodes), "label": last.name, "kind": "output"}]
        edges.append((last, len(self.nodes)))
        return {
            "nodes": nodes,
            "edges": [
                {
                    "source": wire.source,
                    "target": target,
                    "name": wire.name,
                    "forward": wire.value.tolist(),
                    "backward": None if wire.gradient is None else wire.gradient.tolist(),
                }
                for wire, target in edges
            ],
        }

    def _add(self, label: str, kind: str) -> int:
        self.nodes.append({"id": len(self.nodes), "label": label, "kind": kind})
        return len(self.nodes) - 1


def to_graphs(records: Iterable[LayerSpec]) -> list[dict[str, Any]]:
    """The book's examples, then a graph for each record."""
    return [*(example() for example in EXAMPLES), *(layer_graph(record) for record in records)]


# --------------------------------------------------------------------------- the book's examples


def apple() -> dict[str, Any]:
    """Two apples at 100 with 10 % tax: section 5.4.1."""
    graph = Recorder()
    price = graph.node("×", MulLayer(), graph.given("apple", 100.0), graph.given("number", 2.0), name="apple price")
    total = graph.node("×", MulLayer(), price, graph.given("tax", 1.1), name="price")
    graph.back(total, 1.0)
    return _example(
        graph,
        "Buying apples",
        "Two apples at 100 with 10 % tax cost 220. The gradient below an arrow says by how much the price rises for "
        "one unit more of what the arrow carries: 2.2 for the price of an apple, 110 for one more apple, 200 for the "
        "tax factor. A multiply node passes on what comes back times its other input.",
    )


def apples_and_oranges() -> dict[str, Any]:
    """Two apples and three oranges: section 5.4.2."""
    graph = Recorder()
    apples = graph.node("×", MulLayer(), graph.given("apple", 100.0), graph.given("apples", 2.0), name="apple price")
    oranges = graph.node(
        "×", MulLayer(), graph.given("orange", 150.0), graph.given("oranges", 3.0), name="orange price"
    )
    both = graph.node("+", AddLayer(), apples, oranges, name="all fruit")
    total = graph.node("×", MulLayer(), both, graph.given("tax", 1.1), name="price")
    graph.back(total, 1.0)
    return _example(
        graph, "Buying apples and oranges", "An add node passes on what comes back, unchanged, to both of its inputs."
    )


def sigmoid() -> dict[str, Any]:
    """The sigmoid of four nodes: section 5.5.2."""
    graph = Recorder()
    negated = graph.node("×", MulLayer(), graph.given("x", 1.0), graph.given("−1", -1.0), name="−x")
    exponential = graph.node("exp", ExpLayer(), negated, name="exp(−x)")
    more = graph.node("+", AddLayer(), exponential, graph.given("1", 1.0), name="1 + exp(−x)")
    y = graph.node("1/·", ReciprocalLayer(), more, name="y")
    graph.back(y, 1.0)
    return _example(
        graph,
        "The sigmoid, node by node",
        "Each node knows its own derivative only; the chain rule multiplies them on the way back. What arrives at x is "
        "y (1 − y), which the layer Sigmoid computes at once.",
    )


EXAMPLES = (apple, apples_and_oranges, sigmoid)


def _example(graph: Recorder, title: str, text: str) -> dict[str, Any]:
    return {"section": "examples", "layer": None, "title": title, "text": text, "case": None, **graph.to_json()}


# --------------------------------------------------------------------------- layers


def example_case(record: LayerSpec, *, rounded: bool = True) -> Case:
    """A small case of a record, always the same; ``rounded`` to one decimal if that is a corner of it."""
    shapes = {a.name: _shape(a.shape) for a in record.arguments} | {"dout": _shape(record.output_shape)}
    return Case(
        record=record.name,
        dtype="float64",
        shapes=tuple(shapes.items()),
        corner=ONE_DECIMAL if rounded and ONE_DECIMAL in record.corners else ORDINARY,
        targets=record.target_forms[0] if record.target_forms else "",
        seed=SEED,
    )


def _shape(template: Template | tuple[()]) -> Shape:
    if template == BROADCAST:
        return ()
    if template == ANY:
        return (2, 2)
    return tuple(SIZES.get(axis, OTHER_SIZE) for axis in template)


def layer_graph(record: LayerSpec) -> dict[str, Any]:
    """The layer as a node with its inputs and parameters, or a network as a row of layers."""
    case = example_case(record)
    graph = _recorded(record, case)
    return {
        "section": record.section,
        "layer": record.name,
        "title": record.name,
        "text": "",
        "case": str(case),
        **graph.to_json(),
    }


def _recorded(record: LayerSpec, case: Case) -> Recorder:
    arrays = materialise(case, record)
    graph = Recorder()
    wires = {name: graph.given(name, values) for name, values in {**arrays.inputs, **arrays.parameters}.items()}
    draw = {"layer": _layer, "function": _function, "network": _network}[record.convention]
    output = draw(graph, record, wires)
    # A loss is where the way back begins: with ∂loss/∂loss.
    dout = np.ones(()) if output.value.shape == () and record.target_forms else np.round(arrays.dout, 1)
    if record.has_backward:
        graph.back(output, dout)
    return graph


def _layer(graph: Recorder, record: LayerSpec, wires: Mapping[str, Wire]) -> Wire:
    parameters = {name: wires[name] for name in record.parameters}
    layer = resolve(record.implementation)(*(wire.value for wire in parameters.values()))
    taken = [wires[a.name] for a in record.arguments if a.role != "parameter"]
    return _through(graph, layer, taken, parameters, name=record.outputs[0])


def _function(graph: Recorder, record: LayerSpec, wires: Mapping[str, Wire]) -> Wire:
    function = resolve(record.implementation)
    return graph.apply(record.class_name, function, None, *wires.values(), name=record.outputs[0])


def _network(graph: Recorder, record: LayerSpec, wires: Mapping[str, Wire]) -> Wire:
    weights = [wires[name].value for name in record.parameters if wires[name].value.ndim == 2]
    assert record.construct is not None  # every network's record has it
    network = record.construct(
        resolve(record.implementation),
        sizes=(len(weights[0]), *(W.shape[1] for W in weights)),
        dtype=weights[0].dtype,
    )
    network.params.update({name: wires[name].value for name in record.parameters})
    x, t = (wires[a.name] for a in record.arguments if a.role != "parameter")
    for layer, (_, names) in zip(network.layers.values(), record.stack, strict=True):
        # A layer calls its own parameters W and b, whatever the network calls them.
        x = _through(graph, layer, [x], {name.rstrip("0123456789"): wires[name] for name in names})
    return _through(graph, network.last_layer, [x, t], {}, name=record.outputs[0])


def _through(
    graph: Recorder, layer: Any, taken: Sequence[Wire], parameters: Mapping[str, Wire], name: str = ""
) -> Wire:
    """A node for a layer: gradients of what it is called with come from backward, those of its parameters from it."""

    def backward(dout: Array) -> Sequence[Any]:
        returned = layer.backward(dout)
        gradients = returned if isinstance(returned, tuple) else (returned,)
        targets = (None,) * (len(taken) - len(gradients))
        return (*gradients, *targets, *(getattr(layer, f"d{own}") for own in parameters))

    label = type(layer).__name__
    return graph.apply(label, layer.forward, backward, *taken, *parameters.values(), passed=taken, name=name)
