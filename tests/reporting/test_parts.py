"""Parts of reports where something is missing, unusual or nothing, and what goes on around the work."""

import html
import importlib.metadata
import json
import os
import signal
import stat
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from oracle.bench.check import images_like_mnist
from oracle.catalog.records import RECORDS
from oracle.cli import main
from oracle.data.digits import load_digits
from oracle.errors import InputError
from oracle.judge.checks import CHECKS
from oracle.reporting import baseline, exhibits, kill_rate, kill_rate_text, matrix, parallel, regression, render, truth
from oracle.reporting.environment import environment
from oracle.reporting.page import build_page
from oracle.reporting.plan import plan
from oracle.reporting.progress import Bar
from scratch import TwoLayerNet

COMMITTED = Path(__file__).parents[2] / "reports"

# ----------------------------------------------------------------------------- a gradient report


@pytest.fixture(scope="module")
def of_softmax(tmp_path_factory):
    """A report of a function alone, which has no gradient."""
    out = tmp_path_factory.mktemp("reports")
    assert main(["report", "--layer", "softmax", "--cases", "1", "--quiet", "--out", str(out)]) == 0
    return json.loads((out / "gradient_errors.json").read_text(encoding="utf-8"))


def test_without_gradients_no_error_in_one_would_have_been_noticed(of_softmax):
    assert {noticed["typical"] for noticed in of_softmax["summary"]["smallest_error_noticed"].values()} == {None}
    assert not any(line.startswith("Noticed in") for line in render.summary_lines(of_softmax))


def test_exhibit_shows_the_constant_in_the_logarithm_on_paper_and_on_the_page(of_softmax, monkeypatch, tmp_path):
    """On random pixels and with two hidden units: the figures of the source are those of MNIST, in test_exhibits.py."""
    monkeypatch.setattr(exhibits, "TwoLayerNet", lambda *sizes, rng: TwoLayerNet(sizes[0], 2, sizes[2], rng=rng))
    said = []
    exhibit = exhibits.source_gradient_check(images_like_mnist(0), 0, said.append)
    assert said == ["the source's recipe", "the exact loss", "the complex step"]
    rows = {row["parameter"]: row for row in exhibit["rows"]}
    assert rows.keys() == exhibits.PRINTED.keys()
    # 1e-7/y of a gradient of 0.1, y being 0.1 in an untrained network; h²; a few ulp.
    assert 1e-8 < rows["b2"]["source_recipe"] < 1e-6
    assert rows["b2"]["exact_loss"] < rows["b2"]["source_recipe"] / 100
    assert all(row["complex_step"] < 5e-17 for row in rows.values())

    report = {**of_softmax, "exhibits": [exhibit]}
    cell = f"{rows['b2']['source_recipe']:.1e}"
    text = render.markdown(report)
    assert f"## Exhibit: {exhibit['title']}" in text
    assert cell in text
    page = html.unescape(build_page(tmp_path, {"gradient_errors.json": json.dumps(report)}))
    assert f"<h3>{exhibit['title']}</h3>" in page
    assert f'data-value="{rows["b2"]["source_recipe"]!r}"' in page


def test_networks_on_real_digits_are_planned_after_the_others():
    digits = load_digits()
    *_, generated, on_digits = plan([RECORDS["Relu"], RECORDS["TwoLayerNet"]], ["float64"], 0, {"digits": digits}, 1)
    assert generated.label == "TwoLayerNet"
    assert on_digits.section == "networks on real digits"
    assert on_digits.label == "TwoLayerNet, 64-50-10 on digits"
    (case,) = on_digits.cases
    assert dict(case.shapes)["x"] == (3, 64)


def test_versions_of_what_is_not_installed_are_none(monkeypatch):
    def missing(distribution):
        raise importlib.metadata.PackageNotFoundError(distribution)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert environment(0, "")["torch"] is None
    assert environment(0, "")["numpy"] == np.__version__


def test_truth_without_pytorch_has_no_errors_of_it(monkeypatch, tmp_path):
    monkeypatch.setattr(truth, "is_available", lambda: False)
    out = ["--quiet", "--out", str(tmp_path)]
    assert main(["report", "--truth", "--layer", "Relu", "--cases", "1", *out]) == 0
    rows = json.loads((tmp_path / "gradient_errors.json").read_text(encoding="utf-8"))["truth"]
    assert all("autograd" not in row["sources"] for row in rows)
    text = (tmp_path / "gradient_errors.md").read_text(encoding="utf-8").partition("## Errors against truth")[2]
    assert "not run" in text.partition("## Checks")[0]


# ----------------------------------------------------------------------------- the page


def test_checks_that_were_not_run_and_parts_that_are_empty_are_shown_as_such(tmp_path):
    file = tmp_path / "theirs.py"
    file.write_text("class Relu:\n    def forward(self, x):\n        return x * (x > 0)\n", encoding="utf-8")
    assert main(["check", str(file), "--quiet", "--out", str(tmp_path)]) == 1
    places = {"check.json": tmp_path, "kill_rate.json": COMMITTED, "training.json": COMMITTED}
    contents = {name: json.loads((place / name).read_text(encoding="utf-8")) for name, place in places.items()}
    for defect in contents["kill_rate.json"]["defects"]:
        defect["others"]["gradcheck"] = None
    contents["training.json"]["predictions"]["unmatched"] = []
    contents["check.json"]["passed_over"] = []
    (subject,) = contents["check.json"]["subjects"]
    finding = {"check": "runs", "cause": "something else", "actual": None}
    subject["hazards"], subject["notes"], subject["findings"] = ["a hazard"], [], [finding]
    page = build_page(tmp_path, {name: json.dumps(content) for name, content in contents.items()})
    assert "not run" in page
    assert "misread samples" not in page
    assert "passed over" not in page
    assert "Worth knowing" not in page
    assert "is not as this version" not in page


