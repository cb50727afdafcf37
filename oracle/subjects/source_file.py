"""Somebody's file of layers: imported, and searched for what it defines.

What a class or a function may be is told by its name (the records' ``known_as``), or by the user; what has a forward
and a backward and another name is checked against its own forward. How it is called is found by trying
(`oracle.subjects.conventions`). Nothing is written: no bytecode, nothing beside the file.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import itertools
import json
import re
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracle.catalog.own import OWN
from oracle.catalog.record import LayerSpec
from oracle.catalog.variants import KNOWN
from oracle.subjects.conventions.calling import Calling
from oracle.subjects.conventions.network import attempts_at_network
from oracle.subjects.conventions.own import attempts_at_own, may_be_a_loss
from oracle.subjects.conventions.recognition import (
    BACKWARDS,
    CALLED,
    FORWARDS,
    UNKNOWN_NAME,
    Attempt,
    Told,
    UnknownCallingError,
    attempts_at,
    callings_of_class,
    callings_of_function,
    callings_of_functions,
    methods_of,
    untried,
)
from oracle.subjects.lines import lines_of

#: What marks the root of a repository; beyond it nothing is importable.
ROOTS = (".git", "pyproject.toml", "setup.py", "setup.cfg")
#: What stays of a file whose import fails or takes too long.
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
#: Words that people put around the name of a layer.
AROUND = ("layer", "activation", "function", "module", "node", "my", "custom", "numpy", "np", "loss")
#: A number at the end of a name is a counter (Affine1, Relu2, sigmoid_2), but for those that are established names of
#: other functions: ReLU6 is min(max(x, 0), 6), exp2 is 2^x. An underscore before it makes it a counter again (relu_6).
OTHER_FUNCTIONS = frozenset({"relu6", "exp2"})
FORWARD_WORDS, BACKWARD_WORDS = (
    ("forward", "fwd", ""),
    ("backward", "bwd", "backprop", "grad", "gradient", "prime", "derivative", "deriv", "d_"),
)


@dataclass(frozen=True)
class Code:
    """The Python source of a file; of a notebook, its code cells one after the other, and where each begins."""

    text: str
    #: Of a notebook: the number of each code cell among all cells, and its first line in ``text``.
    cells: tuple[tuple[int, int], ...] = ()

    def place(self, line: int) -> str:
        """``line`` as the user sees it."""
        before = [(number, first) for number, first in self.cells if first <= line]
        return f"cell {before[-1][0]}, line {line - before[-1][1] + 1}" if before else f"line {line}"


def read_code(path: Path) -> Code:
    """The source of a file or of the code cells of a notebook. Raises ValueError for what is no notebook."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix != ".ipynb":
        return Code(text)
    try:
        cells = json.loads(text)["cells"]
        sources = {
            number: "".join(cell["source"]) for number, cell in enumerate(cells, start=1) if cell["cell_type"] == "code"
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("this is no notebook of version 4: a JSON object with a list of cells is required") from error
    lines: list[str] = []
    starts = []
    for number, source in sources.items():
        starts.append((number, len(lines) + 1))
        lines += map(_without_magic, source.split("\n"), itertools.repeat(source.startswith("%%")))
    return Code("\n".join(lines) + "\n", tuple(starts))


def _without_magic(line: str, is_all_magic: bool) -> str:
    """What is meant for Jupyter or a shell is no Python; the lines keep their numbers."""
    if is_all_magic:
        return ""
    bare = line.lstrip()
    return f"{line[: len(line) - len(bare)]}pass" if bare.startswith(("%", "!", "?")) else line


@dataclass(frozen=True)
class Candidate:
    """A class, a function, or a pair of functions of the file, with the records that it may be."""

    name: str
    line: int
    #: The same as the user sees it: ``line 4``, or ``cell 2, line 4``.
    place: str
    records: tuple[str, ...]
    #: The function that goes with it, where it is the forward of a pair.
    backward: str = ""
    #: What is wrong with it, where that is seen before any call.
    problem: str = ""


def recognise(module: Any, candidate: Candidate, told: Told, *, is_tried: bool = True) -> list[tuple[str, Attempt]]:
    """Every record and way of calling that fits, the likeliest first; without trying, the commonest way alone.

    Raises UnknownCallingError.
    """
    given = getattr(module, candidate.name)
    if candidate.records == (OWN,):
        if not is_tried:
            raise UnknownCallingError("the process ended, or did not answer in time, when it was called")
        return attempts_at_own(module, candidate.name, given, candidate.backward, told)
    tried: list[tuple[str, Attempt]] = []
    reasons: list[str] = []
    for name in candidate.records:
        record = KNOWN[name]
        try:
            tried += [
                (name, attempt) for attempt in _attempts(module, candidate, given, record, told, is_tried=is_tried)
            ]
        except UnknownCallingError as error:
            reasons.append(str(error))
    if not tried:
        raise UnknownCallingError(reasons[0])
    best = max(sum(attempt.fits) for _, attempt in tried)
    return [(name, attempt) for name, attempt in tried if sum(attempt.fits) == best]


def _attempts(
    module: Any, candidate: Candidate, given: Any, record: LayerSpec, told: Told, *, is_tried: bool
) -> list[Attempt]:
    if record.convention == "network":
        return attempts_at_network(module, candidate.name, record, is_tried=is_tried)
    ways: list[list[Calling]] = []
    if isinstance(given, type):
        ways.append(callings_of_class(given, record, told))
    elif candidate.backward:
        ways.append(callings_of_functions(given, getattr(module, candidate.backward), record, told))
    else:
        # A loss may give its gradient together with its value; whatever does not has no backward to look at.
        ways += [callings_of_functions(given, None, record, told)] if record.is_loss else []
        ways.append(callings_of_function(given, record, told))
    attempts: list[Attempt] = []
    for callings in ways:
        if not is_tried:
            return [untried(callings[0], record)]
        attempts = attempts_at(module, candidate.name, callings[0].applied_to(record), callings, told)
        if all(attempts[0].fits) and len(attempts[0].fits) > len(CALLED):
            break
    return attempts


class SourceFile:
    """A file, imported. ``candidates`` and ``passed_over`` are plain data, for the judge.

    With ``definitions_only`` nothing but imports, definitions and constants is run, each by itself; what fails among
    them is a note. Raises whatever the file raises.
    """

    def __init__(
        self, file: str, code: Code, *, definitions_only: bool, taken_for: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._path = Path(file).resolve()
        self._taken_for = taken_for or {}
        self.notes: list[str] = []
        self.code = code
        self._make_importable()
        self._tree = ast.parse(self.code.text, str(self._path))
        self.module = self._run_definitions() if definitions_only else self._import()
        self.candidates: list[Candidate] = []
        self.passed_over: list[dict[str, str]] = []
        self._search()

    def lines_of(self, candidate: Candidate, record: LayerSpec, calling: Calling) -> dict[str, tuple[str, str]]:
        """By quantity, where it is computed as the user sees it, and the text of that line."""
        lines = self.code.text.splitlines()
        found = lines_of(self._tree, candidate.name, record, calling)
        return {quantity: (self.code.place(line), lines[line - 1].strip()) for quantity, line in found.items()}

    # ------------------------------------------------------------------------- imported

    def _make_importable(self) -> None:
        """The file's folder and its ancestors up to the root of its repository; without one, the folder above."""
        folder = self._path.parent
        ancestors = [folder, *folder.parents]
        root = next((n for n, f in enumerate(ancestors) if any((f / mark).exists() for mark in ROOTS)), 1)
        sys.path += [str(ancestor) for ancestor in ancestors[: root + 1]]

    def _import(self) -> types.ModuleType:
        module = self._empty_module()
        exec(compile(self._tree, str(self._path), "exec"), module.__dict__)
        return module

    def _run_definitions(self) -> types.ModuleType:
        module = self._empty_module()
        for node in self._tree.body:
            is_constant = isinstance(node, ast.Assign) and not any(isinstance(n, ast.Call) for n in ast.walk(node))
            if not (isinstance(node, DEFINITIONS) or is_constant):
                continue
            try:
                exec(compile(ast.Module([node], []), str(self._path), "exec"), module.__dict__)
            except Exception as error:
                self.notes.append(f"{self.code.place(node.lineno)}: {type(error).__name__}: {error}")
        return module

    def _empty_module(self) -> types.ModuleType:
        """A module of its name; in a package, or where it imports relatively, as a part of that."""
        folder = self._path.parent
        parents: list[str] = []
        is_relative = any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(self._tree))
        while (folder / "__init__.py").exists() or (is_relative and not parents):
            parents.insert(0, folder.name)
            folder = folder.parent
        package = ".".join(parents)
        if parents:
            sys.path.append(str(folder))
            try:
                importlib.import_module(package)
            except Exception as error:
                self.notes.append(f"the package {package}: {type(error).__name__}: {error}")
        module = types.ModuleType(f"{package}.{self._path.stem}" if package else self._path.stem)
        module.__file__, module.__package__ = str(self._path), package
        sys.modules[module.__name__] = module
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
            name = (_base(node.name, FORWARD_WORDS[:2]) if backward else "") or node.name
            taken_for = self._taken_for.get(node.name)
            records = tuple(taken_for) if taken_for else records_known_as(name, is_class=is_class or bool(backward))
            if not records:
                if not (backward or self._gives_its_gradient(node) or (is_class and self._is_layer(node))):
                    self.passed_over.append({"name": node.name, "reason": UNKNOWN_NAME})
                    continue
                records = (OWN,)
            problem = "" if records == (OWN,) else _misspelt(node, KNOWN[records[0]], self.code)
            place = self.code.place(node.lineno)
            self.candidates.append(Candidate(node.name, node.lineno, place, records, backward, problem))

    def _gives_its_gradient(self, node: ast.ClassDef | ast.FunctionDef) -> bool:
        """Whether a function of its own is called like a loss, and returns two things wherever it returns."""
        given = getattr(self.module, node.name)
        if not isinstance(node, ast.FunctionDef) or not callable(given) or not may_be_a_loss(node.name, given):
            return False
        returned = [n.value for n in ast.walk(node) if isinstance(n, ast.Return)]
        return bool(returned) and all(isinstance(value, ast.Tuple) and len(value.elts) == 2 for value in returned)

    def _is_layer(self, node: ast.ClassDef | ast.FunctionDef) -> bool:
        """Whether a class of a name that nobody knows has a forward and a backward, and means them to be called."""
        given = getattr(self.module, node.name)
        if not isinstance(given, type):
            return False
        bodies = {n.name: n.body for n in node.body if isinstance(n, ast.FunctionDef)}
        return all(name and not _is_abstract(bodies.get(name, [])) for name in methods_of(given))


def _is_abstract(body: list[ast.stmt]) -> bool:
    """Whether a method does nothing but say that a subclass has it: no statement, or NotImplementedError."""
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:] or [ast.Pass()]
    is_raised = bool(body) and isinstance(body[0], ast.Raise) and "NotImplemented" in ast.unparse(body[0])
    return is_raised or (bool(body) and all(isinstance(statement, ast.Pass) for statement in body))


