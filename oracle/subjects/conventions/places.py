"""Places: where an array lies, written as one would in Python, and the names that people give to such places.

A place is ``self.dW``, ``self.grads['W']``, ``self.W.grad``, ``returned[1]`` or ``module.lr``. As text it crosses to
the worker and is shown to the user.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Array = np.ndarray

#: What parameters are called, in lower case and without underscores, by the number of their axes.
NAMES = {2: ("w", "weight", "weights", "kernel", "theta"), 1: ("b", "bias", "biases", "beta")}
#: What is put before or after such a name for its gradient.
BEFORE = ("d", "dl", "dld", "dj", "djd", "dloss", "dlossd", "dcost", "g", "grad", "gradient", "delta", "nabla", "del")
AFTER = ("grad", "grads", "gradient", "gradients", "g", "delta", "d")
#: Containers of gradients.
CONTAINERS = ("grads", "grad", "gradients", "gradient", "dparams", "derivatives")
#: What a step size is called.
LEARNING_RATES = ("lr", "learningrate", "eta", "alpha", "stepsize", "rate")
#: What the results of a forward and a backward that return nothing are called.
OUTPUTS = ("output", "out", "outputs", "y", "a", "activation", "value", "z")
INPUT_GRADIENTS = ("dinputs", "dinput", "dx", "dinp", "gradinput", "gradinputs", "inputgrad", "inputgradient")


def plain(name: str) -> str:
    """A name in lower case, without underscores."""
    return name.lower().replace("_", "")


def is_named_for(name: str, argument: str, axes: int) -> bool:
    """Whether ``name`` is one that people give to the parameter ``argument``, which has so many axes."""
    return plain(name) in (plain(argument), *(NAMES.get(axes, ()) if argument in ("W", "b") else ()))


def is_named_for_gradient(name: str, argument: str, axes: int) -> bool:
    """Whether ``name`` is one that people give to the gradient of the parameter ``argument``."""
    wanted = plain(name)
    return any(
        is_named_for(rest, argument, axes)
        for rest in (
            *(wanted.removeprefix(mark) for mark in BEFORE if wanted.startswith(mark)),
            *(wanted.removesuffix(mark) for mark in AFTER if wanted.endswith(mark)),
        )
        if rest
    )


def read(place: str, roots: Mapping[str, Any]) -> Any:
    """What lies at a place; raises what Python raises where there is nothing (AttributeError, KeyError, …)."""
    return _evaluate(ast.parse(place, mode="eval").body, roots)


def write(place: str, roots: Mapping[str, Any], value: Any) -> None:
    """Put ``value`` there."""
    node = ast.parse(place, mode="eval").body
    if isinstance(node, ast.Attribute):
        setattr(_evaluate(node.value, roots), node.attr, value)
    elif isinstance(node, ast.Subscript):
        _evaluate(node.value, roots)[ast.literal_eval(node.slice)] = value
    else:
        raise ValueError(f"{place}: an attribute or an entry is required, such as self.W or self.params['W']")


def require_place(place: str) -> str:
    """``place`` as it is written here: a bare name is an attribute of self. Raises ValueError for anything else."""
    try:
        node = ast.parse(place, mode="eval").body
        root = node
        while isinstance(root, (ast.Attribute, ast.Subscript)):
            if isinstance(root, ast.Subscript):
                ast.literal_eval(root.slice)
            root = root.value
    except (SyntaxError, ValueError):
        root = ast.Constant(0)
    if not isinstance(root, ast.Name):
        raise ValueError(f"{place!r} is no place; a name such as dLdW, grads['W'] or returned[1] is required")
    return place if root.id in ("self", "returned", "module") else f"self.{place}"


def _evaluate(node: ast.expr, roots: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return roots[node.id]
    if isinstance(node, ast.Attribute):
        return getattr(_evaluate(node.value, roots), node.attr)
    if isinstance(node, ast.Subscript):
        return _evaluate(node.value, roots)[ast.literal_eval(node.slice)]
    raise ValueError(f"{ast.unparse(node)} is no place")


def places_in(held: Any, root: str, depth: int = 2) -> Iterator[tuple[str, Array]]:
    """Every array that is reached from ``held`` in so many steps, with its place; those nearest first."""
    inside: list[tuple[str, Any]] = []
    for place, value in _entries(held, root):
        if isinstance(value, np.ndarray):
            yield place, value
        elif depth > 1:
            inside.append((place, value))
    for place, value in inside:
        yield from places_in(value, place, depth - 1)


def numbers_in(held: Any, root: str) -> Iterator[str]:
    """The places of the floating-point numbers that are attributes of ``held``."""
    for place, value in _entries(held, root):
        if isinstance(value, (float, np.floating)):
            yield place


def _entries(held: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(held, Mapping):
        yield from ((f"{place}[{key!r}]", value) for key, value in held.items() if isinstance(key, (str, int)))
    elif isinstance(held, (list, tuple)):
        yield from ((f"{place}[{index}]", value) for index, value in enumerate(held))
    elif hasattr(held, "__dict__") and not isinstance(held, type):
        yield from ((f"{place}.{name}", value) for name, value in vars(held).items())


def last_name(place: str) -> str:
    """The name of the attribute, or the key if that is a string, that a place ends with."""
    node = ast.parse(place, mode="eval").body
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        key = ast.literal_eval(node.slice)
        return key if isinstance(key, str) else ""
    return ""


def container_name(place: str) -> str:
    """The name of the dictionary, list or object that a place lies in; empty for an attribute of self."""
    node = ast.parse(place, mode="eval").body
    holder = node.value if isinstance(node, (ast.Attribute, ast.Subscript)) else None
    return holder.attr if isinstance(holder, ast.Attribute) else ""


def replace_everywhere(held: Any, old: Array, new: Array, depth: int = 4, seen: set[int] | None = None) -> None:
    """Put ``new`` wherever the very array ``old`` is reached from ``held``: the layers of a network share them."""
    seen = set() if seen is None else seen
    if id(held) in seen or depth == 0:
        return
    seen.add(id(held))
    if isinstance(held, dict):
        for key, value in held.items():
            if value is old:
                held[key] = new
            else:
                replace_everywhere(value, old, new, depth - 1, seen)
    elif isinstance(held, list):
        for index, value in enumerate(held):
            if value is old:
                held[index] = new
            else:
                replace_everywhere(value, old, new, depth - 1, seen)
    elif isinstance(held, tuple):
        for value in held:
            replace_everywhere(value, old, new, depth - 1, seen)
    elif hasattr(held, "__dict__") and not isinstance(held, (type, np.ndarray)):
        replace_everywhere(vars(held), old, new, depth, seen)
