"""The command ``oracle report``: what it writes, what it refuses, and with which exit status."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from oracle import cli
from oracle.catalog.records import RECORDS
from oracle.judge import verdict
from oracle.reporting import plan, report
from oracle.sources.autograd import is_available
from oracle.subjects.in_process import InProcessSubject
from scratch import AddLayer

PAIRS = {"backprop-numerical", "backprop-autograd", "numerical-autograd"}
SMALL = ["--layer", "AddLayer", "--dtype", "float64"]


@pytest.fixture(autouse=True)
def few_cases(monkeypatch):
    """The command is under test here, not the layers."""
    monkeypatch.setattr(plan, "CASES_PER_CORNER", 2)
    monkeypatch.delenv("MNIST_DIR", raising=False)


class DoublesItsGradient(AddLayer):
    def backward(self, dout):
        return tuple(2 * gradient for gradient in super().backward(dout))


class OverwritesDout(AddLayer):
    def backward(self, dout):
        gradients = super().backward(dout)
        if dout.flags.writeable:
            dout[...] = 0
        return gradients


def put_in_the_dock(monkeypatch, factory):
    monkeypatch.setattr(report, "implementation_of", lambda record: InProcessSubject(record, factory))


def run(tmp_path, *arguments):
    return cli.main(["report", "--out", str(tmp_path), *arguments])


def read(tmp_path):
    return json.loads((tmp_path / "gradient_errors.json").read_text(encoding="utf-8"))


def process(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "oracle", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        **kwargs,
    )


def test_right_layers_end_with_0_and_a_report_in_both_forms(tmp_path, capsys):
    assert run(tmp_path, *SMALL) == 0
    table = capsys.readouterr().out
    assert "AddLayer" in table
    assert "Verdict: right" in table
    markdown = (tmp_path / "gradient_errors.md").read_text(encoding="utf-8")
    assert markdown.startswith("# Gradient errors, three ways")
    assert "| AddLayer" in markdown


def test_the_json_has_the_keys_that_others_rely_on(tmp_path):
    run(tmp_path, *SMALL)
    written = read(tmp_path)
    assert written["schema"] == 1
    assert written["kind"] == "report"
    wanted = {"python", "numpy", "torch", "blas", "threads", "platform", "seed", "command"}
    assert wanted <= written["environment"].keys()
    assert {"verdict", "comparisons", "zero_both", "skipped", "checks_run"} <= written["summary"].keys()
    for row in written["rows"]:
        assert {"layer", "quantity", "dtype", "verdict", "comparisons", "pairs"} <= row.keys()
        assert row["pairs"].keys() == PAIRS
        for name, pair in row["pairs"].items():
            if "autograd" in name and not is_available():
                assert pair is None
            else:
                assert {"max_abs", "max_rel", "mean_abs", "index", "bound", "margin"} <= pair.keys()
    assert sum(row["comparisons"] for row in written["rows"]) == written["summary"]["comparisons"] > 0
    assert all({"layer", "check", "dtype", "passed", "cases"} <= entry.keys() for entry in written["checks"])
    assert written["findings"] == []
    assert written["exhibits"] == []


def test_a_wrong_layer_ends_with_1_and_says_where(tmp_path, capsys, monkeypatch):
    put_in_the_dock(monkeypatch, DoublesItsGradient)
    assert run(tmp_path, *SMALL) == 1
    finding = read(tmp_path)["findings"][0]
    keys = "subject check quantity dtype case index actual expected error bound margin verdict cause_id cause"
    assert set(keys.split()) <= finding.keys()
    assert finding["verdict"] == verdict.BACKWARD_WRONG
    assert finding["actual"] == pytest.approx(2 * finding["expected"])
    assert "but should be" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "status"), [((), 0), (("--strict",), 1)], ids=["plain", "strict"])
def test_a_hazard_ends_with_0_and_strictly_with_1(tmp_path, monkeypatch, arguments, status):
    put_in_the_dock(monkeypatch, OverwritesDout)
    assert run(tmp_path, *SMALL, *arguments) == status
    assert read(tmp_path)["summary"]["verdict"] == verdict.HAZARD


def test_the_same_seed_gives_the_same_json_but_for_times(tmp_path):
    arguments = ["report", "--layer", "SoftmaxWithLoss", "--dtype", "float32", "--out", str(tmp_path), "--quiet"]
    written = []
    for hash_seed in ("1", "2"):
        done = process(*arguments, "--json", "-", env={**os.environ, "PYTHONHASHSEED": hash_seed})
        assert done.returncode == 0, done.stderr
        content = json.loads(done.stdout)
        assert content.pop("timings")
        assert content.pop("seconds")
        written.append(content)
    assert written[0] == written[1]


def test_another_seed_draws_other_cases(tmp_path, monkeypatch):
    # The first case that hypothesis draws is the smallest one, whatever the seed.
    monkeypatch.setattr(plan, "CASES_PER_CORNER", 8)
    cases = []
    for seed in ("1", "2"):
        run(tmp_path, "--layer", "SoftmaxWithLoss", "--dtype", "float64", "--quiet", "--seed", seed)
        cases.append([row["pairs"]["backprop-numerical"]["case"] for row in read(tmp_path)["rows"]])
    assert cases[0] != cases[1]


def test_json_goes_to_another_file_or_to_standard_output_alone(tmp_path, capsys):
    assert run(tmp_path, *SMALL, "--json", str(tmp_path / "more" / "copy.json")) == 0
    copy = (tmp_path / "more" / "copy.json").read_text(encoding="utf-8")
    assert copy == (tmp_path / "gradient_errors.json").read_text(encoding="utf-8")
    capsys.readouterr()
    assert run(tmp_path, *SMALL, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "report"


def test_quiet_prints_nothing(tmp_path, capsys):
    assert run(tmp_path, *SMALL, "--quiet") == 0
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_a_class_name_stands_for_all_its_records(tmp_path):
    names = {record.name for record in plan.select_records(["multilayernet"])}
    assert names == {name for name in RECORDS if name.startswith("MultiLayerNet")}
    assert len(names) > 1


def broken_mnist(tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    with gzip.open(folder / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(b"not an IDX file")
    (folder / "train-labels-idx1-ubyte").write_bytes(b"")
    return folder


REFUSED = {
    "an unknown layer": (["--layer", "Convolution"], "Convolution"),
    "a seed that is no number": (["--seed", "many"], "many"),
    "a negative seed": (["--seed", "-1"], "-1"),
    "an unknown dtype": (["--dtype", "float16"], "float16"),
    "no such MNIST directory": (["--mnist", "nowhere"], "nowhere"),
    "an unknown option": (["--laer", "Relu"], "--laer"),
}


@pytest.mark.parametrize(("arguments", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_usage_that_cannot_be_followed_ends_with_2_and_leaves_the_report(tmp_path, arguments, named):
    (tmp_path / "gradient_errors.json").write_text("the previous report", encoding="utf-8")
    done = process("report", "--out", str(tmp_path), *arguments)
    assert done.returncode == 2
    assert named in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert (tmp_path / "gradient_errors.json").read_text(encoding="utf-8") == "the previous report"


def test_a_foreign_mnist_file_ends_with_2_in_one_line(tmp_path, capsys):
    assert run(tmp_path / "out", *SMALL, "--mnist", str(broken_mnist(tmp_path))) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "train-images-idx3-ubyte.gz" in message


def test_a_directory_that_cannot_be_written_ends_with_2_before_any_work(tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert run(tmp_path / "file", *SMALL) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_an_interrupt_ends_with_130_and_leaves_the_report(tmp_path, capsys, monkeypatch):
    (tmp_path / "gradient_errors.md").write_text("the previous report", encoding="utf-8")

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "examine", interrupted)
    assert run(tmp_path, *SMALL) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert (tmp_path / "gradient_errors.md").read_text(encoding="utf-8") == "the previous report"
    assert [path.name for path in tmp_path.iterdir()] == ["gradient_errors.md"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process alone")
def test_ctrl_c_during_the_imports_shows_no_traceback(tmp_path):
    code = "import sys; from oracle.cli import main; print('ready', flush=True); sys.exit(main(sys.argv[1:]))"
    started = subprocess.Popen(
        [sys.executable, "-c", code, "report", "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout.readline() == "ready\n"
    # Now it imports NumPy, hypothesis and scikit-learn; the report itself would take a minute.
    time.sleep(0.1)
    started.send_signal(signal.SIGINT)
    _, error = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "Traceback" not in error


def test_without_pytorch_the_column_says_so_and_how_to_install_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("oracle.judge.examination.is_available", lambda: False)
    monkeypatch.setattr("oracle.reporting.report.is_available", lambda: False)
    monkeypatch.setattr("oracle.sources.autograd.is_available", lambda: False)
    assert run(tmp_path, *SMALL) == 0
    table = capsys.readouterr().out
    assert "not run: PyTorch is not installed" in table
    assert "python -m pip install torch" in table
    row = read(tmp_path)["rows"][0]
    assert row["pairs"]["backprop-autograd"] is None
    assert row["pairs"]["backprop-numerical"]["comparisons"] > 0
    reasons = [entry["reason"] for entry in read(tmp_path)["summary"]["skipped"]]
    assert any("PyTorch is not installed" in reason for reason in reasons)


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["report", "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for option in ("--layer", "--dtype", "--mnist", "--out", "--json", "--seed", "--quiet", "--strict"):
        assert option in text


def test_a_closed_pipe_is_no_error(tmp_path):
    arguments = [sys.executable, "-m", "oracle", "report", "--out", str(tmp_path), *SMALL, "--json", "-"]
    started = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    started.stdout.close()
    error = started.stderr.read()
    started.stderr.close()
    assert started.wait(timeout=120) == 0
    assert error == b""
