"""``check_layer`` and ``parametrize_with_checks``: the checks from Python, from a notebook and from pytest."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from oracle import check_layer, parametrize_with_checks
from oracle.errors import InputError


class Relu:
    """As in the book: backward writes into dout."""

    def forward(self, x):
        self.mask = x <= 0
        return np.where(self.mask, 0, x)

    def backward(self, dout):
        dout[self.mask] = 0
        return dout


class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = self.x.T @ dout
        self.db = dout.sum(axis=0)
        return dout @ self.W.T


class Half:
    def forward(self, x):
        return x / 2


class Cell:
    def forward(self, x, h):
        return x + h, x * 1

    def backward(self, dh, dx):
        return dh + dx, dh


class Mean(Affine):
    def backward(self, dout):
        dx = super().backward(dout)
        self.db = dout.mean(axis=0)
        return dx


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def relu_forward(x):
    return np.maximum(x, 0.0), x


def relu_backward(dout, cache):
    return dout * (cache > 0)


def test_class_is_checked_and_the_result_says_what_was_done():
    result = check_layer(Affine)
    assert (result.passed, result.verdict, result.cause_id) == (True, "right", None)
    assert result.checks["backward_matches_numerical"].passed
    assert result.checks["backward_matches_numerical"].cases > 10
    assert "Verdict: right" in str(result)
    assert repr(result) == "<CheckResult Affine: right>"


@pytest.mark.parametrize("shape", [(3, 4), (2, 2), (7, 1)])
def test_instance_is_checked_by_copies_of_it_whatever_its_size(shape):
    instance = Affine(np.ones(shape), np.zeros(shape[1]))
    before = instance.W.copy()
    assert check_layer(instance).verdict == "right"
    assert np.array_equal(instance.W, before)
    assert not hasattr(instance, "x")


def test_wrong_layer_does_not_pass_and_the_cause_is_said():
    result = check_layer(Mean, taken_for="affine")
    assert (result.passed, result.cause_id) == (False, "divided_by_batch_size")
    assert "It is 1/N" in str(result)
    assert not result.checks["backward_matches_numerical"].passed
    report = json.loads(result.to_json())
    assert (report["kind"], report["subjects"][0]["verdict"]) == ("check", "backward wrong")


def test_hazard_passes_but_its_check_does_not():
    result = check_layer(Relu)
    assert (result.passed, result.verdict) == (True, "hazard")
    assert [name for name, record in result.checks.items() if not record.passed] == ["dout_is_not_modified"]


def test_functions_are_checked_with_the_backward_beside_them():
    assert check_layer(sigmoid).verdict == "right"
    result = check_layer(relu_forward)
    assert result.verdict == "right"
    assert "backward_matches_numerical" in result.checks


def test_notebook_shows_a_table_and_names_are_escaped():
    result = check_layer(Relu)
    shown = result._repr_html_()
    assert shown.startswith("<h4>Relu: hazard</h4>")
    assert "dout_is_not_modified" in shown

    evil = type("Relu<script>", (Relu,), {})
    assert "<script>" not in check_layer(evil, taken_for="relu")._repr_html_()


@pytest.mark.parametrize(
    ("layer", "options", "said"),
    [
        (Half, {}, "Half: no layer is known by this name; say what it is"),
        (Cell, {}, "Cell: it returns several arrays: .*; to have it checked, write a class whose forward"),
        (Affine, {"taken_for": "mixture"}, "mixture is no layer that is known"),
        (Affine, {"layout": "diagonal"}, "layout is 'diagonal'"),
        (Affine, {"grads": "W"}, "'W' is not NAME=PLACE"),
    ],
)
def test_what_cannot_be_told_raises(layer, options, said):
    with pytest.raises(InputError, match=said):
        check_layer(layer, **options)


def test_layer_of_a_name_that_says_nothing_is_checked_against_its_own_forward():
    for layer in (Mean, Mean(np.ones((4, 2)), np.zeros(2))):
        result = check_layer(layer)
        assert (result.verdict, result.cause_id) == ("backward wrong", "divided_by_batch_size")
        assert "no layer is known by this name (--as NAME says which it is)" in str(result)
    assert check_layer(Mean, taken_for="affine").cause_id == "divided_by_batch_size"


# ----------------------------------------------------------------------------- pytest

PROJECT = """
    import numpy as np
    from oracle import parametrize_with_checks


    class MyAffine:
        def __init__(self, W, b):
            self.W, self.b = W, b

        def forward(self, x):
            self.x = x
            return x @ self.W + self.b

        def backward(self, dout):
            self.dW = self.x.T @ dout
            self.db = dout.sum(axis=0)
            return dout @ self.W.T


    class MyRelu:
        def forward(self, x):
            self.mask = x <= 0
            return np.where(self.mask, 0, x)

        def backward(self, dout):
            BODY
            return dout


    @parametrize_with_checks([MyAffine, MyRelu], expected_failures=EXPECTED)
    def test_layers(layer, check):
        check(layer)
