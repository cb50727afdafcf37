"""Checkpoints: a run of training in one file, to go on from later, bit for bit.

The file is a NumPy archive (npz) without pickled objects: the parameters, the history and the order of the epoch as
arrays, everything else as JSON. It is replaced atomically: whoever reads it finds a whole checkpoint, the old one or
the new one.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from oracle.blas import blas_threads
from oracle.errors import InputError
from oracle.files import write_atomically
from oracle.training.settings import Settings
from scratch import Trainer

FORMAT = "scratch-oracle checkpoint"
VERSION = 1


def save(path: Path, settings: Settings, trainer: Trainer) -> None:
    """Write the state of ``trainer`` to ``path``, atomically. Raises InputError where it cannot be written."""
    batches = trainer.batches.state()
    history = trainer.history
    state = {
        "format": FORMAT,
        "version": VERSION,
        "settings": settings.as_json(),
        "threads": blas_threads(),
        "numpy": np.__version__,
        "steps_done": trainer.steps_done,
        "seconds": history.seconds,
        "rng": batches["rng"],
        "used": batches["used"],
    }
    arrays: dict[str, Any] = {f"params/{name}": values for name, values in trainer.net.params.items()}
    arrays["history/loss"] = np.asarray(history.loss)
    arrays["history/train_accuracy"] = np.asarray(history.train_accuracy)
    arrays["history/test_accuracy"] = np.asarray(history.test_accuracy)
    arrays["batches/epoch"] = batches["epoch"]
    arrays["state"] = np.frombuffer(json.dumps(state).encode("utf-8"), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def resume(path: Path, settings: Settings, trainer: Trainer) -> list[str]:
    """Bring ``trainer``, new and of the same settings, to where the checkpoint was taken.

    Returns warnings: what may make the continued run differ from an uninterrupted one in its last bits.
    Raises InputError for a file that is missing, damaged, foreign, of a later version or of other settings; the trainer
    is then as it was.
    """
    arrays, state = _read(path)
    for name, ours in settings.as_json().items():
        theirs = state["settings"].get(name)
        # More steps than planned may be asked of a run.
        if name != "steps" and theirs != ours:
            raise InputError(
                f"{path}: the checkpoint was made with {name} = {theirs!r}, but this run has {name} = {ours!r}; "
                "give the same settings, or start anew without --resume"
            )
    # Everything is looked at before anything is changed.
    params = {name: arrays.get(f"params/{name}") for name in trainer.net.params}
    for name, values in params.items():
        ours = trainer.net.params[name]
        if values is None or values.shape != ours.shape or values.dtype != ours.dtype:
            raise _damaged(path, f"parameter {name} is missing or of another shape or dtype")
    epoch, used = arrays["batches/epoch"], state["used"]
    samples = trainer.batches.samples
    if epoch.dtype.kind != "i" or not np.array_equal(np.sort(epoch, axis=None), np.arange(samples)):
        raise _damaged(path, f"the order of the epoch is not one of the {samples} samples")
    if not 0 <= used <= samples:
        raise _damaged(path, f"{used} of {samples} samples are said to be used")
    try:
        trainer.batches.restore({"rng": state["rng"], "used": used, "epoch": epoch})
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"the state of the generator cannot be used: {error}") from error
    trainer.net.params.update(params)
    history = trainer.history
    history.loss = arrays["history/loss"].tolist()
    history.train_accuracy = arrays["history/train_accuracy"].tolist()
    history.test_accuracy = arrays["history/test_accuracy"].tolist()
    history.seconds = float(state["seconds"])
    warnings = []
    if state["threads"] != blas_threads():
        warnings.append(
            f"{path}: saved with {state['threads']} BLAS threads, resumed with {blas_threads()}; sums are split among "
            "threads, so the last bits may differ from those of an uninterrupted run (set OMP_NUM_THREADS)"
        )
    if state["numpy"] != np.__version__:
        warnings.append(
            f"{path}: saved with NumPy {state['numpy']}, resumed with {np.__version__}; the last bits may differ"
        )
    return warnings


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; --resume takes a file that --save wrote") from error
    except OSError as error:
        raise InputError(
            f"{path}: not a checkpoint, cannot be read ({error.strerror or error}); "
            "--resume takes a file that --save wrote"
        ) from error
    try:
        # Not np.load, which takes other kinds of files too. Reading a member checks its checksum.
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            arrays = {name.removesuffix(".npy"): _array(archive.read(name)) for name in archive.namelist()}
        state = json.loads(arrays.pop("state").tobytes().decode("utf-8"))
    except Exception as error:
        # What can be wrong with a file that anybody may have written is not to be listed.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: not a checkpoint, or damaged ({reason}); --resume takes a file that --save wrote"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{path}: a foreign file, not a checkpoint of scratch-oracle")
    if state.get("version") != VERSION:
        raise InputError(
            f"{path}: a checkpoint of version {state.get('version')}, but version {VERSION} is required; "
            "update scratch-oracle"
        )
    wanted: dict[str, Any] = {
        "settings": dict,
        "threads": (int, type(None)),
        "numpy": str,
        "seconds": (int, float),
        "rng": dict,
        "used": int,
    }
    required = {"history/loss", "history/train_accuracy", "history/test_accuracy", "batches/epoch"}
    wrong = [key for key, kind in wanted.items() if not isinstance(state.get(key), kind)]
    wrong += sorted(required - arrays.keys())
    if wrong:
        raise _damaged(path, f"{', '.join(wrong)} is missing or of the wrong kind")
    if any(arrays[name].ndim != 1 or arrays[name].dtype != np.float64 for name in required - {"batches/epoch"}):
        raise _damaged(path, "the history is not one of numbers")
    if len(arrays["history/loss"]) != state.get("steps_done"):
        raise _damaged(path, "the history does not have the number of steps stated")
    return arrays, state


def _array(content: bytes) -> np.ndarray:
    return np.asarray(np.lib.format.read_array(io.BytesIO(content), allow_pickle=False))


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path}: {what}; the checkpoint is damaged, take another or start anew without --resume")
