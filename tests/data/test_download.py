"""Fetching MNIST, from servers on 127.0.0.1 only: whole files appear under their names, or nothing does.

The files are the real ones where `MNIST_DIR` names a directory that holds them, else small made-up ones.
"""

import _thread
import errno
import gc
import gzip
import hashlib
import io
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from oracle.data import download, download_mnist, load_mnist
from oracle.data.download import MNIST_FILES, MnistFile
from oracle.errors import InputError

NAMES = list(MNIST_FILES)  # in the order in which they are fetched
FIRST, SECOND, LARGEST = NAMES[0], NAMES[1], NAMES[-1]


def made_up(name: str) -> bytes:
    shape = (60 if name.startswith("train") else 10, 28, 28)[: 3 if "images" in name else 1]
    values = np.random.default_rng(len(name)).integers(0, 10, size=shape, dtype=np.uint8)
    return gzip.compress(struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + values.tobytes(), mtime=0)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the mirrors hold: the content of the four files."""
    directory = os.environ.get("MNIST_DIR")
    if directory and all(os.path.isfile(Path(directory, name)) for name in NAMES):
        return {name: Path(directory, name).read_bytes() for name in NAMES}
    contents = {name: made_up(name) for name in NAMES}
    for name, content in contents.items():
        known = MnistFile(len(content), hashlib.sha256(content).hexdigest(), hashlib.md5(content).hexdigest())
        monkeypatch.setitem(MNIST_FILES, name, known)
    return contents


class Server(ThreadingHTTPServer):
    """Several mirrors in one: the first part of the path says how it behaves, the second names the file."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.asked: list[str] = []  # the paths, in order
        self.released = threading.Event()  # set when nobody waits for an answer any more

    def mirror(self, behaviour: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{behaviour}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        behaviour, _, name = self.path.lstrip("/").partition("/")
        content = self.server.files[name]
        length: int | None = len(content)
        match behaviour:
            case "broken":  # closes the connection before it has sent what it announced
                content = content[: len(content) // 2]
            case "unannounced":  # the same, but the length was not announced, so that nobody notices on the way
                content, length = content[: len(content) // 2], None
            case "damaged":
                content = content[:-1] + bytes([content[-1] ^ 1])
            case "portal":  # as in a hotel: every address answers with a page to log in
                content = b"<!DOCTYPE html><title>Please log in</title>"
                length = len(content)
            case "absent":
                self.send_error(404)
                return
            case "nonsense":
                self.wfile.write(b"This is no HTTP\r\n\r\n")
                return
        self.send_response(200)
        self.send_header("Content-Type", "application/gzip")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        half = len(content) // 2
        if behaviour == "silent":  # sends half of it, and then nothing
            self.wfile.write(content[:half])
            self.server.released.wait(30)
            return
        if behaviour == "interrupted":  # half-way, somebody presses Ctrl-C
            self.wfile.write(content[:half])
            _thread.interrupt_main()
        self.wfile.write(content[half:] if behaviour == "interrupted" else content)

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy this machine is told to ask, no request leaves it."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server(files: dict[str, bytes]) -> Iterator[Server]:
    with Server(files) as running:
        # Whoever gives up in the middle of an answer makes the server fail to send it.
        running.handle_error = lambda *arguments: None
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()
    # A connection that was not closed complains when it is collected; let it do so in the test that it belongs to.
    gc.collect()


@pytest.fixture
def dead_mirror() -> str:
    """The address of a port that nobody listens on: what a machine without a network gets to see."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


def refusal(folder: Path, *mirrors: str) -> str:
    """Return the message that says why the files could not be fetched; it is one line."""
    with pytest.raises(InputError) as caught:
        download_mnist(folder, mirrors=mirrors)
    message = str(caught.value)
    assert "\n" not in message
    return message


def held(folder: Path) -> dict[str, bytes]:
    """Return whatever is in the directory, hidden files included."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_files_arrive_whole_and_can_be_loaded(tmp_path, server, files):
    folder = tmp_path / "data" / "mnist"
    assert download_mnist(str(folder), mirrors=[server.mirror("good")]) == folder
    assert held(folder) == files
    assert server.asked == [f"/good/{name}" for name in NAMES]
    for split in ("train", "test"):
        assert len(load_mnist(folder, split)) > 0


@pytest.mark.parametrize("ending", ["", "/"])
def test_one_mirror_may_be_given_as_it_is(tmp_path, server, files, ending):
    download_mnist(tmp_path, mirrors=server.mirror("good").rstrip("/") + ending)
    assert held(tmp_path) == files


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_files_may_be_read_by_whom_the_umask_says(tmp_path, server):
    before = os.umask(0o022)
    try:
        download_mnist(tmp_path, mirrors=server.mirror("good"))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o644}


def test_what_is_there_is_not_fetched_again(tmp_path, server, files):
    for name in (FIRST, LARGEST):
        (tmp_path / name).write_bytes(files[name])
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in (FIRST, LARGEST)}
    download_mnist(tmp_path, mirrors=server.mirror("good"))
    assert held(tmp_path) == files
    assert server.asked == [f"/good/{name}" for name in NAMES if name not in (FIRST, LARGEST)]
    assert times == {name: (tmp_path / name).stat().st_mtime_ns for name in (FIRST, LARGEST)}


def test_where_all_is_there_neither_network_nor_pooch_is_needed(tmp_path, files, dead_mirror, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert download_mnist(tmp_path, mirrors=dead_mirror) == tmp_path


def test_another_file_of_the_same_name_is_reported_and_left_alone(tmp_path, server):
    (tmp_path / LARGEST).write_bytes(b"mine")
    message = refusal(tmp_path, server.mirror("good"))
    assert message.startswith(f"{tmp_path / LARGEST}: is there already, but its sha256 is {sha256(b'mine')}… and")
    assert f"MNIST's file {MNIST_FILES[LARGEST].sha256[:12]}…" in message
    assert "move or delete it" in message
    assert held(tmp_path) == {LARGEST: b"mine"}
    # Said before anything is fetched, and not after ten megabytes.
    assert server.asked == []


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def test_directory_of_the_same_name(tmp_path, server):
    (tmp_path / FIRST).mkdir()
    assert f"{tmp_path / FIRST}: cannot be read" in refusal(tmp_path, server.mirror("good"))
    assert server.asked == []


FAILING = {
    "broken": "the transfer broke off",
    "unannounced": "sent",
    "damaged": "sent",
    "portal": "sent 43 bytes with sha256",
    "absent": "answered with HTTP status 404",
    "nonsense": "no connection",
}


@pytest.mark.parametrize(("behaviour", "reason"), FAILING.items())
def test_a_failed_transfer_leaves_nothing(tmp_path, server, behaviour, reason):
    message = refusal(tmp_path, server.mirror(behaviour))
    assert message.startswith(f"{tmp_path / FIRST}: could not be fetched from {server.mirror(behaviour)}: {reason}")
    assert message.endswith("; check the network connection, or copy the file there from elsewhere")
    assert held(tmp_path) == {}


@pytest.mark.parametrize("behaviour", FAILING)
def test_the_next_mirror_is_asked_for_each_file(tmp_path, server, files, behaviour):
    download_mnist(tmp_path, mirrors=[server.mirror(behaviour), server.mirror("good")])
    assert held(tmp_path) == files
    assert server.asked == [f"/{mirror}/{name}" for name in NAMES for mirror in (behaviour, "good")]


def test_a_damaged_file_is_told_from_a_whole_one_of_the_same_length(tmp_path, server, files):
    size = len(files[FIRST])
    required = MNIST_FILES[FIRST].sha256[:12]
    message = refusal(tmp_path, server.mirror("damaged"))
    assert f"sent {size} bytes with sha256 " in message
    assert f"in place of {size} with {required}…;" in message


def test_every_mirror_is_named_with_its_reason(tmp_path, server, dead_mirror):
    mirrors = [dead_mirror, server.mirror("absent"), server.mirror("portal"), server.mirror("broken")]
    message = refusal(tmp_path, *mirrors)
    reasons = ["no connection", "answered with HTTP status 404", "sent 43 bytes", "the transfer broke off"]
    places = [message.index(f"{mirror}: {reason}") for mirror, reason in zip(mirrors, reasons, strict=True)]
    assert places == sorted(places)


def test_no_network(tmp_path, files, dead_mirror):
    folder = tmp_path / "new"
    assert f"{dead_mirror}: no connection; check the network connection" in refusal(folder, dead_mirror)
    assert held(folder) == {}


def test_no_such_host(tmp_path, server, files, monkeypatch):
    """What the resolver says without a network; the real one is not asked."""

    def unknown(host, *arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "http://mirror.invalid/: no connection;" in refusal(tmp_path, "http://mirror.invalid/")
    assert held(tmp_path) == {}


@pytest.mark.parametrize("mirror", ["somewhere", "gopher://127.0.0.1/", "http://", "http://127.0.0.1:port/"])
def test_what_is_no_address_of_a_mirror(tmp_path, files, mirror):
    assert f"{mirror}: " in refusal(tmp_path, mirror)
    assert held(tmp_path) == {}


def test_no_mirrors(tmp_path):
    with pytest.raises(ValueError, match="mirrors is empty"):
        download_mnist(tmp_path, mirrors=[])


def test_a_mirror_that_falls_silent_is_given_up(tmp_path, server, files, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUTS", (10, 0.2))
    assert server.mirror("silent") in refusal(tmp_path, server.mirror("silent"))
    assert held(tmp_path) == {}
    download_mnist(tmp_path, mirrors=[server.mirror("silent"), server.mirror("good")])
    assert held(tmp_path) == files


def test_files_completed_before_a_failure_stay_and_the_next_call_goes_on(tmp_path, server, files):
    lost = server.files.pop(LARGEST)
    server.files[LARGEST] = b"something else"
    message = refusal(tmp_path, server.mirror("good"))
    assert message.startswith(f"{tmp_path / LARGEST}: could not be fetched")
    assert set(held(tmp_path)) == set(NAMES) - {LARGEST}

    server.files[LARGEST] = lost
    server.asked.clear()
    download_mnist(tmp_path, mirrors=server.mirror("good"))
    assert server.asked == [f"/good/{LARGEST}"]
    assert held(tmp_path) == files


class FullDisk(io.FileIO):
    """A file on a disk that has room for a thousand bytes more."""

    room = 1000

    def write(self, content):
        if len(content) > self.room:
            super().write(content[: self.room])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(content)


def full(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_no_half_file(tmp_path, server, monkeypatch):
    opened = []
    usual = Path.open

    def opener(path, mode="r", *arguments, **options):
        if "x" not in mode:
            return usual(path, mode, *arguments, **options)
        opened.append(path)
        return FullDisk(path, "x")

    monkeypatch.setattr(Path, "open", opener)
    monkeypatch.setattr(FullDisk, "room", min(len(server.files[name]) for name in NAMES) - 1)
    message = refusal(tmp_path, server.mirror("good"), server.mirror("good"))
    assert message.startswith(f"{tmp_path / FIRST}: cannot be written ({os.strerror(errno.ENOSPC)});")
    # The trial whether the directory takes a file, which is empty, and the file itself.
    assert len(opened) == 2
    # Another mirror does not help.
    assert server.asked == [f"/good/{FIRST}"]
    monkeypatch.undo()
    assert held(tmp_path) == {}


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_disk_that_turns_out_to_be_full_late(tmp_path, server, monkeypatch, function):
    usual = getattr(os, function)
    monkeypatch.setattr(os, function, lambda *arguments: full() if server.asked else usual(*arguments))
    assert f"{tmp_path / FIRST}: cannot be written" in refusal(tmp_path, server.mirror("good"))
    assert held(tmp_path) == {}


def test_a_directory_that_takes_no_file_is_refused_before_anything_is_fetched(tmp_path, server, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)
    assert f"{tmp_path}: no file can be written in this directory" in refusal(tmp_path, server.mirror("good"))
    assert held(tmp_path) == {}
    assert server.asked == []


def test_a_directory_that_cannot_be_created(tmp_path, server):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "mnist"):
        assert str(folder) in refusal(folder, server.mirror("good"))
    assert held(tmp_path) == {"file": b""}
    assert server.asked == []


def test_ctrl_c_during_a_transfer_leaves_nothing(tmp_path, server):
    with pytest.raises(KeyboardInterrupt):
        download_mnist(tmp_path, mirrors=[server.mirror("interrupted"), server.mirror("good")])
    assert held(tmp_path) == {}
    assert server.asked == [f"/interrupted/{FIRST}"]


def test_ctrl_c_while_a_file_is_written_leaves_nothing(tmp_path, server, monkeypatch):
    def interrupted(descriptor):
        if server.asked:
            assert [path.stat().st_size for path in tmp_path.iterdir()] == [MNIST_FILES[FIRST].size]
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download_mnist(tmp_path, mirrors=server.mirror("good"))
    assert held(tmp_path) == {}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bar_on_a_terminal(tmp_path, server, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    download_mnist(tmp_path, mirrors=[server.mirror("broken"), server.mirror("good")])
    assert all(name in terminal.getvalue() for name in NAMES)
    # The last bar has been wiped away.
    assert terminal.getvalue().rpartition("\r")[0].endswith(" ")


@pytest.mark.parametrize(("stream", "progress"), [(Terminal, False), (io.StringIO, True), (lambda: None, True)])
def test_no_bar_where_it_is_unwanted_or_there_is_no_terminal(tmp_path, server, files, monkeypatch, stream, progress):
    """The last one is a program without a console, as pythonw on Windows."""
    stderr = stream()
    monkeypatch.setattr(sys, "stderr", stderr)
    download_mnist(tmp_path, progress=progress, mirrors=server.mirror("good"))
    assert held(tmp_path) == files
    assert stderr is None or stderr.getvalue() == ""


def test_without_pooch_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    folder = tmp_path / "new"
    message = refusal(folder, "http://127.0.0.1/")
    assert "pooch is not installed" in message
    assert "python -m pip install 'scratch-oracle[mnist]'" in message
    assert not folder.exists()


def test_importing_the_package_loads_nothing_that_it_may_not_need():
    """In a process of its own, since this one has loaded them already."""
    code = "import sys, oracle.data; print({'pooch', 'requests', 'sklearn', 'torch'} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.parametrize("name", NAMES)
def test_known_sizes_and_checksums_are_those_of_the_real_files(name):
    directory = os.environ.get("MNIST_DIR")
    if not directory or not os.path.isfile(Path(directory, name)):
        pytest.skip(f"the environment variable MNIST_DIR does not name a directory with {name}")
    content = Path(directory, name).read_bytes()
    assert MNIST_FILES[name] == (len(content), hashlib.sha256(content).hexdigest(), hashlib.md5(content).hexdigest())


def test_the_mirrors_are_reached_over_https():
    assert len(download.MIRRORS) >= 2
    assert all(mirror.startswith("https://") for mirror in download.MIRRORS)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("ConnectTimeout", "no answer in time"),
        ("SSLError", "no secure connection"),
        ("ProxyError", "no connection through the proxy"),
    ],
)
def test_what_went_wrong_between_here_and_the_server_is_said_in_a_few_words(tmp_path, monkeypatch, error, said):
    from requests import exceptions

    def refuses(*_):
        raise getattr(exceptions, error)

    monkeypatch.setattr(download, "_http_downloader", lambda: refuses)
    with pytest.raises(InputError, match=f"could not be fetched from .*{said}"):
        download_mnist(tmp_path, progress=False)
