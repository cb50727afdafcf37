"""The command ``oracle kill-rate``: what it writes, what survives, and the smallest set of checks."""

import json
import subprocess
from pathlib import Path

import pytest

from oracle.catalog.records import RECORDS
from oracle.cli import main
from oracle.judge import others as judge_others
from oracle.judge.causes import CAUSES
from oracle.judge.checks import CHECKS
from oracle.judge.examination import RUNS
from oracle.judge.others import RULES, verdicts_of_others
from oracle.reporting import kill_rate
from oracle.reporting.kill_rate import Drawn, in_training, minimum_checks, plain_cases
from oracle.reporting.parallel import shared_out
from oracle.sources.autograd import is_available
from oracle.subjects.defects.catalogue import by_name
from oracle.subjects.in_process import implementation_of
from oracle.training.parity import MEANINGS
from oracle.training.planted import LOOP_DEFECTS

ROOT = Path(__file__).parents[2]

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
        assert row["cause_expected"] is None or row["cause_expected"] in CAUSES
        assert row["cause_named"] is None or row["cause_named"] in CAUSES


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


# ----------------------------------------------------------------------------- causes that hide


@needs_torch
@pytest.mark.parametrize(
    ("record", "defect", "cause_id"),
    [
        # Each case has a single entry, and in one the zero is that of the other input.
        ("AddLayer", "out is wrong where x is 0", "only_at_zero"),
        # Of one case alone, in which there are two classes: but all others would be C times as large too.
        (
            "MultiLayerNet relu, regression",
            'grads["W2"] is wrong for a batch of one',
            "only_for_a_batch_of_one",
        ),
        # A factor that no case refutes is one.
        ("MultiLayerNet relu, regression", 'grads["b1"] is multiplied by C', "multiplied_by_classes"),
        ("MultiLayerNet relu, regression", 'grads["W2"] is doubled', "doubled"),
    ],
)
def test_when_it_happens_is_told_from_what_it_looks_like(record, defect, cause_id):
    row, _ = kill_rate.examine_defect((record, f"{record}: {defect}", 0))
    assert row["cause_named"] == row["cause_expected"] == cause_id


# ----------------------------------------------------------------------------- the report that is committed


