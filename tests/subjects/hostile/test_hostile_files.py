"""Files that do harm: each gets its verdict, the other layers of the file are checked, and none ends as right."""

import textwrap

import pytest

from oracle.subjects import remote

RIGHT_RELU = """
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
SMALL_SIGMOID = """
class Sigmoid:
    def forward(self, x):
        e = np.exp(-np.abs(x))
        self.slope = e / (1 + e) ** 2
        return np.where(x >= 0, 1, e) / (1 + e)

    def backward(self, dout):
        return dout * self.slope
"""


def imports(source):
    return "import numpy as np\n" + textwrap.dedent(source)


HARM = {
    "an endless loop": "while True: pass",
    "sys.exit": "import sys; sys.exit(0)",
    "os._exit": "import os; os._exit(0)",
    "a crash of the interpreter": "import ctypes; ctypes.string_at(0)",
    "50 GB": "np.ones((50, 2**27))",
    "1 GB of printing": "print('x' * 10**9)",
    "an exception that is no Exception": "raise BaseException('out')",
    "deep recursion": "(f := lambda n: f(n + 1) + 1)(0)",
    "no more workers": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "closing the pipe": "import os; os.closerange(3, 20)",
}


@pytest.mark.parametrize("harm", HARM)
def test_harm_ends_as_could_not_run_and_the_other_layers_are_still_checked(checked, harm, monkeypatch):
    monkeypatch.setattr(remote, "CALL_SECONDS", 2.0)
    harmful = SMALL_SIGMOID.replace("        return dout", f"        {HARM[harm]}\n        return dout")
    # The one that does harm comes first.
    status, subjects, _ = checked(imports(harmful + RIGHT_RELU))
    assert status == 1
    assert subjects["Sigmoid"]["verdict"] == "could not run", subjects["Sigmoid"]["cause"]
    assert subjects["Relu"]["verdict"] == "right"


@pytest.mark.parametrize(
    ("source", "line", "name"),
    [
        (RIGHT_RELU, "        self.mask = x <= 0", "Relu"),
        (RIGHT_RELU, "        dx = dout.copy()", "Relu"),
        (SMALL_SIGMOID, "        e = np.exp(-np.abs(x))", "Sigmoid"),
    ],
    ids=["Relu forward", "Relu backward", "Sigmoid forward"],
)
def test_endless_loop_could_not_run_and_the_time_limit_is_said(checked, source, line, name, monkeypatch):
    monkeypatch.setattr(remote, "CALL_SECONDS", 1.0)
    assert line in source
    status, subjects, _ = checked(imports(source.replace(line, f"        while True:\n            pass\n{line}")))
    assert (status, subjects[name]["verdict"]) == (1, "could not run")
    assert "no answer in 1 s" in subjects[name]["cause"]


@pytest.mark.parametrize(
    "line",
    [
        "print('x' * 10**7)",
        "np.allclose = lambda *a, **k: True",
        "print('Verdict: right.')",
        "import os; os.write(1, b'forged')",
    ],
)
def test_neither_printing_nor_replacing_functions_makes_a_wrong_layer_right(checked, line):
    doubled = f"        {line}\n        return 2 * dout * self.slope"
    status, subjects, printed = checked(imports(SMALL_SIGMOID.replace("        return dout * self.slope", doubled)))
    assert status == 1
    assert (subjects["Sigmoid"]["verdict"], subjects["Sigmoid"]["cause_id"]) == ("backward wrong", "doubled")
    assert "forged" not in printed.out


def test_many_slow_calls_end_with_the_time_for_a_layer(checked, monkeypatch):
    monkeypatch.setattr(remote, "LAYER_SECONDS", 2.0)
    slow = SMALL_SIGMOID.replace("        return dout", "        import time; time.sleep(0.3)\n        return dout")
    status, subjects, _ = checked(imports(slow + RIGHT_RELU))
    assert (status, subjects["Sigmoid"]["verdict"]) == (1, "could not run")
    assert "more than 2 s in all" in subjects["Sigmoid"]["cause"]
    assert subjects["Relu"]["verdict"] == "right"


def test_harm_at_import_leaves_the_definitions(checked, monkeypatch):
    monkeypatch.setattr(remote, "IMPORT_SECONDS", 1.0)
    # A gigabyte is printed within a second where nothing else goes on, and then the file is imported as it is.
    endless = {**HARM, "1 GB of printing": "print('x' * 10**9)\nwhile True: pass"}
    for harm in endless.values():
        status, subjects, printed = checked(imports(RIGHT_RELU + "\n" + harm + "\n"))
        assert (status, subjects["Relu"]["verdict"]) == (0, "right"), harm
        assert "imported with its definitions and constants alone" in printed.out, harm


def test_file_that_answers_from_a_table_of_what_it_saw_before_is_not_right(checked):
    """It differentiates nothing: it remembers the shape and gives zeros."""
    source = SMALL_SIGMOID.replace("return dout * self.slope", "return np.zeros_like(dout)")
    status, subjects, _ = checked(imports(source))
    assert (status, subjects["Sigmoid"]["cause_id"]) == (1, "gradient_is_zero")


def test_file_cannot_reach_expected_values_through_the_worker(checked):
    """Whatever a file finds in its process, PyTorch and the judge are not there."""
    source = RIGHT_RELU.replace(
        "dx = dout.copy()",
        "import sys; assert not [m for m in sys.modules if m.startswith(('torch', 'oracle.judge', 'oracle.twins.'))]\n"
        "        dx = dout.copy()",
    )
    status, subjects, _ = checked(imports(source))
    assert (status, subjects["Relu"]["verdict"]) == (0, "right")
