"""Which library does NumPy's matrix products, with which kernels, on how many threads: all decide the last bits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info


def numpy_blas() -> dict[str, Any] | None:
    """The description that threadpoolctl gives of NumPy's own BLAS; None where it knows none.

    SciPy and PyTorch bring a BLAS of their own, so that there may be several in one process.
    """
    package = Path(np.__file__).parent
    homes = (package, package.with_name("numpy.libs"))
    pools = sorted((p for p in threadpool_info() if p["user_api"] == "blas"), key=lambda pool: str(pool["filepath"]))
    ours = [pool for pool in pools if any(home in Path(pool["filepath"]).parents for home in homes)]
    return (ours or pools or [None])[0]


def blas_name() -> str | None:
    """Library, version, and the processor whose kernels it chose: ``openblas 0.3.31 (Haswell)``; None if unknown."""
    blas = numpy_blas()
    if blas is None:
        return None
    # MKL does not tell its kernels.
    kernels = f" ({blas['architecture']})" if "architecture" in blas else ""
    return f"{blas['internal_api']} {blas['version']}{kernels}"


def told_kernels() -> str | None:
    """The setting that keeps OpenBLAS from choosing its kernels, as ``NAME=value``; None where it is free to choose."""
    name = "OPENBLAS_CORETYPE"
    blas, value = numpy_blas(), os.environ.get(name)
    return f"{name}={value}" if value and blas and blas["internal_api"] == "openblas" else None


def blas_threads() -> int | None:
    """How many threads NumPy's matrix products use; None where that is not known."""
    blas = numpy_blas()
    return int(blas["num_threads"]) if blas else None
