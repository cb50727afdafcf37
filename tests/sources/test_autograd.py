"""PyTorch's gradient of the twins: on float64 copies, in the words of the record, and not needed to be there."""

import subprocess
import sys

import numpy as np
import pytest

from oracle.catalog.case import materialise
from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import corners_of, generated_cases
from oracle.sources import autograd as source
from oracle.sources.autograd import autograd, is_available

needs_torch = pytest.mark.skipif(not is_available(), reason="PyTorch is not installed, and it is what is asked here")
EPS = np.finfo(np.float64).eps


def one_case(name, dtype="float64", corner="ordinary", seed=0):
    (case,) = generated_cases(RECORDS[name], dtype, corner, 1, seed)
    return materialise(case, RECORDS[name])


def of(name, arrays):
    return autograd(RECORDS[name], arrays.inputs, arrays.parameters, arrays.dout).values


@needs_torch
def test_gradient_is_weighted_by_dout():
    arrays = one_case("ExpLayer")
    values = of("ExpLayer", arrays)
    np.testing.assert_allclose(values["dx"], arrays.dout * np.exp(arrays.inputs["x"]), rtol=8 * EPS)


@needs_torch
def test_affine_has_weights_of_shape_in_by_out():
    arrays = one_case("Affine")
    x, W, b, dout = arrays.inputs["x"], arrays.parameters["W"], arrays.parameters["b"], arrays.dout
    values = of("Affine", arrays)
    # Sums of at most 7 terms, relative to their sizes.
    for quantity, expected in (
        ("y", x @ W + b),
        ("dx", dout @ W.T),
        ("dW", x.T @ dout),
        ("db", dout.sum(axis=0)),
    ):
        np.testing.assert_allclose(values[quantity], expected, rtol=1e-13, atol=1e-14)


@needs_torch
def test_softmax_cross_entropy_of_the_book():
    """Softmax (0.3, 0.2, 0.5) and the target (0, 1, 0): the gradient is (0.3, −0.8, 0.5)."""
    x, t = np.log([[0.3, 0.2, 0.5]]), np.array([[0.0, 1.0, 0.0]])
    one_hot = autograd(RECORDS["SoftmaxWithLoss"], {"x": x, "t": t}, {}, np.ones(())).values
    labels = autograd(RECORDS["SoftmaxWithLoss"], {"x": x, "t": np.array([1])}, {}, np.ones(())).values
    for values in (one_hot, labels):
        np.testing.assert_allclose(values["dx"], [[0.3, -0.8, 0.5]], rtol=1e-14)
        np.testing.assert_allclose(values["loss"], -np.log(0.2), rtol=1e-14)


@needs_torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RECORDS)
def test_every_twin_gives_every_quantity_in_float64_in_every_corner(name, dtype):
    record = RECORDS[name]
    for corner in corners_of(record, dtype):
        arrays = one_case(name, dtype, corner)
        values = of(name, arrays)
        gradients = {record.gradient_name(argument) for argument in record.differentiated}
        assert {*record.outputs, *gradients} <= values.keys()
        assert {quantity: array.dtype for quantity, array in values.items()} == dict.fromkeys(values, np.float64)
        assert values[record.outputs[0]].shape == arrays.dout.shape
        for argument in record.differentiated:
            shape = {**arrays.inputs, **arrays.parameters}[argument].shape
            assert values[record.gradient_name(argument)].shape == shape


@needs_torch
def test_float32_values_are_differentiated_in_double():
    """The oracle has not the rounding errors of the subject: the same numbers give the same bits."""
    arrays = one_case("Affine", "float32")
    values = of("Affine", arrays)
    as_double = {name: array.astype(np.float64) for name, array in arrays.inputs.items()}
    parameters = {name: array.astype(np.float64) for name, array in arrays.parameters.items()}
    again = autograd(RECORDS["Affine"], as_double, parameters, arrays.dout.astype(np.float64)).values
    for quantity, array in values.items():
        np.testing.assert_array_equal(array, again[quantity])


@needs_torch
@pytest.mark.parametrize("name", ["Affine", "SoftmaxWithLoss", "TwoLayerNet"])
def test_arrays_of_the_caller_are_neither_written_nor_shared(name):
    arrays = one_case(name)
    given = arrays.everything()
    before = {key: array.copy() for key, array in given.items()}
    values = of(name, arrays)
    for key, array in given.items():
        np.testing.assert_array_equal(array, before[key])
        assert not any(np.shares_memory(array, result) for result in values.values())


@needs_torch
@pytest.mark.parametrize("layout", ["Fortran", "backwards", "read-only"])
def test_any_layout_is_taken(layout):
    """PyTorch refuses negative strides, and warns of arrays that cannot be written."""
    x = np.arange(1.0, 7.0).reshape(2, 3) / 4
    laid = {"Fortran": np.asfortranarray(x), "backwards": x[::-1, ::-1].copy()[::-1, ::-1], "read-only": x.copy()}
    laid["read-only"].flags.writeable = False
    dout = np.ones(x.shape)
    expected = autograd(RECORDS["ExpLayer"], {"x": x}, {}, dout).values
    values = autograd(RECORDS["ExpLayer"], {"x": laid[layout]}, {}, dout).values
    for quantity, array in expected.items():
        np.testing.assert_array_equal(values[quantity], array)


@needs_torch
def test_derivative_of_relu_at_0_is_0():
    values = autograd(RECORDS["Relu"], {"x": np.array([0.0, -0.0, 1.0])}, {}, np.ones(3)).values
    assert values["dx"].tolist() == [0, 0, 1]


def test_asking_whether_pytorch_is_there_does_not_load_it():
    code = "import sys; from oracle.sources.autograd import is_available; is_available(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_missing_pytorch_is_said_in_plain_words():
    assert source.NOT_INSTALLED == "not run: PyTorch is not installed"
    assert source.HOW_TO_INSTALL == "python -m pip install torch"
