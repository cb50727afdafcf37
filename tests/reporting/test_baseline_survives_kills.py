"""Killed at a random moment while it writes, a process leaves the old baseline or the new one, never a broken one.

ORACLE_KILLS says how often it is killed; 3 where it is not set.
"""

import fnmatch
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from oracle.reporting.baseline import read_results, to_baseline
from oracle.reporting.render import to_json

KILLS = int(os.environ.get("ORACLE_KILLS", "3"))
ROWS = 500
#: Writes two baselines in turn, as a run with --save-baseline does, until it is killed.
WRITER = """
import itertools, sys
from pathlib import Path
from oracle.files import write_together
target, *contents = map(Path, sys.argv[1:])
texts = [path.read_text(encoding="utf-8") for path in contents]
for number in itertools.count():
    write_together({target: texts[number % 2]})
    if not number:
        print("writing", flush=True)
"""


def test_a_killed_process_leaves_the_old_baseline_or_the_new_one(tmp_path, make_report, make_row):
    reports = [make_report(*(make_row(f"layer {n}", ulp=ulp) for n in range(ROWS))) for ulp in (4, 400)]
    contents = [to_json(to_baseline(report)) for report in reports]
    sources = [tmp_path / name for name in ("old.json", "new.json")]
    for source, content in zip(sources, contents, strict=True):
        source.write_text(content, encoding="utf-8")
    folder = tmp_path / "reports"
    folder.mkdir()
    target = folder / "baseline.json"
    moments = random.Random(0)
    seen, cut_short = set(), 0
    for number in range(KILLS):
        kill_while_it_writes([target, *sources], moments.uniform(0.0, 0.05))
        written = target.read_text(encoding="utf-8")
        assert written in contents
        assert len(read_results(target, of="report").rows) == 2 * ROWS
        seen.add(contents.index(written))
        # A kill in the middle of a write leaves what was written beside the file, and nothing else.
        others = [path.name for path in folder.iterdir() if path != target]
        assert fnmatch.filter(others, ".oracle-*.tmp") == others
        assert len(others) <= number + 1
        cut_short = len(others)
    if KILLS >= 50:
        assert seen == {0, 1}
        assert cut_short, "no kill came in the middle of a write"


def kill_while_it_writes(paths: list[Path], moment: float) -> None:
    """Start the writer, wait until it has written once, and kill it so many seconds later."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, *map(str, paths)], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as started:
        try:
            assert started.stdout.readline() == "writing\n"
            time.sleep(moment)
            assert started.poll() is None, "it had ended before it was killed"
        finally:
            started.kill()
