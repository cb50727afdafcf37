"""The certificate of a network: what it notices, what it says of it, and that it is silent where nothing is wrong."""

import math
import os
from dataclasses import replace

import numpy as np
import pytest

from oracle.bench.check import SIZES, images_like_mnist, thresholds
from oracle.catalog.case import materialise
from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import corners_of, generated_cases
from oracle.data import load_mnist
from oracle.judge import location
from oracle.judge.certificate import DIRECTIONS, Certifier, inner
from oracle.judge.location import LISTED, MOST_DERIVATIVES, locate, with_other_sources
from oracle.sources.autograd import is_available
from oracle.sources.directional import AlongDirections, draw_directions
from oracle.sources.truth import NoTruthError
from oracle.subjects.in_process import InProcessSubject, implementation_of
from scratch import TwoLayerNet

NETWORKS = [name for name, record in RECORDS.items() if record.stack]
PARAMETERS = SIZES[0] * SIZES[1] + SIZES[1] + SIZES[1] * SIZES[2] + SIZES[2]
#: Forwards of the loop over all entries, two for each.
LOOP = 2 * PARAMETERS


class Altered:
    """A subject whose gradients, by quantity, pass through a function on their way out."""

    def __init__(self, subject):
        self.subject, self.record, self.label = subject, subject.record, subject.label
        self.alter = lambda gradients: None

    def open(self, parameters):
        handle = self.subject.open(parameters)
        step = handle.step

        def altered(inputs, dout):
            gradients = {name: values.copy() for name, values in step(inputs, dout).items()}
            self.alter(gradients)
            return gradients

        handle.step = altered
        return handle


@pytest.fixture(scope="module")
def images():
    """Three images of MNIST where it is at hand, and random ones with as many zeros elsewhere."""
    directory = os.environ.get("MNIST_DIR")
    return load_mnist(directory, limit=3) if directory else images_like_mnist(0)


class Bench:
    """TwoLayerNet 784-50-10 on three images with gradients that can be spoilt."""

    def __init__(self, images, dtype=np.float64):
        self.record = RECORDS["TwoLayerNet"]
        rng = np.random.default_rng(5)
        sizes = {"W1": SIZES[:2], "b1": SIZES[1:2], "W2": SIZES[1:], "b2": SIZES[2:]}
        self.parameters = {n: (rng.normal(size=s) / math.sqrt(s[0])).astype(dtype) for n, s in sizes.items()}
        self.inputs = {"x": images.images[:3].astype(dtype), "t": images.labels[:3].astype(np.int64)}
        self.subject = Altered(implementation_of(self.record))
        self.certifier = Certifier(self.subject, self.parameters, seed=1)
        clean = self.certifier.certify(self.inputs)
        assert clean.passed
        self.dW1 = clean.gradients['grads["W1"]'].copy()
        sizes = np.abs(self.dW1)
        self.median = float(np.median(sizes[sizes > 0]))
        self.at_least_the_median = np.argwhere(sizes >= self.median)
        self.zeros = np.argwhere(sizes == 0)

    def spoil(self, alter):
        """Let ``alter`` write into dW1 from now on."""
        self.subject.alter = lambda gradients: alter(gradients['grads["W1"]'])

    def caught(self):
        return not self.certifier.certify(self.inputs).passed

    def located(self):
        return locate(self.certifier.at(self.inputs))


@pytest.fixture(scope="module")
def bench(images):
    return Bench(images)


@pytest.fixture(autouse=True)
def nothing_spoilt(request):
    yield
    if "bench" in request.fixturenames:
        request.getfixturevalue("bench").subject.alter = lambda gradients: None


def indices(location):
    return [entry.index for entry in location.entries]


def places(array):
    return sorted(tuple(int(i) for i in place) for place in array)


# ----------------------------------------------------------------------------- what it notices


def test_error_of_1e_8_in_a_single_entry_is_caught_and_located_at_200_places(bench):
    """In entries from the median on, and as much of that median in entries that are 0."""
    rng = np.random.default_rng(0)
    for draw in range(200):
        among = bench.zeros if draw % 4 == 0 else bench.at_least_the_median
        place = tuple(int(i) for i in among[rng.integers(len(among))])
        error = 1e-8 * (abs(bench.dW1[place]) or bench.median) * rng.choice((-1, 1))

        def alter(dW1, place=place, error=error):
            dW1[place] += error

        bench.spoil(alter)
        assert bench.caught()
        found = bench.located()
        assert indices(found) == [place]
        (entry,) = found.entries
        assert entry.quantity == 'grads["W1"]'
        assert entry.backprop == bench.dW1[place] + error
        assert abs(entry.numerical - bench.dW1[place]) <= entry.bound < abs(error)
        assert found.evaluations <= 0.05 * LOOP


