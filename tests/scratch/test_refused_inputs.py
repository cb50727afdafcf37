"""What is refused, with which exception; the message names the subject, what came and what is required."""

import re

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
    TwoLayerNet,
    cross_entropy_error,
    softmax,
)

LOSSES = [SoftmaxWithLoss, IdentityWithLoss, SigmoidWithLoss]


def build(layer):
    return Affine(np.ones((4, 3)), np.ones(3)) if layer is Affine else layer()


def forwarded(layer):
    """Return a layer after a forward, and the shape of what it returned."""
    node = build(layer)
    x = np.ones((2, 4))
    y = node.forward(x) if layer in (Relu, Sigmoid, ExpLayer, ReciprocalLayer, Affine) else node.forward(x, x)
    return node, np.shape(y)


EVERY_LAYER = [MulLayer, AddLayer, ExpLayer, ReciprocalLayer, Relu, Sigmoid, Affine, *LOSSES]
every_layer = pytest.mark.parametrize("layer", EVERY_LAYER)


@every_layer
def test_backward_before_forward(layer):
    with pytest.raises(RuntimeError, match=f"^{layer.__name__}: backward was called before forward; call forward"):
        build(layer).backward(1.0)


@every_layer
def test_dout_of_another_shape(layer):
    node, shape = forwarded(layer)
    for wrong in [(*shape, 1), (1, *shape), (7,)]:
        message = f"{layer.__name__}: dout has shape {wrong}, but {shape} is required"
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            node.backward(np.ones(wrong))


@pytest.mark.parametrize("layer", [layer for layer in EVERY_LAYER if layer not in LOSSES])
def test_a_scalar_dout_is_not_broadcast(layer):
    node, _ = forwarded(layer)
    with pytest.raises(ValueError, match=f"^{layer.__name__}: dout has shape \\(\\)"):
        node.backward(1.0)


@pytest.mark.parametrize(
    "dout", [1j, "1", None, np.float16(1), np.longdouble(1), np.complex64(1)], ids=lambda d: type(d).__name__
)
@every_layer
def test_dout_of_another_dtype(layer, dout):
    if np.asarray(dout).dtype == np.float64:
        pytest.skip("long double is float64 on this platform")
    node, shape = forwarded(layer)
    with pytest.raises(TypeError, match=f"^{layer.__name__}: dout has dtype .*required: float32, float64, or"):
        node.backward(np.full(shape, dout))


REFUSED_DTYPES = [
    np.float16,
    np.longdouble,
    np.complex64,
    np.clongdouble,
    object,
    "U1",
    "S1",
    "M8[s]",
    "m8[s]",
]


@pytest.mark.parametrize("dtype", REFUSED_DTYPES, ids=lambda dtype: np.dtype(dtype).str[1:])
@every_layer
def test_x_of_another_dtype(layer, dtype):
    if np.dtype(dtype) in (np.dtype(np.float64), np.dtype(np.complex128)):
        pytest.skip("long double is float64 on this platform")
    x = np.zeros((2, 4), dtype)
    arguments = [x] if layer in (Relu, Sigmoid, ExpLayer, ReciprocalLayer, Affine) else [x, np.ones((2, 4))]
    message = f"{layer.__name__}: x has dtype {np.dtype(dtype)}; required: float32, float64, complex128, or integ"
    with pytest.raises(TypeError, match="^" + re.escape(message)):
        build(layer).forward(*arguments)


def case(call, error, message, name):
    return pytest.param(call, error, message, id=name)


def affine(x, W=(4, 3), b=3):
    return lambda: Affine(np.ones(W), np.ones(b)).forward(np.ones(x))


def loss(layer, x, t):
    return lambda: layer().forward(np.ones(x), t)


