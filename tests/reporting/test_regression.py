"""Two results held against each other: what is worse, improved, unchanged, new and vanished, and what is refused."""

import json
import re

import pytest

from oracle import cli
from oracle.cli.regression import factor
from oracle.reporting.baseline import BASELINE, SCHEMA, read_results, results_of, to_baseline
from oracle.reporting.regression import FLOOR_ULP, NOTABLE, differences, regression_text
from oracle.reporting.render import to_json


def compared(before, after, limit=None):
    return differences(results_of(before, "A"), results_of(after, "B"), limit=limit)


def groups(found):
    return {name: [change.key[:2] for change in getattr(found, name)] for name in ("worse", "improved", "unchanged")}


def test_an_error_a_hundred_times_as_large_is_worse_and_fails_beyond_the_limit(make_report, make_row):
    before, after = make_report(make_row(ulp=4)), make_report(make_row(ulp=400))
    shown, failed = compared(before, after), compared(before, after, limit=10)
    assert groups(shown)["worse"] == [("Affine", "dW")]
    assert not shown.regressed
    assert failed.regressed
    assert failed.worse[0].ratio == 100
    assert not compared(before, after, limit=100).regressed


@pytest.mark.parametrize("old", [0, 0.5, 1, 2, 3, 8, 1e6])
def test_one_ulp_more_is_never_worse(make_report, make_row, old):
    found = compared(make_report(make_row(ulp=old)), make_report(make_row(ulp=old + 1)), limit=1.6)
    assert groups(found)["worse"] == []
    assert not found.regressed


def test_below_the_floor_no_error_is_larger_than_another(make_report, make_row):
    found = compared(make_report(make_row(ulp=0)), make_report(make_row(ulp=FLOOR_ULP)), limit=1.1)
    assert groups(found)["unchanged"] == [("Affine", "dW")]
    assert found.unchanged[0].ratio == 1


def test_a_median_that_grows_behind_a_worst_error_that_does_not_is_seen(make_report, make_row):
    before, after = make_row(ulp=1e9), make_row(ulp=1e9)
    before["pairs"]["backprop-numerical"]["median_ulp"] = 1.0
    after["pairs"]["backprop-numerical"]["median_ulp"] = 50.0
    (change,) = compared(make_report(before), make_report(after)).worse
    assert (change.measure, change.ratio) == ("backprop-numerical/median", 25)


def test_what_the_references_are_to_each_other_is_no_regression(make_report, make_row):
    before, after = make_row(), make_row()
    after["pairs"]["numerical-autograd"]["worst_ulp"] = 1e300
    assert groups(compared(make_report(before), make_report(after)))["unchanged"] == [("Affine", "dW")]


def test_groups_are_sorted_with_the_worst_first(make_report, make_row):
    def report(*ulps):
        return make_report(*(make_row(quantity=f"q{number}", ulp=ulp) for number, ulp in enumerate(ulps)))

    found = compared(report(4, 4, 4, 400, 800, 4), report(12, 400, 5, 4, 4, 4))
    assert [change.key.quantity for change in found.worse] == ["q1", "q0"]
    assert [change.key.quantity for change in found.improved] == ["q3", "q4"]
    assert [change.key.quantity for change in found.unchanged] == ["q2", "q5"]


def test_a_verdict_that_got_worse_comes_first_and_is_a_regression_without_any_limit(make_report, make_row):
    before = make_report(make_row(ulp=4), make_row(quantity="db"))
    after = make_report(make_row(ulp=4e6), make_row(quantity="db", verdict="hazard"))
    found = compared(before, after)
    assert [change.key.quantity for change in found.worse] == ["db", "dW"]
    assert found.regressed
    assert "✗ right → hazard" in regression_text(found)
    back = compared(after, before)
    assert not back.regressed
    assert {change.key.quantity for change in back.improved} == {"db", "dW"}


def test_a_better_verdict_does_not_excuse_a_larger_error(make_report, make_row):
    found = compared(make_report(make_row(ulp=4, verdict="hazard")), make_report(make_row(ulp=400)), limit=10)
    assert groups(found)["worse"] == [("Affine", "dW")]
    assert found.regressed