def test_two_exchanged_entries_are_caught_and_located(bench):
    rng = np.random.default_rng(1)
    for _ in range(40):
        one, other = places(bench.at_least_the_median[rng.choice(len(bench.at_least_the_median), 2, replace=False)])
        if bench.dW1[one] == bench.dW1[other]:
            continue  # nothing is wrong

        def alter(dW1, one=one, other=other):
            dW1[one], dW1[other] = dW1[other], dW1[one]

        bench.spoil(alter)
        assert bench.caught()
        assert indices(bench.located()) == [one, other]


@pytest.mark.parametrize("count", [3, 17])
def test_several_wrong_entries_are_all_listed(bench, count):
    rng = np.random.default_rng(2)
    for _ in range(10):
        wrong = bench.at_least_the_median[rng.choice(len(bench.at_least_the_median), count, replace=False)]

        def alter(dW1, wrong=wrong):
            dW1[tuple(wrong.T)] *= 1 + 1e-8

        bench.spoil(alter)
        assert bench.caught()
        found = bench.located()
        assert indices(found) == places(wrong)
        assert found.evaluations <= 0.05 * LOOP


def test_wrong_entries_of_several_arrays_are_listed_with_theirs(bench):
    def alter(gradients):
        gradients['grads["W1"]'][300, 7] += 1.0
        gradients['grads["b1"]'][3] -= 1.0
        gradients['grads["b2"]'][9] *= 1.01

    bench.subject.alter = alter
    found = [(entry.quantity, entry.index) for entry in bench.located().entries]
    assert found == [('grads["W1"]', (300, 7)), ('grads["b1"]', (3,)), ('grads["b2"]', (9,))]


def test_located_entries_come_with_their_values_from_the_other_sources(bench):
    place = tuple(int(i) for i in bench.at_least_the_median[77])

    def alter(dW1):
        dW1[place] *= 1.5

    bench.spoil(alter)
    point = bench.certifier.at(bench.inputs)
    (entry,) = with_other_sources(locate(point), point).entries
    assert entry.truth == pytest.approx(bench.dW1[place], rel=1e-12)
    assert entry.autograd == (pytest.approx(bench.dW1[place], rel=1e-12) if is_available() else None)
    assert f"truth: {entry.truth!r}" in str(entry)


def test_located_entries_come_without_truth_where_there_is_none(bench, monkeypatch):
    def refuses(*_, **__):
        raise NoTruthError("nobody knows")

    monkeypatch.setattr(location, "truth", refuses)
    bench.spoil(lambda dW1: dW1.__setitem__((3, 4), 1.0))
    point = bench.certifier.at(bench.inputs)
    (entry,) = with_other_sources(locate(point), point).entries
    assert entry.truth is None
    assert "truth" not in str(entry)


def test_thresholds_are_below_the_aims_and_the_observed_one_below_the_guaranteed_one(images):
    noticed = thresholds(images, seed=0)
    assert 0 < noticed["observed"] <= noticed["guaranteed"] <= 1e-9
    assert noticed["observed"] <= 1e-10


def test_error_at_the_guaranteed_threshold_is_noticed_by_every_direction(bench):
    certificate = bench.certifier.certify(bench.inputs)
    error = certificate.guaranteed['grads["W1"]'] * bench.median
    rng = np.random.default_rng(3)
    for _ in range(50):
        place = tuple(bench.zeros[rng.integers(len(bench.zeros))])

        def alter(dW1, place=place):
            dW1[place] += 1.1 * error

        bench.spoil(alter)
        assert all(direction.margin > 1 for direction in bench.certifier.certify(bench.inputs).directions)


def test_backward_in_single_precision_is_noticed(bench):
    bench.spoil(lambda dW1: np.copyto(dW1, dW1.astype(np.float32)))
    assert bench.caught()


