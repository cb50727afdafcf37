"""How near the comparisons came to their bounds: a bound that nothing comes near would notice nothing either."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tabulate import tabulate

from oracle.judge.comparison import Comparison

#: Decades of the histogram: margins of exactly 0, then from below 10⁻⁶ up to 1, and what is beyond.
DECADES = 6
ZERO, BEYOND = "0", "> 1"
#: A bound that no comparison comes nearer to than this is listed, and has to be explained.
LOOSE = 1e-3


def bins() -> tuple[str, ...]:
    """The names of the bins of the histogram, in order."""
    between = (f"1e-{k} to 1e-{k - 1}" for k in range(DECADES, 0, -1))
    return (ZERO, f"< 1e-{DECADES}", *(name.replace("1e-0", "1") for name in between), BEYOND)


def histogram(margins: Iterable[float]) -> dict[str, int]:
    """How many margins are in each bin; a margin of 10⁻ᵏ belongs to the decade above it, but 1 is still agreement."""
    names = bins()
    counted = Counter(names[_bin(margin)] for margin in margins)
    return {name: counted[name] for name in names}


def _bin(margin: float) -> int:
    if margin == 0:
        return 0
    if not margin <= 1:
        return DECADES + 2
    # Not by the logarithm: that of 10⁻³ may be rounded to either side.
    return 1 + sum(margin >= float(f"1e-{k}") for k in range(DECADES, 0, -1))


def to_margins(examined: Sequence[tuple[str, Sequence[str], Sequence[Comparison]]]) -> dict[str, Any]:
    """Of (layer, outputs, comparisons): histograms by pair, of outputs and of gradients, and the loose bounds."""
    by_kind: dict[str, list[float]] = {}
    nearest: dict[tuple[str, str, str], list[float]] = {}
    for layer, outputs, comparisons in examined:
        for c in comparisons:
            kind = "outputs" if c.quantity in outputs else "gradients"
            by_kind.setdefault(f"{c.pair}, {kind}", []).append(c.margin)
            if c.pair.startswith("backprop-"):
                nearest.setdefault((layer, c.quantity, c.case.dtype), []).append(c.margin)
    loose = [
        {"layer": layer, "quantity": quantity, "dtype": dtype, "margin": max(margins), "comparisons": len(margins)}
        for (layer, quantity, dtype), margins in nearest.items()
        if max(margins) < LOOSE
    ]
    return {"histogram": {kind: histogram(margins) for kind, margins in by_kind.items()}, "loose": loose}


def margins_section(margins: dict[str, Any]) -> list[str]:
    """The Markdown of the section."""
    kinds = margins["histogram"]
    table = tabulate(
        [(name, *(f"{counts[name]:,}" for counts in kinds.values())) for name in bins()],
        headers=("margin", *kinds),
        tablefmt="github",
        disable_numparse=True,
    )
    parts = [
        "## Margins",
        "How many comparisons came how near to their bound (margin = worst error / bound). Exactly 0 is normal where "
        "both sides round alike, or nothing rounds at all.",
        table,
    ]
    if margins["loose"]:
        listed = [
            (row["layer"], row["quantity"], row["dtype"], f"{row['margin']:.1g}", str(row["comparisons"]))
            for row in margins["loose"]
        ]
        parts += [
            EXPLAINED,
            tabulate(
                listed,
                headers=("layer", "quantity", "dtype", "largest margin", "comparisons"),
                tablefmt="github",
                disable_numparse=True,
            ),
        ]
    return parts


EXPLAINED = """Bounds that no comparison of backprop came within a factor of 1,000 of. Relu, and the accuracy of a
network, round nothing, and the outputs of a product, a sum and a quotient round once, like their own reference: their
margins are 0. The bound of a network adds the sizes of all roundings on the way, which cancel the more the wider its
layers are; the same bound is come near to by the small networks that are drawn. On real digits it is the certificate
(grads·v) whose bound is near."""
