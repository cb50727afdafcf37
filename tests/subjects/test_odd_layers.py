"""Layers in ways that nobody writes down: called all the same where it can be told how, else refused with why."""

import numpy as np
import pytest

import scratch
from oracle import check_layer
from oracle.errors import InputError
from oracle.notebook import open_layer
from oracle.sources.autograd import is_available
from oracle.subjects.conventions.places import replace_everywhere
from oracle.subjects.conventions.recognition import Told


def opened(layer, taken_for):
    """The layer as a subject, and what it was found to be."""
    subject, found, _ = open_layer(layer, taken_for, Told())
    return subject, found


class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        return dout @ self.W.T


class GivenTheParametersWithX:
    def forward(self, x, W, b):
        self.x, self.W = x, W
        return x @ W + b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        return dout @ self.W.T


class ByNoUsualName:
    def __init__(self, n_in, n_out):
        self.kernel, self.threshold = np.ones((n_in, n_out)), np.zeros(n_out)

    def forward(self, x):
        self.x = x
        return x @ self.kernel + self.threshold

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        return dout @ self.kernel.T


class ReturnsADictionary(Affine):
    def backward(self, dout):
        return {"dx": dout @ self.W.T, "grads": {"dW": self.x.T @ dout, "db": dout.sum(axis=0)}}


class KeepsCopiesInSinglePrecision(Affine):
    """None of its arrays is the one that it was given, nor equal to it."""

    def __init__(self, W, b):
        super().__init__(W.astype(np.float32), b.astype(np.float32))


def affine_forward(x, W, b):
    return x @ W + b, None


def affine_backward(dout, x, W, b):
    return dout @ W.T, x.T @ dout, dout.sum(axis=0)


@pytest.mark.parametrize(
    ("layer", "called"),
    [
        (GivenTheParametersWithX, "()"),
        (ByNoUsualName, "(in, out)"),
        (ReturnsADictionary, "dW in returned['grads']['dW'], db in returned['grads']['db']"),
        (affine_forward, "functions with a cache"),
    ],
)
def test_how_it_is_called_is_told_and_it_is_right(layer, called):
    result = check_layer(layer, taken_for="linear")  # as many call it
    assert result.verdict == "right", str(result)
    assert called in str(result)


def test_parameters_that_are_nowhere_to_be_seen_are_said_to_be_lost():
    _, found = opened(KeepsCopiesInSinglePrecision, "affine")
    assert found.calling.parameters == {}
    # Without PyTorch forward is the right one by definition, rounded parameters and all.
    expected = "precision lost" if is_available() else "right"
    assert check_layer(KeepsCopiesInSinglePrecision, taken_for="affine").verdict == expected


class Base:
    pass


class HasNothing(Base):
    pass


class Threshold:
    def __init__(self, threshold):
        self.threshold = threshold

    def forward(self, x):
        return x

    def backward(self, dout):
        return dout


class ThreeArguments(Affine):
    def __init__(self, W, b, name):
        super().__init__(W, b)


class KeepsNothing:
    def forward(self, x):
        return x

    def backward(self, dout):
        return dout


@pytest.mark.parametrize(
    ("layer", "taken_for", "why"),
    [
        (HasNothing, "relu", "it has neither forward nor backward"),
        (Threshold, "relu", r"its constructor wants 1 arguments \(threshold\)"),
        (
            ThreeArguments,
            "affine",
            r"its constructor wants 3 arguments \(W, b, name\), and 2 parameters \(W, b\) are known",
        ),
        (KeepsNothing, "affine", r"no array like W \(\d, \d\) was found among its attributes"),
    ],
)
def test_what_cannot_be_called_is_refused_with_why(layer, taken_for, why):
    with pytest.raises(InputError, match=f"{layer.__name__}: {why}; say how it is called"):
        check_layer(layer, taken_for=taken_for)


