"""`parametrize_with_checks`: a pytest test for each layer and check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import pytest

from oracle.errors import InputError
from oracle.judge.checks import checks_for
from oracle.judge.examination import RUNS
from oracle.notebook import CheckResult, check_layer, open_layer
from oracle.subjects.conventions.recognition import Told


class _Examined:
    """A layer, examined once, by the first of its tests that runs."""

    def __init__(self, layer: Any, seed: int) -> None:
        self.layer = layer
        self.name = getattr(layer, "__name__", type(layer).__name__)
        self._seed = seed

    @cached_property
    def result(self) -> CheckResult:
        return check_layer(self.layer, seed=self._seed)

    def check_names(self) -> list[str]:
        """The checks that it is subject to; where it cannot be told what it is, one that says so."""
        try:
            subject, _, _ = open_layer(self.layer, None, Told())
        except InputError:
            return [RUNS]
        return [RUNS, *(check.name for check in checks_for(subject.record))]


class LayerCheck:
    """One check of one layer: call it with the layer, and it raises AssertionError with what was found."""

    def __init__(self, name: str, examined: _Examined, together: list[_Examined], reason: str | None) -> None:
        self.name = name
        self._examined = examined
        self._together = together
        self._reason = reason

    def __call__(self, layer: Any) -> None:
        """Raise AssertionError where the layer fails; an expected failure that does not come is one too."""
        record = self._examined.result.checks.get(self.name)
        failed = record is not None and not record.passed
        if self._reason is None:
            if record is not None and failed:
                raise AssertionError(record.sentences[0])
        elif failed:
            pytest.xfail(self._reason)
        elif not any(self._fails(other) for other in self._together):
            raise AssertionError(
                f"{self.name} was expected to fail ({self._reason}), but passes: take it out of expected_failures"
            )

    def _fails(self, other: _Examined) -> bool:
        record = other.result.checks.get(self.name)
        return record is not None and not record.passed


def parametrize_with_checks(
    layers: Iterable[Any], *, expected_failures: Mapping[str, str] | None = None, seed: int = 0
) -> Callable[[Callable[..., Any]], Any]:
    """Parametrise ``def test_layers(layer, check): check(layer)``: one test for each layer and check.

    ``layers`` are classes, instances or functions. ``expected_failures`` gives the reason by the name of a check, for
    whichever of the layers fail it, or by the id of a test (``"Relu-dout_is_not_modified"``) for one layer. They are
    strict: where none of the layers concerned fails, the test does. A hazard fails its check; lost precision does not.

    Raises ValueError for an expected failure that no test goes by.
    """
    expected = dict(expected_failures or {})
    together = [_Examined(layer, seed) for layer in layers]
    parameters = []
    used: set[str] = set()
    for examined in together:
        for name in examined.check_names():
            test_id = f"{examined.name}-{name}"
            keys = {name, test_id} & expected.keys()
            used |= keys
            alone = test_id in expected
            reason = expected.get(test_id, expected.get(name))
            check = LayerCheck(name, examined, [examined] if alone else together, reason)
            parameters.append(pytest.param(examined.layer, check, id=test_id))
    unknown = expected.keys() - used
    if unknown:
        raise ValueError(f"expected_failures: no check of these layers is called {', '.join(sorted(unknown))}")
    return pytest.mark.parametrize(("layer", "check"), parameters)
