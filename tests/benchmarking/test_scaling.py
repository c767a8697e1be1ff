"""The scaling row: what it makes of speeds, and that it measures at all."""

import pytest

pytest.importorskip("benchmarks", reason="only in a checkout")

from benchmarks import scaling


def test_linear_is_so_many_times_the_fewest():
    results = {"1": {"median": 400.0}, "2": {"median": 800.0}, "8": {"median": 2560.0}}
    assert scaling.efficiencies(results) == {1: 1.0, 2: 1.0, 8: 0.8}


def test_an_env_runner_in_this_process_is_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scaling, "ROWS", 5)
    assert 0 < scaling.measure(0, 0.05) < 1.0 / scaling.SLEEP_S
