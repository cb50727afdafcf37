"""What a report examines: which subjects, on which cases, in which dtypes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from oracle.catalog.case import Case
from oracle.catalog.record import LayerSpec
from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import corners_of, generated_cases, real_data_case
from oracle.data.digits import Digits
from oracle.errors import InputError

DTYPES = ("float64", "float32")
#: Cases of each corner of each record. With twelve the whole report makes some 38,000 comparisons.
CASES_PER_CORNER = 12
#: Networks on real digits: samples in the batch and units of the first hidden layer as in the source material.
SAMPLES = 3
HIDDEN_UNITS = (50, 40, 30)


@dataclass(frozen=True)
class Item:
    """One subject in one dtype with the cases to examine it on. ``label`` is its name in the report."""

    section: str
    label: str
    record: LayerSpec
    dtype: str
    cases: tuple[Case, ...]


def select_records(names: Sequence[str]) -> tuple[LayerSpec, ...]:
    """The records called ``names``, or all of them for none; a class's name stands for all its records.

    Raises InputError for a name that no record has.
    """
    if not names:
        return tuple(RECORDS.values())
    chosen: dict[str, LayerSpec] = {}
    for name in names:
        found = [r for r in RECORDS.values() if name.lower() in (r.name.lower(), r.class_name.lower())]
        if not found:
            known = ", ".join(dict.fromkeys(record.class_name for record in RECORDS.values()))
            raise InputError(f"--layer {name}: no layer has this name; one of {known} is required")
        chosen.update((record.name, record) for record in found)
    return tuple(record for record in RECORDS.values() if record.name in chosen)


def plan(
    records: Sequence[LayerSpec],
    dtypes: Sequence[str],
    seed: int,
    real_data: Mapping[str, Digits],
    cases_per_corner: int = CASES_PER_CORNER,
) -> Iterator[Item]:
    """Every record on generated cases, and on those of ``real_data`` that it is examined on as well."""
    for record in records:
        for dtype in dtypes:
            cases = tuple(
                case
                for corner in corners_of(record, dtype)
                for case in generated_cases(record, dtype, corner, cases_per_corner, seed)
            )
            yield Item(record.section, record.name, record, dtype, cases)
    for data, samples in real_data.items():
        for record in records:
            if data not in record.real_data:
                continue
            for dtype in dtypes:
                case = real_data_case(record, dtype, data, SAMPLES, samples.images.shape[1], HIDDEN_UNITS, seed)
                sizes = "-".join(str(shape[-1]) for name, shape in case.shapes if name in record.parameters[::2])
                label = f"{record.name}, {samples.images.shape[1]}-{sizes} on {data}"
                yield Item("networks on real digits", label, record, dtype, (case,))