# ----------------------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    ("alter", "pattern"),
    [
        (lambda dW1: dW1.fill(0), "every entry is 0"),
        (lambda dW1: np.negative(dW1, out=dW1), "every entry has the wrong sign"),
        (lambda dW1: np.multiply(dW1, 3, out=dW1), "every entry is 3 times what it should be"),
        (lambda dW1: np.divide(dW1, 3, out=dW1), "every entry is 0.333333 times what it should be"),
        (
            lambda dW1: dW1.__setitem__(slice(53, None, 100), 1.0),
            "wrong in 8 of 784 rows: 53, 153, 253, 353, 453, 553, 653, 753",
        ),
        (lambda dW1: dW1.__setitem__((slice(None), 7), 1.0), "wrong in 1 of 50 columns: 7"),
        (lambda dW1: np.add(dW1, 0.1, out=dW1), "wrong all over the array"),
        (lambda dW1: dW1.__setitem__((3, 4), np.nan), "1 of 39200 entries are not finite, the first at [3, 4]"),
    ],
    ids=["zeros", "sign", "factor 3", "factor 1/3", "rows", "column", "everywhere", "NaN"],
)
def test_pattern_of_many_wrong_entries_is_described(bench, alter, pattern):
    bench.spoil(alter)
    assert bench.caught()
    found = bench.located()
    assert found.patterns == {'grads["W1"]': pattern}
    assert found.entries == ()
    assert pattern in str(found)


def test_what_should_be_zero_everywhere_is_no_factor_of_it(bench):
    """Black images: no pixel has anything to say about W1."""
    bench.spoil(lambda dW1: np.add(dW1, 0.1, out=dW1))
    found = locate(bench.certifier.at({**bench.inputs, "x": np.zeros_like(bench.inputs["x"])}))
    assert found.patterns == {'grads["W1"]': "wrong all over the array"}


def test_single_entry_has_no_pattern():
    """It is listed, and not said to be a factor of what it should be."""
    shapes = {"W1": (5, 1), "b1": (1,), "W2": (1, 3), "b2": (3,)}
    rng = np.random.default_rng(0)
    parameters = {name: rng.uniform(0.1, 1, shape) for name, shape in shapes.items()}
    subject = Altered(implementation_of(RECORDS["TwoLayerNet"]))
    subject.alter = lambda gradients: np.multiply(gradients['grads["b1"]'], 3, out=gradients['grads["b1"]'])
    found = locate(Certifier(subject, parameters).at({"x": rng.uniform(0, 1, (6, 5)), "t": rng.integers(0, 3, 6)}))
    assert found.patterns == {}
    assert [(entry.quantity, entry.index) for entry in found.entries] == [('grads["b1"]', (0,))]


def test_a_factor_is_found_long_before_a_list_would_be(bench):
    bench.spoil(lambda dW1: np.multiply(dW1, 3, out=dW1))
    assert bench.located().evaluations < 50 < MOST_DERIVATIVES


def test_long_list_is_cut_in_the_sentence_but_not_in_the_data(bench):
    def alter(dW1):
        dW1[200, :12] += 1

    bench.spoil(alter)
    found = bench.located()
    assert len(found.entries) == 12 > LISTED
    assert "12 wrong entries in all" in str(found)


# ----------------------------------------------------------------------------- no false alarm


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NETWORKS)
def test_correct_network_passes_in_every_corner(name, dtype):
    record = RECORDS[name]
    subject = implementation_of(record)
    margins = []
    for corner in corners_of(record, dtype):
        for case in generated_cases(record, dtype, corner, 20, seed=0):
            arrays = materialise(case, record)
            certificate = Certifier(subject, arrays.parameters, seed=case.seed).certify(arrays.inputs)
            assert certificate.passed, (str(case), certificate)
            assert certificate.entries + certificate.left_out == sum(v.size for v in arrays.parameters.values())
            margins.append(certificate.margin)
    # Not so far below 1 that it could not fail: rounding is seen.
    assert max(margins) > 1e-3


def test_entries_that_hang_on_a_kink_are_left_out_and_counted():
    """The pre-activation of hidden unit 1 is exactly 0 for the only sample."""
    record = RECORDS["TwoLayerNet"]
    rng = np.random.default_rng(0)
    W1 = rng.normal(size=(2, 3))
    W1[:, 1] = [1.0, -1.0]
    parameters = {"W1": W1, "b1": np.zeros(3), "W2": rng.normal(size=(3, 2)), "b2": np.zeros(2)}
    inputs = {"x": np.array([[0.5, 0.5]]), "t": np.array([1])}

    class OtherConvention(Altered):
        """The derivative at 0 is 1."""

    subject = OtherConvention(implementation_of(record))
    certifier = Certifier(subject, parameters)
    certificate = certifier.certify(inputs)
    assert certificate.passed
    assert certificate.left_out == 3  # W1[0, 1], W1[1, 1] and b1[1]

    def alter(gradients):
        gradients['grads["W1"]'][:, 1] = 77.0
        gradients['grads["b1"]'][1] = 77.0

    subject.alter = alter
    assert certifier.certify(inputs).passed