class ForwardAlone(Base):
    def forward(self, x):
        return np.maximum(x, 0.0)


class BackwardAlone(Base):
    def backward(self, dout):
        return dout


class ReturnsAList:
    def forward(self, x):
        self.mask = x > 0
        return (x * self.mask).tolist()

    def backward(self, dout):
        return dout * self.mask


class WithoutASignature:
    #: Python cannot tell what it takes.
    forward = staticmethod(max)

    def backward(self, dout):
        return dout


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (ForwardAlone, "has no attribute 'backward'"),
        (BackwardAlone, "has no attribute 'forward'"),
        (WithoutASignature, "forward raised TypeError"),
    ],
)
def test_what_cannot_run_is_said(layer, said):
    result = check_layer(layer, taken_for="relu")
    assert result.verdict == "could not run"
    assert said in result.cause
    assert not result.passed
    assert set(result.checks["runs"].sentences) == {result.cause}


def test_list_for_an_array_is_said_where_it_has_lost_its_shape():
    result = check_layer(ReturnsAList, taken_for="relu")
    assert (result.verdict, result.cause_id) == ("forward wrong", "wrong_shape")


# ----------------------------------------------------------------------------- losses


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_loss_forward(x, t):
    y = softmax(x)
    return float(-np.sum(t * np.log(y)) / len(x)), (y, t)


def softmax_loss_backward(cache):
    y, t = cache
    return (y - t) / len(y)


def test_backward_of_a_loss_may_take_the_cache_alone():
    _, found = opened(softmax_loss_forward, "softmaxwithloss")
    assert found.calling.backward_takes == ("cache",)
    assert found.record == "SoftmaxWithLoss"


def losses_of_each_row(x, t):
    """And its gradient."""
    y = softmax(x)
    return -np.sum(t * np.log(y), axis=-1), (y - t) / len(x)


def test_loss_of_another_shape_is_near_to_no_definition():
    """All are equally far from it: it is taken for the commonest."""
    _, found = opened(losses_of_each_row, "softmaxwithloss")
    assert found.record == "SoftmaxWithLoss"
    assert check_layer(losses_of_each_row, taken_for="softmaxwithloss").verdict not in ("right", "hazard")


class GradientOfAnotherShape:
    def forward(self, y, t):
        self.apart = y - t
        return float(np.sum(self.apart**2))

    def backward(self):
        return 2 * self.apart.sum(axis=1)


def test_gradient_of_another_shape_is_not_taken_for_the_slope():
    result = check_layer(GradientOfAnotherShape, taken_for="mse")
    assert result.verdict == "backward wrong"
    assert result.cause_id == "wrong_shape"


class WearsOut:
    """After its fourth forward it raises."""

    def __init__(self):
        self.left = 4

    def forward(self, x, t):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("worn out")
        self.y, self.t = softmax(x), t
        return float(-np.sum(t * np.log(self.y)) / len(x))

    def backward(self):
        return (self.y - self.t) / len(self.t)


def test_loss_that_works_a_few_times_only_is_called_as_far_as_it_goes():
    _, found = opened(WearsOut, "softmaxwithloss")
    assert found.calling.forward_takes == ("x", "t")


# ----------------------------------------------------------------------------- networks


class Net:
    """As the book has it."""

    def __init__(self, n_in, n_hidden, n_out):
        rng = np.random.default_rng(1)
        self.params = {
            "W1": rng.normal(size=(n_in, n_hidden)), "b1": np.zeros(n_hidden),
            "W2": rng.normal(size=(n_hidden, n_out)), "b2": np.zeros(n_out),
        }  # fmt: skip

    def predict(self, x):
        self.x, self.h = x, np.maximum(x @ self.params["W1"] + self.params["b1"], 0.0)
        return self.h @ self.params["W2"] + self.params["b2"]

    def loss(self, x, t):
        scores = self.predict(x)
        t = np.eye(scores.shape[1])[t] if t.ndim == 1 else t
        shifted = scores - scores.max(axis=-1, keepdims=True)
        self.dout = (softmax(scores) - t) / len(x)
        log_sum = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        return np.sum(t * (log_sum - shifted)) / len(x)

    def gradient(self, x, t):
        self.loss(x, t)
        below = (self.dout @ self.params["W2"].T) * (self.h > 0)
        return {
            "W1": x.T @ below, "b1": below.sum(axis=0), "W2": self.h.T @ self.dout, "b2": self.dout.sum(axis=0),
        }  # fmt: skip


