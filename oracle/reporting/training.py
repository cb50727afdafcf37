"""The report of a training run: JSON for machines, Markdown and a picture for people."""

from __future__ import annotations

import importlib.util
import io
from typing import Any

import numpy as np
from tabulate import tabulate

from oracle.judge.verdict import RIGHT
from oracle.reporting.environment import environment, environment_table
from oracle.reporting.report import SCHEMA
from oracle.sources.autograd import HOW_TO_INSTALL, NOT_INSTALLED
from oracle.training.run import PrintedOrderRun, TrainingRun

#: How many misread digits the picture and the table show.
MISREAD = 8
#: Losses are averaged over so many steps before they are drawn: single batches are noise.
SMOOTHED = 100


def to_report(run: TrainingRun, *, command: str, printed: PrintedOrderRun | None) -> dict[str, Any]:
    """The report as a report of kind ``train``."""
    history = run.trainer.history
    matched, unmatched = run.predictions()
    parity = run.resynchronised
    divergence = parity.first_divergence if parity else None
    verdict = RIGHT if divergence is None else divergence.verdict
    return {
        "schema": SCHEMA,
        "kind": "train",
        "environment": environment(run.settings.seed, command),
        "summary": {
            "verdict": verdict,
            "comparisons": parity.comparisons if parity else 0,
            "zero_both": 0,
            "skipped": [] if parity else [{"reason": f"parity: {NOT_INSTALLED}", "count": run.trainer.steps_done}],
            "checks_run": parity.steps if parity else 0,
            "steps": run.trainer.steps_done,
            "interrupted": run.interrupted,
            "test_accuracy": len(matched) / (len(matched) + len(unmatched)),
        },
        "settings": run.settings.as_json(),
        "loss": history.loss,
        "accuracy": {"train": history.train_accuracy, "test": history.test_accuracy},
        "seconds": round(history.seconds, 3),
        "twin": {
            "begins": run.twin_begins,
            "loss": run.twin_loss,
            "accuracy": {"train": run.twin_train_accuracy, "test": run.twin_test_accuracy},
        },
        "parity": {
            "resynchronised": {
                "worst_margin": parity.worst_margin,
                "first_divergence": None
                if divergence is None
                else {
                    "step": divergence.step,
                    "kind": divergence.kind,
                    "parameter": divergence.parameter,
                    "cause_id": divergence.cause_id,
                    "sentence": str(divergence),
                },
                "steps": parity.steps,
                "margins": parity.margins,
            }
            if parity
            else None,
            "free": {
                "worst_relative": max(run.free.worst, default=None),
                "step": run.free.steps[int(np.argmax(run.free.worst))] if run.free.steps else None,
                "steps": run.free.steps,
                "relative": run.free.relative,
                "one_ulp_away": run.yardstick.relative,
            }
            if parity
            else None,
        },
        "predictions": {"matched": matched, "unmatched": unmatched},
        "printed_order": None
        if printed is None
        else {
            "test_accuracy": printed.test_accuracy,
            "first_divergence": str(printed.divergence) if printed.divergence else None,
        },
    }


