"""The kill rate: the catalogue of planted defects before the very checks of the suite, and before others' rules.

The judge is handed every defect by no name (`oracle.subjects.defects.renamed`): what it says is of arrays alone.
"""

from __future__ import annotations

import importlib
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from oracle.catalog.case import Arrays, Case
from oracle.catalog.corners import ORDINARY
from oracle.catalog.record import LayerSpec
from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import corners_of, generated_cases
from oracle.judge.checks import CHECKS
from oracle.judge.examination import RUNS, examine
from oracle.judge.others import RULES, Layer, verdicts_at, verdicts_of_others
from oracle.judge.verdict import RIGHT
from oracle.reporting.environment import environment
from oracle.reporting.parallel import processor_time, shared_out
from oracle.reporting.progress import Progress
from oracle.reporting.report import SCHEMA
from oracle.sources.autograd import NOT_INSTALLED, is_available
from oracle.subjects.defects.catalogue import by_name, defects_of
from oracle.subjects.defects.renamed import LOOP, Nameless, NamelessSubject
from oracle.subjects.in_process import implementation_of
from oracle.training.parity import MEANINGS, Resynchronised, TrainingSubject, resynchronise
from oracle.training.planted import LOOP_DEFECTS, STEPS, FirstStep, Loop, Start, small_start

DTYPE = "float64"


@dataclass(frozen=True)
class Drawn:
    """How many cases a defect is examined in: ordinary ones, and of each corner."""

    ordinary: int
    corner: int


LAYERS = Drawn(ordinary=9, corner=3)
#: A network takes ten times as long as a layer, and has as many checks in a case.
NETWORKS = Drawn(ordinary=5, corner=2)
#: Plain cases that the others' rules are asked in.
OTHERS_CASES = 3
#: Sets of checks that are tried for the smallest one.
MOST_SETS = 2_000_000
#: All that can catch a defect: the checks of a layer in their order, and the comparisons of a training loop.
ALL_CHECKS = (RUNS, *CHECKS, *MEANINGS)
#: What defects of the training loop are listed under.
TRAINING_LOOP = "training loop"

Row = dict[str, Any]
Counts = Mapping[str, int]


def build_kill_rate(
    records: Sequence[LayerSpec], *, seed: int, command: str, jobs: int, progress: Progress | None = None
) -> dict[str, Any]:
    """Examine every planted defect of ``records`` and return the report of kind ``kill-rate``.

    Times apart, it is the same for the same seed, whatever the number of ``jobs``.
    """
    progress = progress or Progress()
    started, taken = time.perf_counter(), processor_time()
    chosen = [record.name for record in records]
    by_record = dict(zip(chosen, shared_out(names_of, chosen, jobs), strict=True))
    tasks: list[Task] = [(examine_defect, (record, name, seed)) for record in chosen for name in by_record[record]]
    loops = [number for number, defect in enumerate(LOOP_DEFECTS) if defect.record in chosen]
    # A loop has no other reference than its twin.
    tasks += [(examine_loop, (number, seed)) for number in loops if is_available()]
    progress.start(len(tasks))
    defects, summary = [], Counter[str]()
    for row, counts in shared_out(_examined, tasks, jobs):
        progress.step(row["name"])
        defects.append(row)
        summary.update(counts)
    right: list[Task] = [(alarms_of_others, (record, seed)) for record in chosen]
    trained = list(dict.fromkeys(LOOP_DEFECTS[number].record for number in loops))
    right += [(alarms_at_a_loop, (record, seed)) for record in trained]
    alarms = dict(zip([*chosen, *map(in_training, trained)], shared_out(_examined, right, jobs), strict=True))
    caught = [row for row in defects if row["caught_by"]]
    named = [row for row in defects if row["caught_by"] and row["cause_named"] == row["cause_expected"]]
    as_expected = [row for row in defects if is_as_expected(row)]
    skipped = []
    if not is_available():
        skipped.append({"reason": NOT_INSTALLED, "count": len(defects)})
        if loops:
            skipped.append({"reason": f"defects of the {TRAINING_LOOP}: {NOT_INSTALLED}", "count": len(loops)})
    return {
        "schema": SCHEMA,
        "kind": "kill-rate",
        "environment": environment(seed, command),
        "summary": {
            "verdict": RIGHT if len(caught) == len(defects) else "defects survive",
            "comparisons": summary["comparisons"],
            "zero_both": summary["zero_both"],
            "skipped": skipped,
            "checks_run": summary["checks_run"],
            "defects": len(defects),
            "caught": len(caught),
            "cause_named": len(named),
            "verdict_as_expected": len(as_expected),
            "others": {rule: sum(row["others"][rule] is True for row in defects) for rule in RULES},
        },
        "defects": defects,
        "minimum_checks": minimum_checks([row["caught_by"] for row in caught]),
        "false_alarms_of_others": {rule: [name for name, found in alarms.items() if found[rule]] for rule in RULES},
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(processor_time() - taken, 1),
    }


