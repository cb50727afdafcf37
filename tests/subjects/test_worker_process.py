"""The process that somebody's file runs in, and what is told of the file by its text."""

import sys

import pytest

from oracle.cli import main
from oracle.reporting.check import first_verdicts
from oracle.subjects.interface import SubjectError
from oracle.subjects.remote import Worker
from oracle.subjects.worker import _limit_memory

RELU = """
import numpy as np

class Relu:
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, dout):
        return dout * self.mask
"""
SIGMOID = """
class Sigmoid:
    def forward(self, x):
        e = np.exp(-np.abs(x))
        self.y, self.rest = np.where(x >= 0, 1, e) / (1 + e), np.where(x >= 0, e, 1) / (1 + e)
        return self.y

    def backward(self, dout):
        return dout * self.y * self.rest
"""


def loaded(path):
    worker = Worker(path)
    worker.load()
    return worker


def test_process_that_is_gone_stays_gone_and_has_printed_nothing(written):
    with loaded(written(RELU)) as worker:
        worker._process.kill()
        worker._process.wait()
        with pytest.raises(SubjectError, match="the process ended") as first:
            worker.call({"call": "close", "instance": -1}, step="a call")
        with pytest.raises(SubjectError) as second:
            worker.call({"call": "close", "instance": -1}, step="another call")
        assert second.value is first.value
        assert worker.printed() == ""
        worker.revive()
        assert worker.call({"call": "close", "instance": -1}, step="a call").text == {}


def test_output_of_a_file_that_has_ended_its_process_is_not_asked_for(checked):
    """Its last layer did, so that nothing has started it again."""
    source = RELU.replace("return dout * self.mask", "import os; os._exit(3)")
    status, subjects, _ = checked(source, "--show-output")
    assert (status, subjects["Relu"]["verdict"]) == (1, "could not run")


def test_first_verdicts_are_of_the_layer_that_is_meant_and_of_what_can_be_called(written):
    path = written(RELU + SIGMOID + SIGMOID.replace("Sigmoid", "Tanh").replace("def backward", "def backword"))
    with loaded(path) as worker:
        assert dict(first_verdicts(worker, only="Sigmoid", seed=0)) == {"Sigmoid": "right"}
        assert dict(first_verdicts(worker, only=None, seed=0)) == {"Relu": "right", "Sigmoid": "right"}


def test_layer_that_ends_the_process_whenever_it_is_called_is_a_network_all_the_same(written):
    source = """
        import os
        import numpy as np

        class TwoLayerNet:
            def __init__(self, input_size, hidden_size, output_size):
                os._exit(3)

            def loss(self, x, t):
                return 0.0

            def gradient(self, x, t):
                return {}
    """
    with loaded(written(source)) as worker:
        (found,) = worker.found
    assert found.record == "TwoLayerNet"
    assert found.calling.parameters["W2"] == "self.params['W2']"


def test_methods_of_a_base_in_another_file_have_no_line(written):
    written(RELU.replace("Relu", "Layer"), name="base.py")
    path = written("from base import Layer\n\nclass Relu(Layer):\n    pass\n", name="theirs.py")
    with loaded(path) as worker:
        (found,) = worker.found
    assert (found.name, found.lines) == ("Relu", {})


def test_package_that_cannot_be_imported_is_said_and_its_file_checked(written, checked):
    written("raise RuntimeError('no licence')", name="__init__.py")
    status, subjects, printed = checked("from . import nothing\n" + RELU, name="layers.py")
    assert (status, subjects["Relu"]["verdict"]) == (0, "right")
    assert "the package theirs: RuntimeError: no licence" in printed.out


def test_class_that_hands_out_its_cache_is_shown_with_it(checked):
    source = """
        import numpy as np

        class Relu:
            def forward(self, x):
                return np.maximum(x, 0), x

            def backward(self, dout, cache):
                return dout * (cache > 0) * 2
    """
    _, subjects, printed = checked(source)
    assert subjects["Relu"]["cause_id"] == "doubled"
    assert "(layer, cache), y = forward(x)" in printed.out


def test_one_row_at_a_time_is_asked_for_single_samples_too(checked):
    """Right for a batch of one, whatever way up it lies."""
    source = """
        import numpy as np

        class Affine:
            def __init__(self, W, b):
                self.W, self.b = W, b

            def forward(self, x):
                self.x = x
                return x @ self.W + self.b

            def backward(self, dout):
                self.dW = np.outer(self.x, dout)
                self.db = dout.reshape(self.b.shape)
                return dout @ self.W.T
    """
    status, subjects, _ = checked(source)
    assert "one sample at a time" in subjects["Affine"]["convention"]
    assert (status, subjects["Affine"]["verdict"]) == (0, "right")


def test_junit_has_a_suite_for_each_file_and_what_could_not_run(written, tmp_path, capsys):
    right, wrong = written(RELU, name="a.py"), written(RELU.replace("backward", "backword"), name="b.py")
    junit = tmp_path / "tests.xml"
    assert main(["check", str(right), str(wrong), "--junit", str(junit), "--only-wrong"]) == 1
    text = junit.read_text(encoding="utf-8")
    assert text.count("<testsuite ") == 2
    assert text.count('classname="Relu" name="runs"') == 2
    assert 'type="could not run"' in text
    capsys.readouterr()
    assert main(["check", str(right), "--only-wrong"]) == 0
    assert "where" not in capsys.readouterr().out  # a table without rows would have its heading


def test_without_pytorch_it_is_said_what_was_not_asked(checked, monkeypatch):
    monkeypatch.setattr("oracle.judge.examination.is_available", lambda: False)
    status, _, printed = checked(RELU)
    assert status == 0
    assert "whether forward is the right function, and not only differentiated rightly, was not asked" in printed.out


def test_where_memory_cannot_be_limited_the_file_runs_without_a_limit(monkeypatch):
    """As on Windows, which has no module of that name."""
    monkeypatch.setitem(sys.modules, "resource", None)
    assert _limit_memory() is None


def test_class_with_methods_of_no_known_name_is_passed_over(written):
    source = "class Relu:\n    def apply(self, x):\n        return x\n\n    def undo(self, y):\n        return y\n"
    with loaded(written(source)) as worker:
        assert worker.found == ()
        assert worker.passed_over == ({"name": "Relu", "reason": "it has neither forward nor backward"},)
