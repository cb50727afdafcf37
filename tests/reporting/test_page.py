"""The page without a browser: its structure, what is escaped, what is said of missing parts, and its numbers."""

import doctest
import itertools
import json
import math
import re
import shutil
import statistics
from html.parser import HTMLParser
from importlib.resources import files
from xml.etree import ElementTree

import pytest

from oracle.cli import main
from oracle.reporting import graphs
from oracle.reporting.baseline import results_of
from oracle.reporting.page import build_page, charts, drawing, html, tables
from oracle.reporting.page.parts import KINDS
from oracle.reporting.regression import differences, to_json_entry

VOID = {"meta", "link", "br"}
PAIRS = ("backprop-numerical", "backprop-autograd", "numerical-autograd")


class Tree(HTMLParser):
    """The page as a tree; an element that is not closed where it should be is an error."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.builder, self.open = ElementTree.TreeBuilder(), []
        self.feed(text)
        self.close()
        assert self.open == []
        self.root = self.builder.close()

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), (tag, names)
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.builder.end(tag)
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.builder.end(tag)

    def handle_data(self, data):
        if self.open:
            self.builder.data(data)


def parse(text):
    return Tree(text).root


def text_of(element):
    return "".join(element.itertext())


def of_class(element, name):
    return [e for e in element.iter() if name in e.get("class", "").split()]


def table_called(element, caption):
    [found] = [t for t in element.iter("table") if text_of(t.find("caption")) == caption]
    return found


def values_of(table):
    """The exact values of each row, with None where a cell has no figure."""
    rows = [[cell.get("data-value") for cell in row] for row in table.find("tbody")]
    return [[None if value is None else number(value) for value in row] for row in rows]


def number(value):
    """As JSON has it; infinities and NaN are words there."""
    return float(value) if value in ("inf", "-inf", "nan") else json.loads(value)


def same(found, expected):
    """Equal, number by number; words for infinities are read."""
    return found == (float(expected) if isinstance(expected, str) else expected)


@pytest.fixture(scope="module")
def page(reports):
    return parse((reports / "index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def contents(reports):
    return {kind.file: json.loads((reports / kind.file).read_text(encoding="utf-8")) for kind in KINDS}


@pytest.fixture(scope="module")
def gradients(contents):
    return contents["gradient_errors.json"]


def section(page, name):
    [found] = [e for e in page.iter("section") if e.get("id") == name]
    return found


# ----------------------------------------------------------------------------- structure


def test_ids_are_unique_and_all_references_lead_somewhere(page):
    ids = [e.get("id") for e in page.iter() if e.get("id")]
    assert len(set(ids)) == len(ids)
    for element in page.iter():
        wanted = (element.get("aria-labelledby") or "").split()
        wanted += [element.get("href")[1:]] if (element.get("href") or "").startswith("#") else []
        wanted += re.findall(r"url\(#([^)]*)\)", element.get("marker-end") or "")
        assert set(wanted) <= set(ids)


def test_headings_go_down_one_step_at_a_time(page):
    levels = [int(e.tag[1]) for e in page.iter() if re.fullmatch("h[1-6]", e.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_page_has_its_landmarks_and_says_its_language(page):
    assert page.get("lang") == "en"
    assert all(len(list(page.iter(tag))) == 1 for tag in ("main", "header", "nav"))
    assert page.find("head").find("title").text
    assert page.find("body")[0].get("href") == "#main"


def test_every_table_has_a_caption_headers_with_a_scope_and_a_box_that_takes_the_focus(page):
    parents = {child: parent for parent in page.iter() for child in parent}
    tables = list(page.iter("table"))
    assert len(tables) > 30
    for table in tables:
        assert text_of(table.find("caption"))
        heads = table.find("thead")[0]
        assert {head.get("scope") for head in heads} == {"col"}
        for row in table.find("tbody"):
            assert len(row) == len(heads)
            assert all(cell.get("scope") == "row" for cell in row if cell.tag == "th")
        box = parents[table]
        assert (box.get("tabindex"), box.get("role")) == ("0", "region")
        assert box.get("aria-label")


def test_every_drawing_has_a_title_and_a_description(page):
    drawings = list(page.iter("svg"))
    assert len(drawings) > 20
    for svg in drawings:
        assert svg.get("role") == "img"
        assert svg.find("title").text
        assert len(svg.find("desc").text) > 30


def test_nothing_is_loaded_from_elsewhere(page):
    for element in page.iter():
        for name in ("src", "srcset", "action", "data", "xlink:href", "onclick", "onerror", "style"):
            assert element.get(name) is None
        assert (element.get("href") or "#").startswith(("#", "data:"))
    [policy] = [e.get("content") for e in page.iter("meta") if e.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    for name in ("page.css", "page.js"):
        text = files("oracle.reporting.page").joinpath(name).read_text(encoding="utf-8")
        assert "http" not in text
        assert "@import" not in text
        assert "url(" not in text


def test_the_same_reports_give_the_same_page(reports):
    assert build_page(reports) == build_page(reports) == (reports / "index.html").read_text(encoding="utf-8")


def test_text_has_enough_contrast_in_light_and_dark():
    """4.5 to 1: WCAG 2.2, success criterion 1.4.3."""
    css = files("oracle.reporting.page").joinpath("page.css").read_text(encoding="utf-8")
    schemes = [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)]
    assert len(schemes) == 2
    pairs = [(ink, paper) for ink in ("ink", "faint", "link") for paper in ("paper", "tint")]
    pairs += [(verdict, f"{verdict}-tint") for verdict in ("right", "warned", "wrong")]
    pairs += [(f"style{k}", "paper") for k in range(4)]
    for colours in schemes:
        for ink, paper in pairs:
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)


def contrast(one, other):
    def luminance(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


# ----------------------------------------------------------------------------- escaping


def test_names_from_a_file_are_text(page, contents):
    [subject] = contents["check.json"]["subjects"]
    own = section(page, "own")
    assert [e for e in page.iter() if e.tag in ("img", "iframe", "object")] == []
    assert len(list(page.iter("script"))) == 1
    shown = text_of(own)
    assert shown.count(subject["name"]) >= 6
    assert f"{subject['file']}:7" in shown


def test_html_escapes_text_and_attributes_and_nothing_twice():
    made = html.tag("p", "<b> & \"'", html.tag("b", "1 < 2"), title='"><script>')
    assert str(made) == '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt; &amp; &quot;&#x27;<b>1 &lt; 2</b></p>'


@pytest.mark.parametrize(("value", "text"), [(1.5e-300, "1"), ("<inf>", "<i>"), ([1, 'a<"'], "x & 'y'"), (None, "")])
def test_a_figure_is_escaped_as_every_element_is(value, text):
    assert tables.number(value, text) == html.tag("td", text, data_value=tables.exact(value), class_="number")


def test_a_hostile_gradient_report_is_text_as_well(reports, tmp_path, gradients, contents):
    hostile = contents["check.json"]["subjects"][0]["name"]
    report = json.loads(json.dumps(gradients))
    for key in ("layer", "quantity", "dtype", "verdict", "section"):
        report["rows"][0][key] = hostile
    for key in ("title", "section", "text", "case"):
        report["graphs"][-1][key] = hostile
    report["graphs"][-1]["nodes"][0]["label"] = report["graphs"][-1]["edges"][0]["name"] = hostile
    report["step_sizes"][0]["layer"] = report["truth"][0]["layer"] = report["checks"][0]["layer"] = hostile
    report["environment"]["command"] = report["environment"]["python"] = hostile
    report["environment"][hostile] = hostile
    report["summary"]["verdict"] = hostile
    report["summary"]["worst_margin"] = report["rows"][0]["margin"] = "inf"
    report["findings"] = contents["check.json"]["subjects"][0]["findings"]
    tree = parse(build_page(tmp_path, {"gradient_errors.json": json.dumps(report)}))
    assert len(list(tree.iter("script"))) == 1
    assert [e for e in tree.iter() if e.tag == "img"] == []
    assert of_class(tree, "absent") != []
    assert "is not as this version" not in text_of(tree)


# ----------------------------------------------------------------------------- parts that are not there


def test_every_absent_part_says_which_command_makes_it(tmp_path):
    tree = parse(build_page(tmp_path))
    shown = " ".join(text_of(e) for e in of_class(tree, "absent"))
    for kind in KINDS:
        assert f"There is no {kind.file} here yet. It is made with: {kind.command}" in shown
    assert str(tmp_path) in shown  # a directory that is not the usual one is part of the command
    assert list(tree.iter("svg")) == []


def test_in_the_usual_directory_the_command_needs_no_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["report", "--only-page", "--quiet"]) == 0
    shown = text_of(parse((tmp_path / "reports" / "index.html").read_text(encoding="utf-8")))
    assert "It is made with: oracle train" in shown
    assert "oracle train --out" not in shown
    assert "oracle check FILE --out reports" in shown


def test_a_report_without_truth_says_how_to_get_it(gradients, tmp_path):
    report = {key: value for key, value in gradients.items() if key not in ("truth", "graphs")}
    tree = parse(build_page(tmp_path, {"gradient_errors.json": json.dumps(report)}))
    [absent] = of_class(section(tree, "truth"), "absent")
    assert text_of(absent).startswith("gradient_errors.json has no truth. It is made with: oracle report --truth")
    assert of_class(section(tree, "graphs"), "absent")
    assert list(section(tree, "steps").iter("svg"))


DAMAGED = {
    "no JSON": ("{", "cannot be read (it is no JSON)"),
    "not UTF-8": (b"\xff\xfe", "cannot be read (it is no JSON)"),
    "nothing at all": ("", "cannot be read (it is no JSON)"),
    "nested too deeply": ("[" * 100_000, "cannot be read (it is no JSON)"),
    "another kind of value": ("[]", "is no report of the kind train"),
    "another kind of report": ('{"schema": 1, "kind": "report"}', "is no report of the kind train"),
    "the future": ('{"schema": 2, "kind": "train"}', "has schema 2, and this version reads 1"),
    "keys are missing": ('{"schema": 1, "kind": "train"}', "is not as this version writes it (KeyError"),
    "values of another type": (
        '{"schema": 1, "kind": "train", "summary": 3, "accuracy": 1, "loss": "x", "environment": 7}',
        "is not as this version writes it (TypeError",
    ),
}


@pytest.mark.parametrize(("content", "said"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_part_is_named_and_the_others_are_shown(reports, tmp_path, content, said):
    shutil.copy(reports / "gradient_errors.json", tmp_path)
    damaged = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "training.json").write_bytes(damaged)
    assert main(["report", "--only-page", "--quiet", "--out", str(tmp_path)]) == 0
    tree = parse((tmp_path / "index.html").read_text(encoding="utf-8"))
    [absent] = of_class(section(tree, "training"), "absent")
    assert text_of(absent).startswith(f"training.json {said}")
    assert "oracle train" in text_of(absent)
    assert list(section(tree, "errors").iter("table"))
    assert (tmp_path / "training.json").read_bytes() == damaged


def test_the_page_is_written_with_the_report_or_neither_is(tmp_path, capsys):
    (tmp_path / "index.html").mkdir()
    small = ["report", "--layer", "Relu", "--dtype", "float64", "--cases", "1", "--out", str(tmp_path)]
    assert main(small) == 2
    assert "index.html" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    (tmp_path / "index.html").rmdir()
    assert main(small) == 0
    assert str(tmp_path / "index.html") in capsys.readouterr().out


def test_only_the_page_is_made_anew(reports, tmp_path, capsys):
    for kind in KINDS:
        shutil.copy(reports / kind.file, tmp_path)
    assert main(["report", "--only-page", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"Written: {tmp_path / 'index.html'}\n"
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", *(kind.file for kind in KINDS)}


@pytest.mark.parametrize("option", [["--layer", "Relu"], ["--truth"], ["--json", "-"]], ids=lambda option: option[0])
def test_with_only_the_page_goes_nothing_that_is_computed(option, tmp_path, capsys):
    assert main(["report", "--only-page", "--out", str(tmp_path), *option]) == 2
    assert f"{option[0]}: --only-page computes nothing" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_training_without_pytorch_is_shown(contents, tmp_path):
    report = dict(contents["training.json"])
    report["parity"] = {"resynchronised": None, "free": None}
    report["twin"] = {"begins": 0, "loss": None, "accuracy": {"train": None, "test": None}}
    shown = section(parse(build_page(tmp_path, {"training.json": json.dumps(report)})), "training")
    assert of_class(shown, "absent") == []
    assert [svg.get("id") for svg in shown.iter("svg")] == ["accuracy", "loss"]


def test_a_loss_that_is_not_finite_is_left_out_of_its_line(contents, tmp_path):
    report = dict(contents["training.json"])
    report["loss"] = [*report["loss"][:300], *["inf"] * 300, *["nan"] * 100]
    shown = section(parse(build_page(tmp_path, {"training.json": json.dumps(report)})), "training")
    assert of_class(shown, "absent") == []
    assert "nan" not in "".join(line.get("points") for line in shown.iter("polyline"))


# ----------------------------------------------------------------------------- numbers


def all_values(content):
    """Every number and every list of numbers in a report, as the page writes them."""
    if isinstance(content, dict):
        for value in content.values():
            yield from all_values(value)
    elif isinstance(content, list):
        yield json.dumps(content)
        for value in content:
            yield from all_values(value)
    else:
        yield content if isinstance(content, str) else json.dumps(content)


def test_every_figure_on_the_page_is_in_a_report(page, contents):
    known = set(all_values(contents))
    figures = [e for e in page.iter() if e.get("data-value") is not None and e.get("data-axis") is None]
    assert len(figures) > 1000
    assert [e.get("data-value") for e in figures if e.get("data-derived") is None and not is_in(known, e)] == []


def is_in(known, element):
    # A chart holds the same as a Python number: 1.0 and 1 are one.
    value = element.get("data-value")
    return value in known or (element.tag == "rect" and json.dumps(float(value)) in known)


def test_every_text_is_its_figure_rounded(page):
    checked = 0
    for table in page.iter("table"):
        heads = [text_of(head) for head in table.find("thead")[0]]
        for row in table.find("tbody"):
            for head, cell in zip(heads, row, strict=True):
                value = cell.get("data-value")
                if value is None or value.startswith("["):
                    continue
                told = float(text_of(cell).replace(",", "").replace("−", "-"))
                exact = number(value) * (1e6 if head == "µs" else 1)
                # Two digits at least, and one where a time is short.
                assert told == exact or abs(told - exact) <= 0.05 * abs(exact) + 0.05 * (head == "µs"), (head, value)
                checked += 1
    assert checked > 1000


def test_error_tables_are_the_rows_of_the_report(page, gradients):
    errors = section(page, "errors")
    for name in dict.fromkeys(row["section"] for row in gradients["rows"]):
        table = table_called(errors, f"Errors of {name}, three ways")
        rows = [row for row in gradients["rows"] if row["section"] == name]
        assert len(table.find("tbody")) == len(rows)
        for row, cells, shown in zip(rows, values_of(table), table.find("tbody"), strict=True):
            assert [text_of(cell) for cell in shown[:3]] == [row["layer"], row["quantity"], row["dtype"]]
            assert text_of(shown[-1]).endswith(row["verdict"])
            pairs = [row["pairs"][pair] for pair in PAIRS]
            own = max([p for p in pairs[:2] if p] or [pairs[2]], key=lambda pair: float(pair["margin"]))
            expected = [row["comparisons"], *(p and p["max_abs"] for p in pairs), pairs[0] and pairs[0]["mean_abs"]]
            expected += [own["error"], own["bound"], own["margin"]]
            assert cells[3:11] == expected
            for pair, cell in zip(PAIRS, shown[4:7], strict=True):
                if row["pairs"][pair] is None:
                    assert text_of(cell) == row["not_run"][pair]


def test_checks_are_summed(page, gradients):
    rows = table_called(page, "Checks of all layers together").find("tbody")
    for row in rows:
        entries = [entry for entry in gradients["checks"] if entry["check"] == text_of(row[0])]
        told = [number(cell.get("data-value")) for cell in row[2:]]
        assert told == [
            len({entry["layer"] for entry in entries}),
            sum(entry["cases"] for entry in entries),
            sum(entry["failed"] for entry in entries),
        ]


def test_graphs_are_those_of_the_report(page, gradients):
    shown = section(page, "graphs")
    assert len(list(shown.iter("svg"))) == len(gradients["graphs"])
    for graph in gradients["graphs"]:
        table = table_called(shown, f"Arrows of {graph['title']}")
        expected = [[edge["forward"], edge["backward"]] for edge in graph["edges"]]
        assert [row[3:] for row in values_of(table)] == expected
        [svg] = [svg for svg in shown.iter("svg") if svg.find("title").text == f"Computational graph: {graph['title']}"]
        for direction in ("forward", "backward"):
            lines = [e.text for e in of_class(svg, "carried") if direction in e.get("class")]
            wanted = []
            for edge in graph["edges"]:
                named = edge["name"] and graph["nodes"][edge["source"]]["kind"] != "input"
                wanted += [edge["name"]] if named and direction == "forward" else []
                wanted += [] if edge[direction] is None else drawing.value_lines(edge[direction])
            assert lines == wanted


def test_errors_by_step_size_are_those_of_the_report(page, gradients):
    for row in gradients["step_sizes"]:
        table = table_called(page, f"Relative error of {row['layer']}: {row['quantity']} by h")
        assert values_of(table) == [
            list(values) for values in zip(row["h"], row["central"], row["complex"], strict=True)
        ]


def test_errors_against_truth_are_those_of_the_report(page, gradients):
    expected = {}
    for row in gradients["truth"]:
        cells = expected.setdefault(f"Errors of {row['layer']}: {row['quantity']} against truth", [])
        for source in ("backprop", "numerical", "autograd"):
            if source in row["sources"]:
                found = row["sources"][source] or {"worst_ulp": None, "mean_ulp": None}
                cells.append([row["size"], found["worst_ulp"], found["mean_ulp"]])
    assert expected
    for caption, rows in expected.items():
        found = [row[2:] for row in values_of(table_called(page, caption))]
        assert len(found) == len(rows)
        for cells, wanted in zip(found, rows, strict=True):
            assert all(map(same, cells, wanted))


def test_training_is_that_of_the_report(page, contents):
    report, shown = contents["training.json"], section(page, "training")
    accuracies = [*report["accuracy"].values(), *report["twin"]["accuracy"].values()]
    assert [row[1:] for row in values_of(table_called(shown, "Accuracy by epoch"))] == list(
        map(list, zip(*accuracies, strict=True))
    )
    width = math.ceil(len(report["loss"]) / 100)
    table = table_called(shown, f"Loss, means of {width} steps")
    for row in values_of(table):
        at, *means = row
        part = slice((at - 1) // width * width, at)
        assert means == [statistics.fmean(report["loss"][part]), statistics.fmean(report["twin"]["loss"][part])]
    free = report["parity"]["free"]
    worst = [[max(values) for values in zip(*free[key].values(), strict=True)] for key in ("relative", "one_ulp_away")]
    assert values_of(table_called(shown, "Largest difference of any parameter")) == list(
        map(list, zip(free["steps"], *worst, strict=True))
    )
    margins = table_called(shown, "Margins").find("tbody")
    told = {text_of(row[0]): number(row[1].get("data-value")) for row in margins}
    assert told == report["parity"]["resynchronised"]["margins"]


@pytest.mark.parametrize(
    ("name", "file"), [("step-time", "bench_train.json"), ("check-time", "bench_check.json")], ids=["train", "check"]
)
def test_times_are_those_of_the_report(page, contents, name, file):
    shown, report = section(page, name), contents[file]
    told = {text_of(row[0]): number(row[1].get("data-value")) for row in table_called(shown, "Ratios").find("tbody")}
    assert told == report["ratios"]
    bars = sorted(float(bar.get("data-value")) for bar in of_class(shown, "bar"))
    assert bars == sorted(row["median_s"] for row in report["rows"] if "/part/" not in row["name"])
    for svg in shown.iter("svg"):
        values = [(float(bar.get("data-value")), float(bar.get("width"))) for bar in of_class(svg, "bar")]
        assert sorted(values) == sorted(values, key=lambda pair: pair[1])


def test_who_catches_which_defect_is_shown(page):
    shown = section(page, "kill-rate")
    rates = [[text_of(cell) for cell in row[:2]] for row in table_called(shown, "How many are caught").find("tbody")]
    assert rates == [
        ["the judge", "2 of 3"],
        ["the judge, with the right cause", "1 of 2"],
        ["gradcheck", "1 of 3"],
        ["allclose", "0 of 3"],
    ]
    table = table_called(shown, "Planted defects and who catches them")
    matrix = [[text_of(cell) for cell in row] for row in table.find("tbody")]
    assert matrix == [
        ["one", "Affine", "✓ caught", "sign", "✓ caught", "✗ missed", "dtype_is_kept"],
        ["two", "Affine", "✓ caught", "transposed instead of sign", "✗ missed", "✗ missed", "dtype_is_kept, runs"],
        ["three", "Affine", "✗ missed", "", "✗ missed", "✗ missed", ""],
    ]


def test_the_matrix_of_versions_is_that_of_its_report(page, contents):
    shown, report = section(page, "matrix"), contents["matrix.json"]
    names = [one["name"] for one in report["environments"]]
    environments = [[text_of(cell) for cell in row] for row in table_called(shown, "Environments").find("tbody")]
    assert [row[:3] for row in environments[: len(names)]] == [
        [one["name"], one["python"], one["numpy"]] for one in report["environments"]
    ]
    # Those that left nothing, here for want of an interpreter, stand after them.
    assert [row[0] for row in environments[len(names) :]] == [one["name"] for one in report["missing"]]
    table = table_called(shown, "Worst margin of each layer in each environment")
    assert [text_of(head) for head in table.find("thead")[0]] == ["layer", *names]
    told = {
        (text_of(row[0]), name): number(cell.get("data-value"))
        for row in table.find("tbody")
        for name, cell in zip(names, row[1:], strict=True)
    }
    assert told == {(row["layer"], row["environment"]): row["margin"] for row in report["rows"]}


def test_what_is_wrong_or_missing_in_the_matrix_is_named(contents, tmp_path):
    report = json.loads(json.dumps(contents["matrix.json"]))
    first, second, *_ = (one["name"] for one in report["environments"])
    report["rows"] = [
        {"environment": first, "layer": "Relu", "verdict": "backward wrong", "margin": 7.0},
        {"environment": second, "layer": "Relu", "verdict": "could not run", "margin": None},
    ]
    report["environments"][0] |= {"verdict": None, "tests": {"passed": 1200, "failed": ["test_a"]}}
    report["missing"] = [{"name": "py399", "reason": "its interpreter is missing"}]
    shown = section(parse(build_page(tmp_path, {"matrix.json": json.dumps(report)})), "matrix")
    environments = [[text_of(cell) for cell in row] for row in table_called(shown, "Environments").find("tbody")]
    assert environments[0][-2:] == ["left no report", "1,200 passed, 1 failed"]
    assert environments[-1][0] == "py399"
    assert "its interpreter is missing" in environments[-1]
    [row] = table_called(shown, "Worst margin of each layer in each environment").find("tbody")
    assert [text_of(cell) for cell in row[:4]] == ["Relu", "7 ✗ backward wrong", "could not run", "none"]


def test_what_became_worse_is_shown_where_a_report_was_compared(contents, make_report, make_row, tmp_path):
    before = make_report(make_row(ulp=4), make_row("Relu", ulp=800), make_row("Old"))
    after = make_report(make_row(ulp=400, verdict="hazard"), make_row("Relu", ulp=8), make_row("Latest"))
    found = differences(results_of(before, "<b>.json"), results_of(after, "this run"), limit=10)
    compared = to_json_entry(found)
    for name, file in (("errors", "gradient_errors.json"), ("own", "check.json")):
        report = {**contents[file], "regression": compared}
        shown = section(parse(build_page(tmp_path, {file: json.dumps(report)})), name)
        told = text_of(shown)
        assert "Against <b>.json" in told
        assert "A regression. Rows: worse 1, improved 1, unchanged none." in told
        assert "New: Latest: dW float64." in told
        assert "Vanished: Old: dW float64." in told
        [row] = table_called(shown, "Rows that are worse").find("tbody")
        assert [text_of(cell) for cell in row] == [
            *("Affine", "dW", "float64", "ulp, backprop-numerical/worst", "4", "400", "100×"),
            *("✓ right", "! hazard regression"),
        ]
        assert [number(cell.get("data-value")) for cell in row[4:7]] == [4, 400, 100]
        assert len(table_called(shown, "Rows that are improved").find("tbody")) == 1
        assert "Against" not in text_of(section(parse(build_page(tmp_path, {file: json.dumps(contents[file])})), name))


def test_what_was_compared_by_bound_says_so(gradients, make_report, make_row, tmp_path):
    before, after = make_report(make_row()), make_report(make_row(), numpy="1.26.4")
    compared = to_json_entry(differences(results_of(before, "A"), results_of(after, "B")))
    report = {**gradients, "regression": compared}
    told = text_of(section(parse(build_page(tmp_path, {"gradient_errors.json": json.dumps(report)})), "errors"))
    assert "No regression. Rows: worse none, improved none, unchanged 1. Compared by bound and verdict" in told
    assert "NumPy 2.4.6 → 1.26.4" in told


def test_a_damaged_report_and_its_command_are_two_words_in_the_table_of_verdicts(tmp_path):
    tree = parse(build_page(tmp_path, {"training.json": "{"}))
    rows = table_called(section(tree, "overview"), "The reports on this page").find("tbody")
    told = {text_of(row[0]): text_of(row[1]) for row in rows}
    assert told["Training"].startswith("cannot be read (it is no JSON): oracle train --out ")


def test_a_command_keeps_its_words_and_blanks():
    for command in ("oracle check FILE --out reports", "a  'b c' ", "", "one"):
        element = ElementTree.fromstring(html.shell(command))
        assert text_of(element) == command
        assert "".join(text_of(word) for word in of_class(element, "word")) == command.replace(" ", "")


def test_versions_and_commands_are_those_of_the_reports(page, contents):
    shown = section(page, "made-with")
    commands = [[text_of(cell) for cell in row] for row in table_called(shown, "Commands").find("tbody")]
    assert [row[:2] for row in commands] == [
        [kind.file, contents[kind.file]["environment"]["command"]] for kind in KINDS
    ]
    versions = {
        text_of(row[0]): [text_of(cell) for cell in row[1:]] for row in table_called(shown, "Versions").find("tbody")
    }
    for key in ("python", "numpy", "torch", "blas", "threads", "platform", "seed"):
        assert versions[key] == [str(contents[kind.file]["environment"][key]) for kind in KINDS]


def test_what_compared_nothing_is_not_called_right(page):
    rows = table_called(section(page, "overview"), "The reports on this page").find("tbody")
    told = {text_of(row[0]): text_of(row[1]) for row in rows}
    assert told["Gradient errors"] == "✓ right"
    assert told["Time of a training step"] == "none: nothing is compared"
    assert told["Your own file"] == "✗ backward wrong"


# ----------------------------------------------------------------------------- charts


def scale_of(svg, axis):
    """From a place in the drawing to a value, by the first and last tick of an axis."""
    ticks = [tick for tick in of_class(svg, "tick") if tick.get("data-axis") == axis]
    at = "x" if axis == "x" else "y"
    (low, first), (high, last) = (
        (float(tick.get("data-value")), float(tick.get(at)) - (4 if axis == "y" else 0))
        for tick in (ticks[0], ticks[-1])
    )
    is_log = "10" in ticks[0].text and ticks[0].text != "10"
    if is_log:
        low, high = math.log10(low), math.log10(high)

    def value(place):
        scaled = low + (place - first) / (last - first) * (high - low)
        return 10**scaled if is_log else scaled

    return value, is_log


def test_points_of_charts_stand_where_their_values_are(page, contents):
    known, checked = set(all_values(contents)), 0
    for svg in of_class(page, "chart"):
        if not of_class(svg, "series"):
            continue
        (x_of, x_log), (y_of, y_log) = scale_of(svg, "x"), scale_of(svg, "y")
        floor = min(float(t.get("data-value")) for t in of_class(svg, "tick") if t.get("data-axis") == "y")
        for mark in [mark for series in of_class(svg, "series") for mark in of_class(series, "mark")]:
            across, down = map(float, re.findall(r"[\d.]+", mark.get("transform")))
            x, y = float(mark.get("data-x")), float(mark.get("data-y"))
            assert json.dumps(y) in known or json.dumps(int(y)) in known
            assert near(x_of(across), x, x_log)
            # What is below the axis is drawn on its first line.
            assert near(y_of(down), max(y, floor), y_log) or y < floor * 10
            checked += 1
    assert checked > 300


def near(found, expected, is_log):
    return found == pytest.approx(expected, rel=0.02) if is_log else found == pytest.approx(expected, abs=0.02)


def test_axes_have_few_ticks_on_round_values():
    linear = charts.Axis("step", 0.0, 10_000.0)
    assert [text for _, text in linear.ticks()] == ["0", "2,000", "4,000", "6,000", "8,000", "10,000"]
    logarithmic = charts.Axis("error", 1e-18, 10.0, is_log=True)
    assert [text for _, text in logarithmic.ticks()] == ["10⁻¹⁸", "10⁻¹⁴", "10⁻¹⁰", "10⁻⁶", "10⁻²"]
    assert [charts.nice(step) for step in (0.19, 1.0, 2.1, 5.1)] == pytest.approx([0.2, 1, 5, 10])


def test_decades_hold_all_values_and_never_none():
    assert charts.decades([2e-5, 3e-2], 1e-18, 1e3) == (1e-5, 1e-1)
    assert charts.decades([0.0, float("inf")], 0.1, 1e3) == (0.1, 1.0)
    assert charts.decades([1e-30, 1e30], 1e-18, 1e3) == (1e-18, 1e3)


# ----------------------------------------------------------------------------- what the report holds for the page


@pytest.mark.parametrize("module", [graphs, html], ids=["graphs", "html"])
def test_examples_in_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_apple_graph_has_the_book_s_numbers(gradients):
    apple = gradients["graphs"][0]
    told = {edge["name"]: (edge["forward"], edge["backward"]) for edge in apple["edges"]}
    assert {name: tuple(round(value, 9) for value in pair) for name, pair in told.items()} == {
        "apple": (100, 2.2),
        "number": (2, 110),
        "apple price": (200, 1.1),
        "tax": (1.1, 200),
        "price": (220, 1),
    }


def test_every_record_has_a_graph_with_something_in_every_gradient():
    from oracle.catalog.records import RECORDS

    made = {graph["layer"]: graph for graph in graphs.to_graphs(RECORDS.values())}
    assert set(RECORDS) == set(made) - {None}
    for name, record in RECORDS.items():
        *inner, _ = made[name]["edges"]
        differentiated = [edge for edge in inner if edge["backward"] is not None]
        assert bool(differentiated) is record.has_backward
        assert all(str(edge["backward"]).strip("[]0., ") for edge in differentiated)


def test_the_complex_step_has_all_digits_and_the_central_difference_never_has(gradients):
    rows = {row["layer"]: row for row in gradients["step_sizes"]}
    for row in rows.values():
        assert max(row["complex"][9:]) < 1e-15
    assert 1e-13 < min(rows["Sigmoid"]["central"]) < 1e-9
    assert rows["Sigmoid"]["central"][-1] == pytest.approx(1)
