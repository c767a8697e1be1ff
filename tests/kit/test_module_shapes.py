"""What a module of one's own gives out has the shape that is asked for, or is refused by name."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.impala import IMPALAConfig
from rllib.algorithms.ppo import PPOConfig
from rllib.algorithms.sac import SACConfig
from rllib.columns import Columns
from rllib.config import AlgorithmConfig
from rllib.envs.make import Spaces
from rllib.errors import ConfigError, TrainingError
from rllib.modules.rl_module import RLModule


class Shapes(RLModule):
    """Gives what ``model_config`` says: so many inputs of the distribution, values of a shape."""

    def setup(self) -> None:
        self.pi = nn.Linear(self.observation_space.shape[0], self.model_config.get("width", 2))
        self.vf = nn.Linear(self.observation_space.shape[0], self.model_config.get("values", 1))

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: self.pi(batch[Columns.OBS])}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        values: Tensor = self.vf(batch[Columns.OBS])
        return values if self.model_config.get("keeps_dim") else values[:, 0]


def train(env: str = "CartPole-v1", **model: Any) -> None:
    config = PPOConfig().environment(env).env_runners(num_env_runners=0, num_envs_per_env_runner=2)
    config.training(train_batch_size_per_learner=32, minibatch_size=None)
    config.rl_module(rl_module_spec={"module_class": Shapes, "model_config": {"x": 0, **model}})
    with config.build_algo() as algorithm:
        algorithm.train()


@pytest.mark.parametrize(
    ("env", "width", "needed"),
    [("CartPole-v1", 1, 2), ("CartPole-v1", 3, 2), ("CartPole-v1", 4, 2), ("Pendulum-v1", 4, 2)],
)
def test_outputs_of_a_wrong_width(env: str, width: int, needed: int) -> None:
    with pytest.raises(Exception, match=rf"shape \[2, {width}\]; {needed} numbers are needed"):
        train(env, width=width)


@pytest.mark.parametrize("model", [{"keeps_dim": True}, {"values": 2, "keeps_dim": True}])
def test_values_that_are_not_one_for_each_observation(model: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"Shapes.compute_values gave shape \[\d+, [12]\]"):
        train(**model)


def test_the_right_shapes_train() -> None:
    torch.manual_seed(0)
    train()


def test_impala_refuses_values_of_a_wrong_shape_as_well() -> None:
    config = IMPALAConfig().environment("CartPole-v1").learners(num_learners=0)
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=2, rollout_fragment_length=8)
    model = {"x": 0, "keeps_dim": True}
    config.rl_module(rl_module_spec={"module_class": Shapes, "model_config": model})
    with (
        config.build_algo() as algorithm,
        pytest.raises(TypeError, match=r"Shapes.compute_values gave shape \[\d+, 1\] for \[\d+\]"),
    ):
        algorithm.train()


class Remembers(Shapes):
    """Has a memory [3], of which it gives back what ``model_config`` says."""

    def get_initial_state(self) -> dict[str, Any]:
        return {"h": torch.zeros(3).numpy()}

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        output = super()._forward(batch)
        state = torch.zeros(len(batch[Columns.OBS]), self.model_config.get("size", 3))
        return output | ({} if self.model_config.get("forgets") else {"state_out": {"h": state}})


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"size": 4}, r"state {'h': \[2, 4\]} under .* should be {'h': \[2, 3\]}"),
        ({"forgets": True}, r"state nothing under .* should be {'h': \[2, 3\]}"),
    ],
)
def test_a_state_that_is_not_the_memory_of_the_module(model: dict[str, Any], told: str) -> None:
    config = PPOConfig().environment("CartPole-v1")
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=2)
    config.rl_module(rl_module_spec={"module_class": Remembers, "model_config": {"x": 0, **model}})
    with config.build_algo() as algorithm, pytest.raises(TypeError, match=told):
        algorithm.train()


@pytest.mark.parametrize(
    ("config", "env", "missing"),
    [
        (DQNConfig(), "CartPole-v1", "q, target_q, forward_target, atoms"),
        (SACConfig(), "Pendulum-v1", "critics, target_critics, log_alpha"),
    ],
)
def test_a_module_without_what_the_algorithm_trains(
    config: AlgorithmConfig, env: str, missing: str
) -> None:
    config.environment(env).env_runners(num_env_runners=0)
    config.rl_module(rl_module_spec={"module_class": Shapes, "model_config": {"x": 0}})
    with pytest.raises(ConfigError, match=f"Shapes has no {missing}, by which"):
        config.build_algo()


def test_a_class_that_is_no_module() -> None:
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    config.rl_module(rl_module_spec={"module_class": nn.Linear})
    with pytest.raises(ConfigError, match="Linear is no RLModule: subclass that"):
        config.build_algo()


def test_whole_numbers_are_no_actions_for_critics() -> None:
    space = gym.spaces.Box(0, 3, (2,), np.int64)
    spaces = Spaces(gym.spaces.Box(-1.0, 1.0, (3,)), space)
    with pytest.raises(ConfigError, match="a Box of floats, or Discrete"):
        SACConfig().environment("Pendulum-v1").get_rl_module_spec(spaces).build()


class Unlike(Shapes):
    """Its forwards give what ``model_config`` says."""

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> Any:
        inputs = self.pi(batch[Columns.OBS])
        return inputs if self.model_config.get("gives_tensor") else {"action_dist_inputs": inputs}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> Any:
        inputs = self.pi(batch[Columns.OBS])
        if self.model_config.get("gives_logits"):
            return {"logits": inputs}
        return {"action_dist_inputs": inputs.detach()}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        return super().compute_values(batch).detach()


@pytest.mark.parametrize(
    ("model", "error", "told"),
    [
        (
            {"gives_tensor": True},
            TypeError,
            "forward gave a Tensor; it should give a dict",
        ),
        ({"gives_logits": True}, TypeError, r"_forward_train gave \['logits'\], without 'action_"),
        ({}, TrainingError, "the loss depends on no parameter of the module"),
    ],
)
def test_forwards_that_nothing_can_be_learnt_from(
    model: dict[str, Any], error: type[Exception], told: str
) -> None:
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    config.training(train_batch_size_per_learner=32, minibatch_size=None)
    config.rl_module(rl_module_spec={"module_class": Unlike, "model_config": {"x": 0, **model}})
    with config.build_algo() as algorithm, pytest.raises(error, match=told):
        algorithm.train()


class Lonely(RLModule):
    """Does not call the constructor that it takes the place of."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.ready = True


def test_a_module_whose_constructor_leaves_out_ours() -> None:
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    config.rl_module(rl_module_spec={"module_class": Lonely})
    with pytest.raises(TypeError, match=r"Lonely.__init__ does not call super\(\).__init__"):
        config.build_algo()