# ----------------------------------------------------------------------------- where the complex step cannot be trusted


class Book:
    """A plain network, for subjects whose forward is not analytic in NumPy's eyes."""

    decay = 0.0

    def __init__(self, sizes, dtype):
        fan_in, hidden, classes = sizes
        shapes = {"W1": (fan_in, hidden), "b1": (hidden,), "W2": (hidden, classes), "b2": (classes,)}
        self.params = {name: np.zeros(shape, dtype) for name, shape in shapes.items()}

    def penalty(self, W1):
        return 0.0

    def predict(self, x):
        self.h = np.maximum(x @ self.params["W1"] + self.params["b1"], 0)
        return self.h @ self.params["W2"] + self.params["b2"]

    def accuracy(self, x, t):
        return 0.0

    def loss(self, x, t):
        scores = self.predict(x)
        shifted = scores - scores.real.max(axis=1, keepdims=True)
        picked = shifted[np.arange(len(t)), t]
        return (np.log(np.exp(shifted).sum(axis=1)) - picked).mean() + self.penalty(self.params["W1"])

    def gradient(self, x, t):
        scores = self.predict(x)
        y = np.exp(scores - scores.max(axis=1, keepdims=True))
        y /= y.sum(axis=1, keepdims=True)
        y[np.arange(len(t)), t] -= 1
        y /= len(t)
        below = (y @ self.params["W2"].T) * (self.h > 0)
        dW1 = x.T @ below + self.decay * np.sign(self.params["W1"])
        return {"W1": dW1, "b1": below.sum(0), "W2": self.h.T @ y, "b2": y.sum(0)}


class LosesTheImaginaryPart(Book):
    """With a warning."""

    def predict(self, x):
        return super().predict(x).astype(np.float64)


class AbsoluteValues(Book):
    """A penalty of Σ|W1|: a complex step through ``abs`` is 0 without a warning."""

    def penalty(self, W1):
        return 0.01 * np.abs(W1).sum()


class AbsoluteValuesWithTheirGradient(AbsoluteValues):
    decay = 0.01


class ReturnsTheRealPart(Book):
    """Without a warning."""

    def loss(self, x, t):
        return super().loss(x, t).real


class RefusesComplexNumbers(Book):
    def __init__(self, sizes, dtype):
        if np.dtype(dtype).kind == "c":
            raise TypeError("real numbers only")
        super().__init__(sizes, dtype)


def certified(network, seed=0):
    record = RECORDS["TwoLayerNet"]
    rng = np.random.default_rng(seed)
    shapes = {"W1": (5, 4), "b1": (4,), "W2": (4, 3), "b2": (3,)}
    parameters = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    inputs = {"x": rng.normal(size=(6, 5)), "t": rng.integers(0, 3, 6)}
    certifier = Certifier(InProcessSubject(record, network), parameters)
    return certifier.certify(inputs), lambda: locate(certifier.at(inputs))


def test_plain_network_is_certified_by_the_complex_step():
    certificate, _ = certified(Book)
    assert certificate.passed
    assert {direction.method for direction in certificate.directions} == {"complex step"}


@pytest.mark.parametrize(
    "network", [LosesTheImaginaryPart, ReturnsTheRealPart, RefusesComplexNumbers, AbsoluteValuesWithTheirGradient]
)
def test_where_the_complex_step_cannot_be_trusted_differences_are_used_and_said_so(network):
    certificate, _ = certified(network)
    assert certificate.passed
    trusted, _ = certified(Book)
    for direction in certificate.directions:
        assert direction.method.startswith("extrapolated central difference; complex step: ")
        # An honest bound is wider: a difference of two losses loses half of the digits.
        assert direction.bound > 10 * max(d.bound for d in trusted.directions)


def test_differences_stay_on_one_side_of_every_kink():
    """A difference across a kink mixes two slopes: of 300 correct networks none is taken for wrong."""
    for seed in range(300):
        certificate, _ = certified(RefusesComplexNumbers, seed)
        assert certificate.passed, seed


