"""``oracle check``: what the user says where it cannot be guessed, notebooks, packages, and what is written."""

import json
import os
import subprocess
import sys
import textwrap
from xml.etree import ElementTree

import numpy as np
import pytest

from oracle.cli import main

AFFINE = """
import numpy as np


class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = self.x.T @ dout
        self.db = dout.sum(axis=0)
        return dout @ self.W.T
"""
WRONG = AFFINE.replace("dout.sum(axis=0)", "dout.mean(axis=0)")
#: Nothing tells what it is, nor where its gradients are.
ODD = AFFINE.replace("class Affine", "class Mixer").replace("self.dW", "self.one").replace("self.db", "self.two")
RELU = """
class Relu:
    def forward(self, x):
        self.mask = x <= 0
        return x * ~self.mask

    def backward(self, dout):
        return dout * ~self.mask
"""


@pytest.fixture
def theirs(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    return folder


def check(*arguments):
    """The exit status and the JSON."""
    out = arguments[0].parent.parent / "out.json" if hasattr(arguments[0], "parent") else None
    given = [str(a) for a in arguments]
    out = out or __import__("pathlib").Path(given[0].partition("::")[0]).parent.parent / "out.json"
    status = main(["check", *given, "--json", str(out), "--quiet"])
    return status, json.loads(out.read_text(encoding="utf-8")) if out.exists() else None


def verdicts(report):
    return {subject["name"]: subject["verdict"] for subject in report["subjects"]}


# ----------------------------------------------------------------------------- what cannot be guessed


def test_a_name_that_says_nothing_is_told_with_as(theirs):
    (theirs / "odd.py").write_text(ODD, encoding="utf-8")
    status, report = check(f"{theirs / 'odd.py'}::Mixer", "--as", "affine", "--grads", "W=one,b=self.two")
    assert (status, verdicts(report)) == (0, {"Mixer": "right"})
    assert "dW in self.one, db in self.two" in report["subjects"][0]["convention"]


def test_without_as_it_is_checked_against_its_own_forward_with_what_to_say(theirs, capsys):
    (theirs / "odd.py").write_text(ODD, encoding="utf-8")
    assert main(["check", f"{theirs / 'odd.py'}::Mixer"]) == 0
    said = capsys.readouterr().out
    assert "own forward: x (N, D), W (D, M), b (M,)  (W, b); dW in self.one, db in self.two  right" in said
    assert "no layer is known by this name (--as NAME says which it is)" in said


def test_averaged_gradients_are_right_where_they_are_meant(theirs):
    averaged = AFFINE.replace("self.x.T @ dout", "self.x.T @ dout / len(dout)").replace("sum(axis=0)", "mean(axis=0)")
    (theirs / "own.py").write_text(averaged, encoding="utf-8")
    assert verdicts(check(theirs / "own.py")[1]) == {"Affine": "backward wrong"}
    status, report = check(theirs / "own.py", "--reduction", "layer")
    assert (status, verdicts(report)) == (0, {"Affine": "right"})
    assert "dW and db are averages" in report["subjects"][0]["convention"]


def test_layout_and_weights_can_be_told(theirs):
    turned = AFFINE.replace("x @ self.W + self.b", "self.W @ x + self.b.reshape(-1, 1)")
    turned = turned.replace("self.x.T @ dout", "dout @ self.x.T").replace("sum(axis=0)", "sum(axis=1)")
    turned = turned.replace("dout @ self.W.T", "self.W.T @ dout")
    (theirs / "turned.py").write_text(turned, encoding="utf-8")
    for options in ([], ["--layout", "columns", "--weights", "out,in"]):
        status, report = check(theirs / "turned.py", *options)
        assert (status, verdicts(report)) == (0, {"Affine": "right"})
    assert "batch in columns; W is (out, in)" in report["subjects"][0]["convention"]
    assert verdicts(check(theirs / "turned.py", "--layout", "rows")[1]) == {"Affine": "could not run"}


def test_a_course_keeps_its_conventions_in_pyproject(theirs):
    (theirs / "odd.py").write_text(ODD, encoding="utf-8")
    (theirs / "pyproject.toml").write_text(
        '[tool.oracle]\nas = {Mixer = "Affine"}\n[tool.oracle.layers.Mixer]\ngrads = {W = "one", b = "two"}\n',
        encoding="utf-8",
    )
    status, report = check(theirs / "odd.py")
    assert (status, verdicts(report)) == (0, {"Mixer": "right"})


def test_what_a_layer_is_may_stand_in_the_table_of_that_layer(theirs):
    (theirs / "odd.py").write_text(ODD, encoding="utf-8")
    (theirs / "pyproject.toml").write_text(
        '[tool.oracle.layers.Mixer]\nas = "Affine"\ngrads = {W = "one", b = "two"}\n', encoding="utf-8"
    )
    status, report = check(theirs / "odd.py")
    assert (status, verdicts(report)) == (0, {"Mixer": "right"})


@pytest.mark.parametrize(
    ("source", "name", "options", "said"),
    [
        (RELU, "", ["--grads", "W=one"], "there is no parameter W; no layer that was found has parameters"),
        (RELU, "::Dropout", [], "there are Relu"),
        ("x = 1", "::Dropout", [], "there is none"),
    ],
)
def test_what_is_not_in_the_file_is_refused_with_what_is(theirs, capsys, source, name, options, said):
    (theirs / "few.py").write_text(source, encoding="utf-8")
    assert main(["check", f"{theirs / 'few.py'}{name}", *options]) == 2
    assert said in capsys.readouterr().err


def test_only_json_goes_to_standard_output(theirs, capsys):
    (theirs / "few.py").write_text(RELU, encoding="utf-8")
    with pytest.raises(SystemExit, match="2"):
        main(["check", str(theirs / "few.py"), "--junit", "-"])
    assert "a file is required; standard output takes --json - only" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[tool.oracle]\nlayouts = 'rows'\n", "layouts is unknown; the keys are as, grads, layout"),
        ("[tool.oracle]\nlayout = 'diagonal'\n", "layout is 'diagonal'; one of rows, columns is required"),
        ("[tool.oracle]\nas = {Mixer = 'Mixture'}\n", "Mixture is no layer that is known"),
        ("[tool.oracle]\ngrads = 'W'\n", "'W' is not NAME=PLACE"),
        ("[tool.oracle]\ngrads = {W = '1+1'}\n", "'1+1' is no place"),
        ("[tool.oracle\n", "this is no TOML"),
        ("[tool]\noracle = 3\n", "[tool.oracle] is 3; a table is required"),
    ],
)
def test_settings_that_nobody_understands_end_with_2(theirs, toml, said, capsys):
    (theirs / "odd.py").write_text(AFFINE, encoding="utf-8")
    (theirs / "pyproject.toml").write_text(toml, encoding="utf-8")
    assert main(["check", str(theirs / "odd.py")]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--as", "Affine"], "--as needs the layer that it is said of"),
        (["--grads", "W"], "'W' is not NAME=PLACE"),
        (["--grads", "W=f(x)"], "'f(x)' is no place"),
    ],
)
def test_options_that_say_nothing_end_with_2(theirs, options, said, capsys):
    (theirs / "own.py").write_text(AFFINE, encoding="utf-8")
    assert main(["check", str(theirs / "own.py"), *options]) == 2
    assert said in capsys.readouterr().err


