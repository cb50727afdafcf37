"""Tables with a caption, headers with a scope, and the exact value of every figure beside its rounded text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from oracle.reporting.page.html import Child, Html, tag


@dataclass(frozen=True)
class Column:
    """A column; ``is_number`` says how it is sorted and on which side its cells stand."""

    title: str
    is_number: bool = False


def table(
    caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Html]], *, is_sortable: bool = False
) -> Html:
    """A table in a box that scrolls by itself; the cells of its rows are elements already."""
    head = [
        tag("th", column.title, scope="col", class_="number" if column.is_number else None, data_sort=_order(column))
        for column in columns
    ]
    rows = list(rows)
    body = [tag("tr", row) for row in rows]
    is_named = bool(rows) and rows[0][0].startswith("<th")
    kinds = " ".join(name for name, holds in (("sortable", is_sortable), ("named", is_named)) if holds)
    inside = tag(
        "table",
        tag("caption", tag("span", caption)),
        tag("thead", tag("tr", head)),
        tag("tbody", body),
        class_=kinds or None,
    )
    # Whoever has no mouse scrolls a box that has the focus.
    return tag("div", inside, class_="scrolls", role="region", aria_label=caption, tabindex="0")


def _order(column: Column) -> str:
    return "number" if column.is_number else "text"


def header(text: Child) -> Html:
    """The header of a row."""
    return tag("th", text, scope="row")


def number(value: Any, text: str) -> Html:
    """A figure of a report as people read it, and beside it what the report says, for machines and for sorting."""
    # What `tag` makes, sooner: a long page is mostly such cells.
    return Html(f'<td data-value="{escape(exact(value))}" class="number">{escape(text)}</td>')


def derived(value: float, text: str, how: str) -> Html:
    """A figure that no report has, such as a sum; ``how`` says what was made of figures that one has."""
    return tag("td", text, data_value=exact(value), data_derived=how, class_="number")


def missing(reason: str) -> Html:
    """Where a figure would stand; sorts last."""
    return tag("td", reason, class_="missing")


def exact(value: Any) -> str:
    """A value as a report has it, in which infinities and NaN are words."""
    if isinstance(value, float):
        # As json has it, or as a word.
        return float.__repr__(value)
    return value if isinstance(value, str) else json.dumps(value)


def scientific(value: Any) -> Html:
    """An error or a bound: two digits; an exact 0 is nothing else."""
    return number(value, scientific_text(value))


def scientific_text(value: Any) -> str:
    return "0" if float(value) == 0 else f"{float(value):.1e}"


def short(value: Any) -> Html:
    """A ratio such as a margin: two digits."""
    return number(value, f"{float(value):.2g}")


def count(value: int) -> Html:
    """A whole number."""
    return number(value, f"{value:,}")
