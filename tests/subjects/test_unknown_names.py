"""Layers of a name that nobody knows: checked against their own forward, or named with the reason why not."""

import importlib.util
import json
import re
import sys
import textwrap
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oracle import check_layer
from oracle.catalog.case import Case
from oracle.catalog.own import OWN, own_name, own_record
from oracle.catalog.strategies import generated_cases
from oracle.catalog.variants import KNOWN
from oracle.cli import main
from oracle.judge.examination import SLOW, examine
from oracle.reporting.check import Checked
from oracle.reporting.check_text import not_asked
from oracle.sources.backprop import MOVED, shaken
from oracle.sources.numerical import numerical
from oracle.subjects.conventions.calling import UPDATE
from oracle.subjects.conventions.recognition import UNKNOWN_NAME, Told, UnknownCallingError
from oracle.subjects.conventions.subject import Found
from oracle.subjects.in_process import InProcessSubject, implementation_of
from oracle.subjects.interface import SubjectError
from oracle.subjects.remote import SlowError
from oracle.subjects.source_file import Candidate, Code, SourceFile, recognise

SAMPLE = Path(__file__).parent / "samples" / "unknown_names.py"
RELU = """
    class Relu:
        def forward(self, x):
            self.mask = x > 0
            return x * self.mask

        def backward(self, dout):
            return dout * self.mask
    """


#: One line wrong: who is, what is written and what instead, and the quantity that is not the derivative.
FAULTS = [
    ("BatchNormalization", "return dxc - dmu / n", "return self.gamma * dout / self.std", "dx"),
    ("BatchNormalization", "return dxc - dmu / n", "return dxc", "dx"),
    ("BatchNormalization", "dbeta = dout.sum(axis=0)", "dbeta = dout.mean(axis=0)", "dbeta"),
    ("BatchNormalization", "np.sum(self.xn * dout, axis=0)", "self.xn * dout", "dgamma"),
    ("LayerNorm", "d.mean(axis=-1, keepdims=True)", "d.mean(axis=0, keepdims=True)", "dx"),
    ("LayerNorm", "(dout * self.normal).sum(axis=0, keepdims=True)", "(dout * self.normal).sum()", "dscale"),
    ("Dropout", "return dout * self.mask / (1 - self.dropout_ratio)", "return dout * self.mask", "dx"),
    ("Dropout", "return dout * self.mask", "return dout * (np.random.rand(*dout.shape) > 0.5)", "dx"),
    ("Convolution", "j + stride * columns : stride] +=", "j + stride * columns : stride] =", "dx"),
    ("Convolution", "images[:, :, pad : H + pad, pad : W + pad]", "images[:, :, :H, :W]", "dx"),
    ("Convolution", "self.db = np.sum(dout, axis=0)", "self.db = np.sum(dout, axis=1)", "db"),
    ("Pooling", "dmax[np.arange(self.arg_max.size), self.arg_max.flatten()] = dout.flatten()",
     "dmax[:] = dout.reshape(-1, 1)", "dx"),
    ("AveragePool2D", " / self.k**2", "", "dx"),
    ("MaxPool", "window == self.out[:, :, i, j][:, :, None, None]", "np.ones(window.shape) / 4", "dx"),
    ("Softplus", "np.exp(-self.x)", "np.exp(self.x)", "dx"),
    ("GELU", "0.5 * (1 + t) + 0.5 * x * (1 - t**2) * c * (1 + 3 * 0.044715 * x**2)", "0.5 * (1 + t)", "dx"),
    ("GELU", "(1 + 3 * 0.044715 * x**2)", "(1 + 0.044715 * x**2)", "dx"),
    ("ELU", "self.x > 0, 1, self.alpha * np.exp(np.minimum(self.x, 0))", "self.x > 0, 1, self.alpha", "dx"),
    ("ReLU6", "((self.x > 0) & (self.x < 6))", "(self.x > 0)", "dx"),
    ("LeakyReLU", "dout, self.alpha * dout)", "dout, 0)", "dx"),
    ("PReLU", "(self.x <= 0)).sum(axis=0)", "(self.x <= 0)).mean(axis=0)", "dalpha"),
    ("Flatten", "dout.reshape(self.shape)", "dout.reshape(self.shape[::-1]).T", "dx"),
    ("Mixer", "self.x.T @ dout,", "-self.x.T @ dout,", "dW"),
]  # fmt: skip
#: The same of pairs of functions, whose backward stands beside the forward.
FAULTS_OF_FUNCTIONS = [
    ("swish", "return s + x * s * (1 - s)", "return s + s * (1 - s)", "dx"),
    ("batchnorm_forward", "+ dmean / N", "+ dmean", "dx"),
    ("batchnorm_forward", "np.sum(dout * hat, axis=0), np", "np.sum(dout * x, axis=0), np", "dgamma"),
    ("conv_forward_naive", "dw += np.tensordot", "dw = np.tensordot", "dw"),
    ("conv_forward_naive", "dout.sum(axis=(0, 2, 3))", "dout.sum(axis=(0, 2, 3)) / len(x)", "db"),
    ("max_pool_forward_naive", "at = np.unravel_index(window.argmax(), window.shape)", "at = (0, 0)", "dx"),
    ("dropout_forward", "return dout * mask", "return dout * (mask > 0)", "dx"),
]


