"""Checkpoints: resumed equals uninterrupted bit for bit, and what cannot be resumed is refused with the reason."""

import copy
import io
import json
import os
import pickle
import struct
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from oracle.errors import InputError
from oracle.training import checkpoint
from oracle.training.run import train
from oracle.training.settings import Settings, new_trainer

ORDERS = ["replacement", "shuffled", "file"]
DTYPES = ["float64", "float32"]
SETTINGS = Settings("two-layer", "digits", 100, 8, 0.1, "float64", "labels", 3, 30, 10)


def state_of(trainer):
    """Everything that a checkpoint holds, as plain values; bits for bits."""
    return {
        "params": {name: (str(values.dtype), values.tobytes()) for name, values in trainer.net.params.items()},
        "history": copy.deepcopy(asdict(trainer.history)),
        "rng": copy.deepcopy(trainer.batches.state()["rng"]),
        "epoch": trainer.batches.state()["epoch"].tolist(),
        "used": trainer.batches.state()["used"],
    }


def without_seconds(state):
    return state | {"history": {key: value for key, value in state["history"].items() if key != "seconds"}}


@pytest.fixture
def saved(tmp_path, small_trainer):
    """A checkpoint of 17 steps: within an epoch of 4 steps, after 4 whole ones."""
    trainer = small_trainer("shuffled")
    trainer.run(17)
    path = tmp_path / "run.npz"
    checkpoint.save(path, SETTINGS, trainer)
    return path


@pytest.fixture
def refused(small_trainer):
    """refused(path, settings) -> the message with which it is refused; the trainer and the file are as they were."""

    def resume(path, settings=SETTINGS):
        trainer = small_trainer("shuffled")
        trainer.run(3)  # in use: a refusal must not lose that either
        before, content = state_of(trainer), path.read_bytes() if path.is_file() else None
        with pytest.raises(InputError) as caught:
            checkpoint.resume(path, settings, trainer)
        message = str(caught.value)
        assert "\n" not in message
        assert message.startswith(f"{path}: ")
        assert state_of(trainer) == before
        assert content is None or path.read_bytes() == content
        return message

    return resume


# ----------------------------------------------------------------------------- resumed equals uninterrupted


@pytest.mark.parametrize("steps", [0, 1, 4, 17], ids=lambda steps: f"after {steps} steps")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
def test_resumed_equals_uninterrupted_bit_for_bit(order, dtype, steps, tmp_path, small_trainer):
    settings = replace(SETTINGS, dtype=dtype)
    first = small_trainer(order, dtype)
    first.run(steps)
    checkpoint.save(tmp_path / "run.npz", settings, first)

    resumed = small_trainer(order, dtype)
    assert checkpoint.resume(tmp_path / "run.npz", settings, resumed) == []
    assert state_of(resumed) == state_of(first)
    assert resumed.steps_done == steps
    resumed.run(40)

    uninterrupted = small_trainer(order, dtype)
    uninterrupted.run(40)
    assert without_seconds(state_of(resumed)) == without_seconds(state_of(uninterrupted))
    assert len(resumed.history.loss) == 40
    assert resumed.history.seconds > first.history.seconds
    for _ in range(9):
        np.testing.assert_array_equal(resumed.batches.draw(), uninterrupted.batches.draw())


def test_resuming_again_and_again_equals_uninterrupted(tmp_path, small_trainer):
    uninterrupted = small_trainer("shuffled")
    uninterrupted.run(12)
    for steps in range(13):
        trainer = small_trainer("shuffled")
        if steps:
            checkpoint.resume(tmp_path / "run.npz", SETTINGS, trainer)
        trainer.run(steps)
        checkpoint.save(tmp_path / "run.npz", SETTINGS, trainer)
    assert without_seconds(state_of(trainer)) == without_seconds(state_of(uninterrupted))


def test_the_resumed_trainer_trains_the_arrays_of_its_layers(saved, small_trainer):
    trainer = small_trainer("shuffled")
    layer = trainer.net.layers["Affine1"]
    checkpoint.resume(saved, SETTINGS, trainer)
    assert layer.W is trainer.net.params["W1"]
    assert layer.b is trainer.net.params["b1"]


