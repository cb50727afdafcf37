"""`check_layer`: the checks for somebody's layer from Python, as a value that a notebook shows as a table."""

from __future__ import annotations

import copy
import html
import inspect
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from oracle.catalog.own import OWN
from oracle.catalog.variants import KNOWN
from oracle.errors import InputError
from oracle.judge.verdict import FAULTS, Evidence
from oracle.reporting.check import Checked, check_found, to_report
from oracle.reporting.check_text import check_text, not_asked
from oracle.reporting.render import to_json
from oracle.subjects.conventions.own import may_be_a_loss
from oracle.subjects.conventions.recognition import Told, UnknownCallingError, methods_of
from oracle.subjects.conventions.subject import ForeignSubject, Found, nearest
from oracle.subjects.source_file import BACKWARD_WORDS, Candidate, recognise, records_known_as
from oracle.subjects.told import known_records, told_from

#: What does not speak against a layer.
HARMLESS = frozenset({Evidence.WORTH_KNOWING, Evidence.LOSES_PRECISION})


@dataclass(frozen=True)
class CheckRecord:
    """What became of one check: in how many cases it was made, and what speaks against the layer."""

    name: str
    cases: int
    sentences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.sentences


class CheckResult:
    """What was found about one layer. ``str()`` is the table and the explanation; a notebook shows it as HTML."""

    def __init__(self, checked: Checked, seed: int) -> None:
        self._checked = checked
        self._report = to_report([checked], [], seed=seed, command="check_layer")

    @property
    def name(self) -> str:
        return self._checked.found.name

    @property
    def verdict(self) -> str:
        """One of the seven verdicts."""
        return self._checked.verdict

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong; a hazard or lost precision is not wrong, but see ``verdict``."""
        return self.verdict not in FAULTS

    @property
    def cause_id(self) -> str | None:
        return self._checked.cause_id

    @property
    def cause(self) -> str:
        """The sentence: what is wrong, where, and what to do."""
        return self._checked.cause

    @property
    def checks(self) -> dict[str, CheckRecord]:
        """Every check that was made, by its name."""
        examination = self._checked.examination
        assert examination is not None  # only what the text of a file spells wrongly is not examined
        against: dict[str, list[str]] = {name: [] for name in examination.tallies}
        for finding in examination.findings:
            if finding.evidence not in HARMLESS:
                against.setdefault(finding.check, []).append(finding.sentence)
        tallies = examination.tallies
        return {n: CheckRecord(n, tallies[n].cases if n in tallies else 0, tuple(s)) for n, s in against.items()}

    def to_json(self) -> str:
        """The report of kind ``check``, as ``oracle check --json`` writes it."""
        return to_json(self._report)

    def __str__(self) -> str:
        return check_text([self._checked], self._report, only_wrong=False)

    def __repr__(self) -> str:
        return f"<CheckResult {self.name}: {self.verdict}>"

    def _repr_html_(self) -> str:
        rows = [
            (html.escape(record.name), record.cases, "passed" if record.passed else html.escape(record.sentences[0]))
            for record in self.checks.values()
        ]
        table = tabulate(rows, headers=("check", "cases", "result"), tablefmt="unsafehtml")
        title = f"{html.escape(self.name)}: {html.escape(self.verdict)}"
        not_known = "".join(f"\n<p>{html.escape(sentence)}</p>" for sentence in not_asked([self._checked]))
        return f"<h4>{title}</h4>\n<p>{html.escape(self.cause)}</p>{not_known}\n{table}"


@contextmanager
def _generator_kept() -> Iterator[None]:
    """NumPy's global generator goes on afterwards where it was: it is seeded before calls into what nobody knows."""
    before = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


