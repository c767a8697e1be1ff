"""Evaluation: exactly the episodes asked for, with the same seeds in every run."""

import numpy as np
import pytest

from rllib import core
from rllib.algorithms.ppo import PPOConfig
from rllib.envs.counter import CounterEnv


@pytest.fixture(scope="module", autouse=True)
def processes():
    with core.init(num_cpus=4, preload=["torch", "gymnasium", "rllib.algorithms.ppo"]):
        yield


ENDINGS = [(3, "terminated"), (2, "truncated"), (1, "truncated"), (4, "terminated")]


def config(**evaluation):
    settings = {"evaluation_interval": 2, "evaluation_duration": 7} | evaluation
    return (
        PPOConfig()
        .environment(CounterEnv, env_config={"endings": ENDINGS})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=16, minibatch_size=None, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": (4,)})
        .evaluation(**settings)
    )


@pytest.mark.parametrize("runners", [0, 2])
@pytest.mark.parametrize("parallel", [False, True])
def test_every_second_iteration_plays_exactly_so_many_episodes(runners, parallel):
    settings = config(evaluation_num_env_runners=runners, evaluation_parallel_to_training=parallel)
    with settings.build_algo() as algo:
        results = [algo.train() for _ in range(4)]
    assert ["evaluation" in result for result in results] == [False, True, False, True]
    metrics = results[1]["evaluation"]["env_runners"]
    assert metrics["num_episodes"] == metrics["num_episodes_lifetime"] == 7
    # Each environment plays its share one by one; its very first episode was only begun.
    shares = [2, 2, 2, 1] if runners else [4, 3]
    lengths = [length for share in shares for length, _ in (ENDINGS * 2)[1 : 1 + share]]
    assert metrics["num_env_steps_sampled"] == sum(lengths)
    assert metrics["episode_len_mean"] == pytest.approx(np.mean(lengths))


def test_evaluation_counts_nothing_as_training():
    with config().build_algo() as algo:
        before = algo.train()["num_env_steps_sampled_lifetime"]
        algo.evaluate()
        after = algo.train()["num_env_steps_sampled_lifetime"]
    assert (before, after) == (16, 32)


def test_evaluation_does_not_change_training():
    hashes = []
    for interval in (None, 1):
        with config(evaluation_interval=interval).build_algo() as algo:
            for _ in range(3):
                algo.train()
            hashes.append(algo.params_hash())
    assert hashes[0] == hashes[1]


def test_env_steps_can_be_asked_for_instead():
    settings = config(evaluation_duration_unit="timesteps", evaluation_duration=21)
    with settings.build_algo() as algo:
        metrics = algo.evaluate()["env_runners"]
    assert metrics["num_env_steps_sampled"] == 22  # whole steps of two environments


def test_evaluation_can_differ_in_settings():
    settings = config(evaluation_config={"explore": False, "env_config": {"endings": ENDINGS[:1]}})
    with settings.build_algo() as algo:
        metrics = algo.evaluate()["env_runners"]
        assert algo.evaluation.config.explore is False
        assert algo.config.explore is True
    assert metrics["episode_len_max"] == 3


def test_a_restored_run_evaluates_with_the_seeds_that_come_next(tmp_path):
    settings = config(evaluation_interval=1).environment("CartPole-v1", env_config={})
    with settings.build_algo() as algo:
        algo.train()
        path = algo.save_to_path(tmp_path / "saved")
        expected = algo.train()["evaluation"]["env_runners"]
    with type(algo).from_checkpoint(path) as heir:
        actual = heir.train()["evaluation"]["env_runners"]
    assert {k: v for k, v in actual.items() if k != "sample"} == {
        k: v for k, v in expected.items() if k != "sample"
    }
