"""Calls per env step: exact, and larger where more is done."""

import json
from pathlib import Path
from typing import Any

import pytest

from rllib.benchmarking import counts
from rllib.sampling.env_runner import EnvRunner

BASELINE = Path(__file__).parents[2] / "benchmarks" / "baselines" / "short.json"
SMALL = ("num_envs_per_env_runner=4", "rollout_fragment_length=32",
         "train_batch_size_per_learner=128", "minibatch_size=64")  # fmt: skip


def test_only_what_has_grown_beyond_the_tolerance_is_told():
    old = {"row": {"python_calls": 100.0, "c_calls": 50.0}}
    assert not counts.regressions(old, {"row": {"python_calls": 104.0, "c_calls": 20.0}})
    (line,) = counts.regressions(old, {"row": {"python_calls": 106.0, "c_calls": 50.0}})
    assert "python_calls per env step: 106.00, was 100.00 (1.06x)" in line
    assert not counts.regressions({}, {"row": {"python_calls": 1.0}}), "a row that is new"


def test_counts_are_the_same_again_and_grow_with_work_in_every_step(
    monkeypatch: pytest.MonkeyPatch,
):
    first = counts.count("ppo_cartpole", SMALL)
    assert counts.count("ppo_cartpole", SMALL) == pytest.approx(first, rel=0.01)
    step = EnvRunner._step

    def wasteful(self: EnvRunner, *args: Any) -> Any:
        for _ in range(20):
            str(self.index)
            (lambda: None)()
        return step(self, *args)

    monkeypatch.setattr(EnvRunner, "_step", wasteful)
    grown = counts.count("ppo_cartpole", SMALL)
    assert len(counts.regressions({"row": first}, {"row": grown})) == 1, "the Python calls"
    assert grown["python_calls"] > first["python_calls"] + 4


def test_the_exit_code_tells_of_a_regression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = str(tmp_path / "before.json")
    monkeypatch.setattr(counts, "count", lambda _row: {"python_calls": 10.0})
    assert counts.main(["--save", path]) == 0
    assert counts.main(["--compare", path]) == 0
    monkeypatch.setattr(counts, "count", lambda _row: {"python_calls": 11.0})
    assert counts.main(["--compare", path]) == 1
    assert "more work than before: ppo_cartpole" in capsys.readouterr().out


def test_the_baseline_has_the_short_rows():
    assert json.loads(BASELINE.read_text()).keys() == set(counts.SHORT)
