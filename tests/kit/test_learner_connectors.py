"""Learner connectors change what is learnt from, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rllib import core
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.impala import IMPALAConfig
from rllib.algorithms.ppo import PPOConfig, PPOLearner, ppo_batch
from rllib.batch import SampleBatch
from rllib.connectors import MeanStdFilter
from rllib.connectors.learner import LearnerConnector
from rllib.envs.make import probe_spaces
from rllib.errors import ConfigError


@pytest.fixture(scope="module", autouse=True)
def processes():
    with core.init(num_cpus=3, preload=["torch", "gymnasium", "rllib.algorithms.ppo"]):
        yield


class Scaled(LearnerConnector):
    """Rewards times a factor."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, batch, rl_module):
        rewards = batch.rewards * np.float32(self.factor)
        if isinstance(batch, SampleBatch):
            return replace(batch, rewards=rewards)
        return batch._replace(rewards=rewards)


class Curious(LearnerConnector):
    """Rewards a row less the more rows were seen before; remembers how many."""

    def __init__(self):
        self.seen = 0

    def __call__(self, batch, rl_module):
        assert hasattr(rl_module, "forward_train")
        self.seen += batch.num_env_steps
        return replace(batch, rewards=batch.rewards + np.float32(1 / self.seen))

    def get_state(self):
        return {"seen": self.seen}

    def set_state(self, state):
        self.seen = int(state["seen"])


class AsPPO(LearnerConnector):
    """The train batch itself, from fragments."""

    def __init__(self, settings):
        self.settings = settings

    def __call__(self, batch, rl_module):
        return ppo_batch(batch, rl_module, self.settings)


def config(config_class=PPOConfig, make=None, **settings):
    settings = (
        config_class()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, rollout_fragment_length=16)
        .training(train_batch_size_per_learner=32, lr=1e-2, learner_connector=make, **settings)
        .learners(num_learners=0)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .reporting(min_sample_timesteps_per_iteration=0)
    )
    if config_class is PPOConfig:
        settings.training(minibatch_size=16, num_epochs=2)
    if config_class is DQNConfig:
        settings.training(num_steps_sampled_before_learning_starts=16)
        settings.training(replay_buffer_config={"capacity": 200})
    return settings


def learnt(settings, iterations=3):
    with settings.build_algo() as algo:
        for _ in range(iterations):
            algo.train()
        return algo.params_hash()


@pytest.mark.parametrize("config_class", [PPOConfig, IMPALAConfig, DQNConfig])
def test_rewards_are_changed_before_anything_is_made_of_them(config_class):
    plain = learnt(config(config_class))
    assert learnt(config(config_class, lambda obs, act: Scaled(1.0))) == plain
    doubled = learnt(config(config_class, lambda obs, act: [Scaled(4.0), Scaled(0.5)]))
    assert doubled == learnt(config(config_class, lambda obs, act: Scaled(2.0))) != plain


def test_the_function_gets_the_spaces_and_if_it_wants_the_device():
    asked = []

    def make(observation_space, action_space, device):
        asked.append((observation_space, action_space, device))
        return []

    spaces = probe_spaces("CartPole-v1")
    PPOLearner(config(make=make), spaces)
    assert asked == [(*spaces, torch.device("cpu"))]


@pytest.mark.parametrize("num_learners", [0, 2])
def test_what_they_remember_is_in_checkpoints(tmp_path, num_learners):
    settings = config(make=lambda obs, act: Curious()).learners(num_learners=num_learners)
    with settings.build_algo() as algo:
        for _ in range(2):
            algo.train()
        path = algo.save_to_path(tmp_path / "saved")
        streams = algo.get_state()["learner"]["streams"]
        seen = [each["connectors"]["0"]["seen"] for each in streams.values()]
        assert len(seen) == max(1, num_learners)
        assert sum(seen) == algo.num_env_steps_sampled_lifetime
        algo.train()
        expected = algo.params_hash()
    with type(algo).from_checkpoint(path, config=settings) as heir:
        heir.train()
        assert heir.params_hash() == expected


def test_each_module_of_several_agents_has_its_own():
    settings = (
        config(make=lambda obs, act: Curious())
        .environment("MultiAgentCartPole", env_config={"num_agents": 2})
        .multi_agent(policies={"0", "1"}, policy_mapping_fn=lambda agent, episode: str(agent))
    )
    with settings.build_algo() as algo:
        result = algo.train()
        streams = algo.get_state()["learner"]["streams"]["0"]
    steps = result["env_runners"]["num_module_steps_sampled"]
    for module_id in ("0", "1"):
        seen = streams[module_id]["connectors"]["0"]["seen"]
        assert 0 < seen <= steps[module_id]


def test_connectors_may_make_the_train_batch_themselves():
    def make(obs, act):
        return [Scaled(2.0), AsPPO(settings)]

    settings = config(make=make, add_default_connectors_to_learner_pipeline=False)
    with settings.build_algo() as algo:
        algo.train()
        metrics = algo.train()["learners"]["default_policy"]
    assert 28 < metrics["num_module_steps_trained"] <= 32  # but for resets
    assert np.isfinite(metrics["total_loss"])
    # Advantages are as they are, and not standardised as the algorithm would.
    assert learnt(settings) != learnt(config(make=lambda obs, act: Scaled(2.0)))


def test_somebody_has_to_make_the_train_batch():
    with pytest.raises(ConfigError, match=r"nothing makes a train batch.*learner_connector"):
        config(add_default_connectors_to_learner_pipeline=False).validate()


def test_what_is_no_learner_connector_is_refused():
    with pytest.raises(ConfigError, match=r"learner_connector: should return a LearnerConnector"):
        config(make=lambda obs, act: MeanStdFilter()).build_algo()
