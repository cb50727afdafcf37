"""The command ``oracle train``: what it writes, what it refuses, and with which exit status."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from oracle import cli
from oracle.reporting import training
from oracle.sources.autograd import is_available
from oracle.training import settings
from oracle.training.run import _stops_after_the_step
from scratch import SGD

TWIN = is_available()
#: 400 in a batch: an epoch of 1,437 digits is three steps.
SHORT = ["--steps", "7", "--batch-size", "400"]
#: ``python -m oracle`` as if neither PyTorch nor matplotlib were installed, which take most of its start.
ORACLE = """
from oracle import cli
from oracle.reporting import training
from oracle.training import run
run.is_available = training.can_draw = lambda: False
raise SystemExit(cli.main())
"""
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def no_mnist(monkeypatch):
    monkeypatch.delenv("MNIST_DIR", raising=False)


@pytest.fixture
def no_picture(monkeypatch):
    """As if matplotlib were not installed: most runs here are not about the picture, which takes longest."""
    monkeypatch.setattr(training, "can_draw", lambda: False)


@pytest.fixture
def no_twin(monkeypatch):
    """As if PyTorch were not installed."""
    monkeypatch.setattr("oracle.training.run.is_available", lambda: False)


def run(tmp_path, *arguments):
    return cli.main(["train", "--out", str(tmp_path), *arguments])


def read(tmp_path):
    return json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))


def names(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


# ----------------------------------------------------------------------------- what is written


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One run of the whole command, and where it wrote."""
    directory = tmp_path_factory.mktemp("written")
    status = cli.main(["train", "--out", str(directory), "--seed", "3", "--json", str(directory / "copy.json"), *SHORT])
    return status, directory


def test_a_run_that_is_right_ends_with_0_and_writes_all(written):
    status, directory = written
    assert status == 0
    expected = {"copy.json", "training.json", "training.md"} | ({"training.png"} if training.can_draw() else set())
    assert set(names(directory)) == expected
    assert (directory / "copy.json").read_bytes() == (directory / "training.json").read_bytes()


def test_the_json_has_the_keys_that_others_rely_on(written):
    content = read(written[1])
    assert content["schema"] == 1
    assert content["kind"] == "train"
    wanted = {"python", "numpy", "torch", "blas", "threads", "platform", "seed", "command"}
    assert wanted <= content["environment"].keys()
    assert content["environment"]["seed"] == 3
    assert "--batch-size 400" in content["environment"]["command"]
    assert {"verdict", "comparisons", "zero_both", "skipped", "checks_run"} <= content["summary"].keys()
    assert content["summary"]["verdict"] == "right"
    assert content["settings"] == {
        "net": "two-layer",
        "data": "digits",
        "steps": 7,
        "batch_size": 400,
        "learning_rate": 0.1,
        "dtype": "float64",
        "targets": "one-hot",
        "seed": 3,
        "train_samples": 1437,
        "test_samples": 360,
    }
    assert len(content["loss"]) == content["summary"]["steps"] == 7
    # ln 10: ten classes, and weights that say nothing yet.
    assert content["loss"][0] == pytest.approx(np.log(10), abs=0.05)
    # Before training, and after steps 3 and 6.
    assert content["accuracy"].keys() == {"train", "test"}
    assert [len(values) for values in content["accuracy"].values()] == [3, 3]
    assert all(0 <= value <= 1 for values in content["accuracy"].values() for value in values)
    assert content["seconds"] > 0
    assert content["parity"].keys() == {"resynchronised", "free"}


@pytest.mark.skipif(not TWIN, reason="PyTorch is not installed, and this is about its twin")
def test_the_json_says_how_the_twin_compares(written):
    content = read(written[1])
    parity = content["parity"]["resynchronised"]
    assert 0 < parity["worst_margin"] < 1
    assert parity["first_divergence"] is None
    assert parity["steps"] == 7
    assert parity["margins"].keys() == {
        "loss",
        "W1",
        "b1",
        "W2",
        "b2",
        *(f'grads["{p}"]' for p in ("W1", "b1", "W2", "b2")),
    }
    assert max(parity["margins"].values()) == parity["worst_margin"]
    free = content["parity"]["free"]
    assert free["steps"] == [1, 2, 3, 4, 5, 6, 7]
    # A few roundings; measured 5e-16.
    assert 0 < free["worst_relative"] < 1e-13
    assert free["worst_relative"] == max(max(values) for values in free["relative"].values())
    assert free["step"] in free["steps"]
    assert free["one_ulp_away"].keys() == free["relative"].keys() == {"W1", "b1", "W2", "b2"}
    # Two of the batch, the loss, four gradients, four updates; seven times.
    assert content["summary"]["comparisons"] == 7 * 11
    assert content["summary"]["checks_run"] == 7
    assert content["summary"]["skipped"] == []
    np.testing.assert_allclose(content["twin"]["loss"], content["loss"], rtol=1e-13)
    for split in ("train", "test"):
        np.testing.assert_allclose(content["twin"]["accuracy"][split], content["accuracy"][split], atol=1 / 360)


