"""``oracle check``: files as people write them, files that do harm, and what is said of each."""

import json
import textwrap

import numpy as np
import pytest

from oracle.cli import main
from oracle.sources.autograd import is_available
from oracle.subjects import remote
from oracle.subjects.remote import RemoteSubject, Worker
from oracle.subjects.wire import BrokenMessageError, Message, receive, send

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


# ----------------------------------------------------------------------------- files as people write them


def test_right_layers_are_right_and_end_with_0(checked):
    status, subjects, printed = checked(imports(RIGHT_RELU + SMALL_SIGMOID))
    assert status == 0
    assert {name: subject["verdict"] for name, subject in subjects.items()} == {"Relu": "right", "Sigmoid": "right"}
    assert "Verdict: right." in printed.out


def test_cause_line_example_and_mending_are_said(checked):
    status, subjects, printed = checked(
        imports(
            RIGHT_RELU
            + """
class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return np.dot(x, self.W) + self.b

    def backward(self, dout):
        self.dW = np.dot(self.x.T, dout)
        self.db = dout.sum(axis=0) / max(len(dout), 1)
        return np.dot(dout, self.W.T)
"""
        )
    )
    assert status == 1
    affine = subjects["Affine"]
    assert (affine["verdict"], affine["cause_id"], affine["record"]) == (
        "backward wrong",
        "divided_by_batch_size",
        "Affine",
    )
    assert affine["line"] == 15
    assert "small integers" in affine["findings"][0]["case"]
    for values in affine["findings"][0]["example"].values():
        assert np.array_equal(values, np.round(values))
    assert set(affine["findings"][0]["example"]) >= {"b", "dout"}
    assert "It is 1/N of what it should be" in printed.out
    assert subjects["Relu"]["verdict"] == "right"


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        ("W, b", "self.W, self.b = W, b"),
        ("input_size, output_size", "self.W, self.b = np.ones((input_size, output_size)), np.zeros(output_size)"),
    ],
    ids=["weights given", "sizes given"],
)
def test_affine_is_understood_with_weights_and_with_sizes(checked, signature, body):
    status, subjects, _ = checked(
        imports(
            f"""
            class Linear:
                def __init__(self, {signature}):
                    {body}
                def forward(self, x):
                    self.shape = x.shape
                    self.x = x.reshape(len(x), -1) if x.ndim > 1 else x[None]
                    y = self.x @ self.W + self.b
                    return y if len(self.shape) > 1 else y[0]
                def backward(self, dout):
                    dout = dout.reshape(len(self.x), -1)
                    self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
                    return (dout @ self.W.T).reshape(self.shape)
            """
        )
    )
    assert (status, subjects["Linear"]["verdict"]) == (0, "right")


CACHED = """
def affine_forward(x, w, b):
    return x.reshape(x.shape[0], -1).dot(w) + b, (x, w, b)

def affine_backward(dout, cache):
    x, w, b = cache
    dx = dout.dot(w.T).reshape(x.shape)
    dw = x.reshape(x.shape[0], -1).T.dot(dout)
    db = dout.sum(axis=0)
    return dx, dw, db

def relu_forward(x):
    return np.maximum(0, x), x

def relu_backward(dout, cache):
    return dout * (cache > 0)
"""


def test_functions_with_a_cache_are_understood(checked):
    status, subjects, _ = checked(imports(CACHED))
    assert status == 0
    assert {name: subject["verdict"] for name, subject in subjects.items()} == {
        "affine_forward": "right",
        "relu_forward": "right",
    }
    assert {subject["convention"] for subject in subjects.values()} == {"functions with a cache"}


@pytest.mark.parametrize(
    ("right", "wrong", "name", "cause_id"),
    [
        ("db = dout.sum(axis=0)", "db = dout.sum(axis=1)", "affine_forward", "summed_over_the_wrong_axis"),
        (
            "dw = x.reshape(x.shape[0], -1).T.dot(dout)",
            "dw = dout.T.dot(x.reshape(x.shape[0], -1))",
            "affine_forward",
            "transposed",
        ),
        ("dout * (cache > 0)", "dout * (dout > 0)", "relu_forward", "mask_from_upstream_gradient"),
        ("dout * (cache > 0)", "(cache > 0) * 1.0", "relu_forward", "upstream_gradient_ignored"),
    ],
)
def test_fault_in_a_function_with_a_cache_is_named(checked, right, wrong, name, cause_id):
    assert right in CACHED
    status, subjects, _ = checked(imports(CACHED.replace(right, wrong)))
    assert (status, subjects[name]["verdict"]) == (1, "backward wrong")
    assert subjects[name]["cause_id"] == cause_id


