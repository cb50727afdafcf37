"""Replacing reports: the old one or the whole new one, and nothing left lying about."""

import os
import stat
from pathlib import Path

import pytest

from oracle.errors import InputError
from oracle.files import require_writable_directory, write_atomically, write_together


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def one_line(caught: pytest.ExceptionInfo[InputError]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


def failing(monkeypatch: pytest.MonkeyPatch, function: str, error: BaseException, on_call: int = 1) -> None:
    """Let a function of `os` raise the error when it is called for the given time."""
    original, calls = getattr(os, function), []

    def replacement(*args):
        calls.append(args)
        if len(calls) == on_call:
            raise error
        return original(*args)

    monkeypatch.setattr(os, function, replacement)


FAILURES = [OSError(28, "No space left on device"), KeyboardInterrupt()]


def test_new_file_is_utf8_with_unix_line_ends(tmp_path):
    write_atomically(tmp_path / "report.md", "∂L/∂y\n×\n")
    assert (tmp_path / "report.md").read_bytes() == "∂L/∂y\n×\n".encode()
    assert names(tmp_path) == ["report.md"]


def test_path_may_be_a_string(tmp_path):
    write_atomically(str(tmp_path / "report.md"), "text")
    assert (tmp_path / "report.md").read_text() == "text"


def test_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_atomically("report.md", "text")
    assert names(tmp_path) == ["report.md"]


def test_old_file_is_replaced(tmp_path):
    (tmp_path / "report.md").write_text("a longer old text")
    write_atomically(tmp_path / "report.md", "new")
    assert (tmp_path / "report.md").read_text() == "new"


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("text")
    write_atomically(tmp_path / "report.md", "text")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "report.md")}
    assert len(modes) == 1


def test_link_stays_a_link(tmp_path):
    (tmp_path / "target.md").write_text("old")
    try:
        (tmp_path / "link.md").symlink_to("target.md")
    except OSError:
        pytest.skip("this user may not create symbolic links here")
    write_atomically(tmp_path / "link.md", "new")
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "target.md").read_text() == "new"


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, function, error):
    (tmp_path / "report.md").write_text("old")
    failing(monkeypatch, function, error)
    with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt):
        write_atomically(tmp_path / "report.md", "new")
    assert (tmp_path / "report.md").read_text() == "old"
    assert names(tmp_path) == ["report.md"]


def test_text_that_is_not_unicode_leaves_the_old_file(tmp_path):
    (tmp_path / "report.md").write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "report.md", "lone surrogate \ud800")
    assert (tmp_path / "report.md").read_text() == "old"
    assert names(tmp_path) == ["report.md"]


def test_missing_directory_of_the_file(tmp_path):
    with pytest.raises(InputError) as caught:
        write_atomically(tmp_path / "nowhere" / "report.md", "text")
    assert "cannot be written (No such file or directory)" in one_line(caught)


def test_directory_in_place_of_the_file(tmp_path):
    with pytest.raises(InputError) as caught:
        write_atomically(tmp_path, "text")
    assert "is a directory, but a file or a new name is required" in one_line(caught)


def test_device_is_not_replaced():
    with pytest.raises(InputError) as caught:
        write_atomically(os.devnull, "text")
    assert "is a device" in one_line(caught)
    assert not Path(os.devnull).is_file()


def test_several_files(tmp_path):
    write_together({tmp_path / "a.md": "1", tmp_path / "a.json": "2"})
    assert (tmp_path / "a.md").read_text() == "1"
    assert (tmp_path / "a.json").read_text() == "2"
    assert names(tmp_path) == ["a.json", "a.md"]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_none_is_replaced_if_the_second_cannot_be_written(tmp_path, monkeypatch, error):
    (tmp_path / "a.md").write_text("old")
    failing(monkeypatch, "fsync", error, on_call=2)
    with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt):
        write_together({tmp_path / "a.md": "new", tmp_path / "a.json": "new"})
    assert (tmp_path / "a.md").read_text() == "old"
    assert names(tmp_path) == ["a.md"]


def test_none_is_replaced_if_the_second_is_a_directory(tmp_path):
    (tmp_path / "a.md").write_text("old")
    (tmp_path / "a.json").mkdir()
    with pytest.raises(InputError, match=r"a\.json: is a directory"):
        write_together({tmp_path / "a.md": "new", tmp_path / "a.json": "new"})
    assert (tmp_path / "a.md").read_text() == "old"
    assert names(tmp_path) == ["a.json", "a.md"]


def test_directory_is_created_with_its_parents(tmp_path):
    directory = require_writable_directory(tmp_path / "one" / "two")
    assert directory == tmp_path / "one" / "two"
    assert names(directory) == []


def test_directory_that_exists_keeps_what_is_in_it(tmp_path):
    (tmp_path / "report.md").write_text("old")
    require_writable_directory(tmp_path)
    assert names(tmp_path) == ["report.md"]


def test_file_in_place_of_the_output_directory(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as caught:
        require_writable_directory(tmp_path / "file")
    assert "is a file, but a directory is required" in one_line(caught)


def test_output_directory_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as caught:
        require_writable_directory(tmp_path / "file" / "reports")
    assert "the directory cannot be created (" in one_line(caught)


def test_output_directory_that_takes_no_file(tmp_path, monkeypatch):
    """Simulated, as permission bits do not stop root."""
    failing(monkeypatch, "fsync", OSError(30, "Read-only file system"))
    with pytest.raises(InputError) as caught:
        require_writable_directory(tmp_path)
    assert "no file can be written in this directory (Read-only file system)" in one_line(caught)
    assert names(tmp_path) == []


def test_what_cannot_be_removed_does_not_hide_why_nothing_was_written(tmp_path, monkeypatch):
    failing(monkeypatch, "fsync", OSError(28, "No space left on device"))

    def refuses(path, missing_ok=False):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuses)
    with pytest.raises(InputError) as caught:
        write_atomically(tmp_path / "report.md", "new")
    assert "No space left on device" in one_line(caught)
