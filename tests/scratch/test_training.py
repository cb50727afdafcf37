"""Training: which samples make a batch, the update, and what the history says."""

import copy
import itertools

import numpy as np
import pytest

from scratch import SGD, Batches, History, MultiLayerNet, Trainer, TwoLayerNet

ORDERS = ["replacement", "shuffled", "file"]
DTYPES = [np.float32, np.float64]


def generator(seed=0):
    return np.random.default_rng(seed)


def drawn(batches, count):
    return [batches.draw().tolist() for _ in range(count)]


# ----------------------------------------------------------------------------- which samples


def test_with_replacement_samples_come_back_and_others_are_left_out():
    batches = Batches(10, 10, generator())
    # Ten draws of ten without a repetition in any would have probability (10!/10^10)^10 < 1e-34.
    assert any(len(set(batch)) < 10 for batch in drawn(batches, 10))
    assert batches.steps_per_epoch == 1


def test_with_replacement_every_sample_is_as_likely():
    counts = np.bincount(np.concatenate(drawn(Batches(10, 100, generator()), 100)), minlength=10)
    # 10,000 draws: 1,000 each, with a standard deviation of 30; five of them.
    np.testing.assert_allclose(counts, 1000, atol=150)


def test_a_shuffled_epoch_is_every_sample_once_and_the_next_has_another_order():
    batches = Batches(7, 3, generator(), "shuffled")
    epochs = [drawn(batches, batches.steps_per_epoch) for _ in range(3)]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [3, 3, 1]
        assert sorted(itertools.chain.from_iterable(epoch)) == list(range(7))
    assert len({str(epoch) for epoch in epochs}) == 3


def test_file_order_is_that_of_the_file_in_every_epoch():
    batches = Batches(5, 2, generator(), "file")
    assert drawn(batches, 6) == [[0, 1], [2, 3], [4]] * 2
    assert batches.steps_per_epoch == 3


def test_file_order_draws_no_random_number():
    rng = generator()
    drawn(Batches(5, 2, rng, "file"), 6)
    assert rng.bit_generator.state == generator().bit_generator.state


@pytest.mark.parametrize(
    ("order", "expected", "steps_per_epoch"),
    [("replacement", 8, 1), ("shuffled", 3, 1), ("file", 3, 1)],
    ids=ORDERS,
)
def test_a_batch_larger_than_the_data(order, expected, steps_per_epoch):
    """With replacement it repeats samples; an epoch's batch is all of them."""
    batches = Batches(3, 8, generator(), order)
    for batch in drawn(batches, 3):
        assert len(batch) == expected
        assert set(batch) <= {0, 1, 2}
        if order != "replacement":
            assert sorted(batch) == [0, 1, 2]
    assert batches.steps_per_epoch == steps_per_epoch


@pytest.mark.parametrize(
    ("samples", "batch_size", "with_replacement", "in_epochs"),
    [(1437, 100, 14, 15), (60000, 100, 600, 600), (5, 1, 5, 5), (1, 1, 1, 1), (99, 100, 1, 1)],
)
def test_steps_per_epoch(samples, batch_size, with_replacement, in_epochs):
    assert Batches(samples, batch_size, generator()).steps_per_epoch == with_replacement
    for order in ("shuffled", "file"):
        assert Batches(samples, batch_size, generator(), order).steps_per_epoch == in_epochs


@pytest.mark.parametrize("order", ORDERS)
def test_a_drawn_batch_belongs_to_the_caller(order):
    spoiled, untouched = (Batches(6, 3, generator(), order) for _ in range(2))
    for _ in range(4):
        spoiled.draw()[...] = 77
        untouched.draw()
    assert drawn(spoiled, 6) == drawn(untouched, 6)


