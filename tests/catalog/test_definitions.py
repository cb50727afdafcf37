"""The definitions: every record has one, and in float64 it is what ``scratch`` computes."""

import numpy as np
import pytest

from oracle.catalog.case import materialise
from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import corners_of, generated_cases
from oracle.subjects.in_process import implementation_of


@pytest.mark.parametrize("name", RECORDS)
def test_definition_in_float64_is_the_forward_of_scratch(name):
    record = RECORDS[name]
    for corner in corners_of(record, "float64"):
        if corner == "extreme values":
            continue  # a definition does not care for overflow
        for case in generated_cases(record, "float64", corner, 5, seed=0):
            arrays = materialise(case, record)
            given = {**arrays.inputs, **arrays.parameters}
            with np.errstate(all="ignore"):
                returned = record.definition(*(given[a.name] for a in record.arguments), **record.settings)
            defined = returned if isinstance(returned, dict) else {record.outputs[0]: returned}
            ours = implementation_of(record).open(arrays.parameters).forward(arrays.inputs).values
            for quantity, values in defined.items():
                settled = np.isfinite(values)
                # A loss near 0 cancels in the textbook form, log Σ exp x − x: relative to the scores.
                size = max(1.0, max(float(np.abs(v).max(initial=0.0)) for v in given.values()))
                assert np.shape(values) == ours[quantity].shape
                assert np.abs(np.where(settled, values - ours[quantity], 0)).max(initial=0) <= 1e-13 * size, str(case)
