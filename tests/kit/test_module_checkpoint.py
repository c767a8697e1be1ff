"""A module alone out of a checkpoint is the one that was saved."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from rllib.algorithms.ppo import PPOConfig
from rllib.envs.multi_agent import make_multi_agent
from rllib.errors import CheckpointError
from rllib.modules.actor_critic import ActorCriticModule
from rllib.modules.rl_module import RLModule
from rllib.modules.spec import RLModuleSpec


class Small(RLModule):
    def setup(self):
        self.pi, self.vf = nn.Linear(4, 2), nn.Linear(4, 1)
        self.scale = self.model_config["scale"]

    def _forward(self, batch, **kwargs):
        return {"action_dist_inputs": self.scale * self.pi(batch["obs"])}

    def compute_values(self, batch, embeddings=None):
        return self.vf(batch["obs"]).squeeze(-1)


def saved(settings, path: Path, *module_ids: str):
    settings = settings.env_runners(num_env_runners=0).training(
        train_batch_size_per_learner=16, minibatch_size=None, num_epochs=1
    )
    with settings.build_algo() as algo:
        algo.train()
        return algo.save_to_path(path), [algo.get_module(name) for name in module_ids or (None,)]


def assert_same(one: RLModule, other: RLModule) -> None:
    assert type(one) is type(other)
    assert one.observation_space == other.observation_space
    assert one.action_space == other.action_space
    assert dict(one.model_config.items()) == dict(other.model_config.items())
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=0, atol=0)


def test_the_default_module(tmp_path):
    settings = PPOConfig().environment("Pendulum-v1").rl_module(model_config={"use_lstm": True})
    path, (module,) = saved(settings, tmp_path / "checkpoint")
    loaded = RLModule.from_checkpoint(path)
    assert_same(loaded, module)
    assert not loaded.training
    state = loaded.initial_state(2)
    obs = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(loaded.act(obs, state)[0], module.act(obs, state)[0])


def test_a_module_of_ones_own_by_its_class(tmp_path):
    spec = RLModuleSpec(module_class=Small, model_config={"scale": 0.5})
    settings = PPOConfig().environment("CartPole-v1").rl_module(rl_module_spec=spec)
    path, (module,) = saved(settings, tmp_path / "checkpoint")
    assert_same(Small.from_checkpoint(path), module)
    with pytest.raises(
        CheckpointError, match=r":Small, not a rllib.modules.actor_critic:ActorCriticModul"
    ):
        RLModule.from_checkpoint(path)


def test_one_of_several_modules(tmp_path):
    settings = (
        PPOConfig()
        .environment(make_multi_agent("CartPole-v1"), env_config={"num_agents": 2})
        .multi_agent(policies={"a", "b"}, policy_mapping_fn=lambda agent, _: "ab"[agent])
        .rl_module(algorithm_config_overrides_per_module={"b": {"gamma": 0.5}})
    )
    path, modules = saved(settings, tmp_path / "checkpoint", "a", "b")
    for name, module in zip("ab", modules, strict=True):
        inner = Path(path) / "learner_group" / "learner" / "rl_module" / name
        assert_same(ActorCriticModule.from_checkpoint(inner), module)
    assert_same(RLModule.from_checkpoint(path), modules[0])
    with pytest.raises(CheckpointError, match="has no module 'c', but a, b"):
        RLModule.from_checkpoint(Path(path) / "c")


def test_where_no_checkpoint_is(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        RLModule.from_checkpoint(tmp_path / "nothing")


def test_spaces_need_no_environment(tmp_path):
    class Env(gym.Env):
        observation_space = gym.spaces.Dict(
            {"a": gym.spaces.Box(-1, 1, (2,), np.float32), "b": gym.spaces.Discrete(3)}
        )
        action_space = gym.spaces.MultiDiscrete([2, 3])

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return {"a": np.zeros(2, np.float32), "b": 1}, {}

        def step(self, action):
            return {"a": np.ones(2, np.float32), "b": 2}, 1.0, True, False, {}

    path, (module,) = saved(PPOConfig().environment(lambda _: Env()), tmp_path / "checkpoint")
    assert_same(RLModule.from_checkpoint(path), module)
