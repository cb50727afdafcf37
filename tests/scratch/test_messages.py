"""Every message word for word: who refuses what, what came, what is required, and how to mend it.

test_refused_inputs.py says what is refused; here each message is said once in full, since a beginner has nothing else.
"""

import numpy as np
import pytest

from scratch import (
    SGD,
    AddLayer,
    Affine,
    Batches,
    ExpLayer,
    IdentityWithLoss,
    MulLayer,
    MultiLayerNet,
    ReciprocalLayer,
    Relu,
    Sigmoid,
    SigmoidWithLoss,
    SoftmaxWithLoss,
    Trainer,
    TwoLayerNet,
    cross_entropy_error,
    numerical_gradient,
    softmax,
)
from scratch._inputs import one_hot, read_target

HALF = np.ones((2, 3), np.float16)
REAL = "float32, float64, or integers and bool (taken as float64)"
FORWARD = "float32, float64, complex128, or integers and bool (taken as float64)"


def affine():
    return Affine(np.ones((3, 2)), np.ones(2))


def after_forward(layer, *arguments):
    layer.forward(*arguments)
    return layer


def net(**options):
    return MultiLayerNet(4, [5], 3, **options)


def batches(**options):
    return Batches(10, 3, np.random.default_rng(0), **options)


def replace_params(network):
    network.params = {}


def restore(state):
    return lambda: batches().restore(state)


DTYPES = {
    f"{subject}: x has dtype float16; required: {FORWARD}": call
    for subject, call in {
        "Relu": lambda: Relu().forward(HALF),
        "Sigmoid": lambda: Sigmoid().forward(HALF),
        "ExpLayer": lambda: ExpLayer().forward(HALF),
        "ReciprocalLayer": lambda: ReciprocalLayer().forward(HALF),
        "MulLayer": lambda: MulLayer().forward(HALF, 1),
        "AddLayer": lambda: AddLayer().forward(HALF, 1),
        "Affine": lambda: affine().forward(HALF),
        "softmax": lambda: softmax(HALF),
        "SoftmaxWithLoss": lambda: SoftmaxWithLoss().forward(HALF, [0, 1]),
    }.items()
} | {
    f"MulLayer: y has dtype float16; required: {FORWARD}": lambda: MulLayer().forward(1, HALF),
    f"cross_entropy_error: y has dtype float16; required: {FORWARD}": lambda: cross_entropy_error(HALF, [0, 1]),
    f"cross_entropy_error: t has dtype float16; required: {REAL}": lambda: cross_entropy_error(np.ones((2, 3)), HALF),
    f"SigmoidWithLoss: t has dtype float16; required: {REAL}": lambda: SigmoidWithLoss().forward(np.ones((2, 3)), HALF),
    f"Affine: W has dtype float16; required: {FORWARD}": lambda: Affine(HALF, [0, 0, 0]),
    f"Affine: b has dtype float16; required: {FORWARD}": lambda: Affine(np.ones((2, 3)), HALF[0]),
    f"Relu: dout has dtype float16; required: {REAL}": lambda: after_forward(Relu(), [1, 2]).backward(HALF),
    f"numerical_gradient: x has dtype float16; required: {REAL}": lambda: numerical_gradient(np.sum, HALF),
    f"params: 'b1' has dtype float16; required: {REAL}": lambda: net().params.update(b1=HALF),
    f"params: 'b1' has dtype float16; required: {FORWARD}": lambda: net(dtype=complex).params.update(b1=HALF),
    "SigmoidWithLoss: dout has dtype complex128, which forward alone accepts (for numerical differentiation); "
    f"required: {REAL}": lambda: after_forward(SigmoidWithLoss(), [1, 2], [0, 1]).backward(1j),
    "TwoLayerNet: predict(x) has dtype complex128, which forward alone accepts (for numerical differentiation); "
    f"required: {REAL}": lambda: TwoLayerNet(4, 5, 3).accuracy(np.ones((2, 4), complex), [0, 1]),
    "Sigmoid: backward was called after a complex128 forward, which serves numerical differentiation only; required: "
    "a real forward before backward": lambda: after_forward(Sigmoid(), [1j]).backward([1]),
    "MultiLayerNet: accuracy of a complex128 network, which serves numerical differentiation only (predict and loss "
    "work); required: a float32 or float64 network": lambda: net(dtype=complex).accuracy(np.ones((2, 4)), [0, 1]),
    "TwoLayerNet: dtype is float16; required: one of float32, float64, complex128": lambda: TwoLayerNet(
        4, 5, 3, dtype=np.float16
    ),
    "numerical_gradient: f returned dtype complex128; required: a real number": lambda: numerical_gradient(
        lambda x: 1j, [1.0]
    ),
    "TwoLayerNet: rng is of type int; required: a numpy.random.Generator, for example numpy.random.default_rng(0)": (
        lambda: TwoLayerNet(4, 5, 3, rng=0)
    ),
    "MultiLayerNet: hidden_sizes is 5; required: a sequence of integers, for example (50,)": lambda: MultiLayerNet(
        4, 5, 3
    ),
    "MultiLayerNet: input_size is 4.0; required: an integer": lambda: MultiLayerNet(4.0, [5], 3),
    "MultiLayerNet: hidden_sizes[1] is 4.0; required: an integer": lambda: MultiLayerNet(4, [5, 4.0], 3),
    "MultiLayerNet: output_size is 4.0; required: an integer": lambda: MultiLayerNet(4, [5], 4.0),
    "params: a parameter cannot be removed; its layer would go on using the array": lambda: net().params.clear(),
    "Batches: rng is of type int; required: a numpy.random.Generator, for example numpy.random.default_rng(0)": (
        lambda: Batches(5, 2, 0)
    ),
}

