"""The histogram of margins, the references that are off, and the errors against truth, in the report."""

import json

import pytest

from oracle.cli import main
from oracle.reporting.margins import bins, histogram
from oracle.reporting.truth import can_draw
from oracle.sources.autograd import is_available

# ----------------------------------------------------------------------------- the histogram


@pytest.mark.parametrize(
    ("margin", "name"),
    [
        (0.0, "0"),
        (5e-324, "< 1e-6"),
        (9.9e-7, "< 1e-6"),
        (1e-6, "1e-6 to 1e-5"),
        (1e-3, "1e-3 to 1e-2"),
        (0.0999, "1e-2 to 1e-1"),
        (0.1, "1e-1 to 1"),
        (1.0, "1e-1 to 1"),
        (1.0000001, "> 1"),
        (float("inf"), "> 1"),
        (float("nan"), "> 1"),
    ],
)
def test_margin_is_counted_in_its_decade(margin, name):
    counted = histogram([margin])
    assert counted[name] == 1
    assert sum(counted.values()) == 1
    assert tuple(counted) == bins()


# ----------------------------------------------------------------------------- the report


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("reports")
    arguments = [
        "report",
        "--layer",
        "Sigmoid",
        "--layer",
        "Relu",
        "--truth",
        "--cases",
        "3",
        "--out",
        str(out),
        "--quiet",
    ]
    assert main(arguments) == 0
    return json.loads((out / "gradient_errors.json").read_text(encoding="utf-8")), out


def test_histogram_counts_every_comparison_once(report):
    counted = sum(sum(bins.values()) for bins in report[0]["margins"]["histogram"].values())
    assert counted == report[0]["summary"]["comparisons"] > 0
    assert all(bins["> 1"] == 0 for bins in report[0]["margins"]["histogram"].values())


def test_more_cases_make_more_comparisons(report, tmp_path):
    assert main(["report", "--layer", "Sigmoid", "--cases", "1", "--out", str(tmp_path), "--quiet"]) == 0
    fewer = json.loads((tmp_path / "gradient_errors.json").read_text(encoding="utf-8"))
    of_sigmoid = sum(row["comparisons"] for row in report[0]["rows"] if row["layer"] == "Sigmoid")
    assert fewer["summary"]["comparisons"] * 3 == of_sigmoid


def test_bounds_that_nothing_came_near_to_are_listed(report):
    """Relu rounds nothing."""
    listed = {(row["layer"], row["quantity"]) for row in report[0]["margins"]["loose"] if row["margin"] == 0}
    assert {("Relu", "y"), ("Relu", "dx")} <= listed
    assert ("Sigmoid", "dx") not in listed


@pytest.mark.skipif(not is_available(), reason="PyTorch is not installed, and it is what is off")
def test_where_pytorch_is_off_is_in_both_files(report):
    (double, single) = (row for row in report[0]["references"] if row["layer"] == "Sigmoid")
    assert {double["dtype"], single["dtype"]} == {"float64", "float32"}
    assert all(row["cause_id"] == "autograd_is_off" and row["cases"] > 0 for row in (double, single))
    assert report[0]["summary"]["verdict"] == "right"
    assert "PyTorch is the one that is off" in (report[1] / "gradient_errors.md").read_text(encoding="utf-8")


def test_errors_against_truth_are_those_of_the_known_figures(report):
    """PyTorch and a textbook have no digit of a sigmoid's gradient for inputs of size 100; scratch is within 4 ulp."""
    rows = {(row["layer"], row["dtype"], row["size"]): row for row in report[0]["truth"] if row["quantity"] == "dx"}
    for dtype in ("float64", "float32"):
        sources = rows["Sigmoid", dtype, 100.0]["sources"]
        assert sources["backprop"]["worst_ulp"] <= 4
        assert ("autograd" in sources) is is_available()
        if is_available():
            assert sources["autograd"]["worst_ulp"] > 1e6
    assert "numerical" not in rows["Sigmoid", "float32", 1.0]["sources"]
    assert rows["Relu", "float64", 1.0]["sources"]["backprop"] == {"worst_ulp": 0.0, "mean_ulp": 0.0}
    text = (report[1] / "gradient_errors.md").read_text(encoding="utf-8")
    assert "## Errors against truth" in text
    assert ("not run" in text.partition("## Errors against truth")[2].partition("## Checks")[0]) is not is_available()


@pytest.mark.skipif(not can_draw(), reason="matplotlib is not installed")
def test_picture_is_drawn_and_shown(report):
    assert (report[1] / "truth.png").read_bytes().startswith(b"\x89PNG")
    assert "](truth.png)" in (report[1] / "gradient_errors.md").read_text(encoding="utf-8")


def test_without_truth_the_report_has_no_such_section(tmp_path):
    assert main(["report", "--layer", "Relu", "--cases", "1", "--out", str(tmp_path), "--quiet"]) == 0
    assert "truth" not in json.loads((tmp_path / "gradient_errors.json").read_text(encoding="utf-8"))
    assert not (tmp_path / "truth.png").exists()
