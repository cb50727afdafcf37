"""Comparing two arrays entry by entry: what agrees, which entry is the worst, and what the message says."""

import numpy as np
import pytest

from oracle.catalog.case import Case
from oracle.judge.comparison import Comparison, compare

CASE = Case("Affine", "float64", (("x", (2, 3)),))
NAN, INF = np.nan, np.inf


def compared(actual, expected, bound=0.0, left_out=None, case=CASE):
    return compare("dW", "backprop-numerical", case, np.asarray(actual), np.asarray(expected), bound, left_out)


def test_equal_arrays_agree_with_margin_0_whatever_the_bound():
    comparison = compared([1.0, -2.0], [1.0, -2.0], bound=0.0)
    assert comparison.agrees
    assert (comparison.margin, comparison.max_abs, comparison.max_rel, comparison.mean_abs) == (0, 0, 0, 0)
    assert (comparison.entries, comparison.wrong, comparison.left_out) == (2, 0, 0)


@pytest.mark.parametrize(
    ("error", "agrees"),
    [(0.5, True), (1.0, True), (np.nextafter(1.0, 2), False), (2.0, False)],
    ids=["half the bound", "the bound itself", "the next number above it", "twice the bound"],
)
def test_agreement_is_an_error_up_to_the_bound(error, agrees):
    comparison = compared([error], [0.0], bound=1.0)
    assert comparison.agrees is agrees
    assert comparison.margin == error
    assert comparison.wrong == (not agrees)


def test_worst_entry_is_the_one_with_the_largest_margin_not_the_largest_error():
    actual, expected = [[1.0, 100.0], [2.0, 3.0]], [[1.0, 101.0], [2.5, 3.0]]
    comparison = compared(actual, expected, bound=np.array([[1.0, 10.0], [0.1, 1.0]]))
    assert comparison.index == (1, 0)
    assert (comparison.actual, comparison.expected) == (2.0, 2.5)
    assert (comparison.error, comparison.bound) == (0.5, 0.1)
    assert comparison.margin == pytest.approx(5)
    assert comparison.max_abs == 1.0  # that of the other entry
    assert comparison.max_rel == 0.2
    assert comparison.mean_abs == 1.5 / 4
    assert comparison.wrong == 1


def test_one_wrong_entry_among_many_is_not_averaged_away():
    expected = np.random.default_rng(0).normal(size=(784, 50))
    actual = expected.copy()
    actual[700, 31] /= 2
    comparison = compared(actual, expected, bound=1e-12 * np.abs(expected))
    assert comparison.index == (700, 31)
    assert comparison.wrong == 1
    assert not comparison.agrees


def test_message_names_the_quantity_the_index_and_both_values():
    comparison = compared([[0.0, 0.5, 0.0]], [[0.0, 0.25, 0.0]], bound=1e-9)
    assert str(comparison).startswith("dW[0, 1] = 0.5, but should be 0.25 (backprop-numerical: error 0.25, ")
    assert str(comparison).endswith("bound 1e-09, 1 of 3 entries wrong)")


def test_message_of_a_scalar_has_no_index():
    assert str(compared(0.5, 0.25)).startswith("dW = 0.5, but should be 0.25 (")


def test_comparison_says_what_was_compared():
    for comparison in (compared([1.0], [1.0]), compared([1.0], [1.0, 2.0]), compared([], [])):
        assert (comparison.quantity, comparison.pair, comparison.case) == ("dW", "backprop-numerical", CASE)


# ----------------------------------------------------------------------------- NaN and infinity


@pytest.mark.parametrize("value", [NAN, INF, -INF], ids=["NaN", "inf", "-inf"])
def test_the_same_special_value_on_both_sides_agrees(value):
    comparison = compared([value, 1.0], [value, 1.0])
    assert comparison.agrees
    assert comparison.margin == 0
    assert comparison.max_abs == 0


@pytest.mark.parametrize(
    ("actual", "expected"),
    [(NAN, 1.0), (1.0, NAN), (INF, 1.0), (1.0, INF), (INF, -INF), (-INF, INF), (NAN, INF), (INF, NAN)],
    ids=str,
)
@pytest.mark.parametrize("bound", [0.0, 1.0, 1e300])
def test_a_special_value_on_one_side_is_wrong_whatever_the_bound(actual, expected, bound):
    comparison = compared([0.0, actual], [0.0, expected], bound)
    assert not comparison.agrees
    assert comparison.margin == INF
    assert comparison.index == (1,)
    assert comparison.wrong == 1


@pytest.mark.parametrize("actual", [NAN, INF, -INF], ids=str)
def test_a_special_value_on_one_side_is_an_infinite_error_in_every_figure(actual):
    comparison = compared([0.0, actual], [0.0, 1.0], bound=1.0)
    assert (comparison.error, comparison.max_abs, comparison.max_rel, comparison.mean_abs) == (INF, INF, INF, INF)


