"""When a loss is said to ignore dout, and when not."""

import numpy as np

from oracle.catalog.case import Case
from oracle.catalog.records import RECORDS
from oracle.judge.examination import examine
from oracle.judge.trial import Trial
from oracle.subjects.in_process import InProcessSubject, implementation_of
from scratch import SoftmaxWithLoss


class IgnoresDout(SoftmaxWithLoss):
    def backward(self, dout=1):
        return super().backward()


def case(**fields):
    shapes = (("x", (3, 2)), ("t", (3, 2)), ("dout", ()))
    return Case("SoftmaxWithLoss", "float32", shapes, targets="one-hot", **fields)


def test_a_gradient_of_one_subnormal_does_not_look_like_ignored_dout():
    """For any dout near 1 the smallest float32 stays the smallest float32."""
    record = RECORDS["SoftmaxWithLoss"]
    tiny = case(corner="one decimal", layout="strided", scale=300.0, seed=23)
    trial = Trial(implementation_of(record), tiny, with_autograd=False).run()
    dx = trial.estimates["backprop"].values["dx"]
    assert 0 < np.abs(dx).max() < np.finfo(np.float32).tiny  # otherwise this case asks nothing
    assert not trial.ignores_dout
    assert examine(trial.subject, [tiny], dtype="float32", required=True).findings == []


def test_a_loss_that_ignores_dout_is_judged_at_dout_1():
    record = RECORDS["SoftmaxWithLoss"]
    trial = Trial(InProcessSubject(record, IgnoresDout), case(seed=1), with_autograd=False).run()
    assert trial.ignores_dout
    assert trial.arrays().dout == 1
