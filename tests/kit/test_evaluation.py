"""Evaluation: exactly the episodes asked for, with the same seeds in every run."""

from pathlib import Path

import numpy as np
import pytest
from patience import wait_until

from rllib import core
from rllib.algorithms.ppo import PPO, PPOConfig
from rllib.envs.counter import CounterEnv
from rllib.errors import ConfigError
from rllib.sampling.episodes import OpenEnd


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


class Logged(CounterEnv):
    """Appends a byte to a file with every env step."""

    def __init__(self, env_config):
        super().__init__({"endings": ENDINGS})
        self.path = env_config["path"]

    def step(self, action):
        with Path(self.path).open("ab") as file:
            file.write(b".")
        return super().step(action)


class Waits(PPO):
    """Does not go on with training before evaluation has played so many env steps."""

    def training_step(self):
        path = Path(self.config.evaluation_config["env_config"]["path"])
        wait_until(lambda: path.exists() and path.stat().st_size > 700)
        super().training_step()


def auto(path, runners, **settings):
    settings = config(
        evaluation_interval=1,
        evaluation_duration="auto",
        evaluation_parallel_to_training=True,
        evaluation_num_env_runners=runners,
        evaluation_config={"env_config": {"path": str(path)}},
        **settings,
    )
    return settings.environment(Logged, env_config={"path": "/dev/null"})


def test_without_an_end_evaluation_plays_as_long_as_training_goes_on(tmp_path):
    settings = auto(
        tmp_path / "steps",
        1,
        evaluation_auto_duration_min_env_steps_per_sample=10,
        evaluation_auto_duration_max_env_steps_per_sample=50,
    )
    settings.validate()
    with Waits(settings) as algo:
        first, second = (algo.train()["evaluation"]["env_runners"] for _ in range(2))
    assert first["num_env_steps_sampled"] > 700
    assert first["num_episodes"] == first["num_episodes_lifetime"] > 100
    assert second["num_env_steps_sampled"] >= 10


@pytest.mark.parametrize("runners", [0, 2])
def test_who_cannot_play_beside_training_plays_the_least(tmp_path, runners):
    settings = auto(
        tmp_path / "steps", runners, evaluation_auto_duration_min_env_steps_per_sample=31
    )
    if runners:
        with settings.build_algo() as algo:  # nothing is trained beside it
            metrics = algo.evaluate()["env_runners"]
        assert metrics["num_env_steps_sampled"] >= 62
    else:
        with settings.build_algo() as algo:
            metrics = algo.train()["evaluation"]["env_runners"]
        assert metrics["num_env_steps_sampled"] == 32  # whole steps of two environments


def test_an_open_end_is_reached_when_it_is_told_and_not_before_the_least():
    end = OpenEnd(number=3, least=10, at_a_time=5)
    assert not end.is_reached(9, last_ended=3)
    assert not end.is_reached(10, last_ended=2)
    assert not end.is_reached(14, last_ended=3)  # it looks again after 15
    assert end.is_reached(15, last_ended=3)
    assert OpenEnd(3, 10, 5).is_reached(10, last_ended=4)


def own_evaluation(algorithm, env_runners):
    parts = env_runners.foreach_env_runner(lambda runner: runner.play(3, "episodes"))
    seqs = env_runners.foreach_env_runner(lambda runner: runner.weights_seq_no)
    assert set(seqs) == {algorithm.env_runner_group.weights_seq_no}
    steps = sum(each.num_env_steps for each in parts)
    return {"iteration": algorithm.iteration, "best": 7.0}, steps, steps


@pytest.mark.parametrize("runners", [0, 2])
@pytest.mark.parametrize("parallel", [False, True])
def test_a_function_may_evaluate_instead(runners, parallel):
    settings = config(
        custom_evaluation_function=own_evaluation,
        evaluation_num_env_runners=runners,
        evaluation_parallel_to_training=parallel,
    )
    told = []
    settings.callbacks(on_evaluate_end=lambda *, evaluation_metrics, **_: told.append(1))
    with settings.build_algo() as algo:
        results = [algo.train() for _ in range(4)]
        by_hand = algo.evaluate()
    assert ["evaluation" in result for result in results] == [False, True, False, True]
    metrics = results[1]["evaluation"]["env_runners"]
    assert metrics["best"] == 7.0
    assert metrics["iteration"] == (1 if parallel else 2)
    lengths = [length for length, _ in ENDINGS]
    shares = [2, 1] * (runners or 1)
    expected = sum(sum(lengths[1 : 1 + share]) for share in shares)
    assert metrics["num_env_steps_sampled"] == metrics["num_agent_steps_sampled"] == expected
    assert by_hand["env_runners"]["num_env_steps_sampled"] > 0
    assert len(told) == 3


@pytest.mark.parametrize("returned", [{}, ({}, 1), (1, 2, 3), ({}, 1.0, 2)])
def test_what_a_function_returns_wrongly_is_named(returned):
    settings = config(custom_evaluation_function=lambda algorithm, group: returned)
    with settings.build_algo() as algo, pytest.raises(ConfigError, match="a dict and two ints"):
        algo.evaluate()
