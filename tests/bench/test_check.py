"""``oracle bench``: it runs, its report has the keys that others rely on, and the ways are timed by turns."""

import json

import pytest

from oracle.bench.check import DRAWS, SAMPLES, images_like_mnist, thresholds
from oracle.bench.timing import Way, interleaved
from oracle.cli import main
from oracle.sources.autograd import is_available


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("reports")
    assert main(["bench", "check", "--rounds", "1", "--out", str(out), "--quiet"]) == 0
    files = [(out / f"bench_check.{kind}").read_text(encoding="utf-8") for kind in ("json", "md")]
    return json.loads(files[0]), files[1]


def test_ratios_have_the_names_that_others_rely_on(report):
    expected = {"check/certificate_over_fwdbwd", "check/loop_over_certificate"}
    expected |= {"check/gradcheck_fast_over_certificate"} if is_available() else set()
    assert set(report[0]["ratios"]) == expected
    assert all(ratio > 0 for ratio in report[0]["ratios"].values())
    assert report[0]["kind"] == "bench check"
    assert {"name", "median_s", "runs"} == set(report[0]["rows"][0])


def test_missing_pytorch_is_said_and_not_hidden(report):
    assert bool(report[0]["summary"]["skipped"]) is not is_available()
    assert ("not run: PyTorch is not installed" in report[1]) is not is_available()


def test_thresholds_and_what_was_measured_on_are_in_both_files(report):
    noticed = report[0]["thresholds"]
    assert noticed["draws"] == DRAWS
    for part in (f"{noticed['guaranteed']:.1e}", f"{noticed['observed']:.1e}", report[0]["images"]):
        assert part in report[1]


def test_images_for_where_there_is_no_mnist_have_as_many_zeros():
    images = images_like_mnist(3)
    assert images.images.shape == (SAMPLES, 784)
    # A fifth of 2,352 pixels, six standard deviations of 19 on either side.
    assert abs(int((images.images != 0).sum()) - 0.191 * images.images.size) < 6 * 19
    assert thresholds(images, seed=1)["observed"] > 0


def test_what_a_way_raises_reaches_whoever_asked():
    ways = [Way("whole", "builtins:dict", {}, repeats=3), Way("part", "builtins:dict", {}, repeats=3, part=0.5)]
    # A dictionary cannot be called.
    with pytest.raises(TypeError):
        interleaved(ways, rounds=2)
