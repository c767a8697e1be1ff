"""Whoever waits for the end of an episode that has none is told of it."""

import gymnasium as gym
import numpy as np
import pytest

from rllib import core
from rllib.algorithms.ppo import PPOConfig
from rllib.envs.multi_agent import make_multi_agent
from rllib.errors import TrainingError
from rllib.sampling.endless import EndWatch


@pytest.fixture(autouse=True)
def inline():
    with core.init(address="inline"):
        yield


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class SometimesEndless(gym.Env):
    """Every second environment that is made has no end."""

    observation_space = gym.spaces.Box(0, 1, (1,))
    action_space = gym.spaces.Discrete(2)
    made = 0

    def __init__(self, config):
        self.is_endless = config["endless"][SometimesEndless.made % 2]
        SometimesEndless.made += 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(1, np.float32), 1.0, not self.is_endless and self.t % 5 == 0, False, {}


def config(*endless, env=SometimesEndless):
    SometimesEndless.made = 1  # the first one is made for its spaces
    return (
        PPOConfig()
        .environment(env, env_config={"endless": endless})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, gym_env_vectorize_mode="sync")
        .env_runners(sample_timeout_s=0.2)
        .training(train_batch_size_per_learner=16, minibatch_size=16, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": (4,)})
    )


def test_time_counts_from_the_last_end_and_the_message_says_what_to_do():
    clock = Clock()
    watch = EndWatch(10.0, "sample_timeout_s", "batch_mode", "truncate_episodes", clock)
    for clock.now, num_ended in ((0.0, 0), (8.0, 0), (8.5, 1), (17.0, 1), (17.0, 2), (25.9, 2)):
        watch.look(num_ended, [3])
    clock.now = 26.1
    message = (
        r"environments 1 and 3 have not ended an episode for 9 seconds, 2 steps of each.*"
        r"max_episode_steps.*sample_timeout_s, 10.*batch_mode.*'truncate_episodes'"
    )
    with pytest.raises(TrainingError, match=message):
        watch.look(2, [1, 3])


@pytest.mark.parametrize(
    ("endless", "names"), [((False, True), "environment 1 has"), ((True, True), "0 and 1 have")]
)
def test_a_sample_of_whole_episodes_does_not_wait_for_ever(endless, names):
    settings = config(*endless).env_runners(batch_mode="complete_episodes")
    with settings.build_algo() as algo, pytest.raises(TrainingError, match=names):
        algo.train()


def test_fragments_need_no_end():
    with config(True, True).build_algo() as algo:
        assert "episode_return_mean" not in algo.train()["env_runners"]


def test_neither_does_one_of_several_agents():
    settings = config(True, True, env=make_multi_agent(lambda c: SometimesEndless(c)))
    settings.multi_agent(policies={"all"}, policy_mapping_fn=lambda agent, episode: "all")
    settings.env_runners(batch_mode="complete_episodes", gym_env_vectorize_mode="auto")
    with (
        settings.build_algo() as algo,
        pytest.raises(TrainingError, match=r"0 and 1 have not ended.*sample_timeout_s"),
    ):
        algo.train()


def test_nor_does_evaluation():
    message = r"have not ended.*evaluation_sample_timeout_s, 0.2.*evaluation_duration_unit"
    settings = config(True, True).evaluation(evaluation_sample_timeout_s=0.2)
    with settings.build_algo() as algo:
        with pytest.raises(TrainingError, match=message):
            algo.evaluate()
        algo.train()
    settings.evaluation(evaluation_duration_unit="timesteps", evaluation_duration=20)
    with settings.build_algo() as algo:
        assert algo.evaluate()["env_runners"]["num_env_steps_sampled"] >= 20
