"""Which line of somebody's file a quantity comes from, as far as its text tells."""

from __future__ import annotations

import ast

from oracle.catalog.record import LayerSpec
from oracle.subjects.conventions.calling import CLASS, NETWORK, UPDATE, Calling

Function = ast.FunctionDef


def lines_of(tree: ast.Module, name: str, record: LayerSpec, calling: Calling) -> dict[str, int]:
    """By quantity, the line that assigns it or returns it. What cannot be told is left out."""
    defined = {node.name: node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    forward = _function(defined, name, calling, calling.forward)
    backward = _function(defined, name, calling, calling.backward) if calling.backward else forward
    lines: dict[str, int | None] = {}
    if forward is not None:
        place = "returned[0]" if calling.cache or (not calling.backward and record.has_backward) else calling.output
        lines[record.outputs[0]] = _line(forward, place)
    if backward is not None and record.has_backward:
        places = dict(zip(record.differentiable_inputs, calling.input_gradients, strict=False)) | dict(
            calling.gradients
        )
        for argument in record.differentiated:
            place = places.get(argument, "returned")
            lines[record.gradient_name(argument)] = _line(
                backward, calling.parameters.get(argument, place) if place == UPDATE else place
            )
    return {quantity: line for quantity, line in lines.items() if line is not None}


def _function(
    defined: dict[str, ast.ClassDef | ast.FunctionDef], name: str, calling: Calling, wanted: str
) -> Function | None:
    """The method or function of that name; a method may stand in a base class of the same file."""
    if calling.kind not in (CLASS, NETWORK):
        found = defined.get(wanted)
        return found if isinstance(found, Function) else None
    node = defined.get(name)
    while isinstance(node, ast.ClassDef):
        methods = {n.name: n for n in node.body if isinstance(n, Function)}
        if wanted in methods:
            return methods[wanted]
        base = next((b.id for b in node.bases if isinstance(b, ast.Name)), "")
        node = defined.get(base)
    return None


def _line(function: Function, place: str) -> int | None:
    """The last line that puts something at a place, or that returns what lies there."""
    nodes = sorted((n for n in ast.walk(function) if hasattr(n, "lineno")), key=lambda n: n.lineno)
    if place.startswith("self"):
        return _assigned(nodes, place)
    returns = [n for n in nodes if isinstance(n, ast.Return) and n.value is not None]
    if not returns:
        return None
    value: ast.expr | None = returns[-1].value
    for index in _steps(place):
        if isinstance(value, (ast.Tuple, ast.List)) and isinstance(index, int) and index < len(value.elts):
            value = value.elts[index]
        elif isinstance(value, ast.Dict):
            keys = [k.value if isinstance(k, ast.Constant) else None for k in value.keys]
            value = value.values[keys.index(index)] if index in keys else None
        else:
            # What is returned was put together before.
            entry = f"{ast.unparse(value)}[{index!r}]" if value is not None else ""
            return _assigned(nodes, entry) or returns[-1].lineno
    if isinstance(value, (ast.Name, ast.Attribute)):
        return _assigned(nodes, ast.unparse(value)) or value.lineno
    return value.lineno if value is not None else returns[-1].lineno


def _steps(place: str) -> list[int | str]:
    """The indices and keys in ``returned[1]['W']``."""
    node: ast.expr = ast.parse(place, mode="eval").body
    steps: list[int | str] = []
    while isinstance(node, ast.Subscript):
        steps.insert(0, ast.literal_eval(node.slice))
        node = node.value
    return steps


def _assigned(nodes: list[ast.AST], target: str) -> int | None:
    """The last line that assigns to ``target``, also to entries of it."""
    line = None
    for node in nodes:
        if isinstance(node, ast.Assign):
            targets = [t for one in node.targets for t in (one.elts if isinstance(one, ast.Tuple) else [one])]
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            targets = [node.target]
        else:
            continue
        for written in targets:
            bare = written.value if isinstance(written, ast.Subscript) and ast.unparse(written) != target else written
            if ast.unparse(bare) == target:
                line = node.lineno
    return line