SHAPES = [
    case(
        affine((2, 5)),
        ValueError,
        "Affine: x has 5 features, but W expects 4 (x.shape = (2, 5), W.shape = (4, 3))",
        "Affine: features",
    ),
    case(
        affine((2, 2, 3)),
        ValueError,
        "Affine: x has 6 features, but W expects 4 (x.shape = (2, 2, 3), W.shape = (4, 3))",
        "Affine: features of a tensor",
    ),
    case(affine((3,)), ValueError, "Affine: x has 3 features, but W expects 4", "Affine: features of a sample"),
    case(affine(()), ValueError, "Affine: x has shape (); required: (N, D)", "Affine: a scalar"),
    case(affine((2, 4), W=(4,)), ValueError, "Affine: W has shape (4,); required: (D, M)", "Affine: W"),
    case(
        affine((2, 4), b=(1, 3)),
        ValueError,
        "Affine: b has shape (1, 3), but W has 3 outputs (W.shape = (4, 3)); required: b of shape (3,)",
        "Affine: b with an axis too many",
    ),
    case(affine((2, 4), b=4), ValueError, "Affine: b has shape (4,), but W has 3 outputs", "Affine: b"),
    case(lambda: Affine(np.ones((4, 3), "f2"), [0]), TypeError, "Affine: W has dtype float16", "Affine: W half"),
    case(
        lambda: MulLayer().forward(np.ones(3), np.ones(4)),
        ValueError,
        "MulLayer: x has shape (3,) and y has shape (4,); required: shapes that broadcast together",
        "MulLayer",
    ),
    case(
        lambda: AddLayer().forward(np.ones((2, 3)), np.ones((3, 2))),
        ValueError,
        "AddLayer: x has shape (2, 3) and y has shape (3, 2); required",
        "AddLayer",
    ),
    case(
        lambda: Relu().forward([[1, 2], [3]]),
        ValueError,
        "Relu: x is not a rectangular array",
        "a ragged list",
    ),
    case(lambda: softmax(1.0), ValueError, "softmax: x has shape (); required: (..., C)", "softmax: a scalar"),
    case(lambda: softmax(np.ones((2, 0))), ValueError, "softmax: x has shape (2, 0)", "softmax: no class"),
    case(
        lambda: cross_entropy_error(np.ones((2, 3, 4)), [0, 1]),
        ValueError,
        "cross_entropy_error: y has shape (2, 3, 4); required: (N, C) for a batch or (C,) for one sample",
        "cross_entropy_error: dimensions",
    ),
]

for _layer in LOSSES:
    _name = _layer.__name__
    SHAPES += [
        case(
            loss(_layer, (), 0),
            ValueError,
            f"{_name}: x has shape (); required: (N, C)",
            f"{_name}: a scalar",
        ),
        case(loss(_layer, (2, 3, 4), 0), ValueError, f"{_name}: x has shape (2, 3, 4)", f"{_name}: a tensor"),
        case(
            loss(_layer, (0, 3), np.ones((0, 3))),
            ValueError,
            f"{_name}: x has shape (0, 3), and an empty batch has no mean; required: N >= 1",
            f"{_name}: an empty batch",
        ),
        case(
            loss(_layer, (2, 0), np.ones((2, 0))),
            ValueError,
            f"{_name}: x has shape (2, 0), no class at all; required: C >= 1",
            f"{_name}: no class",
        ),
        case(
            loss(_layer, (2, 3), np.ones((3, 2))),
            ValueError,
            f"{_name}: t has shape (3, 2) and dtype float64, but the scores have shape (2, 3); required: ",
            f"{_name}: a transposed target",
        ),
        case(
            loss(_layer, (2, 3), np.ones((2, 3), complex)),
            TypeError,
            f"{_name}: t has dtype complex128",
            f"{_name}: t",
        ),
        case(loss(_layer, (2, 3), None), TypeError, f"{_name}: t has dtype object", f"{_name}: no target"),
    ]


