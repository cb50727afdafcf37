"""A report of ten thousand rows is written, compared and drawn. How long that takes is printed, and not asserted.

pytest -s tests/reporting/test_ten_thousand_rows.py
"""

import copy
import json
import time

from oracle import cli
from oracle.reporting import report as reporting
from oracle.reporting.baseline import OWN_PAIRS, to_baseline
from oracle.reporting.render import to_json

ROWS = 10_000
#: Every so many rows one is a hundred times less exact.
WORSE = 100


def long_report(short):
    """Ten thousand rows with the content of those of a small report."""
    rows = [copy.deepcopy(short["rows"][number % len(short["rows"])]) for number in range(ROWS)]
    for number, row in enumerate(rows):
        row |= {"layer": f"Layer {number}", "section": "layers"}
        for pair in filter(None, row["pairs"].values()):
            pair |= {"worst_ulp": 4.0, "median_ulp": 1.0}
    layers = [{"layer": row["layer"], "dtype": row["dtype"], "verdict": "right"} for row in rows]
    return {**short, "rows": rows, "layers": layers}


def test_a_long_report_is_written_compared_and_drawn(reports, tmp_path, monkeypatch, capsys):
    before = long_report(json.loads((reports / "gradient_errors.json").read_text(encoding="utf-8")))
    baseline, out = tmp_path / "baseline.json", tmp_path / "out"
    baseline.write_text(to_json(to_baseline(before)), encoding="utf-8")
    after = copy.deepcopy(before)
    for row in after["rows"][::WORSE]:
        own = next(row["pairs"][name] for name in OWN_PAIRS if row["pairs"][name])
        own["worst_ulp"] = 400.0
    monkeypatch.setattr(reporting, "build_report", lambda *given, **named: after)
    start, start_of_processor = time.perf_counter(), time.process_time()
    arguments = ["--out", str(out), "--compare", str(baseline), "--fail-if-worse", "10x", "--cases", "1"]
    assert cli.main(["report", *arguments]) == 1
    took, of_processor = time.perf_counter() - start, time.process_time() - start_of_processor
    printed = capsys.readouterr().out
    with capsys.disabled():
        print(
            f"\n{ROWS:,} rows written, compared and drawn in {took:.1f} s, {of_processor:.1f} s of them the processor's"
        )
    written = json.loads((out / "gradient_errors.json").read_text(encoding="utf-8"))
    assert len(written["rows"]) == ROWS
    found = written["regression"]
    assert {entry["layer"] for entry in found["worse"]} == {f"Layer {number}" for number in range(0, ROWS, WORSE)}
    assert found["unchanged"] == ROWS - ROWS // WORSE
    assert f"Worse: {ROWS // WORSE} rows" in printed
    assert (out / "gradient_errors.md").read_text(encoding="utf-8").count("\n| Layer ") >= ROWS
    assert (out / "index.html").read_text(encoding="utf-8").count("Layer 9999<") == 1
