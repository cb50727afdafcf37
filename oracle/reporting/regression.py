"""Has it become worse? Two results held against each other, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from oracle.judge.verdict import PRECEDENCE
from oracle.reporting.baseline import FACTS, WHOLE, Key, Results, Row

#: Errors below this many ulp count as this many. A correct result and its reference are each rounded in the last
#: place, so an error of 0, 1 or 2 ulp says nothing of the layer. It also follows that one ulp more is never a
#: regression: the ratio (e + 1) / max(e, 2) is at most 1.5.
FLOOR_ULP = 2.0
#: A row is worse, or improved, from this ratio on. The same layers with other instructions of the processor (AVX-512 or
#: SSE2, which sum in another order) move a median by up to 2, and a worst error by up to 6.
NOTABLE = 2.0
#: Unchanged rows that are listed; the others are counted.
LISTED = 10


@dataclass(frozen=True)
class Change:
    """One row before and after. ``old`` and ``new`` are errors in ulp of one measure, or margins where there is none.

    ``ratio`` is None where errors cannot be compared by ratio, or there are none.
    """

    key: Key
    before: Row
    after: Row
    measure: str | None
    old: float | None
    new: float | None
    ratio: float | None

    @property
    def verdict_step(self) -> int:
        """By how many steps the verdict got worse; negative where it got better."""
        return PRECEDENCE.index(self.before.verdict) - PRECEDENCE.index(self.after.verdict)

    @property
    def bound_step(self) -> int:
        """1 where the margin has passed its bound, -1 where it has come back, both only where no ratio is known."""
        if self.ratio is not None or self.old is None or self.new is None:
            return 0
        return int(self.new > 1) - int(self.old > 1)

    @property
    def badness(self) -> tuple[float, ...]:
        """What rows are sorted by."""
        ratio = self.ratio if self.ratio is not None else 0.0
        return (self.verdict_step, self.bound_step, ratio, self.new if self.new is not None else 0.0)

    def exceeds(self, factor: float) -> bool:
        return self.ratio is not None and self.ratio > factor

    def falls_below(self, factor: float) -> bool:
        return self.ratio is not None and self.ratio < factor

    @property
    def is_exact(self) -> bool:
        return self.before == self.after


@dataclass(frozen=True)
class Differences:
    """All rows of two results, in groups, the worst first. Where errors have no ratio ``because`` says why."""

    before: Results
    after: Results
    because: tuple[str, ...]
    limit: float | None
    worse: tuple[Change, ...]
    improved: tuple[Change, ...]
    unchanged: tuple[Change, ...]
    new: tuple[Key, ...]
    vanished: tuple[Key, ...]
    not_asked: int
    #: Rows that both have, verdicts on whole layers included.
    common: int

    @property
    def regressed(self) -> bool:
        """Whether a verdict got worse, or a ratio exceeds the limit where there is one."""
        return any(self.fails(change) for change in self.worse)

    def fails(self, change: Change) -> bool:
        return change.verdict_step > 0 or (self.limit is not None and change.exceeds(self.limit))


def differences(
    before: Results,
    after: Results,
    *,
    limit: float | None = None,
    asked: Callable[[Key], bool] = lambda key: True,
) -> Differences:
    """Hold ``after`` against ``before``; rows of ``before`` that nobody ``asked`` for are left out.

    ``limit`` is the ratio of errors that is a regression whatever the verdict.
    """
    because = _why_no_ratio(before, after)
    notable = NOTABLE if limit is None else min(NOTABLE, limit)
    groups: dict[str, list[Change]] = {"worse": [], "improved": [], "unchanged": []}
    for key, row in after.rows.items():
        if key in before.rows:
            change = _change(key, before.rows[key], row, by_ratio=not because, notable=notable)
            if key.quantity != WHOLE or change.verdict_step:
                groups[_group(change, notable)].append(change)
    for changes in groups.values():
        changes.sort(key=lambda change: change.badness, reverse=True)
    gone = _only_in(before.rows, after.rows)
    return Differences(
        before=before,
        after=after,
        because=because,
        limit=limit,
        worse=tuple(groups["worse"]),
        improved=tuple(groups["improved"]),
        unchanged=tuple(groups["unchanged"]),
        new=tuple(_only_in(after.rows, before.rows)),
        vanished=tuple(key for key in gone if asked(key)),
        not_asked=sum(not asked(key) for key in gone),
        common=sum(key in before.rows for key in after.rows),
    )


def _only_in(rows: Mapping[Key, Row], others: Mapping[Key, Row]) -> list[Key]:
    """Rows that the others lack; of a layer as a whole only where it has no other."""
    compared = {key.layer for key in rows if key.quantity != WHOLE}
    return [key for key in rows if key not in others and (key.quantity != WHOLE or key.layer not in compared)]


def _why_no_ratio(before: Results, after: Results) -> tuple[str, ...]:
    other = [
        f"{name} {before.version(fact) or 'none'} → {after.version(fact) or 'none'}"
        for fact, name in FACTS.items()
        if before.version(fact) != after.version(fact)
    ]
    for results in (before, after):
        if any(row.margin is not None and row.ulps is None for row in results.rows.values()):
            other.append(f"{results.place} is from before errors were kept in ulp")
    return tuple(other)


def _change(key: Key, before: Row, after: Row, *, by_ratio: bool, notable: float) -> Change:
    if not by_ratio or before.ulps is None or after.ulps is None:
        return Change(key, before, after, None, before.margin, after.margin, None)
    ratios = {
        measure: _ratio(before.ulps[measure], after.ulps[measure]) for measure in after.ulps if measure in before.ulps
    }
    if not ratios:
        return Change(key, before, after, None, before.margin, after.margin, None)
    # Of several ways to see the row the one that became worse the most, unless only an improvement is worth a word.
    worst, best = max(ratios, key=ratios.__getitem__), min(ratios, key=ratios.__getitem__)
    measure = best if ratios[worst] <= notable and ratios[best] < 1 / notable else worst
    return Change(key, before, after, measure, before.ulps[measure], after.ulps[measure], ratios[measure])


def _ratio(old: float, new: float) -> float:
    old, new = max(old, FLOOR_ULP), max(new, FLOOR_ULP)
    return 1.0 if old == new else new / old if math.isfinite(old) else 0.0


def _group(change: Change, notable: float) -> str:
    # Whatever is worse about a row counts, a better verdict notwithstanding.
    if change.verdict_step > 0 or change.bound_step > 0 or change.exceeds(notable):
        return "worse"
    if change.verdict_step < 0 or change.bound_step < 0 or change.falls_below(1 / notable):
        return "improved"
    return "unchanged"


def to_json_entry(found: Differences) -> dict[str, Any]:
    """The differences as they stand in a report; what has not changed is counted."""
    return {
        "before": _described(found.before),
        "after": _described(found.after),
        "by": "bound" if found.because else "ratio",
        "because": list(found.because),
        "floor_ulp": FLOOR_ULP,
        "fail_if_worse": found.limit,
        "regressed": found.regressed,
        "worse": [_entry(found, change) for change in found.worse],
        "improved": [_entry(found, change) for change in found.improved],
        "unchanged": len(found.unchanged),
        "new": [key._asdict() for key in found.new],
        "vanished": [key._asdict() for key in found.vanished],
        "not_asked": found.not_asked,
    }


def _described(results: Results) -> dict[str, Any]:
    return {"place": results.place, "of": results.of, **{fact: results.environment.get(fact) for fact in FACTS}}


def _entry(found: Differences, change: Change) -> dict[str, Any]:
    return {
        **change.key._asdict(),
        "measure": change.measure or "margin",
        "old": change.old,
        "new": change.new,
        "ratio": change.ratio,
        "verdict_before": change.before.verdict,
        "verdict": change.after.verdict,
        "is_regression": found.fails(change),
    }


def to_diff_report(found: Differences, environment: Mapping[str, Any]) -> dict[str, Any]:
    """The report of kind ``diff``: every row of both, unchanged ones included."""
    entry = to_json_entry(found)
    changes = [*found.worse, *found.improved, *found.unchanged]
    return {
        "schema": 1,
        "kind": "diff",
        "environment": dict(environment),
        "summary": {
            "verdict": _worst_verdict(found.after),
            "comparisons": len(changes),
            "zero_both": 0,
            "skipped": [{"reason": "rows that only one of the two has", "count": len(found.new) + len(found.vanished)}],
            "checks_run": 0,
            "regressed": found.regressed,
        },
        **entry,
        "unchanged": [_entry(found, change) for change in found.unchanged],
    }


def _worst_verdict(results: Results) -> str:
    given = {row.verdict for row in results.rows.values()}
    return next(verdict for verdict in PRECEDENCE if verdict in given)


def regression_text(found: Differences, *, all_rows: bool = False) -> str:
    """What a terminal shows."""
    return "\n\n".join(_parts(found, "simple", all_rows=all_rows, heading="{}"))


def regression_markdown(found: Differences, *, all_rows: bool = False) -> str:
    """The section of a report."""
    parts = ["## Against earlier results", *_parts(found, "github", all_rows=all_rows, heading="### {}")]
    return "\n\n".join(parts) + "\n"


def _parts(found: Differences, style: str, *, all_rows: bool, heading: str) -> list[str]:
    by_ratio = not found.because
    shown = {
        "Worse": found.worse,
        "Improved": found.improved,
        "Unchanged": found.unchanged if all_rows else _moved(found.unchanged)[:LISTED],
    }
    parts = [_how(found)]
    for group, changes in shown.items():
        total = found.unchanged if group == "Unchanged" else changes
        title = f"{group}: {_counted(len(total), 'row') if total else 'none'}"
        if group == "Unchanged" and total:
            title += f", {sum(change.is_exact for change in total):,} of them to the last digit"
            title += "; the worst of the others (--all-rows lists all)" if 0 < len(changes) < len(total) else ""
        parts.append(heading.format(title))
        if changes:
            parts.append(_table(found, changes, style, by_ratio=by_ratio))
    parts += [heading.format(line) for line in _only_one_side(found)]
    parts.append(_outcome(found))
    return parts


def _moved(changes: Iterable[Change]) -> tuple[Change, ...]:
    return tuple(change for change in changes if not change.is_exact)


def _how(found: Differences) -> str:
    against = f"Held against {found.before.place}"
    if found.because:
        return (
            f"{against}, by bound and verdict instead of by ratio, since last digits are not comparable: "
            f"{'; '.join(found.because)}."
        )
    return (
        f"{against}, made with the same versions, by ratio: errors in ulp of the largest entry, the worst and the "
        f"median of all comparisons of a row; below {FLOOR_ULP:g} ulp they count as {FLOOR_ULP:g}."
    )


def _table(found: Differences, changes: Iterable[Change], style: str, *, by_ratio: bool) -> str:
    figures = ("old, ulp", "new, ulp", "ratio", "seen in") if by_ratio else ("old margin", "new margin")
    headers = ("layer", "quantity", "dtype", *figures, "verdict")
    return tabulate(
        [_cells(found, change, by_ratio=by_ratio) for change in changes],
        headers=headers,
        tablefmt=style,
        disable_numparse=True,
    )


def _cells(found: Differences, change: Change, *, by_ratio: bool) -> tuple[str, ...]:
    before, after = change.before.verdict, change.after.verdict
    verdict = after if before == after else f"{before} → {after}"
    if found.fails(change):
        verdict = f"✗ {verdict}"
    cells = [change.key.layer, _quantity(change.key), change.key.dtype]
    if not by_ratio:
        cells += [_figure(change.old), _figure(change.new)]
    elif change.ratio is None:
        # A margin has no place in a column of ulp.
        cells += ["", "", "", ""]
    else:
        cells += [_figure(change.old), _figure(change.new), f"{change.ratio:.3g}×", change.measure or ""]
    return (*cells, verdict)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _quantity(key: Key) -> str:
    return key.quantity or "(the whole)"


def _only_one_side(found: Differences) -> list[str]:
    lines = []
    for what, keys in (("New", found.new), ("Vanished", found.vanished)):
        if keys:
            names: dict[str, list[str]] = {}
            for key in keys:
                names.setdefault(f"{key.layer} {key.dtype}".strip(), []).append(_quantity(key))
            listed = "; ".join(f"{layer}: {', '.join(quantities)}" for layer, quantities in names.items())
            lines.append(f"{what}: {_counted(len(keys), 'row')}: {listed}")
    if found.not_asked:
        lines.append(f"Not asked for: {_counted(found.not_asked, 'row')} of {found.before.place}")
    return lines


def _outcome(found: Differences) -> str:
    failing = sum(found.fails(change) for change in found.worse)
    beyond = f"more than {found.limit:g}× as large" if found.limit is not None else None
    if failing:
        rule = "a verdict that got worse" + (f", or an error {beyond}" if beyond else "")
        return f"Regression: {_counted(failing, 'row')} marked ✗ ({rule})."
    if beyond is None:
        return "No verdict got worse."
    if found.because:
        return "No verdict got worse; --fail-if-worse was not applied, since errors have no ratio here."
    return f"No verdict got worse, and no error is {beyond}."


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