@pytest.mark.parametrize("net", ["two-layer", "sigmoid"])
def test_a_run_on_the_digits_that_is_resumed(net, tmp_path, on_digits):
    """Through ``train``, with checkpoints on the way and one at the end; an epoch ends in the second part."""
    settings, samples = on_digits(net, "float32", batch_size=400)
    uninterrupted = train(replace(settings, steps=10), samples, compare=False)
    half = replace(settings, steps=5)
    train(half, samples, save=tmp_path / "run.npz", save_every=2, compare=False)
    warnings = []
    resumed = train(
        replace(settings, steps=10),
        samples,
        resume=tmp_path / "run.npz",
        save=tmp_path / "run.npz",
        save_every=1000,
        compare=False,
        warn=warnings.append,
    )
    assert warnings == []
    assert without_seconds(state_of(resumed.trainer)) == without_seconds(state_of(uninterrupted.trainer))
    assert len(resumed.trainer.history.test_accuracy) == 1 + 10 // resumed.trainer.batches.steps_per_epoch
    # The last checkpoint is that of the end.
    last = new_trainer(settings, samples)
    checkpoint.resume(tmp_path / "run.npz", settings, last)
    assert state_of(last) == state_of(resumed.trainer)


@pytest.mark.parametrize(("save_every", "expected"), [(1, 7), (3, 3), (7, 1), (100, 1)])
def test_a_checkpoint_every_so_many_steps_and_at_the_end(save_every, expected, tmp_path, on_digits, monkeypatch):
    settings, samples = on_digits(steps=7, batch_size=2)
    written = []
    original = checkpoint.save

    def save(path, settings, trainer):
        written.append(trainer.steps_done)
        original(path, settings, trainer)

    monkeypatch.setattr(checkpoint, "save", save)
    train(settings, samples, save=tmp_path / "run.npz", save_every=save_every, compare=False)
    assert len(written) == expected
    assert written[-1] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_a_resumed_run_is_compared_from_there_on(tmp_path, on_digits, needs_the_twin):
    """Eight steps of 15; an epoch of 3 steps ends twice before the checkpoint and three times after it."""
    settings, samples = on_digits(steps=15, batch_size=400)
    whole = train(settings, samples)
    train(replace(settings, steps=7), samples, save=tmp_path / "run.npz", compare=False)
    run = train(settings, samples, resume=tmp_path / "run.npz")
    assert run.resynchronised.steps == 8
    assert run.resynchronised.first_divergence is None
    assert run.free.steps == [8, 9, 10, 11, 12, 13, 14, 15]
    assert len(run.twin_loss) == 8
    # Rounding of eight steps in double precision: a few eps.
    np.testing.assert_allclose(run.twin_loss, whole.trainer.history.loss[7:], rtol=1e-13)


# ----------------------------------------------------------------------------- what is in the file


def test_a_checkpoint_holds_plain_arrays_and_json_only(saved):
    with zipfile.ZipFile(saved) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                # Refuses pickled objects.
                array = np.lib.format.read_array(member, allow_pickle=False)
            assert array.dtype.kind in "fiu", name
            assert not array.dtype.hasobject
    with np.load(saved, allow_pickle=False) as archive:
        state = json.loads(archive["state"].tobytes())
    assert state["format"] == checkpoint.FORMAT
    assert state["version"] == checkpoint.VERSION == 1
    assert state["settings"] == SETTINGS.as_json()
    assert Settings.from_json(state["settings"]) == SETTINGS
    assert state["steps_done"] == 17
    assert state["threads"] == checkpoint.blas_threads()
    assert state["numpy"] == np.__version__


def test_the_threads_are_those_of_numpys_blas():
    from threadpoolctl import threadpool_limits

    before = checkpoint.blas_threads()
    if before is None:
        pytest.skip("NumPy's BLAS here has no pool that threadpoolctl knows")
    assert before >= 1
    with threadpool_limits(1, user_api="blas"):
        assert checkpoint.blas_threads() == 1
    assert checkpoint.blas_threads() == before


# ----------------------------------------------------------------------------- other settings

OTHER = {
    "net": "deep",
    "data": "mnist",
    "batch_size": 9,
    "learning_rate": 0.2,
    "dtype": "float32",
    "targets": "one-hot",
    "seed": 4,
    "train_samples": 29,
    "test_samples": 11,
}


def test_every_setting_but_the_number_of_steps_is_tried():
    assert OTHER.keys() | {"steps"} == SETTINGS.as_json().keys()


@pytest.mark.parametrize(("name", "value"), OTHER.items(), ids=OTHER.keys())
def test_other_settings_are_refused_by_name(name, value, saved, refused):
    message = refused(saved, replace(SETTINGS, **{name: value}))
    old = getattr(SETTINGS, name)
    assert f"made with {name} = {old!r}, but this run has {name} = {value!r}" in message
    assert "give the same settings, or start anew without --resume" in message