"""
OVERWRITES = "dout[self.mask] = 0"
COPIES = "dout = np.where(self.mask, 0, dout)"
DOUBLES = "dout = np.where(self.mask, 0, 2 * dout)"
AS_IN_THE_BOOK = '{"dout_is_not_modified": "as in the book"}'


@pytest.fixture
def project(tmp_path):
    """project(body, expected) -> the outcome of each test of a sample project, by its id."""

    def run(body, expected="None"):
        source = textwrap.dedent(PROJECT).replace("BODY", body).replace("EXPECTED", expected)
        (tmp_path / "test_layers.py").write_text(source, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-rA", "-q", "-p", "no:cacheprovider", "--tb=line", str(tmp_path)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "1"},
        )
        lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
        outcomes = {}
        for words in lines:
            if len(words) == 2 and words[0] in ("PASSED", "FAILED", "XFAIL", "ERROR") and "::" in words[1]:
                outcomes[words[1].split("[")[-1].split("]")[0]] = words[0]
        return done.returncode, outcomes, done.stdout

    return run


def test_each_layer_and_check_is_a_test_with_a_readable_id(project):
    status, outcomes, printed = project(COPIES)
    assert status == 0, printed
    assert {"MyAffine-backward_matches_numerical", "MyRelu-dout_is_not_modified", "MyRelu-runs"} <= outcomes.keys()
    assert set(outcomes.values()) == {"PASSED"}


def test_expected_failure_is_one_and_the_others_still_pass(project):
    status, outcomes, printed = project(OVERWRITES, AS_IN_THE_BOOK)
    assert status == 0, printed
    assert [name for name, outcome in outcomes.items() if outcome == "XFAIL"] == ["MyRelu-dout_is_not_modified"]


def test_expected_failure_that_does_not_come_fails(project):
    status, outcomes, printed = project(COPIES, AS_IN_THE_BOOK)
    assert status == 1
    assert outcomes["MyRelu-dout_is_not_modified"] == "FAILED"
    assert "take it out of expected_failures" in printed


def test_expected_failure_of_one_layer_is_of_that_one_alone(project):
    status, outcomes, _ = project(OVERWRITES, '{"MyAffine-dout_is_not_modified": "not true"}')
    assert status == 1
    assert outcomes["MyAffine-dout_is_not_modified"] == outcomes["MyRelu-dout_is_not_modified"] == "FAILED"


def test_wrong_layer_fails_the_checks_that_see_it(project):
    status, outcomes, printed = project(DOUBLES)
    assert status == 1
    assert outcomes["MyRelu-backward_matches_numerical"] == "FAILED"
    assert outcomes["MyAffine-backward_matches_numerical"] == "PASSED"
    assert "It is twice what it should be" in printed


def test_expected_failure_that_no_check_goes_by_is_refused():
    with pytest.raises(ValueError, match="no check of these layers is called dout_is_modified"):
        parametrize_with_checks([Relu], expected_failures={"dout_is_modified": "typing error"})


def test_layer_that_nobody_knows_is_one_failing_test():
    mark = parametrize_with_checks([Half])
    ((parameter,),) = [mark.mark.args[1]]
    layer, check = parameter.values
    assert parameter.id == "Half-runs"
    with pytest.raises(InputError, match="no layer is known by this name"):
        check(layer)
