"""What ends a command early: one line on standard error, and the exit status that says so."""

import argparse
import contextlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

from oracle import data
from oracle.cli import explain as command
from oracle.cli import main
from oracle.cli.common import rate
from oracle.cli.status import NOT_MADE
from oracle.errors import InputError
from oracle.judge.checks import CHECKS


def test_too_little_memory_is_said_with_what_to_do(monkeypatch, capsys):
    def fill(*_):
        raise MemoryError("9 GiB")

    monkeypatch.setattr(command, "run", fill)
    assert main(["explain", "stale_cache"]) == NOT_MADE
    assert capsys.readouterr().err == (
        "oracle: not enough memory: 9 GiB; take fewer or smaller samples, or a smaller batch\n"
    )


@pytest.mark.parametrize("text", ["0", "-1", "inf", "nan", "a tenth", ""], ids=repr)
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a positive number"):
        rate(text)


def test_a_rate_beyond_float32_is_refused_before_any_work(capsys, tmp_path):
    assert main(["train", "--lr", "1e39", "--dtype", "float32", "--out", str(tmp_path)]) == NOT_MADE
    assert "--lr 1e+39: larger than any float32; take a smaller one, or --dtype float64" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_file_to_check_is_refused(capsys, tmp_path):
    assert main(["check", str(tmp_path)]) == NOT_MADE
    assert "a folder without a Python file or a notebook" in capsys.readouterr().err


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="there is no /dev/full here, on which nothing can be written"
)
def test_output_that_cannot_be_written_ends_with_2():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "oracle", "explain", "hazard"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, encoding="utf-8", check=False)
    assert done.returncode == NOT_MADE
    assert done.stderr == "oracle: the output cannot be written (No space left on device)\n"


def test_verdict_is_explained_to_a_stream_of_any_kind():
    """Such as that of a notebook, which has no encoding to change."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["explain", "hazard"]) == 0
    assert out.getvalue().startswith("hazard\n  ")


def test_check_without_a_cause_of_its_own_is_explained_by_what_it_asks(capsys):
    without = next(name for name in CHECKS if name not in command.CAUSE_OF)
    assert main(["explain", without]) == 0
    assert capsys.readouterr().out == (
        f"{without}\n  Asked of every layer that it makes sense for: {CHECKS[without].summary}\n"
    )


def test_mnist_is_downloaded_before_training_where_that_is_asked_for(tmp_path, monkeypatch, capsys):
    asked = []

    def offline(directory, *, progress):
        asked.append((directory, progress))
        raise InputError("no network")

    monkeypatch.setattr(data, "download_mnist", offline)
    arguments = ["--data", "mnist", "--mnist", str(tmp_path), "--download", "--quiet", "--out", str(tmp_path)]
    assert main(["train", *arguments]) == NOT_MADE
    assert asked == [(str(tmp_path), False)]
    assert capsys.readouterr().err == "oracle: no network\n"
