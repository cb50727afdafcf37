"""``oracle report``: the gradient-error report of the layers in ``scratch``."""

from __future__ import annotations

import argparse
from pathlib import Path

from oracle.cli import regression
from oracle.cli.common import Commands, add_common, add_mnist, deliver, positive, require_places
from oracle.cli.status import RIGHT, WRONG
from oracle.errors import InputError

#: Beside the other files; drawn where matplotlib is installed.
PICTURE = "truth.png"
#: Committed: what the layers were when somebody last looked.
BASELINE = Path("reports/baseline.json")


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "report",
        help="write the gradient-error report of the layers in scratch",
        description="Compute every gradient of every layer in scratch by backprop, numerically and with PyTorch, "
        "compare them, and write gradient_errors.md, gradient_errors.json, and index.html: a page of this report and "
        "of those of the other commands that lie beside it.",
    )
    command.add_argument(
        "--layer", action="append", default=[], metavar="NAME", help="only this layer; may be repeated"
    )
    command.add_argument(
        "--dtype", action="append", choices=("float64", "float32"), help="only this dtype; may be repeated"
    )
    command.add_argument(
        "--cases",
        type=positive,
        metavar="N",
        help="cases of each corner of each layer (default: 12, some 38,000 comparisons in all)",
    )
    command.add_argument(
        "--truth", action="store_true", help="hold every source against truth as well, in ulp (some 20 s more)"
    )
    command.add_argument(
        "--only-page", action="store_true", help="compute nothing; make index.html anew from the reports as they are"
    )
    add_mnist(command)
    command.add_argument("--strict", action="store_true", help="a hazard or lost precision is an error as well")
    add_common(command)
    regression.add(command, BASELINE)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, command: str) -> int:
    """Examine, write, print; the exit status."""
    if arguments.only_page:
        return _only_page(arguments)
    # Here, so that --help and a usage error do not wait for NumPy and hypothesis.
    from oracle.data import load_digits, load_mnist
    from oracle.judge import verdict
    from oracle.reporting.page import PAGE, build_page
    from oracle.reporting.plan import CASES_PER_CORNER, DTYPES, SAMPLES, select_records
    from oracle.reporting.progress import Bar
    from oracle.reporting.render import markdown, terminal, to_json
    from oracle.reporting.report import build_report, plan_facts
    from oracle.reporting.truth import can_draw, truth_picture
    from oracle.sources.autograd import HOW_TO_INSTALL, NOT_INSTALLED, is_available

    records = select_records(arguments.layer)
    require_places(arguments)
    cases = arguments.cases or CASES_PER_CORNER
    held = regression.Regression(arguments, "report", plan_facts(cases))
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
            records,
            dtypes,
            real_data,
            seed=arguments.seed,
            command=command,
            cases_per_corner=cases,
            with_truth=arguments.truth,
            not_run=not_run,
            progress=bar,
        )
    chosen = {(entry["layer"], entry["dtype"]) for entry in report["layers"]}
    is_part = bool(arguments.layer or arguments.dtype)
    outcome = held.judge(report, lambda key: not is_part or (key.layer, key.dtype) in chosen)
    report |= outcome.entry
    files: dict[str, str | bytes] = {}
    picture = PICTURE if report.get("truth") and can_draw() else None
    if picture:
        files[picture] = truth_picture(report["truth"])
    files["gradient_errors.md"] = markdown(report, picture) + outcome.markdown
    as_json = to_json(report)
    files[PAGE] = build_page(arguments.out, {"gradient_errors.json": as_json})
    text = terminal(report).rstrip() + outcome.text
    deliver(arguments, "gradient_errors", as_json, files, text, outcome.files)
    found = report["summary"]["verdict"]
    is_wrong = found in verdict.FAULTS or (arguments.strict and found != verdict.RIGHT) or outcome.regressed
    return WRONG if is_wrong else RIGHT


def _only_page(arguments: argparse.Namespace) -> int:
    """The page from the reports as they are; 0, whatever their verdicts."""
    from oracle.files import write_atomically
    from oracle.reporting.page import PAGE, build_page

    meant_for_a_report = ("layer", "dtype", "cases", "truth", "strict", "json", *regression.OPTIONS)
    superfluous = [name for name in meant_for_a_report if getattr(arguments, name)]
    if superfluous:
        option = superfluous[0].replace("_", "-")
        raise InputError(f"--{option}: --only-page computes nothing; it goes with --out and --quiet")
    require_places(arguments)
    path = arguments.out / PAGE
    write_atomically(path, build_page(arguments.out))
    if not arguments.quiet:
        print(f"Written: {path}")
    return RIGHT
