"""Every layer of the source material in one file, as a reader types it: each of its known faults is named."""

import json
import shutil
from pathlib import Path

import pytest

from oracle.cli import main
from oracle.sources.autograd import is_available

FILE = Path(__file__).parent / "as_typed_from_the_slides.py"


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    shutil.copy(FILE, folder / "layers.py")
    out = folder / "report.json"
    assert main(["check", str(folder / "layers.py"), "--json", str(out), "--quiet"]) == 1
    return {s["name"]: s for s in json.loads(out.read_text(encoding="utf-8"))["subjects"]}


def said(subject):
    """Everything that the report says of a subject."""
    sentences = [finding["cause"] for finding in subject["findings"]]
    return "\n".join([subject["cause"], *sentences, *subject["hazards"], *subject["notes"]])


OF_THE_LOSS = ["log(y + 1e-7)", "ignores dout", "labels of shape (N, 1)"]
#: Name, verdict with PyTorch and without, and what must be said.
KNOWN = [
    ("MulLayer", "right", "right", []),
    ("AddLayer", "right", "right", []),
    ("Relu", "hazard", "hazard", ["backward writes into dout"]),
    ("Sigmoid", "could not run", "could not run", ["self.out is None", "keep it where it is computed (self.out = …)"]),
    ("Sigmoid2", "could not run", "could not run", ["did you mean backword (line 80)?"]),
    ("Sigmoid3", "precision lost", "precision lost", ["overflow", "np.where(x >= 0, 1, e) / (1 + e)"]),
    ("Affine", "could not run", "could not run", ["name 'b' is not defined (line 105)", "it is self.b"]),
    ("Affine2", "right", "right", []),
    ("softmax", "right", "right", []),
    ("cross_entropy_error", "forward wrong", "hazard", []),
    # Both wrong: a single sample's length is taken for N, and N labels of a single class for one-hot.
    ("SoftmaxWithLoss", "both wrong", "backward wrong", OF_THE_LOSS),
    ("SoftmaxWithLoss2", "both wrong", "backward wrong", OF_THE_LOSS),
    ("TwoLayerNet", "forward wrong", "backward wrong", ["assigning to params[...] trains nothing"]),
]


@pytest.mark.parametrize(("name", "with_twin", "alone", "sentences"), KNOWN, ids=[known[0] for known in KNOWN])
def test_known_fault_of_the_source_material_is_named(subjects, name, with_twin, alone, sentences):
    subject = subjects[name]
    assert subject["verdict"] == (with_twin if is_available() else alone), said(subject)
    for sentence in sentences:
        if is_available() or "1e-7" not in sentence:
            assert sentence in said(subject)


def test_nothing_of_the_file_is_missed(subjects):
    assert subjects.keys() == {known[0] for known in KNOWN}


@pytest.mark.skipif(not is_available(), reason="a forward that is another function shows against PyTorch only")
def test_what_is_added_inside_the_logarithm_is_named(subjects):
    assert subjects["cross_entropy_error"]["cause_id"] == "added_inside_logarithm"
    for name in ("SoftmaxWithLoss", "SoftmaxWithLoss2", "TwoLayerNet"):
        assert subjects[name]["cause_id"] == "loss_is_not_what_backward_differentiates"