def training_markdown(report: dict[str, Any], picture: str | None) -> str:
    """The report for people. ``picture`` is the name of the picture beside it, or None if none was drawn."""
    settings, summary, parity = report["settings"], report["summary"], report["parity"]
    parts = [
        "# Training, step for step against PyTorch",
        "\n".join(f"- {line}" for line in training_lines(report)),
        f"![accuracy, loss, and how far the two runs are apart]({picture})"
        if picture
        else "No picture: matplotlib is not installed (python -m pip install matplotlib).",
        "## Settings",
        _table(list(settings.items()), ("setting", "value")),
        "## Accuracy",
        "Before training and after every epoch.",
        _table(_accuracy_rows(report), ("epoch", "train", "test", "train, PyTorch", "test, PyTorch")),
    ]
    if parity["resynchronised"]:
        parts += [
            "## Parity",
            "*Resynchronised*: before each step PyTorch takes over the parameters, and loss, gradients and updated "
            "parameters are compared within the bounds of the report of gradients; a margin of at most 1 is agreement.",
            _table(
                [(quantity, f"{margin:.2g}") for quantity, margin in parity["resynchronised"]["margins"].items()],
                ("quantity", "worst margin"),
            ),
            "*Free-running*: both from the same start over the same batches, never brought together. The difference "
            "max|Δ| / max|parameter| beside that of a run of our own that started with every parameter one ulp away.",
            _table(_free_rows(parity["free"]), ("parameter", "scratch and PyTorch", "one ulp away")),
        ]
    if report["printed_order"]:
        printed = report["printed_order"]["test_accuracy"]
        diverges = report["printed_order"]["first_divergence"]
        parts += [
            "## The printed order of updates",
            "The source updates the output layer first and carries the error to the hidden layer through the *new* "
            f"weights. From the same start over the same samples it reaches {printed:.4f} on the test samples; the "
            f"corrected order reaches {summary['test_accuracy']:.4f}, a difference of "
            f"{summary['test_accuracy'] - printed:+.4f}. "
            + (f"Against the twin it diverges at {diverges}." if diverges else f"Against the twin: {NOT_INSTALLED}."),
        ]
    unmatched = report["predictions"]["unmatched"]
    parts += [
        "## Predictions",
        f"{len(report['predictions']['matched'])} test samples are read right and {len(unmatched)} are misread; the "
        f"first {min(MISREAD, len(unmatched))}:",
        _table(
            [(entry["index"], entry["label"], entry["predicted"]) for entry in unmatched[:MISREAD]],
            ("test sample", "is", "read as"),
        ),
        "## Made with",
        environment_table(report["environment"]),
    ]
    assert summary["steps"] == len(report["loss"])
    return "\n\n".join(parts) + "\n"


def training_lines(report: dict[str, Any]) -> list[str]:
    """What happened, in a few lines."""
    summary, parity, settings = report["summary"], report["parity"], report["settings"]
    lines = [
        f"{settings['net']} on {settings['data']}, {settings['dtype']}: {summary['steps']:,} steps in "
        f"{report['seconds']:.1f} s of training; test accuracy {summary['test_accuracy']:.4f}."
    ]
    lost = next((number for number, loss in enumerate(report["loss"]) if not np.isfinite(loss)), None)
    if lost is not None:
        lines.append(f"The loss is not finite from step {lost:,} on: nothing is learned; take a smaller --lr.")
    if summary["interrupted"]:
        lines.append(f"Interrupted before step {settings['steps']:,}; this is what there was.")
    if report["printed_order"]:
        lines.append(f"The order of updates as printed reaches {report['printed_order']['test_accuracy']:.4f} instead.")
    if not parity["resynchronised"]:
        return [*lines, f"Parity: {NOT_INSTALLED}; install it with: {HOW_TO_INSTALL}."]
    resynchronised, free = parity["resynchronised"], parity["free"]
    if resynchronised["steps"] == 0:
        return [*lines, "Parity: nothing was compared, since no step was left to take."]
    diverged = resynchronised["first_divergence"]
    lines.append(
        f"Resynchronised at {resynchronised['steps']:,} of {summary['steps']:,} steps: "
        + (
            f"diverges at {diverged['sentence']}."
            if diverged
            else f"no divergence in {summary['comparisons']:,} comparisons, "
            f"worst margin {resynchronised['worst_margin']:.2g}."
        )
    )
    if free["worst_relative"] is not None:
        yardstick = max(max(values) for values in free["one_ulp_away"].values())
        lines.append(
            f"Free-running: at most {free['worst_relative']:.1e} of the largest parameter apart, at step "
            f"{free['step']:,}; a run that started one ulp away: {yardstick:.1e}."
        )
    return lines


def _accuracy_rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    ours, theirs = report["accuracy"], report["twin"]["accuracy"]
    epochs = len(ours["train"])
    columns = [_from_the_end(column or [], epochs) for column in (*ours.values(), *theirs.values())]
    return [
        (str(epoch), *("" if column[epoch] is None else f"{column[epoch]:.4f}" for column in columns))
        for epoch in range(epochs)
    ]


