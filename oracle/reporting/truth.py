"""Errors against truth: how many digits each source has, by the size of the input."""

from __future__ import annotations

import importlib.util
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from tabulate import tabulate

from oracle.catalog.case import Case, materialise
from oracle.catalog.corners import ORDINARY
from oracle.catalog.record import Array, LayerSpec
from oracle.catalog.strategies import generated_cases
from oracle.reporting.progress import Progress
from oracle.sources.autograd import autograd, is_available
from oracle.sources.backprop import backprop
from oracle.sources.numerical import numerical
from oracle.sources.truth import truth
from oracle.subjects.in_process import implementation_of

#: Standard deviations of the inputs. Beyond the last one exp overflows in float64 too, and every gradient is 0 or 1.
SIZES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 700.0)
#: Cases of each size, with some twenty entries each.
CASES = 8
SOURCES = ("backprop", "numerical", "autograd")
#: A source has lost digits where it is this many ulp off: six of float64's 53 bits.
LOST = 64.0
#: The picture has room for this many gradients; those in which the sources are furthest apart come first.
PANELS = 3
NAMES = {"backprop": "scratch", "numerical": "numerical", "autograd": "PyTorch"}


def has_relative_accuracy(record: LayerSpec) -> bool:
    """Whether its gradients can be had to a few ulp: those of a stack cancel, and so does a matrix product."""
    return record.has_backward and not record.stack and not record.parameters


def truth_rows(
    records: Sequence[LayerSpec], dtypes: Sequence[str], seed: int, progress: Progress
) -> list[dict[str, Any]]:
    """For every gradient, dtype and size of input: worst and mean error of each source in ulp of the dtype."""
    rows: list[dict[str, Any]] = []
    for record in filter(has_relative_accuracy, records):
        for dtype in dtypes:
            progress.step(f"{record.name} against truth, {dtype}")
            cases = [
                # Soft targets cancel: y Σt − t has no relative accuracy.
                replace(case, targets=record.target_forms[0]) if record.target_forms else case
                for case in generated_cases(record, dtype, ORDINARY, CASES, seed)
            ]
            for size in SIZES:
                rows += _rows(record, dtype, size, [replace(case, scale=size) for case in cases])
    return rows


def steps(records: Sequence[LayerSpec], dtypes: Sequence[str]) -> int:
    """How many steps of progress there are."""
    return len(list(filter(has_relative_accuracy, records))) * len(dtypes)


def _rows(record: LayerSpec, dtype: str, size: float, cases: Sequence[Case]) -> Iterator[dict[str, Any]]:
    errors: dict[str, dict[str, list[Array]]] = defaultdict(lambda: defaultdict(list))
    bits = 0
    for case in cases:
        exact, found = _errors(record, case)
        bits = max(bits, exact)
        for quantity, by_source in found.items():
            for source, ulp in by_source.items():
                errors[quantity][source].append(ulp.reshape(-1))
    for quantity, parts in errors.items():
        joined = {source: np.concatenate(part) for source, part in parts.items()}
        yield {
            "layer": record.name,
            "quantity": quantity,
            "dtype": dtype,
            "size": size,
            "entries": len(joined["backprop"]),
            "bits": bits,
            "sources": {
                source: {"worst_ulp": float(ulp.max()), "mean_ulp": float(ulp.mean())} if ulp.size else None
                for source, ulp in joined.items()
            },
        }


def _errors(record: LayerSpec, case: Case) -> tuple[int, dict[str, dict[str, Array]]]:
    """The bits that settled the truth, and by gradient and source the errors in ulp of entries that do not overflow."""
    arrays = materialise(case, record)
    subject = implementation_of(record)
    exact = truth(record, arrays.inputs, arrays.parameters, arrays.dout)
    by_source = {"backprop": backprop(subject, arrays.inputs, arrays.parameters, arrays.dout)[0]}
    if case.dtype == "float64":
        # It is computed in double precision whatever the dtype, and has nothing to lose in float32.
        answer = numerical(subject, arrays.inputs, arrays.parameters, arrays.dout, seed=case.seed)
        by_source["numerical"] = answer.estimate
    if is_available():
        by_source["autograd"] = autograd(record, arrays.inputs, arrays.parameters, arrays.dout, dtype=case.dtype)
    found: dict[str, dict[str, Array]] = {}
    for name in record.differentiated:
        quantity = record.gradient_name(name)
        with np.errstate(over="ignore"):
            fits = np.isfinite(exact.estimate.values[quantity].astype(case.dtype))
        found[quantity] = {
            source: exact.error_in_ulp(quantity, estimate.values[quantity], case.dtype)[fits]
            for source, estimate in by_source.items()
        }
    return exact.bits, found