def test_an_improvement_is_seen_although_another_measure_moved_a_little(make_report, make_row):
    before, after = make_row(ulp=1000), make_row(ulp=1001)
    after["pairs"]["backprop-numerical"]["median_ulp"] = 3.0
    (change,) = compared(make_report(before), make_report(after)).improved
    assert change.measure == "backprop-numerical/median"


def test_a_layer_that_does_not_run_any_more_is_a_regression_although_it_has_no_rows(make_report, make_row):
    before, after = make_report(make_row("A"), make_row("B")), make_report(make_row("A"))
    after["layers"].append({"layer": "B", "dtype": "float64", "verdict": "could not run"})
    found = compared(before, after)
    assert found.regressed
    assert [key[:2] for key in found.vanished] == [("B", "dW")]


def test_infinite_errors(make_report, make_row):
    finite, infinite = make_report(make_row(ulp=4)), make_report(make_row(ulp=float("inf")))
    assert compared(finite, infinite, limit=10).regressed
    assert groups(compared(infinite, finite))["improved"] == [("Affine", "dW")]
    assert groups(compared(infinite, infinite))["unchanged"] == [("Affine", "dW")]


def test_new_and_vanished_rows_are_named(make_report, make_row):
    found = compared(make_report(make_row(), make_row("Old")), make_report(make_row(), make_row("Latest")))
    text = regression_text(found)
    assert "New: 1 row: Latest float64: dW" in text
    assert "Vanished: 1 row: Old float64: dW" in text
    assert not found.regressed


@pytest.mark.parametrize(
    ("fact", "version", "said"),
    [
        ("numpy", "1.26.4", "NumPy 2.4.6 → 1.26.4"),
        ("torch", None, "PyTorch 2.13.0 → none"),
        ("blas", "mkl 2025", "BLAS openblas 0.3 → mkl 2025"),
        ("python", "3.12.1", "Python 3.11 → 3.12"),
    ],
)
def test_other_versions_are_compared_by_bound_and_the_output_says_so(make_report, make_row, fact, version, said):
    before, after = make_report(make_row(ulp=4)), make_report(make_row(ulp=4000), **{fact: version})
    found = compared(before, after, limit=10)
    assert groups(found)["worse"] == []
    assert not found.regressed
    text = regression_text(found, all_rows=True)
    assert said in text
    assert "by bound and verdict instead of by ratio" in text
    assert "--fail-if-worse was not applied" in text
    assert "old margin" in text


@pytest.mark.parametrize(("fact", "version"), [("python", "3.11.99"), ("torch", "2.13.0+cpu")])
def test_a_patch_of_python_and_another_build_of_pytorch_are_no_other_version(make_report, make_row, fact, version):
    assert compared(make_report(make_row()), make_report(make_row(), **{fact: version})).because == ()


def test_by_bound_a_margin_that_passes_1_is_worse_and_a_worse_verdict_still_fails(make_report, make_row):
    before = make_report(make_row(margin=0.9), numpy="1.26.4")
    passed = compared(before, make_report(make_row(margin=1.1)))
    assert groups(passed)["worse"] == [("Affine", "dW")]
    assert not passed.regressed
    assert compared(before, make_report(make_row(verdict="backward wrong", margin=1.1))).regressed


def test_reports_from_before_errors_were_kept_in_ulp_are_compared_by_bound(make_report, make_row):
    old = make_report(make_row())
    del old["plan"], old["layers"]
    for values in old["rows"][0]["pairs"].values():
        if values:
            del values["worst_ulp"], values["median_ulp"]
    found = compared(old, make_report(make_row(ulp=4e9)))
    assert "from before errors were kept in ulp" in found.because[0]
    assert not found.worse


def test_unchanged_rows_are_counted_and_those_that_moved_are_listed(make_report, make_row):
    before = make_report(*(make_row(quantity=f"q{n}", ulp=4) for n in range(30)))
    after = make_report(*(make_row(quantity=f"q{n}", ulp=4 + (n == 7)) for n in range(30)))
    text = regression_text(compared(before, after))
    assert "Unchanged: 30 rows, 29 of them to the last digit" in text
    assert "q7" in text
    assert "q8" not in text
    assert "q8" in regression_text(compared(before, after), all_rows=True)


