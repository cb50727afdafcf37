"""The CSV reader: what it returns, and that whatever is not a digit per line is refused in one line that names it."""

from pathlib import Path

import numpy as np
import pytest

from oracle.data.mnist_csv import read_mnist_csv
from oracle.errors import InputError

LABELS = np.array([5, 0, 9], dtype=np.uint8)
PIXELS = np.random.default_rng(0).integers(0, 256, size=(3, 784), dtype=np.uint8)
PIXELS[:, :3] = [0, 7, 255]  # numbers of one and three figures, and the ends of the range
HEADER = ",".join(["label", *(f"{row}x{column}" for row in range(1, 29) for column in range(1, 29))])


def lines() -> list[list[str]]:
    """The three digits as fields, to be changed at will."""
    return [list(map(str, [label, *row])) for label, row in zip(LABELS, PIXELS.tolist(), strict=True)]


def text(fields: list[list[str]]) -> str:
    return "".join(",".join(line) + "\n" for line in fields)


@pytest.fixture
def write(tmp_path: Path):
    def writer(content: str | bytes) -> Path:
        path = tmp_path / "mnist_train.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return writer


def refusal(path: Path, limit: int | None = None) -> str:
    """Return the message that refuses the file, without the file's name; it is one line and starts with that name."""
    with pytest.raises(InputError) as caught:
        read_mnist_csv(path, limit)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


HARMLESS = {
    "no header": text(lines()),
    "a header": HEADER + "\n" + text(lines()),
    "a quoted header": ",".join(f'"{name}"' for name in HEADER.split(",")) + "\n" + text(lines()),
    "a header of numbers but for the label": "label," + ",".join(map(str, range(784))) + "\n" + text(lines()),
    "no line end after the last line": text(lines()).rstrip("\n"),
    "line ends of Windows": text(lines()).replace("\n", "\r\n"),
    "a header and line ends of Windows": (HEADER + "\n" + text(lines())).replace("\n", "\r\n"),
    "a byte order mark": "\ufeff" + text(lines()),
    "a byte order mark and a header": "\ufeff" + HEADER + "\n" + text(lines()),
    "empty lines": "\n" + text(lines()).replace("\n", "\n \n") + "\n\n",
    "spaces": text(lines()).replace(",", " , "),
}


@pytest.mark.parametrize("content", HARMLESS.values(), ids=HARMLESS.keys())
@pytest.mark.parametrize("limit", [None, 0, 1, 2, 3, 99])
def test_digits_come_back_in_order_up_to_the_limit(write, content, limit):
    pixels, labels = read_mnist_csv(write(content), limit)
    np.testing.assert_array_equal(pixels, PIXELS[:limit])
    np.testing.assert_array_equal(labels, LABELS[:limit])
    assert pixels.dtype == labels.dtype == np.uint8


def test_a_limit_leaves_what_follows_unread(write):
    path = write(text(lines()) + "nonsense\n")
    np.testing.assert_array_equal(read_mnist_csv(path, limit=3).pixels, PIXELS)
    assert "line 4 has 1 column" in refusal(path)


def test_limit_0_still_reads_a_line(write):
    assert "line 1 has 1 column" in refusal(write("<!DOCTYPE html>\n"), limit=0)


@pytest.mark.parametrize("with_header", [False, True])
@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        (0, "10", "the label is '10', but a whole number in 0..9 is required"),
        (0, "-1", "the label is '-1'"),
        (0, "300", "the label is '300'"),
        (0, "", "the label is ''"),
        (0, "five", "the label is 'five'"),
        (1, "256", "pixel 1 is '256', but a whole number in 0..255 is required"),
        (1, "-1", "pixel 1 is '-1'"),
        (784, "1000", "pixel 784 is '1000'"),
        (784, "", "pixel 784 is ''"),
        (2, "7.0", "pixel 2 is '7.0'"),
        (2, "0.5", "pixel 2 is '0.5'"),
        (2, "nan", "pixel 2 is 'nan'"),
        (2, "1_0", "pixel 2 is '1_0'"),
        (2, '"7"', "pixel 2 is '\"7\"'"),
        (2, "٧", r"pixel 2 is '\u0667'"),
        (2, "\0", r"pixel 2 is '\x00'"),
        (2, "9" * 5000, "pixel 2 is '99999999999999999999', but"),
    ],
)
def test_what_is_no_label_or_no_pixel(write, with_header, column, value, what):
    fields = lines()
    fields[1][column] = value
    content = HEADER + "\n" + text(fields) if with_header else text(fields)
    assert f"line {2 + with_header}: {what}" in refusal(write(content))


