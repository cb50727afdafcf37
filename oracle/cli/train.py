"""``oracle train``: a network of ``scratch`` trained beside its PyTorch twin."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from oracle.cli.common import Commands, add_common, add_mnist, deliver, positive, rate, require_places
from oracle.cli.status import INTERRUPTED, RIGHT, WRONG
from oracle.errors import InputError

#: Steps where neither --steps nor --epochs is given and the network has no length of its own.
STEPS = 2000
LARGEST_FLOAT32 = 3.4028234663852886e38


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "train",
        help="train a network of scratch beside its PyTorch twin",
        description="Train a network of scratch and its PyTorch twin from the same weights over the same batches, "
        "compare them at every step, and write training.md, training.json and training.png.",
    )
    command.add_argument(
        "--net", choices=("two-layer", "sigmoid", "deep"), default="two-layer", help="(default: two-layer)"
    )
    command.add_argument(
        "--data", choices=("digits", "mnist"), default="digits", help="(default: digits, which need no file)"
    )
    add_mnist(command)
    command.add_argument("--download", action="store_true", help="fetch the MNIST files that --mnist DIR lacks")
    length = command.add_mutually_exclusive_group()
    length.add_argument("--steps", type=positive, metavar="N", help=f"steps (default: {STEPS}; sigmoid: one epoch)")
    length.add_argument("--epochs", type=positive, metavar="N", help="the same in epochs")
    command.add_argument("--batch-size", type=positive, metavar="N", help="samples in a batch (default: the source's)")
    command.add_argument("--lr", type=rate, metavar="RATE", help="learning rate (default: the source's)")
    command.add_argument("--dtype", choices=("float64", "float32"), default="float64", help="(default: float64)")
    command.add_argument("--targets", choices=("one-hot", "labels"), default="one-hot", help="(default: one-hot)")
    command.add_argument("--save", type=Path, metavar="FILE", help="keep a checkpoint in FILE")
    command.add_argument(
        "--save-every", type=positive, metavar="N", default=1000, help="steps between two checkpoints (default: 1000)"
    )
    command.add_argument("--resume", type=Path, metavar="FILE", help="go on from a checkpoint")
    add_common(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, command: str) -> int:
    """Train, compare, write, print; the exit status."""
    from oracle.data import download_mnist, load_mnist, split_digits
    from oracle.reporting.progress import Bar
    from oracle.reporting.render import to_json
    from oracle.reporting.training import can_draw, picture, to_report, training_lines, training_markdown
    from oracle.training.run import train, train_in_printed_order
    from oracle.training.settings import PRESETS, Settings, prepare, steps_per_epoch

    require_places(arguments, arguments.save)
    if arguments.lr and arguments.dtype == "float32" and arguments.lr > LARGEST_FLOAT32:
        raise InputError(f"--lr {arguments.lr:g}: larger than any float32; take a smaller one, or --dtype float64")
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
    epochs = arguments.epochs or preset.epochs
    steps = arguments.steps or (epochs * steps_per_epoch(preset, len(digits[0]), batch_size) if epochs else STEPS)
    settings = Settings(
        net=arguments.net,
        data=arguments.data,
        steps=steps,
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
        bar.start(steps * (1 + shows_printed_order))
        trained = train(
            settings,
            samples,
            save=arguments.save,
            save_every=arguments.save_every,
            resume=arguments.resume,
            on_step=lambda step: bar.step(f"loss {step.loss:.4f}"),
            warn=lambda text: print(f"oracle: {text}", file=sys.stderr),
        )
        if shows_printed_order and not trained.interrupted:
            try:
                printed = train_in_printed_order(settings, samples, steps, lambda: bar.step("in the printed order"))
            except KeyboardInterrupt:
                # The run itself is done, and is reported without its exhibit.
                trained.interrupted = True
    report = to_report(trained, command=command, printed=printed)
    files: dict[str, str | bytes] = {"training.png": picture(report, trained)} if can_draw() else {}
    files["training.md"] = training_markdown(report, "training.png" if can_draw() else None)
    deliver(arguments, "training", to_json(report), files, "\n".join(training_lines(report)))
    if trained.interrupted:
        return INTERRUPTED
    return RIGHT if report["summary"]["verdict"] == "right" else WRONG
