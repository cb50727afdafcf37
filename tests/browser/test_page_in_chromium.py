"""The page in a real browser: it loads quietly, sections open and close, tables are sorted, numbers are the JSON's."""

import copy
import json
import random
import statistics
import time

import pytest

from oracle.reporting.page import build_page

PAIRS = ("backprop-numerical", "backprop-autograd", "numerical-autograd")
#: Sorting this many rows is to take less than 300 ms, until the new order is laid out. It is printed and not asserted:
#: a busy machine takes several times as long.
ROWS = 10_000
#: A table of errors by its caption, a row each: exact values where there are some, and texts.
READ = """
const table = Array.from(document.querySelectorAll("#errors table")).find(t => t.caption.textContent === arguments[0]);
return Array.from(table.tBodies[0].rows, row => Array.from(row.cells, c => [c.dataset.value ?? null, c.innerText]));
"""
CAPTION = "Errors of layers, three ways"
MARGIN = 10


@pytest.fixture
def page(chromium, reports):
    """The page, freshly loaded, as wide as a screen, in the light."""
    show(chromium, 1200, "light")
    load(chromium, reports / "index.html")
    return chromium


def show(browser, width, scheme, medium="screen"):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"media": medium, "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def load(browser, path):
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.execute_script("window.isBefore = true")
    browser.get(path.as_uri())
    # On a busy machine the driver may come back from a page of the same address before all of the next one is there.
    deadline = time.monotonic() + 60
    while not browser.execute_script("return document.readyState === 'complete' && window.isBefore === undefined"):
        assert time.monotonic() < deadline, "the page was not loaded within a minute"
        time.sleep(0.02)


def header(browser, text, caption=CAPTION):
    """The button in the header of a column."""
    script = """
    const tables = Array.from(document.querySelectorAll("table.sortable"));
    const table = tables.find(t => t.caption.textContent === arguments[0]);
    return Array.from(table.querySelectorAll("thead button")).find(b => b.textContent === arguments[1]);
    """
    return browser.execute_script(script, caption, text)


def order(browser):
    return browser.execute_script(
        "return Array.from(document.querySelectorAll('#errors th'), h => h.getAttribute('aria-sort')).filter(Boolean)"
    )


# ----------------------------------------------------------------------------- loading


def test_it_loads_without_a_message_or_a_request(page, reports):
    assert page.title
    assert page.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert set(asked) - {"data:,"} == {(reports / "index.html").as_uri()}


def test_a_hostile_file_runs_nothing(page):
    assert page.execute_script("return document.scripts.length") == 1
    assert page.execute_script("return document.images.length") == 0
    assert "<script>alert" in page.execute_script("return document.getElementById('own').innerText")


def test_names_in_korean_and_japanese_are_shown_as_they_are(chromium, reports, tmp_path):
    own = (reports / "check.json").read_text(encoding="utf-8")
    path = tmp_path / "index.html"
    name = "시그모이드<b>層</b>"
    report = json.loads(own)
    report["subjects"][0] |= {"name": name, "file": "層 レイヤー.py", "cause": "계산할 수 없다 & 計算"}
    path.write_text(build_page(tmp_path, {"check.json": json.dumps(report, ensure_ascii=False)}), encoding="utf-8")
    load(chromium, path)
    shown = chromium.execute_script("return document.getElementById('own').innerText")
    assert name in shown
    assert "層 レイヤー.py:7" in shown
    assert chromium.execute_script("return document.querySelector('#own b')") is None
    assert chromium.get_log("browser") == []


def test_without_its_script_the_policy_lets_no_other_run(page):
    page.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.ran = true'; document.body.append(s);"
    )
    assert page.execute_script("return window.ran") is None
    assert "Content Security Policy" in page.get_log("browser")[0]["message"]


# ----------------------------------------------------------------------------- sections


def test_sections_open_and_close_by_mouse_and_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    summary = page.execute_script("return document.querySelector('#errors details:not([open]) > summary')")
    details = page.execute_script("return arguments[0].parentElement", summary)
    assert details.get_property("open") is False
    summary.click()
    assert details.get_property("open") is True
    summary.send_keys(Keys.ENTER)
    assert details.get_property("open") is False


def test_all_sections_open_and_close_at_once(page):
    count = "return document.querySelectorAll('details').length"
    opened = "return document.querySelectorAll('details[open]').length"
    everything = page.execute_script(count)
    for button, expected in zip(page.find_elements("css selector", "#controls button"), (everything, 0), strict=True):
        button.click()
        assert page.execute_script(opened) == expected


