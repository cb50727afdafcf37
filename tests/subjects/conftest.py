"""Files written for a test, and what ``oracle check`` says of them; samples with a line of them changed."""

import importlib.util
import json
import re
import sys
import textwrap
from pathlib import Path

import pytest

from oracle.cli import main

#: Samples of layers and losses that nobody knows by their names.
UNKNOWN = ("unknown_names", "several_inputs", "unknown_losses")


@pytest.fixture
def written(tmp_path):
    """written(source, name) -> the path of a file with that source."""

    def write(source, name="my_layers.py"):
        path = tmp_path / "theirs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    return write


@pytest.fixture
def checked(written, tmp_path, capsys):
    """checked(source, …) -> (exit status, the subjects of the JSON by name, what was printed)."""

    def run(source, *options, name="my_layers.py"):
        path = written(source, name)
        before = sorted(path.parent.rglob("*"))
        out = tmp_path / "report.json"
        status = main(["check", str(path), "--json", str(out), *options])
        assert sorted(path.parent.rglob("*")) == before  # nothing is written beside the file
        report = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {"subjects": []}
        return status, {subject["name"]: subject for subject in report["subjects"]}, capsys.readouterr()

    return run


@pytest.fixture
def altered(tmp_path, monkeypatch):
    """altered(name, right, wrong) -> the layer of that name in a sample, with one thing changed."""

    def of(name, right, wrong):
        samples = [(Path(__file__).parent / "samples" / f"{n}.py").read_text(encoding="utf-8") for n in UNKNOWN]
        defined = rf"^(class|def) {name}\b"
        (source,) = (text for text in samples if re.search(defined, text, re.MULTILINE))
        begin = re.search(defined, source, re.MULTILINE).start()
        # What stands after its first line; or in a function that it calls, which stands before.
        begin = source.find(right, begin) if right in source[begin:] else source.index(right)
        source = source[:begin] + wrong + source[begin + len(right) :]
        path = tmp_path / f"altered_{name}.py"
        path.write_text(source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        # Where the backward of a function is looked for.
        monkeypatch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        return getattr(module, name)

    return of
