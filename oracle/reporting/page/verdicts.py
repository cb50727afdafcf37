"""A verdict as people see it: a sign and the word, and a colour besides."""

from __future__ import annotations

from oracle.judge.verdict import FAULTS, RIGHT
from oracle.reporting.page.html import Html, tag


def badge(verdict: str) -> Html:
    """The word with a sign before it, which a screen reader leaves out."""
    kind, sign = _look(verdict)
    return tag("span", tag("span", f"{sign} ", aria_hidden="true"), verdict, class_=f"verdict {kind}")


def _look(verdict: str) -> tuple[str, str]:
    if verdict == RIGHT:
        return "right", "✓"
    return ("wrong", "✗") if verdict in FAULTS else ("warned", "!")