# ----------------------------------------------------------------------------- real files


def notebook(*cells):
    return json.dumps(
        {
            "nbformat": 4,
            "cells": [
                {"cell_type": kind, "source": textwrap.dedent(source).splitlines(keepends=True)}
                for kind, source in cells
            ],
        }
    )


def test_code_cells_of_a_notebook_are_checked_and_lines_counted_in_their_cell(theirs, capsys):
    (theirs / "course.ipynb").write_text(
        notebook(
            ("markdown", "# Layers"),
            ("code", "%matplotlib inline\n!pip install numpy\nimport numpy as np"),
            ("code", "%%bash\nls | wc -l"),
            ("code", WRONG),
            ("code", RELU.replace("backward", "backword")),
        ),
        encoding="utf-8",
    )
    status = main(["check", str(theirs / "course.ipynb")])
    printed = capsys.readouterr().out
    assert status == 1
    assert "course.ipynb, cell 4, line 5" in printed
    assert "did you mean backword (cell 5, line 7)?" in printed
    assert "divide" in printed


def test_something_else_that_is_called_a_notebook_ends_with_2(theirs, capsys):
    (theirs / "none.ipynb").write_text("[1, 2]", encoding="utf-8")
    assert main(["check", str(theirs / "none.ipynb")]) == 2
    assert "this is no notebook" in capsys.readouterr().err