@_generator_kept()
def check_layer(
    layer: Any,
    *,
    taken_for: str | None = None,
    grads: str | Mapping[str, str] | None = None,
    layout: str | None = None,
    weights: str | None = None,
    reduction: str | None = None,
    seed: int = 0,
) -> CheckResult:
    """Check a layer: a class, an instance, or a function (its backward is found beside it, by name).

    ``taken_for`` is what it is where its name does not tell (``"affine"``); the others are those of ``oracle check``:
    ``grads="W=dLdW,b=dLdb"``, ``layout="columns"``, ``weights="out,in"``, ``reduction="layer"``.

    It runs in this process, so that an endless loop is one here too. Raises InputError where it cannot be told what the
    layer is or how it is called.
    """
    settings = {"grads": grads, "layout": layout, "weights": weights, "reduction": reduction}
    told = told_from({key: value for key, value in settings.items() if value is not None}, "check_layer")
    subject, found, file = open_layer(layer, taken_for, told)
    return CheckResult(check_found(subject, found, file, seed=seed), seed)


@_generator_kept()
def open_layer(layer: Any, taken_for: str | None, told: Told) -> tuple[ForeignSubject, Found, Path]:
    """A layer as a subject, what it was found to be, and the file that it stands in. Raises InputError."""
    is_function = inspect.isfunction(layer)
    name = layer.__name__ if is_function or isinstance(layer, type) else type(layer).__name__
    backward = _backward_of(layer) if is_function else None
    module = _module(layer, name, backward, is_function=is_function)
    base = name.removesuffix("_forward") if backward is not None else name
    is_class = not is_function or backward is not None
    records = known_records(taken_for, "taken_for") if taken_for else records_known_as(base, is_class=is_class)
    if not records and _is_like_a_layer(layer, backward, is_function=is_function):
        records = (OWN,)
    if not records:
        raise InputError(f"{name}: no layer is known by this name; say what it is with taken_for='affine'")
    file, line = _source(layer)
    candidate = Candidate(name, line, f"line {line}", records, backward.__name__ if backward is not None else "")
    try:
        attempts = [(record, a.calling, a.value) for record, a in recognise(module, candidate, told)]
    except UnknownCallingError as error:
        raise InputError(f"{name}: {error}; say how it is called, or give an instance of it") from error
    record, calling = nearest(attempts)
    subject = ForeignSubject(module, name, calling.applied_to(KNOWN[record]), calling)
    return subject, Found(name, line, candidate.place, record, calling), file


def _is_like_a_layer(layer: Any, backward: Callable[..., Any] | None, *, is_function: bool) -> bool:
    """Whether it has a forward and a backward, whatever it is called."""
    if is_function:
        return backward is not None or may_be_a_loss(layer.__name__, layer)
    return all(methods_of(layer if isinstance(layer, type) else type(layer)))


def _module(layer: Any, name: str, backward: Callable[..., Any] | None, *, is_function: bool) -> types.SimpleNamespace:
    """What recognition looks into: the class, or something that makes copies of an instance, or the functions."""
    held: dict[str, Any] = {name: layer}
    if not is_function and not isinstance(layer, type):

        class Copied(type(layer)):  # type: ignore[misc]
            """Every call makes a copy of the instance that was given."""

            def __new__(cls) -> Any:
                return copy.deepcopy(layer)

            def __init__(self) -> None:
                """The copy is of the class that was given, so this is never called."""

        held[name] = Copied
    if backward is not None:
        held[backward.__name__] = backward
    return types.SimpleNamespace(**held)


def _backward_of(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """The function beside it that is called like it, with backward for forward."""
    beside = vars(sys.modules[function.__module__]) if function.__module__ in sys.modules else {}
    base = function.__name__.removesuffix("_forward")
    names = [f"{base}_{word}" for word in BACKWARD_WORDS]
    # conv_forward_naive and conv_backward_naive.
    names += [function.__name__.replace("forward", "backward")] if "_forward_" in function.__name__ else []
    return next((beside[name] for name in names if callable(beside.get(name))), None)


def _source(layer: Any) -> tuple[Path, int]:
    """Where it is defined, as well as Python knows: a notebook has no file."""
    defined = layer if inspect.isfunction(layer) or isinstance(layer, type) else type(layer)
    try:
        return Path(inspect.getsourcefile(defined) or "<notebook>"), inspect.getsourcelines(defined)[1]
    except (OSError, TypeError):
        return Path("<notebook>"), 0
