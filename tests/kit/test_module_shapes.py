"""What a module of one's own gives out has the shape that is asked for, or is refused by name."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rllib.algorithms.ppo import PPOConfig
from rllib.columns import Columns
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