@pytest.mark.parametrize(
    ("name", "right", "wrong", "quantity"),
    [*FAULTS, *FAULTS_OF_FUNCTIONS],
    ids=[f"{f[0]}-{f[3]}-{n}" for n, f in enumerate([*FAULTS, *FAULTS_OF_FUNCTIONS])],
)
def test_one_wrong_line_is_found(altered, name, right, wrong, quantity):
    result = check_layer(altered(name, right, wrong))
    assert result.verdict == "backward wrong", str(result)
    assert {f["quantity"] for f in json.loads(result.to_json())["subjects"][0]["findings"]} == {quantity}


# ----------------------------------------------------------------------------- what is said


def test_what_was_not_asked_and_what_would_have_been_noticed_is_said(checked):
    source = RELU.replace("class Relu", "class Mystery")
    status, subjects, printed = checked(f"import numpy as np\n{textwrap.dedent(source)}")
    assert (status, subjects["Mystery"]["verdict"]) == (0, "right")
    assert subjects["Mystery"]["record"] == "own forward: x (N, D)"
    assert (
        "Checked against their own forward: Mystery. Whether forward is the right function was not asked: no layer is "
        "known by this name (--as NAME says which it is). Noticed there: an error in any one entry of a gradient above"
    ) in printed.out
    assert "PyTorch" not in printed.out.partition("Checked against")[2]


def test_what_is_known_is_not_checked_against_itself(checked):
    _, subjects, printed = checked(f"import numpy as np\n{textwrap.dedent(RELU)}")
    assert subjects["Relu"]["record"] == "Relu"
    assert "own forward" not in printed.out


#: What cannot be tried, and a part of the reason.
NOT_TRIED = {
    "raises": (
        "def forward(self, x):\n        raise RuntimeError('out of order')",
        "forward raised RuntimeError: out of",
    ),
    "two inputs": (
        "def forward(self, x, h_prev):\n        return x + h_prev",
        "does not give a gradient for each of x, h_prev: return them in this order, and give an argument that has none",
    ),
    "two outputs": (
        "def forward(self, x):\n        return x, 2 * x, 3 * x",
        "it returns several arrays: (3, 4), (3, 4), (3, 4); to have it checked, write a class whose forward returns",
    ),
    "loss": (
        "def forward(self, y, t):\n        return np.mean((y - t) ** 2)",
        "its backward gives no gradient of the shape of its input (given x (N, D), values t (N, D))",
    ),
    "weighted loss": (
        "def forward(self, y, t, w):\n        return np.mean(w * (y - t) ** 2)",
        "its forward takes w beside an input and targets: give that a default, or hand it to the constructor",
    ),
    "loss of each row": (
        "def forward(self, y, t):\n        return np.mean((y - t) ** 2, axis=1)",
        "its forward gives an array of shape (3,), and a loss is one number: return its mean or sum",
    ),
    "loss that overflows": (
        "def forward(self, y, t):\n        return np.sum(y - t) * np.inf",
        "its forward gives what is not finite",
    ),
    "nothing": (
        "def forward(self):\n        return 1.0",
        "its forward needs no argument: let it take its input as one",
    ),
    "indices": (
        "def forward(self, places):\n        return np.eye(4)[places]",
        "its forward takes indices, which have no derivative: give them to the constructor",
    ),
    "network": ("def forward(self, x):\n        return x\n\n    def predict(self, x):\n        return x", "(predict)"),
    "made of layers": (
        "def __init__(self, *layers):\n        pass\n\n    def forward(self, x):\n        return x",
        "it is made from another object (layers)",
    ),
    "random": (
        "def forward(self, x):\n        return x * np.random.default_rng().random(x.shape)",
        "gives another result each time for the same input",
    ),
    "labels": ("def forward(self, x):\n        return x.argmax(axis=-1)", "gives int64, which has no derivative"),
    "no dx": ("def forward(self, x):\n        return x.sum(axis=1)", "no gradient of the shape of its input"),
    "endless": ("def forward(self, x):\n        while True:\n            pass", "did not answer in time"),
}


