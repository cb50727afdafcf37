"""Cases and their arrays: the same ones every time, valid by construction, and what their corner and layout say."""

import inspect
import pickle
from dataclasses import replace

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import scratch
from oracle.catalog.case import LAYOUTS, Case, lay_out, materialise, select_rows
from oracle.catalog.corners import CORNERS, ORDINARY, SMALL_INTEGERS
from oracle.catalog.record import BATCH, resolve
from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import cases, corners_of, generated_cases, real_data_case
from oracle.data.digits import load_digits
from oracle.subjects.in_process import implementation_of

DTYPES = ("float64", "float32")
EVERY_CORNER = [
    pytest.param(name, dtype, corner, id=f"{name}-{dtype}-{corner}")
    for name, record in RECORDS.items()
    for dtype in DTYPES
    for corner in corners_of(record, dtype)
]
each_corner = pytest.mark.parametrize(("name", "dtype", "corner"), EVERY_CORNER)
each_record = pytest.mark.parametrize("name", RECORDS)
any_case = st.sampled_from(list(RECORDS.values())).flatmap(cases)
deterministic = hypothesis.settings(derandomize=True, deadline=None, database=None, max_examples=100)


def drawn(name, dtype="float64", corner=ORDINARY, count=6, seed=0):
    return list(generated_cases(RECORDS[name], dtype, corner, count, seed))


def arrays_of(case):
    return materialise(case, RECORDS[case.record])


# ----------------------------------------------------------------------------- records

#: Public functions of scratch that need no record, with the reason.
WITHOUT_RECORD = {"numerical_gradient": "a way to differentiate, not a thing to be differentiated"}


def is_to_be_judged(name):
    """Layers and losses have a forward, networks a gradient; of functions, all but the exceptions."""
    thing = getattr(scratch, name)
    if inspect.isfunction(thing):
        return name not in WITHOUT_RECORD
    return hasattr(thing, "forward") or hasattr(thing, "gradient")


def test_every_public_layer_loss_function_and_network_has_a_record():
    recorded = {record.implementation for record in RECORDS.values()}
    assert recorded == {f"scratch:{name}" for name in scratch.__all__ if is_to_be_judged(name)}
    assert WITHOUT_RECORD.keys() <= set(scratch.__all__)


def test_record_is_found_under_its_own_name():
    assert {name: record.name for name, record in RECORDS.items()} == {name: name for name in RECORDS}


@each_record
def test_implementation_has_what_the_record_says(name):
    record = RECORDS[name]
    implementation = resolve(record.implementation)
    wanted = {
        "layer": ("forward", "backward") if record.has_backward else ("forward",),
        "function": ("__call__",),
        "network": ("predict", "loss", "accuracy", "gradient", "numerical_gradient"),
    }
    assert all(hasattr(implementation, method) for method in wanted[record.convention])


@each_record
def test_corners_of_a_record_are_known_and_named_once(name):
    corners = RECORDS[name].corners
    assert set(corners) <= CORNERS.keys() - {ORDINARY}
    assert len(corners) == len(set(corners))


def test_every_corner_belongs_to_a_record():
    drawn = CORNERS.keys() - {ORDINARY, SMALL_INTEGERS}
    assert {corner for record in RECORDS.values() for corner in record.corners} == drawn


@each_record
def test_axes_of_a_corner_are_axes_of_the_record(name):
    """A corner that sets a size of an axis the record has not would change nothing."""
    record = RECORDS[name]
    axes = {axis for argument in record.arguments for axis in argument.axes}
    for corner in (CORNERS[c] for c in record.corners):
        assert {*corner.sizes, *corner.unfolds} <= axes
        assert not corner.drops_batch_axis or BATCH in axes


# ----------------------------------------------------------------------------- strategies


@deterministic
@hypothesis.given(any_case)
def test_every_case_is_valid(case):
    """By construction: it has arrays of its shapes, and the implementation takes them."""
    record = RECORDS[case.record]
    arrays = arrays_of(case)
    shapes = dict(case.shapes)
    labels = {a.name for a in record.of_role("target")} if case.targets == "labels" else set()
    for name, array in arrays.everything().items():
        assert array.shape == (shapes[name][:-1] if name in labels else shapes[name])
        assert np.isfinite(array).all()
    handle = implementation_of(record).open(arrays.parameters)
    output = handle.forward(arrays.inputs).values[record.outputs[0]]
    assert output.shape == arrays.dout.shape