def _from_the_end(values: list[float], length: int) -> list[float | None]:
    """``values`` with None before them: a resumed run has no figures of the twin for the epochs before."""
    return [None] * (length - len(values)) + values


def _free_rows(free: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (name, f"{max(values):.1e}", f"{max(free['one_ulp_away'][name]):.1e}")
        for name, values in free["relative"].items()
    ]


def _table(rows: list[tuple[Any, ...]], headers: tuple[str, ...]) -> str:
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def picture(report: dict[str, Any], run: TrainingRun) -> bytes:
    """A PNG: accuracy of both over each other, loss, free-running difference, and a few misread digits."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 3, height_ratios=(3, 1.2))
    _draw_accuracy(figure.add_subplot(grid[0, 0]), report)
    _draw_loss(figure.add_subplot(grid[0, 1]), report)
    _draw_difference(figure.add_subplot(grid[0, 2]), report)
    strip = grid[1, :].subgridspec(1, MISREAD)
    unmatched = report["predictions"]["unmatched"][:MISREAD]
    side = int(np.sqrt(run.samples.x_test[0].size))
    for place, entry in enumerate(unmatched):
        axes = figure.add_subplot(strip[0, place])
        axes.imshow(run.samples.x_test[entry["index"]].reshape(side, side), cmap="gray_r")
        axes.set_title(f"{entry['label']} read as {entry['predicted']}", fontsize=9)
        axes.set_axis_off()
    settings = report["settings"]
    figure.suptitle(
        f"{settings['net']} on {settings['data']}: {report['summary']['steps']:,} steps, "
        f"batch {settings['batch_size']}, learning rate {settings['learning_rate']:g}, {settings['dtype']}"
    )
    buffer = io.BytesIO()
    # Without the version of matplotlib in it, the same run gives the same file.
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _draw_accuracy(axes: Any, report: dict[str, Any]) -> None:
    for split, colour in (("train", "tab:blue"), ("test", "tab:orange")):
        ours, theirs = report["accuracy"][split], report["twin"]["accuracy"][split]
        axes.plot(range(len(ours)), ours, color=colour, linewidth=2.5, alpha=0.5, label=f"{split}, scratch")
        if theirs:
            epochs = range(len(ours) - len(theirs), len(ours))
            axes.plot(epochs, theirs, color=colour, linestyle=":", marker=".", label=f"{split}, PyTorch")
    axes.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1.02), title="Accuracy")
    axes.legend(loc="lower right")


def _draw_loss(axes: Any, report: dict[str, Any]) -> None:
    ours, theirs = (
        (report["loss"], "scratch", "-", 0),
        (report["twin"]["loss"], "PyTorch", ":", report["twin"]["begins"]),
    )
    for loss, name, style, begins in (ours, theirs):
        if loss:
            width = min(SMOOTHED, len(loss))
            smooth = np.convolve(loss, np.ones(width) / width, mode="valid")
            axes.plot(np.arange(len(smooth)) + begins + width, smooth, style, linewidth=2, label=name)
    axes.set(xlabel="step", title=f"Loss, mean of {min(SMOOTHED, max(len(report['loss']), 1))} steps", yscale="log")
    axes.legend()


def _draw_difference(axes: Any, report: dict[str, Any]) -> None:
    axes.set(xlabel="step", title="Free-running: max|Δ| / max|parameter|")
    free = report["parity"]["free"]
    if not free or not free["steps"]:
        axes.text(0.5, 0.5, NOT_INSTALLED, ha="center", transform=axes.transAxes)
        return
    for name, key, style in (("scratch and PyTorch", "relative", "-"), ("one ulp away", "one_ulp_away", ":")):
        worst = [max(column) for column in zip(*free[key].values(), strict=True)]
        axes.plot(free["steps"], worst, style, linewidth=2, label=name)
    axes.set_yscale("log")
    axes.legend(loc="lower right")