def test_predictions_are_every_test_sample_once(written):
    content = read(written[1])
    matched, unmatched = content["predictions"]["matched"], content["predictions"]["unmatched"]
    assert sorted([*matched, *(entry["index"] for entry in unmatched)]) == list(range(360))
    assert unmatched
    for entry in unmatched:
        assert entry.keys() == {"index", "label", "predicted"}
        assert entry["label"] != entry["predicted"]
    assert content["summary"]["test_accuracy"] == len(matched) / 360
    # Not accuracy["test"][-1], which was taken after step 6.
    labels = settings.prepare(settings.Settings(**content["settings"]), *split(3)).labels_test
    assert all(labels[entry["index"]] == entry["label"] for entry in unmatched)


def split(seed):
    from oracle.data import split_digits

    return split_digits(seed)


@pytest.mark.skipif(not training.can_draw(), reason="matplotlib is not installed, and this is about the picture")
def test_the_picture_is_a_png(written):
    content = (written[1] / "training.png").read_bytes()
    assert content.startswith(PNG)
    assert content.endswith(b"IEND\xaeB`\x82")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert width > height > 500
    assert b"atplotlib" not in content  # the same run gives the same file on every version of it


def test_the_markdown_says_what_was_done(written):
    text = (written[1] / "training.md").read_text(encoding="utf-8")
    content = read(written[1])
    assert text.startswith("# Training, step for step against PyTorch\n")
    for heading in ("## Settings", "## Accuracy", "## Predictions", "## Made with"):
        assert f"\n{heading}\n" in text
    assert "two-layer on digits, float64: 7 steps in " in text
    assert f"test accuracy {content['summary']['test_accuracy']:.4f}" in text
    assert "| batch_size    | 400" in text
    for entry in content["predictions"]["unmatched"][: training.MISREAD]:
        assert f"| {entry['index']:<13} | {entry['label']:<4} | {entry['predicted']}" in text
    assert content["environment"]["command"] in text
    # The runs of epochs, each with its accuracies.
    for epoch, value in enumerate(content["accuracy"]["test"]):
        assert any(line.startswith(f"| {epoch} ") and f"{value:.4f}" in line for line in text.splitlines())
    if training.can_draw():
        assert "](training.png)" in text


@pytest.mark.skipif(not TWIN, reason="PyTorch is not installed, and this is about its twin")
def test_the_markdown_says_how_the_twin_compares(written):
    text = (written[1] / "training.md").read_text(encoding="utf-8")
    parity = read(written[1])["parity"]
    assert "Resynchronised at 7 of 7 steps: no divergence in 77 comparisons, worst margin" in text
    assert f"{parity['resynchronised']['worst_margin']:.2g}" in text
    assert "Free-running: at most" in text
    assert "a run that started one ulp away" in text
    assert "\n## Parity\n" in text
    assert 'grads["W1"]' in text


def test_what_is_printed_is_the_short_form(tmp_path, capsys, no_picture):
    assert run(tmp_path, *SHORT) == 0
    printed = capsys.readouterr()
    assert "two-layer on digits, float64: 7 steps in " in printed.out
    [line] = [line for line in printed.out.splitlines() if line.startswith("Written: ")]
    assert sorted(line.removeprefix("Written: ").split(", ")) == [str(tmp_path / name) for name in names(tmp_path)]
    # No terminal, no progress bar.
    assert printed.err == ""


def test_quiet_prints_nothing(tmp_path, capsys, no_picture):
    assert run(tmp_path, *SHORT, "--quiet") == 0
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_json_on_standard_output_is_nothing_else(tmp_path, capsys, no_picture):
    assert run(tmp_path, *SHORT, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out) == read(tmp_path)


