"""float32 and float64 stay what they are, integers and bool become float64; mixtures as np.result_type."""

import numpy as np
import pytest

from scratch import (
    AddLayer,
    Affine,
    ExpLayer,
    IdentityWithLoss,
    MulLayer,
    MultiLayerNet,
    ReciprocalLayer,
    Relu,
    Sigmoid,
    SigmoidWithLoss,
    SoftmaxWithLoss,
    cross_entropy_error,
    softmax,
)

ONE_INPUT = [Relu, Sigmoid, ExpLayer, ReciprocalLayer]
TWO_INPUTS = [MulLayer, AddLayer]
LOSSES = [SoftmaxWithLoss, IdentityWithLoss, SigmoidWithLoss]
F4, F8 = np.float32, np.float64

KEPT = [(F4, F4), (F8, F8), (np.int64, F8), (np.uint8, F8), (bool, F8), (">f4", F4), (">f8", F8), (">i4", F8)]
KEPT_IDS = [np.dtype(given).str for given, _ in KEPT]


@pytest.mark.parametrize("shape", [(), (3,), (0,)], ids=str)
@pytest.mark.parametrize(("given", "result"), KEPT, ids=KEPT_IDS)
@pytest.mark.parametrize("layer", ONE_INPUT)
def test_one_input(layer, given, result, shape):
    node = layer()
    assert node.forward(np.ones(shape, given)).dtype == result
    assert node.backward(np.ones(shape, result)).dtype == result


@pytest.mark.parametrize("shapes", [((), ()), ((3,), ()), ((), (3,)), ((2, 3), (3,))], ids=str)
@pytest.mark.parametrize("first", [F4, F8, np.int32])
@pytest.mark.parametrize("second", [F4, F8, np.int32])
@pytest.mark.parametrize("node", TWO_INPUTS)
def test_two_inputs(node, first, second, shapes):
    layer = node()
    z = layer.forward(np.ones(shapes[0], first), np.ones(shapes[1], second))
    expected = F4 if first is second is F4 else F8
    assert z.dtype == expected
    assert z.dtype.isnative
    for gradient in layer.backward(np.ones(z.shape, expected)):
        assert gradient.dtype == expected


@pytest.mark.parametrize("node", TWO_INPUTS)
def test_a_python_number_never_changes_the_dtype(node):
    layer = node()
    assert layer.forward(np.ones(3, F4), 2).dtype == F4
    assert layer.forward(1.1, np.ones(3, F4)).dtype == F4
    assert layer.forward(1.1, np.ones((), F4)).dtype == F4
    assert layer.backward(1.0)[0].dtype == F4
    assert layer.forward(1, True).dtype == F8


@pytest.mark.parametrize("node", TWO_INPUTS)
@pytest.mark.parametrize("other", [2.0, 1j, F4(2), np.ones(3, F4)], ids=["float", "complex", "float32", "array"])
def test_a_complex_python_number_is_complex(node, other):
    z = node().forward(1j, other)
    assert z.dtype == np.complex128
    np.testing.assert_array_equal(z, 1j * other if node is MulLayer else 1j + other)


@pytest.mark.parametrize("layer", [*ONE_INPUT, *LOSSES])
@pytest.mark.parametrize(
    ("dout", "expected"),
    [
        (1, F4),
        (0.5, F4),
        (True, F4),
        (np.array(1, F4), F4),
        (np.array(1.0), F8),
        (F8(1), F8),
        (np.array(1), F8),
    ],
    ids=["int", "float", "bool", "float32", "float64 0-d", "float64 scalar", "int64 0-d"],
)
def test_dout_weighs_by_its_dtype_unless_it_is_a_python_number(layer, dout, expected):
    node = layer()
    if layer in LOSSES:
        node.forward(np.ones(3, F4), np.ones(3, F4))
    else:
        node.forward(np.ones((), F4))
    assert node.backward(dout).dtype == expected