def test_what_cannot_be_tried_is_named_with_its_reason_and_is_no_error(checked, tmp_path, monkeypatch):
    monkeypatch.setattr("oracle.subjects.remote.RECOGNITION_SECONDS", 1.0)
    source = "import numpy as np\n"
    for kind, (forward, _) in NOT_TRIED.items():
        name = kind.title().replace(" ", "")
        source += f"\n\nclass {name}:\n    {forward}\n\n    def backward(self, dout):\n        return dout\n"
    status, subjects, printed = checked(source + textwrap.dedent(RELU), "--markdown", str(tmp_path / "said.md"))
    assert (status, subjects.keys()) == (0, {"Relu"})
    for said in (printed.out, (tmp_path / "said.md").read_text(encoding="utf-8")):
        for kind, (_, reason) in NOT_TRIED.items():
            (line,) = (line for line in said.splitlines() if f"- {kind.title().replace(' ', '')}: " in line)
            assert reason in line


def recognised(body):
    """The record, and the attempt, of a class with that body, tried in this process."""
    module = types.ModuleType("theirs")
    source = f"import numpy as np\n\n\nclass Mystery:\n{textwrap.indent(textwrap.dedent(body), '    ')}"
    exec(compile(source, "theirs.py", "exec"), vars(module))
    ((record, attempt),) = recognise(module, Candidate("Mystery", 4, "line 4", (OWN,)), Told())
    return record, attempt


BACKWARD = "\n\ndef backward(self, dout):\n    return dout\n"
#: The same that is seen by trying alone, of what ends by itself; and what makes or updates itself.
REASONS = {
    **{
        kind: (textwrap.dedent(f"    {forward}") + BACKWARD, reason)
        for kind, (forward, reason) in NOT_TRIED.items()
        if kind != "endless"
    },
    "constructor raises": (
        "def __init__(self):\n    raise OSError('no such file')\n\ndef forward(self, x):\n    return x" + BACKWARD,
        "no way to call it was found: the constructor raised OSError: no such file",
    ),
    "backward raises": (
        "def forward(self, x):\n    return x * 1\n\ndef backward(self, dout):\n    raise OSError('no such file')",
        "its backward raised OSError: no such file (given x (N, D))",
    ),
    "updates itself": (
        "def __init__(self, gamma):\n    self.gamma = gamma\n\n"
        "def forward(self, x):\n    return x * self.gamma\n\n"
        "def backward(self, dout):\n    self.gamma -= 0.1 * dout.sum(axis=0)\n    return dout * self.gamma",
        "its backward updates gamma itself, by a step that cannot be seen",
    ),
}


@pytest.mark.parametrize(("body", "reason"), REASONS.values(), ids=REASONS)
def test_reason_names_what_kept_it_from_being_tried(body, reason):
    with pytest.raises(UnknownCallingError, match=re.escape(reason)):
        recognised(body)


