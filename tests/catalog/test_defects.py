"""The catalogue of planted defects: what is in it, that each of them is one, and that nobody sees their names."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from oracle.catalog.case import materialise
from oracle.catalog.records import RECORDS
from oracle.catalog.strategies import generated_cases
from oracle.judge.causes import CAUSES
from oracle.judge.examination import examine
from oracle.judge.verdict import PRECEDENCE, RIGHT
from oracle.subjects.defects.catalogue import by_name, defects_of, transcript
from oracle.subjects.defects.particular import PARTICULAR
from oracle.subjects.defects.planted import Planted, PlantedSubject, copied, planting
from oracle.subjects.defects.rules import ALTERATIONS, GRADIENT_ALTERATIONS, HABITS
from oracle.subjects.in_process import implementation_of
from oracle.subjects.interface import SubjectError

#: The catalogue of these takes a second.
QUICK = ("AddLayer", "softmax", "IdentityWithLoss")


@pytest.fixture(scope="module")
def quick():
    """The defects of a few records, by the record's name."""
    return {name: list(defects_of(RECORDS[name])) for name in QUICK}


def one_case(record, **changes):
    (case,) = generated_cases(RECORDS[record], "float64", "ordinary", 1, seed=4)
    return replace(case, seed=4, **changes)


def test_names_are_unique_and_every_record_has_defects():
    listed = [defect for record in RECORDS for defect in by_name(record).values()]
    assert len({defect.name for defect in listed}) == len(listed)
    assert min(Counter(defect.record for defect in listed).values()) > 20


def test_verdicts_and_causes_are_those_that_the_judge_knows():
    for record in RECORDS:
        for defect in by_name(record).values():
            assert defect.verdict in set(PRECEDENCE) - {RIGHT}
            assert defect.cause_id is None or defect.cause_id in CAUSES


def test_rules_alone_make_more_than_a_hundred_defects(quick):
    particular = {defect.name for defect in PARTICULAR}
    assert sum(defect.name not in particular for defects in quick.values() for defect in defects) > 110


def test_every_rule_is_planted_somewhere_or_does_not_fit_the_records_asked(quick):
    names = " · ".join(defect.name for defects in quick.values() for defect in defects)
    for rule in (*ALTERATIONS, *GRADIENT_ALTERATIONS, *HABITS):
        # Of class targets, and of parameters: none of these records has any.
        needs_others = any(word in rule.text for word in ("labels", "one-hot", "soft targets", "updates a parameter"))
        assert rule.text in names or needs_others, rule.text


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ("AddLayer", "backward belongs to the first forward"),  # nothing hangs on its cache
        ("AddLayer", "multiplied by N"),  # it has no batch
        ("softmax", "overwrites dout"),  # it has no backward
        ("IdentityWithLoss", "wrong for labels"),  # it takes none
        ("IdentityWithLoss", "loss has one entry wrong"),  # it has one
        ("softmax", "forward overwrites its targets"),
    ],
)
def test_rule_that_changes_nothing_is_not_planted(record, text, quick):
    assert not any(text in defect.name for defect in quick[record])


@pytest.mark.parametrize("defect", PARTICULAR, ids=lambda defect: defect.name)
def test_defect_particular_to_a_layer_does_something_else_than_the_right_one(defect):
    """In a case of its record: nothing of the judge is asked."""
    record = RECORDS[defect.record]
    right = implementation_of(record)
    corners = ["ordinary", *record.corners]
    cases = [case for corner in corners for case in generated_cases(record, "float64", corner, 6, seed=0)]
    assert any(differ(transcript(right, case), transcript(defect.subject(), case)) for case in cases) or needs_more(
        defect
    )


def needs_more(defect):
    """What shows in other calls only: labels as a column, another numerical gradient, a loss times dout, …"""
    return defect.name.rpartition(": ")[2] in {
        "labels as a column",
        "numerical_gradient is doubled",
        "b1 is left moved",
        "params is another dictionary",
        "exp(−x) overflows",
        "exp(x) overflows",
        "x is kept in the class",
    }


def differ(one, other):
    one, other = list(one), list(other)
    return len(one) != len(other) or any(
        a.keys() != b.keys() or any(not np.array_equal(a[key], b[key], equal_nan=True) for key in a)
        for a, b in zip(one, other, strict=True)
    )


def test_right_instance_with_nothing_planted_is_right():
    """What the mistakes are planted in changes nothing by itself."""
    for name in ("MulLayer", "Affine", "softmax"):
        record = RECORDS[name]
        subject = planting(Planted)(record)
        assert isinstance(subject, PlantedSubject)
        cases = [
            case
            for corner in ("ordinary", *record.corners)
            for case in generated_cases(record, "float64", corner, 1, 2)
        ]
        assert examine(subject, cases, dtype="float64", required=True).verdict == RIGHT