#: A function of this module, and what it is called with.
Task = tuple[Callable[[Any], Any], Any]


def _examined(task: Task) -> Any:
    function, argument = task
    return function(argument)


def names_of(record: str) -> list[str]:
    """The names of the planted defects of a record."""
    return [defect.name for defect in defects_of(RECORDS[record])]


def examine_defect(task: tuple[str, str, int]) -> tuple[Row, Counts]:
    """The row of one defect, by (record, its name, seed), and how much was compared for it.

    The judge is given a subject without a name and the cases, and not what is expected.
    """
    record, name, seed = task
    defect = by_name(record)[name]
    found = examine(NamelessSubject(defect.subject()), cases_of(record, seed), dtype=DTYPE)
    decisive = found.decisive
    row = {
        "name": defect.name,
        "layer": record,
        "verdict_expected": defect.verdict,
        "verdict": found.verdict,
        "cause_expected": defect.cause_id,
        "cause_named": found.cause_id,
        "caught_by": found.noticed_by() if found.verdict != RIGHT else [],
        "others": verdicts_of_others(defect.subject(), plain_cases(record, seed)),
        "sentence": decisive[0].sentence if decisive else "",
    }
    counts = {
        "comparisons": len(found.comparisons),
        "zero_both": sum(c.zero_both for c in found.comparisons),
        "checks_run": sum(tally.cases for tally in found.tallies.values()),
    }
    return row, counts


def examine_loop(task: tuple[int, int]) -> tuple[Row, Counts]:
    """The row of one defect of the training loop, by (its number, seed), and how much was compared for it.

    The parity is given a loop without a name, its twin and the samples, and not what is expected.
    """
    number, seed = task
    defect = LOOP_DEFECTS[number]
    record = RECORDS[defect.record]
    start = small_start(record, seed)
    found = held_against_its_twin(Nameless(defect.make(start), LOOP), record, start)
    divergence = found.first_divergence
    layer = in_training(record.name)
    row = {
        "name": f"{layer}: {defect.name}",
        "layer": layer,
        "verdict_expected": defect.verdict,
        "verdict": divergence.verdict if divergence else RIGHT,
        "cause_expected": defect.cause_id,
        "cause_named": divergence.cause_id if divergence else None,
        "caught_by": found.noticed_by,
        "others": verdicts_at([first_step(defect.make, record, seed)]),
        "sentence": str(divergence) if divergence else "",
        "divergence_expected": {"step": defect.step, "kind": defect.kind, "parameter": defect.parameter},
        "divergence": {"step": divergence.step, "kind": divergence.kind, "parameter": divergence.parameter}
        if divergence
        else None,
    }
    return row, {"comparisons": found.comparisons, "checks_run": found.steps}


def held_against_its_twin(loop: Any, record: LayerSpec, start: Start) -> Resynchronised:
    """The outcome of a few steps of a loop from ``start``, resynchronised with its twin at each."""
    twin: Any = importlib.import_module("oracle.twins.training").TorchTraining
    rate = start.learning_rate
    beside = twin(loop.parameters(), **record.settings, learning_rate=rate, dtype=DTYPE)
    return resynchronise(loop, record, beside, start.x, start.t, learning_rate=rate, dtype=DTYPE, steps=STEPS)


def first_step(make: Callable[[Start], TrainingSubject], record: LayerSpec, seed: int) -> Layer:
    """What the others' rules are asked of a loop: they check gradients, and its first step has some."""
    given = Arrays({}, dict(small_start(record, seed).net.params), np.ones(()))
    return Layer(FirstStep(make, record, seed), given, seed)