def test_without_matplotlib_there_is_no_picture_and_the_report_says_so(tmp_path, no_picture):
    assert run(tmp_path, *SHORT, "--quiet") == 0
    assert names(tmp_path) == ["training.json", "training.md"]
    text = (tmp_path / "training.md").read_text(encoding="utf-8")
    assert "No picture: matplotlib is not installed (python -m pip install matplotlib)." in text
    assert "training.png" not in text


def test_without_pytorch_it_says_not_run(tmp_path, capsys, no_twin, no_picture):
    assert run(tmp_path, *SHORT) == 0
    told = "Parity: not run: PyTorch is not installed; install it with: python -m pip install torch."
    assert told in capsys.readouterr().out
    text = (tmp_path / "training.md").read_text(encoding="utf-8")
    assert told in text
    assert "## Parity" not in text
    content = read(tmp_path)
    assert content["parity"] == {"resynchronised": None, "free": None}
    assert content["summary"]["comparisons"] == 0
    assert content["summary"]["skipped"] == [{"reason": "parity: not run: PyTorch is not installed", "count": 7}]
    assert content["twin"]["loss"] is None
    assert len(content["loss"]) == 7


@pytest.mark.skipif(not training.can_draw(), reason="matplotlib is not installed, and this is about the picture")
def test_without_pytorch_there_is_a_picture_of_what_there_is(tmp_path, no_twin):
    assert run(tmp_path, *SHORT, "--quiet") == 0
    assert (tmp_path / "training.png").read_bytes().startswith(PNG)


def assert_shows_the_printed_order(tmp_path, output):
    content = read(tmp_path)
    assert content["summary"]["verdict"] == "right"
    printed = content["printed_order"]["test_accuracy"]
    text = (tmp_path / "training.md").read_text(encoding="utf-8")
    section = text.partition("\n## The printed order of updates\n")[2].partition("\n## ")[0]
    assert f"it reaches {printed:.4f} on the test samples" in section
    assert f"corrected order reaches {content['summary']['test_accuracy']:.4f}" in section
    assert f"The order of updates as printed reaches {printed:.4f} instead." in output
    return content, section


@pytest.mark.skipif(not TWIN, reason="PyTorch is not installed, and this is about its twin")
def test_the_second_network_shows_the_printed_order_beside_the_right_one(tmp_path, capsys, no_picture):
    assert run(tmp_path, "--net", "sigmoid", "--steps", "300") == 0
    content, section = assert_shows_the_printed_order(tmp_path, capsys.readouterr().out)
    assert content["settings"]["batch_size"] == 1
    assert len(content["accuracy"]["test"]) == 1
    divergence = content["printed_order"]["first_divergence"]
    assert divergence.startswith('step 0: gradient of W1: grads["W1"]')
    assert divergence in section


def test_the_printed_order_is_shown_without_pytorch_too(tmp_path, capsys, no_twin, no_picture):
    assert run(tmp_path, "--net", "sigmoid") == 0  # one epoch
    content, section = assert_shows_the_printed_order(tmp_path, capsys.readouterr().out)
    assert len(content["accuracy"]["test"]) == 2
    # Measured 0.56 and 0.74: what the printed order costs.
    assert 0.3 < content["printed_order"]["test_accuracy"] < content["summary"]["test_accuracy"] - 0.05
    assert content["printed_order"]["first_divergence"] is None
    assert "None" not in section


@pytest.mark.parametrize(
    "arguments",
    [["--net", "two-layer"], ["--net", "sigmoid", "--batch-size", "10"]],
    ids=["two-layer", "sigmoid in batches"],
)
def test_no_printed_order_where_the_source_has_none(arguments, tmp_path, no_twin, no_picture):
    assert run(tmp_path, *arguments, "--steps", "5", "--quiet") == 0
    assert read(tmp_path)["printed_order"] is None
    assert "printed order" not in (tmp_path / "training.md").read_text(encoding="utf-8")


# ----------------------------------------------------------------------------- the same again


def without_times(content):
    content.pop("seconds")
    return content