VALUES = {
    "Relu: dout has shape (3,), but (2,) is required (dout has the shape that forward returned)": lambda: after_forward(
        Relu(), [1, 2]
    ).backward([1, 2, 3]),
    "IdentityWithLoss: dout has shape (1,), but () is required (dout is a scalar, ∂L/∂loss)": lambda: after_forward(
        IdentityWithLoss(), [1, 2], [3, 4]
    ).backward([1]),
    "Affine: W has shape (3,); required: (D, M), inputs by outputs": lambda: Affine(np.ones(3), np.ones(3)),
    "Affine: b has shape (3,), but W has 2 outputs (W.shape = (3, 2)); required: b of shape (2,)": lambda: Affine(
        np.ones((3, 2)), np.ones(3)
    ),
    "Affine: x has shape (); required: (N, D), tensors (N, ...) to be flattened, or one sample (D,)": lambda: (
        affine().forward(1)
    ),
    "Affine: x has 4 features, but W expects 3 (x.shape = (5, 4), W.shape = (3, 2))": lambda: affine().forward(
        np.ones((5, 4))
    ),
    "AddLayer: x has shape (2,) and y has shape (3,); required: shapes that broadcast together": lambda: (
        AddLayer().forward([1, 2], [1, 2, 3])
    ),
    "softmax: x has shape (); required: (..., C) with C >= 1": lambda: softmax(1),
    "cross_entropy_error: y has shape (); required: (N, C) for a batch or (C,) for one sample": lambda: (
        cross_entropy_error(1, 0)
    ),
    "SoftmaxWithLoss: x has shape (2, 0), no class at all; required: C >= 1": lambda: SoftmaxWithLoss().forward(
        np.ones((2, 0)), [0, 0]
    ),
    "SoftmaxWithLoss: x has shape (0, 3), and an empty batch has no mean; required: N >= 1": lambda: (
        SoftmaxWithLoss().forward(np.ones((0, 3)), [])
    ),
    "TwoLayerNet: predict(x) has shape (0, 3), and an empty batch has no mean; required: N >= 1": lambda: TwoLayerNet(
        4, 5, 3
    ).accuracy(np.ones((0, 4)), []),
    "cross_entropy_error: t[1] is 3, but the labels of 3 classes are 0 to 2": lambda: cross_entropy_error(
        np.ones((2, 3)), [0, 3]
    ),
    "SoftmaxWithLoss: t is 1, but the labels of 1 class are 0 to 0": lambda: SoftmaxWithLoss().forward([1.0], 1),
    "numerical_gradient: h is 0; required: a positive, finite step": lambda: numerical_gradient(np.sum, [1.0], h=0),
    "numerical_gradient: f returned shape (1,); required: a scalar, shape ()": lambda: numerical_gradient(
        lambda x: x, [1.0]
    ),
    "TwoLayerNet: input_size is 0; required: at least 1": lambda: TwoLayerNet(0, 5, 3),
    "TwoLayerNet: output_size is 0; required: at least 1": lambda: TwoLayerNet(4, 5, 0),
    "MultiLayerNet: hidden is 'tanh'; required: one of relu, sigmoid": lambda: net(hidden="tanh"),
    "MultiLayerNet: output is 'tanh'; required: one of softmax, sigmoid-squared, identity-squared": lambda: net(
        output="tanh"
    ),
    "MultiLayerNet: weight_init_std is -1; required: a number >= 0, 'lecun' or 'he'": lambda: net(weight_init_std=-1),
    "MultiLayerNet: weight_init_std is inf; required: a number >= 0, 'lecun' or 'he'": lambda: net(
        weight_init_std=np.inf
    ),
    "params: 'b1' has shape (5,), but the new value has shape (1,)": lambda: net().params.update(b1=[1]),
    "SGD: learning_rate is 0; required: a positive, finite number": lambda: SGD(0),
    "Batches: 0 samples in batches of 2; required: at least one sample and a batch size of at least 1": lambda: Batches(
        0, 2, np.random.default_rng(0)
    ),
    "Batches: order is 'random'; required: one of replacement, shuffled, file": lambda: batches(order="random"),
    "Batches: the state is that of 9 samples and the generator PCG64; required: 10 samples and PCG64": restore(
        Batches(9, 3, np.random.default_rng(0)).state()
    ),
    "Batches: the state is that of 10 samples and the generator None; required: 10 samples and PCG64": restore(
        {"rng": {}, "epoch": range(10), "used": 0}
    ),
    "Trainer: x has 2 samples, t has 3, batches are of 10; required: the same number": lambda: Trainer(
        net(), np.ones((2, 4)), [0, 1, 2], batches(), SGD(0.1)
    ),
}

