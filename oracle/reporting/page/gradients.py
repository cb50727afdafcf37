"""The sections of the page that show the gradient-error report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from oracle.reporting.page import charts, drawing
from oracle.reporting.page.html import Child, Html, code, disclosure, paragraph, tag
from oracle.reporting.page.tables import (
    Column,
    count,
    derived,
    header,
    missing,
    number,
    scientific,
    scientific_text,
    short,
    table,
)
from oracle.reporting.page.verdicts import badge
from oracle.reporting.report import PAIR_NAMES
from oracle.reporting.truth import NAMES, SOURCES, by_gradient, has_lost, how_far_apart

Report = dict[str, Any]

#: Charts that are seen at once; the others are behind a summary.
SHOWN = 3


def slug(*words: str) -> str:
    """A name for an element of the page."""
    text = "-".join(words).lower()
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text)


# --------------------------------------------------------------------------- what is not right


def findings(report: Report) -> Html:
    """What is not right, one line for each subject and check; or that nothing is."""
    found = report["findings"]
    if not found:
        return paragraph("Nothing was found that is not right.")
    groups: dict[tuple[str, str, str], list[Report]] = {}
    for finding in found:
        groups.setdefault((finding["subject"], finding["check"], finding["dtype"]), []).append(finding)
    rows = [
        [
            header(subject),
            tag("td", dtype),
            tag("td", badge(group[0]["verdict"])),
            tag("td", code(check)),
            tag("td", group[0]["cause"], tag("br"), tag("span", group[0]["case"], class_="case")),
            derived(len(group), f"{len(group):,}", "length"),
        ]
        for (subject, check, dtype), group in groups.items()
    ]
    columns = [Column(name) for name in ("subject", "dtype", "verdict", "check", "what is wrong, and an example")]
    return table("What is not right", [*columns, Column("times", is_number=True)], rows, is_sortable=True)


# --------------------------------------------------------------------------- errors, three ways

ERROR_COLUMNS = (
    Column("layer"),
    Column("quantity"),
    Column("dtype"),
    Column("comparisons", is_number=True),
    *(Column(name.replace("-", " – "), is_number=True) for name in PAIR_NAMES),
    Column("mean abs", is_number=True),
    Column("error", is_number=True),
    Column("bound", is_number=True),
    Column("margin", is_number=True),
    Column("verdict"),
)


def errors(report: Report) -> list[Html]:
    """A table for each section of the layers."""
    made = []
    for section in dict.fromkeys(row["section"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["section"] == section]
        verdicts = ", ".join(dict.fromkeys(row["verdict"] for row in rows))
        layers = len({row["layer"] for row in rows})
        worst = max(rows, key=lambda row: float(row["margin"]))["margin"]
        summary = (
            tag("strong", section.capitalize()),
            f": {layers} of them, {len(rows)} rows, {verdicts}; largest margin ",
            tag("data", f"{float(worst):.2g}", value=str(worst)),
        )
        made.append(
            disclosure(
                summary,
                table(f"Errors of {section}, three ways", ERROR_COLUMNS, map(error_row, rows), is_sortable=True),
                is_open=section == "layers",
            )
        )
    return made


def error_row(row: Report) -> list[Html]:
    """One quantity of one layer in one dtype."""
    pairs = [row["pairs"][name] for name in PAIR_NAMES]
    # Of the layer's own comparisons: the references are compared too, but in double precision whatever the dtype.
    own = [pair for pair in pairs[:2] if pair is not None] or [pairs[2]]
    worst = max(own, key=lambda pair: float(pair["margin"]))
    return [
        header(row["layer"]),
        tag("td", code(row["quantity"])),
        tag("td", row["dtype"]),
        count(row["comparisons"]),
        *(
            scientific(pair["max_abs"]) if pair else missing(row["not_run"][name])
            for name, pair in zip(PAIR_NAMES, pairs, strict=True)
        ),
        scientific(pairs[0]["mean_abs"]) if pairs[0] else missing(""),
        scientific(worst["error"]),
        scientific(worst["bound"]),
        short(worst["margin"]),
        tag("td", badge(row["verdict"])),
    ]


def checks(report: Report) -> Html:
    """Which properties were asked of the layers, and in how many cases."""
    rows = []
    for name, asks in report["check_summaries"].items():
        entries = [entry for entry in report["checks"] if entry["check"] == name]
        if entries:
            layers = len({entry["layer"] for entry in entries})
            sums = [sum(entry[key] for entry in entries) for key in ("cases", "failed")]
            totals = [derived(total, f"{total:,}", "sum") for total in (layers, *sums)]
            rows.append([header(code(name)), tag("td", asks), *totals])
    columns = (
        Column("check"),
        Column("asks"),
        *(Column(name, is_number=True) for name in ("layers", "cases", "failed")),
    )
    return disclosure(
        f"{len(rows)} properties that a comparison of gradients alone would not see",
        table("Checks of all layers together", columns, rows, is_sortable=True),
    )


def exhibits(report: Report) -> list[Html]:
    """What is deliberately not right."""
    columns = ("printed", "source_recipe", "exact_loss", "complex_step")
    titles = ("parameter", "printed in the source", "the source's recipe", "exact loss, h = 1e-4", "complex step")
    made: list[Html] = []
    for exhibit in report["exhibits"]:
        rows = [
            [header(code(row["parameter"])), *(scientific(row[column]) for column in columns)]
            for row in exhibit["rows"]
        ]
        heads = [Column(titles[0]), *(Column(title, is_number=True) for title in titles[1:])]
        made += [
            tag("h3", exhibit["title"]),
            table(exhibit["quantity"].capitalize(), heads, rows, is_sortable=True),
            paragraph(exhibit["explanation"]),
        ]
    return made


# --------------------------------------------------------------------------- graphs


def graphs(report: Report) -> list[Html]:
    """The book's examples, and behind a summary the graph of each layer."""
    made: list[Html] = []
    for section, group in groupby(report["graphs"], key=lambda graph: graph["section"]):
        figures = [_graph(graph) for graph in group]
        if section == "examples":
            made += figures
        else:
            summary = tag("strong", section.capitalize()), f": {len(figures)} graphs"
            made.append(disclosure(summary, *figures, is_open=section == "layers"))
    return made


