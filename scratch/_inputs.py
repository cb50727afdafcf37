"""What the layers accept: dtypes, upstream gradients and targets, read and refused in one place.

Every message follows one pattern: the subject, what was received, what is required, how to mend it.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
COMPLEX128 = np.dtype(np.complex128)

REAL_DTYPES = "float32, float64, or integers and bool (taken as float64)"
FORWARD_DTYPES = "float32, float64, complex128, or integers and bool (taken as float64)"


def is_python_scalar(value: object) -> bool:
    """Whether value is a real Python number, which never changes a dtype (an np.float64 is not one)."""
    return type(value) in (bool, int, float)


def read_array(subject: str, name: str, value: ArrayLike, *, complex_too: bool = False) -> Array:
    """Return value as an array of dtype float32, float64 or, with complex_too, complex128.

    Integers and booleans become float64, a foreign byte order becomes the machine's own. The array may be
    the caller's own memory: it is for reading only.

    Raises:
        TypeError: any other dtype (float16, longdouble, complex64, object, strings, dates).
        ValueError: nested sequences of unequal lengths.
    """
    array = to_array(subject, name, value)
    native = array.dtype if array.dtype.isnative else array.dtype.newbyteorder("=")
    if native in (FLOAT64, FLOAT32) or (complex_too and native == COMPLEX128):
        return array.astype(native, copy=False)
    if native.kind in "biu":
        return array.astype(FLOAT64)
    if native == COMPLEX128:
        raise TypeError(
            f"{subject}: {name} has dtype complex128, which forward alone accepts (for numerical "
            f"differentiation); required: {REAL_DTYPES}"
        )
    raise TypeError(
        f"{subject}: {name} has dtype {array.dtype}; required: {FORWARD_DTYPES if complex_too else REAL_DTYPES}"
    )


def to_array(subject: str, name: str, value: ArrayLike) -> Array:
    """np.asarray, with a message that names the subject where NumPy can make no array of value."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{subject}: {name} is not a rectangular array ({error})") from None


def result_dtype(*dtypes: np.dtype[Any] | None) -> np.dtype[Any]:
    """np.result_type of the dtypes that are not None (None: a Python number); float64 if all are."""
    present = {dtype for dtype in dtypes if dtype is not None}
    if len(present) == 1:  # nearly always, and NumPy takes its time
        return present.pop()
    return np.result_type(*present) if present else FLOAT64


def weighing_dtype(value: object, array: Array) -> np.dtype[Any] | None:
    """The dtype with which value, read as array, takes part in a result: None for a Python number."""
    return None if is_python_scalar(value) else array.dtype


def read_upstream(subject: str, dout: ArrayLike, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Return dout in the result's dtype: np.result_type(dtype of the forward result, dtype of dout).

    Args:
        shape: the shape that forward returned, which dout must have.
        dtype: the dtype that forward returned.

    Raises:
        TypeError: a dtype that is not real.
        ValueError: another shape.
    """
    array = read_array(subject, "dout", dout)
    if array.shape != shape:
        what = "dout is a scalar, ∂L/∂loss" if shape == () else "dout has the shape that forward returned"
        raise ValueError(f"{subject}: dout has shape {array.shape}, but {shape} is required ({what})")
    return array.astype(result_dtype(dtype, weighing_dtype(dout, array)), copy=False)


def read_scores(subject: str, x: ArrayLike, name: str = "x") -> Array:
    """Return x of shape (N, C) or (C,), as a loss takes it.

    Raises:
        TypeError: an unsupported dtype.
        ValueError: any other number of dimensions, an empty batch, no class.
    """
    scores = read_array(subject, name, x, complex_too=True)
    if scores.ndim not in (1, 2):
        raise ValueError(
            f"{subject}: {name} has shape {scores.shape}; required: (N, C) for a batch or (C,) for one sample"
        )
    if scores.shape[-1] == 0:
        raise ValueError(f"{subject}: {name} has shape {scores.shape}, no class at all; required: C >= 1")
    if scores.shape[0] == 0:
        raise ValueError(
            f"{subject}: {name} has shape {scores.shape}, and an empty batch has no mean; required: N >= 1"
        )
    return scores


def read_target(
    subject: str, t: ArrayLike, scores_shape: Shape, *, labels: bool, name: str = "t"
) -> tuple[Array, np.dtype[Any] | None]:
    """Return the target in float64 and in the shape of the scores, and the dtype with which it weighs.

    The same shape as the scores is a target for every class (one-hot, soft, a value for each output);
    with `labels`, one dimension fewer and an integer dtype is a label index, turned into one-hot here, so
    that both forms give the same bits. Sizes decide nothing.

    Returns:
        target: float64, shape scores_shape; may be the caller's own memory, for reading only.
        dtype: float32 or float64, or None where the target was integer or bool.

    Raises:
        TypeError: a dtype that is not bool, integer, float32 or float64.
        ValueError: any other form, and labels outside 0..C-1.
    """
    array = to_array(subject, name, t)
    is_label_dtype = array.dtype.kind in "iu"
    if labels and is_label_dtype and array.shape == scores_shape[:-1]:
        return one_hot(subject, array, scores_shape[-1], name), None
    target = read_array(subject, name, t)
    if array.shape == scores_shape:
        return target.astype(np.float64, copy=False), None if array.dtype.kind in "biu" else target.dtype
    refuse_target(subject, array, scores_shape, labels, name)


def one_hot(subject: str, labels: Array, classes: int, name: str = "t") -> Array:
    """Return float64 rows, shape labels.shape + (classes,), with a 1 at each label.

    Raises:
        ValueError: a label outside 0..classes - 1; the first such label and its index are named.
    """
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        index = tuple(int(i) for i in np.argwhere(outside)[0])
        where = f"{name}[{', '.join(map(str, index))}]" if index else name
        raise ValueError(
            f"{subject}: {where} is {int(labels[index])}, but the labels of {classes} "
            f"{'class' if classes == 1 else 'classes'} are 0 to {classes - 1}"
        )
    return (labels[..., np.newaxis] == np.arange(classes)).astype(np.float64)


def refuse_target(subject: str, t: Array, scores_shape: Shape, labels: bool, name: str) -> NoReturn:
    """Raise the ValueError for a target of the wrong form, with the way to mend it."""
    required = f"{scores_shape}, a target for every output"
    if labels:
        required += f", or {scores_shape[:-1]} and an integer dtype, label indices"
    mend = ""
    if labels and t.shape == (*scores_shape[:-1], 1):
        flat = f"{name}[0]" if t.ndim == 1 else f"{name}.ravel()"
        mend = f": for label indices pass {flat}" + ("" if t.dtype.kind in "iu" else " as integers")
    elif t.shape == scores_shape[:-1] and labels:
        mend = f": for label indices pass {name}.astype(int)"
    elif t.shape == scores_shape[:-1]:
        mend = ": label indices have no meaning here; pass one value for every output"
    raise ValueError(
        f"{subject}: {name} has shape {t.shape} and dtype {t.dtype}, but the scores have shape "
        f"{scores_shape}; required: {required}{mend}"
    )
