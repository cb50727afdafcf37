"""The BLAS of NumPy by name: what the last bits of a figure hang on."""

import pytest

from oracle import blas

OPENBLAS = {"user_api": "blas", "internal_api": "openblas", "version": "0.3.31", "num_threads": 2, "filepath": "/a.so"}


@pytest.mark.parametrize(
    ("pools", "name", "threads"),
    [
        ([{**OPENBLAS, "architecture": "Haswell"}], "openblas 0.3.31 (Haswell)", 2),
        ([{**OPENBLAS, "internal_api": "mkl", "version": "2025.0"}], "mkl 2025.0", 2),
        ([{**OPENBLAS, "user_api": "openmp"}], None, None),
    ],
    ids=["kernels", "no kernels told", "none known"],
)
def test_the_blas_is_named_with_its_kernels(pools, name, threads, monkeypatch):
    monkeypatch.setattr(blas, "threadpool_info", lambda: pools)
    assert blas.blas_name() == name
    assert blas.blas_threads() == threads


@pytest.mark.parametrize(
    ("api", "value", "told"),
    [
        ("openblas", "Haswell", "OPENBLAS_CORETYPE=Haswell"),
        ("openblas", "", None),
        ("openblas", None, None),
        ("mkl", "Haswell", None),
    ],
    ids=["told", "empty", "not set", "another library, which does not ask"],
)
def test_openblas_may_be_told_its_kernels(api, value, told, monkeypatch):
    monkeypatch.setattr(blas, "threadpool_info", lambda: [{**OPENBLAS, "internal_api": api}])
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    if value is not None:
        monkeypatch.setenv("OPENBLAS_CORETYPE", value)
    assert blas.told_kernels() == told