@deterministic
@hypothesis.given(any_case)
def test_case_is_plain_data(case):
    assert pickle.loads(pickle.dumps(case)) == case
    assert hash(case) == hash(replace(case))
    assert eval(repr(case), {"Case": Case}) == case
    text = str(case)
    for part in (case.record, case.dtype, case.corner, case.layout, f"seed {case.seed}", f"scale {case.scale:g}"):
        assert part in text


@pytest.mark.parametrize("dtype", DTYPES)
@each_record
def test_axes_of_an_ordinary_case_all_differ(name, dtype):
    """Square shapes hide transposes; sizes 0 and 1 are corners."""
    record = RECORDS[name]
    for case in drawn(name, dtype, count=25):
        sizes = {}
        for argument in record.arguments:
            sizes.update(zip(argument.axes, dict(case.shapes)[argument.name], strict=False))
        assert len(set(sizes.values())) == len(sizes)
        assert min(sizes.values(), default=2) >= 2
        if not sizes and len(record.arguments) == 1:
            (shape,) = {shape for key, shape in case.shapes if key != "dout"}
            assert len(set(shape)) == len(shape)


@each_record
def test_ordinary_cases_are_not_all_alike(name):
    """The examples reach every layout, scale and form of target."""
    record = RECORDS[name]
    found = drawn(name, count=60)
    assert {case.layout for case in found} == set(LAYOUTS)
    assert {case.scale for case in found} == set(record.scales)
    assert {case.targets for case in found} == set(record.target_forms or [""])
    assert len({case.shapes for case in found}) > 5
    assert len({case.seed for case in found}) > 10


@each_corner
def test_generated_cases_are_the_same_for_the_same_seed(name, dtype, corner):
    first, again = drawn(name, dtype, corner, seed=3), drawn(name, dtype, corner, seed=3)
    assert first == again
    assert len(first) == 6
    assert {(case.record, case.dtype, case.corner) for case in first} == {(name, dtype, corner)}


@each_record
def test_generated_cases_differ_between_seeds(name):
    assert drawn(name, seed=1) != drawn(name, seed=2)


def test_generated_cases_leave_no_database_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn("Affine", count=2)
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------- corners


def is_integer(arrays, shapes):
    return arrays.inputs["x"].dtype == np.int64 and (arrays.inputs["x"] != 0).all()


def has_extremes(arrays, shapes):
    x = arrays.inputs["x"]
    return np.isin(x, [-1e4, 1e4]) | (np.abs(x) < 1e4)


def is_one_decimal(arrays, shapes):
    x = np.asarray(arrays.inputs["x"], np.float64)
    return np.abs(x * 10 - np.round(x * 10)) <= 1e-5 * np.maximum(np.abs(x), 1)  # float32 of a tenth


WHAT_CORNERS_SAY = {
    ORDINARY: lambda a, shapes: True,
    "batch of 1": lambda a, shapes: shapes[0][0] == 1,
    "batch of 0": lambda a, shapes: shapes[0][0] == 0 and a.dout.shape[0] == 0,
    "single sample": lambda a, shapes: len(shapes[0]) == 1,
    "tensor shape": lambda a, shapes: len(shapes[0]) == 4 and len(set(shapes[0][1:])) == 3,
    "one class": lambda a, shapes: shapes[0][-1] == 1,
    "as many classes as rows": lambda a, shapes: shapes[0][0] == shapes[0][1] >= 2,
    "scalars": lambda a, shapes: set(shapes) == {()},
    "empty": lambda a, shapes: 0 in a.dout.shape,
    "integer input": is_integer,
    "extreme values": has_extremes,
    "exact zeros": lambda a, shapes: True,  # see below: not in every case
    "large values": lambda a, shapes: True,  # see below
    "one decimal": is_one_decimal,
}


def test_every_corner_is_described_here():
    assert WHAT_CORNERS_SAY.keys() == CORNERS.keys() - {SMALL_INTEGERS}


@pytest.mark.parametrize("name", ["Affine", "Sigmoid", "MulLayer"])
def test_small_integers_are_whole_numbers_other_than_0_everywhere(name):
    """No case is drawn with them: they are put into a case in which something was found."""
    for case in generated_cases(RECORDS[name], "float64", ORDINARY, 10, seed=0):
        arrays = arrays_of(replace(case, corner=SMALL_INTEGERS, scale=1.0))
        for values in arrays.everything().values():
            assert np.array_equal(values, np.round(values))
            assert np.all((np.abs(values) >= 1) & (np.abs(values) < 7))
            assert values.dtype == np.float64