@pytest.mark.parametrize("name", ["wrong_sign", "dout_is_not_modified"])
def test_causes_and_checks_are_explained(name, capsys):
    assert main(["explain", name]) == 0
    assert capsys.readouterr().out.startswith(name)


def test_unknown_name_to_explain_ends_with_2_and_a_hint(capsys):
    assert main(["explain", "wrong_sing"]) == 2
    assert "did you mean wrong_sign" in capsys.readouterr().err


def test_everything_that_can_be_explained_is_listed(capsys):
    assert main(["explain"]) == 0
    listed = capsys.readouterr().out
    assert "multiplied_by_batch_size" in listed
    assert "dout_is_not_modified" in listed


def test_the_loss_of_the_book_is_told_apart_from_what_its_backward_differentiates(checked):
    source = imports(
        """
        class SoftmaxWithLoss:
            def forward(self, x, t):
                if t.shape != x.shape:
                    raise ValueError("one-hot targets only")
                e = np.exp(x - x.max(axis=-1, keepdims=True))
                self.y, self.t = e / e.sum(axis=-1, keepdims=True), t
                return -np.sum(t * np.log(self.y + 1e-7)) / len(x)
            def backward(self, dout=1):
                return (self.y - self.t) / len(self.t)
        """
    )
    _, subjects, printed = checked(source)
    if not is_available():
        pytest.skip("PyTorch is not installed, and without a twin the loss is only itself")
    assert subjects["SoftmaxWithLoss"]["verdict"] in ("forward wrong", "both wrong")
    assert subjects["SoftmaxWithLoss"]["cause_id"] == "loss_is_not_what_backward_differentiates"
    assert "also: backward ignores dout" in printed.out


def test_graph_node_of_the_book_is_right_without_broadcasting(checked):
    source = """
        class MulLayer:
            def forward(self, x, y):
                self.x, self.y = x, y
                return x * y
            def backward(self, dout):
                return dout * self.y, dout * self.x
    """
    status, subjects, _ = checked(imports(source))
    assert (status, subjects["MulLayer"]["verdict"]) == (0, "right")


def test_loss_that_ignores_dout_is_a_hazard_and_with_strict_an_error(checked):
    source = imports(
        """
        class SoftmaxWithLoss:
            def forward(self, x, t):
                shifted = x - x.max(axis=-1, keepdims=True)
                e = np.exp(shifted)
                self.total = e.sum(axis=-1, keepdims=True)
                self.y, self.t = e / self.total, t
                self.n = len(x) if x.ndim == 2 else 1
                if t.shape != x.shape:
                    raise ValueError("one-hot targets only")
                return np.sum(t * (np.log(self.total) - shifted)) / self.n
            def backward(self, dout=1):
                return (self.y * self.t.sum(axis=-1, keepdims=True) - self.t) / self.n
        """
    )
    status, subjects, _ = checked(source, "--strict")
    assert status == 1
    assert subjects["SoftmaxWithLoss"]["verdict"] in ("hazard", "precision lost")
    assert any("ignores dout" in sentence for sentence in subjects["SoftmaxWithLoss"]["hazards"])
    assert any("one-hot targets only" in sentence for sentence in subjects["SoftmaxWithLoss"]["notes"])


def test_misspelt_method_is_named_with_what_was_meant(checked):
    source = RIGHT_RELU.replace("def backward", "def backword")
    status, subjects, _ = checked(imports(source))
    assert status == 1
    assert (subjects["Relu"]["verdict"], subjects["Relu"]["cause_id"]) == ("could not run", "misspelt_method")
    assert "did you mean backword (line 10)?" in subjects["Relu"]["cause"]