@pytest.mark.parametrize("order", ["replacement", "shuffled"])
def test_the_generator_decides_the_batches(order):
    first, again, other = (drawn(Batches(50, 5, generator(seed), order), 12) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("used", [0, 1, 3, 4, 5], ids=lambda used: f"after {used} batches")
@pytest.mark.parametrize("order", ORDERS)
def test_a_restored_state_goes_on_exactly(order, used):
    batches = Batches(10, 3, generator(), order)  # four batches an epoch: before, within, at the end of and after it
    drawn(batches, used)
    state = batches.state()
    ahead = drawn(batches, 9)

    other = Batches(10, 3, generator(99), order)
    drawn(other, 2)
    other.restore(state)
    assert drawn(other, 9) == ahead
    # The state is a copy: neither run has changed it.
    batches.restore(state)
    assert drawn(batches, 9) == ahead


def test_a_state_of_other_data_is_refused():
    state = Batches(10, 3, generator()).state()
    batches = Batches(11, 3, generator(1))
    before = copy.deepcopy(batches.state())
    with pytest.raises(ValueError, match=r"Batches: the state is that of 10 samples .*; required: 11 samples"):
        batches.restore(state)
    assert batches.state()["rng"] == before["rng"]


def test_a_state_of_another_kind_of_generator_is_refused():
    state = Batches(10, 3, np.random.Generator(np.random.MT19937(0))).state()
    batches = Batches(10, 3, generator())
    with pytest.raises(ValueError, match=r"Batches: the state is that of .* MT19937; required: 10 samples and PCG64"):
        batches.restore(state)
    assert drawn(batches, 5) == drawn(Batches(10, 3, generator()), 5)


@pytest.mark.parametrize(("samples", "batch_size"), [(0, 1), (1, 0), (-1, 5), (5, -1)])
def test_no_samples_and_an_empty_batch_are_refused(samples, batch_size):
    with pytest.raises(ValueError, match=f"Batches: {samples} samples in batches of {batch_size}; required"):
        Batches(samples, batch_size, generator())


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="Batches: order is 'random'; required: one of replacement, shuffled, file"):
        Batches(5, 2, generator(), "random")


@pytest.mark.parametrize("rng", [0, None, np.random], ids=["a seed", "None", "numpy.random"])
def test_what_is_no_generator_is_refused(rng):
    with pytest.raises(TypeError, match=r"Batches: rng is of type .*; required: a numpy\.random\.Generator"):
        Batches(5, 2, rng)


# ----------------------------------------------------------------------------- the update


def test_sgd_subtracts_the_rate_times_the_gradient_in_place():
    array = np.array([1.0, 2.0])
    params = {"W": array, "b": np.array([4.0])}
    SGD(0.5).update(params, {"W": np.array([1.0, -1.0]), "b": np.array([2.0])})
    # Halves and whole numbers: nothing rounds.
    assert params["W"] is array
    assert array.tolist() == [0.5, 2.5]
    assert params["b"].tolist() == [3.0]


def test_sgd_takes_gradients_of_whole_numbers():
    params = {"W": np.array([1.0, 2.0])}
    SGD(0.5).update(params, {"W": np.array([1, -1])})
    assert params["W"].tolist() == [0.5, 2.5]


def test_one_sgd_serves_several_networks():
    """It remembers nothing of the one that the other could meet."""
    optimizer = SGD(0.5)
    for size, dtype in ((3, np.float64), (2, np.float64), (2, np.float32), (3, np.float64)):
        params = {"W": np.ones(size, dtype)}
        optimizer.update(params, {"W": np.arange(size, dtype=dtype)})
        assert params["W"].tolist() == [1.0, 0.5, 0.0][:size]
        assert params["W"].dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_sgd_allocates_once(dtype):
    """Large arrays are dear to allocate: new parameters are computed in the memory of the last ones, in their dtype."""
    optimizer, params = SGD(0.5), {"W": np.ones(3, dtype)}
    optimizer.update(params, {"W": np.ones(3, dtype)})
    memory = optimizer._new["W"]
    optimizer.update(params, {"W": np.full(3, 4, dtype)})
    assert optimizer._new["W"] is memory
    assert memory.dtype == dtype
    assert memory.tolist() == [-1.5, -1.5, -1.5]
    assert not np.shares_memory(memory, params["W"])