def test_the_same_seed_gives_the_same_json_but_for_times(tmp_path, no_picture):
    contents = []
    for seed in ("5", "5", "6"):
        assert run(tmp_path, *SHORT, "--seed", seed, "--quiet") == 0
        contents.append(without_times(read(tmp_path)))
    first, again, other = contents
    assert first == again
    assert first["loss"] != other["loss"]
    assert first["predictions"] != other["predictions"]


def test_labels_and_one_hot_train_alike(tmp_path, no_twin, no_picture):
    contents = []
    for targets in ("one-hot", "labels"):
        assert run(tmp_path, *SHORT, "--targets", targets, "--dtype", "float32", "--quiet") == 0
        contents.append(read(tmp_path))
    assert contents[0]["settings"]["targets"] != contents[1]["settings"]["targets"]
    for key in ("loss", "accuracy", "predictions"):
        assert contents[0][key] == contents[1][key]


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        (["--epochs", "2", "--batch-size", "100"], 28),
        (["--epochs", "2", "--batch-size", "2000"], 2),
        (["--epochs", "1", "--net", "sigmoid", "--batch-size", "100"], 15),
        (["--net", "sigmoid", "--batch-size", "1000"], 2),
    ],
    ids=["with replacement", "batch larger than the data", "in file order", "the preset's one epoch"],
)
def test_epochs_in_steps(arguments, steps, tmp_path, no_twin, no_picture):
    assert run(tmp_path, *arguments, "--quiet") == 0
    content = read(tmp_path)
    assert content["settings"]["steps"] == len(content["loss"]) == steps


def test_options_reach_the_run(tmp_path, no_twin, no_picture):
    options = "--net deep --lr 0.25 --dtype float32 --targets labels --seed 9 --batch-size 50 --steps 2 --quiet"
    assert run(tmp_path, *options.split()) == 0
    content = read(tmp_path)
    expected = {"net": "deep", "learning_rate": 0.25, "dtype": "float32", "targets": "labels"}
    expected |= {"seed": 9, "batch_size": 50, "steps": 2}
    assert expected.items() <= content["settings"].items()
    assert all(loss == np.float32(loss) for loss in content["loss"])


# ----------------------------------------------------------------------------- something is wrong


class UpdatesTwice(SGD):
    def update(self, params, gradients):
        super().update(params, gradients)
        super().update(params, gradients)


@pytest.mark.skipif(not TWIN, reason="PyTorch is not installed, and this is only seen against its twin")
def test_a_wrong_loop_ends_with_1_and_says_where(tmp_path, capsys, monkeypatch, no_picture):
    monkeypatch.setattr(settings, "SGD", UpdatesTwice)
    assert run(tmp_path, *SHORT) == 1
    assert "diverges at step 0: update of W1" in capsys.readouterr().out
    content = read(tmp_path)
    divergence = content["parity"]["resynchronised"]["first_divergence"]
    assert divergence.keys() == {"step", "kind", "parameter", "cause_id", "sentence"}
    assert (divergence["step"], divergence["kind"], divergence["parameter"]) == (0, "update", "W1")
    assert content["summary"]["verdict"] != "right"
    assert "diverges at step 0: update of W1" in (tmp_path / "training.md").read_text(encoding="utf-8")


# ----------------------------------------------------------------------------- refused

USAGE = {
    "an unknown net": (["--net", "three-layer"], "three-layer"),
    "unknown data": (["--data", "cifar"], "cifar"),
    "an unknown dtype": (["--dtype", "float16"], "float16"),
    "an unknown form of targets": (["--targets", "soft"], "soft"),
    "no steps": (["--steps", "0"], "'0' is not a whole number of at least 1"),
    "negative steps": (["--steps", "-5"], "'-5'"),
    "half a step": (["--steps", "2.5"], "'2.5'"),
    "an empty batch": (["--batch-size", "0"], "'0'"),
    "no epochs": (["--epochs", "none"], "'none'"),
    "steps and epochs": (["--steps", "5", "--epochs", "5"], "not allowed with"),
    "a learning rate of 0": (["--lr", "0"], "'0' is not a positive number"),
    "a negative learning rate": (["--lr", "-0.1"], "-0.1"),
    "an infinite learning rate": (["--lr", "inf"], "'inf'"),
    "a learning rate that is no number": (["--lr", "nan"], "'nan'"),
    "a save every 0 steps": (["--save-every", "0"], "'0'"),
    "a negative seed": (["--seed", "-1"], "-1"),
    "an unknown option": (["--leraning-rate", "0.1"], "--leraning-rate"),
}


