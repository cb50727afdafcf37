"""Fetching the four MNIST files from a mirror, each checked before it appears under its name."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from oracle.errors import InputError
from oracle.files import require_writable_directory, write_atomically


class MnistFile(NamedTuple):
    """What a file has to be: its length in bytes, and its checksums as hexadecimal digits.

    sha256 is what a file is checked against. md5 is the one that other descriptions of MNIST print, so that these
    entries can be compared with them.
    """

    size: int
    sha256: str
    md5: str


#: The four files, compressed as they are published. Smallest first: a mirror that hands out something else shows
#: after a transfer of 4.5 kB.
MNIST_FILES = {
    "t10k-labels-idx1-ubyte.gz": MnistFile(
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "train-labels-idx1-ubyte.gz": MnistFile(
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "d53e105ee54ea40749a09fcbcd1e9432",
    ),
    "t10k-images-idx3-ubyte.gz": MnistFile(
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "9fb629c4189551a2d022fa330f9573f3",
    ),
    "train-images-idx3-ubyte.gz": MnistFile(
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    ),
}

#: Where they are published, in the order in which they are asked. The original page no longer hands them out.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

#: Seconds until a mirror is given up: for the connection, and for each piece of its answer.
TIMEOUTS = (10, 30)

_CHUNK = 1 << 16

# Called with an address, what to write into, and None.
_Downloader = Callable[[str, Any, None], None]


def download_mnist(
    directory: str | os.PathLike[str], *, progress: bool = True, mirrors: str | Sequence[str] = MIRRORS
) -> Path:
    """Fetch the four MNIST files (11.6 MB) into a directory and return it, ready for `load_mnist`.

    directory: created with its parents if need be. A file that is there with the right checksum is not fetched
        again. One that is there with a wrong checksum is somebody's file, or a damaged one: it is never
        overwritten, and nothing is fetched until its owner has moved or deleted it. Unpacked files and other
        spellings are neither looked at nor touched; note that `load_mnist` prefers them.
    progress: show a bar on standard error for each file, if that is a terminal.
    mirrors: the address of one directory that holds the files, or several; each file is taken from the first
        one that hands it out with the right checksum.

    A file appears under its name only when it is complete and its SHA-256 is right. An error or
    KeyboardInterrupt leaves no part of a file behind; files completed before it stay, and the next call goes on
    from there.

    Needs pooch if there is anything to fetch. Raises InputError where pooch is missing, a file there is another
    one, no mirror hands out a right one, or the directory cannot be written; ValueError for no mirrors at all.
    """
    mirrors = (mirrors,) if isinstance(mirrors, str) else tuple(mirrors)
    if not mirrors:
        raise ValueError("download_mnist: mirrors is empty, but the address of at least one is required")
    folder = Path(directory)
    # All four are looked at first: what stands in the way is said before megabytes are fetched.
    missing = [name for name, required in MNIST_FILES.items() if not _is_there(folder / name, required)]
    if not missing:
        return folder
    downloader = _http_downloader()
    require_writable_directory(folder)
    shown = progress and sys.stderr is not None and sys.stderr.isatty()
    for name in missing:
        write_atomically(folder / name, _fetch(downloader, mirrors, folder / name, MNIST_FILES[name], shown))
    return folder


def _is_there(path: Path, required: MnistFile) -> bool:
    """Tell whether the file is there; raise InputError where another one has its name."""
    try:
        with path.open("rb") as file:
            received = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({_reason(error)}); move it away, or name another directory"
        ) from error
    if received != required.sha256:
        raise InputError(
            f"{path}: is there already, but its sha256 is {_short(received)} and that of MNIST's file "
            f"{_short(required.sha256)}; it was left as it is: move or delete it to have the right one fetched"
        )
    return True


def _http_downloader() -> _Downloader:
    # Imported here: it is optional, and takes long to import.
    try:
        import pooch
    except ImportError as error:
        raise InputError(
            "download_mnist: pooch is not installed, but fetching MNIST requires it; "
            "install it with: python -m pip install 'scratch-oracle[mnist]'"
        ) from error
    # Not pooch.retrieve: it overwrites a file with a wrong checksum, and leaves files that only their owner can read.
    return pooch.HTTPDownloader(chunk_size=_CHUNK, timeout=TIMEOUTS)


def _fetch(downloader: _Downloader, mirrors: Sequence[str], target: Path, required: MnistFile, shown: bool) -> bytes:
    """Return the content of the file from the first mirror that has the right one.

    In memory, since 10 MB fit there: nothing unchecked ever gets onto the disk.
    """
    failures = []
    for mirror in mirrors:
        buffer = io.BytesIO()
        bar = tqdm.wrapattr(
            buffer, "write", total=required.size, desc=target.name, disable=not shown, leave=False, file=sys.stderr
        )
        try:
            with bar as output:
                downloader(f"{mirror.rstrip('/')}/{target.name}", output, None)
        except Exception as error:  # whatever it is, the next mirror may do better
            failures.append(f"{mirror}: {_transfer_problem(error, buffer.tell() > 0)}")
            continue
        content = buffer.getvalue()
        received = hashlib.sha256(content).hexdigest()
        if received == required.sha256:
            return content
        failures.append(
            f"{mirror}: sent {len(content)} bytes with sha256 {_short(received)} "
            f"in place of {required.size} with {_short(required.sha256)}"
        )
    raise InputError(
        f"{target}: could not be fetched from {'; '.join(failures)}; "
        f"check the network connection, or copy the file there from elsewhere"
    )


def _transfer_problem(error: Exception, begun: bool) -> str:
    """Say in a few words why a transfer failed; requests says it in several nested sentences."""
    from requests import exceptions

    if isinstance(error, exceptions.HTTPError) and error.response is not None:
        return f"answered with HTTP status {error.response.status_code}"
    if begun or isinstance(error, exceptions.ChunkedEncodingError):
        return "the transfer broke off"
    if isinstance(error, exceptions.Timeout):
        return "no answer in time"
    if isinstance(error, exceptions.SSLError):
        return "no secure connection"
    if isinstance(error, exceptions.ProxyError):
        return "no connection through the proxy"
    if isinstance(error, exceptions.ConnectionError):
        return "no connection"
    return " ".join(str(error).split()) or type(error).__name__


def _short(checksum: str) -> str:
    return f"{checksum[:12]}…"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
