"""The report, as a browser shows it, and what it says of machine, commands and faults."""

import json
import shutil
from pathlib import Path

import pytest
from browser import Browser, find_browser
from small_runs import train

from rllib.results.compare import compare
from rllib.results.page import _faults, _ticks, page, write_page
from rllib.results.saved import SavedRun
from rllib.results.video import film
from rllib.runs.record import PROGRESS
from rllib.runs.starts import STARTS, machine, words

BROWSER = find_browser()


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (as root: make browser)")
@pytest.mark.parametrize("width", [420, 1000])
def test_a_browser_shows_it_without_a_request_or_a_complaint(
    width: int, one: SavedRun, two: SavedRun, runs_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    film(one, one.path / "film.mp4", episodes=1)
    write_page(compare(["one", "two"], runs_dir), file)
    with Browser(str(BROWSER), tmp_path / "profile") as tab:
        tab.open(file, width, 800)
        ready = "document.querySelector('video').readyState >= 1 || new Promise(done => "
        ready += "document.querySelector('video').onloadedmetadata = () => done(true))"
        tab.send("Runtime.evaluate", expression=ready, awaitPromise=True)
        assert tab.complaints() == []
        outside = [url for url in tab.requests() if not url.startswith("data:")]
        assert outside == [file.resolve().as_uri()]
        assert tab.value("document.querySelector('video').videoWidth") > 0
        assert tab.value("document.querySelectorAll('polyline').length") >= 8
        assert tab.value("document.documentElement.scrollWidth") <= width
        assert tab.value("JSON.parse(figures.textContent).groups.length") == 2
        assert tab.value("[...document.querySelectorAll('text')].every(t => t.getBBox().x >= 0)")


def test_where_and_how_it_was_trained_is_written_each_time_it_goes_on(tmp_path: Path) -> None:
    train(tmp_path, "again")
    run = train(tmp_path, "again", until=6)
    begun, continued = run.starts
    assert (begun["iteration"], continued["iteration"]) == (0, 4)
    assert begun["command"]
    assert begun["versions"].keys() >= {"torch", "numpy", "gymnasium"}
    assert {key: continued[key] for key in ("host", "cpu", "memory_gib")} == {
        key: machine()[key] for key in ("host", "cpu", "memory_gib")
    }
    text = page(compare(["again"], tmp_path))
    assert words(begun) in text
    assert "goes on after iteration 4" in text
    assert dict(_faults([run]))["continued after an end"] == "1"


def test_runs_of_before_have_a_report_as_well(one: SavedRun, tmp_path: Path) -> None:
    shutil.copytree(one.path, tmp_path / "old")
    (tmp_path / "old" / STARTS).unlink()
    assert "not recorded" in page(compare(["old"], tmp_path))


def test_faults_are_counted_over_all_parts_of_a_run(tmp_path: Path) -> None:
    """Counts begin anew when it goes on: 1, 2, then 0, 3 are five, not three."""
    name = "fault_tolerance/num_remote_worker_restarts"
    rows = ({"training_iteration": i, name: n} for i, n in enumerate([1, 2, 0, 3]))
    (tmp_path / PROGRESS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert dict(_faults([SavedRun(tmp_path)]))["env runners started anew"] == "5"


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 500.0, [0, 100, 200, 300, 400, 500]),
        (22.3, 480.6, [100, 200, 300, 400]),
        (-7.1, 0.9, [-6, -4, -2, 0]),
        (0.011, 0.019, [0.012, 0.014, 0.016, 0.018]),
    ],
)
def test_axes_have_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert _ticks(low, high, 5) == pytest.approx(ticks)