@pytest.mark.parametrize("steps", [17, 50, 1000])
def test_another_number_of_steps_is_no_other_setting(steps, saved, small_trainer):
    trainer = small_trainer("shuffled")
    assert checkpoint.resume(saved, replace(SETTINGS, steps=steps), trainer) == []
    assert trainer.steps_done == 17


def test_a_checkpoint_of_another_net_under_the_same_settings_is_refused(saved, tmp_path, small_trainer, refused):
    contents = read(saved)
    contents["params/W1"] = contents["params/W1"][:-1]
    assert "W1 is missing or of another shape" in refused(write(tmp_path / "other.npz", contents))


# ----------------------------------------------------------------------------- another number of threads, another NumPy


def test_another_number_of_threads_is_a_warning(saved, small_trainer, monkeypatch):
    was = checkpoint.blas_threads()
    monkeypatch.setattr(checkpoint, "blas_threads", lambda: 77)
    trainer = small_trainer("shuffled")
    [warning] = checkpoint.resume(saved, SETTINGS, trainer)
    assert f"saved with {was} BLAS threads, resumed with 77" in warning
    assert "OMP_NUM_THREADS" in warning
    assert "\n" not in warning
    assert trainer.steps_done == 17


def test_another_numpy_is_a_warning(saved, tmp_path, small_trainer):
    contents = read(saved)
    changed = write(tmp_path / "other.npz", with_state(contents, numpy="1.0.0"))
    [warning] = checkpoint.resume(changed, SETTINGS, small_trainer("shuffled"))
    assert f"saved with NumPy 1.0.0, resumed with {np.__version__}" in warning


def test_a_run_passes_the_warnings_on(tmp_path, on_digits, monkeypatch):
    settings, samples = on_digits(steps=2)
    train(settings, samples, save=tmp_path / "run.npz", compare=False)
    monkeypatch.setattr(checkpoint, "blas_threads", lambda: 77)
    warnings = []
    train(settings, samples, resume=tmp_path / "run.npz", compare=False, warn=warnings.append)
    assert len(warnings) == 1
    assert "77" in warnings[0]


# ----------------------------------------------------------------------------- damaged


def read(path):
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def write(path, contents):
    np.savez(path, **contents)
    return path


def with_state(contents, **changes):
    """The contents with entries of the state changed; None drops one."""
    state = json.loads(contents["state"].tobytes()) | changes
    state = {name: value for name, value in state.items() if value is not None}
    return contents | {"state": np.frombuffer(json.dumps(state).encode(), np.uint8)}


def test_a_truncated_file_is_refused(saved, tmp_path, refused):
    whole = saved.read_bytes()
    # Everywhere, and at every length near the end, where the directory of the archive stands.
    lengths = sorted({*range(0, len(whole), 23), *range(len(whole) - 60, len(whole))})
    assert lengths[0] == 0
    for length in lengths:
        (tmp_path / "short.npz").write_bytes(whole[:length])
        assert "not a checkpoint, or damaged" in refused(tmp_path / "short.npz"), length


def test_an_empty_file_is_refused(tmp_path, refused):
    (tmp_path / "empty.npz").touch()
    assert "not a checkpoint, or damaged" in refused(tmp_path / "empty.npz")


def test_one_byte_changed_is_refused_or_changes_nothing(saved, tmp_path, small_trainer):
    """Some bytes of an archive, such as the time of a member, say nothing about what is in it."""
    expected = small_trainer("shuffled")
    checkpoint.resume(saved, SETTINGS, expected)
    expected = state_of(expected)
    whole = saved.read_bytes()
    rng = np.random.default_rng(0)
    trainer = small_trainer("shuffled")
    before = state_of(trainer)
    outcomes = {"refused": 0, "unchanged": 0}
    for place in range(0, len(whole), 5):
        changed = bytearray(whole)
        changed[place] ^= int(rng.integers(1, 256))
        (tmp_path / "changed.npz").write_bytes(changed)
        try:
            checkpoint.resume(tmp_path / "changed.npz", SETTINGS, trainer)
            outcome = "unchanged"
        except InputError:
            outcome = "refused"
        assert state_of(trainer) == (before if outcome == "refused" else expected), place
        outcomes[outcome] += 1
        if outcome == "unchanged":
            trainer = small_trainer("shuffled")
    # Two thirds of a file this small are contents, and each of their bytes is covered by a checksum.
    assert outcomes["refused"] > outcomes["unchanged"] > 0


