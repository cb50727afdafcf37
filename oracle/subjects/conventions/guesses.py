"""What may be handed in for an argument of a layer that nobody knows, guessed from the argument's name.

An array that may be a parameter (gamma, W, b, Wh), another input (h_prev), a size of the input (num_features), or a
setting (pool_h, stride, p). Of each the likeliest guess stands first; trying decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from oracle.catalog.own import SIZES
from oracle.catalog.record import BATCH
from oracle.subjects.conventions.places import plain

Axes = tuple[str, ...]
#: What may be handed in for an argument: the axes of an array that may be a parameter, or a setting written out.
Choice = Axes | str

WEIGHTS = ("w", "weight", "weights", "kernel", "kernels", "filter", "filters")
#: Weights of a recurrent cell: of its input, Wx or W_ih, and of its state, Wh, W_hh or U; also by gates: Wxf, Whf, Uf.
INPUT_WEIGHTS = re.compile(r"wx[a-z]?|wih|wi|win|wax|winput|inputweights?|inputkernel|weightih|w[a-z]")
RECURRENT_WEIGHTS = re.compile(r"wh[a-xz]?|waa|whidden|recurrentweights?|recurrentkernel|weighthh|u[a-z]?")
BIASES = re.compile(r"b|bias|biases|b[a-mo-rt-z]|bih|bhh|bias(ih|hh)")
#: What looks like such a weight, and is the decay of all.
NO_WEIGHTS = ("wd",)
VECTORS = ("gamma", "beta", "scale", "shift", "g")
SLOPES = ("alpha", "a", "slope", "negativeslope", "leak")
#: The state that a recurrent cell is given: as wide as its output, and not as its input.
STATES = re.compile(r".*prev.*|h|c|s|state|hidden|cell|hiddenstate|cellstate|ht1|ct1|h0|c0|h_?last")
#: Settings by a part of the argument's name, the first that fits.
SETTINGS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("eps",), ("1e-05",)),
    (("momentum", "decay"), ("0.9",)),
    (("stride", "step"), ("1", "2")),
    (("pad",), ("0", "1")),
    (("pool", "kernel", "window", "filtersize", "ksize", "filterh", "filterw"), ("2", "(2, 2)")),
    (("ratio", "rate", "drop", "prob", "keep"), ("0.5",)),
    (("min", "low"), ("-1.0",)),
    (("max", "high", "upper"), ("1.0",)),
    (("seed",), ("0",)),
    (("mode",), ("'train'",)),
    (("training", "istrain", "trainflg"), ("True",)),
)
#: Of a loss: where a kink of it lies, and exponents.
SETTINGS_OF_LOSSES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("delta", "margin", "threshold"), ("1.0",)),
    (("alpha",), ("0.25",)),
    (("gamma", "beta"), ("2.0", "1.0")),
    *SETTINGS,
)
#: Dictionaries of settings, as the assignments of CS231n have them, by a part of the argument's name.
DICTIONARIES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("conv",), "{'stride': 1, 'pad': 1}"),
    (("pool",), "{'pool_height': 2, 'pool_width': 2, 'stride': 2}"),
    (("drop",), "{'mode': 'train', 'p': 0.5, 'seed': 123}"),
    (("bn", "ln", "norm", "sbn", "gn"), "{'mode': 'train'}"),
)
OF_SIZES = ("num", "feature", "dim", "channel", "size", "units", "hidden", "neurons", "width")
#: The same of a whole word.
SIZE_WORDS = frozenset({"in", "out", "n", "d", "c", "nin", "nout"})
#: Of these, those of the output.
OUTPUT_SIZES = ("out", "num_filters", "numfilters")
OUTPUT_WORDS = frozenset({"h", "hid", "hidden", "units", "nh"})
#: Names that mean something else in a calling: what is handed to backward, targets, and the axes of parameters.
TAKEN = frozenset({"x", "t", "dout", "lr", "cache", "output", "forward", *SIZES} - {"W", "H"})


@dataclass(frozen=True)
class Sizes:
    """What is guessed beside: the axes of the input, and how wide a hidden state and the weights of it are.

    The weights of all gates of a cell may lie side by side: then they are so many times as wide as its state.
    """

    axes: Axes
    hidden: str = "M"
    wide: str = "M"
    has_several_inputs: bool = False
    is_loss: bool = False

    @property
    def last(self) -> str:
        """The axis that has an entry for each parameter: features, or channels of an image."""
        return "C" if "C" in self.axes else self.axes[-1]

    @property
    def shape(self) -> str:
        """The shape of a sample, as a constructor may want it: that of the input, which then has no other."""
        return str(tuple(side_of(axis) for axis in self.axes if axis != BATCH))


def sizes_to_try(axes: Axes, names: list[str], *, has_several_inputs: bool, is_loss: bool) -> list[Sizes]:
    """The sizes to guess with, for arguments of these names: a cell with a weight of its state may have gates."""
    tried = [Sizes(axes, has_several_inputs=has_several_inputs, is_loss=is_loss)]
    if has_several_inputs and any(RECURRENT_WEIGHTS.fullmatch(plain(name)) for name in names):
        hidden = SIZES["M"][0]
        # Three of a GRU, four of an LSTM.
        tried += [Sizes(axes, str(hidden), str(gates * hidden), has_several_inputs=True) for gates in (3, 4)]
    return tried


def side_of(axis: str) -> int:
    """What an axis has where it is tried."""
    return int(axis) if axis.isdigit() else SIZES[axis][0]


def choices(name: str, sizes: Sizes) -> list[Choice]:
    """What may be handed in for an argument of a constructor, the likeliest first."""
    known, last = choices_by_name(name, sizes), sizes.last
    if sizes.is_loss:
        # Of a half, what belongs to q and what belongs to 1 − q are the same.
        return known or ["0.25", "2"]
    return known or ["2", str(side_of(last)), "0.5", *([] if name in TAKEN else [(last,)])]


def choices_by_name(name: str, sizes: Sizes) -> list[Choice]:
    """The same of a name that says what it is; nothing for any other."""
    wanted = plain(name)
    is_image, last = "C" in sizes.axes, sizes.last
    if not sizes.is_loss:
        arrays = _parameters(wanted, sizes)
        if arrays:
            return arrays
    for words, written in DICTIONARIES:
        if wanted.endswith(("param", "params", "config", "cfg")) and any(word in wanted for word in words):
            return [written]
    for words, settings in SETTINGS_OF_LOSSES if sizes.is_loss else SETTINGS:
        if any(word in wanted for word in words):
            return list(settings)
    side = str(side_of(last))
    if "shape" in wanted:
        return [sizes.shape]
    if any(word in wanted for word in OF_SIZES) or not SIZE_WORDS.isdisjoint(_words(name)):
        other = str(side_of("FN" if is_image else "M"))
        return [other, side] if is_size_of_output(name) else [side, other]
    return ["0.5"] if wanted == "p" else []


def choices_for_input(name: str, sizes: Sizes) -> list[Choice]:
    """What may be handed to forward beside the first input, under a name that says no setting or parameter."""
    alike, of_state = sizes.axes, (*sizes.axes[:-1], sizes.hidden)
    inputs: list[Choice] = [of_state, alike] if is_state(name) else [alike, of_state]
    # A matrix to multiply by, or a row to add.
    return [*inputs, (sizes.last, "M"), (sizes.last,)]


def is_state(name: str) -> bool:
    """Whether an argument of forward is called like the state of a recurrent cell."""
    return bool(STATES.fullmatch(plain(name)))


def is_size_of_output(name: str) -> bool:
    """Whether an argument is called like the size of an output, or of a state."""
    return plain(name).startswith(OUTPUT_SIZES) or "hidden" in plain(name) or not OUTPUT_WORDS.isdisjoint(_words(name))


def _parameters(wanted: str, sizes: Sizes) -> list[Choice]:
    is_image, last = "C" in sizes.axes, sizes.last
    vectors: list[Choice] = [(last,), ("1", "C", "1", "1") if is_image else ("1", last)]
    if wanted in WEIGHTS:
        if is_image:
            return [("FN", "C", "FH", "FW"), ("FN", "C", "3", "3"), *vectors]
        # Of a bilinear form, one matrix for each output.
        stacked: list[Choice] = [("FN", last, "M"), (last, "M", "FN")] if sizes.has_several_inputs else []
        return [(last, sizes.wide), *vectors, *stacked]
    if BIASES.fullmatch(wanted):
        of_stacked: list[Choice] = [("FN",)] if sizes.has_several_inputs else []
        return [("FN",) if is_image else (sizes.wide,), *vectors, ("1", "FN" if is_image else sizes.wide), *of_stacked]
    if wanted in VECTORS:
        return vectors
    if wanted in SLOPES:
        return [(last,), (), "0.25"]
    if wanted in NO_WEIGHTS or is_image:
        return []
    if RECURRENT_WEIGHTS.fullmatch(wanted):
        # Beside a U, Wh is the weight that makes the candidate of the state from the input.
        return [(sizes.hidden, sizes.wide), (last, sizes.wide)]
    return [(last, sizes.wide)] if INPUT_WEIGHTS.fullmatch(wanted) else []


def _words(name: str) -> list[str]:
    return name.lower().split("_")
