"""The checks: named properties that every subject must have.

A check is one function. Its name is the test id, the column of the report and the word in the message; its
docstring's first line says what it asks. ``@check`` registers it, with the records and the cases that it
makes sense for. It yields a Problem for everything it finds wrong, and nothing when there is nothing.

Adding a property is adding a function here: every record gets it, and the report a column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from oracle.catalog.case import Arrays, Case, select_rows
from oracle.catalog.corners import CORNERS
from oracle.catalog.record import BATCH, Array, LayerSpec
from oracle.judge.causes import CAUSES
from oracle.judge.certificate import Certifier
from oracle.judge.comparison import Comparison, compare
from oracle.judge.diagnosis import Explanation, explain, inside
from oracle.judge.location import locate, with_other_sources
from oracle.judge.trial import BACKPROP_AUTOGRAD, BACKPROP_NUMERICAL, NUMERICAL_AUTOGRAD, PAIRS, Trial
from oracle.judge.verdict import Evidence
from oracle.subjects.interface import SubjectError


@dataclass(frozen=True)
class Problem:
    """What is wrong: the evidence, a sentence, the quantity concerned, the comparison if values were, and the cause.

    ``explanations`` are the causes that would give just these values, the most specific first; which of them is the
    cause is seen from all cases together.
    """

    evidence: Evidence
    sentence: str
    quantity: str = ""
    comparison: Comparison | None = None
    cause_id: str | None = None
    explanations: tuple[Explanation, ...] = ()


CheckFunction = Callable[[Trial], Iterator[Problem]]


@dataclass(frozen=True)
class Check:
    """A registered check. ``compares`` is the pair of sources it compares, if it does that."""

    name: str
    run: CheckFunction
    for_record: Callable[[LayerSpec], bool]
    for_case: Callable[[Case], bool]
    compares: tuple[str, str] | None
    #: Whether it can say something of results of a wrong shape.
    takes_any_shape: bool
    summary: str


CHECKS: dict[str, Check] = {}


def _always(_: object) -> bool:
    return True


def check(
    for_record: Callable[[LayerSpec], bool] = _always,
    for_case: Callable[[Case], bool] = _always,
    compares: tuple[str, str] | None = None,
    takes_any_shape: bool = False,
) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check under the name of its function."""

    def register(function: CheckFunction) -> CheckFunction:
        name = function.__name__
        if name in CHECKS:
            raise ValueError(f"two checks are called {name}")
        summary = (function.__doc__ or "").strip().splitlines()[0]
        CHECKS[name] = Check(name, function, for_record, for_case, compares, takes_any_shape, summary)
        return function

    return register


def has_backward(record: LayerSpec) -> bool:
    return record.has_backward


def _has_dout(record: LayerSpec) -> bool:
    return record.has_backward and record.takes_dout


def _has_batch(record: LayerSpec) -> bool:
    return any(BATCH in argument.axes for argument in record.arguments)


def _is_network(record: LayerSpec) -> bool:
    return record.convention == "network"


def _keeps_batch(case: Case) -> bool:
    return not CORNERS[case.corner].drops_batch_axis


# --------------------------------------------------------------------------- the sources against each other


def _pair(trial: Trial, quantities: tuple[str, ...], pair: tuple[str, str], evidence: Evidence) -> Iterator[Problem]:
    for comparison in trial.compared(quantities, pair):
        trial.comparisons.append(comparison)
        if not comparison.agrees:
            yield _weighed(trial, comparison, pair, evidence)


def _weighed(trial: Trial, comparison: Comparison, pair: tuple[str, str], evidence: Evidence) -> Problem:
    """What a disagreement means: a fault, or lost digits, or an overflow; with what would explain it."""
    quantity = comparison.quantity
    if pair[0] != "backprop":
        return _between_references(trial, comparison)
    actual, expected = trial.values(comparison, pair)
    finite = np.isfinite(comparison.actual) and np.isfinite(comparison.expected)
    if not finite and not comparison.mismatch and trial.overflowed():
        return _overflow(trial, str(comparison), quantity, comparison)
    if not finite and not comparison.mismatch and not trial.record.has_twin and trial.case.corner == "batch of 1":
        # A deviation of 0 has no derivative; nobody knows whether this is one.
        sentence = f"is not finite for a batch of one: {comparison}"
        return Problem(Evidence.CAN_CORRUPT, sentence, quantity, comparison, "lacks_a_property")
    if trial.loses_precision_only(quantity, pair, actual, expected):
        return _loses_digits(comparison)
    lower = inside(trial, quantity, pair, actual, expected)
    if lower:
        sentence = f"{CAUSES[lower].what[:-1]}: {comparison}. {CAUSES[lower].mend}"
        return Problem(Evidence.LOSES_PRECISION, sentence, quantity, comparison, lower)
    explanations = explain(trial, quantity, pair, actual, expected)
    sentence = f"{comparison}{_where_in_the_stack(trial)}"
    return Problem(evidence, sentence, quantity, comparison, explanations=explanations)


