"""The README shows what the tool really wrote, and its example really runs."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_excerpt_stands_in_the_report_that_is_committed():
    excerpt = README.partition("<!-- excerpt")[2].partition("<!-- end of excerpt -->")[0]
    rows = [line for line in excerpt.splitlines() if line.startswith(("|", "- "))]
    report = (ROOT / "reports" / "gradient_errors.md").read_text(encoding="utf-8").splitlines()
    assert len(rows) > 10
    assert [row for row in rows if row not in report] == []


def test_the_example_prints_what_the_readme_says():
    code, output = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL).groups()
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert printed.getvalue() == output