def _graph(graph: Report) -> Html:
    name = f"graph-{slug(graph['title'])}"
    caption = [tag("strong", graph["title"]), f". {graph['text']}" if graph["text"] else "."]
    if graph["case"]:
        caption.append(tag("span", f" {graph['case']}", class_="case"))
    return tag(
        "figure",
        tag("figcaption", caption),
        # Whoever has no mouse scrolls a box that has the focus.
        tag(
            "div",
            drawing.draw(graph, name, f"Computational graph: {graph['title']}"),
            class_="scrolls",
            role="region",
            tabindex="0",
            aria_label=f"Drawing of {graph['title']}",
        ),
        disclosure("Its values as a table", _graph_table(graph)),
        class_="drawn",
    )


def _graph_table(graph: Report) -> Html:
    labels = {node["id"]: node["label"] for node in graph["nodes"]}
    rows = [
        [
            header(labels[edge["source"]]),
            tag("td", labels[edge["target"]]),
            tag("td", edge["name"]),
            _carried(edge["forward"]),
            missing("nothing comes back") if edge["backward"] is None else _carried(edge["backward"]),
        ]
        for edge in graph["edges"]
    ]
    columns = [Column(title) for title in ("from", "to", "carries", "forward value", "gradient")]
    return table(f"Arrows of {graph['title']}", columns, rows)


def _carried(value: Any) -> Html:
    return number(value, "\n".join(drawing.value_lines(value)))


# --------------------------------------------------------------------------- step sizes

STEP_COLUMNS = tuple(Column(name, is_number=True) for name in ("h", "central difference", "complex step"))
#: Errors below this are drawn there: a difference of 0 has no logarithm.
LEAST_ERROR = 1e-18


def step_sizes(report: Report) -> list[Html]:
    """Charts of the error by h; first those in which the choice of h matters most."""
    rows = sorted(report["step_sizes"], key=lambda row: -row["central"][0])
    return _shown_first([_step_chart(row) for row in rows], "the other gradients")


def _step_chart(row: Report) -> Html:
    title = f"{row['layer']}: {row['quantity']}"
    central, complex_step = (
        charts.Series(name, list(zip(row["h"], row[key], strict=True)), style)
        for name, key, style in (("central difference", "central", 1), ("complex step", "complex", 0))
    )
    best = min(central.points, key=lambda point: point[1])
    _, high = charts.decades([*row["central"], *row["complex"], 1.0], LEAST_ERROR, 1e6)
    description = (
        f"Relative error of {row['quantity']} by the step size h, from {row['h'][0]:g} to {row['h'][-1]:g}. The "
        f"central difference is best at h = {best[0]:g} with an error of {best[1]:.1e}; the complex step ends at "
        f"{complex_step.points[-1][1]:.1e}. Errors of 0 are drawn at the bottom."
    )
    chart = charts.lines(
        f"steps-{slug(row['layer'], row['quantity'])}",
        title,
        description,
        charts.Axis("step size h", row["h"][-1], row["h"][0], is_log=True),
        charts.Axis("relative error", LEAST_ERROR, high, is_log=True),
        [complex_step, central],
    )
    values = [
        [number(h, f"{h:g}"), scientific(a), scientific(b)]
        for h, a, b in zip(row["h"], row["central"], row["complex"], strict=True)
    ]
    return charted(title, chart, table(f"Relative error of {title} by h", STEP_COLUMNS, values))