@pytest.mark.parametrize(("arguments", "named"), USAGE.values(), ids=USAGE.keys())
def test_usage_that_cannot_be_followed_ends_with_2(arguments, named, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, *arguments)
    assert stopped.value.code == 2
    assert named in capsys.readouterr().err.splitlines()[-1]
    assert names(tmp_path) == []


def files(tmp_path):
    """Files that --resume cannot use, and a directory that is none of MNIST."""
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    (inputs / "text").write_text("step,loss\n", encoding="utf-8")
    np.savez(inputs / "weights.npz", W1=np.ones((3, 2)))
    (inputs / "pickle").write_bytes(pickle.dumps([1, 2]))
    (inputs / "empty").touch()
    return inputs


REFUSED = {
    "labels for a squared error": (["--net", "sigmoid", "--targets", "labels"], "--targets labels: "),
    "MNIST without a directory": (["--data", "mnist"], "--data mnist: no directory"),
    "MNIST in no such directory": (["--data", "mnist", "--mnist", "{inputs}/nowhere"], "no such directory"),
    "MNIST in a directory without it": (["--data", "mnist", "--mnist", "{inputs}"], "no train-images-idx3-ubyte"),
    "resuming a text": (["--resume", "{inputs}/text"], "not a checkpoint"),
    "resuming an npz of something else": (["--resume", "{inputs}/weights.npz"], "not a checkpoint"),
    "resuming a pickle": (["--resume", "{inputs}/pickle"], "not a checkpoint"),
    "resuming an empty file": (["--resume", "{inputs}/empty"], "not a checkpoint"),
    "resuming what is not there": (["--resume", "{inputs}/nowhere.npz"], "no such file"),
    "resuming a directory": (["--resume", "{inputs}"], "not a checkpoint"),
    "saving below a file": (["--save", "{inputs}/text/run.npz"], "is a file, but a directory is required"),
    "JSON below a file": (["--json", "{inputs}/text/run.json"], "is a file, but a directory is required"),
    "saving onto a directory": (["--save", "{inputs}"], "is a directory, but a file or a new name is required"),
}