def test_numbers_of_lines_far_down(write):
    """Beyond the lines that are turned into numbers together."""
    fields = lines() * 1000
    path = write(text(fields))
    np.testing.assert_array_equal(read_mnist_csv(path).pixels, np.tile(PIXELS, (1000, 1)))
    np.testing.assert_array_equal(read_mnist_csv(path, limit=2500).labels, np.tile(LABELS, 1000)[:2500])
    fields[2345] = ["10", *fields[2345][1:]]
    assert "line 2346: the label is '10'" in refusal(write(text(fields)))


def test_the_first_of_several_faults_is_named(write):
    fields = lines()
    fields[1][9] = "-9"
    fields[1][99] = "x"
    fields[2].pop()
    assert "line 2: pixel 9 is '-9'" in refusal(write(text(fields)))


def test_empty_lines_count_in_the_number_of_a_line(write):
    fields = lines()
    fields[1][1] = "x"
    assert "line 4: pixel 1" in refusal(write("\n" + text(fields).replace("\n", "\n\n", 1)))


@pytest.mark.parametrize("first", ["5x", "", "?", "-"])
def test_a_damaged_first_line_is_not_taken_for_a_header(write, first):
    fields = lines()
    fields[0][0] = first
    assert f"line 1: the label is {first!r}" in refusal(write(text(fields)))


@pytest.mark.parametrize("line", [0, 1, 2])
@pytest.mark.parametrize(("change", "columns"), [(lambda fields: fields.pop(), 784), (lambda f: f.append("0"), 786)])
def test_wrong_number_of_columns(write, line, change, columns):
    fields = lines()
    change(fields[line])
    message = refusal(write(text(fields)))
    assert f"line {line + 1} has {columns} columns, but 785 (the label, then 784 pixels) are required" in message


def test_wrong_number_of_columns_in_all_lines(write):
    """As when pandas has written its index in front."""
    assert "line 1 has 786 columns" in refusal(write(text([["0", *fields] for fields in lines()])))
    assert "line 1 has 786 columns" in refusal(write("," + HEADER + "\n" + text([["0", *f] for f in lines()])))


def test_header_of_another_file(write):
    assert "line 1 has 3 columns" in refusal(write("name,height,weight\nA,1,2\n"))


def test_web_page_in_place_of_the_file(write):
    assert "line 1 has 1 column," in refusal(write("<!DOCTYPE html>\n<title>Please log in</title>\n"))
    assert "line 1, the last one, ends after 1 column (truncated)" in refusal(write("<!DOCTYPE html>"))


def test_truncated_last_line(write):
    whole = text(lines()).rstrip("\n")
    cut = whole[: whole.rindex(",", 0, len(whole) - 50)]
    columns = cut.splitlines()[-1].count(",") + 1
    message = refusal(write(cut))
    assert f"line 3, the last one, ends after {columns} columns (truncated), but 785" in message
    assert "fetch or copy the file again" in message


def test_truncated_behind_a_comma(write):
    whole = text(lines()).rstrip("\n")
    assert "line 3: pixel 784 is ''" in refusal(write(whole[: whole.rindex(",") + 1]))


@pytest.mark.parametrize("content", ["", "\n", " \n\r\n"])
@pytest.mark.parametrize("limit", [None, 0, 2])
def test_empty_file(write, content, limit):
    assert "the file is empty" in refusal(write(content), limit)


def test_header_and_nothing_else(write):
    assert "holds a header line and no digit" in refusal(write(HEADER + "\n"))


@pytest.mark.parametrize(
    "content", [b"\x1f\x8b\x08\x00\x93\xff\xfe", bytes(range(256)) * 9, b"\xff\xfe5\0,\x000\0\n\0"]
)
def test_binary_file(write, content):
    assert "line 1" in refusal(write(content))


def test_missing_file(tmp_path):
    assert "no such file" in refusal(tmp_path / "nothing.csv")


def test_directory_in_place_of_a_file(tmp_path):
    assert "cannot be read" in refusal(tmp_path)


def test_negative_limit(write):
    with pytest.raises(ValueError, match="limit = -1"):
        read_mnist_csv(write(text(lines())), limit=-1)


def test_number_that_numpy_does_not_read_is_refused_with_its_place(write):
    fields = lines()
    fields[1][5] = "-0"
    assert "could not convert string '-0' to uint8 at row 1, column 6" in refusal(write(text(fields)))
