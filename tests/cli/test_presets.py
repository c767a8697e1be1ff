"""Every preset is a valid config with a threshold and a budget, as the benchmarks read it."""

import math
from pathlib import Path

import pytest

from rllib import core
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


SMALL = {
    "ppo_pong": "num_envs_per_env_runner=2 rollout_fragment_length=16"
    " train_batch_size_per_learner=64 minibatch_size=16",
    "impala_pong": "num_env_runners=1 num_envs_per_env_runner=2 num_learners=0"
    " rollout_fragment_length=16 train_batch_size_per_learner=32",
}


@pytest.mark.parametrize("preset", SMALL)
def test_presets_that_take_hours_start_to_learn(preset):
    pytest.importorskip("ale_py", reason="needs the extra [atari]")
    small = [*SMALL[preset].split(), "min_sample_timesteps_per_iteration=0"]
    with core.init(num_cpus=2), load_plan(preset, small).config.build_algo() as algo:
        results = [algo.train() for _ in range(4)]
    learnt = results[-1]["learners"]["default_policy"]
    assert results[-1]["num_env_steps_sampled_lifetime"] >= 64
    assert math.isfinite(learnt["total_loss"])