@pytest.fixture(scope="module")
def committed():
    """The report of the whole catalogue. The command writes another over the file, of one layer only perhaps."""
    shown = subprocess.run(
        ["git", "show", "HEAD:reports/kill_rate.json"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    if shown.returncode:
        pytest.skip("this is no git checkout, so that the committed report cannot be told from a new one")
    return json.loads(shown.stdout)


def test_committed_report_has_all_caught_and_at_least_95_percent_named(committed):
    defects, summary = committed["defects"], committed["summary"]
    named = [row for row in defects if row["caught_by"] and row["cause_named"] == row["cause_expected"]]
    assert all(row["caught_by"] for row in defects)
    assert len(named) >= 0.95 * len(defects)
    assert (summary["defects"], summary["caught"], summary["cause_named"]) == (len(defects), len(defects), len(named))
    assert summary["skipped"] == []
    assert {cause for row in defects for cause in (row["cause_expected"], row["cause_named"])} - {None} <= set(CAUSES)


def test_committed_report_is_of_this_catalogue(committed):
    """What is expected of each defect stands there as it does here; of what is quickly tried none is missing."""
    known = {name: defect for record in RECORDS for name, defect in by_name(record).items()}
    known |= {f"{in_training(defect.record)}: {defect.name}": defect for defect in LOOP_DEFECTS}
    listed = {row["name"]: (row["verdict_expected"], row["cause_expected"]) for row in committed["defects"]}
    assert listed == {name: (known[name].verdict, known[name].cause_id) for name in listed}
    assert len(listed) == len(committed["defects"])
    assert {name for name in known if "(training)" in name} <= set(listed)
    for record in ("AddLayer", "softmax", "IdentityWithLoss"):
        assert [row["name"] for row in committed["defects"] if row["layer"] == record] == kill_rate.names_of(record)


# ----------------------------------------------------------------------------- the training loop


def run_of_loops(out, patched):
    """(exit status, report, Markdown) of the defects of the training loop alone."""
    patched.setattr(kill_rate, "names_of", lambda record: [])
    layers = ["--layer", "TwoLayerNet", "--layer", "MultiLayerNet sigmoid, squared error"]
    status = main(["kill-rate", *layers, "--jobs", "1", "--out", str(out), "--quiet"])
    report = json.loads((out / "kill_rate.json").read_text(encoding="utf-8"))
    return status, report, (out / "kill_rate.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def of_loops(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        return run_of_loops(tmp_path_factory.mktemp("loops"), patched)


@needs_torch
def test_defects_of_the_loop_are_caught_at_their_step_and_named(of_loops):
    status, report, text = of_loops
    assert status == 0
    assert len(report["defects"]) == len(LOOP_DEFECTS) == report["summary"]["verdict_as_expected"]
    assert f"and {len(LOOP_DEFECTS)} in training loops" in text
    for row, defect in zip(report["defects"], LOOP_DEFECTS, strict=True):
        assert row["divergence"] == {"step": defect.step, "kind": defect.kind, "parameter": defect.parameter}
        assert row["cause_named"] == row["cause_expected"] == defect.cause_id
        assert row["caught_by"][0] == defect.kind
        assert set(row["caught_by"]) <= set(MEANINGS)
        assert row["layer"] == f"{defect.record} (training)"
        assert row["others"].keys() == RULES.keys()
        assert row["name"].partition(": ")[2] in text
    assert "caught, step 1: gradient of W1" in text
    assert report["minimum_checks"] == {"checks": ["update"], "exact": True}


@needs_torch
def test_checkers_of_gradients_see_the_first_step_of_a_loop_and_no_more(of_loops):
    _, report, text = of_loops
    others = {row["name"].partition(": ")[2]: row["others"] for row in report["defects"]}
    for wrong_at_once in ("sum instead of mean", "gradient clipped"):
        assert all(others[wrong_at_once].values())
    assert all(others["the output layer updated before the gradient of the hidden one is taken"].values())
    for later in ("update ascends", "stale gradient", "last batch of an epoch divided by the full size"):
        assert not any(others[later].values())
    assert not any(report["false_alarms_of_others"].values())
    rows = [line for line in text.splitlines() if line.startswith(("| this judge", "| caught by"))]
    assert [line.split("|")[2].strip() for line in rows] == ["training loop", f"{len(others)} of {len(others)}"]


def test_without_pytorch_the_loops_are_said_not_to_be_run(tmp_path, monkeypatch):
    for module in (kill_rate, judge_others):
        monkeypatch.setattr(module, "is_available", lambda: False)
    status, report, text = run_of_loops(tmp_path, monkeypatch)
    assert status == 0
    assert report["defects"] == []
    reason = "defects of the training loop: not run: PyTorch is not installed"
    assert {"reason": reason, "count": len(LOOP_DEFECTS)} in report["summary"]["skipped"]
    assert f"### Training loop\n\nNot run: {reason} ({len(LOOP_DEFECTS)} defects)." in text


def test_without_pytorch_nothing_is_said_of_loops_over_what_is_not_trained(tmp_path, monkeypatch):
    """A layer alone has no training loop whose defects could be left out."""
    for module in (kill_rate, judge_others):
        monkeypatch.setattr(module, "is_available", lambda: False)
    monkeypatch.setattr(kill_rate, "names_of", lambda record: [])
    main(["kill-rate", "--layer", "Relu", "--jobs", "1", "--out", str(tmp_path), "--quiet"])
    report = json.loads((tmp_path / "kill_rate.json").read_text(encoding="utf-8"))
    reasons = [left_out["reason"] for left_out in report["summary"]["skipped"]]
    assert reasons == [kill_rate.NOT_INSTALLED]
    assert "### Training loop" not in (tmp_path / "kill_rate.md").read_text(encoding="utf-8")


@needs_torch
def test_defect_of_the_loop_that_survives_ends_with_1(tmp_path, monkeypatch):
    """One step is too few to see a gradient that is the step before's."""
    monkeypatch.setattr(kill_rate, "STEPS", 1)
    monkeypatch.setattr(kill_rate, "LOOP_DEFECTS", [d for d in LOOP_DEFECTS if d.name == "stale gradient"])
    status, report, text = run_of_loops(tmp_path, monkeypatch)
    assert status == 1
    assert report["summary"]["verdict"] == "defects survive"
    assert "stale gradient" in text.partition("## Survived")[2].partition("##")[0]


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


def alarms_of_relu(comparisons, out):
    """The exit status of the search for false alarms."""
    place = ["--layer", "Relu", "--jobs", "1", "--out", str(out), "--quiet"]
    return main(["kill-rate", "--false-alarms", str(comparisons), *place])


def test_false_alarms_are_counted_over_as_many_comparisons_as_asked(tmp_path):
    assert alarms_of_relu(500, tmp_path) == 0
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
    assert alarms_of_relu(10, tmp_path) == 1
    assert "## What was found wrong" in (tmp_path / "false_alarms.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_tasks(jobs):
    assert list(shared_out(abs, range(-20, 0), jobs)) == list(range(20, 0, -1))
