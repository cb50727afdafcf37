"""The README shows what the tool really wrote, and its example really runs."""

import io
import re
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_excerpt_stands_in_the_report_that_is_committed():
    excerpt = README.partition("<!-- excerpt")[2].partition("<!-- end of excerpt -->")[0]
    rows = [line for line in excerpt.splitlines() if line.startswith(("|", "- "))]
    # The committed one: `tox run -e report` writes another over it, without MNIST where there is none.
    shown = subprocess.run(
        ["git", "show", "HEAD:reports/gradient_errors.md"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    if shown.returncode:
        pytest.skip("this is no git checkout, so that the committed report cannot be told from a new one")
    report = shown.stdout.splitlines()
    assert len(rows) > 10
    assert [row for row in rows if row not in report] == []


def test_the_example_prints_what_the_readme_says():
    code, output = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL).groups()
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert printed.getvalue() == output
