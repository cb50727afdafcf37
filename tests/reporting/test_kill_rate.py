"""The command ``oracle kill-rate``: what it writes, what survives, and the smallest set of checks."""

import json

import pytest

from oracle.cli import main
from oracle.judge.checks import CHECKS
from oracle.judge.examination import RUNS
from oracle.judge.others import RULES, verdicts_of_others
from oracle.reporting import kill_rate
from oracle.reporting.kill_rate import Drawn, minimum_checks, plain_cases
from oracle.reporting.parallel import shared_out
from oracle.sources.autograd import is_available
from oracle.subjects.defects.catalogue import by_name
from oracle.subjects.in_process import implementation_of

needs_torch = pytest.mark.skipif(not is_available(), reason="PyTorch is not installed, and this asks its gradcheck")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(exit status, report, Markdown) of one function, in a few cases."""
    out = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kill_rate, "LAYERS", Drawn(4, 2))
        kill_rate.cases_of.cache_clear()
        status = main(["kill-rate", "--layer", "softmax", "--jobs", "1", "--out", str(out), "--quiet"])
    kill_rate.cases_of.cache_clear()
    report = json.loads((out / "kill_rate.json").read_text(encoding="utf-8"))
    return status, report, (out / "kill_rate.md").read_text(encoding="utf-8")


def test_all_are_caught_and_named(written):
    if not is_available():
        pytest.skip("PyTorch is not installed, and a forward is judged by its twin")
    status, report, _ = written
    summary = report["summary"]
    assert status == 0
    assert summary["caught"] == summary["defects"] == len(report["defects"]) > 20
    assert summary["cause_named"] >= 0.95 * summary["defects"]


def test_json_has_the_keys_that_others_rely_on(written):
    _, report, _ = written
    assert report["kind"] == "kill-rate"
    assert report["schema"] == 1
    assert {"python", "numpy", "torch", "blas", "threads", "platform", "seed", "command"} <= report[
        "environment"
    ].keys()
    assert {"verdict", "comparisons", "zero_both", "skipped", "checks_run"} <= report["summary"].keys()
    for row in report["defects"]:
        assert {"name", "layer", "cause_expected", "caught_by", "cause_named", "others"} <= row.keys()
        assert set(row["caught_by"]) <= {RUNS, *CHECKS}
        assert row["others"].keys() == RULES.keys()


def test_markdown_has_every_defect_and_the_smallest_set(written):
    _, report, text = written
    assert text.startswith("# Kill rate\n")
    for row in report["defects"]:
        assert row["name"].removeprefix(f"{row['layer']}: ") in text
    for check in report["minimum_checks"]["checks"]:
        assert all(f"`{check}`" in section for section in text.split("## The fewest checks that catch all")[1:])


def test_smallest_set_catches_all_that_is_caught(written):
    _, report, _ = written
    chosen = set(report["minimum_checks"]["checks"])
    assert all(chosen & set(row["caught_by"]) for row in report["defects"] if row["caught_by"])


def test_survivor_ends_with_1(tmp_path, monkeypatch, capsys):
    """Of two ordinary cases none is a single sample."""
    name = "Affine: y is wrong for a single sample"
    monkeypatch.setattr(kill_rate, "names_of", lambda record: [name])
    monkeypatch.setattr(kill_rate, "corners_of", lambda record, dtype: ("ordinary",))
    monkeypatch.setattr(kill_rate, "LAYERS", Drawn(2, 1))
    kill_rate.cases_of.cache_clear()
    try:
        assert main(["kill-rate", "--layer", "Affine", "--jobs", "1", "--out", str(tmp_path)]) == 1
    finally:
        kill_rate.cases_of.cache_clear()
    assert "survived: 1" in capsys.readouterr().out
    assert "## Survived" in (tmp_path / "kill_rate.md").read_text(encoding="utf-8")


def test_unknown_layer_ends_with_2(tmp_path):
    assert main(["kill-rate", "--layer", "Softplus", "--out", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("caught_by", "fewest"),
    [
        ([], 0),
        ([[RUNS]], 1),
        ([["shape_is_kept", RUNS], [RUNS]], 1),
        # Greedy takes the one that catches four first, and needs two more.
        (
            [
                ["forward_matches_autograd", "shape_is_kept"],
                ["forward_matches_autograd", "shape_is_kept", "dtype_is_kept"],
                ["forward_matches_autograd", "dtype_is_kept"],
                ["forward_matches_numerical", "shape_is_kept"],
                ["forward_matches_numerical", "dtype_is_kept"],
            ],
            2,
        ),
    ],
)
def test_smallest_set(caught_by, fewest):
    found = minimum_checks(caught_by)
    assert len(found["checks"]) == fewest
    assert found["exact"]
    assert all(set(found["checks"]) & set(checks) for checks in caught_by)


# ----------------------------------------------------------------------------- the rules of others


def others(record, defect):
    return verdicts_of_others(by_name(record)[f"{record}: {defect}"].subject(), plain_cases(record, 0))


@needs_torch
def test_others_accept_a_right_layer():
    for record in ("Affine", "SoftmaxWithLoss", "TwoLayerNet"):
        found = verdicts_of_others(implementation_of(kill_rate.RECORDS[record]), plain_cases(record, 0))
        assert not any(found.values())


@needs_torch
def test_others_notice_a_wrong_gradient_and_a_call_that_raises():
    assert all(others("Affine", "dW is halved").values())
    assert all(others("Sigmoid", "backward raises").values())


@needs_torch
def test_others_differ_where_dout_is_ignored():
    """The book checks with an upstream gradient of ones."""
    found = others("Sigmoid", "backward ignores dout")
    assert not found["book"]
    assert found["cs231n"]
    assert found["gradcheck"]


@needs_torch
def test_gradients_that_add_up_are_noticed_by_calling_twice():
    found = others("Affine", "gradients accumulate over calls")
    assert found["gradcheck"]
    assert not found["book"]


# ----------------------------------------------------------------------------- false alarms, processes


def test_false_alarms_are_counted_over_as_many_comparisons_as_asked(tmp_path):
    arguments = [
        "kill-rate",
        "--false-alarms",
        "500",
        "--layer",
        "Relu",
        "--jobs",
        "1",
        "--out",
        str(tmp_path),
        "--quiet",
    ]
    assert main(arguments) == 0
    report = json.loads((tmp_path / "false_alarms.json").read_text(encoding="utf-8"))
    summary = report["summary"]
    assert report["kind"] == "false-alarms"
    assert summary["comparisons"] >= 500
    assert summary["false_alarms"] == 0
    assert summary["worst_margin"] <= 1
    assert sum(sum(bins.values()) for bins in report["margins"]["histogram"].values()) == summary["comparisons"]


def test_false_alarm_ends_with_1(tmp_path, monkeypatch):
    from oracle.reporting import false_alarms

    doubled = by_name("Relu")["Relu: dx is doubled"]
    monkeypatch.setattr(false_alarms, "implementation_of", lambda record: doubled.make(record))
    arguments = [
        "kill-rate",
        "--false-alarms",
        "10",
        "--layer",
        "Relu",
        "--jobs",
        "1",
        "--out",
        str(tmp_path),
        "--quiet",
    ]
    assert main(arguments) == 1
    assert "## What was found wrong" in (tmp_path / "false_alarms.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_tasks(jobs):
    assert list(shared_out(abs, range(-20, 0), jobs)) == list(range(20, 0, -1))
