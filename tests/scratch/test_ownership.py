"""What belongs to the caller stays as it was, and what he receives is his alone."""

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
from scratch._inputs import read_array, read_target, read_upstream
from scratch._precise import in_double


class Subject:
    """A layer with its inputs and upstream gradient, all of them float64."""

    def __init__(self, build, inputs, dout):
        self.layer = build()
        self.inputs = inputs
        self.dout = dout

    def forward(self):
        return self.layer.forward(*self.inputs)

    def backward(self):
        """Return every array that backward gives: dx (and dy), dW, db."""
        dx = self.layer.backward(self.dout)
        results = list(dx) if isinstance(dx, tuple) else [dx]
        return results + [getattr(self.layer, name) for name in ("dW", "db") if hasattr(self.layer, name)]

    def owned_by_the_caller(self):
        parameters = [getattr(self.layer, name) for name in ("W", "b") if hasattr(self.layer, name)]
        return [*self.inputs, self.dout, *parameters]


def affine():
    numbers = np.random.default_rng(3)
    return Affine(numbers.standard_normal((4, 3)), numbers.standard_normal(3))


#   name: what builds it, shapes of the inputs, shape of dout
SUBJECTS = {
    "MulLayer": (MulLayer, [(3, 4), (3, 4)], (3, 4)),
    "MulLayer-broadcast": (MulLayer, [(3, 4), (4,)], (3, 4)),
    "AddLayer": (AddLayer, [(3, 4), (3, 4)], (3, 4)),
    "AddLayer-scalars": (AddLayer, [(), ()], ()),
    "ExpLayer": (ExpLayer, [(3, 4)], (3, 4)),
    "ReciprocalLayer": (ReciprocalLayer, [(3, 4)], (3, 4)),
    "Relu": (Relu, [(3, 4)], (3, 4)),
    "Relu-scalar": (Relu, [()], ()),
    "Sigmoid": (Sigmoid, [(3, 4)], (3, 4)),
    "Affine": (affine, [(2, 4)], (2, 3)),
    "Affine-one-sample": (affine, [(4,)], (3,)),
    "Affine-batch-of-one": (affine, [(1, 4)], (1, 3)),
    "Affine-tensor": (affine, [(2, 2, 2)], (2, 3)),
    "SoftmaxWithLoss": (SoftmaxWithLoss, [(3, 4), (3, 4)], ()),
    "SoftmaxWithLoss-one-sample": (SoftmaxWithLoss, [(4,), (4,)], ()),
    "IdentityWithLoss": (IdentityWithLoss, [(3, 4), (3, 4)], ()),
    "IdentityWithLoss-one-output": (IdentityWithLoss, [(3, 1), (3, 1)], ()),
    "SigmoidWithLoss": (SigmoidWithLoss, [(3, 4), (3, 4)], ()),
}


@pytest.fixture(params=SUBJECTS)
def subject(request, rng):
    build, shapes, dout_shape = SUBJECTS[request.param]
    return Subject(
        build,
        [np.asarray(rng.standard_normal(s)) for s in shapes],
        np.asarray(rng.standard_normal(dout_shape)),
    )


def copies(arrays):
    return [np.array(array) for array in arrays]


