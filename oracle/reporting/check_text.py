"""What is said of somebody's file of layers: on a terminal, in Markdown, and as JUnit's XML."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO
from xml.etree import ElementTree

import numpy as np
from tabulate import tabulate

from oracle.judge.causes import CAUSES
from oracle.judge.checks import CHECKS
from oracle.judge.examination import SLOW
from oracle.judge.trial import Finding
from oracle.judge.verdict import FAULTS, HAZARD, PRECISION_LOST, RIGHT, Evidence
from oracle.reporting.check import DTYPE, Checked, example_of, snippet_of
from oracle.sources.autograd import HOW_TO_INSTALL
from oracle.subjects.conventions.recognition import UNKNOWN_NAME

HEADERS = ("where", "name", "taken for", "called as", "verdict")
RED, YELLOW, GREEN = "31", "33", "32"


def is_coloured(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows colours; NO_COLOR (no-color.org) forbids them."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(verdict: str, *, with_colour: bool) -> str:
    """A verdict, red where something is wrong, yellow where something may go wrong."""
    if not with_colour:
        return verdict
    code = GREEN if verdict == RIGHT else YELLOW if verdict in (HAZARD, PRECISION_LOST) else RED
    return f"\033[{code}m{verdict}\033[0m"


def check_text(
    checked: Sequence[Checked], report: dict[str, Any], *, only_wrong: bool, with_colour: bool = False
) -> str:
    """The table, a paragraph for each layer that is not right, hazards and notes, and how much was compared."""
    shown = [one for one in checked if one.verdict != RIGHT] if only_wrong else list(checked)
    parts = []
    if shown:
        rows = [(*row[:-1], coloured(row[-1], with_colour=with_colour)) for row in _rows(shown)]
        parts.append(tabulate(rows, headers=HEADERS, tablefmt="simple"))
    for one in shown:
        if one.verdict != RIGHT:
            title = f"{one.found.name} ({one.file.name}, {one.found.place}): "
            cause = f" [{one.cause_id}]" if one.cause_id is not None else ""
            lines = [title + coloured(one.verdict, with_colour=with_colour) + cause, *_indented(_paragraph(one))]
            parts.append("\n".join([*lines, *_example(one), *_snippet(one)]))
    over = list(_passed_over(report))
    if over:
        parts.append("Not checked:\n" + "\n".join(f"  - {line}" for line in over))
    notes = list(_notes(shown))
    if notes and not only_wrong:
        parts.append("Worth knowing:\n" + "\n".join(f"  - {note}" for note in notes))
    parts += not_asked(checked)
    parts.append(_summary(report, with_colour=with_colour))
    return "\n\n".join(parts)


def check_markdown(checked: Sequence[Checked], report: dict[str, Any], remarks: Iterable[str]) -> str:
    """The same in Markdown."""
    rows = [[_cell(value) for value in row] for row in _rows(checked)]
    parts = ["# Layers checked", _summary(report), *not_asked(checked), *remarks]
    parts.append(tabulate(rows, headers=HEADERS, tablefmt="github", disable_numparse=True))
    for one in checked:
        if one.verdict != RIGHT:
            parts.append(f"## {_cell(one.found.name)}: {one.verdict}")
            parts.append("\n".join(f"- {_cell(line)}" for line in _paragraph(one)))
            for lines, language in ((_example(one), "text"), (snippet_of(one).splitlines(), "python")):
                if lines:
                    parts.append("\n".join([f"```{language}", *lines, "```"]))
    over = list(_passed_over(report))
    if over:
        parts += ["## Not checked", "\n".join(f"- {_cell(line)}" for line in over)]
    notes = list(_notes(checked))
    if notes:
        parts += ["## Worth knowing", "\n".join(f"- {_cell(note)}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def check_junit(checked: Sequence[Checked]) -> str:
    """A test for each layer and check, as JUnit's XML: what continuous integration shows."""
    suites = ElementTree.Element("testsuites", name="oracle check")
    for file in dict.fromkeys(one.file for one in checked):
        suite = ElementTree.SubElement(suites, "testsuite", name=str(file))
        counted = failed = 0
        for one in checked:
            if one.file != file:
                continue
            for name, sentences in _tests(one).items():
                counted += 1
                test = ElementTree.SubElement(suite, "testcase", classname=one.found.name, name=name, file=str(file))
                test.set("line", str(one.found.line))
                if sentences:
                    failed += 1
                    failure = ElementTree.SubElement(
                        test, "failure", message=_printable(sentences[0]), type=one.verdict
                    )
                    failure.text = _printable("\n".join(sentences))
        suite.set("tests", str(counted))
        suite.set("failures", str(failed))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


# --------------------------------------------------------------------------- what is said


def _rows(checked: Iterable[Checked]) -> list[tuple[str, ...]]:
    return [(_where(one), one.found.name, one.found.record, one.found.convention, one.verdict) for one in checked]


def _where(one: Checked) -> str:
    is_plain = one.found.place == f"line {one.found.line}"
    return f"{one.file.name}:{one.found.line}" if is_plain else f"{one.file.name}, {one.found.place}"


