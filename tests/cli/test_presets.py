"""Every preset is a valid config with a threshold and a budget, as the benchmarks read it."""

from pathlib import Path

import pytest

from rllib.config.file import load_plan

PRESETS = sorted(path.stem for path in (Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_says_what_it_reaches_within_how_many_env_steps(preset):
    plan = load_plan(preset)
    budget = plan.stop["num_env_steps_sampled_lifetime"]
    thresholds = [name for name in plan.stop if name != "num_env_steps_sampled_lifetime"]
    assert len(thresholds) == 1
    assert budget >= 10_000
    assert plan.config.seed == 1
