"""What ends a command early: one line on standard error, and the exit status that says so."""

import argparse

import pytest

from oracle.cli import explain as command
from oracle.cli import main
from oracle.cli.common import rate
from oracle.cli.status import NOT_MADE


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
