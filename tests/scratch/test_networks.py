"""TwoLayerNet and MultiLayerNet: gradients, parameters that stay with their layers, initial weights."""

import copy
import pickle

import numpy as np
import pytest

from scratch import Affine, IdentityWithLoss, MultiLayerNet, Relu, Sigmoid, SoftmaxWithLoss, TwoLayerNet

EPS = np.finfo(np.float64).eps

NETWORKS = [
    pytest.param({"hidden_sizes": [5]}, id="relu-softmax"),
    pytest.param({"hidden_sizes": [5, 6], "hidden": "sigmoid"}, id="two hidden sigmoid-softmax"),
    pytest.param({"hidden_sizes": [5, 6, 7], "weight_init_std": "he"}, id="three hidden relu-softmax"),
    pytest.param({"hidden_sizes": []}, id="no hidden layer"),
    pytest.param({"hidden_sizes": [5], "hidden": "sigmoid", "output": "sigmoid-squared"}, id="sigmoid-squared"),
    pytest.param({"hidden_sizes": [5], "output": "identity-squared"}, id="identity-squared"),
]


def build(rng, dtype=np.float64, **options):
    return MultiLayerNet(4, output_size=3, rng=rng, dtype=dtype, **options)


def draw(rng, N=7):
    """Return N samples and one-hot targets, which every loss accepts."""
    return rng.standard_normal((N, 4)), np.eye(3)[rng.integers(0, 3, N)]


def attached(net):
    """Whether every layer reads the array that params holds."""
    affines = [layer for layer in net.layers.values() if isinstance(layer, Affine)]
    return all(
        affine.W is net.params[f"W{k}"] and affine.b is net.params[f"b{k}"] for k, affine in enumerate(affines, 1)
    )


@pytest.mark.parametrize("options", NETWORKS)
def test_gradient_by_the_complex_step(options, rng, complex_step):
    net = build(rng, **options)
    x, t = draw(rng)
    gradient = net.gradient(x, t)
    twin = build(rng, dtype=np.complex128, **options)
    twin.params.update(net.params)

    def loss(value):
        twin.params[name] = value
        return twin.loss(x, t)

    assert list(gradient) == list(net.params)
    for name, parameter in net.params.items():
        expected = complex_step(loss, parameter)
        twin.params[name] = parameter
        # Up to four layers with sums of at most 7 terms near 1: a few dozen roundings.
        np.testing.assert_allclose(gradient[name], expected, rtol=0, atol=64 * EPS, err_msg=name)


@pytest.mark.parametrize("options", NETWORKS)
def test_numerical_gradient_agrees_with_backpropagation(options, rng):
    net = build(rng, **options)
    x, t = draw(rng)
    numerical, gradient = net.numerical_gradient(x, t), net.gradient(x, t)
    assert list(numerical) == list(net.params)
    for name in net.params:
        # h² f'''/6 with h = 1e-4 and third derivatives below 20, plus eps · loss / h.
        np.testing.assert_allclose(numerical[name], gradient[name], rtol=0, atol=4e-8, err_msg=name)
    assert attached(net)


def test_numerical_gradient_of_a_float32_network_is_computed_in_float64(rng):
    net = build(rng, dtype=np.float32, hidden_sizes=[5])
    x, t = draw(rng)
    double = build(rng, hidden_sizes=[5])
    double.params.update(net.params)
    for name, numerical in net.numerical_gradient(x.astype(np.float32), t).items():
        assert numerical.dtype == np.float32
        # The same computation, from x rounded to float32; central differences in float32 are off by 25 %.
        expected = double.numerical_gradient(x.astype(np.float32).astype(float), t)[name]
        np.testing.assert_array_equal(numerical, expected.astype(np.float32))


class Interrupt(Exception):
    pass


def test_an_interrupted_numerical_gradient_leaves_the_network_as_it_was(rng, monkeypatch):
    net = build(rng, hidden_sizes=[5])
    x, t = draw(rng)
    before = {name: parameter.copy() for name, parameter in net.params.items()}
    calls = 0
    forward = SoftmaxWithLoss.forward

    def interrupted(self, x, t):
        nonlocal calls
        calls += 1
        if calls == 30:
            raise Interrupt
        return forward(self, x, t)

    monkeypatch.setattr(SoftmaxWithLoss, "forward", interrupted)
    with pytest.raises(Interrupt):
        net.numerical_gradient(x, t)
    assert attached(net)
    for name, parameter in net.params.items():
        np.testing.assert_array_equal(parameter, before[name])


def test_layers_in_order():
    def names(**options):
        return list(MultiLayerNet(4, [5, 6], 3, **options).layers)

    assert names() == ["Affine1", "Relu1", "Affine2", "Relu2", "Affine3"]
    assert names(hidden="sigmoid") == ["Affine1", "Sigmoid1", "Affine2", "Sigmoid2", "Affine3"]
    assert names(output="sigmoid-squared")[-2:] == ["Affine3", "Sigmoid3"]
    assert names(output="identity-squared")[-1] == "Affine3"

    net = TwoLayerNet(4, 5, 3)
    assert [type(layer) for layer in net.layers.values()] == [Affine, Relu, Affine]
    assert type(net.last_layer) is SoftmaxWithLoss
    net = MultiLayerNet(4, [5], 3, hidden="sigmoid", output="sigmoid-squared")
    assert [type(layer) for layer in net.layers.values()] == [Affine, Sigmoid, Affine, Sigmoid]
    assert type(net.last_layer) is IdentityWithLoss