@each_corner
def test_case_of_a_corner_is_what_it_says(name, dtype, corner):
    for case in drawn(name, dtype, corner):
        arrays = arrays_of(case)
        shapes = [array.shape for array in arrays.inputs.values()]
        assert np.all(WHAT_CORNERS_SAY[corner](arrays, shapes)), str(case)
        floating = [array.dtype for array in arrays.everything().values() if array.dtype.kind == "f"]
        assert set(floating) <= {np.dtype(dtype)}


@pytest.mark.parametrize("name", [name for name, r in RECORDS.items() if "large values" in r.corners])
def test_large_values_are_beyond_30_and_stand_beside_others(name):
    """Where exp of them is still finite in float32."""
    found = [arrays_of(replace(case, scale=1.0)).inputs["x"] for case in drawn(name, corner="large values", count=20)]
    entries = np.abs(np.concatenate([x.reshape(-1) for x in found]))
    assert entries.max() < 61
    assert 0.3 < np.mean(entries > 30) < 0.7


@pytest.mark.parametrize(("corner", "entries"), [("extreme values", (1e4, -1e4)), ("exact zeros", (0.0,))])
def test_corner_has_some_of_its_entries_and_some_others(corner, entries):
    for name, record in RECORDS.items():
        if corner not in record.corners:
            continue
        values = np.concatenate([arrays_of(case).inputs["x"].ravel() for case in drawn(name, corner=corner)])
        for entry in entries:
            assert (values == entry).any()
        assert not np.isin(values, entries).all()


@pytest.mark.parametrize("name", [name for name, r in RECORDS.items() if r.stack and "one decimal" in r.corners])
def test_numbers_with_one_decimal_put_pre_activations_at_the_kink(name):
    """What the corner is for: sums that cancel to 0 in one order of summation and to 1e-17 in another.

    That takes weights and biases with one decimal as well as inputs.
    """
    if "Relu" not in [layer for layer, _ in RECORDS[name].stack]:
        pytest.skip("there is no Relu in it")
    nearest = np.inf
    for case in drawn(name, corner="one decimal", count=60):
        arrays = arrays_of(case)
        pre_activations = arrays.inputs["x"] @ arrays.parameters["W1"] + arrays.parameters["b1"]
        nearest = min(nearest, np.abs(pre_activations).min())
    assert nearest < 1e-15


# ----------------------------------------------------------------------------- arrays


@each_corner
def test_arrays_are_the_same_every_time_and_new_every_time(name, dtype, corner):
    for case in drawn(name, dtype, corner, count=3):
        first, again = arrays_of(case).everything(), arrays_of(case).everything()
        assert first.keys() == again.keys()
        for key, array in first.items():
            np.testing.assert_array_equal(array, again[key])
            assert array.dtype == again[key].dtype
            assert array.strides == again[key].strides
            assert not np.shares_memory(array, again[key])


def test_arrays_depend_on_the_seed():
    (case,) = drawn("Affine", count=1)
    first, other = arrays_of(case).everything(), arrays_of(replace(case, seed=case.seed + 1)).everything()
    assert not any(np.array_equal(first[name], other[name]) for name in first)


def test_values_do_not_depend_on_the_layout():
    (case,) = drawn("Affine", count=1)
    expected = arrays_of(replace(case, layout="contiguous")).everything()
    for layout in LAYOUTS:
        for name, array in arrays_of(replace(case, layout=layout)).everything().items():
            np.testing.assert_array_equal(array, expected[name])


@deterministic
@hypothesis.given(any_case)
def test_upstream_gradient_is_never_all_ones(case):
    """With ones, or the sum as the loss, a softmax whose backward returns zeros would pass."""
    record, dout = RECORDS[case.record], arrays_of(case).dout
    if record.takes_dout:
        assert not (dout == 1).any()
        assert not (dout == 0).any()
        assert dout.size < 2 or np.unique(dout).size == dout.size
    else:
        assert dout.shape == ()
        assert dout == 1


@deterministic
@hypothesis.given(any_case)
def test_arrays_of_a_case_share_no_memory(case):
    arrays = list(arrays_of(case).everything().values())
    for k, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in arrays[k + 1 :])


