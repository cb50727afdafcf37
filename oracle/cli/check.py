"""``oracle check``: is the file that you wrote right?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oracle.cli import hints, regression
from oracle.cli.common import Commands, deliver, require_places, seed
from oracle.cli.status import RIGHT, WRONG
from oracle.errors import InputError

if TYPE_CHECKING:
    from oracle.reporting.check import Checked
    from oracle.subjects.remote import Worker

#: What a folder is searched for.
PATTERNS = ("*.py", "*.ipynb")
BASELINE = Path("oracle-baseline.json")


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "check",
        help="check the layers in your own files",
        description="Find the layers in Python files and notebooks, check each against numerical gradients and "
        "PyTorch, and say what is wrong, why, and how to mend it. Files run in a process of their own; nothing is "
        "written beside them.",
    )
    command.add_argument("files", nargs="+", metavar="FILE", help="a Python file, a notebook, a folder, or FILE::Name")
    command.add_argument("--list", action="store_true", help="show what was found and what was passed over, and stop")
    command.add_argument("--only-wrong", action="store_true", help="show what is not right, and nothing else")
    command.add_argument("--strict", action="store_true", help="a hazard or lost precision is an error as well")
    command.add_argument("--show-output", action="store_true", help="show what the files print (the first of it)")
    command.add_argument("--out", metavar="DIR", type=Path, help="write check.json and check.md there")
    command.add_argument("--json", metavar="FILE", help="write the JSON here; - is standard output")
    command.add_argument("--markdown", metavar="FILE", type=_file, help="write what is said as Markdown")
    command.add_argument("--junit", metavar="FILE", type=_file, help="write a test for each check as JUnit's XML")
    command.add_argument("--seed", metavar="N", type=seed, default=0, help="seed of all random numbers (default: 0)")
    command.add_argument("--quiet", action="store_true", help="print nothing but errors")
    hints.add(command)
    regression.add(command, BASELINE)
    command.set_defaults(run=run)


def _file(text: str) -> Path:
    if text == "-":
        raise argparse.ArgumentTypeError("a file is required; standard output takes --json - only")
    return Path(text)


def run(arguments: argparse.Namespace, command: str) -> int:
    """Find, check, print; the exit status."""
    from oracle.judge import verdict
    from oracle.reporting.check import plan_facts, to_report
    from oracle.reporting.check_text import check_junit, check_markdown, check_text, is_coloured
    from oracle.reporting.progress import Bar
    from oracle.reporting.render import to_json
    from oracle.sources.autograd import preload

    require_places(arguments, arguments.markdown, arguments.junit)
    held = regression.Regression(arguments, "check", plan_facts())
    checked: list[Checked] = []
    seen = _Seen()
    is_loading = False if arguments.list else preload()
    with Bar(shown=not arguments.quiet) as bar:
        bar.start(0)
        for file, only in _targets(arguments.files):
            with _opened(file, only, arguments, seen) as worker:
                if not arguments.list:
                    checked += _checked(worker, only, arguments, bar, is_loading=is_loading)
                if arguments.show_output:
                    seen.printed(file, worker.printed())
    if not seen.found:
        raise InputError(_nothing_found(arguments.files, seen.passed_over))
    if arguments.list:
        print("\n".join([*seen.found, *(f"{e['name']}: passed over, {e['reason']}" for e in seen.passed_over)]))
        return RIGHT
    report = to_report(checked, seen.passed_over, seed=arguments.seed, command=command)
    outcome = held.judge(report, lambda key: _is_asked(key.layer, arguments.files))
    report |= outcome.entry
    with_colour = is_coloured(sys.stdout)
    text = check_text(checked, report, only_wrong=arguments.only_wrong, with_colour=with_colour)
    text += outcome.text
    markdown = check_markdown(checked, report, seen.remarks) + outcome.markdown
    files = {arguments.markdown: markdown} if arguments.markdown else {}
    files |= outcome.files
    if arguments.junit:
        files[arguments.junit] = check_junit(checked)
    deliver(arguments, "check", to_json(report), {"check.md": markdown}, "\n\n".join([*seen.remarks, text]), files)
    found = report["summary"]["verdict"]
    is_wrong = found in verdict.FAULTS or (arguments.strict and found != verdict.RIGHT) or outcome.regressed
    return WRONG if is_wrong else RIGHT


class _Seen:
    """What was found in the files, beside verdicts."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.passed_over: list[dict[str, str]] = []
        self.remarks: list[str] = []

    def file(self, file: Path, worker: Worker) -> None:
        self.found += [f"{file.name}:{f.line}  {f.name} taken for {f.record}, {f.convention}" for f in worker.found]
        self.passed_over += [{**entry, "file": str(file)} for entry in worker.passed_over]
        self.remarks += [f"{file.name}: {note}" for note in worker.notes]

    def printed(self, file: Path, text: str) -> None:
        self.remarks.append(f"{file.name} printed:\n{text}" if text else f"{file.name} printed nothing")