def test_parameters_by_name_shape_and_dtype():
    net = MultiLayerNet(4, [5, 6], 3, dtype=np.float32)
    shapes = {name: parameter.shape for name, parameter in net.params.items()}
    assert shapes == {"W1": (4, 5), "b1": (5,), "W2": (5, 6), "b2": (6,), "W3": (6, 3), "b3": (3,)}
    assert list(shapes) == ["W1", "b1", "W2", "b2", "W3", "b3"]
    assert {parameter.dtype for parameter in net.params.values()} == {np.dtype(np.float32)}


def test_the_smallest_network():
    assert MultiLayerNet(1, [1], 1, weight_init_std=0).predict([[2.0]]).tolist() == [[0.0]]


def test_predict_returns_what_enters_the_last_layer(rng):
    net = TwoLayerNet(4, 5, 3, weight_init_std=1, rng=rng)
    x, _ = draw(rng)
    p = net.params
    scores = np.maximum(x @ p["W1"] + p["b1"], 0) @ p["W2"] + p["b2"]
    np.testing.assert_allclose(net.predict(x), scores, rtol=0, atol=64 * EPS)  # sums of 5 terms below 10


def test_a_tensor_and_a_single_sample(rng):
    net = build(rng, hidden_sizes=[5])
    x, t = draw(rng)
    np.testing.assert_array_equal(net.predict(x.reshape(7, 1, 2, 2)), net.predict(x))
    single = net.gradient(x[0], t[0])
    for name, expected in net.gradient(x[:1], t[:1]).items():
        np.testing.assert_array_equal(single[name], expected)
    assert net.predict(x[0]).shape == (3,)


def test_accuracy_is_a_fraction_and_taken_row_by_row():
    net = MultiLayerNet(3, [], 3)
    net.params.update(W1=np.eye(3), b1=np.zeros(3))  # scores = x
    x = np.array([[9.0, 0, 0], [0, 1, 0], [0, 0, 1], [5, 0, 1]])
    assert net.accuracy(x, [0, 1, 2, 2]) == 0.75
    assert net.accuracy(x, np.eye(3)[[0, 1, 2, 2]]) == 0.75
    assert net.accuracy(x[1], 1) == 1.0
    assert net.accuracy(x, [1, 0, 0, 1]) == 0.0
    assert isinstance(net.accuracy(x, [0, 0, 0, 0]), float)


def test_in_place_steps_train_the_layers(rng):
    net = build(rng, hidden_sizes=[5])
    x, t = draw(rng)
    before = net.loss(x, t)
    for name, gradient in net.gradient(x, t).items():
        net.params[name] -= 0.01 * gradient
    assert net.loss(x, t) < before


ASSIGNMENTS = {
    "assignment": lambda params, new: params.__setitem__("W1", new),
    "assignment of a list": lambda params, new: params.__setitem__("W1", new.tolist()),
    "update with a dict": lambda params, new: params.update({"W1": new}),
    "update with a name": lambda params, new: params.update(W1=new),
    "|=": lambda params, new: params.__ior__({"W1": new}),
}


def test_or_update_of_the_attribute_itself():
    net = TwoLayerNet(4, 5, 3)
    net.params |= {"b1": np.ones(5)}
    assert attached(net)
    np.testing.assert_array_equal(net.layers["Affine1"].b, np.ones(5))


@pytest.mark.parametrize("assign", ASSIGNMENTS.values(), ids=ASSIGNMENTS.keys())
def test_assignment_copies_into_the_array_of_the_layer(assign, rng):
    net = build(rng, hidden_sizes=[5])
    x, _ = draw(rng)
    new = np.ones((4, 5))
    assign(net.params, new)
    assert attached(net)
    np.testing.assert_array_equal(net.params["W1"], new)
    np.testing.assert_allclose(net.layers["Affine1"].forward(x), x @ new, atol=8 * EPS)
    new[:] = 2
    assert net.params["W1"][0, 0] == 1


def test_setdefault_returns_the_parameter_that_is_there():
    params = TwoLayerNet(4, 5, 3).params
    assert params.setdefault("b1", np.ones(5)) is params["b1"]
    assert not params["b1"].any()


def test_parameters_can_be_exchanged(rng):
    net = MultiLayerNet(3, [3], 3, rng=rng)
    W1, W2 = net.params["W1"].copy(), net.params["W2"].copy()
    net.params.update(W1=net.params["W2"], W2=net.params["W1"])
    np.testing.assert_array_equal(net.params["W1"], W2)
    np.testing.assert_array_equal(net.params["W2"], W1)


