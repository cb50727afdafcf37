"""What the tests of the layers share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Array = np.ndarray[Any, Any]


@pytest.fixture
def rng() -> np.random.Generator:
    """The same numbers for every test, in every order."""
    return np.random.default_rng(20240501)


@pytest.fixture
def complex_step() -> Callable[[Callable[[Array], Any], Array], Array]:
    """Return derivative(f, x): ∂f/∂x for an analytic scalar f, by the complex step.

    Im f(x + ih) / h has no cancellation; its error is h² relative: with h = 1e-20 rounding alone is left.
    """

    def derivative(f: Callable[[Array], Any], x: Array) -> Array:
        h = 1e-20
        result = np.empty(x.shape)
        for index in np.ndindex(x.shape):
            moved = x.astype(np.complex128)
            moved[index] += 1j * h
            result[index] = np.imag(f(moved)) / h
        return result

    return derivative
