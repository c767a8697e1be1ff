"""What RLlib's scripts ask an env runner about, from callbacks or ``foreach_env_runner``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np
import torch

from rllib.absent import NamesNearest
from rllib.modules.rl_module import RLModule
from rllib.modules.spec import FullSpec

if TYPE_CHECKING:
    from rllib.metrics.metrics_logger import MetricsLogger

SpacePair = tuple[gym.Space[Any], gym.Space[Any]]

ENV = "__env_single__"
"""RLlib's name for the spaces of an environment, beside those of modules."""


_PLAY = "play(duration, unit) plays so many whole episodes, or at least so many timesteps"
NOT_SAMPLED = {
    "num_episodes": f"sample() gives one fragment; {_PLAY}",
    "num_timesteps": f"sample() gives one fragment of rollout_fragment_length; {_PLAY}",
    "num_env_steps": f"sample() gives one fragment of rollout_fragment_length; {_PLAY}",
    "explore": "set env_runner.explore before",
    "force_reset": "call env_runner.reset(generation) before, with a number that none had yet",
}
"""Arguments of RLlib's ``sample``, and what there is instead."""
WHOLE = dict.fromkeys(
    ("components", "not_components"),
    "state trees are whole; algo.get_weights() has weights, and env_runner.pipeline.get_state() "
    "what connectors know",
)
"""The same of ``get_state``."""


class Inspected(NamesNearest):
    """Mixin of env runners."""

    INSTEAD: ClassVar[Mapping[str, str]] = {
        "sample_get_state_and_metrics": "sample() returns the fragment and its statistics",
        "worker_index": "index counts env runners from 0 on",
        "num_envs": "config.num_envs_per_env_runner, or env.num_envs",
        "get_weights": "set_weights takes those of algo.learner_group.get_weights(); what acts is "
        "env_runner.module",
    }

    env: Any
    metrics: "MetricsLogger"

    def ping(self) -> str:
        """``"pong"``."""
        return "pong"

    def assert_healthy(self) -> None:
        """Nothing: an env runner that answers has its environments."""

    def get_metrics(self) -> dict[str, Any]:
        """What callbacks have logged here since the last sample."""
        values: dict[str, Any] = self.metrics.peek()
        return values


def acting_module(policy: Any, spec: FullSpec, weights: Mapping[str, Any] | None) -> RLModule:
    """The module behind a policy; where a small network acts in numpy, one with its weights."""
    module: RLModule | None = getattr(policy, "module", None)
    if module is not None:
        return module
    module = spec.build(inference_only=True).eval()
    tensors = {name: torch.from_numpy(np.array(each)) for name, each in (weights or {}).items()}
    module.load_state_dict(tensors, strict=False)
    return module