def test_nan_beside_a_larger_finite_error_is_the_worst_entry():
    comparison = compared([1e9, NAN, 0.0], [0.0, 1.0, 0.0], bound=1.0)
    assert comparison.index == (1,)
    assert np.isnan(comparison.actual)


@pytest.mark.parametrize("bound", [NAN, INF], ids=["NaN", "inf"])
def test_a_bound_that_is_not_a_number_excuses_nothing(bound):
    """An infinite or undefined bound comes from a source that has no answer: it must not pass for agreement."""
    assert not compared([1.0], [2.0], bound=np.array([bound])).agrees


@pytest.mark.parametrize("bound", [NAN, INF], ids=["NaN", "inf"])
def test_a_bound_that_is_not_a_number_is_exceeded_infinitely(bound):
    assert compared([1.0], [2.0], bound=np.array([bound])).margin == INF


def test_overflow_and_invalid_operations_of_the_comparison_itself_warn_nobody():
    # 1.7e308 − (−1.7e308) overflows, 0/0 is invalid: warnings are errors here.
    comparison = compared([1.7e308, 0.0], [-1.7e308, 0.0])
    assert comparison.error == INF
    assert not comparison.agrees


@pytest.mark.parametrize("expected", [NAN, INF], ids=["NaN", "inf"])
@pytest.mark.parametrize("bound", [NAN, INF, 1.0], ids=["NaN", "inf", "1"])
def test_special_values_in_the_bound_warn_nobody_either(expected, bound):
    assert compared([expected, 1.0], [expected, 1.0], bound=np.array([bound, 1.0])).agrees


# ----------------------------------------------------------------------------- what is left out, what is zero


def test_entries_left_out_are_counted_and_not_compared():
    comparison = compared([1.0, 5.0, 3.0], [1.0, 4.0, 3.0], left_out=np.array([False, True, False]))
    assert comparison.agrees
    assert (comparison.entries, comparison.left_out, comparison.wrong) == (2, 1, 0)
    assert comparison.max_abs == comparison.mean_abs == 0


def test_worst_index_counts_the_entries_that_are_left_out():
    comparison = compared([9.0, 9.0, 3.5], [1.0, 4.0, 3.0], left_out=np.array([True, True, False]))
    assert comparison.index == (2,)
    assert not comparison.agrees


def test_all_entries_left_out_leave_nothing_to_compare():
    comparison = compared([1.0, 5.0], [2.0, 6.0], left_out=np.array([True, True]))
    assert comparison.agrees
    assert comparison == Comparison(
        "dW",
        "backprop-numerical",
        CASE,
        index=(),
        actual=0,
        expected=0,
        error=0,
        bound=0,
        margin=0,
        entries=0,
        left_out=2,
        zero_both=0,
        wrong=0,
        max_abs=0,
        max_rel=0,
        mean_abs=0,
        noticed=0,
    )


def test_zero_on_both_sides_is_counted_where_it_is_compared():
    actual, expected = [0.0, 0.0, 1.0, -0.0, 0.0], [0.0, 1.0, 1.0, 0.0, 0.0]
    left_out = np.array([False, False, False, False, True])
    comparison = compared(actual, expected, bound=2.0, left_out=left_out)
    assert comparison.zero_both == 2
    assert comparison.margin == 0.5


def test_zero_instead_of_a_number_is_a_relative_error_of_1():
    comparison = compared([0.0, 1.0], [4.0, 1.0], bound=1.0)
    assert comparison.max_rel == 1
    assert comparison.zero_both == 0


def test_number_instead_of_zero_has_no_relative_error():
    assert compared([4.0, 1.0], [0.0, 1.0], bound=1.0).max_rel == 0
    assert compared([4.0], [0.0], bound=1.0).max_rel == 0


def test_noticed_is_the_largest_bound_relative_to_the_largest_entry():
    comparison = compared([2.0, 8.0], [2.0, 8.0], bound=np.array([0.004, 0.001]))
    assert comparison.noticed == 0.0005


