"""``--save-baseline``, ``--compare`` and ``--fail-if-worse`` of ``oracle report`` and ``oracle check``, end to end."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from oracle import cli
from oracle.reporting import plan, report
from oracle.reporting.regression import FLOOR_ULP
from oracle.subjects.in_process import InProcessSubject
from scratch import AddLayer, TwoLayerNet

SMALL = ["--layer", "AddLayer", "--dtype", "float64"]
ON_DIGITS = ["--layer", "TwoLayerNet", "--dtype", "float64"]


@pytest.fixture(autouse=True)
def few_cases(monkeypatch):
    monkeypatch.setattr(plan, "CASES_PER_CORNER", 2)
    monkeypatch.delenv("MNIST_DIR", raising=False)


def put_in_the_dock(monkeypatch, factory):
    def subject(record):
        return InProcessSubject(record, partial(record.construct, factory) if record.construct else factory)

    monkeypatch.setattr(report, "implementation_of", subject)


class Reporter:
    """``oracle report`` with its output in one directory and its baseline beside it."""

    def __init__(self, folder):
        self.out, self.baseline = folder / "out", folder / "baseline.json"

    def __call__(self, *arguments):
        return cli.main(["report", "--out", str(self.out), *arguments])

    @property
    def written(self):
        return json.loads((self.out / "gradient_errors.json").read_text(encoding="utf-8"))


@pytest.fixture
def run(tmp_path):
    return Reporter(tmp_path)


def less_exact_by(ulps):
    """TwoLayerNet with so many units in the last place added to, or taken from, every entry of a gradient."""

    class LessExact(TwoLayerNet):
        def loss_and_gradient(self, x, t):
            loss, gradients = super().loss_and_gradient(x, t)
            W1 = gradients["W1"]
            signs = np.random.default_rng(0).choice((-1, 1), W1.shape)
            gradients["W1"] = (W1 + ulps * np.spacing(np.abs(W1)) * signs).astype(W1.dtype)
            return loss, gradients

    return LessExact


@pytest.fixture
def on_digits_only(monkeypatch):
    """The bound of a wide network has room for slow decay; that of a small one would call it wrong."""
    everything = report.plan
    monkeypatch.setattr(report, "plan", lambda *given: (item for item in everything(*given) if "digits" in item.label))


@pytest.mark.usefixtures("on_digits_only")
def test_slow_decay_within_the_bound_is_a_regression_and_one_ulp_is_none(run, monkeypatch, capsys):
    path = str(run.baseline)
    assert run(*ON_DIGITS, "--save-baseline", path, "--quiet") == 0
    before = next(row for row in run.written["rows"] if row["quantity"] == 'grads["W1"]')
    ulp = before["pairs"]["backprop-numerical"]["worst_ulp"]

    put_in_the_dock(monkeypatch, less_exact_by(1))
    assert run(*ON_DIGITS, "--compare", path, "--fail-if-worse", "10x") == 0
    assert "Worse: none" in capsys.readouterr().out

    put_in_the_dock(monkeypatch, less_exact_by(100 * max(ulp, FLOOR_ULP)))
    assert run(*ON_DIGITS, "--compare", path) == 0
    assert run(*ON_DIGITS, "--compare", path, "--fail-if-worse", "10x") == 1
    written = run.written
    assert written["summary"]["verdict"] == "right"
    worse = written["regression"]["worse"]
    assert worse[0]["quantity"] == 'grads["W1"]'
    assert worse[0]["ratio"] > 90
    assert worse[0]["is_regression"]
    assert "✗ right" in capsys.readouterr().out
    assert "## Against earlier results" in (run.out / "gradient_errors.md").read_text(encoding="utf-8")


def test_nothing_changed_ends_with_0_and_every_row_is_the_same_to_the_last_digit(run, capsys):
    path = str(run.baseline)
    assert run(*SMALL, "--save-baseline", path) == 0
    assert path in capsys.readouterr().out
    assert run(*SMALL, "--compare", path, "--fail-if-worse", "1.5x") == 0
    assert "3 rows, 3 of them to the last digit" in capsys.readouterr().out
    run.baseline.unlink()
    assert run(*SMALL, "--save-baseline", path) == 0
    assert run(*SMALL, "--compare", path, "--save-baseline", path) == 0
    assert path in capsys.readouterr().out.rpartition("Written: ")[2]


class OverwritesDout(AddLayer):
    def backward(self, dout):
        gradients = super().backward(dout)
        if dout.flags.writeable:
            dout[...] = 0
        return gradients


def test_a_verdict_that_got_worse_ends_with_1_and_does_not_become_the_baseline(run, monkeypatch, capsys):
    path = str(run.baseline)
    run(*SMALL, "--save-baseline", path)
    before = run.baseline.read_bytes()
    put_in_the_dock(monkeypatch, OverwritesDout)
    assert run(*SMALL) == 0, "a hazard alone is none"
    assert run(*SMALL, "--compare", path, "--save-baseline", path) == 1
    assert "right → hazard" in capsys.readouterr().out
    assert run.baseline.read_bytes() == before
    assert run(*SMALL, "--save-baseline", path) == 0
    assert run(*SMALL, "--compare", path) == 0


def test_the_default_baseline_lies_in_reports(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(*SMALL, "--save-baseline", "--quiet") == 0
    assert (tmp_path / "reports" / "baseline.json").is_file()
    assert run(*SMALL, "--compare", "--quiet") == 0


def test_without_the_default_baseline_the_message_says_how_to_save_one(run, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    for command, default in ((["report"], Path("reports", "baseline.json")), (["check", "."], "oracle-baseline.json")):
        assert cli.main([*command, "--compare"]) == 2
        message = capsys.readouterr().err
        assert message.startswith(f"oracle: {default}: no such file; a baseline or a report is required; save one with")
        assert message.endswith(f"oracle {command[0]} … --save-baseline FILE\n")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no directory that takes no file, whoever writes")
def test_a_baseline_where_nothing_can_be_written_is_refused_before_any_work(run, monkeypatch, capsys):
    monkeypatch.setattr(report, "examine", None)
    assert run(*SMALL, "--save-baseline", "/proc/baseline.json") == 2
    assert "/proc: no file can be written in this directory" in capsys.readouterr().err


def test_what_was_not_asked_for_has_not_vanished(run, capsys):
    path = str(run.baseline)
    run("--layer", "AddLayer", "--layer", "MulLayer", "--save-baseline", path)
    capsys.readouterr()
    assert run(*SMALL, "--compare", path) == 0
    printed = capsys.readouterr().out
    assert "Vanished" not in printed
    assert "Not asked for: 9 rows" in printed


def test_refused_before_any_work(run, capsys, monkeypatch, tmp_path):
    path = str(run.baseline)
    run(*SMALL, "--save-baseline", path, "--quiet")
    before = run.baseline.read_bytes()
    monkeypatch.setattr(report, "examine", None)
    refused = {
        ("--compare", path, "--seed", "1"): "was made with seed 0, but this run with seed 1",
        ("--compare", path, "--cases", "3"): "was made with cases per corner: 2, but this run with cases per corner: 3",
        ("--compare", str(tmp_path / "nowhere.json")): "no such file",
        ("--compare", str(tmp_path)): "cannot be read",
        ("--save-baseline", str(tmp_path)): "is a directory",
        ("--save-baseline", f"{path}/below.json"): "is a file, but a directory is required",
        ("--fail-if-worse", "10x"): "there is nothing to compare with",
    }
    for arguments, reason in refused.items():
        assert run(*SMALL, *arguments) == 2
        assert reason in capsys.readouterr().err
    assert run.baseline.read_bytes() == before


RELU = """
class Relu:
    def forward(self, x):
        self.mask = x <= 0
        out = x.copy()
        out[self.mask] = 0
        return out

    def backward(self, dout):
        dx = dout.copy()
        dx[self.mask] = 0
        return dx
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(RELU, encoding="utf-8")
    return path


