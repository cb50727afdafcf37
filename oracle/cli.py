"""The command line: arguments in, one exit status out.

0 right or hazard (1 with ``--strict``) · 1 something wrong · 2 the check could not be made · 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from functools import partial
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
    _add_mnist(report)
    _add_common(report)
    report.set_defaults(run=_report)
    _add_train(commands)
    _add_bench(commands)
    return parser


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    bench = commands.add_parser("bench", help="time things side by side, on the same threads in one run")
    subjects = bench.add_subparsers(title="what to time", required=True, metavar="WHAT")
    train = subjects.add_parser(
        "train",
        help="a step of training: textbook, PyTorch, scratch, and the matrix products alone",
        description="Time a step of training in interleaved rounds and write bench_train.md and bench_train.json. Set "
        "OMP_NUM_THREADS before, so that NumPy and PyTorch use the same number of threads.",
    )
    train.add_argument(
        "--rounds", type=_positive, metavar="N", default=30, help="rounds to take the median of (default: 30)"
    )
    _add_common(train)
    train.set_defaults(run=_bench_train)


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    train = commands.add_parser(
        "train",
        help="train a network of scratch beside its PyTorch twin",
        description="Train a network of scratch and its PyTorch twin from the same weights over the same batches, "
        "compare them at every step, and write training.md, training.json and training.png.",
    )
    train.add_argument(
        "--net", choices=("two-layer", "sigmoid", "deep"), default="two-layer", help="(default: two-layer)"
    )
    train.add_argument(
        "--data", choices=("digits", "mnist"), default="digits", help="(default: digits, which need no file)"
    )
    _add_mnist(train)
    train.add_argument("--download", action="store_true", help="fetch the MNIST files that --mnist DIR lacks")
    length = train.add_mutually_exclusive_group()
    length.add_argument("--steps", type=_positive, metavar="N", help="steps of training (default: 2000, or one epoch)")
    length.add_argument("--epochs", type=_positive, metavar="N", help="the same in epochs")
    train.add_argument(
        "--batch-size", type=_positive, metavar="N", help="samples in a batch (default: that of the source)"
    )
    train.add_argument("--lr", type=_rate, metavar="RATE", help="learning rate (default: that of the source)")
    train.add_argument("--dtype", choices=("float64", "float32"), default="float64", help="(default: float64)")
    train.add_argument("--targets", choices=("one-hot", "labels"), default="one-hot", help="(default: one-hot)")
    train.add_argument("--save", type=Path, metavar="FILE", help="keep a checkpoint in FILE")
    train.add_argument(
        "--save-every", type=_positive, metavar="N", default=1000, help="steps between two (default: 1000)"
    )
    train.add_argument("--resume", type=Path, metavar="FILE", help="go on from a checkpoint")
    _add_common(train)
    train.set_defaults(run=_train)


def _add_mnist(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--mnist",
        metavar="DIR",
        default=os.environ.get("MNIST_DIR") or None,
        help="directory with the MNIST files (default: the variable MNIST_DIR)",
    )


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


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return rate


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


def _train(arguments: argparse.Namespace, command: str) -> int:
    from oracle.data import download_mnist, load_mnist, split_digits
    from oracle.files import require_writable_directory, write_together
    from oracle.reporting.progress import Bar
    from oracle.reporting.render import to_json
    from oracle.reporting.training import can_draw, picture, to_report, training_lines, training_markdown
    from oracle.training.run import train, train_in_printed_order
    from oracle.training.settings import PRESETS, Settings, prepare

    directory = require_writable_directory(arguments.out)
    for file in (arguments.save, Path(arguments.json) if arguments.json not in (None, "-") else None):
        if file is not None:
            require_writable_directory(file.parent)
    if arguments.data == "mnist":
        if not arguments.mnist:
            raise InputError("--data mnist: no directory with the MNIST files; name it with --mnist DIR or MNIST_DIR")
        if arguments.download:
            download_mnist(arguments.mnist, progress=not arguments.quiet)
        digits = load_mnist(arguments.mnist, "train"), load_mnist(arguments.mnist, "test")
    else:
        digits = split_digits(arguments.seed)
    preset = PRESETS[arguments.net]
    batch_size = arguments.batch_size or preset.batch_size
    settings = Settings(
        net=arguments.net,
        data=arguments.data,
        steps=_steps(arguments, preset.order, preset.epochs, len(digits[0]), batch_size),
        batch_size=batch_size,
        learning_rate=arguments.lr or preset.learning_rate,
        dtype=arguments.dtype,
        targets=arguments.targets,
        seed=arguments.seed,
        train_samples=len(digits[0]),
        test_samples=len(digits[1]),
    )
    samples = prepare(settings, *digits)
    shows_printed_order = preset.has_printed_order and batch_size == 1
    printed = None
    with Bar(shown=not arguments.quiet) as bar:
        bar.start(settings.steps * (1 + shows_printed_order))
        run = train(
            settings,
            samples,
            save=arguments.save,
            save_every=arguments.save_every,
            resume=arguments.resume,
            on_step=lambda step: bar.step(f"loss {step.loss:.4f}"),
            warn=lambda text: print(f"oracle: {text}", file=sys.stderr),
        )
        if shows_printed_order and not run.interrupted:
            printed = train_in_printed_order(
                settings, samples, settings.steps, lambda: bar.step("in the printed order")
            )
    report = to_report(run, command=command, printed=printed)
    as_json = to_json(report)
    files: dict[Path, str | bytes] = {directory / "training.json": as_json}
    if can_draw():
        files[directory / "training.png"] = picture(report, run)
    files[directory / "training.md"] = training_markdown(report, "training.png" if can_draw() else None)
    if arguments.json and arguments.json != "-":
        files[Path(arguments.json)] = as_json
    write_together(files)
    if arguments.json == "-":
        sys.stdout.write(as_json)
    elif not arguments.quiet:
        print("\n".join(training_lines(report)))
        print(f"Written: {', '.join(str(path) for path in files)}")
    if run.interrupted:
        return INTERRUPTED
    return WRONG if report["summary"]["verdict"] != "right" else RIGHT


def _steps(arguments: argparse.Namespace, order: str, epochs: int | None, samples: int, batch_size: int) -> int:
    """The number of steps asked for, in steps or epochs."""
    if arguments.steps:
        return int(arguments.steps)
    epochs = arguments.epochs or epochs
    if epochs is None:
        return 2000
    whole = samples // batch_size if order == "replacement" else -(-samples // batch_size)
    return int(epochs) * max(whole, 1)


def _bench_train(arguments: argparse.Namespace, command: str) -> int:
    from oracle.bench.train import time_parts, time_training
    from oracle.files import require_writable_directory, write_together
    from oracle.reporting.bench import bench_lines, bench_markdown, to_bench_report
    from oracle.reporting.plan import DTYPES
    from oracle.reporting.progress import Bar
    from oracle.reporting.render import to_json

    directory = require_writable_directory(arguments.out)
    options = {"rounds": arguments.rounds, "repeats": 50, "seed": arguments.seed}
    with Bar(shown=not arguments.quiet) as bar:
        bar.start(len(DTYPES) * (arguments.rounds + 1))
        rows = {dtype: time_training(dtype, **options, on_round=partial(bar.step, dtype)) for dtype in DTYPES}
        parts = {dtype: time_parts(dtype, **options) for dtype in DTYPES}
    report = to_bench_report(rows, parts, seed=arguments.seed, command=command)
    as_json = to_json(report)
    files: dict[Path, str | bytes] = {
        directory / "bench_train.md": bench_markdown(report),
        directory / "bench_train.json": as_json,
    }
    if arguments.json and arguments.json != "-":
        files[Path(arguments.json)] = as_json
    write_together(files)
    if arguments.json == "-":
        sys.stdout.write(as_json)
    elif not arguments.quiet:
        print("\n\n".join(bench_lines(report)))
    return RIGHT
