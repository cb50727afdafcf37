"""The largest margin of a report of false alarms: that of a count is no measure of how tight bounds are."""

import pytest

from oracle.reporting import false_alarms


@pytest.mark.parametrize(
    ("layer", "shown"), [("Relu", {"Relu"}), ("TwoLayerNet", {"TwoLayerNet", "TwoLayerNet, counted"})]
)
def test_counts_have_a_largest_margin_of_their_own(layer, shown, monkeypatch):
    monkeypatch.setattr(false_alarms, "CASES_PER_CORNER", 1)
    largest = false_alarms.examine_turn((layer, "float64", 0, 0))["largest"]
    assert set(largest) == shown
    for name, nearest in largest.items():
        assert (nearest["quantity"] == "accuracy") is ("counted" in name)


@pytest.mark.parametrize(
    ("of_counts", "of_the_rest", "ends"),
    [
        (0.9999993, 0.36, "Of everything else 0.36."),
        (0.1, 0.36, "Largest margin: 0.36 (1 is the bound)."),
    ],
)
def test_a_count_that_uses_up_its_bound_is_said_to_be_one(of_counts, of_the_rest, ends):
    report = {
        "summary": dict.fromkeys(("comparisons", "entries", "cases", "checks_run", "false_alarms"), 0),
        "seconds": 1.0,
        "processor_seconds": 1.0,
        "largest": {
            "TwoLayerNet, counted": {"quantity": "accuracy", "margin": of_counts},
            "Sigmoid": {"quantity": "dx", "margin": of_the_rest},
        },
    }
    report["summary"]["worst_margin"] = max(of_counts, of_the_rest)
    assert false_alarms.lines(report)[1].endswith(ends)
