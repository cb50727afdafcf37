"""``oracle``: parses the arguments, runs one command, and turns what it raises into an exit status."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from oracle.cli import bench, check, diff, explain, kill_rate, matrix, report, train
from oracle.cli.status import INTERRUPTED, NOT_MADE, RIGHT
from oracle.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with ``argv`` (default: that of the process) and return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # A pipe or an old console may not speak UTF-8, and a table holds dashes and checks.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    _keep_hypothesis_out_of_the_way()
    try:
        parsed = _parser().parse_args(arguments)
        # A path that is not UTF-8 reaches Python as surrogates, which no file of ours could hold.
        command = shlex.join(["oracle", *arguments]).encode("utf-8", "replace").decode("utf-8")
        status = int(parsed.run(parsed, command))
        sys.stdout.flush()
        return status
    except InputError as error:
        print(f"oracle: {error}", file=sys.stderr)
        return NOT_MADE
    except KeyboardInterrupt:
        print("oracle: interrupted; no report was written", file=sys.stderr)
        return INTERRUPTED
    except MemoryError as error:
        print(f"oracle: not enough memory: {error}; take fewer or smaller samples, or a smaller batch", file=sys.stderr)
        return NOT_MADE
    except BrokenPipeError:
        # Whoever read the output has stopped; Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return RIGHT
    except OSError as error:
        # The reports are written by then; what fails is the terminal or the file that stands for it.
        print(f"oracle: the output cannot be written ({error.strerror or error})", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOT_MADE


def _keep_hypothesis_out_of_the_way() -> None:
    """Hypothesis keeps a folder in the working directory, which here is that of somebody's file."""
    if "hypothesis" not in sys.modules:
        os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir(), "oracle-hypothesis")))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oracle", description="Is the backward pass that you wrote by hand right? Every gradient, several ways."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    check.add(commands)
    explain.add(commands)
    report.add(commands)
    diff.add(commands)
    matrix.add(commands)
    train.add(commands)
    bench.add(commands)
    kill_rate.add(commands)
    return parser
