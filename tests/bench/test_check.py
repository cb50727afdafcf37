"""``oracle bench``: it runs, its report has the keys that others rely on, and the ways are timed by turns."""

import gc
import json
import multiprocessing
import signal

import pytest

from oracle import data
from oracle.bench import check
from oracle.bench.check import DRAWS, SAMPLES, images_like_mnist, thresholds
from oracle.bench.timing import Row, Way, _serve, interleaved, time_calls
from oracle.cli import main
from oracle.reporting.bench import check_timings
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


def test_process_ends_when_whoever_asked_is_gone():
    before, (ours, theirs) = signal.getsignal(signal.SIGINT), multiprocessing.Pipe()
    try:
        ours.close()
        _serve(theirs, Way("dict", "builtins:int", {}))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("is_enabled", [True, False])
def test_garbage_is_not_collected_while_time_is_taken(is_enabled):
    before, seen = gc.isenabled(), []
    try:
        (gc.enable if is_enabled else gc.disable)()
        assert time_calls(lambda: seen.append(gc.isenabled()), 3) > 0
        assert gc.isenabled() is is_enabled
    finally:
        (gc.enable if before else gc.disable)()
    assert seen == [False] * 5  # two of them uncounted


def test_without_gradcheck_its_ratio_is_missing():
    rows = [Row(name, 1.0, 1) for name in ("fwdbwd", "certificate", "loop")]
    timings = check_timings(rows)
    assert timings.ratios.keys() == {"check/certificate_over_fwdbwd", "check/loop_over_certificate"}
    assert timings.skipped[0]["count"] == 1


def test_images_of_mnist_are_taken_where_there_are_some(monkeypatch, tmp_path):
    asked = []

    def load(directory, *, limit):
        asked.append((str(directory), limit))
        return images_like_mnist(0)

    monkeypatch.setattr(data, "load_mnist", load)
    names = ("fwdbwd", "certificate", "loop")
    monkeypatch.setattr(check, "interleaved", lambda ways, **_: [Row(name, 1.0, 1) for name in names])
    monkeypatch.setattr(check, "DRAWS", 2)
    arguments = ["--mnist", str(tmp_path), "--rounds", "1", "--quiet", "--out", str(tmp_path)]
    assert main(["bench", "check", *arguments]) == 0
    assert asked == [(str(tmp_path), SAMPLES)]
    assert json.loads((tmp_path / "bench_check.json").read_text(encoding="utf-8"))["images"] == "three MNIST images"