@pytest.mark.parametrize("form", ["one-hot", "labels", "soft", "unnormalised"])
@pytest.mark.parametrize("corner", [ORDINARY, "single sample", "one class", "batch of 1"])
def test_targets_have_the_form_that_the_case_says(form, corner):
    for case in drawn("SoftmaxWithLoss", corner=corner):
        arrays = arrays_of(replace(case, targets=form))
        x, t = arrays.inputs.values()
        classes = x.shape[-1]
        if form == "labels":
            assert t.dtype == np.int64
            assert t.shape == x.shape[:-1]
            assert ((t >= 0) & (t < classes)).all()
            continue
        assert t.shape == x.shape
        assert t.dtype == np.float64
        assert (t >= 0).all()
        if form == "one-hot":
            assert np.isin(t, [0, 1]).all()
        if form in ("one-hot", "soft"):
            np.testing.assert_allclose(t.sum(axis=-1), 1, rtol=1e-15)
        if form == "unnormalised":
            assert not np.isclose(t.sum(axis=-1), 1).all()


def test_probabilities_are_probabilities():
    for case in drawn("cross_entropy_error", count=20):
        y = arrays_of(case).inputs["y"]
        assert (y > 0).all()
        np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-15)


def test_scale_of_a_case_is_that_of_its_inputs():
    (case,) = drawn("Sigmoid", count=1)
    case = replace(case, shapes=(("x", (40, 50)), ("dout", (40, 50))))
    for scale in RECORDS["Sigmoid"].scales:
        arrays = arrays_of(replace(case, scale=scale))
        # 2,000 normal numbers: their standard deviation is known to 1/√4000.
        assert np.std(arrays.inputs["x"]) == pytest.approx(scale, rel=0.1)
        assert np.std(arrays.dout) == pytest.approx(1, rel=0.1)


# ----------------------------------------------------------------------------- layouts


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (5,), (), (0, 3)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_is_what_it_says_in_memory_of_its_own(layout, shape, dtype):
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    laid = lay_out(values, layout)
    np.testing.assert_array_equal(laid, values)
    assert laid.dtype == values.dtype
    assert not np.shares_memory(laid, values)
    assert laid.flags.writeable is (layout != "read-only")
    several = [side for side in shape if side > 1]
    if layout == "Fortran":
        assert laid.flags.f_contiguous
        assert not laid.flags.c_contiguous or len(several) < 2
    elif layout == "strided" and laid.size:
        assert all(stride < 0 for stride, side in zip(laid.strides, shape, strict=True) if side > 1)
        assert not (laid.flags.c_contiguous or laid.flags.f_contiguous) or not several
    else:
        assert laid.flags.c_contiguous


def test_who_reads_past_the_strides_meets_nan_or_no_label():
    floats = lay_out(np.ones((2, 3)), "strided")
    base = floats.base
    assert base.size == 4 * floats.size
    assert np.isnan(base).sum() == base.size - floats.size
    labels = lay_out(np.arange(3), "strided")
    assert (labels.base < 0).sum() == labels.base.size - labels.size


# ----------------------------------------------------------------------------- rows of a batch


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_are_taken_of_what_has_a_batch_axis_and_of_nothing_else(layout):
    case = replace(drawn("Affine", count=1)[0], layout=layout)
    everything = arrays_of(case).everything()
    rows = [1, 0]
    chosen = select_rows(case, RECORDS["Affine"], everything, rows)
    for name in ("x", "dout"):
        np.testing.assert_array_equal(chosen[name], everything[name][rows])
        assert not np.shares_memory(chosen[name], everything[name])
    for name in ("W", "b"):
        np.testing.assert_array_equal(chosen[name], everything[name])


def test_rows_of_a_loss_leave_its_scalar_dout_alone():
    (case,) = drawn("SoftmaxWithLoss", count=1)
    everything = arrays_of(case).everything()
    chosen = select_rows(case, RECORDS["SoftmaxWithLoss"], everything, slice(0, 1))
    assert chosen["x"].shape[0] == chosen["t"].shape[0] == 1
    assert chosen["dout"] == everything["dout"]


# ----------------------------------------------------------------------------- real data


@pytest.mark.parametrize("name", [name for name, record in RECORDS.items() if record.real_data])
def test_case_on_real_digits_has_the_first_digits_and_their_labels(name):
    record, digits = RECORDS[name], load_digits()
    hidden = (50, 40, 30)[: len(record.parameters) // 2 - 1]
    case = real_data_case(record, "float64", "digits", 3, 64, hidden, seed=0)
    arrays = materialise(case, record, {"digits": digits})
    np.testing.assert_array_equal(arrays.inputs["x"], digits.images[:3])
    assert arrays.inputs["t"].argmax(axis=1).tolist() == digits.labels[:3].tolist()
    assert arrays.inputs["t"].shape == (3, 10)
    assert "data digits" in str(case)
