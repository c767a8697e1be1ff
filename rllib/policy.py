"""Acting without torch: the policy half of the default network as a few numpy operations.

On a network of two small layers an eager torch forward costs ten times what the arithmetic does,
and an env runner acts once per step of its vector; it also starts faster without importing torch.
The weights are those of ``rllib.rl_module.MLPModule``, by the same names.
"""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.actions import action_head
from rllib.config_sections import ModelConfig
from rllib.observations import observation_encoder

Floats = NDArray[np.float32]
Weights = Mapping[str, NDArray[Any]]


def _silu(x: Floats) -> Floats:
    y: NDArray[Any] = x / (np.float32(1.0) + np.exp(-x))
    return y


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "silu": _silu,
    "linear": lambda x: x,
}


class MLPPolicy:
    """The default policy network in numpy.

    Args:
        observation_space: of a single environment.
        action_space: of a single environment.
        model: the networks' shape.
    """

    def __init__(
        self, observation_space: gym.Space[Any], action_space: gym.Space[Any], model: ModelConfig
    ) -> None:
        self.encode = observation_encoder(observation_space).encode
        self.head = action_head(action_space)
        self.activation = ACTIVATIONS[model.fcnet_activation]
        self.num_hidden = len(model.fcnet_hiddens)
        self.log_std_limit = np.float32(model.log_std_clip_param)
        self.continuous = isinstance(action_space, gym.spaces.Box)
        self.layers: list[tuple[Floats, Floats]] = []
        self.log_std: Floats | None = None

    def set_weights(self, weights: Weights) -> None:
        """Take over the policy's part of the module's weights; copies them.

        Raises:
            ValueError: they are those of another network.
        """
        names = [f"encoder.{i}" for i in range(self.num_hidden)] + ["pi"]
        if missing := [name for name in names if f"{name}.weight" not in weights]:
            raise ValueError(
                f"these are not the weights of an MLPModule of this shape: {missing} missing, "
                f"got {sorted(weights)}"
            )
        self.layers = [
            (np.array(weights[f"{name}.weight"].T, order="C"), np.array(weights[f"{name}.bias"]))
            for name in names
        ]
        self.log_std = np.array(weights["log_std"]) if "log_std" in weights else None

    def dist_inputs(self, obs: NDArray[Any]) -> Floats:
        """Distribution inputs [B, num_inputs] for observations [B, ...] as environments give them.

        Raises:
            RuntimeError: there are no weights yet.
        """
        if not self.layers:
            raise RuntimeError("the policy has no weights yet; call set_weights first")
        *hidden, (weight, bias) = self.layers
        x = self.encode(obs)
        for hidden_weight, hidden_bias in hidden:
            x = self.activation(x @ hidden_weight + hidden_bias)
        out = x @ weight + bias
        return self._with_log_std(out) if self.continuous else out

    def _with_log_std(self, out: Floats) -> Floats:
        if self.log_std is not None:
            log_std = np.broadcast_to(self.log_std, out.shape)
        else:
            out, log_std = np.split(out, 2, axis=-1)
        return np.concatenate([out, np.clip(log_std, -self.log_std_limit, self.log_std_limit)], -1)
