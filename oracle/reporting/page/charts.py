"""Charts as inline SVG: lines over linear or logarithmic axes, and bars.

Series differ in colour, dashes and the shape of their points, so that no chart depends on colour. Each point has the
exact values that it stands for in ``data-x`` and ``data-y``, and each tick its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oracle.reporting.page.html import Child, Html, tag

#: Narrow enough that its letters can still be read when it is as wide as a phone.
WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 24, 12, 44
LEGEND_LINE = 18
#: As many points as can be told apart; longer lines are drawn without.
MOST_POINTS = 40
MOST_TICKS = 6
#: Bars that differ by more than this are drawn logarithmically.
FAR_APART = 100

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Series:
    """A line: its name, its points, and which of the styles it has (a colour, and dashes where ``is_dashed``)."""

    name: str
    points: Sequence[tuple[float, float]]
    style: int
    is_dashed: bool = False

    def finite(self) -> list[tuple[float, float]]:
        """Its points that can be drawn."""
        return [(x, y) for x, y in self.points if math.isfinite(x) and math.isfinite(y)]


@dataclass(frozen=True)
class Axis:
    """From ``low`` to ``high``; logarithmic ones start above 0, and what is below stands on their first line."""

    label: str
    low: float
    high: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Where ``value`` is, from 0 to 1."""
        low, high, at = (self._scaled(v) for v in (self.low, self.high, min(max(value, self.low), self.high)))
        return (at - low) / (high - low) if high > low else 0.5

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.is_log else value

    def ticks(self) -> list[tuple[float, str]]:
        """Values to be written at the axis, with their texts."""
        if self.is_log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            step = max(1, math.ceil((last - first) / (MOST_TICKS - 1)))
            powers = range(first, last + 1, step)
            return [(float(f"1e{k}"), "10" + str(k).translate(SUPERSCRIPTS)) for k in powers]
        apart = nice((self.high - self.low) / (MOST_TICKS - 1))
        multiples = range(math.ceil(self.low / apart - 1e-9), math.floor(self.high / apart + 1e-9) + 1)
        return [(k * apart, f"{k * apart:,.10g}") for k in multiples]


