"""``oracle bench``: timings side by side."""

from __future__ import annotations

import argparse
from functools import partial

from oracle.cli.common import Commands, add_common, deliver, positive, require_places
from oracle.cli.status import RIGHT

#: Calls in a round: long enough for caches and clocks to settle.
REPEATS = 200


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command, and what it can time, to the parser."""
    bench = commands.add_parser("bench", help="time things side by side, on the same threads in one run")
    subjects = bench.add_subparsers(title="what to time", required=True, metavar="WHAT")
    command = subjects.add_parser(
        "train",
        help="a step of training: textbook, PyTorch, scratch, and the matrix products alone",
        description="Time a step of training in interleaved rounds and write bench_train.md and bench_train.json. Set "
        "OMP_NUM_THREADS before, so that NumPy and PyTorch use the same number of threads.",
    )
    command.add_argument(
        "--rounds", type=positive, metavar="N", default=30, help="rounds to take the median of (default: 30)"
    )
    add_common(command)
    command.set_defaults(run=run_train)


def run_train(arguments: argparse.Namespace, command: str) -> int:
    """Time a step of training, write, print; the exit status."""
    from oracle.bench.train import time_parts, time_training
    from oracle.reporting.bench import bench_lines, bench_markdown, to_bench_report
    from oracle.reporting.plan import DTYPES
    from oracle.reporting.progress import Bar
    from oracle.reporting.render import to_json

    require_places(arguments)
    options = {"rounds": arguments.rounds, "repeats": REPEATS, "seed": arguments.seed}
    with Bar(shown=not arguments.quiet) as bar:
        bar.start(len(DTYPES) * (arguments.rounds + 1))
        rows = {dtype: time_training(dtype, **options, on_round=partial(bar.step, dtype)) for dtype in DTYPES}
        parts = {dtype: time_parts(dtype, steps=arguments.rounds * REPEATS, seed=arguments.seed) for dtype in DTYPES}
    report = to_bench_report(rows, parts, seed=arguments.seed, command=command)
    files = {"bench_train.md": bench_markdown(report)}
    deliver(arguments, "bench_train", to_json(report), files, "\n\n".join(bench_lines(report)))
    return RIGHT