#: What is made or holds what, and the record that it is taken for.
RECORDS = {
    "input back": ("def forward(self, x):\n    return x", "x (N, D)"),
    "shape": (
        "def __init__(self, input_shape):\n    self.shift = np.arange(np.prod(input_shape)).reshape(input_shape)\n\n"
        "def forward(self, x):\n    return x * 2.0 + self.shift",
        "x (N, 4)",
    ),
    "size by a letter": (
        "def __init__(self, D):\n    self.b = np.arange(D) * 1.0\n\ndef forward(self, x):\n    return x + self.b",
        "x (N, 4)",
    ),
    "integers beside": (
        "def __init__(self):\n    self.steps, self.dsteps = np.arange(4), np.zeros(4)\n\n"
        "def forward(self, x):\n    return x + self.steps",
        "x (N, 4)",
    ),
}


@pytest.mark.parametrize(("body", "record"), RECORDS.values(), ids=RECORDS)
def test_record_has_the_sizes_that_it_was_made_for_and_the_parameters_that_it_holds(body, record):
    assert recognised(body + BACKWARD)[0] == f"own forward: {record}"


LINEAR = """
    def __init__(self):
        self.W = np.arange(12.0).reshape(4, 3) / 7

    def forward(self, x):
        self.x = x
        return x @ self.W
    """


def test_parameter_that_backward_updates_by_a_step_that_it_is_given_is_asked():
    record, attempt = recognised(f"""{LINEAR}
    def backward(self, dout, lr):
        dx = dout @ self.W.T
        self.W = self.W - lr * (self.x.T @ dout)
        return dx
    """)
    assert (record, attempt.calling.gradients) == ("own forward: x (N, 4), W (4, 3)", {"W": UPDATE})


def test_parameter_that_backward_updates_by_a_step_of_its_own_is_said_not_to_be_asked():
    record, attempt = recognised(f"""{LINEAR}
    def backward(self, dout):
        dx = dout @ self.W.T
        self.dW = self.x.T @ dout
        self.W = self.W - 0.1 * self.dW
        return dx
    """)
    assert "W" not in record
    assert attempt.calling.unasked == ("dW",)


def test_name_that_is_asked_for_and_was_passed_over_is_answered_with_the_reason_and_the_options(written, capsys):
    path = written(textwrap.dedent(RELU) + "\n\ndef helper(x):\n    return x\n")
    assert main(["check", f"{path}::helper"]) == 2
    said = capsys.readouterr().err
    assert f"no layer called helper was found; {UNKNOWN_NAME}; say what it is with --as" in said