def _overflow(trial: Trial, where: str, quantity: str = "", comparison: Comparison | None = None) -> Problem:
    """Values that are not finite although the function is, with the form that stays finite."""
    is_logarithm = "divide by zero encountered in log" in trial.overflowed()
    cause_id = "logarithm_of_zero" if is_logarithm else "overflows"
    what = CAUSES[cause_id].what[:1].lower() + CAUSES[cause_id].what[1:-1]
    stable = f". A form that stays finite: {trial.record.stable_form}" if trial.record.stable_form else ""
    sentence = f"{what} ({where}); {CAUSES[cause_id].mend[:1].lower()}{CAUSES[cause_id].mend[1:-1]}{stable}"
    return Problem(Evidence.CAN_CORRUPT, sentence, quantity, comparison, cause_id)


def _where_in_the_stack(trial: Trial) -> str:
    """For a network: the first layer that differs, as a part of a sentence."""
    return f"; {trial.divergence}" if trial.divergence is not None else ""


def _loses_digits(comparison: Comparison) -> Problem:
    sentence = f"loses digits that the function has (a difference of numbers that are nearly equal): {comparison}"
    cause_id = "difference_of_nearly_equal_numbers"
    return Problem(Evidence.LOSES_PRECISION, sentence, comparison.quantity, comparison, cause_id)


def _between_references(trial: Trial, comparison: Comparison) -> Problem:
    """Two references that disagree: truth says which of them is off, where both differentiate the same function."""
    off = trial.reference_that_is_off(comparison.quantity)
    if off is None:
        return Problem(
            Evidence.REFERENCES_DIFFER, str(comparison), comparison.quantity, comparison, "reference_differs"
        )
    evidence = {"autograd": Evidence.AUTOGRAD_IS_OFF, "numerical": Evidence.NUMERICAL_IS_OFF}[off]
    cause_id = f"{off}_is_off"
    sentence = f"{CAUSES[cause_id].what[:-1]}: {comparison}"
    return Problem(evidence, sentence, comparison.quantity, comparison, cause_id)


@check(compares=BACKPROP_NUMERICAL, takes_any_shape=True)
def forward_matches_numerical(trial: Trial) -> Iterator[Problem]:
    """Outputs in the dtype of the case are those of the same forward in double precision."""
    return _pair(trial, trial.record.outputs, BACKPROP_NUMERICAL, Evidence.FORWARD_DIFFERS_FROM_ITS_DOUBLE)


@check(compares=BACKPROP_AUTOGRAD, takes_any_shape=True)
def forward_matches_autograd(trial: Trial) -> Iterator[Problem]:
    """Outputs are those of the PyTorch twin."""
    return _pair(trial, trial.record.outputs, BACKPROP_AUTOGRAD, Evidence.FORWARD_DIFFERS)


@check(for_record=has_backward, compares=BACKPROP_NUMERICAL, takes_any_shape=True)
def backward_matches_numerical(trial: Trial) -> Iterator[Problem]:
    """Gradients are the derivative of the subject's own forward."""
    yield from _pair(trial, trial.gradients, BACKPROP_NUMERICAL, Evidence.BACKPROP_DIFFERS_FROM_NUMERICAL)
    for quantity in trial.gradients if trial.shapes_are_right and trial.bounds is not None else ():
        comparison = trial.lost_digits(quantity)
        if comparison is not None:
            yield _loses_digits(comparison)


@check(for_record=has_backward, compares=BACKPROP_AUTOGRAD, takes_any_shape=True)
def backward_matches_autograd(trial: Trial) -> Iterator[Problem]:
    """Gradients are those of PyTorch's autograd through the twin."""
    return _pair(trial, trial.gradients, BACKPROP_AUTOGRAD, Evidence.BACKPROP_DIFFERS_FROM_AUTOGRAD)


@check(compares=NUMERICAL_AUTOGRAD, takes_any_shape=True)
def numerical_matches_autograd(trial: Trial) -> Iterator[Problem]:
    """The two references agree with each other, on outputs and on gradients."""
    quantities = (*trial.record.outputs, *trial.gradients)
    return _pair(trial, quantities, NUMERICAL_AUTOGRAD, Evidence.REFERENCES_DIFFER)


# --------------------------------------------------------------------------- what belongs to the caller


