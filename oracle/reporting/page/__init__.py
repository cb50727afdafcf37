"""The page: one self-contained HTML file made from whatever JSON reports lie in a directory.

Every figure on it is read from them. Nothing is loaded from elsewhere, and what stands in a report, names from
somebody's file included, is text and never markup.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from oracle.judge.verdict import PRECEDENCE
from oracle.reporting.page import gradients, others, regression
from oracle.reporting.page.html import Child, Html, code, disclosure, listing, paragraph, shell, tag
from oracle.reporting.page.parts import (
    BENCH_CHECK,
    BENCH_TRAIN,
    CHECK,
    GRADIENTS,
    KILL_RATE,
    MATRIX,
    TRAINING,
    Kind,
    Part,
    as_numbers,
    read_parts,
)
from oracle.reporting.page.tables import Column, count, header, missing, table
from oracle.reporting.page.verdicts import badge
from oracle.reporting.render import summary_lines

#: Its name beside the other reports.
PAGE = "index.html"

Parts = Mapping[str, Part]
Show = Callable[[dict[str, Any]], Child]


def build_page(directory: Path, fresh: Mapping[str, str] | None = None) -> str:
    """The page for the reports in ``directory``; ``fresh`` are JSON files, by name, that are about to lie there."""
    parts = read_parts(directory, fresh or {})
    sections = [_section(parts, *described) for described in SECTIONS]
    style, script = (_resource(name) for name in ("page.css", "page.js"))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        # Nothing may be loaded, and no script run but the one below.
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", TITLE),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(style)),
    )
    body = tag(
        "body",
        tag("a", "Skip to the figures", href="#main", class_="skip"),
        tag("header", tag("h1", TITLE), paragraph(WHAT_THIS_IS), _contents()),
        tag("main", _overview(parts), sections, _made_with(parts), id="main", tabindex="-1"),
        tag("div", id="announcer", role="status", aria_live="polite", class_="unseen"),
        tag("script", Html(script)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


TITLE = "Gradients of hand-written layers, checked"
WHAT_THIS_IS = (
    "Each gradient is computed by the layer itself (backprop), by differentiating the layer's own forward (numerical), "
    "and by PyTorch (autograd), and compared entry by entry within bounds that follow from rounding."
)


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    sources = [base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode() for text in (style, script)]
    return "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            f"style-src 'sha256-{sources[0]}'",
            f"script-src 'sha256-{sources[1]}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _contents() -> Html:
    entries = [("overview", "Verdict"), *((name, title) for name, title, *_ in SECTIONS), ("made-with", "Made with")]
    links = [tag("li", tag("a", title, href=f"#{name}")) for name, title in entries]
    buttons = [
        tag("button", text, type="button", data_open=value)
        for text, value in (("Open all", "true"), ("Close all", "false"))
    ]
    # Shown by the script: without it the buttons would do nothing.
    controls = tag("div", buttons, id="controls", hidden=True)
    return tag("nav", tag("ul", links), controls, aria_label="Contents")


# --------------------------------------------------------------------------- the sections


def _section(parts: Parts, name: str, title: str, kind: Kind, intro: Child, show: Show, needs: str = "") -> Html:
    """A section made from one report, or saying which command makes that; ``needs`` is the key that it is about."""
    part = parts[kind.file]
    content = [tag("h2", title, id=f"{name}-title"), intro, _shown(part, show, needs)]
    return tag("section", content, id=name, aria_labelledby=f"{name}-title")


def _shown(part: Part, show: Show, needs: str) -> list[Child]:
    if part.report is None or (needs and needs not in part.report):
        return [_absent(part, f"has no {needs}" if part.report is not None else part.problem)]
    try:
        shown = show(part.report)
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # A file from elsewhere, or of another version: the page of all the others is not to fail for it.
        return [_absent(part, f"is not as this version writes it ({type(error).__name__}: {error})")]
    return [shown, _source(part)]


def _absent(part: Part, problem: str) -> Html:
    why = f"{part.kind.file} {problem}." if problem else f"There is no {part.kind.file} here yet."
    return paragraph(why, " It is made with: ", shell(part.command), class_="absent")


def _source(part: Part) -> Html:
    command = str(_environment(part).get("command", part.command))
    return paragraph("Read from ", code(part.kind.file), ", made with: ", shell(command), class_="source")


ERRORS_INTRO = [
    paragraph(
        "The three error columns give the largest absolute difference of each pair of sources. ",
        tag("em", "Mean abs"),
        " is the mean difference between backprop and the numerical gradient. ",
        tag("em", "Error"),
        " and ",
        tag("em", "bound"),
        " are those of the entry that comes nearest to what rounding can explain, and ",
        tag("em", "margin"),
        " is the first divided by the second: the sources agree where no margin is above 1. An error of exactly 0 is "
        "normal where independent code does the same arithmetic. Select a column's title to sort by it.",
    )
]
GRAPHS_INTRO = paragraph(
    "Values go forward along the upper arrows and stand above them. Gradients come back along the lower ones and stand "
    "below: by how much the output on the right changes for one unit of what the arrow carries. Rows of a matrix are "
    "the samples of a batch."
)
STEPS_INTRO = paragraph(
    "A central difference, (f(x + h) − f(x − h)) / 2h, has two errors. The formula's falls with h²; that of the "
    "subtraction grows with 1/h, since fewer and fewer digits of the two values differ. It is at its best in between, "
    "and never has all digits. The complex step, Im f(x + ih) / h, subtracts nothing: it has them all once h is small "
    "enough."
)
TRUTH_INTRO = paragraph(
    "The definition of each layer, differentiated with as many digits as it takes, is the truth; an ulp is the spacing "
    "of the dtype at the true value. What is rounded from the truth is off by ½ at most. Where a line rises, digits "
    "are lost: y (1 − y) has none left where y is near 1."
)
TRAINING_INTRO = paragraph("A network of scratch and its PyTorch twin, from the same weights over the same batches.")
TIMES_INTRO = paragraph("Medians of rounds in which all ways take turns on the same machine.")
KILLS_INTRO = paragraph(
    "Layers that were broken on purpose. A judge that calls correct layers right has shown little; this is what it "
    "notices, beside rules that are in common use."
)
OWN_INTRO = paragraph("The layers that ", shell("oracle check"), " found in your file, and what it says of each.")
MATRIX_INTRO = paragraph(
    "The same report with other versions of Python, NumPy and PyTorch, and without PyTorch: the worst margin of each "
    "layer in each environment, all quantities and dtypes together. What differs along a row has drifted between "
    "versions. ",
    shell("tox run -m matrix"),
    " runs them all.",
)


def _errors(report: dict[str, Any]) -> Child:
    return [
        regression.against_earlier(report),
        gradients.findings(report),
        gradients.errors(report),
        gradients.checks(report),
        gradients.references(report),
        gradients.exhibits(report),
    ]


#: Name, title, the report it is made from, introduction, what shows it, and the key of the report it is about.
SECTIONS: tuple[tuple[Any, ...], ...] = (
    ("errors", "Errors of each layer, three ways", GRADIENTS, ERRORS_INTRO, _errors),
    ("graphs", "Computational graphs", GRADIENTS, GRAPHS_INTRO, gradients.graphs, "graphs"),
    ("steps", "Error by step size", GRADIENTS, STEPS_INTRO, gradients.step_sizes, "step_sizes"),
    ("truth", "Errors against truth", GRADIENTS, TRUTH_INTRO, gradients.against_truth, "truth"),
    ("training", "Training beside PyTorch", TRAINING, TRAINING_INTRO, others.training),
    ("step-time", "Time of a training step", BENCH_TRAIN, TIMES_INTRO, lambda r: others.times(r, "step-time-chart")),
    ("check-time", "Time of checking", BENCH_CHECK, TIMES_INTRO, lambda r: others.times(r, "check-time-chart")),
    ("kill-rate", "Planted defects", KILL_RATE, KILLS_INTRO, others.kill_rate),
    ("matrix", "Every environment", MATRIX, MATRIX_INTRO, others.environments),
    ("own", "Your own file", CHECK, OWN_INTRO, others.own_file),
)

MEANINGS = {
    "right": "all sources agree",
    "hazard": "the values are right, but somebody's result can be corrupted",
    "precision lost": "right but for digits that a better formula keeps",
    "backward wrong": "forward agrees with the twin; backprop differs from the numerical gradient and from autograd",
    "forward wrong": "forward differs from the twin",
    "both wrong": "forward differs, and backprop differs from both",
    "could not run": "it cannot be called",
}


def _overview(parts: Parts) -> Html:
    """The verdict of each report, and in words what that on the layers rests on."""
    rows = [_verdict_row(part) for part in parts.values() if "verdict" in _summary(part) or part.report is None]
    columns = (
        *(Column(name) for name in ("report", "verdict")),
        *(Column(name, is_number=True) for name in ("comparisons", "checks run")),
    )
    meanings = [[header(badge(verdict)), tag("td", MEANINGS[verdict])] for verdict in reversed(PRECEDENCE)]
    content = [
        tag("h2", "Verdict", id="overview-title"),
        _in_words(parts[GRADIENTS.file]),
        table("The reports on this page", columns, rows),
        disclosure("What the verdicts mean", table("Verdicts", (Column("verdict"), Column("means")), meanings)),
    ]
    return tag("section", content, id="overview", aria_labelledby="overview-title")


def _in_words(part: Part) -> Child:
    if "verdict" not in _summary(part):
        return _absent(part, part.problem)
    assert part.report is not None
    lead = paragraph("Layers of scratch: ", badge(part.report["summary"]["verdict"]), class_="lead")

    def show(report: dict[str, Any]) -> Child:
        return [lead, listing(summary_lines({**report, "summary": as_numbers(report["summary"])}))]

    return _shown(part, show, "")


def _summary(part: Part) -> Mapping[str, Any]:
    summary = (part.report or {}).get("summary")
    return summary if isinstance(summary, dict) else {}


def _verdict_row(part: Part) -> list[Html]:
    summary = _summary(part)
    if not summary:
        absent = [
            tag("td", f"{part.problem or 'not made yet'}: ", shell(part.command), class_="command"),
            missing(""),
            missing(""),
        ]
        return [header(part.kind.title), *absent]
    counted = [summary.get(key) for key in ("comparisons", "checks_run")]
    # What compared nothing has not been found right.
    verdict: Child = badge(str(summary["verdict"])) if any(counted) else "none: nothing is compared"
    return [
        header(part.kind.title),
        tag("td", verdict),
        *(count(value) if isinstance(value, int) else missing("") for value in counted),
    ]


def _made_with(parts: Parts) -> Html:
    """Versions, and the command that makes each report again."""
    known = {part.kind.file: facts for part in parts.values() for facts in [_environment(part)] if "command" in facts}
    keys = list(dict.fromkeys(key for facts in known.values() for key in facts if key != "command"))
    rows = [[header(key), *(tag("td", str(facts.get(key, ""))) for facts in known.values())] for key in _first(keys)]
    commands = [
        [
            header(code(part.kind.file)),
            tag("td", shell(str(known[part.kind.file]["command"])), class_="command")
            if part.kind.file in known
            else missing("absent"),
            tag("td", shell(part.command), class_="command"),
        ]
        for part in parts.values()
    ]
    content = [
        tag("h2", "Made with, and how to make it again", id="made-with-title"),
        paragraph(
            "The same command with the same seed and versions gives the same figures, times excepted. The exact value "
            "of every figure stands in the JSON files, and on this page in the attribute ",
            shell("data-value"),
            " of its cell. This page is made anew by ",
            shell("oracle report"),
            ", or from the files as they are by ",
            shell("oracle report --only-page"),
            ".",
        ),
        table("Commands", (Column("file"), Column("was made with"), Column("is made with")), commands),
        table("Versions", (Column(""), *(Column(file) for file in known)), rows),
    ]
    return tag("section", content, id="made-with", aria_labelledby="made-with-title")


def _environment(part: Part) -> Mapping[str, Any]:
    facts = (part.report or {}).get("environment")
    return facts if isinstance(facts, dict) else {}


def _first(keys: Iterable[str]) -> list[str]:
    order = ("python", "numpy", "torch", "blas", "threads", "platform", "seed")
    return sorted(keys, key=lambda key: order.index(key) if key in order else len(order))