@pytest.mark.parametrize(("call", "error", "message"), SHAPES)
def test_shapes(call, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        call()


# The way to mend it is part of the message.
TARGETS = [
    pytest.param((4, 3), [[0], [1], [2], [0]], "pass t.ravel()", id="labels (N, 1)"),
    pytest.param((4, 3), [[0.0], [1], [2], [0]], "pass t.ravel() as integers", id="float labels (N, 1)"),
    pytest.param((3,), [2], "pass t[0]", id="a label (1,) of one sample"),
    pytest.param((4, 3), [0.0, 1.0, 2.0, 0.0], "pass t.astype(int)", id="float labels"),
    pytest.param((4, 3), [True, False, True, False], "pass t.astype(int)", id="bool labels"),
    pytest.param((3,), 2.0, "pass t.astype(int)", id="a float label of one sample"),
    pytest.param((4, 3), [0, 1, 2], "required: (4, 3), a target for every output, or (4,)", id="too few labels"),
    pytest.param((4, 3), 1, "required: (4, 3), a target for every output, or (4,)", id="one label for a batch"),
    pytest.param((3,), [0, 1], "required: (3,), a target for every output, or ()", id="labels for one sample"),
    pytest.param((4, 3), np.ones((4, 4)), "required: (4, 3), a target", id="another number of classes"),
    pytest.param((4, 1), np.ones((1, 4)), "required: (4, 1), a target", id="a row for a column"),
]


@pytest.mark.parametrize(("shape", "t", "mend"), TARGETS)
def test_forms_of_target(shape, t, mend):
    for name, call in {
        "SoftmaxWithLoss": SoftmaxWithLoss().forward,
        "cross_entropy_error": cross_entropy_error,
    }.items():
        with pytest.raises(ValueError, match=f"^{name}: t has shape .*{re.escape(mend)}"):
            call(np.ones(shape), t)


@pytest.mark.parametrize("layer", [IdentityWithLoss, SigmoidWithLoss])
@pytest.mark.parametrize("shape", [(4, 3), (4, 1)], ids=["three outputs", "one output"])
def test_losses_of_values_refuse_labels(layer, shape):
    with pytest.raises(ValueError, match=f"^{layer.__name__}: t has shape \\(4,\\).*label indices have no meaning"):
        layer().forward(np.ones(shape), [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("shape", "t", "message"),
    [
        ((4, 3), [0, 3, 1, -1], "t[1] is 3, but the labels of 3 classes are 0 to 2"),
        ((4, 3), [0, 2, -1, 7], "t[2] is -1, but the labels of 3 classes are 0 to 2"),
        ((2, 1), [0, 1], "t[1] is 1, but the labels of 1 class are 0 to 0"),
        ((3,), 3, "t is 3, but the labels of 3 classes are 0 to 2"),
        ((2, 3), np.array([2**64 - 1, 0], np.uint64), f"t[0] is {2**64 - 1}, but"),
    ],
    ids=["too large", "negative", "one class", "one sample", "uint64"],
)
def test_labels_outside_the_classes(shape, t, message):
    with pytest.raises(ValueError, match="^SoftmaxWithLoss: " + re.escape(message)):
        SoftmaxWithLoss().forward(np.ones(shape), t)


@pytest.mark.parametrize("layer", LOSSES)
def test_a_refused_forward_leaves_the_last_one_in_place(layer):
    node = layer()
    node.forward([1.0, 2.0], [0, 1])
    expected = node.backward()
    with pytest.raises(ValueError, match="t has shape"):
        node.forward([3.0, 4.0], [0, 1, 2])
    np.testing.assert_array_equal(node.backward(), expected)


NETWORKS = [
    case(
        lambda: TwoLayerNet(0, 5, 3),
        ValueError,
        "TwoLayerNet: input_size is 0; required: at least 1",
        "size 0",
    ),
    case(
        lambda: MultiLayerNet(4, [5, -1], 3),
        ValueError,
        "MultiLayerNet: hidden_sizes[1] is -1; required: at least 1",
        "negative size",
    ),
    case(
        lambda: MultiLayerNet(4, [5.0], 3),
        TypeError,
        "MultiLayerNet: hidden_sizes[0] is 5.0; required: an integer",
        "float size",
    ),
    case(
        lambda: MultiLayerNet(4, 5, 3),
        TypeError,
        "MultiLayerNet: hidden_sizes is 5; required: a sequence of integers, for example (50,)",
        "no sequence",
    ),
    case(
        lambda: MultiLayerNet(4, [5], 3, hidden="tanh"),
        ValueError,
        "MultiLayerNet: hidden is 'tanh'; required: one of relu, sigmoid",
        "hidden",
    ),
    case(
        lambda: MultiLayerNet(4, [5], 3, output="sigmoid"),
        ValueError,
        "MultiLayerNet: output is 'sigmoid'; required: one of softmax, sigmoid-squared, identity-squared",
        "output",
    ),
    case(
        lambda: TwoLayerNet(4, 5, 3, dtype=np.float16),
        TypeError,
        "TwoLayerNet: dtype is float16; required: one of float32, float64, complex128",
        "dtype",
    ),
    case(
        lambda: TwoLayerNet(4, 5, 3, rng=0),
        TypeError,
        "TwoLayerNet: rng is of type int; required: a numpy.random.Generator, for example",
        "a seed",
    ),
    case(
        lambda: TwoLayerNet(4, 5, 3, weight_init_std=-1),
        ValueError,
        "TwoLayerNet: weight_init_std is -1; required: a number >= 0, 'lecun' or 'he'",
        "negative deviation",
    ),
    case(
        lambda: TwoLayerNet(4, 5, 3, weight_init_std="xavier"),
        ValueError,
        "TwoLayerNet: weight_init_std is 'xavier'; required",
        "unknown deviation",
    ),
    case(
        lambda: TwoLayerNet(4, 5, 3).predict(np.ones((2, 5))),
        ValueError,
        "Affine: x has 5 features, but W expects 4",
        "features",
    ),
    case(
        lambda: TwoLayerNet(4, 5, 3).accuracy(np.ones((0, 4)), np.ones(0, int)),
        ValueError,
        "TwoLayerNet: predict(x) has shape (0, 3), and an empty batch has no mean",
        "accuracy of nothing",
    ),
    case(
        lambda: TwoLayerNet(4, 5, 3).accuracy(np.ones((2, 4)), [[0], [1]]),
        ValueError,
        "TwoLayerNet: t has shape (2, 1)",
        "accuracy with labels (N, 1)",
    ),
    case(
        lambda: MultiLayerNet(4, [5], 3, output="sigmoid-squared").loss(np.ones((2, 4)), [0, 1]),
        ValueError,
        "IdentityWithLoss: t has shape (2,)",
        "labels for a squared error",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), NETWORKS)
def test_networks(call, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        call()


def assign(name, value):
    return lambda params: params.__setitem__(name, value)


PARAMETERS = [
    case(
        assign("W3", np.ones((5, 3))),
        KeyError,
        "params: there is no parameter 'W3'; required: one of W1, b1",
        "new",
    ),
    case(
        assign("b1", np.ones((1, 5))),
        ValueError,
        "params: 'b1' has shape (5,), but the new value has",
        "shape",
    ),
    case(assign("b1", 0.0), ValueError, "params: 'b1' has shape (5,), but the new value has shape ()", "scalar"),
    case(assign("b1", np.ones(5, complex)), TypeError, "params: 'b1' has dtype complex128", "complex"),
    case(assign("b1", ["a"] * 5), TypeError, "params: 'b1' has dtype <U1; required: float32", "strings"),
    case(lambda params: params.update(W9=1), KeyError, "params: there is no parameter 'W9'", "update"),
    case(
        lambda params: params.setdefault("W9", 1),
        KeyError,
        "params: there is no parameter 'W9'",
        "setdefault",
    ),
    case(lambda params: params.__delitem__("W1"), TypeError, "params: a parameter cannot be removed", "del"),
    case(lambda params: params.pop("W1"), TypeError, "params: a parameter cannot be removed", "pop"),
    case(lambda params: params.popitem(), TypeError, "params: a parameter cannot be removed", "popitem"),
    case(lambda params: params.clear(), TypeError, "params: a parameter cannot be removed", "clear"),
]


@pytest.mark.parametrize(("change", "error", "message"), PARAMETERS)
def test_parameters(change, error, message):
    net = TwoLayerNet(4, 5, 3)
    before = {name: (parameter, parameter.copy()) for name, parameter in net.params.items()}
    with pytest.raises(error, match=re.escape(message)):
        change(net.params)
    assert list(net.params) == list(before)
    for name, (array, values) in before.items():
        assert net.params[name] is array
        np.testing.assert_array_equal(array, values)


def test_params_itself_cannot_be_replaced():
    net = TwoLayerNet(4, 5, 3)
    with pytest.raises(AttributeError, match=r"^TwoLayerNet: params cannot be replaced"):
        net.params = {}


def test_accuracy_of_complex_samples():
    with pytest.raises(TypeError, match=r"^TwoLayerNet: predict\(x\) has dtype complex128"):
        TwoLayerNet(4, 5, 3).accuracy(np.ones((2, 4), complex), [0, 1])