def test_a_limit_below_what_counts_as_worse_is_kept(make_report, make_row):
    assert NOTABLE > 1.5
    found = compared(make_report(make_row(ulp=10)), make_report(make_row(ulp=16)), limit=1.5)
    assert found.regressed


def test_a_baseline_is_the_report_it_was_taken_from(make_report, make_row, write):
    report = make_report(make_row(ulp=float("inf")), make_row("Relu"))
    path = write("baseline.json", to_baseline(report))
    kept = read_results(path, of="report")
    assert kept.rows == results_of(report, "").rows
    assert kept.environment["numpy"] == "2.4.6"
    written = json.loads(path.read_text(encoding="utf-8"))
    assert (written["schema"], written["kind"]) == (SCHEMA, BASELINE)
    assert {entry["dtype"] for entry in written["rows"]} == {"float64"}


def changed(report, **entries):
    return {**report, **entries}


REFUSED = {
    "no JSON": (lambda report: '{"schema": 1, "kind"', "is damaged, it is no JSON"),
    "cut off": (lambda report: to_json(to_baseline(report))[:-40], "is damaged, it is no JSON"),
    "not UTF-8": (lambda report: b"\xff\xfe\x00", "is damaged, it is no JSON"),
    "NaN": (lambda report: '{"schema": NaN}', "is damaged, it is no JSON"),
    "nested without end": (lambda report: "[" * 100_000, "is damaged, it is no JSON"),
    "empty": (lambda report: "", "is damaged, it is no JSON"),
    "a list": (lambda report: [1, 2], "is no report of oracle"),
    "of another program": (lambda report: {"name": "package", "version": "1.0"}, "is no report of oracle"),
    "of another kind": (
        lambda report: changed(report, kind="train"),
        "is of kind 'train', but one of kind report, check or baseline is required",
    ),
    "from the future": (lambda report: changed(report, schema=2), "was written by a later version (schema 2"),
    "a baseline from the future": (
        lambda report: changed(to_baseline(report), schema=99),
        "was written by a later version (schema 99",
    ),
    "an edited baseline": (
        lambda report: changed(to_baseline(report), rows=[]),
        "is damaged (its checksum is that of another content)",
    ),
    "without a schema": (lambda report: changed(report, schema=None), "is damaged (schema is None)"),
    "schema 0": (lambda report: changed(report, schema=0), "is damaged (schema is 0)"),
    "without rows": (lambda report: changed(report, rows=[], layers=[]), "is damaged (it has no rows)"),
    "rows that are none": (lambda report: changed(report, rows=[1]), "is damaged (an entry of rows is 1)"),
    "a row twice": (lambda report: changed(report, rows=report["rows"] * 2), "is damaged (there are two rows of"),
    "no seed": (lambda report: changed(report, environment={}), "is damaged (seed is missing)"),
    "an unknown verdict": (
        lambda report: changed(report, layers=[{"layer": "A", "dtype": "float64", "verdict": "fine"}]),
        "is damaged (verdict is 'fine')",
    ),
    "a negative error": (
        lambda report: changed(report, rows=[with_pair(report["rows"][0], worst_ulp=-1)]),
        "is damaged (worst_ulp is -1)",
    ),
    "an error beyond all numbers": (
        lambda report: changed(report, rows=[with_pair(report["rows"][0], margin=10**400)]),
        "is damaged (margin is 1000",
    ),
    "half a character": (
        lambda report: json.dumps(changed(report, rows=[{**report["rows"][0], "layer": "\ud800"}])),
        "is damaged (layer is '\\ud800')",
    ),
    "made by oracle check": (
        lambda report: changed(report, kind="check", subjects=[{"file": "a.py", "name": "A", "verdict": "right"}]),
        "was made by oracle check, but one made by oracle report is required",
    ),
}


def with_pair(row, **entries):
    pair = {**row["pairs"]["backprop-numerical"], **entries}
    return {**row, "pairs": {**row["pairs"], "backprop-numerical": pair}}


