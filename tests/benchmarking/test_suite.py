"""``rllib benchmark``: measurements, baselines, exit codes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rllib.benchmarking import suite as suites
from rllib.benchmarking.measure import measure, row_names
from rllib.cli import app
from rllib.config.file import load_plan
from rllib.errors import ConfigError


def measurement(steps_per_second: float, calibration_s: float = 0.01) -> suites.Measurement:
    steps = {"env_steps": 2 * steps_per_second, "seconds": 2.0}
    return {**steps, "calibration_s": calibration_s}


def test_a_row_is_measured_in_steps_seconds_and_memory():
    found = measure("ppo_cartpole", 0.1, ("num_envs_per_env_runner=4",))
    assert found["env_steps"] > 0
    assert found["seconds"] >= 0.1
    assert 0 < found["calibration_s"] < 1
    assert found["rss_mib"] > 50
    assert found["stages"]["learning"] > 0


@pytest.mark.parametrize("row", row_names())
def test_every_row_is_a_config(row: str):
    path = Path(suites.__file__).parent / "rows" / f"{row}.yaml"
    assert load_plan(str(path)).name == row


def test_every_suite_names_rows_that_there_are():
    assert {row for rows in suites.SUITES.values() for row in rows} <= set(row_names())


def test_a_slower_hour_of_the_machine_is_no_regression():
    before = {"row": [measurement(1000.0, 0.01)] * 3}
    slower_machine = {"row": [measurement(500.0, 0.02)] * 3}
    slower_program = {"row": [measurement(500.0, 0.01)] * 3}
    assert not suites.is_regression(suites.table(slower_machine, before, 0.05))
    assert suites.is_regression(suites.table(slower_program, before, 0.05))
    assert suites.table(slower_machine, None, 0.05)[0].steps_per_second == 500.0


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Speeds that the rows of a suite are found to have, in turn."""
    speeds = [1000.0]
    monkeypatch.setattr(suites, "_measured", lambda *_args: measurement(speeds[-1]))
    return speeds


def test_the_exit_code_tells_of_a_regression(tmp_path: Path, measured: list[float]):
    baseline, runner = str(tmp_path / "baseline.json"), CliRunner()
    command = ["benchmark", "--suite", "short", "--repeats", "3"]
    saved = runner.invoke(app, [*command, "--save", baseline])
    assert saved.exit_code == 0, saved.output
    assert json.loads(Path(baseline).read_text())["suite"] == "short"
    assert "1,000 env steps/s" in saved.output
    same = runner.invoke(app, [*command, "--compare", baseline])
    assert same.exit_code == 0
    assert "not distinguishable" in same.output
    measured.append(700.0)
    slower = runner.invoke(app, [*command, "--compare", baseline])
    assert slower.exit_code == 1
    assert "0.70x" in slower.output
    assert "slower" in slower.output
    assert (
        runner.invoke(app, [*command, "--compare", baseline, "--tolerance", "0.4"]).exit_code == 0
    )


@pytest.mark.parametrize("text", ["", "[]", '{"results": 3}', '{"results": {"row": 1}}'])
def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="not a baseline"):
        suites.read_baseline(path)


def test_an_unknown_suite_and_a_missing_file_are_errors_before_anything_runs():
    runner = CliRunner()
    unknown = runner.invoke(app, ["benchmark", "--suite", "shorty"])
    missing = runner.invoke(app, ["benchmark", "--compare", "/nowhere.json"])
    assert (unknown.exit_code, missing.exit_code) == (2, 2)
    assert "short" in unknown.stderr
    assert "/nowhere.json" in missing.stderr


def test_a_row_that_fails_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(suites.SUITES, "broken", {"ppo_cartpole": ("lr=-1",)})
    with pytest.raises(RuntimeError, match="lr"):
        suites.run_suite("broken", 0.1, 1)
