"""Slips of the pen: what cannot run is said with its line, and with what was meant."""

import pytest

AFFINE = """
import numpy as np

class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return np.dot(x, self.W) + self.b

    def backward(self, dout):
        self.dW = np.dot(self.x.T, dout)
        self.db = np.sum(dout, axis=0)
        return np.dot(dout, self.W.T)
"""
#: What is written, what is written instead, the cause, and what is said.
SLIPS = {
    "forwar": ("def forward", "def forwar", "misspelt_method", "did you mean forwar (line 8)?"),
    "backword": ("def backward", "def backword", "misspelt_method", "did you mean backword (line 12)?"),
    "__int__": ("def __init__", "def __int__", "misspelt_method", "it has no __init__; did you mean __int__ (line 5)?"),
    "b for self.b": (
        " + self.b",
        " + b",
        "undefined_name",
        "name 'b' is not defined (line 10). If b",
    ),
    "a misspelt name": (
        "return np.dot(x, ",
        "return np.dot(X, ",
        "undefined_name",
        "'X' is not defined (line 10)",
    ),
    "x is not kept": (
        "        self.x = x\n",
        "",
        "attribute_never_set",
        "Nothing has set self.x",
    ),
    "x is kept by another name": ("self.x = x", "self.X = x", "attribute_never_set", "Nothing has set self.x by then"),
    "no return in forward": ("return np.dot(x, self.W)", "y = np.dot(x, self.W)", "returns_none", "None"),
    "no return in backward": ("return np.dot(dout", "dx = np.dot(dout", "returns_none", "dx is None"),
    "no import": ("import numpy as np", "", "missing_import", "import numpy as np"),
    "no self": ("def forward(self, x)", "def forward(x)", "raises", "takes 1 positional argument but 2 were given"),
    "dW is never set": (
        "self.dW = ",
        "dW = ",
        "raises",
        "dW was looked for in self.dW after backward",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_slip_of_the_pen_is_named_with_its_line(checked, slip):
    right, wrong, cause_id, said = SLIPS[slip]
    assert right in AFFINE
    status, subjects, printed = checked(AFFINE.replace(right, wrong))
    assert (status, subjects["Affine"]["verdict"]) == (1, "could not run")
    assert subjects["Affine"]["cause_id"] == cause_id
    assert said in printed.out


def test_layer_before_any_forward_is_none_and_the_attribute_is_named(checked):
    source = AFFINE.replace("self.W, self.b = W, b", "self.W, self.b, self.x = W, b, None").replace(
        "self.x = x\n", "\n"
    )
    _, subjects, printed = checked(source)
    assert subjects["Affine"]["cause_id"] == "attribute_never_set"
    assert "self.x is None (line 13)" in printed.out


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (AFFINE.replace("def forward(self, x):", "def forward(self, x)"), "SyntaxError: expected ':' (line 8)"),
        (AFFINE.replace("        self.x = x\n", "\tself.x = x\n"), "(line 9)"),
        (AFFINE.replace("        self.x = x\n", "      self.x = x\n"), "(line 10)"),
        ("class Affine:\n    def forward(self, x):\n        return 'x\n", "(line 3)"),
    ],
    ids=["a colon is missing", "a tab", "an indentation", "a string without an end"],
)
def test_what_python_cannot_read_ends_with_2_and_the_line(checked, source, said):
    status, _, printed = checked(source)
    assert status == 2
    assert said in printed.err
    assert "a file that Python can read is required" in printed.err


def test_missing_module_is_named_and_what_needs_it_too(checked):
    source = "from common.layers import softmax\n" + AFFINE.replace("np.dot(x, self.W)", "softmax(np.dot(x, self.W))")
    status, subjects, printed = checked(source)
    assert status == 1
    assert "ModuleNotFoundError: No module named 'common'" in printed.out
    assert subjects["Affine"]["cause_id"] == "undefined_name"


def test_layer_that_updates_itself_by_an_unseen_step_is_said_not_to_be_checked(checked):
    source = AFFINE.replace(
        "        self.dW = np.dot(self.x.T, dout)\n", "        self.W = self.W - 0.1 * self.x.T @ dout\n"
    )
    relu = """
class Relu:
    def forward(self, x):
        self.mask = x <= 0
        return np.where(self.mask, 0, x)

    def backward(self, dout):
        return np.where(self.mask, 0, dout)
"""
    status, subjects, printed = checked(source + relu)
    assert (status, list(subjects)) == (0, ["Relu"])
    assert "Affine: its backward updates W itself, by a step that cannot be seen" in printed.out


def test_function_that_wants_more_than_is_known_is_said_not_to_be_checked(checked):
    source = (
        AFFINE
        + """
def linear_forward(x, W, b, activation):
    return x @ W + b, (x, W, b)

def linear_backward(dout, cache):
    x, W, b = cache
    return dout @ W.T, x.T @ dout, dout.sum(axis=0)
"""
    )
    status, subjects, printed = checked(source)
    assert (status, list(subjects)) == (0, ["Affine"])
    assert "linear_forward: it wants 4 arguments (x, W, b, activation), and 3 are known" in printed.out