HOW_TO_READ = """The definition of each layer is differentiated with as many digits as it takes; this is how far each
source is from it, in ulp (units in the last place: the spacing of the dtype at the true value). Each figure is the
worst entry for inputs of one size, a standard deviation from 1 to 700. What is rounded from the truth is off by ½ at
most; a figure in bold has lost six bits or more. PyTorch computes in the dtype of the row here, as its users have it.
The numerical gradient is always computed in double precision, so it stands in the rows of float64 alone; it loses its
digits where a derivative times the complex step is below the smallest float64. Matrix products and networks are
missing: their entries cancel and have no relative accuracy (the tables above hold them against bounds)."""


def truth_section(rows: list[dict[str, Any]], picture: str | None) -> list[str]:
    """The Markdown of the section: how to read it, the table, the picture."""
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    cells = []
    for (layer, quantity, dtype), group in by_gradient(rows).items():
        for source in SOURCES:
            if source == "numerical" and dtype != "float64":
                continue
            at = {row["size"]: row["sources"].get(source) for row in group}
            cells.append(
                (layer, quantity, dtype, NAMES[source], *(_worst(at.get(size), source, group) for size in sizes))
            )
    table = tabulate(
        cells,
        headers=("layer", "gradient", "dtype", "source", *(f"{size:g}" for size in sizes)),
        tablefmt="github",
        disable_numparse=True,
    )
    shown = [f"![Worst error against truth by size of input]({picture})"] if picture else []
    return ["## Errors against truth", HOW_TO_READ, *shown, table]


def by_gradient(rows: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """The rows of each layer, gradient and dtype."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["layer"], row["quantity"], row["dtype"]), []).append(row)
    return groups


def _worst(errors: dict[str, float] | None, source: str, group: list[dict[str, Any]]) -> str:
    if errors is None:
        return "overflows" if source in group[0]["sources"] else "not run"
    worst = float(errors["worst_ulp"])
    text = f"{worst:.2g}" if worst < 1e4 else f"{worst:.0e}".replace("e+0", "e").replace("e+", "e")
    return f"**{text}**" if has_lost(worst) else text


def has_lost(worst_ulp: float) -> bool:
    """Whether a source that is so many ulp off has lost digits."""
    return worst_ulp >= LOST


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def truth_picture(rows: list[dict[str, Any]]) -> bytes:
    """A PNG: the worst error of each source by the size of the input, for the gradients where they differ most."""
    from matplotlib.figure import Figure

    groups = by_gradient(rows)
    gradients = list(dict.fromkeys((layer, quantity) for layer, quantity, _ in groups))
    gradients = sorted(gradients, key=lambda g: -how_far_apart(groups, g))[:PANELS]
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = list(figure.subplots(1, len(gradients), sharey=True, squeeze=False).flat)
    colours = {"backprop": "tab:blue", "numerical": "tab:green", "autograd": "tab:red"}
    for panel, (layer, quantity) in zip(panels, gradients, strict=True):
        for dtype, style in (("float64", "-"), ("float32", "--")):
            group = groups.get((layer, quantity, dtype), [])
            for source in SOURCES:
                points = [(row["size"], row["sources"].get(source)) for row in group]
                known = [(size, max(errors["worst_ulp"], 0.1)) for size, errors in points if errors]
                if known:
                    panel.plot(
                        *zip(*known, strict=True),
                        style,
                        color=colours[source],
                        marker=".",
                        label=f"{NAMES[source]}, {dtype}",
                    )
        panel.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
        panel.set(xscale="log", yscale="log", title=f"{layer}: {quantity}")
        panel.set_xlabel("size of the inputs (standard deviation)")
    panels[0].set_ylabel("worst error in ulp")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize="small")
    figure.suptitle("Who loses digits: error of each source against truth (below the dotted line: rounded correctly)")
    out = io.BytesIO()
    # Without the version of matplotlib the same rows give the same file.
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def how_far_apart(groups: dict[tuple[str, str, str], list[dict[str, Any]]], gradient: tuple[str, str]) -> float:
    """The largest error of any source in a gradient, finite, so that gradients can be put in order."""
    worst = [
        errors["worst_ulp"]
        for dtype in ("float64", "float32")
        for row in groups.get((*gradient, dtype), [])
        for source, errors in row["sources"].items()
        if errors and source != "numerical"
    ]
    return min(max(worst, default=0.0), 1e300)