def assert_equal(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_that_the_caller_owns_is_modified(subject):
    before = copies(subject.owned_by_the_caller())
    subject.forward()
    subject.backward()
    assert_equal(subject.owned_by_the_caller(), before)


def test_results_share_no_memory_with_what_the_caller_owns(subject):
    results = [subject.forward(), *subject.backward()]
    for result in results:
        for owned in subject.owned_by_the_caller():
            assert not np.shares_memory(result, owned)


def test_results_share_no_memory_with_each_other(subject):
    results = [subject.forward(), *subject.backward(), *subject.backward()]
    for i, result in enumerate(results):
        for other in results[:i]:
            assert not np.shares_memory(result, other)


def test_writing_into_a_result_changes_no_later_result(subject):
    y = subject.forward()
    expected = copies(subject.backward())
    if isinstance(y, np.ndarray):  # a loss is a scalar
        y[...] = np.nan
    first = subject.backward()
    assert_equal(first, expected)
    for result in first:
        result[...] = np.nan
    assert_equal(subject.backward(), expected)


def test_a_later_forward_changes_no_earlier_result(subject):
    y = subject.forward()
    results = [y, *subject.backward()]
    before = copies(results)
    subject.inputs = [array + 1 for array in subject.inputs]
    subject.forward()
    subject.backward()
    assert_equal(results, before)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def strided(array):
    """Return a view of every second entry along every axis of a larger array."""
    large = np.full([2 * n for n in array.shape], np.nan)
    view = large[(..., *(slice(None, None, 2) for _ in array.shape))]
    view[...] = array
    return view


def reversed_in_memory(array):
    return np.flip(np.flip(array).copy())


LAYOUTS = {
    "read-only": read_only,
    "Fortran": lambda array: np.array(array, order="F"),
    "strided": strided,
    "negative strides": reversed_in_memory,
    "broadcast": lambda array: np.broadcast_to(array.flat[:1].reshape([1] * array.ndim), array.shape),
    "big-endian": lambda array: array.astype(">f8"),
    "list": lambda array: array.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_any_layout_gives_the_same_numbers(subject, layout):
    inputs, dout = [layout(array) for array in subject.inputs], layout(subject.dout)
    subject.inputs, subject.dout = [np.array(array, "f8") for array in inputs], np.array(dout, "f8")
    expected = [subject.forward(), *subject.backward()]
    subject.inputs, subject.dout = inputs, dout
    actual = [subject.forward(), *subject.backward()]
    for one, other in zip(actual, expected, strict=True):
        # Another layout may be summed in another order: at most 12 terms near 1.
        np.testing.assert_allclose(one, other, rtol=0, atol=32 * np.finfo(float).eps)


@pytest.mark.parametrize("node", [MulLayer, ExpLayer, ReciprocalLayer, Relu, Sigmoid, SoftmaxWithLoss])
def test_the_caller_may_change_his_arrays_between_forward_and_backward(node, rng):
    inputs = [rng.standard_normal((3, 4)) for _ in range(2 if node in (MulLayer, SoftmaxWithLoss) else 1)]
    layer = node()
    y = layer.forward(*inputs)
    dout = np.ones(np.shape(y))
    expected = copies(np.atleast_1d(layer.backward(dout)))
    for array in inputs:
        array[...] = 7
    assert_equal(np.atleast_1d(layer.backward(dout)), expected)


@pytest.mark.parametrize("function", [softmax, lambda x: cross_entropy_error(x, x)], ids=["softmax", "cross"])
def test_functions_modify_nothing(function, rng):
    x = rng.random((3, 4))
    before = x.copy()
    result = function(x)
    np.testing.assert_array_equal(x, before)
    assert not np.shares_memory(result, x)


def test_softmax_of_one_class_is_new_memory():
    x = np.ones((3, 1))
    assert not np.shares_memory(softmax(x), x)


@pytest.mark.parametrize("hidden_sizes", [[], [5]], ids=["no hidden layer", "one hidden layer"])
def test_a_network_modifies_and_shares_nothing(hidden_sizes, rng):
    net = MultiLayerNet(4, hidden_sizes, 3, rng=rng)
    x, t = rng.standard_normal((2, 4)), np.eye(3)[[0, 2]]
    owned = [x, t, *net.params.values()]
    before = copies(owned)

    predicted, gradient, again = net.predict(x), net.gradient(x, t), net.gradient(x, t)
    numerical = net.numerical_gradient(x, t)
    net.accuracy(x, t)

    assert_equal(owned, before)
    results = [predicted, *gradient.values(), *again.values(), *numerical.values()]
    for i, result in enumerate(results):
        for other in [*results[:i], *net.params.values(), x, t]:
            assert not np.shares_memory(result, other)
    for result in results:
        result[...] = np.nan
    assert_equal(owned, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128], ids=lambda dtype: dtype.__name__)
def test_what_is_only_read_is_not_copied(dtype):
    """A batch is large: it is read where it is, and Affine keeps it there from forward to backward."""
    x = np.ones((2, 3), dtype)
    assert read_array("Net", "x", x, complex_too=True) is x
    if dtype != np.complex128:
        assert read_upstream("Net", x, x.shape, x.dtype) is x
    if dtype != np.float32:
        assert in_double(x) is x
    if dtype == np.float64:
        assert read_target("Net", x, x.shape, labels=True)[0] is x
    layer = Affine(np.ones((3, 2), dtype), np.ones(2, dtype))
    layer.forward(x)
    assert np.shares_memory(layer._x, x)