def _paragraph(one: Checked) -> list[str]:
    if one.examination is None:
        return [one.cause]
    lines = []
    for finding in one.decisive:
        lines.append(finding.sentence)
        place = one.place_of(finding)
        if place is not None and finding.comparison is not None:
            lines.append(f"  {place}")
        mend = _mending(finding)
        if mend and one.verdict not in FAULTS:
            lines.append(mend)
    if one.verdict in FAULTS:
        lines += [f"also: {hazard}" for hazard in one.sentences(Evidence.CAN_CORRUPT)]
    return lines


def _mending(finding: Finding) -> str:
    """What to do, where the sentence has not said it."""
    if finding.cause_id == "lacks_a_property":
        return f"Asked for: {CHECKS[finding.check].summary}" if finding.check in CHECKS else ""
    mend = CAUSES[finding.cause_id].mend if finding.cause_id in CAUSES else ""
    advice = re.split("[:;] ", mend.rstrip("."))[-1]
    return "" if advice.lower() in finding.sentence.lower() else mend


def _example(one: Checked) -> list[str]:
    shown = one.shown
    if shown is None:
        return []
    arrays = [f"    {name} = {_short(values)}" for name, values in example_of(one, shown.case).items()]
    return [f"  seen with {shown.case}", *arrays]


def _snippet(one: Checked) -> list[str]:
    lines = snippet_of(one)
    if not lines:
        return []
    return [f"  to see it with NumPy alone, beside {one.file.name}:", textwrap.indent(lines, "    ")]


def _passed_over(report: dict[str, Any]) -> Iterator[str]:
    """What is written like a layer and was not checked; what else was passed over is shown by --list."""
    for entry in report["passed_over"]:
        if entry["reason"] != UNKNOWN_NAME:
            yield f"{entry['name']}: {entry['reason']}"


def _notes(checked: Iterable[Checked]) -> Iterator[str]:
    for one in checked:
        for note in one.sentences(Evidence.WORTH_KNOWING):
            yield f"{one.found.name}: {note}"


def not_asked(checked: Iterable[Checked]) -> list[str]:
    """What was not compared, for want of a name that is known or of PyTorch."""
    asked = [one for one in checked if one.examination is not None and not one.examination.with_autograd]
    known = [one for one in asked if one.found.spec.has_twin]
    unknown = [one for one in asked if not one.found.spec.has_twin]
    return [*_of_unknown_names(unknown), *(_without_pytorch() if known else [])]


def _of_unknown_names(unknown: Sequence[Checked]) -> list[str]:
    """What was asked of layers that nobody knows, and what would have been noticed."""
    if not unknown:
        return []
    noticed = [
        c.noticed
        for one in unknown
        if one.examination is not None
        for c in one.examination.comparisons
        if c.quantity not in one.found.spec.outputs and np.isfinite(c.noticed) and c.noticed > 0
    ]
    names = ", ".join(one.found.name for one in unknown)
    lines = [
        f"Checked against their own forward: {names}. Whether forward is the right function was not asked: no layer is "
        "known by this name (--as NAME says which it is)."
    ]
    if noticed:
        median, most = float(np.median(noticed)), float(np.quantile(noticed, 0.99))
        lines.append(
            f"Noticed there: an error in any one entry of a gradient above {median:.1g} of the largest entry in "
            f"the median comparison, above {most:.1g} in 99 % of them."
        )
    slow = [one.found.name for one in unknown if one.examination is not None and one.examination.skipped[SLOW]]
    if slow:
        lines.append(f"Not every case was examined, since the calls took too long in all: {', '.join(slow)}.")
    return [" ".join(lines)]


def _without_pytorch() -> list[str]:
    return [
        "PyTorch is not installed: whether forward is the right function, and not only differentiated rightly, was not "
        f"asked ({HOW_TO_INSTALL})."
    ]


def _summary(report: dict[str, Any], *, with_colour: bool = False) -> str:
    summary = report["summary"]
    return (
        f"{summary['comparisons']:,} comparisons, {summary['checks_run']:,} checks run, in {DTYPE}. "
        f"Verdict: {coloured(summary['verdict'], with_colour=with_colour)}."
    )


def _tests(one: Checked) -> dict[str, list[str]]:
    """The checks of a layer, each with what speaks against it."""
    if one.examination is None:
        return {"runs": [one.cause]}
    tests: dict[str, list[str]] = {name: [] for name in one.examination.tallies}
    for finding in one.examination.findings:
        if finding.evidence not in (Evidence.WORTH_KNOWING, Evidence.CAN_CORRUPT, Evidence.LOSES_PRECISION):
            tests.setdefault(finding.check, []).append(finding.sentence)
    return tests


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _short(values: Any) -> str:
    """Numbers as they are read: integers whole, others to four digits."""
    if isinstance(values, list):
        return f"[{', '.join(_short(value) for value in values)}]"
    return f"{values:.4g}"


def _cell(text: str) -> str:
    """Text of somebody's file in a table of Markdown: it neither ends a cell nor becomes HTML."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _printable(text: str) -> str:
    """XML knows no control characters."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