# ----------------------------------------------------------------------------- the kill rate


def test_smallest_set_is_not_said_to_be_the_smallest_where_not_all_were_tried(monkeypatch):
    caught = [["dtype_is_kept", "runs"], ["runs", "dout_is_not_modified"], ["dout_is_not_modified", "dtype_is_kept"]]
    assert kill_rate.minimum_checks(caught)["exact"]
    monkeypatch.setattr(kill_rate, "MOST_SETS", 0)
    found = kill_rate.minimum_checks(caught)
    assert not found["exact"]
    assert all(set(found["checks"]) & set(checks) for checks in caught)


def test_smallest_set_is_smaller_than_what_taking_the_most_frequent_first_gives():
    """The first and the third check catch four of six each: beside the first two are needed, beside the third one."""
    one, two, three, four, five, six = list(CHECKS)[:6]
    caught = [[six, four], [one, six], [five, three, one], [three, two, one], [one, three], [two, three]]
    found = kill_rate.minimum_checks(caught)
    assert found["exact"]
    assert len(found["checks"]) == 2
    assert all(set(found["checks"]) & set(checks) for checks in caught)


def test_defect_that_is_called_something_else_is_listed_with_both_names():
    row = {
        "name": "Relu: dx is doubled", "layer": "Relu", "caught_by": ["runs"], "others": {},
        "cause_expected": "doubled", "cause_named": "wrong_sign",
        "verdict": "backward wrong", "verdict_expected": "hazard",
    }  # fmt: skip
    text = "\n".join(kill_rate_text._exceptions({"defects": [row]}))
    assert "## Caught, and called something else" in text
    assert "hazard, `doubled`" in text
    assert "backward wrong, `wrong_sign`" in text


def test_false_alarms_go_on_for_a_whole_round_and_show_that_they_do(tmp_path, monkeypatch):
    from oracle.cli import kill_rate as command
    from oracle.reporting import progress

    steps = []
    monkeypatch.setattr(progress.Bar, "step", lambda bar, text: steps.append(text))
    assert command.RIGHT == 0
    arguments = ["--false-alarms", "1500", "--layer", "Relu", "--jobs", "1", "--out", str(tmp_path)]
    assert main(["kill-rate", *arguments]) == 0
    summary = json.loads((tmp_path / "false_alarms.json").read_text(encoding="utf-8"))["summary"]
    assert summary["comparisons"] >= 1500
    assert steps == ["Relu"]  # of a thousand


# ----------------------------------------------------------------------------- processes, and the bar


def test_there_is_a_process_for_each_core_and_it_has_one_thread(monkeypatch):
    assert 1 <= parallel.cores() <= (os.cpu_count() or 1)
    done = []
    monkeypatch.setattr(parallel, "is_available", lambda: False)
    monkeypatch.setattr(parallel, "threadpool_limits", done.append)
    monkeypatch.setattr(signal, "signal", lambda *given: done.append(given))
    parallel._alone_on_its_core()
    assert done == [(signal.SIGINT, signal.SIG_IGN), 1]


def test_interrupt_that_was_swallowed_comes_again_at_the_next_step():
    before = signal.getsignal(signal.SIGINT)
    with Bar(shown=False) as bar:
        bar.start(2)
        bar.step("one")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            bar.step("two")
    assert signal.getsignal(signal.SIGINT) is before


def test_bar_of_work_without_an_end_in_a_thread_shows_nothing():
    """Only the main thread of a process can be interrupted, and only it may say what an interrupt does."""
    done = []

    def work():
        with Bar() as bar:
            bar.step("nobody has said how many there are")
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.getsignal(signal.SIGINT)]


# ----------------------------------------------------------------------------- the matrix


@pytest.mark.skipif(os.name != "posix", reason="a script that is a command by its first line and its permissions")
def test_command_that_only_complains_is_no_interpreter(tmp_path):
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    assert not matrix._runs(str(shim))
    assert matrix._runs(sys.executable)
    assert not matrix._runs("python3.99")


# ----------------------------------------------------------------------------- baselines


def test_baseline_of_what_no_command_makes_is_damaged(make_report, write):
    content = {**baseline.to_baseline(make_report()), "of": "something"}
    content["checksum"] = baseline._checksum(content)
    with pytest.raises(InputError, match=r"is damaged \(it is of 'something'\)"):
        baseline.read_results(write("baseline.json", content))


def test_errors_without_a_measure_in_common_have_no_ratio(make_report):
    """Where a row was seen in pairs of sources that the other run does not have."""
    rows = {}
    for pair in ("backprop-numerical", "backprop-autograd"):
        report = make_report()
        pairs = report["rows"][0]["pairs"]
        pairs.update({name: pairs["backprop-numerical"] if name == pair else None for name in pairs})
        rows[pair] = baseline.results_of(report, pair)
    found = regression.differences(rows["backprop-numerical"], rows["backprop-autograd"])
    (change,) = (*found.worse, *found.improved, *found.unchanged)
    assert (change.ratio, change.old, change.new) == (None, 0.01, 0.01)
