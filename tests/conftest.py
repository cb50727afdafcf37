"""A directory of reports with the page that is made from them, for the tests of the page with and without a browser."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from oracle.cli import main

# A shell hands what runs in the background (`tox &`) a Ctrl-C that is ignored, and that is inherited: the tests of an
# interruption would wait for one that never comes.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

COMMITTED = Path(__file__).parents[1] / "reports"
#: What somebody's file may be called, or say in an exception.
HOSTILE = '</td><script>alert("1")</script><img src=x onerror=alert(2)> & \'"'


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """All tests of the reports to one worker (``--dist loadgroup``): each would make them anew, for half a minute."""
    for item in items:
        if "reports" in getattr(item, "fixturenames", ()) and item.config.pluginmanager.hasplugin("xdist"):
            item.add_marker(pytest.mark.xdist_group("reports"))


@pytest.fixture(scope="session")
def reports(tmp_path_factory):
    """One of each kind: some layers examined here, what is committed of the others, a hostile file, made-up defects."""
    directory = tmp_path_factory.mktemp("reports")
    for name in ("training.json", "bench_train.json", "bench_check.json", "matrix.json"):
        shutil.copy(COMMITTED / name, directory / name)
    environment = json.loads((directory / "training.json").read_text(encoding="utf-8"))["environment"]
    for name, report in (("check.json", of_a_hostile_file()), ("kill_rate.json", of_defects())):
        (directory / name).write_text(json.dumps({**report, "environment": environment}), encoding="utf-8")
    layers = ("MulLayer", "Sigmoid", "Affine", "softmax", "SoftmaxWithLoss", "TwoLayerNet")
    chosen = [word for layer in layers for word in ("--layer", layer)]
    assert main(["report", *chosen, "--truth", "--cases", "1", "--quiet", "--out", str(directory)]) == 0
    return directory


def of_a_hostile_file():
    finding = {
        "subject": HOSTILE,
        "check": "backward_matches_numerical",
        "quantity": "dx",
        "dtype": "float64",
        "case": HOSTILE,
        "index": [1, 0],
        "actual": 0.5,
        "expected": "inf",
        "error": "inf",
        "bound": 1e-15,
        "margin": "inf",
        "verdict": "backward wrong",
        "is_note": False,
        "cause_id": None,
        "cause": HOSTILE,
    }
    subject = {
        "file": f"{HOSTILE}.py",
        "line": 7,
        "name": HOSTILE,
        "record": "Sigmoid",
        "convention": HOSTILE,
        "verdict": "backward wrong",
        "cause_id": None,
        "cause": HOSTILE,
        "hazards": [HOSTILE],
        "notes": [HOSTILE],
        "findings": [finding],
    }
    return {
        "schema": 1,
        "kind": "check",
        "summary": {"verdict": "backward wrong", "comparisons": 408, "checks_run": 919},
        "subjects": [subject],
        "passed_over": [{"name": HOSTILE, "reason": HOSTILE}],
    }


def of_defects():
    def defect(name, caught_by, expected, named, **others):
        return {
            "name": name,
            "layer": "Affine",
            "caught_by": caught_by,
            "cause_expected": expected,
            "cause_named": named,
            "others": others,
        }

    return {
        "schema": 1,
        "kind": "kill-rate",
        "summary": {"verdict": "right", "comparisons": 0, "checks_run": 0},
        "defects": [
            defect("one", ["dtype_is_kept"], "sign", "sign", gradcheck=True, allclose=False),
            defect("two", ["dtype_is_kept", "runs"], "sign", "transposed", gradcheck=False, allclose=False),
            defect("three", [], None, None, gradcheck=False, allclose=False),
        ],
    }
