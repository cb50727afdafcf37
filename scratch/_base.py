"""What all layers and losses share: remembering what forward returned, checking what backward receives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from scratch._inputs import Array, Shape, read_upstream

P = ParamSpec("P")
R = TypeVar("R")

_is_quiet = ContextVar("_is_quiet", default=False)  # within a call of what `ieee` decorates


def ieee(function: Callable[P, R]) -> Callable[P, R]:
    """Let NaN and infinity pass as IEEE 754 says, without NumPy's floating-point warnings.

    Some warnings would be wrong: exp(-1000) = 0 is the right answer, and matrix products of finite numbers
    warn on some platforms. The others would name a line inside a layer; the NaN in the result says as much.
    What is called from within, as the layers of a network are, does not enter NumPy's errstate once more.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if _is_quiet.get():
            return function(*args, **kwargs)
        outside = _is_quiet.set(True)
        try:
            # A new errstate for each call: one object shared by all calls is not safe between threads.
            with np.errstate(all="ignore"):
                return function(*args, **kwargs)
        finally:
            _is_quiet.reset(outside)

    return wrapper


class Layer:
    """An object with forward and backward. Private base of every layer, node and loss."""

    _y_shape: Shape | None = None  # of what forward returned; None before the first forward
    _y_dtype: np.dtype[Any]

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _remember(self, y_shape: Shape, y_dtype: np.dtype[Any]) -> None:
        """Note what forward is about to return. Called last, so that a refused forward changes nothing."""
        self._y_shape = y_shape
        self._y_dtype = y_dtype

    def _upstream(self, dout: ArrayLike) -> Array:
        """Return dout, checked against what forward returned, in the dtype of the result; for reading only.

        Raises:
            RuntimeError: backward before forward.
            TypeError: the last forward was complex, or dout is not real.
            ValueError: dout does not have the shape that forward returned.
        """
        if self._y_shape is None:
            raise RuntimeError(f"{self._name}: backward was called before forward; call forward(...) first")
        if self._y_dtype.kind == "c":
            raise TypeError(
                f"{self._name}: backward was called after a complex128 forward, which serves numerical "
                "differentiation only; required: a real forward before backward"
            )
        return read_upstream(self._name, dout, self._y_shape, self._y_dtype)