class FourSizes(Net):
    def __init__(self, n_in, n_hidden, n_out, batch):
        super().__init__(n_in, n_hidden, n_out)


class NoGradient:
    def __init__(self, n_in, n_hidden, n_out):
        self.params = {}

    loss = Net.loss


class NoParameters(Net):
    def __init__(self, n_in, n_hidden, n_out):
        self.params = {}


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (FourSizes, r"its constructor wants 4 arguments \(n_in, n_hidden, n_out, batch\), and 3 sizes are known"),
        (NoGradient, r"a network with loss\(x, t\) and gradient\(x, t\) is required"),
        (NoParameters, r"no parameter called W1 was found, such as params\['W1'\]"),
    ],
)
def test_what_is_no_network_is_refused_with_why(network, why):
    with pytest.raises(InputError, match=why):
        open_layer(network, "TwoLayerNet", Told())


class GradientsInOrder(Net):
    def gradient(self, x, t):
        return list(super().gradient(x, t).values())


def test_gradients_without_names_are_taken_in_the_order_of_the_parameters():
    _, found = opened(GradientsInOrder, "TwoLayerNet")
    assert found.calling.gradients == {
        "W1": "returned[0]",
        "b1": "returned[1]",
        "W2": "returned[2]",
        "b2": "returned[3]",
    }
    assert check_layer(GradientsInOrder, taken_for="TwoLayerNet").verdict in ("right", "hazard")


class SizesInAList(scratch.MultiLayerNet):
    def __init__(self, input_size, hidden_size_list, output_size):
        super().__init__(input_size, hidden_size_list, output_size, hidden="sigmoid", output="sigmoid-squared")


def test_network_without_a_softmax_gives_scores_whatever_they_are():
    """With a softmax it is seen whether they are probabilities."""
    _, found = opened(SizesInAList, "MultiLayerNet sigmoid, squared error")
    assert found.calling.made_from == ("in", "list", "out")
    assert "scores" in found.calling.outputs


class TooFewGradients(Net):
    def gradient(self, x, t):
        return list(super().gradient(x, t).values())[:3]


class Raises(Net):
    def gradient(self, x, t):
        raise ZeroDivisionError("no gradient today")


@pytest.mark.parametrize(
    ("network", "said"), [(TooFewGradients, "backward raised TypeError"), (Raises, "no gradient today")]
)
def test_network_without_its_gradients_could_not_run(network, said):
    result = check_layer(network, taken_for="TwoLayerNet")
    assert result.verdict == "could not run"
    assert said in result.cause


class OwnNumericalGradientRaises(Net):
    def numerical_gradient(self, x, t):
        raise ZeroDivisionError("h is 0")


def test_numerical_gradient_of_its_own_that_raises_is_said_and_the_rest_is_checked():
    result = check_layer(OwnNumericalGradientRaises, taken_for="TwoLayerNet")
    assert "h is 0" in str(result)
    assert result.checks["backward_matches_numerical"].cases > 0


def test_arrays_are_replaced_in_lists_and_in_what_lists_hold():
    old, new, other = np.zeros(2), np.ones(2), np.zeros(2)
    held = [old, [other, old], {"W": old}]
    replace_everywhere(held, old, new)
    assert held[0] is held[1][1] is held[2]["W"] is new
    assert held[1][0] is other