def _changed(before: Mapping[str, Array], after: Mapping[str, Array], names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        if name in after and not _identical(before[name], after[name]):
            yield name


def _identical(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


@check(for_record=_has_dout)
def dout_is_not_modified(trial: Trial) -> Iterator[Problem]:
    """The upstream gradient is the same after backward as before."""
    assert trial.backward is not None
    for _ in _changed({"dout": trial.arrays().dout}, trial.backward.arguments, ("dout",)):
        yield Problem(
            Evidence.CAN_CORRUPT,
            "backward writes into dout: whoever adds up or reuses the upstream "
            "gradient afterwards gets another one; copy it first (dx = dout.copy())",
            "dout",
            cause_id="dout_overwritten",
        )


@check()
def inputs_are_not_modified(trial: Trial) -> Iterator[Problem]:
    """Inputs and targets are the same after forward as before."""
    assert trial.forward is not None
    before = trial.arrays().inputs
    for name in _changed(before, trial.forward.arguments, tuple(before)):
        sentence = f"forward writes into {name}, which belongs to the caller"
        yield Problem(Evidence.CAN_CORRUPT, sentence, name, cause_id="input_overwritten")


@check(for_record=lambda record: bool(record.parameters))
def parameters_are_not_modified(trial: Trial) -> Iterator[Problem]:
    """Parameters are the same after forward and backward as before."""
    before = trial.arrays().parameters
    for reply, step in ((trial.forward, "forward"), (trial.backward, "backward")):
        assert reply is not None  # what has parameters has a backward
        for name in _changed(before, reply.arguments, tuple(before)):
            sentence = f"{step} writes into {name}"
            yield Problem(Evidence.CAN_CORRUPT, sentence, name, cause_id="parameter_overwritten")


@check()
def results_own_their_memory(trial: Trial) -> Iterator[Problem]:
    """Results share no memory with arguments, and writing into them changes nothing that comes later."""
    for reply, step in ((trial.forward, "forward"), (trial.backward, "backward")):
        for result, argument in reply.aliases if reply is not None else ():
            sentence = f"{result} of {step} shares memory with {argument}"
            yield Problem(Evidence.WORTH_KNOWING, sentence, result, cause_id="result_shares_memory")
    if not trial.record.has_backward:
        return
    given, handle = trial.opened()
    handle.scribble(handle.forward(given.inputs).token)
    first = handle.backward(given.dout)
    yield from _shared(trial, first.values, "the output of forward")
    handle.scribble(first.token)
    yield from _shared(trial, handle.backward(trial.arrays().dout).values, "the gradients of an earlier backward")


def _shared(trial: Trial, values: Mapping[str, Array], overwritten: str) -> Iterator[Problem]:
    """What came out otherwise after ``overwritten`` was overwritten by whoever got it."""
    for problem in _differences(trial, values, "", _note, cause_id="result_shares_memory"):
        sentence = f"whoever writes into {overwritten} changes {problem.quantity}: backward uses that very array"
        yield Problem(problem.evidence, sentence, problem.quantity, problem.comparison, problem.cause_id)


@check()
def earlier_results_stay(trial: Trial) -> Iterator[Problem]:
    """What was handed out earlier is not overwritten by a later forward and backward."""
    given, handle = trial.opened()
    replies = [handle.forward(given.inputs)]
    if trial.record.has_backward:
        replies.append(handle.backward(given.dout))
    other = trial.other()
    handle.forward(other.inputs)
    if trial.record.has_backward:
        handle.backward(other.dout)
    for reply in replies:
        now = handle.recall(reply.token)
        for name in _changed(reply.values, now, tuple(reply.values)):
            sentence = f"{name} handed out earlier is overwritten by the next call"
            yield Problem(Evidence.CAN_CORRUPT, sentence, name, cause_id="earlier_result_overwritten")


# --------------------------------------------------------------------------- state


def _output_or_gradient(trial: Trial, quantity: str) -> Evidence:
    is_output = quantity in trial.record.outputs
    return Evidence.FORWARD_LACKS_PROPERTY if is_output else Evidence.BACKWARD_LACKS_PROPERTY


def _hazard(trial: Trial, quantity: str) -> Evidence:
    return Evidence.CAN_CORRUPT


def _note(trial: Trial, quantity: str) -> Evidence:
    return Evidence.WORTH_KNOWING


def _differences(
    trial: Trial,
    values: Mapping[str, Array],
    when: str,
    evidence: Callable[[Trial, str], Evidence],
    expected: Mapping[str, Array] | None = None,
    *,
    cause_id: str = "lacks_a_property",
) -> Iterator[Problem]:
    """``values`` against those of the trial's own forward and backward (or ``expected``), within rounding."""
    wanted = trial.estimates["backprop"].values if expected is None else expected
    for quantity, actual in values.items():
        bound = trial.rounding(quantity)
        left_out = trial.not_comparable(quantity, bound, actual.shape)
        comparison = compare(quantity, f"backprop {when}", trial.case, actual, wanted[quantity], bound, left_out)
        if not comparison.agrees:
            yield Problem(evidence(trial, quantity), str(comparison), quantity, comparison, cause_id)


@check(for_record=has_backward)
def backward_is_repeatable(trial: Trial) -> Iterator[Problem]:
    """A second backward gives the same gradients: nothing accumulates."""
    given, handle = trial.opened()
    handle.forward(given.inputs)
    handle.backward(given.dout)
    again = handle.backward(trial.arrays().dout).values
    yield from _differences(trial, again, "called a second time", _hazard, cause_id="accumulates_over_calls")


@check(for_record=has_backward)
def newest_forward_wins(trial: Trial) -> Iterator[Problem]:
    """Backward belongs to the newest forward, also after a forward and backward on something else."""
    other = trial.other()
    given, handle = trial.opened()
    handle.forward(other.inputs)
    handle.backward(other.dout)
    handle.forward(given.inputs)
    yield from _differences(
        trial, handle.backward(given.dout).values, "after another forward", _hazard, cause_id="stale_cache"
    )


@check(for_record=has_backward)
def instances_are_independent(trial: Trial) -> Iterator[Problem]:
    """Two instances used in turn do not see each other's state."""
    other, second = trial.other(), trial.subject.open(trial.arrays().parameters)
    given, first = trial.opened()
    first.forward(given.inputs)
    second.forward(other.inputs)
    second.backward(other.dout)
    yield from _differences(
        trial,
        first.backward(given.dout).values,
        "while another instance is in use",
        _hazard,
        cause_id="state_shared_between_instances",
    )


@check(for_record=has_backward, for_case=lambda case: case.is_plain)
def backward_before_forward_is_refused(trial: Trial) -> Iterator[Problem]:
    """Backward of a new instance raises instead of answering."""
    given, handle = trial.opened()
    try:
        handle.backward(given.dout)
    except SubjectError:
        return
    sentence = "backward before any forward answers instead of raising"
    yield Problem(Evidence.WORTH_KNOWING, sentence, cause_id="backward_before_forward_answers")


# --------------------------------------------------------------------------- the algebra of backward


@check(for_record=_has_dout)
def backward_is_linear_in_dout(trial: Trial) -> Iterator[Problem]:
    """Twice the upstream gradient gives twice the gradients; a sum of two gives the sum."""
    evidence = Evidence.CAN_CORRUPT if trial.record.is_loss else Evidence.BACKWARD_LACKS_PROPERTY
    if trial.ignores_dout:
        yield Problem(
            evidence,
            "backward ignores dout: the gradient is right only where dout is 1, so the loss "
            "cannot be weighted or be a part of another; multiply by dout",
            "dx",
            cause_id="loss_ignores_dout",
        )
        return
    given = trial.arrays()
    one = given.dout.astype(trial.dtype)
    other = trial.rng().normal(size=one.shape).astype(trial.dtype)
    # Six binary digits after the point: the sum of the two is then exact, and is what is handed in.
    one, other = (np.asarray(np.ldexp(np.round(np.ldexp(part, 6)), -6), trial.dtype) for part in (one, other))
    # An instance for each: whether gradients accumulate over calls is another question.
    of_one, of_other, of_sum = (_evaluate(trial, given.inputs, np.array(d)) for d in (one, other, one + other))
    for quantity in trial.gradients:
        expected = of_one[quantity].astype(np.float64) + of_other[quantity]
        bound = trial.rounding_for(quantity[1:], np.abs(one) + np.abs(other))
        left_out = trial.not_comparable(quantity, bound, expected.shape)
        comparison = compare(quantity, "backprop of a sum", trial.case, of_sum[quantity], expected, bound, left_out)
        if not comparison.agrees:
            sentence = f"not linear in dout: {comparison}"
            yield Problem(evidence, sentence, quantity, comparison, "lacks_a_property")


@check(for_record=_has_dout)
def zero_dout_gives_zero(trial: Trial) -> Iterator[Problem]:
    """An upstream gradient of zeros gives gradients of zeros."""
    if trial.ignores_dout:
        sentence = "backward ignores dout: for dout = 0 it is not 0"
        yield Problem(Evidence.CAN_CORRUPT, sentence, "dx", cause_id="loss_ignores_dout")
        return
    given, handle = trial.opened()
    handle.forward(given.inputs)
    for quantity, values in handle.backward(np.zeros_like(given.dout)).values.items():
        if np.any(values != 0) and np.isfinite(trial.estimates["backprop"].values[quantity]).all():
            evidence = Evidence.CAN_CORRUPT if trial.record.is_loss else Evidence.BACKWARD_LACKS_PROPERTY
            sentence = f"{quantity} is not 0 for dout = 0"
            yield Problem(evidence, sentence, quantity, cause_id="lacks_a_property")


# --------------------------------------------------------------------------- dtype, shape, layout


@check()
def dtype_is_kept(trial: Trial) -> Iterator[Problem]:
    """Results have the dtype of the arguments; integers give float64."""
    for quantity, values in trial.estimates["backprop"].values.items():
        if quantity != "accuracy" and values.dtype != trial.dtype:
            given = "integer" if CORNERS[trial.case.corner].entries == "integers" else trial.dtype
            sentence = f"{quantity} is {values.dtype} for {given} arguments"
            yield Problem(Evidence.WORTH_KNOWING, sentence, quantity, cause_id="dtype_promoted")


@check(takes_any_shape=True)
def shape_is_kept(trial: Trial) -> Iterator[Problem]:
    """A gradient has the shape of what it is the gradient of, and an output that of the definition."""
    given = trial.arrays()
    shapes = {trial.record.outputs[0]: given.dout.shape}
    for name, values in {**given.inputs, **given.parameters}.items():
        shapes[trial.record.gradient_name(name)] = values.shape
    for quantity, values in trial.estimates["backprop"].values.items():
        if quantity in shapes and values.shape != shapes[quantity]:
            sentence = f"{quantity} has shape {values.shape}, but {shapes[quantity]} is required"
            yield Problem(_output_or_gradient(trial, quantity), sentence, quantity, cause_id="wrong_shape")


@check(for_case=lambda case: case.layout != "contiguous")
def layout_does_not_matter(trial: Trial) -> Iterator[Problem]:
    """Non-contiguous, Fortran-ordered and read-only arrays give what contiguous copies give."""
    given = trial.arrays()
    inputs, parameters = ({k: np.array(v, order="C") for k, v in d.items()} for d in (given.inputs, given.parameters))
    handle = trial.subject.open(parameters)
    values = dict(handle.forward(inputs).values)
    if trial.record.has_backward:
        values.update(handle.backward(np.array(given.dout, order="C")).values)
    when = f"of contiguous copies instead of {trial.case.layout} arrays"
    yield from _differences(trial, values, when, _output_or_gradient)


# --------------------------------------------------------------------------- batches


def _batched(record: LayerSpec) -> set[str]:
    """The quantities with a row for each row of the batch."""
    names = {record.gradient_name(a.name) for a in record.arguments if BATCH in a.axes}
    if BATCH in record.output_shape:
        names.add(record.outputs[0])
    return names | ({"scores"} & set(record.outputs))


def _evaluate(trial: Trial, inputs: Mapping[str, Array], dout: Array) -> dict[str, Array]:
    handle = trial.subject.open(trial.arrays().parameters)
    # Copies: a subject that writes into what it is given must not change what is asked next.
    values = dict(handle.forward({name: np.copy(given, order="K") for name, given in inputs.items()}).values)
    if trial.record.has_backward:
        values.update(handle.backward(np.copy(dout, order="K")).values)
    return values


@check(for_record=lambda record: record.rows_are_independent, for_case=_keeps_batch)
def batch_rows_are_independent(trial: Trial) -> Iterator[Problem]:
    """Each row of a batch gives, alone, what it gives among the others."""
    given = trial.arrays()
    of_batch = trial.estimates["backprop"].values
    batched = _batched(trial.record)
    for row in range(len(given.dout)):
        alone = select_rows(trial.case, trial.record, given.everything(), slice(row, row + 1))
        values = _evaluate(trial, {name: alone[name] for name in given.inputs}, alone["dout"])
        for quantity in sorted(batched & values.keys()):
            this_row = slice(row, row + 1)
            bound, expected = trial.rounding(quantity)[this_row], of_batch[quantity][this_row]
            left_out = trial.not_comparable(quantity, trial.rounding(quantity), of_batch[quantity].shape)[this_row]
            when = f"backprop of row {row} alone"
            comparison = compare(quantity, when, trial.case, values[quantity], expected, bound, left_out)
            if not comparison.agrees:
                evidence = _output_or_gradient(trial, quantity)
                yield Problem(evidence, str(comparison), quantity, comparison, "lacks_a_property")


# A layer that nobody knows may depend on the order: a dropout's mask does.
@check(for_record=lambda record: _has_batch(record) and record.has_twin, for_case=_keeps_batch)
def batch_order_does_not_matter(trial: Trial) -> Iterator[Problem]:
    """Rows in another order give the same loss and parameter gradients, and the other results in that order."""
    given = trial.arrays()
    rows = trial.rng().permutation(len(next(iter(given.inputs.values()))))
    moved = select_rows(trial.case, trial.record, given.everything(), rows)
    values = _evaluate(trial, {name: moved[name] for name in given.inputs}, moved["dout"])
    batched = _batched(trial.record)
    back = np.argsort(rows)
    restored = {q: v[back] if q in batched and v.shape[:1] == rows.shape else v for q, v in values.items()}
    yield from _differences(trial, restored, "of the rows in another order", _output_or_gradient)


@check(for_record=lambda record: record.averages_over_batch, for_case=_keeps_batch)
def loss_is_an_average_over_the_batch(trial: Trial) -> Iterator[Problem]:
    """A batch followed by itself has the same loss, the same parameter gradients, and half of the dx twice."""
    given = trial.arrays()
    size = len(next(iter(given.inputs.values())))
    twice = select_rows(trial.case, trial.record, given.everything(), [*range(size), *range(size)])
    values = _evaluate(trial, {name: twice[name] for name in given.inputs}, twice["dout"])
    halves = {q: 2 * v[:size] if q.startswith("d") and v.shape[:1] == (2 * size,) else v for q, v in values.items()}
    halves.pop("scores", None)
    yield from _differences(trial, halves, "of the batch followed by itself", _output_or_gradient)


@check(for_record=_has_batch, for_case=lambda case: CORNERS[case.corner].drops_batch_axis)
def single_sample_equals_batch_of_one(trial: Trial) -> Iterator[Problem]:
    """A sample without a batch axis gives what it gives as a batch of one row."""
    given = trial.arrays()
    batched = _batched(trial.record)
    rows = {n: v[None] if trial.record.gradient_name(n) in batched else v for n, v in given.inputs.items()}
    dout = given.dout[None] if trial.record.outputs[0] in batched else given.dout
    values = _evaluate(trial, rows, dout)
    first = {q: v[0] if q in batched and v.ndim else v for q, v in values.items()}
    yield from _differences(trial, first, "of the same sample as a batch of one", _output_or_gradient)


# --------------------------------------------------------------------------- losses


def _with_labels(case: Case) -> bool:
    return case.targets == "labels"


def _one_hot(labels: Array, scores: Array, dtype: np.dtype) -> Array:
    return (np.arange(scores.shape[-1]) == labels[..., None]).astype(dtype)


@check(for_record=lambda record: record.has_class_targets and not _is_network(record), for_case=_with_labels)
def one_hot_equals_label_index(trial: Trial) -> Iterator[Problem]:
    """Labels and the same targets as one-hot rows give the same results."""
    given = trial.arrays()
    scores, labels = given.inputs.values()
    inputs = dict(zip(given.inputs, (scores, _one_hot(labels, scores, trial.dtype)), strict=True))
    values = _evaluate(trial, inputs, given.dout)
    yield from _differences(trial, values, "of one-hot targets instead of labels", _output_or_gradient)


@check(
    for_record=lambda record: record.has_class_targets,
    for_case=lambda case: _with_labels(case) and _keeps_batch(case) and dict(case.shapes)["t"][-1] > 1,
)
def column_labels_are_refused(trial: Trial) -> Iterator[Problem]:
    """Labels of shape (N, 1) raise, or give what labels of shape (N,) give."""
    given, handle = trial.opened()
    name = trial.record.of_role("target")[0].name
    try:
        values = handle.forward({**given.inputs, name: given.inputs[name][:, None]}).values
    except SubjectError:
        return
    of_labels = trial.estimates["backprop"].values
    loss = trial.record.outputs[0]
    for problem in _differences(trial, {loss: values[loss]}, "of labels as a column", _output_or_gradient, of_labels):
        # Nobody promised to take them: right for what it is given as a rule, and wrong without a word for these.
        yield Problem(
            Evidence.CAN_CORRUPT,
            f"labels of shape (N, 1) are taken for something else without a word: {problem.sentence}",
            loss,
            problem.comparison,
            "lacks_a_property",
        )


@check(for_record=lambda record: record.shift_invariant and record.is_loss)
def gradient_rows_sum_to_zero(trial: Trial) -> Iterator[Problem]:
    """Each row of the gradient of a softmax loss sums to 0: adding a constant to the scores changes nothing."""
    dx = trial.estimates["backprop"].values["dx"].astype(np.float64)
    # What the rounding of every entry can add up to.
    bound = trial.rounding("dx").sum(axis=-1)
    sums, zeros = dx.sum(axis=-1), np.zeros(dx.shape[:-1])
    # What overflows is said to do so elsewhere.
    left_out = ~np.isfinite(bound) | (~np.isfinite(sums) & bool(trial.overflowed()))
    comparison = compare("dx", "row sums of backprop", trial.case, sums, zeros, bound, left_out)
    if not comparison.agrees:
        yield Problem(
            Evidence.BACKWARD_LACKS_PROPERTY,
            f"a row of dx does not sum to 0: {comparison}",
            "dx",
            comparison,
            "lacks_a_property",
        )


@check(for_record=lambda record: record.shift_invariant)
def constant_added_to_scores_changes_nothing(trial: Trial) -> Iterator[Problem]:
    """Scores moved by a constant give the same results."""
    given = trial.arrays()
    name = trial.record.differentiable_inputs[0]
    # Ten binary digits after the point leave room for 64 in float32, so that the sum is exact and any
    # difference is the subject's.
    scores = np.asarray(np.round(given.inputs[name].astype(np.float64) * 1024) / 1024, trial.dtype)
    expected, actual = (
        _evaluate(trial, {**given.inputs, name: np.asarray(scores + shift, trial.dtype)}, given.dout)
        for shift in (0, 64)
    )
    yield from _differences(trial, actual, "of scores + 64", _output_or_gradient, expected)


@check(
    for_record=lambda record: "extreme values" in record.corners,
    for_case=lambda case: case.corner == "extreme values",
)
def extreme_values_are_finite(trial: Trial) -> Iterator[Problem]:
    """Inputs of ±10,000 give finite results, and no overflow on the way."""
    for quantity, values in trial.estimates["backprop"].values.items():
        if not np.isfinite(values).all():
            yield _overflow(trial, f"{quantity} is not finite for inputs of ±1e4", quantity)
    if trial.overflowed():
        yield _overflow(trial, trial.overflowed())


# --------------------------------------------------------------------------- kinks


@check(
    for_record=lambda record: record.kink_distance is not None and record.has_backward,
    compares=BACKPROP_AUTOGRAD,
)
def kink_convention_is_that_of_pytorch(trial: Trial) -> Iterator[Problem]:
    """Where the derivative does not exist, backward gives the value that PyTorch gives, or one between the slopes."""
    assert trial.bounds is not None
    for quantity, at_kink in trial.bounds.open_branch.items():
        ours, theirs = (trial.estimates[source].values[quantity][at_kink] for source in BACKPROP_AUTOGRAD)
        if not at_kink.any():
            continue
        least, most = (slopes[at_kink] for slopes in trial.slopes_beside_kinks(quantity))
        nearest, rounding = np.clip(ours, least, most), trial.rounding(quantity)
        expected = np.where(at_kink, 0.0, trial.estimates["backprop"].values[quantity])
        expected[at_kink] = nearest
        pair = "backprop-slopes beside the kink"
        actual = trial.estimates["backprop"].values[quantity]
        comparison = compare(quantity, pair, trial.case, actual, expected, rounding, ~at_kink)
        if not comparison.agrees:
            sentence = f"at a kink {comparison}: it is not between the slopes on either side"
            # The entries beside the kinks say whether it is the kinks alone.
            theirs = trial.estimates["autograd"].values[quantity]
            beside = trial.compare(quantity, BACKPROP_AUTOGRAD, actual, theirs)
            cause_id = "only_at_zero" if beside.agrees else "lacks_a_property"
            yield Problem(Evidence.BACKWARD_LACKS_PROPERTY, sentence, quantity, comparison, cause_id)
        elif not np.array_equal(ours, theirs):
            sentence = f"{quantity} at a kink follows another convention than PyTorch: {ours[0]} instead of {theirs[0]}"
            yield Problem(Evidence.WORTH_KNOWING, sentence, quantity, cause_id="kink_convention")


# --------------------------------------------------------------------------- networks

#: All gradients of a network times a random direction: the quantity that a certificate compares.
ALL_GRADIENTS = "grads·v"


@check(for_record=lambda record: bool(record.stack), compares=BACKPROP_NUMERICAL)
def certificate_holds(trial: Trial) -> Iterator[Problem]:
    """All gradients together are the derivative along random directions, within a nearer bound than entry by entry."""
    given = trial.arrays()
    certifier = Certifier(trial.subject, given.parameters, seed=trial.case.seed)
    point = certifier.at(given.inputs)
    certificate = point.certificate()
    # The signs of a direction are random: an ulp of every entry moves the sum by about an ulp of this norm.
    size = math.hypot(
        *(certificate.scales[quantity] * float(np.linalg.norm(g)) for quantity, g in certificate.gradients.items())
    )
    comparisons = [
        compare(
            ALL_GRADIENTS,
            "-".join(BACKPROP_NUMERICAL),
            trial.case,
            np.asarray(direction.backprop),
            np.asarray(direction.numerical),
            np.asarray(direction.bound),
            size=size,
        )
        for direction in certificate.directions
    ]
    trial.comparisons.extend(comparisons)
    if not certificate.passed:
        worst = max(comparisons, key=lambda c: c.margin)
        ratio, lower = trial.lower_precision
        if lower and (worst.margin <= ratio or trial.forward_lacks_digits):
            sentence = f"{CAUSES[lower].what[:-1]}: along a random direction {worst}"
            yield Problem(Evidence.LOSES_PRECISION, sentence, ALL_GRADIENTS, worst, lower)
            return
        found = with_other_sources(locate(point), point)
        what = found or "no single entry is beyond its bound"
        sentence = f"along a random direction {worst}; {what}{_where_in_the_stack(trial)}"
        evidence = Evidence.BACKPROP_DIFFERS_FROM_NUMERICAL
        yield Problem(evidence, sentence, ALL_GRADIENTS, worst, "certificate_fails")


@check(for_record=_is_network)
def assigned_parameters_are_used(trial: Trial) -> Iterator[Problem]:
    """``net.params[name] = values`` reaches the layers."""
    given, handle = trial.opened()
    for name in trial.record.parameters:
        handle.assign_parameter(name, -given.parameters[name])
    values = handle.forward(given.inputs).values
    negated = {name: -values for name, values in trial.arrays().parameters.items()}
    expected = trial.subject.open(negated).forward(given.inputs).values
    # Half of the digits: an array in another layout is summed in another order, and an old one gives another number.
    half = float(np.finfo(trial.dtype).eps) ** 0.5
    for quantity in {"loss", "scores"} & values.keys():
        size = max(float(np.abs(expected[quantity]).max(initial=0.0)), float(np.finfo(trial.dtype).tiny))
        if not np.allclose(values[quantity], expected[quantity], rtol=half, atol=half * size, equal_nan=True):
            yield Problem(
                Evidence.CAN_CORRUPT,
                "assigning to params[...] trains nothing: the layers keep the old array; "
                "copy the values into it (params[name][...] = values)",
                quantity,
                cause_id="assigned_parameters_unused",
            )
            return


#: What the central difference with h = 1e-4 may be off by, in units of the largest entry of the gradient. Truncation,
#: h²/6·f''', and rounding, eps·loss/h, are below 1e-8 each for a third derivative of the size of the gradient; this
#: is a guard against differences in the wrong dtype or array (off by a quarter), not a bound.
OWN_NUMERICAL_TOLERANCE = 1e-4


def _median_error(values: Array, gradient: Array) -> float:
    # The median: a kink within h of the point spoils the few entries that hang on it.
    return float(np.median(np.abs(values - gradient))) / max(float(np.abs(gradient).max()), 1e-3)


@check(for_record=_is_network, for_case=lambda case: case.is_plain and case.data == "random")
def own_numerical_gradient_agrees(trial: Trial) -> Iterator[Problem]:
    """The network's own ``numerical_gradient`` is near the derivative of its loss and leaves the parameters alone."""
    _, handle = trial.opened()
    # Fresh arrays each time: whether forward writes into what it is given is another question.
    before = handle.forward(trial.arrays().inputs).values
    own = handle.numerical_gradient(trial.arrays().inputs)
    # Not that of backprop, which may be the one that is wrong.
    references = [trial.estimates[source].values for source in NUMERICAL_AUTOGRAD if source in trial.estimates]
    for quantity, values in own.items():
        error = min(_median_error(values, gradients[quantity]) for gradients in references)
        if not error <= OWN_NUMERICAL_TOLERANCE:
            sentence = f"numerical_gradient of {quantity} is off by {error:.2g} of the largest entry (median)"
            yield Problem(Evidence.BACKWARD_LACKS_PROPERTY, sentence, quantity, cause_id="own_numerical_gradient_wrong")
    after = handle.forward(trial.arrays().inputs).values
    if not np.array_equal(before["loss"], after["loss"]):
        sentence = "numerical_gradient leaves the parameters changed"
        yield Problem(Evidence.CAN_CORRUPT, sentence, "loss", cause_id="parameter_overwritten")


def checks_for(record: LayerSpec) -> tuple[Check, ...]:
    """The checks that make sense for ``record``, in the order of this file."""
    return tuple(c for c in CHECKS.values() if c.for_record(record))


__all__ = ["CHECKS", "PAIRS", "Arrays", "Check", "Problem", "check", "checks_for"]
