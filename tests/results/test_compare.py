"""Runs beside each other: figures that can be worked out by hand, and files that open."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rllib.cli import app
from rllib.errors import ConfigError, RunError
from rllib.results.chart import chart
from rllib.results.compare import compare, table
from rllib.results.curves import Curve, curve_of, find_group, reached_at
from rllib.results.page import page
from rllib.results.picture import write_picture
from rllib.results.saved import SavedRun
from rllib.runs.record import ENV_STEPS
from rllib.runs.stopping import RETURN

CONFIG = """\
algorithm: PPO
environment: {env: CartPole-v1}
training: {lr: %s}
stop: {env_runners/episode_return_mean: 30}
"""


def written(
    folder: Path, name: str, returns: list[float], lr: str = "1e-3", step: int = 100
) -> None:
    """A run with these mean returns, one every ``step`` env steps and every second."""
    (folder / name).mkdir(parents=True)
    (folder / name / "config.yaml").write_text(CONFIG % lr)
    rows = [
        {"training_iteration": i, ENV_STEPS: i * 100, "time_total_s": float(i), RETURN: value}
        for i, value in enumerate(returns, start=1)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name / "progress.jsonl").write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written(tmp_path, "a_seed1", [0.0, 10.0, 20.0])
    written(tmp_path, "a_seed2", [0.0, 20.0, 40.0])
    written(tmp_path, "b<1>", [5.0, 15.0, 30.0], lr="2e-3")
    return tmp_path


def test_seeds_of_one_name_are_a_group_unless_a_run_has_that_name(folder: Path) -> None:
    assert [run.name for run in find_group("a", folder).runs] == ["a_seed1", "a_seed2"]
    assert [run.name for run in find_group("a_seed2", folder).runs] == ["a_seed2"]
    written(folder, "a", [1.0])
    assert [run.name for run in find_group("a", folder).runs] == ["a"]
    with pytest.raises(RunError, match="no run 'c'"):
        find_group("c", folder)


def test_a_curve_is_the_mean_of_its_runs_with_limits_around_it(folder: Path) -> None:
    curve = curve_of(find_group("a", folder))
    assert (curve.x[0], curve.x[-1]) == (100, 300)
    assert curve.y == pytest.approx(np.interp(curve.x, [100, 200, 300], [0, 15, 30]))
    assert curve.low[-1] == 20
    assert curve.high[-1] == 40
    alone = curve_of(find_group("a_seed1", folder), axis="time_total_s")
    assert alone.x[-1] == 3.0
    assert np.array_equal(alone.low, alone.high)
    with pytest.raises(RunError, match="did you mean 'env_runners/episode_return_mean'"):
        curve_of(find_group("a", folder), "env_runners/episode_return_maen")


def test_when_a_threshold_was_first_reached(folder: Path) -> None:
    runs = find_group("a", folder).runs
    assert reached_at(runs, 20.0, ENV_STEPS) == [300, 200]
    assert reached_at(runs, 25.0, "time_total_s") == [None, 3.0]


def test_figures_and_differing_settings(folder: Path) -> None:
    found = compare(["a", "b<1>"], folder)
    assert found.threshold == 30
    figures = found.to_dict()
    assert figures["groups"][0]["final_return_iqm"]["estimate"] == 30.0
    assert figures["groups"][0]["steps_to_threshold"] == [None, 300]
    assert figures["groups"][1]["better_than_first"]["estimate"] == 0.5
    assert figures["settings"] == [{"key": "training.lr", "values": [0.001, 0.002]}]
    lines = table(found)
    assert "steps to 30" in lines[0]
    assert "300 (1/2)" in lines[1]
    assert lines[-1].startswith("b<1> ends above a with probability 0.50")


def test_of_two_single_runs_no_probability_is_told(folder: Path) -> None:
    found = compare(["a_seed1", "b<1>"], folder)
    assert all("better_than_first" not in each for each in found.to_dict()["groups"])
    assert len(table(found)) == 3


# To look at.


def test_a_chart_shows_where_each_curve_runs() -> None:
    x = np.array([0.0, 10.0])
    up = Curve("up", x, x, x, x)
    down = Curve("down", x, 10 - x, 10 - x, 10 - x)
    lines = [re.sub(r"\[[^\]]*\]", "", line) for line in chart([up, down], 16, 3, braille=False)]
    assert lines == [
        " 10|ooo      ***",
        "   |   oooooo   ",
        "  0|***      ooo",
        "    0         10",
    ]
    dots = chart([up], width=40, height=5)
    assert len(dots) == 6
    assert any("⠀" <= char <= "⣿" for char in dots[0])


class Reader(HTMLParser):
    """Collects what a page would fetch, and the tags that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        places = (str(v) for k, v in attrs if k in ("src", "href", "action", "data"))
        self.fetched += [place for place in places if not place.startswith("data:")]
        self.seen.add(tag)
        if tag not in ("meta", "link", "br", "line", "polyline", "polygon"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "polyline", "polygon"):
            assert self.open.pop() == tag


def test_a_report_is_one_file_that_needs_nothing_else(folder: Path) -> None:
    text = page(compare(["a", "b<1>"], folder))
    reader = Reader()
    reader.feed(text)
    assert reader.fetched == []
    assert "url(" not in text
    assert "http" not in text
    assert reader.open == []
    assert {"svg", "polyline", "polygon", "table", "details"} <= reader.seen
    assert "<1>" not in text
    (figures,) = re.findall(r'id="figures">(.*?)</script>', text)
    assert json.loads(figures)["groups"][1]["name"] == "b<1>"


def test_a_picture_is_a_png(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = compare(["a"], folder)
    write_picture(found, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="not supported"):
        write_picture(found, tmp_path / "a.docx")


def test_the_commands_on_runs_that_were_trained(
    one: SavedRun, two: SavedRun, runs_dir: Path, tmp_path: Path
) -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--runs-dir", str(runs_dir)])
        assert done.exit_code == 0, done.output
        return done.output

    text = run("compare", "one", "two", "--html", str(tmp_path / "r.html"))
    assert "training.lr: 0.002 | 0.001" in text
    assert "debugging.seed: 1 | 2" in text
    assert "  * one\n  o two\n" in text  # without colours letters tell them apart
    assert "  ⣿ one\n" in run("plot", "one")
    assert "wrote " in text
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert max(map(len, text.splitlines()[:4])) <= 80
    assert "over num_env_steps" in run("plot", "one")
    assert json.loads(run("compare", "one", "two", "--json"))["threshold"] == 475
