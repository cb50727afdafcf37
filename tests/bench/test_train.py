"""``oracle bench train``: its loops take the steps that they say, and its report has the keys that others rely on."""

import json
import statistics

import numpy as np
import pytest

from oracle.bench import check, train
from oracle.bench.timing import Row, time_calls
from oracle.catalog.record import resolve
from oracle.cli import bench, main
from oracle.reporting.plan import DTYPES
from oracle.sources.autograd import is_available

#: Enough to draw batches from, and nothing to wait for.
SAMPLES = 300
STEPS = 3


def in_this_process(ways, *, rounds, on_round=lambda: None):
    """As `interleaved`, with every way called here and twice; test_check.py has the processes."""
    rows = []
    for way in ways:
        call = resolve(way.maker)(**way.options)
        taken = [time_calls(call, 2) / way.part for _ in range(rounds)]
        rows.append(Row(way.name, statistics.median(taken), len(taken)))
    for _ in range(rounds + 1):
        on_round()
    return rows


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(train, "SAMPLES", SAMPLES)
    monkeypatch.setattr(train, "interleaved", in_this_process)
    monkeypatch.setattr(bench, "STEPS_IN_PARTS", STEPS)


@pytest.fixture
def report(small, tmp_path):
    assert main(["bench", "train", "--rounds", "1", "--out", str(tmp_path), "--quiet"]) == 0
    files = [(tmp_path / f"bench_train.{kind}").read_text(encoding="utf-8") for kind in ("json", "md")]
    return json.loads(files[0]), files[1]


def test_ratios_have_the_names_that_others_rely_on(report):
    others = ["gemm", "textbook", *(["torch"] if is_available() else [])]
    assert set(report[0]["ratios"]) == {f"train/{dtype}/scratch_over_{o}" for dtype in DTYPES for o in others}
    assert all(ratio > 0 for ratio in report[0]["ratios"].values())
    assert report[0]["kind"] == "bench train"
    assert all(row.keys() == {"name", "median_s", "runs"} for row in report[0]["rows"])


def test_parts_are_those_of_whole_steps(report):
    parts = {row["name"]: row["runs"] for row in report[0]["rows"] if row["name"].startswith("train/float32/part/")}
    assert set(parts.values()) == {STEPS}
    for name in ("draw a batch", "Affine1.forward", "loss backward", "Affine1.differentiate_parameters", "update"):
        assert f"train/float32/part/{name}" in parts
        assert f"| {name} " in report[1]


@pytest.mark.parametrize("told", ["OPENBLAS_CORETYPE=Haswell", None])
def test_kernels_that_somebody_chose_are_said(small, monkeypatch, tmp_path, told):
    monkeypatch.setattr("oracle.reporting.bench.told_kernels", lambda: told)
    assert main(["bench", "train", "--rounds", "1", "--out", str(tmp_path), "--quiet"]) == 0
    assert json.loads((tmp_path / "bench_train.json").read_text(encoding="utf-8"))["told_kernels"] == told
    is_said = "OPENBLAS_CORETYPE=Haswell is set" in (tmp_path / "bench_train.md").read_text(encoding="utf-8")
    assert is_said == (told is not None)


def test_missing_pytorch_is_said_and_its_row_is_missing(small, monkeypatch, tmp_path):
    monkeypatch.setattr(train, "is_available", lambda: False)
    assert main(["bench", "train", "--rounds", "1", "--out", str(tmp_path), "--quiet"]) == 0
    report = json.loads((tmp_path / "bench_train.json").read_text(encoding="utf-8"))
    assert not any(row["name"].endswith("/torch") for row in report["rows"])
    assert [skipped["count"] for skipped in report["summary"]["skipped"]] == [len(DTYPES)]
    assert "PyTorch: not run" in (tmp_path / "bench_train.md").read_text(encoding="utf-8")


def test_checks_without_pytorch_leave_gradcheck_out(monkeypatch):
    monkeypatch.setattr(check, "interleaved", lambda ways, **_: [way.name for way in ways])
    monkeypatch.setattr(check, "is_available", lambda: False)
    assert check.time_checks(check.images_like_mnist(0), rounds=1, seed=0) == ["fwdbwd", "certificate", "loop"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_textbook_and_scratch_take_the_same_steps(dtype):
    """Else the one would be timed against something else."""
    rng = np.random.default_rng(5)
    net = train.TwoLayerNet(20, 8, 4, rng=rng, dtype=dtype)
    x = rng.random((12, 20)).astype(dtype)
    t = np.eye(4, dtype=dtype)[rng.integers(0, 4, 12)]
    parameters = {name: np.array(values) for name, values in net.params.items()}
    textbook = train.TextbookStep(parameters, train.LEARNING_RATE)
    # No sum has more than 20 terms of size 1, and an update takes a tenth of its error; 1e-7 is the textbook's own,
    # added inside the logarithm to a probability that is no smaller than 0.1 here.
    eps = float(np.finfo(dtype).eps)
    for _ in range(STEPS):
        loss = net.loss(x, t)
        assert textbook(x, t) == pytest.approx(loss, abs=100 * eps + 1e-6)
        train.SGD(train.LEARNING_RATE).update(net.params, net.gradient(x, t))
        for name, values in net.params.items():
            assert np.max(np.abs(values - parameters[name])) < 100 * eps
            assert parameters[name].dtype == dtype


@pytest.mark.skipif(not is_available(), reason="PyTorch is not installed")
def test_steps_of_pytorch_begin_at_the_same_network_and_learn():
    from oracle.twins import training

    rng = np.random.default_rng(6)
    net = train.TwoLayerNet(20, 8, 4, rng=rng)
    x, labels = rng.random((12, 20)), rng.integers(0, 4, 12)
    losses = []
    cross_entropy = training.nn.functional.cross_entropy

    def noted(scores, targets):
        losses.append((cross_entropy(scores, targets), scores.detach().numpy(), targets.numpy()))
        return losses[-1][0]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training.nn.functional, "cross_entropy", noted)
        step = training.eager_step(net.params, x, labels, learning_rate=0.5, batch=12, dtype="float64", seed=1)
        for _ in range(200):
            step()
    loss, scores, targets = losses[0]
    # Its first scores are ours at samples with these labels; both are sums of at most 20 products.
    ours = net.predict(x)
    for row, label in zip(scores, targets, strict=True):
        assert np.min(np.max(np.abs(ours[labels == label] - row), axis=1)) < 1e-13
    assert losses[-1][0].item() < 0.8 * loss.item()