def charted(title: str, chart: Html, figures: Html, note: Child = None) -> Html:
    """A chart with its caption, and its figures as a table."""
    return tag("figure", tag("figcaption", tag("strong", title), note), chart, disclosure("As a table", figures))


def grid(figures: Iterable[Html]) -> Html:
    """Charts side by side, as many as there is room for."""
    return tag("div", *figures, class_="charts")


def _shown_first(figures: list[Html], others: str) -> list[Html]:
    made = [grid(figures[:SHOWN])]
    if figures[SHOWN:]:
        made.append(disclosure(f"{len(figures[SHOWN:])} more charts: {others}", grid(figures[SHOWN:])))
    return made


# --------------------------------------------------------------------------- truth

#: What is off by less is drawn there: rounded correctly is off by up to ½.
LEAST_ULP = 0.1
STYLES = {"backprop": 0, "autograd": 1, "numerical": 2}


def against_truth(report: Report) -> list[Html]:
    """Charts of the error by the size of the inputs; first those in which the sources are furthest apart."""
    groups = by_gradient(report["truth"])
    gradients = list(dict.fromkeys((layer, quantity) for layer, quantity, _ in groups))
    gradients.sort(key=lambda gradient: -how_far_apart(groups, gradient))
    return _shown_first([_truth_chart(groups, *gradient) for gradient in gradients], "the other gradients")


def _truth_chart(groups: Mapping[tuple[str, str, str], list[Report]], layer: str, quantity: str) -> Html:
    of_dtype = {dtype: rows for (a, b, dtype), rows in groups.items() if (a, b) == (layer, quantity)}
    series, values = [], []
    for dtype, rows in of_dtype.items():
        for source in SOURCES:
            known = [(row["size"], row["sources"][source]) for row in rows if row["sources"].get(source)]
            points = [(float(size), float(found["worst_ulp"])) for size, found in known]
            if points:
                name = f"{NAMES[source]}, {dtype}"
                series.append(charts.Series(name, points, STYLES[source], is_dashed=dtype != "float64"))
        values += [_truth_row(row, source) for row in rows for source in SOURCES if source in row["sources"]]
    title = f"{layer}: {quantity}"
    worst = {one.name: max(y for _, y in one.points) for one in series}
    sizes = [row["size"] for rows in of_dtype.values() for row in rows]
    low, high = charts.decades([y for one in series for _, y in one.points], LEAST_ULP, 1e30)
    chart = charts.lines(
        f"truth-{slug(layer, quantity)}",
        title,
        f"Worst error against truth in ulp by the standard deviation of the inputs. At worst: "
        f"{', '.join(f'{name} {value:.2g}' for name, value in worst.items())}. What is off by less than "
        f"{LEAST_ULP:g} ulp is drawn at the bottom.",
        charts.Axis("size of the inputs (standard deviation)", min(sizes), max(sizes), is_log=True),
        charts.Axis("worst error in ulp", min(low, LEAST_ULP), max(high, 1e3), is_log=True),
        series,
    )
    columns = (
        Column("source"),
        Column("dtype"),
        *(Column(name, is_number=True) for name in ("size", "worst, ulp", "mean, ulp")),
    )
    return charted(title, chart, table(f"Errors of {title} against truth", columns, values, is_sortable=True))


def _truth_row(row: Report, source: str) -> list[Html]:
    found = row["sources"][source]
    errors_in_ulp = (
        [missing("overflows"), missing("overflows")]
        if found is None
        else [_ulp(found["worst_ulp"]), _ulp(found["mean_ulp"])]
    )
    return [header(NAMES[source]), tag("td", row["dtype"]), number(row["size"], f"{row['size']:g}"), *errors_in_ulp]


def _ulp(value: Any) -> Html:
    amount = float(value)
    text = f"{amount:.2g}" if amount < 1e4 else scientific_text(amount)
    return number(value, text) if not has_lost(amount) else _emphasised(value, text)


def _emphasised(value: Any, text: str) -> Html:
    return tag("td", tag("strong", text), data_value=str(value), class_="number")


def references(report: Report) -> Html | None:
    """Where PyTorch is the one that is off."""
    rows = [
        [
            header(row["layer"]),
            tag("td", code(f"{row['quantity']}[{', '.join(map(str, row['index']))}]")),
            tag("td", row["dtype"]),
            count(row["cases"]),
            number(row["autograd"], f"{float(row['autograd']):.6e}"),
            number(row["truth"], f"{float(row['truth']):.6e}"),
        ]
        for row in report["references"]
    ]
    if not rows:
        return None
    columns = (
        *(Column(name) for name in ("layer", "entry", "dtype of the case")),
        *(Column(name, is_number=True) for name in ("cases", "PyTorch", "truth")),
    )
    return disclosure(
        f"{len(rows)} gradients of which PyTorch has lost digits, in double precision",
        table("The worst entry of each", columns, rows, is_sortable=True),
    )