def in_the_directory(whole, offset, value):
    """The archive with a 16-bit field of its directory's first entry changed (APPNOTE.TXT, 4.3.12)."""
    start = whole.index(b"PK\x01\x02")
    return whole[: start + offset] + struct.pack("<H", value) + whole[start + offset + 2 :]


@pytest.mark.parametrize(
    ("offset", "value"),
    [(6, 99), (8, 1), (8, 1 << 5), (8, 1 << 6), (10, 99), (10, 8), (10, 12), (10, 14)],
    ids=[
        "a later version of ZIP",
        "marked as encrypted",
        "marked as a patch",
        "marked as strongly encrypted",
        "an unknown compression",
        "said to be deflated",
        "said to be bzip2",
        "said to be LZMA",
    ],
)
def test_an_archive_that_cannot_be_unpacked_is_refused(offset, value, saved, tmp_path, refused):
    (tmp_path / "changed.npz").write_bytes(in_the_directory(saved.read_bytes(), offset, value))
    assert "not a checkpoint, or damaged" in refused(tmp_path / "changed.npz")


@pytest.mark.parametrize("missing", ["settings", "numpy", "seconds", "rng", "used", "steps_done"])
def test_a_state_that_lacks_something_is_refused(missing, saved, tmp_path, refused):
    contents = read(saved)
    state = json.loads(contents["state"].tobytes())
    del state[missing]
    contents["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    assert "the checkpoint is damaged" in refused(write(tmp_path / "less.npz", contents))


@pytest.mark.parametrize(
    "missing",
    ["params/W1", "params/b2", "history/loss", "history/train_accuracy", "history/test_accuracy", "batches/epoch"],
)
def test_a_checkpoint_that_lacks_an_array_is_refused(missing, saved, tmp_path, refused):
    contents = read(saved)
    del contents[missing]
    message = refused(write(tmp_path / "less.npz", contents))
    assert "the checkpoint is damaged" in message
    assert missing.removeprefix("params/") in message


WRONG_KIND = {
    "a parameter of text": {"params/b1": np.array(["a"] * 6)},
    "a parameter of complex numbers": {"params/b1": np.ones(6, complex)},
    "a parameter of another shape": {"params/b1": np.ones((2, 3))},
    "a history that is a number": {"history/loss": np.float64(3)},
    "a history shorter than the steps": {"history/loss": np.ones(16)},
    "an epoch that is a number": {"batches/epoch": np.int64(30)},
    "an epoch of fewer samples": {"batches/epoch": np.arange(29)},
    "an epoch of fractions": {"batches/epoch": np.arange(30) + 0.5},
    "an epoch of samples that are not there": {"batches/epoch": np.arange(30) + 1},
}


@pytest.mark.parametrize("changes", WRONG_KIND.values(), ids=WRONG_KIND.keys())
def test_an_array_of_the_wrong_kind_is_refused(changes, saved, tmp_path, refused):
    assert "damaged" in refused(write(tmp_path / "other.npz", read(saved) | changes))


WRONG_STATE = {
    "settings that are a list": {"settings": []},
    "steps that are not those of the history": {"steps_done": 16},
    "a generator of another kind": {"rng": {"bit_generator": "MT19937"}},
    "a generator without its state": {"rng": {"bit_generator": "PCG64"}},
    "a generator whose state is text": {
        "rng": {"bit_generator": "PCG64", "state": {"state": "x", "inc": "y"}, "has_uint32": 0, "uinteger": 0}
    },
    "more used than there is": {"used": 31},
    "less used than nothing": {"used": -1},
}


@pytest.mark.parametrize("changes", WRONG_STATE.values(), ids=WRONG_STATE.keys())
def test_a_state_of_the_wrong_kind_is_refused(changes, saved, tmp_path, refused):
    assert "damaged" in refused(write(tmp_path / "other.npz", with_state(read(saved), **changes)))


# ----------------------------------------------------------------------------- foreign, later, missing


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def as_state(text):
    return np.frombuffer(text.encode(), np.uint8)


FOREIGN = {
    "text": b"step,loss\n1,2.3\n",
    "JSON": b"{}",
    "bytes": bytes(range(256)),
    "a pickle": pickle.dumps({"W1": [1.0]}),
    "an npy file": npy(np.ones(3)),
    "an npz of weights": npz(W1=np.ones((3, 2))),
    "an empty npz": npz(),
    "an npz with a state of something else": npz(state=np.arange(3)),
    "an npz whose state is JSON of something else": npz(state=as_state('{"format": "something", "version": 1}')),
    "an npz whose state is a list": npz(state=as_state("[1, 2]")),
    "an npz whose state is no JSON": npz(state=as_state("{")),
    "an npz whose state is not UTF-8": npz(state=np.array([255, 254], np.uint8)),
    "an archive of texts": zipped(**{"readme.txt": "hello"}),
    "an archive with a text called state": zipped(state="{}"),
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_file_is_refused(content, tmp_path, refused):
    (tmp_path / "foreign").write_bytes(content)
    message = refused(tmp_path / "foreign")
    assert "not a checkpoint" in message


def test_texts_in_place_of_arrays_are_refused(saved, tmp_path, refused):
    members = {"params/W1": "text", "params/b1": "text", "params/W2": "text", "params/b2": "text"}
    contents = {name: npy(array) for name, array in read(saved).items() if name not in members}
    content = zipped(**{f"{name}.npy": array for name, array in contents.items()}, **members)
    (tmp_path / "texts.npz").write_bytes(content)
    assert "damaged" in refused(tmp_path / "texts.npz")


@pytest.mark.parametrize("version", [2, 0, "1.1", None])
def test_another_version_is_refused(version, saved, tmp_path, refused):
    changed = with_state(read(saved), version=version)
    message = refused(write(tmp_path / "later.npz", changed))
    assert f"version {version}, but version 1 is required" in message


def test_a_missing_file_is_refused(tmp_path, refused):
    assert "no such file; --resume takes a file that --save wrote" in refused(tmp_path / "nowhere.npz")


def test_a_directory_is_refused(tmp_path, refused):
    assert "not a checkpoint" in refused(tmp_path)


class Canary:
    """Leaves a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("member", ["state", "params/W1", "history/loss", "batches/epoch", "something else"])
def test_a_pickle_inside_an_npz_is_never_unpickled(member, saved, tmp_path, refused):
    bird = tmp_path / "it was unpickled"
    objects = np.array([Canary(bird)], dtype=object)
    contents = read(saved) | {member: objects}
    assert "not a checkpoint, or damaged" in refused(write(tmp_path / "pickled.npz", contents))
    assert not bird.exists()
    # It would have sung.
    with np.load(tmp_path / "pickled.npz", allow_pickle=True) as archive:
        archive[member]
    assert bird.exists()


def test_a_file_that_is_a_pickle_is_never_unpickled(tmp_path, refused):
    bird = tmp_path / "it was unpickled"
    (tmp_path / "pickled").write_bytes(pickle.dumps(Canary(bird)))
    assert "not a checkpoint" in refused(tmp_path / "pickled")
    assert not bird.exists()
    pickle.loads((tmp_path / "pickled").read_bytes())
    assert bird.exists()


# ----------------------------------------------------------------------------- saving is atomic


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(28, "No space left on device"), InputError), (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=["full disk", "Ctrl-C"],
)
def test_a_save_that_fails_leaves_the_old_checkpoint(function, error, raised, saved, small_trainer, monkeypatch):
    content = saved.read_bytes()
    trainer = small_trainer("shuffled")
    checkpoint.resume(saved, SETTINGS, trainer)
    trainer.run(25)

    def fail(*args):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, function, fail)
        with pytest.raises(raised) as caught:
            checkpoint.save(saved, SETTINGS, trainer)
    if raised is InputError:
        assert str(caught.value).startswith(f"{saved}: cannot be written (No space left on device)")
    assert saved.read_bytes() == content
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    # And once there is room again:
    checkpoint.save(saved, SETTINGS, trainer)
    assert saved.read_bytes() != content


def test_a_save_into_no_directory_is_refused(tmp_path, small_trainer):
    with pytest.raises(InputError) as caught:
        checkpoint.save(tmp_path / "nowhere" / "run.npz", SETTINGS, small_trainer())
    assert "\n" not in str(caught.value)


def test_saving_changes_nothing_in_the_trainer(tmp_path, small_trainer):
    trainer = small_trainer("shuffled")
    trainer.run(5)
    before = state_of(trainer)
    checkpoint.save(tmp_path / "run.npz", SETTINGS, trainer)
    assert state_of(trainer) == before
