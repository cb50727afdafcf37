"""Every layer of ours, every check.

The first test draws cases of any corner, layout, scale and seed, and shrinks what it finds. The second has a name
for each layer and check, such as `Affine-dout_is_not_modified`, and demands that the check was really made.
"""

import functools

import hypothesis
import pytest

from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import cases, corners_of, generated_cases
from oracle.judge.checks import CHECKS, checks_for
from oracle.judge.examination import AT_A_KINK, RUNS, examine
from oracle.sources.autograd import is_available
from oracle.subjects.in_process import implementation_of

DTYPES = ("float64", "float32")
#: Of each corner, in each dtype. Each corner has a seed of its own: with one seed for all, the layouts, scales and
#: forms of target would be the same three in every corner.
CASES_PER_CORNER = 5


def message(examination):
    """Which check, what it found, and the case to replay it with."""
    return "".join(f"\n{f.check}: {f.sentence}\n    {f.case!r}" for f in examination.findings)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RECORDS)
def test_nothing_is_found_in_any_case(name, dtype):
    record = RECORDS[name]

    @hypothesis.settings(derandomize=True, deadline=None, database=None, max_examples=15)
    @hypothesis.given(cases(record, dtype))
    def nothing_is_found(case):
        examination = examine(implementation_of(record), [case], dtype=dtype, required=True)
        assert not examination.findings, message(examination)
        assert examination.verdict == "right"

    nothing_is_found()


@functools.cache
def examinations(name):
    """Of one layer in both dtypes; made once for all checks."""
    record = RECORDS[name]
    return [
        examine(
            implementation_of(record),
            [
                case
                for seed, corner in enumerate(corners_of(record, dtype))
                for case in generated_cases(record, dtype, corner, CASES_PER_CORNER, seed)
            ],
            dtype=dtype,
            required=True,
        )
        for dtype in DTYPES
    ]


EVERY_CHECK = [
    pytest.param(name, check, id=f"{name}-{check}")
    for name, record in RECORDS.items()
    for check in (RUNS, *(c.name for c in checks_for(record)))
]


def needs_the_twin(check):
    return check != RUNS and "autograd" in (CHECKS[check].compares or ())


@pytest.mark.parametrize(("name", "check"), EVERY_CHECK)
def test_check_is_made_and_passes(name, check):
    if needs_the_twin(check) and not is_available():
        pytest.skip("PyTorch is not installed, and this check compares with its twin")
    for examination in examinations(name):
        found = [finding for finding in examination.findings if finding.check == check]
        assert not found, message(examination)
        tally = examination.tallies[check]
        assert tally.cases > 0
        assert tally.failed == 0


@pytest.mark.parametrize("name", RECORDS)
def test_verdict_is_right_and_something_was_compared(name):
    for examination in examinations(name):
        assert examination.verdict == "right", message(examination)
        assert examination.tallies[RUNS].cases == examination.cases > CASES_PER_CORNER
        compared = examination.comparisons
        assert max(comparison.margin for comparison in compared) <= 1
        # Not zero with zero, and not all of it left out.
        for quantity in {comparison.quantity for comparison in compared}:
            of_quantity = [comparison for comparison in compared if comparison.quantity == quantity]
            assert sum(c.entries for c in of_quantity) > sum(c.zero_both for c in of_quantity)
            assert sum(c.entries for c in of_quantity) > sum(c.left_out for c in of_quantity)


@pytest.mark.parametrize("name", [name for name, record in RECORDS.items() if record.has_backward])
def test_ours_is_differentiated_by_complex_step(name):
    """It accepts complex numbers and branches on their real part, so that the reference has no error of its own.

    Beside a kink there is no derivative, and no way to it that could be trusted.
    """
    for examination in examinations(name):
        assert examination.methods["complex step"] > 0
        assert set(examination.methods) == {"complex step"} or examination.skipped[AT_A_KINK] > 0


@pytest.mark.parametrize("name", [name for name, r in RECORDS.items() if r.kink_distance is not None])
def test_kinks_occur_and_are_counted(name):
    """Otherwise the convention at the kink would have been compared with nothing."""
    for examination in examinations(name):
        assert examination.skipped[AT_A_KINK] > 0


@pytest.mark.parametrize("check", [check for check in CHECKS if needs_the_twin(check)])
def test_without_the_twin_its_checks_are_not_counted_as_passed(check):
    """A check that compared nothing must not stand in the report as one that passed."""
    for record in RECORDS.values():
        if CHECKS[check].for_record(record):
            (case,) = generated_cases(record, "float64", "ordinary", 1, seed=1)
            examination = examine(implementation_of(record), [case], dtype="float64", with_autograd=False)
            assert check not in examination.tallies


def test_convention_at_a_kink_is_not_compared_without_the_twin():
    """It is the one check that looks at autograd by itself instead of being told that it compares with it."""
    record = RECORDS["Relu"]
    found = list(generated_cases(record, "float64", "exact zeros", 3, seed=1))
    examination = examine(implementation_of(record), found, dtype="float64", with_autograd=False)
    assert examination.skipped[AT_A_KINK] > 0
    assert "kink_convention_is_that_of_pytorch" not in examination.tallies
