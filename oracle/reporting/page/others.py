"""The sections of the page that show the other reports: training, times, planted defects, somebody's own file."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from oracle.reporting.bench import WAYS
from oracle.reporting.page import charts
from oracle.reporting.page.gradients import charted, grid
from oracle.reporting.page.html import Child, Html, code, disclosure, listing, paragraph, tag
from oracle.reporting.page.parts import as_numbers
from oracle.reporting.page.regression import against_earlier
from oracle.reporting.page.tables import (
    Column,
    count,
    derived,
    exact,
    header,
    missing,
    number,
    scientific,
    short,
    table,
)
from oracle.reporting.page.verdicts import badge
from oracle.reporting.training import training_lines

Report = dict[str, Any]

#: The curve of the loss has at most so many points, each the mean of as many steps: single batches are noise.
POINTS = 100
#: Differences of 0 have no logarithm; an ulp of 1 is 2e-16.
LEAST_DIFFERENCE = 1e-17
#: How many misread samples are listed.
MISREAD = 8

# --------------------------------------------------------------------------- training


def training(report: dict[str, Any]) -> list[Html]:
    """Accuracy, loss, how far the two runs are apart, and the margins of the parity."""
    report = as_numbers(report)
    figures = [_accuracy(report), _loss(report)]
    parity = report["parity"]
    if parity["free"] and parity["free"]["steps"]:
        figures.append(_difference(parity["free"]))
    made = [listing(training_lines(report)), grid(figures)]
    if parity["resynchronised"]:
        margins = [
            [header(code(quantity)), short(margin)] for quantity, margin in parity["resynchronised"]["margins"].items()
        ]
        columns = [Column("quantity"), Column("worst margin", is_number=True)]
        shown = table("Margins", columns, margins, is_sortable=True)
        made.append(disclosure("Parity with PyTorch, step for step", shown))
    unmatched = report["predictions"]["unmatched"]
    if unmatched:
        rows = [
            [number(entry["index"], str(entry["index"])), *(number(entry[key], str(entry[key])) for key in KEYS)]
            for entry in unmatched[:MISREAD]
        ]
        columns = [Column(name, is_number=True) for name in ("test sample", "is", "read as")]
        made.append(disclosure(f"The first of {len(unmatched):,} misread samples", table("Misread", columns, rows)))
    return made


KEYS = ("label", "predicted")


def _accuracy(report: Report) -> Html:
    series, columns = [], [Column("epoch", is_number=True)]
    by_epoch: dict[int, dict[str, Any]] = {}
    epochs = len(report["accuracy"]["train"])
    for whose, accuracies, is_dashed in (
        ("scratch", report["accuracy"], False),
        ("PyTorch", report["twin"]["accuracy"], True),
    ):
        for style, (split, values) in enumerate(accuracies.items()):
            if not values:
                continue
            name = f"{split}, {whose}"
            # A resumed run has no figures of the twin for the epochs before.
            first = epochs - len(values)
            series.append(charts.Series(name, [(first + k, v) for k, v in enumerate(values)], style, is_dashed))
            columns.append(Column(name, is_number=True))
            for k, value in enumerate(values):
                by_epoch.setdefault(first + k, {})[name] = value
    last = {one.name: one.points[-1][1] for one in series}
    chart = charts.lines(
        "accuracy",
        "Accuracy by epoch",
        f"After the last epoch: {', '.join(f'{name} {value:.4f}' for name, value in last.items())}. The lines of "
        "scratch and PyTorch lie on each other.",
        charts.Axis("epoch", 0.0, float(max(epochs - 1, 1))),
        charts.Axis("accuracy", 0.0, 1.0),
        series,
    )
    rows = [
        [
            derived(epoch, str(epoch), "epoch"),
            *(number(at[one.name], f"{at[one.name]:.4f}") if one.name in at else missing("") for one in series),
        ]
        for epoch, at in sorted(by_epoch.items())
    ]
    return charted("Accuracy", chart, table("Accuracy by epoch", columns, rows))


def _loss(report: Report) -> Html:
    ours, theirs = report["loss"], report["twin"]["loss"] or []
    width = max(1, -(-len(ours) // POINTS))
    series = [charts.Series("scratch", means(ours, width), 0)]
    if theirs:
        series.append(charts.Series("PyTorch", means(theirs, width, report["twin"]["begins"]), 1, is_dashed=True))
    seen = [y for one in series for _, y in one.finite()]
    low, high = charts.decades(seen, 1e-12, 1e12)
    chart = charts.lines(
        "loss",
        "Loss by step",
        f"Means of {width} steps each, {len(ours):,} steps in all, on a logarithmic axis; from {seen[0]:.3g} to "
        f"{seen[len(series[0].finite()) - 1]:.3g}."
        if seen
        else "No loss is finite.",
        charts.Axis("step", 0.0, float(max(len(ours), 1))),
        charts.Axis(f"loss, mean of {width} steps", low, high, is_log=True),
        series,
    )
    columns = tuple(Column(name, is_number=True) for name in ("up to step", *(one.name for one in series)))
    by_step: dict[float, list[float]] = {}
    for one in series:
        for step, value in one.points:
            by_step.setdefault(step, []).append(value)
    rows = [
        [
            derived(int(step), f"{step:,.0f}", "steps"),
            *(derived(value, f"{value:.4g}", f"mean of {width}") for value in values),
        ]
        for step, values in by_step.items()
    ]
    return charted("Loss", chart, table(f"Loss, means of {width} steps", columns, rows))


def means(values: Sequence[float], width: int, begins: int = 0) -> list[tuple[float, float]]:
    """(last step, mean) of each ``width`` values, the last of fewer; ``begins`` is the number of steps before."""
    parts = [values[at : at + width] for at in range(0, len(values), width)]
    return [(float(begins + at * width + len(part)), fmean(part)) for at, part in enumerate(parts)]


def _difference(free: Report) -> Html:
    series = []
    for name, key, style in (("scratch and PyTorch", "relative", 0), ("one ulp away", "one_ulp_away", 1)):
        worst = [max(column) for column in zip(*free[key].values(), strict=True)]
        series.append(charts.Series(name, list(zip(free["steps"], worst, strict=True)), style, is_dashed=style == 1))
    values = [y for one in series for _, y in one.finite()]
    low, high = charts.decades(values, LEAST_DIFFERENCE, 1e6)
    last = free["steps"][-1]
    chart = charts.lines(
        "apart",
        "How far the two runs are apart",
        f"max|Δ| / max|parameter| of the worst parameter by step, up to step {last:,}, for runs that are never brought "
        f"together; at most {free['worst_relative']:.1e}. Beside it a run that started one ulp away.",
        charts.Axis("step", 0.0, float(last)),
        charts.Axis("max|Δ| / max|parameter|", low, high, is_log=True),
        series,
    )
    columns = tuple(Column(name, is_number=True) for name in ("step", *(one.name for one in series)))
    rows = [
        [number(step, f"{step:,}"), *(scientific(one.points[k][1]) for one in series)]
        for k, step in enumerate(free["steps"])
    ]
    return charted("Free-running difference", chart, table("Largest difference of any parameter", columns, rows))


# --------------------------------------------------------------------------- times


def times(report: Report, name: str) -> list[Html]:
    """Bars of the medians, a group for each dtype, and the ratios; the parts of a step as a table."""
    whole = [row for row in report["rows"] if "/part/" not in row["name"]]
    parts = [row for row in report["rows"] if "/part/" in row["name"]]
    groups: dict[str, list[Report]] = {}
    for row in whole:
        groups.setdefault(row["name"].rpartition("/")[0], []).append(row)
    figures = [_bars(f"{name}-{at}", group, rows) for at, (group, rows) in enumerate(groups.items())]
    ratios = [[header(code(key)), number(value, f"{value:,.2f}")] for key, value in report["ratios"].items()]
    made = [grid(figures), table("Ratios", (Column("ratio"), Column("times", is_number=True)), ratios)]
    if parts:
        rows = [[header(code(row["name"])), _microseconds(row["median_s"])] for row in parts]
        columns = (Column("part"), Column("µs", is_number=True))
        made.append(disclosure("Where the time of scratch goes", table("Parts", columns, rows, is_sortable=True)))
    return made


def _bars(name: str, group: str, rows: Sequence[Report]) -> Html:
    named = [(row["name"].rpartition("/")[2], row["median_s"], row["runs"]) for row in rows]
    values = [(WAYS.get(last, last), float(median), f"{median * 1e6:,.0f} µs") for last, median, _ in named]
    title = f"Median time, {group.replace('/', ', ')}"
    chart = charts.bars(name, title, ", ".join(f"{way}: {text}" for way, _, text in values) + ".", values)
    note = " (logarithmic: each line is ten times the one before)" if charts.are_far_apart(values) else None
    listed = [[header(WAYS.get(last, last)), _microseconds(median), count(runs)] for last, median, runs in named]
    columns = (Column("way"), Column("µs", is_number=True), Column("rounds", is_number=True))
    return charted(title, chart, table(title, columns, listed), note)


def _microseconds(seconds: float) -> Html:
    return number(seconds, f"{seconds * 1e6:,.1f}")


# --------------------------------------------------------------------------- planted defects


def kill_rate(report: Report) -> list[Html]:
    """Which defect was caught and named by the judge, and which by each other rule."""
    defects = report["defects"]
    rules = list(dict.fromkeys(rule for defect in defects for rule in defect["others"]))
    rates = [_rate("the judge", [bool(defect["caught_by"]) for defect in defects])]
    expected = [defect for defect in defects if defect["cause_expected"] is not None]
    named = [defect["cause_named"] == defect["cause_expected"] for defect in expected]
    rates.append(_rate("the judge, with the right cause", named))
    rates += [_rate(rule, [defect["others"].get(rule, False) for defect in defects]) for rule in rules]
    columns = (
        *(Column(name) for name in ("defect", "layer", "the judge", "cause named")),
        *(Column(rule) for rule in rules),
        Column("caught by the checks"),
    )
    rows = [
        [
            header(code(defect["name"])),
            tag("td", defect["layer"]),
            _caught(bool(defect["caught_by"])),
            _cause(defect),
            *(_caught(defect["others"].get(rule)) for rule in rules),
            tag("td", ", ".join(defect["caught_by"])),
        ]
        for defect in defects
    ]
    return [
        table("How many are caught", (Column("rule"), Column("caught"), Column("of all")), rates),
        disclosure(
            f"The matrix of {len(defects)} planted defects",
            table("Planted defects and who catches them", columns, rows, is_sortable=True),
            is_open=True,
        ),
    ]


def _rate(rule: str, caught: Sequence[bool | None]) -> list[Html]:
    if None in caught:
        return [header(rule), missing("not run"), missing("not run")]
    of_all = f"{caught.count(True)} of {len(caught)}"
    bar = tag("meter", of_all, min=0, max=max(len(caught), 1), value=caught.count(True))
    return [header(rule), tag("td", of_all, class_="fraction"), tag("td", bar)]


def _caught(caught: bool | None) -> Html:
    if caught is None:
        return missing("not run")
    sign, word = ("✓", "caught") if caught else ("✗", "missed")
    return tag("td", tag("span", f"{sign} ", aria_hidden="true"), word, class_=word)


def _cause(defect: Report) -> Html:
    expected, named = defect["cause_expected"], defect["cause_named"]
    if expected is None:
        return tag("td", code(named) if named else "", class_="missing")
    if named == expected:
        return tag("td", code(named), class_="caught")
    return tag("td", code(named or "none"), " instead of ", code(expected), class_="missed")


# --------------------------------------------------------------------------- the matrix of versions

#: A column each, as they stand in the report.
VERSIONS = ("python", "numpy", "torch", "blas")


def environments(report: Report) -> list[Html]:
    """What was run with which versions, and the worst margin of each layer in each."""
    ran = report["environments"]
    rows = [
        [
            header(one["name"]),
            *(tag("td", str(one[fact] or "none")) for fact in VERSIONS),
            tag("td", badge(one["verdict"]) if one["verdict"] else "left no report"),
            tag("td", _tests(one["tests"])),
        ]
        for one in ran
    ]
    absent = [missing("") for _ in VERSIONS]
    rows += [[header(one["name"]), *absent, missing(one["reason"]), missing("")] for one in report["missing"]]
    columns = [Column(name) for name in ("environment", *VERSIONS, "verdict", "tests")]
    margins = {(row["layer"], row["environment"]): row for row in report["rows"]}
    layers = dict.fromkeys(row["layer"] for row in report["rows"])
    cells = [[header(layer), *(_drift(margins.get((layer, one["name"]))) for one in ran)] for layer in layers]
    names = (Column("layer"), *(Column(one["name"], is_number=True) for one in ran))
    return [
        table("Environments", columns, rows),
        table("Worst margin of each layer in each environment", names, cells, is_sortable=True),
    ]


def _tests(tests: dict[str, Any] | None) -> str:
    return "not run" if tests is None else f"{tests['passed']:,} passed, {len(tests['failed'])} failed"


def _drift(row: Report | None) -> Html:
    if row is None or row["margin"] is None:
        return missing("none" if row is None else row["verdict"])
    if row["verdict"] == "right":
        return short(row["margin"])
    text = f"{float(row['margin']):.2g} "
    return tag("td", text, badge(row["verdict"]), data_value=exact(row["margin"]), class_="number")


# --------------------------------------------------------------------------- somebody's own file


def own_file(report: Report) -> list[Child]:
    """The layers of a file, each with its verdict; below, what is wrong and worth knowing about each."""
    columns = (
        Column("where"),
        *(Column(name) for name in ("name", "taken for", "verdict")),
        Column("findings", is_number=True),
    )
    rows = [
        [
            header(f"{subject['file']}:{subject['line']}"),
            tag("td", code(subject["name"])),
            tag("td", subject["record"]),
            tag("td", badge(subject["verdict"])),
            derived(len(subject["findings"]), f"{len(subject['findings'])}", "length"),
        ]
        for subject in report["subjects"]
    ]
    made: list[Child] = [table("Layers that were found", columns, rows, is_sortable=True), against_earlier(report)]
    made += [_subject(subject) for subject in report["subjects"] if _says_more(subject)]
    if report["passed_over"]:
        passed = [[header(code(entry["name"])), tag("td", entry["reason"])] for entry in report["passed_over"]]
        made.append(
            disclosure(f"{len(passed)} passed over", table("Passed over", (Column("name"), Column("reason")), passed))
        )
    return made


def _says_more(subject: Report) -> bool:
    return bool(subject["findings"] or subject["hazards"] or subject["notes"] or subject["cause"])


def _subject(subject: Report) -> Html:
    # What cannot be called has a cause and no findings.
    parts = [] if subject["findings"] else [paragraph(subject["cause"])]
    for finding in subject["findings"]:
        parts.append(paragraph(code(finding["check"]), " · ", finding["cause"]))
        if finding["actual"] is not None:
            place = f"{finding['quantity']}[{', '.join(map(str, finding['index'] or []))}]"
            columns = (Column("entry"), *(Column(name, is_number=True) for name in FINDING_COLUMNS))
            figures = [header(code(place)), *(_exactly(finding[key]) for key in FINDING_COLUMNS[:2])]
            figures += [scientific(finding["error"]), scientific(finding["bound"]), short(finding["margin"])]
            parts.append(table(f"{subject['name']}: {place}", columns, [figures]))
    for title, key in (("Hazards", "hazards"), ("Worth knowing", "notes")):
        if subject[key]:
            parts += [paragraph(title, class_="kind"), listing(subject[key])]
    summary = (code(subject["name"]), " ", badge(subject["verdict"]))
    return disclosure(summary, *parts, is_open=subject["verdict"] != "right")


FINDING_COLUMNS = ("actual", "expected", "error", "bound", "margin")


def _exactly(value: Any) -> Html:
    return number(value, str(value))