SHAPE = "t has shape {} and dtype {}, but the scores have shape {}; required: {}"
TARGETS = [
    ((4, 3), np.ones((2, 1)), "(4, 3), a target for every output, or (4,) and an integer dtype, label indices"),
    (
        (4, 3),
        np.ones((4, 1), int),
        "(4, 3), a target for every output, or (4,) and an integer dtype, label indices: for label indices pass "
        "t.ravel()",
    ),
    (
        (4, 3),
        np.ones((4, 1), np.uint8),
        "(4, 3), a target for every output, or (4,) and an integer dtype, label indices: for label indices pass "
        "t.ravel()",
    ),
    (
        (4, 3),
        np.ones((4, 1)),
        "(4, 3), a target for every output, or (4,) and an integer dtype, label indices: for label indices pass "
        "t.ravel() as integers",
    ),
    (
        (3,),
        np.ones(1, int),
        "(3,), a target for every output, or () and an integer dtype, label indices: for label indices pass t[0]",
    ),
    (
        (4, 3),
        np.ones(4),
        "(4, 3), a target for every output, or (4,) and an integer dtype, label indices: for label indices pass "
        "t.astype(int)",
    ),
]
OF_VALUES = [
    ((4, 3), np.ones((2, 1)), "(4, 3), a target for every output"),
    ((4, 3), np.ones((4, 1), int), "(4, 3), a target for every output"),
    (
        (3,),
        np.array(2),
        "(3,), a target for every output: label indices have no meaning here; pass one value for every output",
    ),
    (
        (4, 3),
        np.ones(4, int),
        "(4, 3), a target for every output: label indices have no meaning here; pass one value for every output",
    ),
]


def refusal(call, error):
    with pytest.raises(error) as refused:
        call()
    return str(refused.value)


@pytest.mark.parametrize("message", DTYPES)
def test_messages_on_types(message):
    assert refusal(DTYPES[message], TypeError) == message


@pytest.mark.parametrize("message", VALUES)
def test_messages_on_values(message):
    assert refusal(VALUES[message], ValueError) == message


@pytest.mark.parametrize(
    ("loss", "shape", "t", "required"),
    [(SoftmaxWithLoss, *target) for target in TARGETS] + [(IdentityWithLoss, *target) for target in OF_VALUES],
)
def test_messages_on_targets(loss, shape, t, required):
    message = f"{loss.__name__}: " + SHAPE.format(t.shape, t.dtype, shape, required)
    assert refusal(lambda: loss().forward(np.ones(shape), t), ValueError) == message


def test_the_other_messages():
    assert (
        refusal(lambda: Relu().backward(1), RuntimeError)
        == "Relu: backward was called before forward; call forward(...) first"
    )
    assert (
        refusal(lambda: net().params.update(W3=1), KeyError)
        == "\"params: there is no parameter 'W3'; required: one of W1, b1, W2, b2\""
    )
    assert refusal(lambda: replace_params(net()), AttributeError) == (
        "MultiLayerNet: params cannot be replaced, its layers would keep the old arrays; assign to params[name] or "
        "call params.update(...)"
    )


def test_messages_name_a_target_as_the_caller_does_and_a_label_by_its_place():
    """Of any number of dimensions, though losses have one at most."""

    def read(t):
        read_target("Net", t, (1, 3), labels=True, name="target")

    assert refusal(lambda: read([5]), ValueError) == "Net: target[0] is 5, but the labels of 3 classes are 0 to 2"
    assert refusal(lambda: read(5), ValueError).startswith("Net: target has shape ()")
    outside = np.array([[0, 3], [1, 0]])
    assert (
        refusal(lambda: one_hot("Net", outside, 3), ValueError)
        == "Net: t[0, 1] is 3, but the labels of 3 classes are 0 to 2"
    )


def test_messages_on_what_is_not_rectangular_say_who_and_what():
    ragged = [[1, 2], [3]]
    for start, call in {
        "Relu: x": lambda: Relu().forward(ragged),
        "Affine: W": lambda: Affine(ragged, [1]),
        "Affine: b": lambda: Affine([[1]], ragged),
        "SoftmaxWithLoss: t": lambda: SoftmaxWithLoss().forward([1.0, 2.0], ragged),
    }.items():
        assert refusal(call, ValueError).startswith(f"{start} is not a rectangular array (setting an array")