@pytest.mark.parametrize("option", ["--compare", "--save-baseline"])
@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_damaged_foreign_or_future_baseline_is_refused_and_left_as_it_is(
    tmp_path, capsys, make_report, option, content, reason
):
    given = content(make_report())
    raw = given if isinstance(given, bytes) else (given if isinstance(given, str) else to_json(given)).encode()
    path = tmp_path / "baseline.json"
    path.write_bytes(raw)
    assert cli.main(["report", "--out", str(tmp_path / "out"), option, str(path)]) == 2
    message = capsys.readouterr().err
    assert str(path) in message
    assert reason in message
    # What to do: where it is to be written over, no advice to save another one there.
    if reason.startswith("is damaged"):
        other = "it was not written over; name another file, or delete this one"
        assert message.endswith(f"{other if option == '--save-baseline' else '--save-baseline FILE'}\n")
    assert re.search(r"; (\w+ )*(name|save|update) ", message)
    assert message.count("\n") == 1
    assert path.read_bytes() == raw
    assert list((tmp_path / "out").iterdir()) == []


def test_a_report_is_not_replaced_by_a_baseline(tmp_path, capsys, make_report, write):
    path = write("gradient_errors.json", make_report())
    before = path.read_bytes()
    assert cli.main(["report", "--out", str(tmp_path), "--save-baseline", str(path)]) == 2
    assert "is a report, which a baseline would replace" in capsys.readouterr().err
    assert path.read_bytes() == before


def diff(*arguments):
    return cli.main(["diff", *map(str, arguments)])


def test_diff_ends_with_0_where_nothing_got_worse_and_with_1_where_it_did(make_report, make_row, write, capsys):
    a, b = write("a.json", make_report(make_row(ulp=4))), write("b.json", make_report(make_row(ulp=400)))
    assert diff(a, b) == 0
    assert "Worse: 1 row" in capsys.readouterr().out
    assert diff(a, b, "--fail-if-worse", "10x") == 1
    printed = capsys.readouterr().out
    assert "100×" in printed
    assert "Regression: 1 row" in printed
    assert diff(b, a, "--fail-if-worse", "10x") == 0
    assert diff(a, write("c.json", make_report(make_row(verdict="both wrong")))) == 1


def test_diff_takes_baselines_too_and_writes_both_forms(make_report, make_row, write, tmp_path, capsys):
    a = write("a.json", to_baseline(make_report(make_row(ulp=4))))
    b = write("b.json", make_report(make_row(ulp=400)))
    assert diff(a, b, "--out", tmp_path / "out", "--json", "-") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out" / "diff.json").read_text(encoding="utf-8"))
    assert {"schema", "kind", "environment", "summary"} <= printed.keys()
    (worse,) = printed["worse"]
    assert (worse["layer"], worse["quantity"], worse["dtype"]) == ("Affine", "dW", "float64")
    assert (worse["old"], worse["new"], worse["ratio"]) == (4, 400, 100)
    assert "| Affine" in (tmp_path / "out" / "diff.md").read_text(encoding="utf-8")


def test_diff_refuses_what_cannot_be_compared(make_report, make_row, write, capsys, tmp_path):
    a = write("a.json", make_report())
    other_plan = {**make_report(), "plan": {"cases_per_corner": 44}}
    check = {**make_report(), "kind": "check", "subjects": [{"file": "a.py", "name": "A", "verdict": "right"}]}
    refused = {
        "with seed 1: other cases are drawn": make_report(seed=1),
        "with cases per corner: 44: other cases are drawn": other_plan,
        "was made by oracle check": check,
        "has no row in common": make_report(make_row("Elsewhere")),
    }
    for number, (reason, report) in enumerate(refused.items()):
        assert diff(a, write(f"{number}.json", report)) == 2
        assert reason in capsys.readouterr().err
    assert diff(a, tmp_path / "nowhere.json") == 2
    assert "no such file" in capsys.readouterr().err
    assert diff(a, tmp_path) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "ratio"), [("10x", 10), ("10", 10), ("1.5X", 1.5), ("2×", 2)])
def test_a_ratio_may_be_written_with_or_without_its_sign(given, ratio):
    assert factor(given) == ratio


@pytest.mark.parametrize("ratio", ["", "0x", "1x", "1", "0.5", "x", "-2x", "10y", "nan", "inf", "1e3"])
def test_a_ratio_that_is_none_is_refused(ratio, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["diff", "a.json", "b.json", f"--fail-if-worse={ratio}"])
    assert stopped.value.code == 2
    assert "is not a ratio above 1" in capsys.readouterr().err
