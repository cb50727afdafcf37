"""``oracle bench``: timings side by side."""

from __future__ import annotations

import argparse
from functools import partial

from oracle.cli.common import Commands, add_common, add_mnist, deliver, positive, require_places
from oracle.cli.status import RIGHT

#: Steps of training whose parts are timed, for each round.
STEPS_IN_PARTS = 200
THREADS = "Set OMP_NUM_THREADS before, so that NumPy and PyTorch use the same number of threads."


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command, and what it can time, to the parser."""
    bench = commands.add_parser("bench", help="time things side by side, on the same threads in one run")
    subjects = bench.add_subparsers(title="what to time", required=True, metavar="WHAT")
    train = subjects.add_parser(
        "train",
        help="a step of training: textbook, PyTorch, scratch, and the matrix products alone",
        description="Time a step of training in interleaved rounds and write bench_train.md and bench_train.json. "
        + THREADS,
    )
    train.set_defaults(run=run_train)
    check = subjects.add_parser(
        "check",
        help="checking all 39,760 gradients of TwoLayerNet: the certificate, the loop, PyTorch's gradcheck",
        description="Time ways of checking all gradients of TwoLayerNet 784-50-10 on three images in interleaved "
        "rounds, measure how small an error the certificate notices, and write bench_check.md and bench_check.json. "
        + THREADS,
    )
    add_mnist(check)
    check.set_defaults(run=run_check)
    for command in (train, check):
        command.add_argument(
            "--rounds", type=positive, metavar="N", default=30, help="rounds to take the median of (default: 30)"
        )
        add_common(command)


def run_train(arguments: argparse.Namespace, command: str) -> int:
    """Time a step of training, write, print; the exit status."""
    from oracle.bench.train import time_parts, time_training
    from oracle.reporting.bench import markdown, to_report, train_lines, train_timings
    from oracle.reporting.plan import DTYPES
    from oracle.reporting.progress import Bar
    from oracle.reporting.render import to_json

    require_places(arguments)
    options = {"rounds": arguments.rounds, "seed": arguments.seed}
    with Bar(shown=not arguments.quiet) as bar:
        bar.start(len(DTYPES) * (arguments.rounds + 1))
        rows = {dtype: time_training(dtype, **options, on_round=partial(bar.step, dtype)) for dtype in DTYPES}
        steps = arguments.rounds * STEPS_IN_PARTS
        parts = {dtype: time_parts(dtype, steps=steps, seed=arguments.seed) for dtype in DTYPES}
    report = to_report("bench train", train_timings(rows, parts), seed=arguments.seed, command=command)
    lines = train_lines(report)
    files = {"bench_train.md": markdown("What a step of training costs", lines, report)}
    deliver(arguments, "bench_train", to_json(report), files, "\n\n".join(lines))
    return RIGHT


def run_check(arguments: argparse.Namespace, command: str) -> int:
    """Time ways of checking gradients, measure what the certificate notices, write, print; the exit status."""
    from oracle.bench.check import SAMPLES, images_like_mnist, thresholds, time_checks
    from oracle.data import load_mnist
    from oracle.reporting.bench import check_lines, check_timings, markdown, to_report
    from oracle.reporting.progress import Bar
    from oracle.reporting.render import to_json

    require_places(arguments)
    if arguments.mnist:
        images, described = load_mnist(arguments.mnist, limit=SAMPLES), "three MNIST images"
    else:
        images = images_like_mnist(arguments.seed)
        described = "three random images with as many pixels that are not 0 as MNIST has"
    with Bar(shown=not arguments.quiet) as bar:
        bar.start(arguments.rounds + 2)
        rows = time_checks(
            images, rounds=arguments.rounds, seed=arguments.seed, on_round=partial(bar.step, "interleaved rounds")
        )
        bar.step("the smallest error that is noticed")
        noticed = thresholds(images, seed=arguments.seed)
    report = to_report("bench check", check_timings(rows), seed=arguments.seed, command=command)
    report |= {"thresholds": noticed, "images": described}
    lines = check_lines(report)
    files = {"bench_check.md": markdown("What it costs to check every gradient", lines, report)}
    deliver(arguments, "bench_check", to_json(report), files, "\n\n".join(lines))
    return RIGHT
