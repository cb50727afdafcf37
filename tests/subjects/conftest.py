"""Files written for a test, and what ``oracle check`` says of them."""

import json
import textwrap

import pytest

from oracle.cli import main


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