def in_training(record: str) -> str:
    """What a training loop over a network is called."""
    return f"{record} (training)"


def is_as_expected(row: Mapping[str, Any]) -> bool:
    """Whether the verdict is the expected one, and of a loop also step, kind and parameter."""
    return row["verdict"] == row["verdict_expected"] and row.get("divergence") == row.get("divergence_expected")


def alarms_of_others(task: tuple[str, int]) -> dict[str, bool | None]:
    """What the others' rules say of the right implementation of a record, by (record, seed)."""
    record, seed = task
    return verdicts_of_others(implementation_of(RECORDS[record]), plain_cases(record, seed))


def alarms_at_a_loop(task: tuple[str, int]) -> dict[str, bool | None]:
    """The same of a right training loop over the network of a record."""
    record, seed = task
    return verdicts_at([first_step(Loop, RECORDS[record], seed)])


@cache
def cases_of(name: str, seed: int) -> tuple[Case, ...]:
    """The cases in which the defects of a record are examined: every form of its targets in every corner."""
    record = RECORDS[name]
    drawn = NETWORKS if record.stack else LAYERS
    forms = record.target_forms or ("",)
    return tuple(
        replace(case, targets=forms[number % len(forms)])
        for corner in corners_of(record, DTYPE)
        for number, case in enumerate(
            generated_cases(
                record, DTYPE, corner, max(len(forms), drawn.ordinary if corner == ORDINARY else drawn.corner), seed
            )
        )
    )


@cache
def plain_cases(name: str, seed: int) -> tuple[Case, ...]:
    """The cases that the others are asked in: nothing about them is unusual."""
    drawn = generated_cases(RECORDS[name], DTYPE, ORDINARY, OTHERS_CASES, seed)
    return tuple(replace(case, layout="contiguous", scale=1.0) for case in drawn)


# --------------------------------------------------------------------------- the smallest set of checks


def minimum_checks(caught_by: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The fewest checks that together catch all: greedily, and by trying all sets where these are few enough.

    Each of ``caught_by`` are the checks that catch one defect, at least one. ``exact`` says whether all smaller sets
    were tried.
    """
    wanted = {frozenset(checks) for checks in caught_by}
    # Who catches what a smaller set of checks catches, is caught by that.
    wanted = {checks for checks in wanted if not any(other < checks for other in wanted)}
    greedy = list(_greedy(wanted))
    candidates = sorted({check for checks in wanted for check in checks}, key=_order)
    exact = True
    for size in range(1, len(greedy)):
        if math.comb(len(candidates), size) > MOST_SETS:
            exact = False
            break
        for chosen in itertools.combinations(candidates, size):
            if all(not checks.isdisjoint(chosen) for checks in wanted):
                return {"checks": list(chosen), "exact": True}
    return {"checks": sorted(greedy, key=_order), "exact": exact}


def _greedy(wanted: set[frozenset[str]]) -> Iterator[str]:
    left = set(wanted)
    while left:
        counted = Counter(check for checks in left for check in checks)
        best = min(counted, key=lambda check: (-counted[check], _order(check)))
        yield best
        left = {checks for checks in left if best not in checks}


def _order(check: str) -> int:
    return ALL_CHECKS.index(check)


def by_rule_and_kind(report: Mapping[str, Any]) -> dict[str, dict[str, tuple[int, int]]]:
    """For the judge and each rule of others: (caught, all) by the verdict expected, and of the training loop."""
    kinds = list(dict.fromkeys(map(_kind, report["defects"])))
    counted: dict[str, dict[str, tuple[int, int]]] = {}
    for who in ("this judge", *RULES):
        counted[who] = {}
        for kind in kinds:
            rows = [row for row in report["defects"] if _kind(row) == kind]
            caught = [r for r in rows if (r["caught_by"] if who == "this judge" else r["others"][who])]
            counted[who][kind] = len(caught), len(rows)
    return counted


def _kind(row: Mapping[str, Any]) -> str:
    return TRAINING_LOOP if is_of_a_loop(row) else row["verdict_expected"]


def is_of_a_loop(row: Mapping[str, Any]) -> bool:
    """Whether a row is that of a defect of the training loop."""
    return "divergence" in row
