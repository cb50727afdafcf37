"""What no test reaches is held against its reasons both ways, by code and not by line."""

import importlib.util
import sys
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("coverage_report", Path(__file__).with_name("report.py"))
report = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = report  # where dataclasses look
SPEC.loader.exec_module(report)

SOURCE = """\
import sys

def f(x):
    for n in x:
        if n:
            return n
    return 0
"""
#: As coverage.py writes it where f([1]) alone was called, but for what is not read.
FILE = {
    "missing_lines": [7],
    "missing_branches": [[4, 7], [5, 4]],
    "functions": {
        "f": {"executed_lines": [4, 5, 6], "missing_lines": [7]},
        "": {"executed_lines": [1, 3], "missing_lines": []},
    },
}
MISSING = [report.Place("scratch/a.py", "f", "return 0"), report.Place("scratch/a.py", "f", "if n: → for n in x:")]


def reasons_for(*codes, function="f"):
    at = "".join(f'[[exceptions.at]]\nfile = "scratch/a.py"\nfunction = "{function}"\ncode = {list(codes)}\n')
    return report.exceptions(f'[[exceptions]]\nreason = """\nOn Windows\nonly."""\n{at}')


def found(source=SOURCE):
    return list(report.not_reached("scratch/a.py", FILE, source.splitlines()))


def test_lines_and_branches_are_named_by_their_code():
    """The branch to the line that is not reached says nothing more."""
    assert found() == list(zip(MISSING, (7, 5), strict=True))


def test_branch_to_the_end_of_a_function_is_one_to_its_exit():
    file = {**FILE, "missing_lines": [], "missing_branches": [[4, -3]]}
    assert [place.code for place, _ in report.not_reached("a", file, SOURCE.splitlines())] == ["for n in x: → exit"]


def test_reasons_for_all_that_is_missing_hold():
    reasons = reasons_for("return 0", "if n: → for n in x:")
    assert report.held(found(), reasons) == []
    assert reasons[0][0] == "On Windows only."


def test_what_is_missing_without_a_reason_is_a_problem_with_its_line():
    (problem,) = report.held(found(), reasons_for("return 0"))
    assert problem == (
        "not reached by any test, and no reason in uncovered.toml: scratch/a.py, f: `if n: → for n in x:` (line 5)"
    )


@pytest.mark.parametrize(
    ("codes", "function"),
    [
        (["return n"], "f"),  # reached
        (["return 1"], "f"),  # not there any more
        (["return 0"], "f"),  # a second time: there is one
        (["return 0"], "g"),  # elsewhere
    ],
)
def test_reason_for_what_is_reached_is_a_problem(codes, function):
    reasons = [*reasons_for("return 0", "if n: → for n in x:"), *reasons_for(*codes, function=function)]
    (problem,) = report.held(found(), reasons)
    assert problem == f"a reason in uncovered.toml, but reached by a test, or gone: {reasons[1][1][0]}"


def test_report_has_each_reason_once_and_what_is_wrong():
    summary = {
        "covered_branches": 2, "num_branches": 4, "covered_lines": 6, "num_statements": 7, "percent_covered": 72.7,
    }  # fmt: skip
    data, files = {"totals": summary}, {"scratch/a.py": {**FILE, "summary": summary}}
    text = report.markdown(data, files, [*reasons_for("return 0"), *reasons_for("a → b")], ["something"])
    assert text.count("On Windows only.\n") == 1
    assert "- scratch/a.py, f: `return 0`\n- scratch/a.py, f: `a → b`\n" in text
    assert "| scratch/a.py | 6 of 7  | 2 of 4     | 72.70 %   |" in text
    assert text.endswith("## What is wrong\n\n- something\n")


def test_a_file_has_its_name_from_the_package_on():
    assert report.in_package("/somewhere/oracle/site-packages/oracle/cli/check.py") == "oracle/cli/check.py"
