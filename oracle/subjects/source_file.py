"""Somebody's file of layers: imported, and searched for what it defines.

What a class or a function is, is told by its name (the record's ``known_as``) and by how it is called. Nothing is
written: no bytecode, nothing beside the file.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oracle.catalog.record import LayerSpec
from oracle.catalog.records import RECORDS

#: What stays of a file whose import fails or takes too long.
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
WEIGHTS_GIVEN, SIZES_GIVEN, NO_PARAMETERS, FUNCTION = "(W, b)", "(in, out)", "()", "function"
WITH_A_CACHE = "functions with a cache"
FORWARD, BACKWARD = "_forward", "_backward"


class SourceFile:
    """A file, imported. ``found`` and ``passed_over`` are plain data, for the judge.

    With ``definitions_only`` nothing but imports, definitions and constants is run, each by itself; what fails among
    them is a note. Raises whatever the file raises.
    """

    def __init__(self, file: str, *, definitions_only: bool) -> None:
        self._path = Path(file).resolve()
        self.notes: list[str] = []
        self._make_importable()
        source = self._path.read_text(encoding="utf-8")
        self._tree = ast.parse(source, str(self._path))
        self._module = self._run_definitions() if definitions_only else self._import()
        self.found: list[dict[str, Any]] = []
        self.passed_over: list[dict[str, str]] = []
        self._search()

    def factory(self, name: str, record: LayerSpec, convention: str) -> Callable[..., Any]:
        """What makes an instance with the parameters of the record, or the function itself."""
        if convention == WITH_A_CACHE:
            functions = (getattr(self._module, name + suffix) for suffix in (FORWARD, BACKWARD))
            return _with_a_cache(record, *functions)
        given = getattr(self._module, name)
        if convention == SIZES_GIVEN:
            return _with_weights(given)
        return given

    def _make_importable(self) -> None:
        """The file's folder and its ancestors up to the root of its repository."""
        folder = self._path.parent
        for ancestor in (folder, *folder.parents):
            sys.path.append(str(ancestor))
            if (ancestor / ".git").exists():
                return
        del sys.path[-len(folder.parents) :]

    def _import(self) -> types.ModuleType:
        spec = importlib.util.spec_from_file_location(self._path.stem, self._path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[self._path.stem] = module
        spec.loader.exec_module(module)
        return module

    def _run_definitions(self) -> types.ModuleType:
        module = types.ModuleType(self._path.stem)
        module.__file__ = str(self._path)
        for node in self._tree.body:
            is_constant = isinstance(node, ast.Assign) and not any(isinstance(n, ast.Call) for n in ast.walk(node))
            if not (isinstance(node, DEFINITIONS) or is_constant):
                continue
            try:
                exec(compile(ast.Module([node], []), str(self._path), "exec"), module.__dict__)
            except Exception as error:
                self.notes.append(f"line {node.lineno}: {type(error).__name__}: {error}")
        return module

    def _search(self) -> None:
        """Every class and function that the file itself defines."""
        for node in self._tree.body:
            if not isinstance(node, (ast.ClassDef, ast.FunctionDef)) or not hasattr(self._module, node.name):
                continue
            if self._is_half_of_a_pair(node):
                continue
            given = getattr(self._module, node.name)
            record = _record_known_as(node.name, is_class=isinstance(node, ast.ClassDef))
            if record is None:
                self.passed_over.append({"name": node.name, "reason": "no layer is known by this name"})
                continue
            misspelt = _misspelt(node, record)
            convention, why_not = (NO_PARAMETERS, "") if misspelt else _convention(given, record)
            if convention is None:
                self.passed_over.append({"name": node.name, "reason": why_not})
                continue
            entry = {"name": node.name, "line": node.lineno, "record": record.name, "convention": convention}
            self.found.append({**entry, "problem": misspelt})

    def _is_half_of_a_pair(self, node: ast.ClassDef | ast.FunctionDef) -> bool:
        """Whether it is ``affine_forward`` or ``affine_backward`` where there are both; the first is what is found."""
        if not isinstance(node, ast.FunctionDef) or not node.name.endswith((FORWARD, BACKWARD)):
            return False
        name = node.name.removesuffix(FORWARD).removesuffix(BACKWARD)
        record = _record_known_as(name, is_class=True)
        has_both = all(callable(getattr(self._module, name + suffix, None)) for suffix in (FORWARD, BACKWARD))
        if record is None or not has_both or record.is_loss:
            return False
        if node.name.endswith(FORWARD):
            entry = {"name": name, "line": node.lineno, "record": record.name, "convention": WITH_A_CACHE}
            self.found.append({**entry, "problem": ""})
        return True


def _record_known_as(name: str, *, is_class: bool) -> LayerSpec | None:
    wanted = name.lower().replace("_", "")
    for record in RECORDS.values():
        if wanted in record.known_as and is_class is (record.convention != "function"):
            return record
    return None


def _misspelt(node: ast.ClassDef | ast.FunctionDef, record: LayerSpec) -> str:
    """What is wrong with the names of its methods; empty for nothing, and for a class that may inherit them."""
    if record.convention != "layer" or not isinstance(node, ast.ClassDef) or node.bases:
        return ""
    methods = {n.name: n.lineno for n in node.body if isinstance(n, ast.FunctionDef)}
    missing = [name for name in ("forward", "backward") if name not in methods]
    if len(missing) != 1:
        return ""
    (near,) = difflib.get_close_matches(missing[0], methods.keys() - {"forward", "backward"}, n=1) or [""]
    if not near:
        return f"it has no method {missing[0]}"
    return f"it has no method {missing[0]}; did you mean {near} (line {methods[near]})?"


def _convention(given: Any, record: LayerSpec) -> tuple[str | None, str]:
    """How it is called, or why it cannot be told."""
    if record.convention == "function":
        return FUNCTION, ""
    missing = [name for name in ("forward", "backward") if not hasattr(given, name)]
    if record.convention == "network":
        return None, "networks are not checked yet"
    if len(missing) == 2:
        return None, "it has neither forward nor backward"
    required = [
        p
        for p in inspect.signature(given.__init__).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ][1:]
    if not record.parameters:
        return (NO_PARAMETERS, "") if not required else (None, f"its constructor wants {len(required)} arguments")
    if len(required) == len(record.parameters):
        looks_like_sizes = any(word in required[0].name.lower() for word in ("in", "size", "dim", "n_", "fan"))
        return (SIZES_GIVEN if looks_like_sizes else WEIGHTS_GIVEN), ""
    return None, f"its constructor wants {len(required)} arguments, and {len(record.parameters)} parameters are known"


def _with_weights(given: Any) -> Callable[..., Any]:
    """A class that draws its own weights from sizes, with the weights of a case put in."""

    def make(W: Any, b: Any) -> Any:
        layer = given(*W.shape)
        layer.W, layer.b = W, b
        return layer

    return make


def _with_a_cache(record: LayerSpec, forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """``y, cache = forward(x, W, b)`` and ``dx, dW, db = backward(dout, cache)`` as a class."""

    class Pair:
        def __init__(self, *parameters: Any) -> None:
            for name, values in zip(record.parameters, parameters, strict=True):
                setattr(self, name, values)

        def forward(self, *inputs: Any) -> Any:
            y, self.cache = forward(*inputs, *(getattr(self, name) for name in record.parameters))
            return y

        def backward(self, dout: Any) -> Any:
            returned = backward(dout, self.cache)
            if not record.parameters:
                return returned
            inputs = len(record.differentiable_inputs)
            for name, gradient in zip(record.parameters, returned[inputs:], strict=True):
                setattr(self, record.gradient_name(name), gradient)
            return returned[0] if inputs == 1 else tuple(returned[:inputs])

    return Pair