def _opened(file: Path, only: str | None, arguments: argparse.Namespace, seen: _Seen) -> Worker:
    """A worker with the file in it, and its layers recognised."""
    from oracle.subjects.interface import SubjectError
    from oracle.subjects.remote import Worker

    worker = Worker(file, hints.hints_for(file, only, arguments))
    try:
        worker.load()
        hints.require_used(arguments, [found for found in worker.found if only in (None, found.name)])
        if only is not None and only not in {found.name for found in worker.found}:
            raise InputError(f"{file}: no layer called {only} was found; {_why_not(only, worker)}")
    except SubjectError as error:
        worker.close()
        raise InputError(f"{file}: {error}; a file that Python can read is required") from error
    except BaseException:
        worker.close()
        raise
    seen.file(file, worker)
    return worker


def _checked(
    worker: Worker, only: str | None, arguments: argparse.Namespace, bar: Any, *, is_loading: bool
) -> Sequence[Checked]:
    from oracle.reporting.check import check_file, first_verdicts
    from oracle.reporting.check_text import coloured, is_coloured

    says_more = not (arguments.quiet or arguments.only_wrong or arguments.json == "-")
    if is_loading and says_more and worker.found:
        print(f"{worker.file.name}, by numerical differentiation alone (PyTorch follows):", flush=True)
        for name, found in first_verdicts(worker, only=only, seed=arguments.seed):
            print(f"  {name}: {coloured(found, with_colour=is_coloured(sys.stdout))} so far", flush=True)
        print(flush=True)
    return check_file(worker, only=only, seed=arguments.seed, on_layer=bar.step)


def _targets(given: list[str]) -> Iterator[tuple[Path, str | None]]:
    """Files, each with the one name in it that is meant, if one is."""
    targets: list[tuple[Path, str | None]] = []
    for text in given:
        place, _, name = text.partition("::")
        path = Path(place)
        if path.is_dir():
            inside = sorted(
                p for pattern in PATTERNS for p in path.rglob(pattern) if not any(q.startswith(".") for q in p.parts)
            )
            if not inside:
                raise InputError(f"{path}: a folder without a Python file or a notebook")
            targets += [(file, None) for file in inside]
        elif path.is_file():
            targets.append((path, name or None))
        else:
            raise InputError(f"{path}: no such file; a Python file, a notebook or a folder is required")
    return iter(targets)


def _is_asked(layer: str, given: list[str]) -> bool:
    """Whether ``FILE::Name`` is among the files, folders and names that were given."""
    file, _, name = layer.rpartition("::")
    return any(
        (Path(place) == Path(file) or Path(place) in Path(file).parents) and only in ("", name)
        for place, _, only in (text.partition("::") for text in given)
    )


def _why_not(name: str, worker: Worker) -> str:
    reasons = [entry["reason"] for entry in worker.passed_over if entry["name"] == name]
    if reasons:
        return f"{reasons[0]}; say what it is with --as, and how it is called with --grads, --layout, --weights"
    names = [entry.name for entry in worker.found]
    return f"there are {', '.join(names)}" if names else "there is none"


def _nothing_found(files: list[str], passed_over: list[dict[str, str]]) -> str:
    seen = "; ".join(f"{entry['name']}: {entry['reason']}" for entry in passed_over) or "no class and no function"
    return (
        f"{', '.join(files)}: no layer was found. Looked for classes with forward and backward, called Relu, Sigmoid, "
        f"Affine (Linear, Dense, …), SoftmaxWithLoss (CrossEntropyLoss, …) or otherwise, for pairs of functions such "
        f"as affine_forward and affine_backward, and for functions called softmax and cross_entropy_error. Seen: {seen}"
        f". A layer by another name: oracle check FILE::Name --as Affine"
    )