def records_known_as(name: str, *, is_class: bool) -> tuple[str, ...]:
    """The names of the records that something of this name may be; a pair of functions counts as a class."""
    for wanted in _readings(name):
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
    words = re.findall(r"_\d+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    if "".join(word.lower() for word in words if word.lower() not in AROUND) in OTHER_FUNCTIONS:
        return
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
    # conv_forward_naive and conv_backward_naive: the whole words alone, since a grad in the middle may mean anything.
    parts = wanted.split("_")
    for word in words:
        if word in (*FORWARD_WORDS[:2], *BACKWARD_WORDS[:2]) and word in parts:
            return "_".join(part for part in parts if part != word)
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


def _misspelt(node: ast.ClassDef | ast.FunctionDef, record: LayerSpec, code: Code) -> str:
    """What is wrong with the names of its methods; empty for nothing, and for a class that may inherit them."""
    if record.convention != "layer" or not isinstance(node, ast.ClassDef) or node.bases:
        return ""
    methods = {n.name: n.lineno for n in node.body if isinstance(n, ast.FunctionDef)}
    has = {"forward": methods.keys() & set(FORWARDS), "backward": methods.keys() & set(BACKWARDS)}
    missing = [name for name, known in has.items() if not known]
    if not missing:
        return _misspelt_init(methods, code)
    others = methods.keys() - {"forward", "backward"}
    near = {name: difflib.get_close_matches(name, others, n=1) for name in missing}
    if len(missing) == 2 and not all(near.values()):
        return ""
    return "; ".join(
        f"it has no method {name}" + (f"; did you mean {hint[0]} ({code.place(methods[hint[0]])})?" if hint else "")
        for name, hint in near.items()
    )


def _misspelt_init(methods: dict[str, int], code: Code) -> str:
    if "__init__" in methods:
        return ""
    (near,) = difflib.get_close_matches("__init__", methods, n=1, cutoff=0.75) or [""]
    return f"it has no __init__; did you mean {near} ({code.place(methods[near])})?" if near.startswith("_") else ""
