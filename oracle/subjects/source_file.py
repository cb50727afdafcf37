"""Somebody's file of layers: imported, and searched for what it defines.

What a class or a function may be is told by its name (the records' ``known_as``), or by the user; how it is called is
found by trying (`oracle.subjects.conventions`). Nothing is written: no bytecode, nothing beside the file.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle.catalog.record import LayerSpec
from oracle.catalog.variants import KNOWN
from oracle.subjects.conventions.calling import Calling
from oracle.subjects.conventions.network import attempts_at_network
from oracle.subjects.conventions.recognition import (
    BACKWARDS,
    CALLED,
    FORWARDS,
    Attempt,
    Told,
    UnknownCallingError,
    attempts_at,
    callings_of_class,
    callings_of_function,
    callings_of_functions,
    untried,
)

#: What stays of a file whose import fails or takes too long.
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
#: Words that people put around the name of a layer.
AROUND = ("layer", "activation", "function", "module", "node", "my", "custom", "numpy", "np", "loss")
FORWARD_WORDS, BACKWARD_WORDS = ("forward", "fwd", ""), ("backward", "bwd", "backprop", "grad", "gradient")


@dataclass(frozen=True)
class Candidate:
    """A class, a function, or a pair of functions of the file, with the records that it may be."""

    name: str
    line: int
    records: tuple[str, ...]
    #: The function that goes with it, where it is the forward of a pair.
    backward: str = ""
    #: What is wrong with it, where that is seen before any call.
    problem: str = ""


class SourceFile:
    """A file, imported. ``candidates`` and ``passed_over`` are plain data, for the judge.

    With ``definitions_only`` nothing but imports, definitions and constants is run, each by itself; what fails among
    them is a note. Raises whatever the file raises.
    """

    def __init__(self, file: str, *, definitions_only: bool, taken_for: dict[str, str] | None = None) -> None:
        self._path = Path(file).resolve()
        self._taken_for = taken_for or {}
        self.notes: list[str] = []
        self._make_importable()
        self._tree = ast.parse(self._path.read_text(encoding="utf-8"), str(self._path))
        self.module = self._run_definitions() if definitions_only else self._import()
        self.candidates: list[Candidate] = []
        self.passed_over: list[dict[str, str]] = []
        self._search()

    def recognise(self, candidate: Candidate, told: Told, *, is_tried: bool = True) -> list[tuple[str, Attempt]]:
        """Every record and way of calling that fits, the likeliest first; without trying, the commonest way alone.

        Raises UnknownCallingError.
        """
        given = getattr(self.module, candidate.name)
        tried: list[tuple[str, Attempt]] = []
        reasons: list[str] = []
        for name in candidate.records:
            record = KNOWN[name]
            try:
                tried += [
                    (name, attempt) for attempt in self._attempts(candidate, given, record, told, is_tried=is_tried)
                ]
            except UnknownCallingError as error:
                reasons.append(str(error))
        if not tried:
            raise UnknownCallingError(reasons[0])
        best = max(sum(attempt.fits) for _, attempt in tried)
        return [(name, attempt) for name, attempt in tried if sum(attempt.fits) == best]

    def _attempts(
        self, candidate: Candidate, given: Any, record: LayerSpec, told: Told, *, is_tried: bool
    ) -> list[Attempt]:
        if record.convention == "network":
            return attempts_at_network(self.module, candidate.name, record, is_tried=is_tried)
        ways: list[list[Calling]] = []
        if isinstance(given, type):
            ways.append(callings_of_class(given, record, told))
        elif candidate.backward:
            ways.append(callings_of_functions(given, getattr(self.module, candidate.backward), record, told))
        else:
            # A loss may give its gradient together with its value; whatever does not has no backward to look at.
            ways += [callings_of_functions(given, None, record, told)] if record.is_loss else []
            ways.append(callings_of_function(given, record, told))
        attempts: list[Attempt] = []
        for callings in ways:
            if not is_tried:
                return [untried(callings[0], record)]
            attempts = attempts_at(self.module, candidate.name, callings[0].applied_to(record), callings, told)
            if all(attempts[0].fits) and len(attempts[0].fits) > len(CALLED):
                break
        return attempts

    # ------------------------------------------------------------------------- imported

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

    # ------------------------------------------------------------------------- searched

    def _search(self) -> None:
        """Every class and function that the file itself defines."""
        defined = [
            node
            for node in self._tree.body
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and hasattr(self.module, node.name)
        ]
        functions = [node.name for node in defined if isinstance(node, ast.FunctionDef)]
        pairs = dict(_pairs(functions))
        for node in defined:
            if node.name in pairs.values():
                continue
            is_class = isinstance(node, ast.ClassDef)
            backward = pairs.get(node.name, "")
            name = _base(node.name, FORWARD_WORDS[:2]) if backward else node.name
            records = self._records(node.name, name, is_class=is_class or bool(backward))
            if not records:
                self.passed_over.append({"name": node.name, "reason": "no layer is known by this name"})
                continue
            problem = _misspelt(node, KNOWN[records[0]])
            self.candidates.append(Candidate(node.name, node.lineno, records, backward, problem))

    def _records(self, name: str, base: str, *, is_class: bool) -> tuple[str, ...]:
        """The names of the records that something of this name may be."""
        if name in self._taken_for:
            return (self._taken_for[name],)
        for wanted in _readings(base):
            known = [record for record in KNOWN.values() if wanted in record.known_as]
            # A function without a backward is a function, if there is a record of one.
            fitting = [r for r in known if (r.convention == "function") is not is_class]
            if not is_class:
                fitting += [r for r in known if r.convention == "layer" and not r.parameters]
            if fitting:
                functions = [r for r in fitting if r.convention == "function"]
                return tuple(record.name for record in (functions or fitting))
        return ()


def _readings(name: str) -> Iterator[str]:
    """A name in lower case without underscores; then without what people put around it."""
    wanted = name.lower().replace("_", "")
    yield wanted
    without_number = wanted.rstrip("0123456789")
    yield without_number
    words = [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    yield "".join(word for word in words if word not in AROUND)
    for word in AROUND:
        yield without_number.removeprefix(word).removesuffix(word)


def _base(name: str, words: tuple[str, ...]) -> str:
    """What is left of a name without one of the words before or after it; empty if it has none of them."""
    wanted = name.lower().strip("_")
    for word in words:
        if word and wanted.endswith(word) and wanted != word:
            return wanted.removesuffix(word).strip("_")
        if word and wanted.startswith(word) and wanted != word:
            return wanted.removeprefix(word).strip("_")
    return ""


def _pairs(functions: list[str]) -> Iterator[tuple[str, str]]:
    """Names of functions that belong together: affine_forward and affine_backward, relu and relu_grad."""
    for backward in functions:
        base = _base(backward, BACKWARD_WORDS)
        if base:
            for forward in functions:
                if forward != backward and base in (_base(forward, FORWARD_WORDS[:2]), forward.lower().strip("_")):
                    yield forward, backward
                    break


def _misspelt(node: ast.ClassDef | ast.FunctionDef, record: LayerSpec) -> str:
    """What is wrong with the names of its methods; empty for nothing, and for a class that may inherit them."""
    if record.convention != "layer" or not isinstance(node, ast.ClassDef) or node.bases:
        return ""
    methods = {n.name: n.lineno for n in node.body if isinstance(n, ast.FunctionDef)}
    has = {"forward": methods.keys() & set(FORWARDS), "backward": methods.keys() & set(BACKWARDS)}
    missing = [name for name, known in has.items() if not known]
    if not missing:
        return _misspelt_init(methods)
    others = methods.keys() - {"forward", "backward"}
    near = {name: difflib.get_close_matches(name, others, n=1) for name in missing}
    if len(missing) == 2 and not all(near.values()):
        return ""
    return "; ".join(
        f"it has no method {name}" + (f"; did you mean {hint[0]} (line {methods[hint[0]]})?" if hint else "")
        for name, hint in near.items()
    )


def _misspelt_init(methods: dict[str, int]) -> str:
    if "__init__" in methods:
        return ""
    (near,) = difflib.get_close_matches("__init__", methods, n=1, cutoff=0.75) or [""]
    return f"it has no __init__; did you mean {near} (line {methods[near]})?" if near.startswith("_") else ""