def test_complex_step_is_trusted_beside_a_kink():
    """Among these 150 pre-activations one is 1e-5 from 0, and a difference with a step of 2⁻¹⁴ is beyond it."""
    record = RECORDS["TwoLayerNet"]
    net = TwoLayerNet(*SIZES, rng=np.random.default_rng(0))
    images = images_like_mnist(0)
    inputs = {"x": images.images, "t": images.labels}
    assert np.abs(images.images @ net.params["W1"]).min() < 2e-5
    certificate = Certifier(implementation_of(record), net.params, seed=0).certify(inputs)
    assert certificate.passed
    assert {direction.method for direction in certificate.directions} == {"complex step"}


def test_part_that_the_complex_step_loses_and_the_backward_forgets_is_noticed_all_the_same():
    """Both agree with each other, and both are wrong."""
    certificate, located = certified(AbsoluteValues)
    assert not certificate.passed
    found = located()
    assert [entry.quantity for entry in found.entries] == ['grads["W1"]'] * 20
    assert all(abs(abs(entry.backprop - entry.numerical) - 0.01) < 1e-6 for entry in found.entries)


# ----------------------------------------------------------------------------- what is refused


def test_single_layer_is_refused():
    record = RECORDS["Affine"]
    with pytest.raises(ValueError, match=r"^Affine: received a single layer; required: a network"):
        Certifier(implementation_of(record), {"W": np.ones((2, 3)), "b": np.ones(3)})


def test_gradient_of_a_wrong_shape_is_refused_with_both_shapes(bench):
    bench.subject.alter = lambda gradients: gradients.update({'grads["b1"]': np.zeros((1, 50))})
    with pytest.raises(ValueError, match=r'grads\["b1"\] has shape \(1, 50\), but b1 has shape \(50,\)'):
        bench.certifier.certify(bench.inputs)


# ----------------------------------------------------------------------------- directions and sums


def test_directions_are_random_signs_times_magnitudes_from_a_half_to_one():
    directions = draw_directions(np.empty((3, 10_001)), np.random.default_rng(0))
    assert np.all((np.abs(directions) >= 0.5) & (np.abs(directions) < 1))
    assert np.array_equal(directions * 1024, np.round(directions * 1024))
    # 30,003 fair coins: five standard deviations are 433 from the middle.
    assert abs(int((directions > 0).sum()) - 15_001) < 433
    assert len(np.unique(directions)) == 1024
    assert not np.array_equal(directions[0], directions[1])


def test_the_number_of_directions_follows_from_the_miss_probability():
    assert (2 / 1024) ** DIRECTIONS <= 1e-5 < (2 / 1024) ** (DIRECTIONS - 1)


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_sum_of_products_is_that_of_exact_addition(scale):
    rng = np.random.default_rng(0)
    gradient, direction = rng.normal(size=5000) * scale, draw_directions(np.empty(5000), rng)
    exact = math.fsum(gradient * direction)
    assert inner(gradient, direction, np.empty((2, 5000))) == pytest.approx(exact, rel=1e-15)


def test_slope_is_that_of_the_loss_along_the_direction(images):
    """Against ordinary central differences on the network itself."""
    rng = np.random.default_rng(0)
    net = TwoLayerNet(4, 3, 2, rng=rng)
    net.params["W1"][...] = rng.normal(size=(4, 3))
    inputs = {"x": rng.normal(size=(5, 4)), "t": rng.integers(0, 2, 5)}
    along = AlongDirections(implementation_of(RECORDS["TwoLayerNet"]), net.params)
    along.at(inputs)
    direction = draw_directions(np.empty(along.entries), rng)
    parts, before = along.split(direction), {name: values.copy() for name, values in net.params.items()}
    losses = []
    for sign in (1, -1):
        for name, values in before.items():
            net.params[name] = values + sign * 1e-5 * parts[name]
        losses.append(net.loss(inputs["x"], inputs["t"]))
    assert along.slope(direction).value == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-7)


def test_certificate_stays_as_it_is_when_another_is_made(bench):
    first = bench.certifier.certify(bench.inputs)
    before = first.gradients['grads["W1"]'].copy()
    bench.spoil(lambda dW1: dW1.fill(0))
    bench.certifier.certify(bench.inputs)
    assert np.array_equal(first.gradients['grads["W1"]'], before)


def test_same_seed_gives_the_same_certificate(bench):
    again = [Certifier(bench.subject, bench.parameters, seed=9).certify(bench.inputs) for _ in range(2)]
    assert again[0].directions == again[1].directions
    other = Certifier(bench.subject, bench.parameters, seed=10).certify(bench.inputs)
    assert other.directions != again[0].directions
    assert replace(again[0].directions[0], bound=0.0).margin in (0.0, math.inf)
