"""Rows of ``benchmarks/chaos.py`` for some seconds: nothing ends, and nobody stays away."""

import pytest

from benchmarks import chaos, chaos_checks
from rllib import core
from rllib.preload import PRELOAD

SMALL = {"num_env_runners": 2, "num_envs_per_env_runner": 2}
PPO = SMALL | {"train_batch_size_per_learner": 256, "num_epochs": 2}
IMPALA = SMALL | {"min_sample_timesteps_per_iteration": 256}
APART = chaos.APART | {"sub_environment_timeout_s": 1.0}


@pytest.fixture(scope="module", autouse=True)
def processes():
    with core.init(num_cpus=6, preload=PRELOAD):
        yield


@pytest.mark.filterwarnings("ignore:.*(started anew|made anew)")
@pytest.mark.parametrize(
    "row",
    [
        chaos.Row("ppo_cartpole", PPO, None, "runner", 0.3, 4),
        chaos.Row("impala_cartpole", IMPALA, None, "runner", 0.3, 4),
        chaos.Row("ppo_cartpole", PPO | {"num_learners": 2}, None, "learner", 0.5, 3),
        chaos.Row("ppo_cartpole", PPO | APART, {"fault": "die", "one_in": 100}, None),
    ],
    ids=["PPO, runners killed", "IMPALA, runners killed", "PPO, learners killed", "PPO, envs die"],
)
def test_training_goes_on(row):
    with chaos.configured(row, 1).build_algo() as algo, chaos.killing(row, algo, 1) as kills:
        result = algo.train()
        while not is_enough(row, kills, result):
            result = algo.train()
        while result["fault_tolerance"]["num_healthy_workers"] < SMALL["num_env_runners"]:
            result = algo.train()
    faults = result["fault_tolerance"]
    if row.killed == "runner":
        assert 1 <= faults["num_remote_worker_restarts"] <= row.most
    elif row.killed == "learner":
        assert 1 <= faults["num_learner_restarts"] <= row.most
    assert result["num_env_steps_sampled_lifetime"] > 256


def is_enough(row, kills, result):
    """Whether all has been broken that is to be, and training has gone on since."""
    if row.killed:
        return len(kills) == row.most
    broken = result["env_runners"]["num_env_step_failures_lifetime"]
    return broken >= 3 and result["training_iteration"] > 1


def test_hostile_files_are_refused_whatever_reads_them():
    found = chaos_checks.hostile_refused(40)
    assert not found["canary_touched"]
    assert found["memory_mib"] < 128
    assert "untyped" not in {outcome for each in found["attacks"].values() for outcome in each}
    for kind in found["attacks"].keys() - {"mutated presets"}:
        assert found["attacks"][kind].keys() == {"refused"}, kind
    assert "untyped" not in found["mutated"]


def test_a_writer_that_is_killed_again_and_again_loses_nothing():
    found = chaos_checks.killed_while_writing(8)
    assert found["unreadable_or_lost"] == 0
    assert found["checkpoints"] >= 8