@pytest.mark.parametrize("x", [F4, F8, np.int64, bool])
@pytest.mark.parametrize("W", [F4, F8, np.int64])
@pytest.mark.parametrize("b", [F4, F8])
def test_affine(x, W, b):
    affine = Affine(np.ones((4, 3), W), np.ones(3, b))
    expected = F4 if x is W is b is F4 else F8
    y = affine.forward(np.ones((2, 4), x))
    assert y.dtype == expected
    dx = affine.backward(np.ones((2, 3), F4))
    assert dx.dtype == affine.dW.dtype == affine.db.dtype == expected


@pytest.mark.parametrize(
    ("x", "t", "expected"),
    [
        (F4, F4, F4),
        (F4, F8, F8),
        (F8, F4, F8),
        (F4, np.int64, F4),
        (F4, bool, F4),
        (np.int64, F4, F8),
        (np.int64, np.int64, F8),
    ],
)
@pytest.mark.parametrize("layer", LOSSES)
def test_losses(layer, x, t, expected):
    loss = layer()
    value = loss.forward(np.ones((2, 3), x), np.ones((2, 3), t))
    assert type(value) is expected
    assert loss.backward().dtype == expected


@pytest.mark.parametrize("labels", [np.int8, np.uint64, np.int64])
def test_labels_never_change_the_dtype(labels):
    loss = SoftmaxWithLoss()
    assert type(loss.forward(np.ones((2, 3), F4), np.ones(2, labels))) is F4
    assert loss.backward().dtype == F4


def test_floating_targets_of_cross_entropy_error_weigh():
    y, t = np.ones((2, 3), F4), np.ones((2, 3))
    assert type(cross_entropy_error(y, t)) is F8
    assert type(cross_entropy_error(y, t.astype(F4))) is F4


@pytest.mark.parametrize(("given", "result"), KEPT, ids=KEPT_IDS)
def test_functions(given, result):
    assert softmax(np.ones((2, 3), given)).dtype == result
    assert type(cross_entropy_error(np.ones((2, 3), given), [0, 1])) is result


@pytest.mark.parametrize("dtype", [F4, F8])
def test_networks(dtype):
    net = MultiLayerNet(4, [5], 3, dtype=dtype)
    x, t = np.ones((2, 4), dtype), [0, 1]
    assert net.predict(x).dtype == dtype
    assert type(net.loss(x, t)) is dtype
    assert {g.dtype for g in net.gradient(x, t).values()} == {np.dtype(dtype)}
    assert {g.dtype for g in net.numerical_gradient(x, t).values()} == {np.dtype(dtype)}


@pytest.mark.parametrize("layer", [*ONE_INPUT, *TWO_INPUTS, *LOSSES, Affine])
def test_complex_numbers_go_forward_only(layer):
    node = Affine(np.ones((3, 2)), np.ones(2)) if layer is Affine else layer()
    x = np.array([1 + 1j, 2, 3])
    y = node.forward(x) if layer in (*ONE_INPUT, Affine) else node.forward(x, np.ones(3))
    assert y.dtype == np.complex128
    with pytest.raises(TypeError, match=f"^{layer.__name__}: backward was called after a complex128 forward"):
        node.backward(np.ones(np.shape(y)))


def test_complex_weights_go_forward_only():
    affine = Affine(np.ones((3, 2), complex), np.ones(2, complex))
    y = affine.forward(np.ones((1, 3)))
    assert y.dtype == np.complex128
    with pytest.raises(TypeError, match="complex128 forward"):
        affine.backward(np.ones((1, 2)))


def test_complex_functions():
    assert softmax(np.ones(3, complex)).dtype == np.complex128
    assert type(cross_entropy_error(np.ones(3, complex), 0)) is np.complex128


def test_float32_losses_are_computed_in_float64_and_rounded_once(rng):
    x = rng.standard_normal((5, 3)).astype(F4)
    for layer in LOSSES:
        single, double = layer(), layer()
        t = np.eye(3, dtype=F4)[[0, 1, 2, 0, 1]]
        assert single.forward(x, t) == F4(double.forward(x.astype(F8), t))
        np.testing.assert_array_equal(single.backward(), double.backward().astype(F4))