def nice(step: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(k * power for k in (1, 2, 5, 10) if k * power >= step * (1 - 1e-9))


def decades(values: Sequence[float], least: float, most: float) -> tuple[float, float]:
    """The whole powers of ten around the positive ones of ``values``, at least one apart and within the given ones."""
    known = [min(max(value, least), most) for value in values if value > 0 and math.isfinite(value)] or [least]
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    return float(f"1e{low}"), float(f"1e{max(high, low + 1)}")


def lines(name: str, title: str, description: str, x: Axis, y: Axis, series: Sequence[Series]) -> Html:
    """A chart of lines. ``name`` is unique on the page; title and description are what a screen reader says."""
    rows = [series[at : at + 2] for at in range(0, len(series), 2)]
    height = HEIGHT + LEGEND_LINE * len(rows)
    return _svg(
        name,
        title,
        description,
        height,
        [
            _grid(x, y),
            [_line(one, x, y) for one in series],
            [
                _legend(one, LEFT + at * (WIDTH - LEFT) / 2, HEIGHT + LEGEND_LINE * (row + 0.5))
                for row, pair in enumerate(rows)
                for at, one in enumerate(pair)
            ],
        ],
    )


def bars(name: str, title: str, description: str, values: Sequence[tuple[str, float, str]]) -> Html:
    """Horizontal bars for (label, value, text of the value); the label stands above its bar.

    They start from 0, and where the shortest could not be seen beside the longest, from a power of ten: then each line
    behind them is ten times the one before.
    """
    amounts = [value for _, value, _ in values]
    is_log = are_far_apart(values)
    low, high = decades(amounts, min(amounts), max(amounts)) if is_log else (0.0, max(amounts))
    axis = Axis("", low / 10 if is_log else low, high, is_log)
    room, bottom = WIDTH - 110, 8 + 40 * len(values)
    parts: list[Html] = []
    if is_log:
        description = f"{description} The lengths are logarithmic: each line is ten times the one before."
        powers = [low * 10.0**k for k in range(round(math.log10(high / low)) + 1)]
        across = [round(room * axis.place(power), 2) for power in powers]
        parts = [tag("line", x1=x, x2=x, y1=0, y2=bottom, class_="grid") for x in across]
    for row, (label, value, text) in enumerate(values):
        y = 6 + 40 * row
        length = round(max(room * axis.place(value), 1), 2)
        parts += [
            tag("rect", x=0, y=y + 16, width=length, height=14, class_="bar", data_value=repr(value)),
            tag("text", label, x=0, y=y + 11, class_="label"),
            tag("text", text, x=round(length + 6, 2), y=y + 28, class_="value"),
        ]
    return _svg(name, title, description, bottom, parts)


def are_far_apart(values: Sequence[tuple[str, float, str]]) -> bool:
    """Whether the shortest bar could not be seen beside the longest."""
    amounts = [value for _, value, _ in values]
    return 0 < FAR_APART * min(amounts) < max(amounts)


def _svg(name: str, title: str, description: str, height: int, children: Child) -> Html:
    heads = [tag("title", title, id=f"{name}-title"), tag("desc", description, id=f"{name}-desc")]
    return tag(
        "svg",
        heads,
        children,
        id=name,
        class_="chart",
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def _at(x: Axis, y: Axis, point: tuple[float, float]) -> tuple[float, float]:
    across = LEFT + x.place(point[0]) * (WIDTH - LEFT - RIGHT)
    down = TOP + (1 - y.place(point[1])) * (HEIGHT - TOP - BOTTOM)
    return round(across, 2), round(down, 2)


def _grid(x: Axis, y: Axis) -> Iterator[Html]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value, text in y.ticks():
        _, down = _at(x, y, (x.low, value))
        yield tag("line", x1=LEFT, x2=right, y1=down, y2=down, class_="grid")
        yield tag("text", text, x=LEFT - 6, y=down + 4, class_="tick end", data_axis="y", data_value=repr(value))
    for value, text in x.ticks():
        across, _ = _at(x, y, (value, y.low))
        yield tag("line", x1=across, x2=across, y1=TOP, y2=bottom, class_="grid")
        yield tag("text", text, x=across, y=bottom + 16, class_="tick middle", data_axis="x", data_value=repr(value))
    yield tag("text", x.label, x=(LEFT + right) / 2, y=bottom + 36.0, class_="label middle")
    middle = (TOP + bottom) / 2
    yield tag("text", y.label, x=12, y=middle, transform=f"rotate(-90 12 {middle:g})", class_="label middle")


def _line(series: Series, x: Axis, y: Axis) -> Html:
    points = series.finite()
    places = [_at(x, y, point) for point in points]
    path = " ".join(f"{across:g},{down:g}" for across, down in places)
    dashed = " dashed" if series.is_dashed else ""
    marks = []
    if len(points) <= MOST_POINTS:
        for (a, b), (across, down) in zip(points, places, strict=True):
            said = tag("title", f"{series.name}: {b:.3g} at {a:g}")
            marks.append(_mark(series.style, across, down, said, data_x=repr(a), data_y=repr(b)))
    line = tag("polyline", points=path, class_=f"line{dashed}")
    return tag("g", line, marks, class_=f"series style{series.style}", data_series=series.name)


def _mark(style: int, x: float, y: float, *children: Html, **data: str) -> Html:
    """A point: round, square, a diamond or a triangle."""
    shapes = (
        "M-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0z",
        "M-2.7,-2.7h5.4v5.4h-5.4z",
        "M0,-4l4,4l-4,4l-4,-4z",
        "M0,-3.8l3.8,6.6h-7.6z",
    )
    return tag("path", *children, d=shapes[style % 4], transform=f"translate({x:g} {y:g})", class_="mark", **data)


def _legend(series: Series, x: float, y: float) -> Html:
    dashed = " dashed" if series.is_dashed else ""
    return tag(
        "g",
        tag("line", x1=x, x2=x + 28, y1=y, y2=y, class_=f"line{dashed}"),
        _mark(series.style, x + 14, y),
        tag("text", series.name, x=x + 34, y=y + 4, class_="label"),
        class_=f"style{series.style}",
    )
