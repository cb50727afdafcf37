"""What ``--compare`` found, for the sections of the reports that were compared."""

from __future__ import annotations

from typing import Any

from oracle.reporting.page.html import Child, Html, paragraph, tag
from oracle.reporting.page.tables import Column, header, missing, number, table
from oracle.reporting.page.verdicts import badge

Report = dict[str, Any]


def against_earlier(report: Report) -> list[Child]:
    """What is worse and what has improved against the results that the report was held against, if it was."""
    found = report.get("regression")
    if found is None:
        return []
    counts = [f"{name} {len(found[name]) or 'none'}" for name in ("worse", "improved")]
    names = {
        what: "; ".join(
            f"{key['layer']}: {key['quantity'] or 'the whole'} {key['dtype']}".rstrip() for key in found[what]
        )
        for what in ("new", "vanished")
    }
    made: list[Child] = [
        tag("h3", f"Against {found['before']['place']}"),
        paragraph(
            tag("strong", "A regression. " if found["regressed"] else "No regression. "),
            f"Rows: {', '.join(counts)}, unchanged {found['unchanged'] or 'none'}.",
            f" Compared by bound and verdict, since errors have no ratio: {'; '.join(found['because'])}."
            if found["because"]
            else "",
            [f" {what.capitalize()}: {listed}." for what, listed in names.items() if listed],
        ),
    ]
    for title in ("worse", "improved"):
        if found[title]:
            rows = [_row(entry) for entry in found[title]]
            made.append(table(f"Rows that are {title}", COLUMNS, rows, is_sortable=True))
    return made


COLUMNS = (
    *(Column(name) for name in ("layer", "quantity", "dtype", "measured by")),
    *(Column(name, is_number=True) for name in ("old", "new", "ratio")),
    *(Column(name) for name in ("verdict before", "verdict")),
)


def _row(entry: Report) -> list[Html]:
    figures = (
        missing("") if value is None else number(value, f"{float(value):.3g}") for value in (entry["old"], entry["new"])
    )
    measure = entry["measure"] if entry["measure"] == "margin" else f"ulp, {entry['measure']}"
    return [
        header(entry["layer"]),
        tag("td", entry["quantity"] or "(the whole)"),
        tag("td", entry["dtype"]),
        tag("td", measure),
        *figures,
        missing("") if entry["ratio"] is None else number(entry["ratio"], f"{float(entry['ratio']):.3g}×"),
        tag("td", badge(entry["verdict_before"])),
        tag("td", badge(entry["verdict"]), " regression" if entry["is_regression"] else None),
    ]