def test_siblings_and_ancestors_up_to_the_root_are_importable(theirs):
    (theirs / ".git").mkdir()
    (theirs / "common").mkdir()
    (theirs / "common" / "functions.py").write_text(
        "import numpy as np\ndef product(a, b): return a @ b\n", encoding="utf-8"
    )
    (theirs / "ch05").mkdir()
    head = "import sys, os\nsys.path.append(os.pardir)\nfrom common.functions import *\n"
    source = head + AFFINE.replace("x @ self.W", "product(x, self.W)")
    (theirs / "ch05" / "layers.py").write_text(source, encoding="utf-8")
    before = sorted(theirs.rglob("*"))
    status = main(["check", str(theirs / "ch05" / "layers.py"), "--quiet"])
    assert (status, sorted(theirs.rglob("*"))) == (0, before)


@pytest.mark.parametrize("has_init", [True, False], ids=["package", "folder"])
def test_a_file_with_relative_imports_is_imported_as_part_of_its_package(theirs, has_init):
    package = theirs / "nets"
    package.mkdir()
    if has_init:
        (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "tools.py").write_text("def product(a, b): return a @ b\n", encoding="utf-8")
    (package / "layers.py").write_text(
        "from .tools import product\n" + AFFINE.replace("x @ self.W", "product(x, self.W)"), encoding="utf-8"
    )
    before = sorted(theirs.rglob("*"))
    assert main(["check", str(package / "layers.py"), "--quiet"]) == 0
    assert sorted(theirs.rglob("*")) == before


def test_what_a_file_writes_by_relative_paths_does_not_land_beside_it(theirs, monkeypatch):
    (theirs / "own.py").write_text(AFFINE + "\nopen('trained.txt', 'w').write('weights')\n", encoding="utf-8")
    monkeypatch.chdir(theirs)
    assert main(["check", "own.py", "--quiet"]) == 0
    assert [path.name for path in theirs.iterdir()] == ["own.py"]


def test_prints_are_shown_on_request_only_and_only_the_first_of_them(theirs, capsys):
    (theirs / "own.py").write_text(AFFINE + "\nfor i in range(100000):\n    print('epoch', i)\n", encoding="utf-8")
    assert main(["check", str(theirs / "own.py")]) == 0
    assert "epoch" not in capsys.readouterr().out
    assert main(["check", str(theirs / "own.py"), "--show-output"]) == 0
    printed = capsys.readouterr().out
    assert "own.py printed:\nepoch 0\nepoch 1\n" in printed
    assert len(printed) < 15_000


def test_folders_are_searched_for_files_and_notebooks(theirs):
    (theirs / "own.py").write_text(AFFINE, encoding="utf-8")
    (theirs / "course.ipynb").write_text(notebook(("code", "import numpy as np\n" + RELU)), encoding="utf-8")
    status, report = check(theirs)
    assert (status, verdicts(report)) == (0, {"Affine": "right", "Relu": "right"})


# ----------------------------------------------------------------------------- what is written


def test_the_output_is_the_same_every_time(theirs, capsys):
    (theirs / "own.py").write_text(WRONG + RELU, encoding="utf-8")
    printed = []
    for _ in range(2):
        main(["check", str(theirs / "own.py")])
        printed.append(capsys.readouterr().out)
    table = [text[text.index("where") :] for text in printed]
    assert table[0] == table[1]


def test_markdown_holds_what_is_said_and_names_do_no_harm(theirs, tmp_path):
    (theirs / "own.py").write_text(WRONG, encoding="utf-8")
    out = tmp_path / "said.md"
    assert main(["check", str(theirs / "own.py"), "--markdown", str(out), "--quiet"]) == 1
    text = out.read_text(encoding="utf-8")
    assert "## Affine: backward wrong" in text
    assert "It is 1/N of what it should be" in text
    assert "```python\nimport numpy as np\nfrom own import Affine" in text


def test_junit_has_a_test_for_each_check_and_a_failure_for_each_that_fails(theirs, tmp_path):
    (theirs / "own.py").write_text(WRONG + RELU, encoding="utf-8")
    out = tmp_path / "tests.xml"
    assert main(["check", str(theirs / "own.py"), "--junit", str(out), "--quiet"]) == 1
    (suite,) = ElementTree.parse(out).getroot()
    failed = {(t.get("classname"), t.get("name")) for t in suite if t.find("failure") is not None}
    assert ("Affine", "backward_matches_numerical") in failed
    assert all(name == "Affine" for name, _ in failed)
    assert int(suite.get("failures")) == len(failed)
    assert {t.get("classname") for t in suite} == {"Affine", "Relu"}


def test_limits_stand_in_the_report(theirs):
    (theirs / "own.py").write_text(AFFINE, encoding="utf-8")
    report = check(theirs / "own.py")[1]
    assert report["limits"]["seconds_per_call"] == "5"
    assert "GiB" in report["limits"]["memory"] or "none" in report["limits"]["memory"]


