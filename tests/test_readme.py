"""The README shows what the tool really wrote, and its example really runs."""

import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from oracle.sources.autograd import is_available

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def committed(path):
    """The lines of a committed file. The command that writes it writes another over it, without MNIST perhaps."""
    shown = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    if shown.returncode:
        pytest.skip("this is no git checkout, so that the committed report cannot be told from a new one")
    return shown.stdout.splitlines()


def excerpt(begins, ends):
    """The rows and items of the README between two comments."""
    between = README.partition(f"<!-- {begins}")[2].partition(f"<!-- {ends} -->")[0]
    return [line for line in between.splitlines() if line.startswith(("|", "- "))]


def test_the_excerpt_stands_in_the_report_that_is_committed():
    rows, report = excerpt("excerpt", "end of excerpt"), committed("reports/gradient_errors.md")
    assert len(rows) > 10
    assert [row for row in rows if row not in report] == []


def test_the_kill_rate_is_that_of_the_report_that_is_committed():
    rows, report = excerpt("kill rate", "end of kill rate"), committed("reports/kill_rate.md")
    assert len(rows) == 3
    assert [row for row in rows if row not in report] == []


def test_the_example_prints_what_the_readme_says():
    examples = re.findall(r"```python\n([^`]*)```\n\n```text\n(.*?)```", README, re.DOTALL)
    assert len(examples) == 2
    for code, output in examples:
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(code, "README.md", "exec"), {})
        assert printed.getvalue() == output


def test_the_file_that_is_checked_gets_what_the_readme_says(tmp_path):
    code = README.partition("<!-- my_layers.py -->\n```python\n")[2].partition("```")[0]
    said = README.partition("<!-- what it prints -->\n```text\n")[2].partition("```")[0]
    (tmp_path / "my_layers.py").write_text(code, encoding="utf-8")
    # In a process of its own: what is printed while PyTorch loads is printed only where it is not loaded yet.
    run = subprocess.run(
        [sys.executable, "-m", "oracle", "check", "my_layers.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "1"},
    )
    assert run.returncode == 1, run.stderr
    if not is_available():
        pytest.skip("PyTorch is not installed: fewer comparisons are made than the README shows")
    assert _without_digits(run.stdout) == _without_digits(said)


def _without_digits(text):
    """The last digits of an exponential, and a message of NumPy, are not the same with every version."""
    lines = [line for line in text.splitlines() if "raised" not in line]
    return [re.sub(r"-?\d[\d.e,+-]*", "#", line).rstrip() for line in lines]