@pytest.mark.parametrize(("arguments", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_done_ends_with_2_in_one_line_and_leaves_the_report(
    arguments, reason, tmp_path, capsys, no_twin, no_picture
):
    inputs, reports = files(tmp_path), tmp_path / "reports"
    reports.mkdir()
    (reports / "training.json").write_text("the previous report", encoding="utf-8")
    before = names(inputs)
    assert run(reports, "--steps", "2", *(argument.format(inputs=inputs) for argument in arguments)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("oracle: ")
    assert reason in printed.err
    assert (reports / "training.json").read_text(encoding="utf-8") == "the previous report"
    assert names(reports) == ["training.json"]
    assert names(inputs) == before


def test_a_report_that_cannot_be_written_ends_with_2_before_any_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("oracle.training.run.train", lambda *args, **kwargs: pytest.fail("it trained"))
    (tmp_path / "file").touch()
    assert run(tmp_path / "file") == 2
    assert str(tmp_path / "file") in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--save", "--json"])
def test_writing_onto_a_directory_is_refused_before_any_work(option, tmp_path, monkeypatch):
    """Else it is refused when there is something to write: the run is then lost."""
    monkeypatch.setattr("oracle.training.run.train", lambda *args, **kwargs: pytest.fail("it trained"))
    (tmp_path / "directory").mkdir()
    assert run(tmp_path, option, str(tmp_path / "directory")) == 2


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    options = "--net --data --mnist --download --steps --epochs --batch-size --lr --dtype --targets --save --save-every"
    for option in [*options.split(), "--resume", "--out", "--json", "--seed", "--quiet"]:
        assert option in text


# ----------------------------------------------------------------------------- going on later


def test_save_and_resume_through_the_command_line(tmp_path, capsys, no_twin, no_picture):
    checkpoint = tmp_path / "saved" / "run.npz"
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    common = ["--batch-size", "400", "--seed", "4", "--quiet"]
    assert run(whole, *common, "--steps", "8") == 0
    assert run(parts, *common, "--steps", "5", "--save", str(checkpoint), "--save-every", "2") == 0
    assert len(read(parts)["loss"]) == 5
    assert names(checkpoint.parent) == ["run.npz"]
    saved = checkpoint.read_bytes()
    assert run(parts, *common, "--steps", "8", "--resume", str(checkpoint)) == 0
    assert checkpoint.read_bytes() == saved
    for key in ("loss", "accuracy", "predictions", "settings"):
        assert read(parts)[key] == read(whole)[key]
    assert capsys.readouterr().err == ""

    assert run(parts, *common, "--steps", "8", "--resume", str(checkpoint), "--lr", "0.2") == 2
    message = capsys.readouterr().err
    assert "made with learning_rate = 0.1, but this run has learning_rate = 0.2" in message
    assert message.count("\n") == 1
    assert checkpoint.read_bytes() == saved


def test_another_number_of_threads_is_a_warning_on_standard_error(tmp_path, capsys, monkeypatch, no_twin, no_picture):
    checkpoint = tmp_path / "run.npz"
    assert run(tmp_path, *SHORT, "--quiet", "--save", str(checkpoint)) == 0
    monkeypatch.setattr("oracle.training.checkpoint.blas_threads", lambda: 77)
    assert run(tmp_path, *SHORT, "--quiet", "--resume", str(checkpoint)) == 0
    message = capsys.readouterr().err
    assert message.startswith(f"oracle: {checkpoint}: saved with ")
    assert "resumed with 77" in message


@pytest.mark.skipif(not TWIN, reason="PyTorch is not installed, and this is about its twin")
def test_a_resumed_report_shows_the_twin_beside_the_epochs_that_it_ran(tmp_path, no_picture):
    """An epoch is three steps, and the twin begins at step 5: what it reaches at step 6 stands beside our step 6."""
    checkpoint = tmp_path / "run.npz"
    common = ["--batch-size", "400", "--quiet", "--lr", "0.5"]
    assert run(tmp_path, *common, "--steps", "5", "--save", str(checkpoint)) == 0
    assert run(tmp_path, *common, "--steps", "12", "--resume", str(checkpoint)) == 0
    content = read(tmp_path)
    assert content["parity"]["resynchronised"]["steps"] == 7
    assert "Resynchronised at 7 of 12 steps" in (tmp_path / "training.md").read_text(encoding="utf-8")
    rows = table(tmp_path, "| epoch")
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4"]
    for epoch, ours_train, ours_test, theirs_train, theirs_test in rows:
        # Sixteen digits of agreement: not one sample is read differently.
        assert (theirs_train, theirs_test) in [("", ""), (ours_train, ours_test)], f"epoch {epoch}"
    assert rows[-1][3] != ""


def table(tmp_path, first):
    """The cells of the table of the report whose header starts so."""
    lines = (tmp_path / "training.md").read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(first)) + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_a_run_that_was_done_already_does_not_say_that_it_was_compared(tmp_path, capsys, no_picture):
    checkpoint = tmp_path / "run.npz"
    assert run(tmp_path, *SHORT, "--quiet", "--save", str(checkpoint)) == 0
    assert run(tmp_path, *SHORT, "--resume", str(checkpoint)) == 0
    assert len(read(tmp_path)["loss"]) == 7
    # A line that says "no divergence" and compared nothing is a defect.
    assert "no divergence" not in capsys.readouterr().out


# ----------------------------------------------------------------------------- interrupted


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process alone")
def test_ctrl_c_ends_with_130_and_keeps_what_there_is(tmp_path, capsys, no_twin, no_picture):
    """Then on from its checkpoint."""
    checkpoint, reports = tmp_path / "run.npz", tmp_path / "reports"
    arguments = ["--out", str(reports), "--batch-size", "20", "--save", str(checkpoint), "--save-every", "10"]
    started = subprocess.Popen(
        [sys.executable, "-c", ORACLE, "train", *arguments, "--steps", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        while not checkpoint.exists():
            assert started.poll() is None, started.communicate()[1]
            time.sleep(0.01)
        started.send_signal(signal.SIGINT)
        output, error = started.communicate(timeout=120)
    finally:
        started.kill()
    assert started.returncode == 130
    assert error == ""
    assert "Interrupted before step 100,000; this is what there was." in output
    content = read(reports)
    assert content["summary"]["interrupted"] is True
    done = len(content["loss"])
    assert 10 <= done == content["summary"]["steps"] < 100_000
    assert "Interrupted before step 100,000" in (reports / "training.md").read_text(encoding="utf-8")
    # The checkpoint is that of the last step, wherever it stood.
    resumed = tmp_path / "resumed"
    arguments = ["--batch-size", "20", "--steps", str(done + 3), "--resume", str(checkpoint), "--quiet"]
    assert run(resumed, *arguments) == 0
    assert capsys.readouterr().err == ""
    assert read(resumed)["loss"][:done] == content["loss"]
    assert len(read(resumed)["loss"]) == done + 3


def test_an_interrupt_while_nothing_is_there_yet_ends_with_130(tmp_path, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("oracle.training.run.train", interrupted)
    (tmp_path / "training.md").write_text("the previous report", encoding="utf-8")
    assert run(tmp_path, *SHORT) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert (tmp_path / "training.md").read_text(encoding="utf-8") == "the previous report"
    assert names(tmp_path) == ["training.md"]


def test_an_interrupt_in_the_printed_order_keeps_the_run_that_is_done(tmp_path, monkeypatch, no_twin, no_picture):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("oracle.training.run.train_in_printed_order", interrupted)
    assert run(tmp_path, "--net", "sigmoid", "--steps", "5", "--quiet") == 130
    content = read(tmp_path)
    assert len(content["loss"]) == 5
    assert content["printed_order"] is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process alone")
def test_ctrl_c_within_a_step_lets_the_step_be_done(tmp_path, monkeypatch, no_picture):
    """Sent by the update itself, half of the parameters done: the checkpoint has the whole step."""

    sent = []

    class Interrupted(SGD):
        calls = 0

        def update(self, params, gradients):
            self.calls += 1
            for name, gradient in gradients.items():
                super().update(params, {name: gradient})
                # Once: the yardstick has an optimizer of its own, and a second Ctrl-C would end the run at once.
                if self.calls == 4 and name == "b1" and not sent:
                    sent.append(name)
                    os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched:
        patched.setattr(settings, "SGD", Interrupted)
        assert run(tmp_path, *SHORT, "--quiet", "--save", str(tmp_path / "run.npz")) == 130
    assert signal.getsignal(signal.SIGINT) is handler
    interrupted = read(tmp_path)
    assert len(interrupted["loss"]) == 4
    assert run(tmp_path, *SHORT, "--quiet", "--resume", str(tmp_path / "run.npz")) == 0
    resumed = read(tmp_path)
    assert run(tmp_path, *SHORT, "--quiet") == 0
    assert read(tmp_path)["loss"] == resumed["loss"]
    assert read(tmp_path)["predictions"] == resumed["predictions"]


@pytest.mark.skipif(not TWIN, reason="PyTorch is not installed: there is nothing to resynchronise with")
def test_a_long_run_is_resynchronised_at_some_steps_only(tmp_path, monkeypatch, no_picture):
    monkeypatch.setattr("oracle.training.run.RESYNCHRONISED_STEPS", 3)
    assert run(tmp_path, *SHORT, "--quiet") == 0
    content = read(tmp_path)
    assert len(content["loss"]) == 7
    assert content["parity"]["resynchronised"]["steps"] == 3  # the first, the fourth and the seventh


def test_training_in_a_thread_leaves_interrupts_alone(tmp_path, no_twin, no_picture):
    """Only the main thread may say what they do."""
    handler, statuses = signal.getsignal(signal.SIGINT), []
    thread = threading.Thread(target=lambda: statuses.append(run(tmp_path, *SHORT, "--quiet")))
    thread.start()
    thread.join()
    assert statuses == [0]
    assert signal.getsignal(signal.SIGINT) is handler


def test_second_ctrl_c_interrupts_at_once():
    with _stops_after_the_step() as stopping:
        signal.raise_signal(signal.SIGINT)
        assert stopping.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.skipif(not TWIN, reason="PyTorch is not installed: nothing runs beside")
def test_before_any_free_step_nothing_is_said_of_it(tmp_path, no_picture):
    assert run(tmp_path, *SHORT, "--quiet") == 0
    content = read(tmp_path)
    assert any(line.startswith("Free-running") for line in training.training_lines(content))
    content["parity"]["free"]["worst_relative"] = None
    assert not any(line.startswith("Free-running") for line in training.training_lines(content))