class _Terminal:
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("variables", "is_coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["terminal", "NO_COLOR", "dumb"],
)
def test_colour_is_for_terminals_and_no_color_forbids_it(variables, is_coloured, monkeypatch):
    from oracle.reporting import check_text

    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert check_text.is_coloured(_Terminal()) is is_coloured
    assert ("\033[31m" in check_text.coloured("backward wrong", with_colour=is_coloured)) is is_coloured


def test_nothing_is_coloured_in_a_pipe(theirs, capsys):
    (theirs / "own.py").write_text(WRONG, encoding="utf-8")
    main(["check", str(theirs / "own.py")])
    assert "\033[" not in capsys.readouterr().out


# ----------------------------------------------------------------------------- snippets to paste

SAMPLES = __import__("pathlib").Path(__file__).parent / "samples"
#: Sample, what is written, what is written instead, and who is wrong then.
SNIPPETS = [
    ("weights_given", "np.sum(dout, axis=0)", "np.mean(dout, axis=0)", "Affine"),
    ("sizes_given", "self.dbias = grad_output.sum", "self.dbias = -grad_output.sum", "FullyConnected"),
    ("outputs_first", "dout.T @ self.x", "dout.T @ self.x / len(dout)", "Linear"),
    ("with_a_cache", "db = dout.sum(axis=0)", "db = dout.mean(axis=0)", "affine_forward"),
    ("with_a_cache", "    dx /= N\n", "", "softmax_loss"),
    ("in_columns", "dW = np.dot", "dW = 1 / dZ.shape[1] * np.dot", "linear_forward"),
    ("gradients_in_a_list", "self.grads[0][...] = dW", "self.grads[0][...] = -dW", "Affine"),
    ("outputs_in_attributes", "self.inputs.T, dvalues)", "self.inputs.T, -dvalues)", "Layer_Dense"),
    ("returned_together", "[self.x.T @ dout, ", "[-self.x.T @ dout, ", "Affine"),
    ("updates_inside", "self.lr * dout.sum", "self.lr * dout.mean", "Dense"),
    ("accumulates", "self.b_grad += dout", "self.b_grad += 2 * dout", "Linear"),
    ("losses", "return 2 * (y_pred - y_true)", "return 2 * (y_true - y_pred)", "MSELoss"),
    ("networks", "self.db = dout.sum(axis=0)", "self.db = dout.mean(axis=0)", "TwoLayerNet"),
]


@pytest.mark.parametrize(("sample", "right", "wrong", "name"), SNIPPETS, ids=[f"{s[0]}-{s[3]}" for s in SNIPPETS])
def test_snippet_runs_without_the_tool_and_shows_the_fault(theirs, sample, right, wrong, name):
    source = (SAMPLES / f"{sample}.py").read_text(encoding="utf-8")
    assert right in source
    (theirs / f"{sample}.py").write_text(source.replace(right, wrong), encoding="utf-8")
    runs_and_shows_the_fault(theirs, f"{theirs / sample}.py::{name}")


#: A second gradient that is wrong, of arguments named as what a snippet would call its own.
NAMED_ALIKE = """
class {name}:
    def forward(self, {first}, {second}):
        self.kept = {first}, {second}
        return {first} * {second}

    def backward(self, dout):
        {first}, {second} = self.kept
        return dout * {second}, 2 * dout * {first}
"""


@pytest.mark.parametrize(
    ("name", "first", "second"), [("MulLayer", "x", "y"), ("Gate", "h", "y"), ("Gate", "up", "gradient")]
)
def test_snippet_leaves_the_arguments_their_names(theirs, name, first, second):
    (theirs / "own.py").write_text(NAMED_ALIKE.format(name=name, first=first, second=second), encoding="utf-8")
    runs_and_shows_the_fault(theirs, str(theirs / "own.py"))


def runs_and_shows_the_fault(theirs, target):
    _, report = check(target)
    (subject,) = report["subjects"]
    assert "oracle" not in subject["snippet"]
    run = subprocess.run(
        [sys.executable, "-c", subject["snippet"]],
        cwd=theirs,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    backward, numerical = (float(line.split(":")[1]) for line in run.stdout.splitlines())
    finding = subject["findings"][0]
    assert np.isclose(backward, finding["actual"], rtol=1e-6)
    assert np.isclose(numerical, finding["expected"], rtol=1e-4, atol=1e-6)
