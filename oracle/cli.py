"""The command line: arguments in, one exit status out.

0 right or hazard (1 with ``--strict``) · 1 something wrong · 2 the check could not be made · 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from oracle.errors import InputError

RIGHT, WRONG, NOT_MADE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with ``argv`` (default: that of the process) and return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # A pipe or an old console may not speak UTF-8, and a table holds dashes and checks.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        parsed = _parser().parse_args(arguments)
        return int(parsed.run(parsed, shlex.join(["oracle", *arguments])))
    except InputError as error:
        print(f"oracle: {error}", file=sys.stderr)
        return NOT_MADE
    except KeyboardInterrupt:
        print("oracle: interrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has stopped; Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return RIGHT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oracle",
        description="Is the backward pass that you wrote by hand right? Every gradient, several ways.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    report = commands.add_parser(
        "report",
        help="write the gradient-error report of the layers in scratch",
        description="Compute every gradient of every layer in scratch by backprop, numerically and with PyTorch, "
        "compare them, and write gradient_errors.md and gradient_errors.json.",
    )
    report.add_argument("--layer", action="append", default=[], metavar="NAME", help="only this layer; may be repeated")
    report.add_argument(
        "--dtype", action="append", choices=("float64", "float32"), help="only this dtype; may be repeated"
    )
    report.add_argument(
        "--mnist",
        metavar="DIR",
        default=os.environ.get("MNIST_DIR") or None,
        help="directory with the four MNIST files, gzipped or not (default: the variable MNIST_DIR)",
    )
    _add_common(report)
    report.set_defaults(run=_report)
    return parser


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("reports"), help="where reports go (default: reports)"
    )
    command.add_argument("--json", metavar="FILE", help="write the JSON here as well; - is standard output")
    command.add_argument("--seed", metavar="N", type=_seed, default=0, help="seed of all random numbers (default: 0)")
    command.add_argument("--quiet", action="store_true", help="print nothing but errors")
    command.add_argument("--strict", action="store_true", help="a hazard or lost precision is an error as well")


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed < 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return seed


def _report(arguments: argparse.Namespace, command: str) -> int:
    # Here, so that --help and a usage error do not wait for NumPy and hypothesis.
    from oracle.data.digits import load_digits
    from oracle.data.mnist import load_mnist
    from oracle.files import require_writable_directory, write_together
    from oracle.judge.verdict import FAULTS
    from oracle.judge.verdict import RIGHT as VERDICT_RIGHT
    from oracle.reporting.plan import DTYPES, SAMPLES, select_records
    from oracle.reporting.progress import Bar
    from oracle.reporting.render import markdown, terminal, to_json
    from oracle.reporting.report import build_report
    from oracle.sources.autograd import HOW_TO_INSTALL, NOT_INSTALLED, is_available

    records = select_records(arguments.layer)
    directory = require_writable_directory(arguments.out)
    to_stdout = arguments.json == "-"
    if arguments.json and not to_stdout:
        require_writable_directory(Path(arguments.json).parent)
    real_data = {"digits": load_digits()}
    not_run = {}
    if arguments.mnist:
        real_data["mnist"] = load_mnist(arguments.mnist, limit=SAMPLES)
    else:
        not_run["TwoLayerNet on MNIST, and the exhibit"] = "no MNIST; name its directory with --mnist or MNIST_DIR"
    if not is_available():
        not_run["autograd"] = f"{NOT_INSTALLED.partition(': ')[2]}; install it with: {HOW_TO_INSTALL}"
    dtypes = tuple(dtype for dtype in DTYPES if dtype in (arguments.dtype or DTYPES))

    with Bar(shown=not arguments.quiet) as bar:
        report = build_report(
            records, dtypes, real_data, seed=arguments.seed, command=command, not_run=not_run, progress=bar
        )
    as_json = to_json(report)
    files = {directory / "gradient_errors.md": markdown(report), directory / "gradient_errors.json": as_json}
    if arguments.json and not to_stdout:
        files[Path(arguments.json)] = as_json
    write_together(files)
    if to_stdout:
        sys.stdout.write(as_json)
    elif not arguments.quiet:
        print(terminal(report))
        print(f"Written: {', '.join(str(path) for path in files)}")
    verdict = report["summary"]["verdict"]
    return WRONG if verdict in FAULTS or (arguments.strict and verdict != VERDICT_RIGHT) else RIGHT