def test_class_that_a_decorator_makes_something_else_of_is_no_layer(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    # It is taken out again afterwards.
    monkeypatch.setitem(sys.modules, "theirs", types.ModuleType("theirs"))
    source = "def made(given):\n    return given()\n\n\n@made" + textwrap.dedent(RELU).replace("Relu", "Mystery")
    file = SourceFile(str(tmp_path / "theirs.py"), Code(source), definitions_only=False)
    assert {"name": "Mystery", "reason": UNKNOWN_NAME} in file.passed_over
    assert not file.candidates


#: What has names like those of a layer, and is none.
NO_LAYERS = """
    class Layer:
        def forward(self, x):
            raise NotImplementedError

        def backward(self, dout):
            raise NotImplementedError("in a subclass")

    class Base:
        def forward(self, x):
            '''y'''

        def backward(self, dout):
            pass

    class Trainer:
        def train(self):
            return 1

        def gradient(self, x):
            return x

    class SGD:
        def update(self, params, grads):
            return 1

    class Net:
        def loss(self, x, t):
            return 1

        def gradient(self, x, t):
            return 1

    def numerical_gradient(f, x):
        return x
    """


def test_what_is_no_layer_is_not_mentioned(checked):
    _, subjects, printed = checked(textwrap.dedent(NO_LAYERS) + textwrap.dedent(RELU))
    assert subjects.keys() == {"Relu"}
    assert "Not checked" not in printed.out


# ----------------------------------------------------------------------------- how it is done


def test_record_of_a_layer_that_nobody_knows_is_made_from_its_name():
    name = own_name({"x": ("N", "4"), "gamma": ("4",), "alpha": ()})
    assert name == "own forward: x (N, 4), gamma (4,), alpha ()"
    record = KNOWN[name]
    assert [(a.name, a.axes, a.role) for a in record.arguments] == [
        ("x", ("N", "4"), "input"),
        ("gamma", ("4",), "parameter"),
        ("alpha", (), "parameter"),
    ]
    assert not record.has_twin
    for wrong in ("own forward: x", "own forward: x (N, D), ", "another forward: x (N, D)", "Affin"):
        with pytest.raises(KeyError):
            own_record(wrong)
    with pytest.raises(TypeError, match="nobody knows the definition"):
        record.definition(np.ones((2, 4)))


def test_every_generated_case_has_sizes_that_differ_and_a_dout_like_the_output():
    record = KNOWN["own forward: x (N, C, H, W), W (FN, C, FH, FW), b (FN,)"]
    for case in generated_cases(record, "float64", "ordinary", 10, seed=1):
        shapes = dict(case.shapes)
        assert len(set(shapes["x"])) == 4
        assert shapes["W"] == (5, shapes["x"][1], 3, 2)
        assert shapes["b"] == (5,)


class Bent:
    """y = |x − 1|, as NumPy's maximum has it; writing into a float array keeps the complex step away."""

    def forward(self, x):
        out = np.zeros(x.shape)
        out[...] = np.maximum(x - 1, 1 - x)
        return out

    def backward(self, dout):
        raise NotImplementedError


@pytest.mark.parametrize("distance", [0.0, 1e-9, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, -1e-9, -1e-5, -3e-4])
def test_kink_that_every_difference_is_taken_across_is_seen(distance):
    x = np.array([[1 + distance, 0.0, 2.5, -1.0]])
    subject = InProcessSubject(KNOWN["own forward: x (N, D)"], Bent)
    derivative = numerical(subject, {"x": x}, {}, np.ones((1, 4))).derivatives["x"]
    assert derivative.kinks.tolist() == [[True, False, False, False]]


@pytest.mark.parametrize("distance", [0.01, 0.02, 0.1, -0.01, -0.1])
def test_slope_beside_a_kink_farther_away_is_right(distance):
    subject = InProcessSubject(KNOWN["own forward: x (N, D)"], Bent)
    answer = numerical(subject, {"x": np.array([[1 + distance]])}, {}, np.ones((1, 1)))
    slope, error = answer.estimate.values["dx"], answer.estimate.own_error["dx"]
    assert answer.derivatives["x"].kinks.any() or abs(slope - np.sign(distance)) <= error


def test_noise_of_what_cancels_is_seen_by_moving_the_arguments():
    class Cancels:
        def forward(self, x):
            return x.copy()

        def backward(self, dout):
            return (dout + 1e8) - 1e8 if self.cancels else dout * 1.0

    record, x, dout = KNOWN["own forward: x (N, D)"], np.ones((3, 4)), np.full((3, 4), 0.7)
    noise = []
    for cancels in (True, False):
        subject = InProcessSubject(record, type("Layer", (Cancels,), {"cancels": cancels}))
        noise.append(shaken(subject, {"x": x}, {}, dout, seed=0)["dx"])
    assert noise[1] <= MOVED  # an argument of 0.7 moves by as much
    assert noise[0] <= 2 * np.spacing(1e8)
    unsteady = type(
        "Layer", (Cancels,), {"cancels": False, "backward": lambda _, d: d * np.random.default_rng().random()}
    )
    assert shaken(InProcessSubject(record, unsteady), {"x": x}, {}, dout, seed=0) == {}


def test_generator_of_numpy_is_left_where_it_was():
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    spec = importlib.util.spec_from_file_location("unknown_names", SAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert check_layer(module.Dropout).verdict == "right"
    assert np.random.rand() == expected  # noqa: NPY002


def test_batch_of_one_that_has_no_deviation_is_a_hazard_and_not_wrong():
    class Standardised:
        def forward(self, x):
            self.deviation = x.std(axis=0)
            self.y = (x - x.mean(axis=0)) / (self.deviation + 1e-7)
            return self.y.copy()

        def backward(self, dout):
            along = (dout * self.y).mean(axis=0)
            return (dout - dout.mean(axis=0)) / (self.deviation + 1e-7) - self.y * along / self.deviation

    result = check_layer(Standardised)
    assert result.verdict == "hazard", str(result)
    assert "is not finite for a batch of one" in str(result)


def test_batch_of_one_that_forward_refuses_is_said_and_is_not_wrong():
    class Picky:
        def forward(self, x):
            if len(x) == 1:
                raise ValueError("one row is too few")
            self.y = np.tanh(x)
            return self.y

        def backward(self, dout):
            return dout * (1 - self.y**2)

    result = check_layer(Picky)
    assert result.verdict == "right", str(result)
    assert "Picky: refuses batch of 1: forward raised ValueError: one row is too few" in str(result)


def test_gradient_of_a_parameter_that_cannot_be_replaced_is_said_not_to_be_asked():
    class Leaky:
        def __init__(self, alpha=0.25):
            self.alpha = alpha

        def forward(self, x):
            self.x = x
            return np.where(x > 0, x, self.alpha * x)

        def backward(self, dout):
            self.dalpha = 0.0
            return np.where(self.x > 0, dout, self.alpha * dout)

    result = check_layer(Leaky)
    assert result.verdict == "right"
    assert "dalpha not asked" in str(result)
    assert "Whether forward is the right function was not asked" in result._repr_html_()


class Centred:
    def __init__(self):
        self.mean = np.arange(13.0)

    def forward(self, x):
        return x - self.mean

    def backward(self, dout):
        return dout.copy()


class OfFour(Centred):
    def __init__(self):
        pass

    def forward(self, x):
        return x - np.arange(4.0)


@pytest.mark.parametrize(("layer", "size"), [(Centred, 13), (Centred(), 13), (OfFour, 4)])
def test_what_takes_inputs_of_one_size_is_given_those(layer, size):
    result = check_layer(layer)
    assert result.verdict == "right"
    assert json.loads(result.to_json())["subjects"][0]["record"] == f"own forward: x (N, {size})"


class Limited(InProcessSubject):
    """A subject in a process that is ended after so many instances, since all calls together took too long."""

    def __init__(self, record, factory, instances):
        super().__init__(record, factory)
        self.left = instances

    def open(self, parameters):
        self.left -= 1
        if self.left < 0:
            raise SubjectError("forward", SlowError("TimeoutError", "more than 60 s in all"))
        return super().open(parameters)


def test_what_is_slow_is_judged_by_the_cases_that_there_was_time_for():
    class Layer:
        def forward(self, x):
            self.y = np.sin(x)
            self.slope = np.cos(x)
            return self.y

        def backward(self, dout):
            return dout * self.slope

    record = KNOWN["own forward: x (N, 3)"]
    case = Case(record.name, "float64", (("x", (5, 3)), ("dout", (5, 3))), seed=1)
    enough = Limited(record, Layer, 10**6)
    assert examine(enough, [case], dtype="float64").verdict == "right"
    used = 10**6 - enough.left
    for instances, verdict, skipped in (
        (used - 1, "could not run", 0),
        (used + 3, "right", 1),
        (3, "could not run", 0),
    ):
        found = examine(Limited(record, Layer, instances), [case, replace(case, seed=2)], dtype="float64")
        assert (found.verdict, found.skipped[SLOW]) == (verdict, skipped)
        where = Found(
            "Layer", 1, "line 1", record.name, recognised("def forward(self, x):\n    return x" + BACKWARD)[1].calling
        )
        (said,) = not_asked([Checked(Path("theirs.py"), where, found.verdict, None, "", found)])
        assert ("since the calls took too long in all: Layer." in said) is bool(skipped)
        assert ("Noticed there" in said) is bool(found.comparisons)
    affine = Case("Sigmoid", "float64", case.shapes, seed=1)
    known = Limited(KNOWN["Sigmoid"], implementation_of(KNOWN["Sigmoid"]).factory, used + 3)
    assert examine(known, [affine, replace(affine, seed=2)], dtype="float64").verdict == "could not run"
