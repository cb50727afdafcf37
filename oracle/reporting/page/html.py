"""HTML from small functions. What is not `Html` already is text, and is escaped: nothing gets around it by accident."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

#: Elements without content and without an end tag.
VOID = frozenset({"br", "col", "link", "meta"})


class Html(str):
    """A piece of HTML, as against a string that merely looks like some."""

    __slots__ = ()


Child = str | Iterable["Child"] | None
Attribute = str | float | bool | None


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """An element. ``class_`` stands for class, ``data_value`` for data-value; attributes that are None are left out.

    >>> tag("p", "1 < 2", class_="note")
    '<p class="note">1 &lt; 2</p>'
    """
    opened = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Html(opened if name in VOID else f"{opened}{join(children)}</{name}>")


def join(children: Child) -> Html:
    """Children one after the other, text escaped."""
    if children is None:
        return Html("")
    if isinstance(children, Html):
        return children
    if isinstance(children, str):
        return Html(html.escape(children))
    return Html("".join(map(join, children)))


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f' {name}="{html.escape(text)}"'


def code(text: str) -> Html:
    """A command or a name from a program."""
    return tag("code", text)


def shell(command: str) -> Html:
    """A command line. It breaks between its words: an option that is cut at its hyphens is another one."""
    words = [tag("span", word, class_="word") for word in command.split(" ")]
    return tag("code", words[:1], [(" ", word) for word in words[1:]])


def paragraph(*children: Child, class_: str | None = None) -> Html:
    """A paragraph."""
    return tag("p", *children, class_=class_)


def disclosure(summary: Child, *children: Child, is_open: bool = False) -> Html:
    """Something that the reader can open and close."""
    return tag("details", tag("summary", summary), *children, open=is_open)


def listing(items: Sequence[Child]) -> Html:
    """A bulleted list."""
    return tag("ul", [tag("li", item) for item in items])
