"""What the tests of the judge share: examining a planted subject over a few cases of each corner."""

import functools
from dataclasses import replace

import pytest

from oracle.catalog.strategies import corners_of, generated_cases
from oracle.catalog.variants import KNOWN
from oracle.judge.examination import examine
from oracle.sources.autograd import is_available
from oracle.subjects.in_process import InProcessSubject

NEEDS_THE_TWIN = "PyTorch is not installed, and this is only seen against its twin"


@pytest.fixture
def needs_the_twin():
    """Skip where PyTorch is not installed."""
    if not is_available():
        pytest.skip(NEEDS_THE_TWIN)


@pytest.fixture(scope="session")
def draw_cases():
    """draw_cases(record's name, …) -> cases of each corner, the same ones every time.

    ``corners`` are all of the record by default. ``scale`` and ``targets`` replace what was drawn: inputs of
    moderate size keep the rounding of a textbook formula (`precision lost`) out of a test of something else.
    Each corner has a seed of its own, so that they do not all have the same layouts.
    """

    @functools.cache
    def drawn(name, dtype, corner, count, seed):
        return tuple(generated_cases(KNOWN[name], dtype, corner, count, seed))

    def draw(name, dtype="float64", *, corners=None, count=4, scale=None, targets=None):
        changes = {"scale": scale, "targets": targets}
        changes = {field: value for field, value in changes.items() if value is not None}
        return [
            replace(case, **changes)
            for seed, corner in enumerate(corners or corners_of(KNOWN[name], dtype))
            for case in drawn(name, dtype, corner, count, seed)
        ]

    return draw


@pytest.fixture(scope="session")
def examine_planted(draw_cases):
    """examine_planted(record's name, factory, …) -> the examination of that subject over drawn cases."""

    def run(name, factory, dtype="float64", *, required=False, with_autograd=None, **drawn):
        subject = InProcessSubject(KNOWN[name], factory)
        cases = draw_cases(name, dtype, **drawn)
        return examine(subject, cases, dtype=dtype, required=required, with_autograd=with_autograd)

    return run
