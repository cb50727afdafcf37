"""Results that later ones are held against: taken from a report, kept as a baseline, read back or refused."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from oracle.errors import InputError
from oracle.judge.verdict import PRECEDENCE
from oracle.reporting.render import plain
from oracle.reporting.report import PAIR_NAMES
from oracle.reporting.report import SCHEMA as REPORT_SCHEMA

BASELINE = "baseline"
SCHEMA = 1
#: The schema of each kind of file that can be compared, and from which on this version knows nothing.
SCHEMAS = {"report": REPORT_SCHEMA, "check": REPORT_SCHEMA, BASELINE: SCHEMA}
#: What the last digits of a figure hang on, or the cases that are drawn: with others errors have no ratio.
FACTS = {
    "python": "Python",
    "numpy": "NumPy",
    "blas": "BLAS",
    "torch": "PyTorch",
    "hypothesis": "hypothesis",
    "platform": "platform",
}
#: The quantity of the row that holds the verdict on a layer as a whole: of its hazards, and where nothing could run.
WHOLE = ""
#: Comparisons of the layer itself; how the references agree with each other is no property of it.
OWN_PAIRS = tuple(name for name in PAIR_NAMES if name.startswith("backprop-"))
MEASURES = ("worst", "median")
#: JSON has integers that are no float.
LARGEST = sys.float_info.max


class Key(NamedTuple):
    """What a row is about; ``layer`` is ``FILE::Name`` in a check."""

    layer: str
    quantity: str
    dtype: str


@dataclass(frozen=True)
class Row:
    """A verdict, the largest margin, and by pair and measure (``backprop-numerical/worst``) the error in ulp."""

    verdict: str
    margin: float | None = None
    ulps: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Results:
    """What can be compared of a report. ``plan`` is None in reports from before it was written down."""

    of: str
    place: str
    environment: Mapping[str, Any]
    plan: Mapping[str, Any] | None
    rows: Mapping[Key, Row]

    @property
    def seed(self) -> int:
        return int(self.environment["seed"])

    def version(self, fact: str) -> str | None:
        """What a fact was, as far as figures hang on it.

        Patches of Python do not change arithmetic, and the builds of one PyTorch for several devices share their CPU.
        """
        value = self.environment.get(fact)
        if value is None:
            return None
        text = str(value).encode("utf-8", "replace").decode("utf-8")
        if fact == "python":
            return ".".join(text.split(".")[:2])
        return text.partition("+")[0] if fact == "torch" else text


class _Damaged(Exception):
    """What is wrong with the content of a file."""


def to_baseline(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report of kind ``report`` or ``check`` reduced to what later ones are held against."""
    results = results_of(report, "this report")
    content = {
        "schema": SCHEMA,
        "kind": BASELINE,
        "of": results.of,
        "environment": dict(results.environment),
        "plan": results.plan,
        "rows": [
            {**key._asdict(), "verdict": row.verdict, "margin": row.margin, "ulps": row.ulps}
            for key, row in results.rows.items()
        ],
    }
    return {**content, "checksum": _checksum(content)}


def results_of(content: Mapping[str, Any], place: str, instead: str | None = None) -> Results:
    """The results in a report or a baseline. Raises InputError for one that is damaged, foreign or from the future.

    ``instead`` is what to do then, where it is not to save another baseline.
    """
    try:
        return _results(content, place)
    except _Damaged as error:
        instead = instead or _instead(content.get("of", content.get("kind")))
        raise InputError(f"{place}: is damaged ({error}); {instead}") from None


def read_results(path: Path, *, of: str | None = None, instead: str | None = None) -> Results:
    """The results in a file, of kind ``of`` where that is given. The file is left as it is, whatever is in it.

    ``instead`` is as in `results_of`. Raises InputError for a file that is not there, is damaged, is foreign, or was
    written by a later version.
    """
    what_to_do = instead or _instead(of)
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; {what_to_do}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); {what_to_do}") from error
    try:
        content = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is damaged, it is no JSON ({error}); {what_to_do}") from error
    results = results_of(content if isinstance(content, dict) else {}, str(path), instead)
    if of is not None and results.of != of:
        raise InputError(
            f"{path}: was made by oracle {results.of}, but one made by oracle {of} is required; {what_to_do}"
        )
    return results


def require_replaceable_baseline(path: Path, of: str) -> None:
    """Refuse to write over anything but an earlier baseline of the same command, whole and of a version we know."""
    if not path.exists():
        return
    read_results(path, of=of, instead="it was not written over; name another file, or delete this one")
    if json.loads(path.read_bytes()).get("kind") != BASELINE:
        raise InputError(f"{path}: is a report, which a baseline would replace; name another file")


def require_same_cases(before: Results, seed: int, plan: Mapping[str, Any] | None, place: str = "this run") -> None:
    """Refuse results on other cases than those of ``place``: no row of the one can be compared with one of the other.

    ``seed`` and ``plan`` are those of ``place``.
    """
    if before.seed != seed:
        theirs, ours = f"seed {before.seed}", f"seed {seed}"
    elif before.plan is not None and plan is not None and before.plan != plan:
        theirs, ours = _plan_text(before.plan), _plan_text(plan)
    else:
        return
    raise InputError(
        f"{before.place}: was made with {theirs}, but {place} with {ours}: other cases are drawn, so that no row can "
        "be compared; make both with the same"
    )


def _plan_text(plan: Mapping[str, Any]) -> str:
    return ", ".join(f"{str(name).replace('_', ' ')}: {value}" for name, value in plan.items())


