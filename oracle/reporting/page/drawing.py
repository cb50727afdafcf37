"""A computational graph as inline SVG, as the book draws it: forward values above the arrows, gradients below.

A node stands to the right of everything that it needs, level with its first input; its other inputs are below. What no
node computes starts one column to the left of where it is used.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oracle.reporting.page.html import Html, tag

#: Sizes in the units of the drawing; a letter of its fixed-width font is LETTER wide at most.
LETTER, LINE = 7.3, 15
MARGIN, GAP = 10, 26
NODE_HEIGHT = 34
#: How far the two arrows of an edge are from its middle, and its labels from them.
APART, CLEAR = 3, 6
#: Room for the part of each edge that slants into a node, and how far below the other such parts end.
SLANT, BELOW = 24, 8
#: The radius of the ends of a node.
ROUND = NODE_HEIGHT / 2


def number_text(value: float) -> str:
    """A number of a graph as it is written: four digits."""
    text = f"{float(value):.4g}"
    return "0" if text == "-0" else text.replace("-", "−")


def value_lines(value: Any) -> list[str]:
    """A number, a row, or a matrix, line by line."""
    if not isinstance(value, list):
        return [number_text(value)]
    rows = value if value and isinstance(value[0], list) else [value]
    texts = [[number_text(entry) for entry in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in texts]
    return [f"[{line}]".replace(" ", "\N{NO-BREAK SPACE}") for line in lines]


def draw(graph: Mapping[str, Any], name: str, title: str) -> Html:
    """The drawing; ``name`` is unique on the page."""
    return _Drawing(graph, name).svg(title)


class _Drawing:
    def __init__(self, graph: Mapping[str, Any], name: str) -> None:
        self.name = name
        self.nodes: dict[int, dict[str, Any]] = {node["id"]: node for node in graph["nodes"]}
        self.edges: list[dict[str, Any]] = graph["edges"]
        self.into: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for edge in self.edges:
            self.into[edge["target"]].append(edge)
        self.columns: dict[int, int] = {}
        self.rows: dict[int, int] = {}
        self._taken: dict[int, set[int]] = defaultdict(set)
        last = self.edges[-1]["target"]
        self._find_columns(last)
        self._find_rows(last, 0)
        self._measure()

    def _is_input(self, node: int) -> bool:
        return bool(self.nodes[node]["kind"] == "input")

    def _find_columns(self, node: int) -> int:
        computed = [edge["source"] for edge in self.into[node] if not self._is_input(edge["source"])]
        self.columns[node] = 1 + max((self._find_columns(source) for source in computed), default=0)
        for edge in self.into[node]:
            if self._is_input(edge["source"]):
                self.columns[edge["source"]] = self.columns[node] - 1
        return self.columns[node]

    def _find_rows(self, node: int, row: int) -> None:
        """What is computed first, since its own inputs need rows as well; then the inputs, wherever there is room."""
        self.rows[node] = row
        edges = self.into[node]
        edges = sorted(edges, key=lambda edge: (edge is not edges[0], self._is_input(edge["source"])))
        for edge in edges:
            source = edge["source"]
            strips = range(self.columns[source], self.columns[node])
            if edge is edges[0]:
                free = row
            elif self._is_input(source):
                free = next(r for r in range(row + 1, 99) if all(r not in self._taken[strip] for strip in strips))
            else:
                # A whole branch goes below everything that is there.
                free = 1 + max((max(rows, default=row) for rows in self._taken.values()), default=row)
            for strip in strips:
                self._taken[strip].add(free)
            if self._is_input(source):
                self.rows[source] = free
            else:
                self._find_rows(source, free)

    # ------------------------------------------------------------------ from columns and rows to places

    def _measure(self) -> None:
        columns, rows = range(max(self.columns.values()) + 1), range(max(self.rows.values()) + 1)
        width_of = [max((self._width(n) for n in self.nodes if self.columns[n] == c), default=0) for c in columns]
        strip = [0.0] * len(columns)
        above, below = [0] * len(rows), [0] * len(rows)
        for edge in self.edges:
            column, row = self.columns[edge["source"]], self.rows[edge["source"]]
            up, down = self._labels(edge)
            longest = max(map(len, (*up, *down)))
            slants = SLANT * len(self._slanted(edge["target"]))
            strip[column] = max(strip[column], longest * LETTER + GAP + slants)
            above[row], below[row] = max(above[row], len(up)), max(below[row], len(down))
        self.x: list[float] = []
        at = float(MARGIN)
        for column in columns:
            self.x.append(at + width_of[column] / 2)
            at += width_of[column] + strip[column]
        self.width = at - strip[-1] + MARGIN
        self.y: list[float] = []
        at = float(MARGIN)
        for row in rows:
            reach = max(above[row] * LINE + APART + CLEAR, NODE_HEIGHT / 2)
            self.y.append(at + reach)
            at += reach + max(below[row] * LINE + APART + CLEAR, NODE_HEIGHT / 2) + 6
        self.height = at

    def _labels(self, edge: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """What is written above and below: the name of what was computed, its value; its gradient."""
        named = [edge["name"]] if edge["name"] and not self._is_input(edge["source"]) else []
        back = [] if edge["backward"] is None else value_lines(edge["backward"])
        return [*named, *value_lines(edge["forward"])], back

    def _width(self, node: int) -> float:
        return max(len(self.nodes[node]["label"]) * LETTER + 16, NODE_HEIGHT)

    def _middle(self, node: int) -> tuple[float, float]:
        return self.x[self.columns[node]], self.y[self.rows[node]]

    # ------------------------------------------------------------------ drawing

    def svg(self, title: str) -> Html:
        backs = sum(edge["backward"] is not None for edge in self.edges)
        description = (
            f"A computational graph of {len(self.nodes)} nodes and {len(self.edges)} arrows. Values above, and "
            + ("no gradients: nothing goes back through it. " if not backs else "gradients below. ")
            + "All of them are in the table that follows."
        )
        return tag(
            "svg",
            tag("title", title, id=f"{self.name}-title"),
            tag("desc", description, id=f"{self.name}-desc"),
            self._arrowhead("forward"),
            self._arrowhead("backward"),
            [self._edge(edge) for edge in self.edges],
            [self._node(node) for node in self.nodes],
            id=self.name,
            class_="graph",
            viewBox=f"0 0 {self.width:.0f} {self.height:.0f}",
            width=round(self.width),
            height=round(self.height),
            role="img",
            aria_labelledby=f"{self.name}-title {self.name}-desc",
        )

    def _arrowhead(self, kind: str) -> Html:
        shape = tag("path", d="M0,0L8,4L0,8z", class_=f"head {kind}")
        return tag(
            "marker",
            shape,
            id=f"{self.name}-{kind}",
            markerWidth=8,
            markerHeight=8,
            refX=7,
            refY=4,
            orient="auto",
            markerUnits="userSpaceOnUse",
        )

    def _node(self, node: int) -> Html:
        x, y = self._middle(node)
        width = self._width(node)
        kind = self.nodes[node]["kind"]
        box = tag(
            "rect",
            x=round(x - width / 2, 1),
            y=round(y - NODE_HEIGHT / 2, 1),
            width=round(width, 1),
            height=NODE_HEIGHT,
            rx=ROUND if kind == "operation" else 4,
        )
        return tag("g", box, tag("text", self.nodes[node]["label"], x=round(x, 1), y=round(y + 4, 1)), class_=kind)

    def _edge(self, edge: dict[str, Any]) -> Html:
        """Two arrows, the one back only where something comes back, and what they carry."""
        source, target = edge["source"], edge["target"]
        (x0, y0), (x1, y1) = self._middle(source), self._middle(target)
        x0 += self._width(source) / 2 + 2
        x1 -= self._width(target) / 2 + 2
        bend = x1
        slanted = self._slanted(target)
        if edge in slanted:
            # Below each other in the order of their rows, so that no two cross.
            place = slanted.index(edge)
            bend = x1 - SLANT * (len(slanted) - place)
            y1 += BELOW * (place + 1)
            # Several arrows lead into an operation only, which is round.
            x1 += ROUND - math.sqrt(ROUND**2 - (BELOW * (place + 1)) ** 2)
        up, down = self._labels(edge)
        middle = x0 + max(map(len, (*up, *down))) * LETTER / 2 + GAP / 2
        way = _beside([(x0, y0), (bend, y0), (x1, y1)], -APART)
        parts = [self._arrow(way, "forward")]
        if edge["backward"] is not None:
            parts.append(self._arrow(_beside([(x0, y0), (bend, y0), (x1, y1)], APART)[::-1], "backward"))
        parts += self._text(up, middle, y0 - APART - CLEAR - LINE * (len(up) - 1), "forward")
        parts += self._text(down, middle, y0 + APART + CLEAR + LINE - 4, "backward")
        return tag("g", parts, class_="edge")

    def _slanted(self, node: int) -> list[dict[str, Any]]:
        """The edges that come into a node from other rows, from above to below."""
        edges = [edge for edge in self.into[node] if self.rows[edge["source"]] != self.rows[node]]
        return sorted(edges, key=lambda edge: self.rows[edge["source"]])

    def _arrow(self, points: Sequence[tuple[float, float]], kind: str) -> Html:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        return tag("polyline", points=path, class_=f"arrow {kind}", marker_end=f"url(#{self.name}-{kind})")

    def _text(self, lines: Iterable[str], x: float, y: float, kind: str) -> list[Html]:
        return [
            tag("text", line, x=round(x, 1), y=round(y + LINE * row, 1), class_=f"carried {kind}")
            for row, line in enumerate(lines)
        ]


def _beside(points: Sequence[tuple[float, float]], distance: float) -> list[tuple[float, float]]:
    """The same way, level and then perhaps slanting, ``distance`` to its right (seen from above, y goes down)."""
    start, (bend, level), (x, y) = points
    first = (start[0], level + distance)
    if y == level:
        return [first, (x, level + distance)]
    length = math.hypot(x - bend, y - level)
    across, down = -(y - level) / length * distance, (x - bend) / length * distance
    # Where the slanted part, moved, meets the level part, moved.
    t = (distance - down) / (y - level)
    return [first, (bend + across + t * (x - bend), level + distance), (x + across, y + down)]
