"""``oracle check``: is the file that you wrote right?"""

from __future__ import annotations

import argparse
from pathlib import Path

from oracle.cli.common import Commands, deliver, require_places, seed
from oracle.cli.status import RIGHT, WRONG
from oracle.errors import InputError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "check",
        help="check the layers in your own files",
        description="Find the layers in Python files, check each against numerical gradients and PyTorch, and say what "
        "is wrong, why, and how to mend it. Files run in a process of their own; nothing is written beside them.",
    )
    command.add_argument("files", nargs="+", metavar="FILE", help="a Python file, a folder, or FILE::Name")
    command.add_argument("--list", action="store_true", help="show what was found and what was passed over, and stop")
    command.add_argument("--only-wrong", action="store_true", help="show what is not right, and nothing else")
    command.add_argument("--strict", action="store_true", help="a hazard or lost precision is an error as well")
    command.add_argument("--out", metavar="DIR", type=Path, help="write check.json there")
    command.add_argument("--json", metavar="FILE", help="write the JSON here; - is standard output")
    command.add_argument("--seed", metavar="N", type=seed, default=0, help="seed of all random numbers (default: 0)")
    command.add_argument("--quiet", action="store_true", help="print nothing but errors")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, command: str) -> int:
    """Find, check, print; the exit status."""
    from oracle.judge import verdict
    from oracle.reporting.check import Checked, check_file, check_text, to_report
    from oracle.reporting.progress import Bar
    from oracle.reporting.render import to_json
    from oracle.subjects.interface import SubjectError
    from oracle.subjects.remote import Worker

    require_places(arguments)
    checked: list[Checked] = []
    passed_over: list[dict[str, str]] = []
    remarks: list[str] = []
    listed: list[str] = []
    with Bar(shown=not arguments.quiet) as bar:
        bar.start(0)
        for file, only in _targets(arguments.files):
            with Worker(file) as worker:
                try:
                    worker.load()
                except SubjectError as error:
                    raise InputError(f"{file}: {error}; a file that Python can read is required") from error
                if only is not None and only not in {found.name for found in worker.found}:
                    raise InputError(f"{file}: no layer called {only} was found; {_names(worker.found)}")
                passed_over += [{**entry, "file": str(file)} for entry in worker.passed_over]
                remarks += [f"{file.name}: {note}" for note in worker.notes]
                listed += [f"{file.name}:{f.line}  {f.name} taken for {f.record}" for f in worker.found]
                if not arguments.list:
                    checked += check_file(worker, only=only, seed=arguments.seed, on_layer=bar.step)
    if not listed:
        raise InputError(_nothing_found(arguments.files, passed_over))
    if arguments.list:
        over = [f"{entry['name']}: passed over, {entry['reason']}" for entry in passed_over]
        print("\n".join([*listed, *over]))
        return RIGHT
    report = to_report(checked, passed_over, seed=arguments.seed, command=command)
    text = check_text(checked, report, only_wrong=arguments.only_wrong)
    deliver(arguments, "check", to_json(report), {}, "\n\n".join([*remarks, text]))
    found = report["summary"]["verdict"]
    return WRONG if found in verdict.FAULTS or (arguments.strict and found != verdict.RIGHT) else RIGHT


def _targets(given: list[str]) -> list[tuple[Path, str | None]]:
    """Files, each with the one name in it that is meant, if one is."""
    targets: list[tuple[Path, str | None]] = []
    for text in given:
        place, _, name = text.partition("::")
        path = Path(place)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*.py") if not any(part.startswith(".") for part in p.parts))
            if not inside:
                raise InputError(f"{path}: a folder without a Python file")
            targets += [(file, None) for file in inside]
        elif path.is_file():
            targets.append((path, name or None))
        else:
            raise InputError(f"{path}: no such file; a Python file or a folder is required")
    return targets


def _names(found: object) -> str:
    names = [entry.name for entry in found]  # type: ignore[attr-defined]
    return f"there are {', '.join(names)}" if names else "there is none"


def _nothing_found(files: list[str], passed_over: list[dict[str, str]]) -> str:
    seen = "; ".join(f"{entry['name']}: {entry['reason']}" for entry in passed_over) or "no class and no function"
    return (
        f"{', '.join(files)}: no layer was found. Looked for classes with forward and backward called Relu, Sigmoid, "
        f"Affine (Linear, Dense, …), SoftmaxWithLoss (CrossEntropyLoss, …) and their like, and functions called "
        f"softmax and cross_entropy_error. Seen: {seen}"
    )