def _instead(of: object) -> str:
    command = of if of in ("report", "check") else "report"
    return f"a baseline or a report is required; save one with oracle {command} … --save-baseline FILE"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _results(content: Mapping[str, Any], place: str) -> Results:
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in SCHEMAS:
        what = f"of kind {_shortened(kind)}" if isinstance(kind, str) else "no report of oracle"
        *others, last = SCHEMAS
        known = f"{', '.join(others)} or {last}"
        raise InputError(f"{place}: is {what}, but one of kind {known} is required; name another file")
    schema = _entry(content, "schema", int)
    if schema > SCHEMAS[kind]:
        raise InputError(
            f"{place}: was written by a later version (schema {schema}; this one knows {SCHEMAS[kind]}); update "
            "scratch-oracle, or name another file"
        )
    if schema < 1:
        raise _Damaged(f"schema is {schema}")
    if kind == BASELINE and content.get("checksum") != _checksum(content):
        raise _Damaged("its checksum is that of another content")
    environment = _entry(content, "environment", dict)
    _entry(environment, "seed", int)
    of = _entry(content, "of", str) if kind == BASELINE else kind
    if of not in SCHEMAS or of == BASELINE:
        raise _Damaged(f"it is of {of!r}")
    plan = _entry(content, "plan", dict) if content.get("plan") is not None else None
    rows: dict[Key, Row] = {}
    for key, row in _ROWS[kind](content):
        if key in rows:
            raise _Damaged(f"there are two rows of {', '.join(filter(None, key))}")
        rows[key] = row
    if not rows:
        raise _Damaged("it has no rows")
    return Results(of, place, environment, plan, rows)


def _rows_of_baseline(content: Mapping[str, Any]) -> Iterator[tuple[Key, Row]]:
    for entry in _entries(content, "rows"):
        margin = entry.get("margin")
        ulps = _entry(entry, "ulps", dict) if entry.get("ulps") is not None else None
        yield (
            Key(_entry(entry, "layer", str), _entry(entry, "quantity", str), _entry(entry, "dtype", str)),
            Row(
                _verdict(entry),
                None if margin is None else _number(entry, "margin"),
                None if ulps is None else {measure: _number(ulps, measure) for measure in ulps},
            ),
        )


def _rows_of_report(content: Mapping[str, Any]) -> Iterator[tuple[Key, Row]]:
    if "layers" in content:
        for entry in _entries(content, "layers"):
            yield Key(_entry(entry, "layer", str), WHOLE, _entry(entry, "dtype", str)), Row(_verdict(entry))
    for entry in _entries(content, "rows"):
        yield _compared(entry, _entry(entry, "layer", str))


def _rows_of_check(content: Mapping[str, Any]) -> Iterator[tuple[Key, Row]]:
    seen: dict[str, int] = {}
    for subject in _entries(content, "subjects"):
        layer = f"{Path(_entry(subject, 'file', str)).as_posix()}::{_entry(subject, 'name', str)}"
        # A file may define a name twice.
        seen[layer] = seen.get(layer, 0) + 1
        layer += f" ({seen[layer]})" if seen[layer] > 1 else ""
        yield Key(layer, WHOLE, ""), Row(_verdict(subject))
        for entry in _entries(subject, "rows") if "rows" in subject else ():
            yield _compared(entry, layer)


def _compared(entry: Mapping[str, Any], layer: str) -> tuple[Key, Row]:
    """A row of a report, without what the references are to each other."""
    pairs = _entry(entry, "pairs", dict)
    own = {name: _entry(pairs, name, dict) for name in OWN_PAIRS if pairs.get(name) is not None}
    ulps = {
        f"{name}/{measure}": _number(pair, f"{measure}_ulp")
        for name, pair in own.items()
        for measure in MEASURES
        if f"{measure}_ulp" in pair
    }
    margin = max((_number(pair, "margin") for pair in own.values()), default=None)
    key = Key(layer, _entry(entry, "quantity", str), _entry(entry, "dtype", str))
    return key, Row(_verdict(entry), margin, ulps or None)


_ROWS = {BASELINE: _rows_of_baseline, "report": _rows_of_report, "check": _rows_of_check}


def _entries(table: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    for entry in _entry(table, name, list):
        if not isinstance(entry, dict):
            raise _Damaged(f"an entry of {name} is {entry!r}")
        yield entry


def _entry(table: Mapping[str, Any], name: str, kind: type) -> Any:
    value = table.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _Damaged(f"{name} is {_shortened(value)}" if name in table else f"{name} is missing")
    if isinstance(value, str) and not _is_unicode(value):
        raise _Damaged(f"{name} is {_shortened(value)}")
    return value


def _is_unicode(text: str) -> bool:
    """Whether a text can be written again: half of a surrogate pair cannot."""
    return text == text.encode("utf-8", "replace").decode("utf-8")


def _number(table: Mapping[str, Any], name: str) -> float:
    """A size: not negative; infinity is written as a string."""
    value = table.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LARGEST:
        return float(value)
    if value in ("inf", float("inf")):
        return float("inf")
    raise _Damaged(f"{name} is {_shortened(value)}")


def _verdict(table: Mapping[str, Any]) -> str:
    verdict = _entry(table, "verdict", str)
    if verdict not in PRECEDENCE:
        raise _Damaged(f"verdict is {_shortened(verdict)}")
    return str(verdict)


def _shortened(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _checksum(content: Mapping[str, Any]) -> str:
    """Of everything but the checksum itself."""
    others = {name: value for name, value in content.items() if name != "checksum"}
    try:
        text = json.dumps(others, sort_keys=True, allow_nan=False)
    except ValueError:  # an infinity, which is a word in the file
        text = json.dumps(plain(others), sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
