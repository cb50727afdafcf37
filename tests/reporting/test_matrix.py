"""The reports of many environments in one table: what it shows, what is missing, what failed, and what is refused."""

import configparser
import itertools
import json
import re
from pathlib import Path

import pytest

from oracle import cli
from oracle.reporting import matrix
from oracle.reporting.baseline import to_baseline

ROOT = Path(__file__).parents[2]
PASSED = '<testsuites><testsuite><testcase classname="tests.test_a" name="test_b"/></testsuite></testsuites>'
FAILED = """<testsuites><testsuite><testcase classname="tests.test_a" name="test_b"><failure/></testcase>
<testcase classname="tests.test_a" name="test_c"><skipped/></testcase>
<testcase classname="tests.test_a" name="test_d"/></testsuite></testsuites>"""


@pytest.fixture
def leave(write, tmp_path):
    """What an environment leaves in its folder."""

    def left(name, report=None, tests=None):
        folder = tmp_path / "matrix" / name
        folder.mkdir(parents=True)
        if report is not None:
            write(f"matrix/{name}/gradient_errors.json", report)
        if tests is not None:
            (folder / "tests.xml").write_text(tests, encoding="utf-8")
        return folder

    return left


@pytest.fixture
def run(tmp_path):
    def called(*arguments):
        return cli.main(["matrix", str(tmp_path / "matrix"), "--out", str(tmp_path / "out"), *map(str, arguments)])

    return called


@pytest.fixture
def written(tmp_path):
    return lambda: (tmp_path / "out" / "matrix.md").read_text(encoding="utf-8")


def lines_of(text, start):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if start in line]


def test_one_table_of_layers_by_environments_with_the_worst_margin(leave, run, written, make_report, make_row):
    leave("py311", make_report(make_row(margin=0.02), make_row(quantity="db", margin=0.01), make_row("Relu", margin=0)))
    leave("py312", make_report(make_row(margin=0.08), python="3.12.1"), PASSED)
    assert run() == 0
    text = written()
    assert lines_of(text, "| Affine") == [["Affine", "0.02", "0.08", "4×"]]
    assert lines_of(text, "| Relu") == [["Relu", "0", "·", ""]]
    assert "2 environments, none failed; 0 missing; tests not run in 1." in text
    assert lines_of(text, "py312")[0][-2:] == ["right", "1 passed, 0 failed"]
    assert "3.12.1" in text


def test_missing_environments_are_named_with_their_interpreter(leave, run, written, make_report, monkeypatch, capsys):
    monkeypatch.setattr(matrix, "_runs", lambda python: python != "python3.99")
    leave("py311-notorch", make_report())
    expected = ["--expect", "py311-notorch", "py399-numpy-notorch", "py311-numpy126"]
    assert run(*expected) == 0
    said = "it left nothing, and its interpreter, python3.99, is missing here"
    assert f"- **py399-numpy-notorch** is missing: {said}\n" in written()
    assert "- **py311-numpy126** is missing: it was not run" in written()
    assert "1 environment, none failed; 2 missing; tests not run in 1." in written()
    assert "2 missing" in capsys.readouterr().out
    assert lines_of(written(), "py399-numpy-notorch")[1][-2:] == ["missing", "not run"]
    assert run(*expected, "--strict") == 1
    assert run("--expect", "py311-notorch", "--strict") == 0


def test_an_interpreter_that_only_complains_does_not_run():
    assert not matrix._runs("python3.99")


def test_failures_come_first_and_end_with_1(leave, run, written, make_report, make_row):
    leave("a", make_report(make_row(margin=0.02)))
    leave("b", make_report(make_row("Relu", verdict="backward wrong", margin=7.0), verdict="backward wrong"))
    leave("c", make_report(), FAILED)
    leave("d", None, FAILED)
    assert run() == 1
    text = written()
    first, _, tables = text.partition("## Environments")
    assert "3 of 4 environments failed; 0 missing; tests not run in 2." in first
    assert "- **b** failed: Relu (backward wrong)" in first
    assert "- **c** failed 1 test: `tests.test_a.test_b`" in first
    assert "- **d** failed: it left no report" in first
    assert "✗ backward wrong 7" in tables


def test_a_hazard_is_an_error_with_strict_only(leave, run, make_report):
    leave("a", make_report(verdict="hazard"))
    assert run() == 0
    assert run("--strict") == 1