def test_a_refused_update_changes_nothing(rng):
    net = build(rng, hidden_sizes=[5])
    before = net.params["W1"].copy()
    with pytest.raises(ValueError, match=r"'b1' has shape \(5,\)"):
        net.params.update(W1=np.ones((4, 5)), b1=np.ones(6))
    np.testing.assert_array_equal(net.params["W1"], before)


def test_values_of_another_real_dtype_are_converted(rng):
    net = build(rng, dtype=np.float32, hidden_sizes=[5])
    net.params["b1"] = np.arange(5)
    net.params["W1"] -= np.ones((4, 5))
    assert net.params["b1"].dtype == net.params["W1"].dtype == np.float32
    assert attached(net)


COPIES = {
    "deepcopy": copy.deepcopy,
    **{f"pickle protocol {p}": lambda net, p=p: pickle.loads(pickle.dumps(net, p)) for p in range(6)},
}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES.keys())
@pytest.mark.parametrize("used", [False, True], ids=["new", "after a gradient"])
def test_copies_are_attached_to_their_own_parameters(duplicate, used, rng):
    net = TwoLayerNet(4, 5, 3, rng=rng)
    x, t = draw(rng)
    if used:
        net.gradient(x, t)
    twin = duplicate(net)
    assert attached(twin)
    assert type(twin) is TwoLayerNet
    assert twin.loss(x, t) == net.loss(x, t)
    twin.params["W1"] = twin.params["W1"] + 1
    assert attached(twin)
    assert not np.array_equal(twin.params["W1"], net.params["W1"])


def test_the_same_generator_gives_the_same_network():
    first, second, third = (TwoLayerNet(4, 5, 3, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    for name in first.params:
        np.testing.assert_array_equal(first.params[name], second.params[name])
    assert not np.array_equal(first.params["W1"], third.params["W1"])


def test_without_a_generator_every_network_is_another_and_the_global_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what is tested
    first, second = TwoLayerNet(4, 5, 3), TwoLayerNet(4, 5, 3)
    assert not np.array_equal(first.params["W1"], second.params["W1"])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_float32_network_is_the_float64_network_rounded():
    single, double = (
        TwoLayerNet(4, 5, 3, rng=np.random.default_rng(0), dtype=dtype) for dtype in (np.float32, np.float64)
    )
    for name in single.params:
        np.testing.assert_array_equal(single.params[name], double.params[name].astype(np.float32))


@pytest.mark.parametrize(
    ("std", "expected"),
    [(0.01, 0.01), ("lecun", 400**-0.5), ("he", 200**-0.5), (0, 0)],
    ids=["number", "lecun", "he", "zero"],
)
def test_standard_deviation_of_the_weights(std, expected, rng):
    net = MultiLayerNet(400, [300], 2, weight_init_std=std, rng=rng)
    # 120,000 draws: the standard deviation is known to 0.2 %, five of them are 1 %.
    assert net.params["W1"].std() == pytest.approx(expected, rel=0.01)
    assert not net.params["b1"].any()
    assert TwoLayerNet(400, 300, 2, rng=rng).params["W1"].std() == pytest.approx(0.01, rel=0.01)


def test_a_complex_network_predicts_and_has_a_loss_only(rng):
    net = build(rng, dtype=np.complex128, hidden_sizes=[5])
    x, t = draw(rng)
    assert net.predict(x).dtype == np.complex128
    assert net.loss(x, t).dtype == np.complex128
    for method in (net.gradient, net.accuracy, net.numerical_gradient):
        with pytest.raises(TypeError, match=f"MultiLayerNet: {method.__name__} of a complex128 network"):
            method(x, t)


def test_one_direction_by_the_complex_step(rng):
    """The use of a complex network: the derivative along one direction of all parameters at once."""
    net = TwoLayerNet(4, 5, 3, weight_init_std=1, rng=rng)
    x, t = draw(rng)
    twin = TwoLayerNet(4, 5, 3, rng=rng, dtype=np.complex128)
    direction = {name: rng.standard_normal(parameter.shape) for name, parameter in net.params.items()}
    h = 1e-20
    twin.params.update({name: net.params[name] + 1j * h * direction[name] for name in net.params})
    gradient = net.gradient(x, t)
    expected = sum(np.sum(gradient[name] * direction[name]) for name in gradient)
    assert twin.loss(x, t).imag / h == pytest.approx(expected, rel=64 * EPS)


def test_warnings_are_silenced_once_for_all_layers(rng, monkeypatch):
    """NumPy's errstate takes as long as a small layer; it is left again, also by way of an exception."""
    entered = []

    class Counting(np.errstate):
        def __enter__(self):
            entered.append(self)
            return super().__enter__()

    monkeypatch.setattr(np, "errstate", Counting)
    net, x, t = TwoLayerNet(4, 5, 3, rng=rng), rng.standard_normal((2, 4)), [0, 2]
    outside = np.geterr()
    net.loss_and_gradient(x, t)
    assert len(entered) == 1
    with pytest.raises(ValueError, match="labels of 3 classes"):
        net.loss_and_gradient(x, [0, 3])
    assert len(entered) == 2
    net.layers["Affine1"].forward(x)
    assert len(entered) == 3
    assert np.geterr() == outside
