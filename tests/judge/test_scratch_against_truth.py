"""``scratch`` against truth: every quantity of every record within its bound, and no worse than PyTorch.

The bound is that of backprop alone, eps·(n + 8)·scale, without anything for a reference: truth has no error of its own.
"""

import math

import numpy as np
import pytest

import scratch
from oracle.catalog.records import RECORDS
from oracle.catalog.rounding import LOCAL
from oracle.catalog.strategies import corners_of, generated_cases
from oracle.judge.trial import Trial
from oracle.sources.autograd import autograd, is_available
from oracle.sources.truth import truth
from oracle.subjects.in_process import implementation_of

DTYPES = ("float64", "float32")
#: Gradients without sums of terms that may cancel: for hard targets, where there are targets.
IN_ULP = ("Sigmoid", "Relu", "SoftmaxWithLoss", "SigmoidWithLoss", "IdentityWithLoss")
HARD = ("", "one-hot", "labels", "binary", "values")
ULP = 4
CASES = 40


def trials(name, dtype, corner, count):
    for case in generated_cases(RECORDS[name], dtype, corner, count, seed=4):
        yield Trial(implementation_of(RECORDS[name]), case, with_autograd=False).run()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", IN_ULP)
def test_gradient_is_within_4_ulp(name, dtype):
    record = RECORDS[name]
    for corner in corners_of(record, dtype):
        for trial in trials(name, dtype, corner, 12):
            if trial.case.targets not in HARD:
                continue
            given = trial.arrays()
            exact = truth(record, given.inputs, given.parameters, given.dout)
            errors = exact.error_in_ulp("dx", trial.estimates["backprop"].values["dx"], dtype)
            assert errors.max(initial=0) <= ULP, str(trial.case)


#: In bounds: which of two worsts of a few dozen cases is larger is a matter of chance where both are below a 16th of
#: their bounds: of the cases drawn, which are others where other modules are loaded, and of the order of sums, which
#: hangs on where arrays lie in memory. With 16 other seeds (2,048 pairs) ours was over twice PyTorch's, and over a
#: 32nd, in 8, all below 0.08; PyTorch's over twice ours in 253.
CHANCE = 1 / 16


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RECORDS)
def test_every_quantity_is_within_its_bound_and_no_worse_than_twice_the_worst_of_pytorch(name, dtype):
    assert LOCAL <= 8
    record = RECORDS[name]
    ours: dict[str, float] = {}
    theirs: dict[str, float] = {}
    for corner in corners_of(record, dtype):
        for trial in trials(name, dtype, corner, CASES if corner == "ordinary" else CASES // 4):
            given = trial.arrays()
            exact = truth(record, given.inputs, given.parameters, given.dout)
            values = {"ours": trial.estimates["backprop"].values}
            if is_available():
                twin = autograd(record, given.inputs, given.parameters, given.dout, dtype=dtype)
                values["theirs"] = twin.values
            for quantity in exact.rest.keys() & values["ours"].keys():
                bound = trial.bounds.errors["backprop"][quantity]
                kept = ~trial.not_comparable(quantity, bound, exact.rest[quantity].shape)
                margins = {who: _margins(exact, quantity, of[quantity], bound)[kept] for who, of in values.items()}
                # Infinite where the truth exceeds the dtype is right.
                worst = margins["ours"].max(initial=0)
                assert worst <= 1, (str(trial.case), quantity)
                ours[quantity] = max(ours.get(quantity, 0), worst)
                if "theirs" in margins:
                    inside = margins["theirs"][margins["theirs"] <= 1]
                    theirs[quantity] = max(theirs.get(quantity, 0), inside.max(initial=0))
    for quantity, worst in theirs.items():
        assert ours[quantity] <= 2 * max(worst, CHANCE), (quantity, ours[quantity], worst)


def _margins(exact, quantity, actual, bound):
    actual = np.asarray(actual, np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error = np.abs((actual - exact.estimate.values[quantity]) - exact.rest[quantity])
        overflows = np.isinf(actual) & np.isinf(exact.estimate.values[quantity].astype("float32"))
        return np.where((error == 0) | overflows, 0, error / bound)


@pytest.mark.parametrize("rows", [20, 100, 1000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_over_many_rows_are_no_worse_than_twice_those_of_pytorch(rows, dtype):
    """NumPy adds one row after the other, PyTorch in pairs; the truth is an exact sum."""
    if not is_available():
        pytest.skip("PyTorch is not installed")
    worst = {"ours": 0.0, "theirs": 0.0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, W, dout = (rng.normal(size=shape).astype(dtype) for shape in ((rows, 3), (3, 50), (rows, 50)))
        affine = scratch.Affine(W, np.zeros(50, dtype))
        affine.forward(x)
        affine.backward(dout)
        added = scratch.AddLayer()
        added.forward(np.zeros((rows, 50), dtype), np.zeros(50, dtype))
        _, dy = added.backward(dout)
        given = {"x": x}, {"W": W, "b": np.zeros(50, dtype)}
        theirs = autograd(RECORDS["Affine"], *given, dout, dtype=dtype).values["db"]
        exact = np.array([math.fsum(column) for column in dout.T.astype(np.float64)])
        size = np.abs(dout).sum(axis=0, dtype=np.float64)
        for who, sums in (("ours", affine.db), ("ours", dy), ("theirs", theirs)):
            worst[who] = max(worst[who], float((np.abs(sums - exact) / size).max()))
    assert worst["ours"] <= 2 * worst["theirs"]