def test_the_json_has_every_cell(leave, run, make_report, make_row, capsys):
    leave("a", make_report(make_row(margin=0.25)), PASSED)
    assert run("--json", "-", "--expect", "py398-x") == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["schema"], printed["kind"]) == (1, "matrix")
    assert printed["rows"] == [{"environment": "a", "layer": "Affine", "verdict": "right", "margin": 0.25}]
    assert printed["environments"][0]["tests"] == {"passed": 1, "skipped": 0, "failed": []}
    assert [entry["name"] for entry in printed["missing"]] == ["py398-x"]


def test_what_cannot_be_gathered_is_refused_with_2(leave, run, tmp_path, make_report, capsys):
    assert run() == 2
    assert "no such directory" in capsys.readouterr().err
    folder = leave("a")
    assert run() == 2
    assert "no gradient_errors.json was found" in capsys.readouterr().err
    (folder / "gradient_errors.json").write_text("{", encoding="utf-8")
    assert run() == 2
    assert "is damaged" in capsys.readouterr().err
    (folder / "gradient_errors.json").write_text(json.dumps(to_baseline(make_report())), encoding="utf-8")
    assert run() == 0
    (folder / "tests.xml").write_text("<testsuites", encoding="utf-8")
    assert run() == 2
    assert "tests.xml: is damaged" in capsys.readouterr().err
    (folder / "tests.xml").unlink()
    assert cli.main(["matrix", str(folder), str(folder.parent), "--out", str(tmp_path / "out")]) == 2
    assert "is of an environment of this name too" in capsys.readouterr().err


def test_the_workflow_runs_every_environment_that_the_table_expects():
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "tox.ini", encoding="utf-8")
    expected = settings["testenv:matrix"]["commands"].partition("--expect")[2].replace("\\", "").split()
    workflow = (ROOT / ".github" / "workflows" / "matrix.yml").read_text(encoding="utf-8")
    run = re.findall(r'environment: (\S+), python: "(\S+)"', workflow)
    assert [name for name, _ in run] == expected
    assert all(matrix._interpreter(name) == f"python{python}" for name, python in run)


@pytest.fixture(scope="module")
def tox_settings():
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "tox.ini", encoding="utf-8")
    return settings


def generated(names):
    """The names that tox makes of ``py{311,312}-notorch, other``."""
    found = []
    for name in re.split(r",(?![^{]*})", names.replace("\\", "").replace("\n", " ")):
        parts = [part.split(",") for part in re.split(r"[{}]", name.strip())]
        found += ["".join(chosen) for chosen in itertools.product(*parts)]
    return [name for name in found if name]


def test_the_matrix_has_every_factor_and_its_label_order_and_table_name_the_same(tox_settings):
    environments = {
        *(f"py311-numpy{numpy}-torch213" for numpy in (126, 24)),
        "py311-numpy126-torch23",
        *(f"py{python}-numpy-torch213" for python in (312, 313)),
        *(f"py{python}-numpy-notorch" for python in (311, 312, 313)),
    }
    gathers = tox_settings["testenv:matrix"]
    label = tox_settings["tox"]["labels"].partition("=")[2]
    assert set(generated(label)) == environments | {"matrix"}
    assert set(generated(gathers["depends"])) == environments
    assert set(gathers["commands"].partition("--expect")[2].replace("\\", "").split()) == environments
    sections = [name.removeprefix("testenv:") for name in tox_settings.sections()]
    assert environments <= set(generated(",".join(sections)))


def test_reports_are_kept_where_no_environment_of_tox_is(tox_settings):
    """tox empties the folder of an environment that it makes anew: ``tox run -r -m matrix`` would lose them all."""
    folder = tox_settings["matrix"]["folder"]
    sections = [name.removeprefix("testenv:") for name in tox_settings.sections()]
    assert folder.startswith(".tox/")
    assert Path(folder).name not in generated(",".join(sections))
    workflow = (ROOT / ".github" / "workflows" / "matrix.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"path: (\.tox/[\w-]+)", workflow)) == {folder}


def test_every_environment_has_a_description_of_its_own(tox_settings):
    sections = [name for name in tox_settings.sections() if name.startswith("testenv")]
    assert len(sections) > 15
    described = [tox_settings[name]["description"] for name in sections]
    assert all(described)
    assert len(set(described)) == len(described)