def test_links_of_the_contents_lead_to_their_sections(page):
    for link in page.find_elements("css selector", "nav a"):
        name = link.get_attribute("href").partition("#")[2]
        link.click()
        assert page.execute_script("return location.hash") == f"#{name}"
        assert abs(page.execute_script(f"return document.getElementById('{name}').getBoundingClientRect().top")) < 820


def test_the_first_stop_of_the_keyboard_skips_to_the_figures(page):
    from selenium.webdriver.common.keys import Keys

    page.switch_to.active_element.send_keys(Keys.TAB)
    link = page.switch_to.active_element
    assert link.text == "Skip to the figures"
    assert link.value_of_css_property("outline-style") == "solid"
    link.send_keys(Keys.ENTER)
    assert page.switch_to.active_element.get_attribute("id") == "main"


# ----------------------------------------------------------------------------- numbers


def test_numbers_are_those_of_the_json(page, reports):
    report = json.loads((reports / "gradient_errors.json").read_text(encoding="utf-8"))
    page.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    compared = 0
    for section in dict.fromkeys(row["section"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["section"] == section]
        shown = page.execute_script(READ, f"Errors of {section}, three ways")
        assert len(shown) == len(rows)
        for row, cells in zip(rows, shown, strict=True):
            assert [text for _, text in cells[:3]] == [row["layer"], row["quantity"], row["dtype"]]
            for pair, (value, text) in zip(PAIRS, cells[4:7], strict=True):
                if row["pairs"][pair] is None:
                    assert (value, text) == (None, row["not_run"][pair])
                    continue
                expected = row["pairs"][pair]["max_abs"]
                assert float(value) == expected
                assert text == ("0" if expected == 0 else f"{expected:.1e}")
                compared += 1
            assert cells[-1][1].endswith(row["verdict"])
    assert compared > 50


def test_the_summary_is_that_of_the_json(page, reports):
    summary = json.loads((reports / "gradient_errors.json").read_text(encoding="utf-8"))["summary"]
    told = page.execute_script("return document.getElementById('overview').innerText")
    assert f"Compared: {summary['comparisons']:,} comparisons" in told
    assert f"{summary['checks_run']:,} checks run" in told


# ----------------------------------------------------------------------------- sorting


def test_a_column_is_sorted_the_largest_first_and_then_the_smallest(page):
    before = page.execute_script(READ, CAPTION)
    margins = sorted(float(row[MARGIN][0]) for row in before)
    for direction, expected in (("descending", margins[::-1]), ("ascending", margins)):
        header(page, "margin").click()
        assert order(page) == [direction]
        rows = page.execute_script(READ, CAPTION)
        assert [float(row[MARGIN][0]) for row in rows] == expected
        # Whole rows have moved.
        assert sorted(map(str, rows)) == sorted(map(str, before))
        told = page.execute_script("return document.getElementById('announcer').textContent")
        assert told == f"{CAPTION}: sorted by margin, {direction}"


def test_names_are_sorted_from_a_and_by_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    button = header(page, "layer")
    for key, direction in ((Keys.ENTER, "ascending"), (Keys.SPACE, "descending")):
        button.send_keys(key)
        assert order(page) == [direction]
        names = [row[0][1] for row in page.execute_script(READ, CAPTION)]
        assert names == sorted(names, reverse=direction == "descending")
        assert len(set(names)) > 1


def test_what_has_no_figure_comes_last_in_either_direction(page):
    # The sum along a direction has no autograd beside it, whether PyTorch is there or not.
    caption = "Errors of networks, three ways"
    page.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    for _ in range(2):
        header(page, "backprop – autograd", caption).click()
        values = [row[5][0] for row in page.execute_script(READ, caption)]
        known = [value for value in values if value is not None]
        assert None in values
        assert values == known + [None] * (len(values) - len(known))


@pytest.fixture(scope="module")
def long_page(reports, tmp_path_factory):
    """A report with ten thousand rows."""
    report = json.loads((reports / "gradient_errors.json").read_text(encoding="utf-8"))
    draw = random.Random(0)
    rows = []
    for number in range(ROWS):
        row = copy.deepcopy(report["rows"][number % len(report["rows"])])
        row |= {"section": "layers", "layer": f"Layer {draw.randrange(10**6)}"}
        for pair in filter(None, row["pairs"].values()):
            pair |= {"max_abs": 10 ** -draw.uniform(5, 20), "margin": draw.random()}
        rows.append(row)
    path = tmp_path_factory.mktemp("long") / "index.html"
    path.write_text(build_page(path.parent, {"gradient_errors.json": json.dumps({**report, "rows": rows})}), "utf-8")
    return path, rows


def test_ten_thousand_rows_are_sorted_and_how_long_that_takes_is_printed(chromium, long_page, capsys):
    path, rows = long_page
    show(chromium, 1200, "light")
    load(chromium, path)
    script = """
    const [button, done] = arguments, start = performance.now();
    button.click();
    document.body.getBoundingClientRect();  // until it is laid out
    done(performance.now() - start);
    """
    took = {}
    for column in ("margin", "backprop – numerical", "layer", "verdict"):
        button = header(chromium, column)
        took[column] = statistics.median(chromium.execute_async_script(script, button) for _ in range(5))
    with capsys.disabled():
        print(f"\nSorting {ROWS:,} rows, median ms by column: { {k: round(v) for k, v in took.items()} }")
    # What makes it fast: no more rows are laid out than can be seen.
    assert chromium.execute_script("return document.querySelectorAll('#errors details[open] tbody tr').length") == 120
    header(chromium, "margin").click()
    shown = [float(row[MARGIN][0]) for row in chromium.execute_script(READ, CAPTION)]
    own = [[row["pairs"][pair]["margin"] for pair in PAIRS if row["pairs"][pair]] for row in rows]
    worst = [max(margins[:2] if len(margins) > 1 else margins) for margins in own]
    assert shown == sorted(worst, reverse=True)[: len(shown)]


def test_the_rows_of_a_long_table_are_turned_like_pages(chromium, long_page):
    load(chromium, long_page[0])
    before, after = chromium.find_elements("css selector", ".pager button")
    position = chromium.find_element("css selector", ".pager span")
    assert (before.is_enabled(), position.text, after.is_enabled()) == (False, "rows 1 to 120 of 10000", True)
    first = chromium.execute_script(READ, CAPTION)
    after.click()
    assert (before.is_enabled(), position.text) == (True, "rows 121 to 240 of 10000")
    assert chromium.execute_script(READ, CAPTION) != first
    before.click()
    assert chromium.execute_script(READ, CAPTION) == first
    chromium.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert len(chromium.execute_script(READ, CAPTION)) == ROWS
    chromium.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert chromium.execute_script(READ, CAPTION) == first


# ----------------------------------------------------------------------------- phone, dark, paper


@pytest.mark.parametrize("width", [320, 360, 768, 1200])
def test_the_page_itself_never_scrolls_sideways(page, width):
    show(page, width, "light")
    page.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_on_a_phone_no_command_is_cut_at_its_hyphens(page):
    show(page, 390, "light")
    cut = """
    return Array.from(document.querySelectorAll(".word"))
      .filter(word => word.getClientRects()[0].height > 1.9 * parseFloat(getComputedStyle(word).fontSize))
      .map(word => word.textContent).filter(text => text.length < 20)
    """
    assert page.execute_script("return document.querySelectorAll('.word').length") > 20
    assert page.execute_script(cut) == []


def test_the_name_of_a_row_and_the_caption_stay_while_a_wide_table_scrolls(page):
    show(page, 390, "light")
    box = page.execute_script("return document.querySelector('#errors details[open] .scrolls')")
    lefts = """
    const [box, to] = arguments;
    box.scrollLeft = to;
    const of = (selector) => box.querySelector(selector).getBoundingClientRect().left;
    return [box.scrollLeft, of("caption span"), of("thead th"), of("tbody th"), of("tbody td:last-child")];
    """
    at_first, *names, last = page.execute_script(lefts, box, 0)
    scrolled, *names_then, last_then = page.execute_script(lefts, box, 200)
    assert (at_first, scrolled) == (0, 200)
    assert names_then == names
    assert last_then == last - 200


def test_the_dark_is_dark_and_paper_is_not(page):
    background = "return getComputedStyle(document.body).backgroundColor"
    shades = {}
    for name, scheme, medium in (("light", "light", "screen"), ("dark", "dark", "screen"), ("paper", "dark", "print")):
        show(page, 1200, scheme, medium)
        shades[name] = sum(map(int, page.execute_script(background)[4:-1].split(",")))
    assert shades["light"] == shades["paper"] == 3 * 255
    assert shades["dark"] < 100


def test_on_paper_everything_is_open_but_what_repeats_a_drawing(page):
    closed = "return document.querySelectorAll('details:not([open])').length"
    before = page.execute_script(closed)
    page.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert (
        page.execute_script("return document.querySelectorAll('main details:not(figure details, [open])').length") == 0
    )
    page.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert page.execute_script(closed) == before > 0


def test_it_can_be_printed(page):
    printed = page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    assert len(printed["data"]) > 50_000