def smallest_with_digits(dtype):
    """Below it, the smallest normal number has no digits in which an error could show."""
    info = np.finfo(dtype)
    return float(info.smallest_normal) / float(info.eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_is_noticed_beside_entries_without_digits(dtype):
    case = Case("Affine", dtype, (("x", (2, 3)),))
    smallest = smallest_with_digits(dtype)
    for largest, noticed in [(2 * smallest, 0.25), (smallest, 0), (smallest / 2, 0), (INF, 0)]:
        assert compared([largest], [largest], bound=smallest / 2, case=case).noticed == noticed
    assert compared([INF], [INF], bound=INF, case=case).noticed == 0


def test_noticed_leaves_out_what_is_left_out():
    comparison = compared([1.0, 8.0], [1.0, 8.0], bound=np.array([0.5, 100.0]), left_out=np.array([False, True]))
    assert comparison.noticed == 0.5


def test_relative_errors_are_over_what_is_compared_and_not_0():
    """A relative error of an entry that was left out, or whose expected value is 0, is none."""
    actual, expected, left_out = [3.0, 1.0, 2.0], [1.0, 0.0, 4.0], np.array([True, False, False])
    assert compared(actual, expected, bound=1.0, left_out=left_out).max_rel == 0.5
    assert compared([NAN, 2.0], [NAN, 4.0], bound=1.0).max_rel == 0.5


# ----------------------------------------------------------------------------- shapes and dtypes


@pytest.mark.parametrize(
    ("actual", "expected"),
    [((2, 3), (3, 2)), ((1, 3), (3,)), ((), (1,)), ((0,), (0, 2)), ((2, 3), ())],
    ids=str,
)
def test_other_shapes_are_wrong_and_the_message_says_so(actual, expected):
    comparison = compared(np.zeros(actual), np.zeros(expected), bound=1.0)
    assert not comparison.agrees
    assert str(comparison) == f"dW: has shape {actual}, but should have shape {expected}"


def test_arrays_of_other_shapes_are_infinitely_wrong_in_no_entry():
    comparison = compared([1.0], [1.0, 2.0], bound=1.0)
    assert np.isnan([comparison.actual, comparison.expected]).all()
    figures = (comparison.error, comparison.margin, comparison.max_abs, comparison.max_rel, comparison.mean_abs)
    assert figures == (INF, INF, INF, INF, INF)
    assert comparison.noticed == INF
    assert (comparison.index, comparison.bound) == ((), 0)
    assert (comparison.entries, comparison.left_out, comparison.zero_both, comparison.wrong) == (0, 0, 0, 0)


def test_two_arrays_that_agree_in_a_shape_that_is_wrong_have_neither_bound_nor_kinks():
    """Bounds and kinks belong to the shape that would be right: here nothing is excused, and nothing left out."""
    bound, left_out = np.ones((2, 3)), np.ones((2, 3), bool)
    comparison = compared([1.0, 2.0], [1.0, 2.5], bound, left_out)
    assert (comparison.entries, comparison.left_out, comparison.wrong) == (2, 0, 1)
    assert (comparison.bound, comparison.margin) == (0, INF)


def test_longer_dtypes_are_compared_in_double_precision():
    """Beyond that no source has digits, and the figures are plain numbers."""
    wide = np.array([1.0], np.longdouble) + np.longdouble(2) ** -60
    assert compared(wide, [1.0]).agrees
    assert compared([1.0], wide).agrees
    assert compared([1.0], [1.25], bound=np.array([0.25 - np.longdouble(2) ** -60])).wrong == 0
    assert compared(np.array([True]), np.array([False]), bound=1.0).error == 1


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 4)], ids=str)
def test_empty_arrays_agree_and_count_nothing(shape):
    comparison = compared(np.zeros(shape), np.zeros(shape))
    assert comparison.agrees
    assert (comparison.entries, comparison.left_out, comparison.zero_both, comparison.wrong) == (0, 0, 0, 0)


def test_bound_for_each_row_holds_for_its_entries():
    comparison = compared([[1.5, 1.5], [1.5, 1.5]], np.ones((2, 2)), bound=np.array([[1.0], [0.1]]))
    assert comparison.wrong == 2
    assert comparison.index[0] == 1


def test_float32_is_compared_as_the_number_that_it_is():
    comparison = compared(np.array([0.1], np.float32), np.array([0.1]), bound=1e-10)
    assert not comparison.agrees
    assert comparison.actual == 0.10000000149011612  # the float32 nearest to 0.1


@pytest.mark.parametrize("scale", [2.0**-900, 2.0**-10, 1.0, 2.0**900])
def test_errors_in_ulp_are_those_of_the_largest_entry_at_every_scale(scale):
    expected = scale * np.array([1.5, 0.001])
    assert compared(expected + 3 * np.spacing(expected[0]), expected).ulps == pytest.approx(3, abs=0.01)


def test_errors_in_ulp_are_those_of_the_dtype_of_the_case():
    case = Case("Affine", "float32", (("x", (2, 3)),))
    one = np.float32(1)
    found = compare("dW", "backprop-numerical", case, np.nextafter(one, np.float32(2)), np.ones(()), 1.0)
    assert found.ulps == 1


def test_there_are_no_ulp_where_there_are_no_digits_and_infinitely_many_where_shapes_differ():
    assert compared([5e-324], [0.0]).ulps == 0
    assert compared([1.0], [[1.0]]).ulps == INF