def test_check_holds_a_file_against_its_own_baseline(mine, capsys):
    assert cli.main(["check", "mine.py", "--save-baseline", "--quiet"]) == 0
    assert mine.with_name("oracle-baseline.json").is_file()
    assert cli.main(["check", "mine.py", "--compare", "--fail-if-worse", "10x"]) == 0
    assert "Unchanged: 2 rows, 2 of them to the last digit" in capsys.readouterr().out

    mine.write_text(RELU.replace("dout.copy()", "dout"), encoding="utf-8")
    assert cli.main(["check", "mine.py"]) == 0
    assert cli.main(["check", "mine.py", "--compare", "--json", "check.json"]) == 1
    assert "mine.py::Relu" in capsys.readouterr().out
    written = json.loads((mine.parent / "check.json").read_text(encoding="utf-8"))
    assert written["regression"]["worse"][0]["verdict"] == "hazard"
    assert {row["quantity"] for row in written["subjects"][0]["rows"]} == {"y", "dx"}


def test_check_reports_are_compared_by_diff(mine, capsys):
    assert cli.main(["check", "mine.py", "--json", "a.json", "--quiet"]) == 0
    mine.write_text(RELU.replace("dx[self.mask] = 0", "dx[self.mask] = 1"), encoding="utf-8")
    assert cli.main(["check", "mine.py", "--json", "b.json", "--quiet"]) == 1
    assert cli.main(["diff", "a.json", "b.json"]) == 1
    assert "right → backward wrong" in capsys.readouterr().out
    assert cli.main(["diff", "b.json", "a.json"]) == 0


def test_check_refuses_a_baseline_of_other_layers_and_of_oracle_report(mine, run, capsys):
    run(*SMALL, "--save-baseline", str(run.baseline), "--quiet")
    assert cli.main(["check", "mine.py", "--compare", str(run.baseline)]) == 2
    assert "was made by oracle report" in capsys.readouterr().err
    assert cli.main(["check", "mine.py", "--save-baseline", "--quiet"]) == 0
    mine.rename(mine.with_name("yours.py"))
    assert cli.main(["check", "yours.py", "--compare"]) == 2
    assert "has no row in common" in capsys.readouterr().err


def test_check_asks_for_the_files_that_it_is_given(mine, capsys):
    (mine.parent / "other").mkdir()
    (mine.parent / "other" / "second.py").write_text(RELU + RELU.replace("Relu", "ReLU"), encoding="utf-8")
    assert cli.main(["check", ".", "--save-baseline", "--quiet"]) == 0
    for given, count in (("mine.py", 4), ("other", 2), ("other/second.py::Relu", 4)):
        assert cli.main(["check", given, "--compare"]) == 0
        printed = capsys.readouterr().out
        assert "Vanished" not in printed
        assert f"Not asked for: {count} rows" in printed
    mine.write_text("class Nothing: pass", encoding="utf-8")
    assert cli.main(["check", ".", "--compare"]) == 0
    assert "Vanished: 2 rows: mine.py::Relu float64: y, dx" in capsys.readouterr().out