def test_name_that_does_not_exist_is_said_with_its_line(checked):
    source = imports(RIGHT_RELU + SMALL_SIGMOID.replace("dout * self.slope", "dout * slope"))
    status, subjects, _ = checked(source)
    assert status == 1
    assert subjects["Sigmoid"]["verdict"] == "could not run"
    assert "NameError: name 'slope' is not defined (line 22)" in subjects["Sigmoid"]["cause"]
    assert subjects["Relu"]["verdict"] == "right"


@pytest.mark.parametrize(
    "at_import",
    [
        "import a_module_that_nobody_has",
        "import time; time.sleep(600)",
        "while True: pass",
        "raise RuntimeError('no GPU')",
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "input('which data? ')",
    ],
)
def test_file_that_cannot_be_imported_is_checked_by_its_definitions(checked, at_import, monkeypatch):
    monkeypatch.setattr(remote, "IMPORT_SECONDS", 1.5)
    status, subjects, printed = checked(imports(RIGHT_RELU) + "\n" + at_import + "\n")
    assert (status, subjects["Relu"]["verdict"]) == (0, "right")
    assert "imported with its definitions and constants alone" in printed.out


def test_list_shows_what_was_found_and_what_was_passed_over_and_why(checked):
    status, _, printed = checked(imports(RIGHT_RELU + "\nclass Dropout:\n    pass\n"), "--list")
    assert status == 0
    assert "Relu taken for Relu" in printed.out
    assert "Dropout: passed over, no layer is known by this name" in printed.out


def test_one_name_of_a_file_can_be_asked_for(written, tmp_path):
    path = written(imports(RIGHT_RELU + SMALL_SIGMOID))
    out = tmp_path / "one.json"
    assert main(["check", f"{path}::Sigmoid", "--json", str(out), "--quiet"]) == 0
    assert [s["name"] for s in json.loads(out.read_text(encoding="utf-8"))["subjects"]] == ["Sigmoid"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class Relu:\n    def forward(self, x)\n        pass\n", "SyntaxError"),
        ("x = 1\n", "no layer was found"),
        ("class Dropout:\n    pass\n", "Dropout: no layer is known by this name"),
    ],
    ids=["a file that cannot be parsed", "nothing in it", "nothing that is known"],
)
def test_what_cannot_be_checked_ends_with_2(checked, source, said):
    status, _, printed = checked(source)
    assert status == 2
    assert said in printed.err
    assert "Traceback" not in printed.err


def test_missing_file_ends_with_2(tmp_path, capsys):
    assert main(["check", str(tmp_path / "nowhere.py")]) == 2
    assert "no such file" in capsys.readouterr().err


# ----------------------------------------------------------------------------- the worker, and what crosses


def test_values_and_layout_survive_the_way_to_a_worker_and_back(written):
    tells_the_layout = RIGHT_RELU.replace("out = x.copy()", "out = np.full(x.shape, float(x.flags.c_contiguous))")
    path = written(imports(tells_the_layout.replace("out[self.mask] = 0", "pass")))
    with Worker(path) as worker:
        worker.load()
        handle = RemoteSubject(worker, worker.found[0]).open({})
        fortran = np.asfortranarray(np.ones((2, 3)))
        assert np.all(handle.forward({"x": fortran}).values["y"] == 0)
        assert np.all(handle.forward({"x": np.ones((2, 3))}).values["y"] == 1)


def test_messages_cross_unchanged_and_anything_else_is_refused(tmp_path):
    file = tmp_path / "pipe"
    arrays = {"a": {"x": np.arange(6.0).reshape(2, 3), "t": np.array(3), "e": np.empty((0, 2), np.float32)}}
    with file.open("wb") as stream:
        send(stream, Message({"call": "α", "n": None}, arrays))
        stream.write(b"not a message")
    with file.open("rb") as stream:
        message = receive(stream)
        assert message.text == {"call": "α", "n": None}
        for name, values in arrays["a"].items():
            assert np.array_equal(message.arrays["a"][name], values)
            assert message.arrays["a"][name].dtype == values.dtype
        with pytest.raises(BrokenMessageError):
            receive(stream)


def test_objects_do_not_cross(tmp_path):
    with (tmp_path / "pipe").open("wb") as stream:
        send(stream, Message({}, {"a": {"x": np.array([1, "two"], object)}}))
    with (tmp_path / "pipe").open("rb") as stream, pytest.raises(BrokenMessageError):
        receive(stream)
