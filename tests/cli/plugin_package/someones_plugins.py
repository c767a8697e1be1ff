"""What a package of a third party may bring along: an algorithm, an env, a module and callbacks."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from rllib.algorithms.ppo import PPO, PPOConfig
from rllib.callbacks import RLlibCallback
from rllib.modules.rl_module import RLModule


class SomeonesConfig(PPOConfig):
    """PPO with a setting of its own."""

    train_batch_size_per_learner: int = 32
    """Env steps that go into one training iteration."""
    patience: int = 3
    """A setting that PPO has not."""


class SomeonesPPO(PPO):
    """PPO that tells its patience."""

    config_class = SomeonesConfig

    def train(self) -> dict[str, Any]:
        """As PPO."""
        return super().train() | {"patience": self.config["patience"]}


class SomeonesEnv(gym.Env[Any, Any]):
    """The reward for action 1 is ``gain``; an episode has four steps."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, env_config: dict[str, Any]) -> None:
        self.gain = env_config["gain"]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin an episode."""
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        """One step."""
        self.t += 1
        return np.zeros(2, np.float32), self.gain * float(action), self.t == 4, False, {}


class SomeonesModule(RLModule):
    """One hidden layer of ``width``."""

    def setup(self) -> None:
        """Make the layers."""
        width = self.model_config["width"]
        self.hidden = nn.Linear(2, width)
        self.pi, self.vf = nn.Linear(width, 2), nn.Linear(width, 1)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {"action_dist_inputs": self.pi(torch.relu(self.hidden(batch["obs"])))}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Values [B]."""
        values: Tensor = self.vf(torch.relu(self.hidden(batch["obs"])))
        return values.squeeze(-1)


class SomeonesCallbacks(RLlibCallback):
    """Adds to every result."""

    def on_train_result(self, *, result: dict[str, Any], **kwargs: Any) -> None:
        """Say that it was here."""
        result["someone"] = 1
