"""That the tests run on what they claim to run on, and that imports load no more than they should.

tox states what an environment is meant to be in ORACLE_EXPECT_*; an environment that turned out to be another
one would otherwise be green without having tested anything new.
"""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import scratch


def expected(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        pytest.skip(f"{name} is not set: only tox knows what its environments are meant to be")
    return value


def test_torch_is_there_or_not_as_the_environment_says():
    found = importlib.util.find_spec("torch") is not None
    assert found == {"0": False, "1": True}[expected("ORACLE_EXPECT_TORCH")]


def test_numpy_is_the_one_that_the_environment_names():
    assert ".".join(np.__version__.split(".")[:2]) == expected("ORACLE_EXPECT_NUMPY")


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("scratch", ["torch", "scipy", "sklearn", "hypothesis", "oracle"]),
        ("oracle", ["torch"]),
        ("oracle.twins", ["torch"]),
        ("oracle.data", ["torch", "sklearn"]),
    ],
)
def test_import_loads_no_more_than_it_should(module, unwanted):
    """In a process of its own, since this one has loaded them already."""
    code = f"import sys, {module}; print([name for name in {unwanted} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_scratch_imports_numpy_and_the_standard_library_only():
    """The lint contract forbids what it lists; here everything else is forbidden, in functions as well."""
    root = Path(scratch.__file__).parent
    allowed = {"scratch", "numpy", *sys.stdlib_module_names}
    foreign = set()
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            else:
                continue
            foreign |= {f"{file.relative_to(root)}: {name}" for name in modules if name.split(".")[0] not in allowed}
    assert foreign == set()
