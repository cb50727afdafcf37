"""Small reports to be compared: rows as they stand in the files, without the examinations that fill them."""

import json

import pytest

from oracle.reporting.render import to_json

ENVIRONMENT = {
    "python": "3.11.7",
    "numpy": "2.4.6",
    "torch": "2.13.0",
    "blas": "openblas 0.3",
    "hypothesis": "6.1",
    "platform": "Linux x86_64",
    "seed": 0,
}


def pair(ulp, margin):
    return {"max_abs": 1e-16, "margin": margin, "worst_ulp": ulp, "median_ulp": ulp / 2}


def row(layer="Affine", quantity="dW", ulp=4.0, verdict="right", margin=0.01, dtype="float64"):
    pairs = {
        "backprop-numerical": pair(ulp, margin),
        "backprop-autograd": None,
        "numerical-autograd": pair(1e9, 1e9),
    }
    return {"layer": layer, "quantity": quantity, "dtype": dtype, "verdict": verdict, "pairs": pairs}


@pytest.fixture
def make_row():
    return row


@pytest.fixture
def make_report():
    def made(*rows, verdict="right", **facts):
        given = list(rows) or [row()]
        layers = dict.fromkeys((one["layer"], one["dtype"]) for one in given)
        return {
            "schema": 1,
            "kind": "report",
            "environment": {**ENVIRONMENT, **facts},
            "plan": {"cases_per_corner": 12},
            "layers": [{"layer": layer, "dtype": dtype, "verdict": verdict} for layer, dtype in layers],
            "rows": given,
        }

    return made


@pytest.fixture
def write(tmp_path):
    def written(name, report):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_json(report), encoding="utf-8")
        assert json.loads(path.read_text(encoding="utf-8"))
        return path

    return written