def test_no_subject_knows_the_name_of_its_defect():
    for record in RECORDS:
        for name, defect in by_name(record).items():
            subject = defect.subject()
            assert subject.label == subject.record.name == record
            assert name not in repr(vars(subject))


def test_rules_of_parameters_and_of_class_targets_change_something_where_there_are_such():
    """In an ordinary case with each form of targets."""
    shown = set()
    for name in ("Affine", "SoftmaxWithLoss", "TwoLayerNet"):
        record = RECORDS[name]
        cases = [one_case(name, targets=form) for form in record.target_forms or ("",)]
        right = implementation_of(record)
        transcripts = [list(transcript(right, case)) for case in cases]
        for defect in by_name(name).values():
            subject = defect.subject()
            if any(differ(one, transcript(subject, case)) for one, case in zip(transcripts, cases, strict=True)):
                shown.add(defect.name)
    for text in (
        "wrong for labels",
        "wrong for one-hot targets",
        "wrong for soft targets",
        "backward updates a parameter",
        "forward does not use b",
        "db is not summed over the batch",
    ):
        assert any(text in name for name in shown), text


def test_mistakes_are_tried_where_the_right_value_is_finite_and_in_corners_of_others():
    """A reciprocal of 0 has no value to depart from, and its record has no corner of zeros."""
    defects = list(defects_of(RECORDS["ReciprocalLayer"]))
    assert all(defect.record == "ReciprocalLayer" for defect in defects)
    assert len(defects) > 20


def opened(name):
    """The subject of a defect of TwoLayerNet and the right one at one case, with its inputs."""
    record = RECORDS["TwoLayerNet"]
    arrays = materialise(one_case("TwoLayerNet"), record)
    subjects = by_name("TwoLayerNet")[f"TwoLayerNet: {name}"].subject(), implementation_of(record)
    return *(subject.open(copied(arrays.parameters)) for subject in subjects), arrays.inputs


def test_defects_of_the_numerical_gradient_of_a_network_are_in_nothing_else():
    doubled, right, inputs = opened("numerical_gradient is doubled")
    expected = right.numerical_gradient(inputs)
    for name, values in doubled.numerical_gradient(inputs).items():
        assert np.array_equal(values, 2 * expected[name])

    moved, right, inputs = opened("b1 is left moved")
    loss = moved.value(inputs)
    assert loss == right.value(inputs)
    moved.numerical_gradient(inputs)
    assert moved.value(inputs) != loss


def test_planted_network_hands_on_what_the_judge_asks_of_a_network():
    planted, right, inputs = opened("backward overwrites dout")
    expected = right.numerical_gradient(inputs)
    assert all(np.array_equal(values, expected[name]) for name, values in planted.numerical_gradient(inputs).items())
    assert planted.trace(inputs) is None
    planted.assign_parameter("b1", np.full(expected['grads["b1"]'].shape, 100.0))
    assert planted.value(inputs) != right.value(inputs)
    dout = np.ones(())
    planted.forward(inputs)
    planted.backward(dout)
    assert dout == 1  # a network takes none


def test_loss_written_by_hand_forgets_rows_of_a_label_that_comes_twice_and_refuses_columns():
    x = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
    defect = by_name("SoftmaxWithLoss")["SoftmaxWithLoss: one loss for each class"]
    forgets, right = defect.subject().open({}), implementation_of(RECORDS["SoftmaxWithLoss"]).open({})
    different, twice = {"x": x, "t": np.array([0, 2])}, {"x": x, "t": np.array([1, 1])}
    assert forgets.value(different) == pytest.approx(right.value(different), rel=1e-15)
    assert forgets.value(twice) < right.value(twice)
    with pytest.raises(SubjectError, match="labels are one number for each row"):
        forgets.value({"x": x, "t": np.array([[0], [2]])})


def test_labels_as_a_column_are_taken_from_every_row():
    x, labels = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]]), np.array([0, 2])
    defect = by_name("SoftmaxWithLoss")["SoftmaxWithLoss: labels as a column"]
    takes, right = defect.subject().open({}), implementation_of(RECORDS["SoftmaxWithLoss"]).open({})
    assert takes.value({"x": x, "t": labels}) == right.value({"x": x, "t": labels})
    of_all = sum(right.value({"x": x, "t": np.full(2, label)}) for label in labels)
    assert takes.value({"x": x, "t": labels[:, None]}) == pytest.approx(of_all, rel=1e-15)


def test_gradient_that_is_not_summed_over_the_batch_is_right_where_there_is_no_batch():
    record = RECORDS["Affine"]
    subject = by_name("Affine")["Affine: db is not summed over the batch"].subject()
    for corner, is_right in (("single sample", True), ("batch of 0", True), ("ordinary", False)):
        (case,) = generated_cases(record, "float64", corner, 1, seed=4)
        assert differ(transcript(implementation_of(record), case), transcript(subject, case)) is not is_right