@pytest.mark.parametrize("of_parameter", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("of_gradient", DTYPES, ids=lambda dtype: dtype.__name__)
def test_sgd_computes_in_the_wider_dtype_and_rounds_once(of_parameter, of_gradient):
    """The difference, 2⁻³⁰, is lost where a product or a difference is rounded to float32 before its time."""
    p, gradient = np.ones(1, of_parameter), np.ones(1, of_gradient)
    if of_gradient == np.float64:
        gradient += 2.0**-30
    if of_parameter == np.float64:
        p += 2.0**-30
    expected = (p.astype(float) - gradient.astype(float)).astype(of_parameter)
    SGD(1.0).update({"W": p}, {"W": gradient})
    assert p.dtype == of_parameter
    assert p == expected


@pytest.mark.parametrize("gradient", [np.ones(1), np.ones(1, int)], ids=["float64", "int64"])
def test_sgd_refuses_parameters_that_cannot_hold_the_result(gradient):
    params = {"W": np.ones(1, int)}
    with pytest.raises(TypeError):
        SGD(0.5).update(params, {"W": gradient})
    assert params["W"] == 1


def test_sgd_leaves_the_gradients_and_parameters_without_one_alone():
    params, gradients = {"W": np.ones(2), "b": np.ones(1)}, {"W": np.full(2, 3.0)}
    SGD(0.5).update(params, gradients)
    assert gradients["W"].tolist() == [3, 3]
    assert params["b"].tolist() == [1]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_sgd_trains_the_arrays_that_the_layers_read(dtype):
    net = TwoLayerNet(3, 4, 2, rng=generator(), dtype=dtype)
    layer = net.layers["Affine1"]
    before = layer.W.copy()
    SGD(0.25).update(net.params, {"W1": np.ones((3, 4), dtype)})
    assert layer.W is net.params["W1"]
    assert layer.W.dtype == dtype
    np.testing.assert_array_equal(layer.W, before - dtype(0.25))


@pytest.mark.parametrize("rate", [0, -0.1, np.inf, np.nan])
def test_a_rate_that_is_not_positive_and_finite_is_refused(rate):
    with pytest.raises(ValueError, match=f"SGD: learning_rate is {rate}; required: a positive, finite number"):
        SGD(rate)


# ----------------------------------------------------------------------------- the loop


def samples(rng, count=30, dtype=np.float64):
    x = rng.normal(size=(count, 4)).astype(dtype)
    return x, (x[:, 0] + x[:, 1] > 0).astype(int) + (x[:, 2] > 0)


def new_trainer(*, targets="labels", dtype=np.float64, order="shuffled", batch_size=8, hidden="relu", **options):
    rng = generator(5)
    x, labels = samples(rng, dtype=dtype)
    t = labels if targets == "labels" else np.eye(3, dtype=dtype)[labels]
    net = MultiLayerNet(4, [6], 3, hidden=hidden, rng=rng, dtype=dtype)
    return Trainer(net, x, t, Batches(len(x), batch_size, generator(6), order), SGD(0.2), **options)


def assert_same_parameters(first, second):
    for name, values in first.net.params.items():
        np.testing.assert_array_equal(values, second.net.params[name], err_msg=name)


def test_a_step_is_one_batch_one_gradient_one_update():
    trainer, by_hand = new_trainer(), new_trainer()
    step = trainer.step()

    indices = by_hand.batches.draw()
    net = by_hand.net
    loss, gradients = net.loss_and_gradient(by_hand.x[indices], by_hand.t[indices])
    np.testing.assert_array_equal(step.indices, indices)
    assert step.loss == loss
    assert type(step.loss) is float
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(step.gradients[name], gradient)
        np.testing.assert_array_equal(trainer.net.params[name], net.params[name] - 0.2 * gradient)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_many_steps_are_those_of_the_textbook_loop(dtype, order):
    """Bit for bit; batches of 8, and of 6 at the end of an epoch."""
    trainer, by_hand = new_trainer(dtype=dtype, order=order), new_trainer(dtype=dtype, order=order)
    trainer.run(30)
    net = by_hand.net
    for _ in range(30):
        indices = by_hand.batches.draw()
        gradients = net.gradient(by_hand.x[indices], by_hand.t[indices])
        for name, gradient in gradients.items():
            net.params[name] -= 0.2 * gradient
    assert_same_parameters(trainer, by_hand)


def test_what_a_step_returned_stays_as_it_was():
    trainer = new_trainer()
    step = trainer.step()
    kept = copy.deepcopy(step)
    trainer.run(9)
    np.testing.assert_array_equal(step.indices, kept.indices)
    for name, gradient in kept.gradients.items():
        np.testing.assert_array_equal(step.gradients[name], gradient)
        assert not np.shares_memory(step.gradients[name], trainer.net.params[name])


@pytest.mark.parametrize("wrong", [30, -31])
def test_a_sample_that_is_not_there_is_refused(wrong):
    """Batches of another kind may be given; a wrong index must not become some other sample."""
    trainer = new_trainer()
    trainer.batches.draw = lambda: np.array([3, wrong])
    with pytest.raises(IndexError):
        trainer.step()


def test_the_loss_of_a_step_is_that_before_the_update():
    trainer = new_trainer(order="file", batch_size=30)
    losses = []
    for _ in range(5):
        losses.append(float(trainer.net.loss(trainer.x, trainer.t)))
        trainer.step()
    assert trainer.history.loss == losses
    assert losses == sorted(losses, reverse=True)


def test_history_has_every_loss_and_the_accuracies_before_and_after_every_epoch():
    trainer = new_trainer(order="shuffled")  # 30 samples in batches of 8: 4 steps an epoch
    trainer.x_test, trainer.t_test = trainer.x[:7], trainer.t[:7]
    expected = [(trainer.net.accuracy(trainer.x, trainer.t), trainer.net.accuracy(trainer.x[:7], trainer.t[:7]))]

    def note(step):
        if trainer.steps_done % 4 == 0:
            net = trainer.net
            expected.append((net.accuracy(trainer.x, trainer.t), net.accuracy(trainer.x[:7], trainer.t[:7])))

    history = trainer.run(18, on_step=note)
    assert history is trainer.history
    assert len(history.loss) == trainer.steps_done == 18
    assert list(zip(history.train_accuracy, history.test_accuracy, strict=True)) == expected
    assert len(expected) == 5
    assert 0 < history.seconds < 60


@pytest.mark.parametrize("batch_size", [30, 15])
def test_the_end_of_an_epoch_is_after_its_last_step_only(batch_size):
    trainer = new_trainer(batch_size=batch_size)
    ends = [trainer.at_the_end_of_an_epoch]
    for _ in range(4):
        trainer.step()
        ends.append(trainer.at_the_end_of_an_epoch)
    assert ends == ([False, True, True, True, True] if batch_size == 30 else [False, False, True, False, True])


def test_accuracy_of_the_test_samples_that_are_given():
    samples_given = new_trainer(x_test=[[1.0, 2, 3, 4], [-1, -2, -3, -4]], t_test=[1, 0])
    history = samples_given.run(4)
    expected = samples_given.net.accuracy([[1.0, 2, 3, 4], [-1, -2, -3, -4]], [1, 0])
    assert len(history.test_accuracy) == 2
    assert history.test_accuracy[-1] == expected
    assert isinstance(samples_given.x_test, np.ndarray)
    assert isinstance(samples_given.t_test, np.ndarray)


@pytest.mark.parametrize("half", [{"x_test": [[1.0, 2, 3, 4]]}, {"t_test": [0]}], ids=["x alone", "t alone"])
def test_test_samples_without_targets_and_targets_without_samples_are_none(half):
    assert new_trainer(**half).run(4).test_accuracy == []


def test_seconds_are_those_of_all_steps(monkeypatch):
    times = iter([10.0, 11.0, 20.0, 22.5])
    trainer = new_trainer()
    monkeypatch.setattr("scratch.training.time.perf_counter", lambda: next(times))
    trainer.step()
    trainer.step()
    assert trainer.history.seconds == 3.5


def test_batches_of_one_size_take_over_the_memory_of_the_last():
    """Samples are large: they are copied once, to where the last batch was."""
    given = []

    def spy(x, t):
        given.append(x)
        return trainer.net.loss_and_gradient(x, t)

    trainer = new_trainer(loss_and_gradient=spy)  # batches of 8, 8, 8 and 6
    trainer.run(4)
    first, second, third, last = given
    assert first is second is third
    assert last.shape == (6, 4)
    assert not np.shares_memory(last, first)


def test_without_test_samples_no_test_accuracy():
    history = new_trainer().run(8)
    assert len(history.train_accuracy) == 3
    assert history.test_accuracy == []


def test_histories_are_not_shared():
    first, second = History(), History()
    first.loss.append(1.0)
    assert second.loss == []


@pytest.mark.parametrize("hidden", ["relu", "sigmoid"])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_one_hot_and_label_targets_train_bit_for_bit_alike(dtype, hidden):
    trainers = [new_trainer(targets=targets, dtype=dtype, hidden=hidden) for targets in ("labels", "one-hot")]
    for trainer in trainers:
        trainer.run(200)
    with_labels, with_one_hot = trainers
    assert with_labels.t.ndim == 1
    assert with_one_hot.t.ndim == 2
    assert_same_parameters(with_labels, with_one_hot)
    assert with_labels.net.params["W1"].dtype == dtype
    assert with_labels.history.loss == with_one_hot.history.loss
    assert with_labels.history.train_accuracy == with_one_hot.history.train_accuracy
    # They have learned something: 200 steps of nothing would be alike as well. Four steps are an epoch.
    loss = with_labels.history.loss
    assert sum(loss[-4:]) < 0.8 * sum(loss[:4])


def test_on_step_is_called_after_every_step_with_what_it_was():
    trainer = new_trainer()
    seen = []

    def note(step):
        seen.append((trainer.steps_done, step.loss, len(step.indices), sorted(step.gradients)))

    trainer.run(6, on_step=note)
    assert [number for number, *_ in seen] == [1, 2, 3, 4, 5, 6]
    assert [loss for _, loss, *_ in seen] == trainer.history.loss
    assert [count for *_, count, _ in seen] == [8, 8, 8, 6, 8, 8]
    assert all(names == ["W1", "W2", "b1", "b2"] for *_, names in seen)


@pytest.mark.parametrize("order", ORDERS)
def test_a_run_goes_on_where_it_stopped(order):
    at_once, in_parts = new_trainer(order=order), new_trainer(order=order)
    at_once.run(23)
    for steps in (0, 1, 4, 4, 12, 3, 23):  # of all steps; what is done already is not done again
        in_parts.run(steps)
    assert_same_parameters(at_once, in_parts)
    assert at_once.history.loss == in_parts.history.loss
    assert at_once.history.train_accuracy == in_parts.history.train_accuracy


def test_an_interrupt_keeps_the_history_and_the_run_goes_on():
    interrupted, whole = new_trainer(), new_trainer()

    def interrupt(step):
        if interrupted.steps_done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted.run(15, on_step=interrupt)
    whole.run(7)
    assert interrupted.history.loss == whole.history.loss
    assert interrupted.history.train_accuracy == whole.history.train_accuracy
    assert interrupted.history.seconds > 0
    interrupted.run(15)
    whole.run(15)
    assert_same_parameters(interrupted, whole)
    assert interrupted.history.loss == whole.history.loss


def test_an_interrupt_within_a_step_leaves_no_half_step():
    trainer, whole = new_trainer(), new_trainer()
    calls = []

    def interrupted(x, t):
        calls.append(len(x))
        if len(calls) == 6:
            raise KeyboardInterrupt
        return trainer.net.loss_and_gradient(x, t)

    trainer.loss_and_gradient = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.run(15)
    whole.run(5)
    assert trainer.steps_done == 5
    assert trainer.history.loss == whole.history.loss
    assert_same_parameters(trainer, whole)


def test_another_way_to_the_gradients():
    """The network's own central differences, within their own error."""
    numerical, backprop = new_trainer(), new_trainer()
    net = numerical.net
    numerical.loss_and_gradient = lambda x, t: (net.loss(x, t), net.numerical_gradient(x, t))
    given = new_trainer(loss_and_gradient=lambda x, t: (1.5, {"b2": np.ones(3)}))
    numerical.run(3)
    backprop.run(3)
    for name, values in backprop.net.params.items():
        # h² = 1e-8 of truncation times a third derivative of a few, for three steps of 0.2.
        np.testing.assert_allclose(numerical.net.params[name], values, atol=1e-7)
    assert any(not np.array_equal(numerical.net.params[name], backprop.net.params[name]) for name in ("W1", "W2"))
    given.run(3)
    assert given.history.loss == [1.5, 1.5, 1.5]
    np.testing.assert_allclose(given.net.params["b2"], -0.6, rtol=4 * np.finfo(float).eps)


@pytest.mark.parametrize(
    ("x", "t", "batches"),
    [(29, 30, 30), (30, 29, 30), (30, 30, 29)],
    ids=["fewer samples", "fewer targets", "batches of fewer"],
)
def test_numbers_of_samples_that_differ_are_refused(x, t, batches):
    data, labels = samples(generator())
    net = MultiLayerNet(4, [6], 3, rng=generator())
    message = f"Trainer: x has {x} samples, t has {t}, batches are of {batches}; required: the same number"
    with pytest.raises(ValueError, match=message):
        Trainer(net, data[:x], labels[:t], Batches(batches, 5, generator()), SGD(0.1))


def test_training_samples_are_not_written():
    trainer = new_trainer(targets="one-hot")
    before = trainer.x.copy(), trainer.t.copy()
    trainer.x.flags.writeable = trainer.t.flags.writeable = False
    trainer.run(6)
    np.testing.assert_array_equal(trainer.x, before[0])
    np.testing.assert_array_equal(trainer.t, before[1])
