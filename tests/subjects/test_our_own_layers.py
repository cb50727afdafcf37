"""Our own layers, checked as anybody's file is: through a worker, recognised by trying."""

import json
from pathlib import Path

import pytest

import scratch
from oracle.cli import main

FOLDER = Path(scratch.__file__).parent
#: What the files define, as far as a file can be recognised: a network of many layers has no one record.
DEFINED = {
    "activations.py": {"Relu", "Sigmoid"},
    "affine.py": {"Affine"},
    "graph.py": {"MulLayer", "AddLayer", "ExpLayer", "ReciprocalLayer"},
    "losses.py": {"softmax", "cross_entropy_error", "SoftmaxWithLoss", "IdentityWithLoss", "SigmoidWithLoss"},
    "networks.py": {"TwoLayerNet"},
}


@pytest.mark.parametrize("name", DEFINED)
def test_our_own_layers_are_right(name, tmp_path):
    out = tmp_path / "check.json"
    assert main(["check", str(FOLDER / name), "--json", str(out), "--quiet"]) == 0
    subjects = json.loads(out.read_text(encoding="utf-8"))["subjects"]
    assert {subject["name"]: subject["verdict"] for subject in subjects} == dict.fromkeys(DEFINED[name], "right")
