"""Killed at a random moment while it saves after every step, a run leaves a whole checkpoint, every time.

ORACLE_KILLS says how often it is killed; 3 where it is not set.
"""

import fnmatch
import os
import random
import subprocess
import sys
import time

import numpy as np

from oracle import cli
from oracle.training import checkpoint
from oracle.training.settings import new_trainer

KILLS = int(os.environ.get("ORACLE_KILLS", "3"))
STEPS = 100_000
#: ``python -m oracle`` without the twin beside it: that starts in half the time, and saves are a larger part of it.
ORACLE = """
import sys
from oracle import cli
from oracle.training import run
run.is_available = lambda: False
raise SystemExit(cli.main())
"""


def stamp(path):
    """What changes when the file is replaced."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino


def kill_while_it_saves(arguments, path, moment, log):
    """Start the command, wait for it to replace the file, and kill it so many seconds later."""
    before = stamp(path)
    with log.open("wb") as errors:
        started = subprocess.Popen([sys.executable, "-c", ORACLE, *arguments], stdout=errors, stderr=errors)
        try:
            while stamp(path) in (before, None):
                assert started.poll() is None, log.read_text(encoding="utf-8", errors="replace")
                time.sleep(0.005)
            time.sleep(moment)
            assert started.poll() is None, "it had ended before it was killed"
        finally:
            started.kill()
            started.wait()


def test_a_killed_run_leaves_a_whole_checkpoint(tmp_path, on_digits, monkeypatch):
    path, log, reports = tmp_path / "saved" / "run.npz", tmp_path / "log", tmp_path / "reports"
    settings, samples = on_digits(steps=STEPS)
    moments = random.Random(0)
    done = 0
    for number in range(KILLS):
        arguments = ["train", "--data", "digits", "--steps", str(STEPS), "--quiet", "--out", str(reports)]
        arguments += ["--save", str(path), "--save-every", "1"]
        arguments += ["--resume", str(path)] if number else []
        kill_while_it_saves(arguments, path, moments.uniform(0.05, 0.5), log)

        trainer = new_trainer(settings, samples)
        assert checkpoint.resume(path, settings, trainer) == []
        assert trainer.steps_done > done
        done = trainer.steps_done
        # A kill in the middle of a write leaves what was written beside the checkpoint, and nothing else.
        others = [entry.name for entry in path.parent.iterdir() if entry != path]
        assert len(others) <= number + 1
        assert fnmatch.filter(others, ".oracle-*.tmp") == others
        assert list(reports.iterdir()) == []

    # However often it was killed, it has come to where a run that was not would be, bit for bit.
    uninterrupted = new_trainer(settings, samples)
    uninterrupted.run(done)
    assert uninterrupted.history.loss == trainer.history.loss
    assert uninterrupted.history.test_accuracy == trainer.history.test_accuracy
    for name, values in uninterrupted.net.params.items():
        np.testing.assert_array_equal(trainer.net.params[name], values)

    monkeypatch.setattr("oracle.reporting.training.can_draw", lambda: False)
    arguments = ["train", "--data", "digits", "--steps", str(done + 5), "--quiet", "--out", str(reports)]
    assert cli.main([*arguments, "--resume", str(path), "--save", str(path)]) == 0
    trainer = new_trainer(settings, samples)
    checkpoint.resume(path, settings, trainer)
    assert trainer.steps_done == done + 5
    assert (reports / "training.json").exists()
