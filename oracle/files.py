"""Writing reports so that an interrupted or failed run leaves the previous report intact."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from oracle.errors import InputError

PathLike = str | os.PathLike[str]


def write_atomically(path: PathLike, content: str | bytes) -> None:
    """Write a file (text as UTF-8, lines ending in \\n) that a reader sees either as it was or complete.

    Raises InputError where it cannot be written; the file is then what it was before.
    """
    write_together({Path(path): content})


def write_together(contents: Mapping[Path, str | bytes]) -> None:
    """Write several files as `write_atomically` does; none is replaced unless all can be written.

    Everything is first written and flushed to disk beside its destination; only renaming is left for the end.
    Several renames are not one: a crash of the machine between two of them leaves the first file new and the
    second old.

    Raises InputError where one cannot be written. No temporary file is left behind, KeyboardInterrupt
    included.
    """
    pending: list[tuple[Path, Path]] = []
    try:
        for path, content in contents.items():
            # A link stays a link: what it points to is replaced.
            target = Path(os.path.realpath(path))
            require_replaceable(target)
            temporary = _temporary_beside(target)
            pending.append((temporary, target))
            try:
                _write_and_sync(temporary, content)
            except OSError as error:
                raise _unwritable(target, error) from error
        for temporary, target in pending:
            try:
                os.replace(temporary, target)
            except OSError as error:
                raise _unwritable(target, error) from error
    finally:
        # After a success these names are gone already. What cannot be removed must not hide the error under
        # way.
        for temporary, _ in pending:
            try:
                temporary.unlink(missing_ok=True)
            except OSError:
                continue


def require_writable_directory(path: PathLike) -> Path:
    """Return the directory, created with its parents if need be, after a trial file was written in it.

    A trial, because permission bits do not say it: they do not stop root, nor tell of a read-only file
    system.

    Raises InputError where it cannot be created, is not a directory, or takes no file.
    """
    directory = Path(path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if os.path.exists(directory):
            raise InputError(f"{directory}: is a file, but a directory is required; name another one") from error
        raise InputError(
            f"{directory}: the directory cannot be created ({_reason(error)}); name a writable one"
        ) from error
    trial = _temporary_beside(directory / "trial")
    try:
        try:
            _write_and_sync(trial, "")
        finally:
            trial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{directory}: no file can be written in this directory ({_reason(error)}); name a writable one"
        ) from error
    return directory


def require_replaceable(target: Path) -> None:
    """Refuse what a rename would destroy or fail on: a directory, and as root a device such as /dev/null."""
    if os.path.exists(target) and not os.path.isfile(target):
        what = "a directory" if os.path.isdir(target) else "a device or pipe"
        raise InputError(f"{target}: is {what}, but a file or a new name is required; name another")


def _temporary_beside(target: Path) -> Path:
    # In the same directory, as a rename is atomic within one file system only.
    return target.with_name(f".oracle-{secrets.token_hex(8)}.tmp")


def _write_and_sync(path: Path, content: str | bytes) -> None:
    # Not tempfile: its files are readable by their owner only, and this one becomes the report.
    data = content if isinstance(content, bytes) else content.encode("utf-8")
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _unwritable(target: Path, error: OSError) -> InputError:
    return InputError(
        f"{target}: cannot be written ({_reason(error)}); name a file that can be written, or make room for it"
    )


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
