"""Runs mutmut, over decorated functions too: python tests/mutation/mutate.py [--max-children N].

Mutmut leaves decorated functions alone, since it copies a function with its decorators for every mutant. Here nearly
everything worth mutating is decorated: forward and backward of every layer (`ieee`), and the properties. So a function
whose only decorator is one of `TRANSPARENT` keeps it outside, and copies are made of what is inside. That reaches into
mutmut, hence its exact version in pyproject.toml.

Results are kept in mutants/, and a run goes on where the last one stopped. What survived is tried again, since a test
may have been written for it. What was killed is not: delete mutants/ to start afresh.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import libcst as cst
from mutmut.__main__ import cli
from mutmut.mutation import file_mutation

TRANSPARENT = {"contextmanager", "ieee", "property"}
KILLED = 1  # mutmut's exit code for it, pytest's for a failure

mutmuts_skip = file_mutation.MutationVisitor._skip_node_and_children
mutmuts_arrangement = file_mutation.function_trampoline_arrangement


def is_transparent(function: cst.FunctionDef) -> bool:
    """Whether the function has one decorator, which does no more than wrap it."""
    names = [each.decorator.value for each in function.decorators if isinstance(each.decorator, cst.Name)]
    return len(function.decorators) == 1 and TRANSPARENT.issuperset(names) and names != []


def skip(visitor, node) -> bool:
    if isinstance(node, cst.FunctionDef) and is_transparent(node):
        return False
    return mutmuts_skip(visitor, node)


def arrangement(function: cst.FunctionDef, mutants, class_name):
    """Mutmut's, with a transparent decorator on the function that chooses between the copies, and not on them."""
    if not is_transparent(function):
        return mutmuts_arrangement(function, mutants, class_name)
    declared, (chooser, *copies), assigned, names = mutmuts_arrangement(
        function.with_changes(decorators=[]), mutants, class_name
    )
    chooser = chooser.with_changes(decorators=[*function.decorators, *chooser.decorators])
    return declared, [chooser, *copies], assigned, names


def forget_survivors() -> None:
    for path in Path("mutants").rglob("*.meta"):
        results = json.loads(path.read_text(encoding="utf-8"))
        codes = results["exit_code_by_key"]
        results["exit_code_by_key"] = {mutant: code if code == KILLED else None for mutant, code in codes.items()}
        path.write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    file_mutation.MutationVisitor._skip_node_and_children = skip
    file_mutation.function_trampoline_arrangement = arrangement
    forget_survivors()
    cli(["run", *sys.argv[1:]])
