"""Acting without torch: a chain of fully connected layers as a few numpy operations.

On a network of two small layers an eager torch forward costs ten times what the arithmetic does,
and an env runner acts once per step of its vector. The weights are those of a torch module, by the
same names.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.actions import ActionHead, input_limits, mask_inputs
from rllib.observations import ACTION_MASK, ObservationEncoder

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


class Layer(NamedTuple):
    """Name of a torch layer in its module, and the activation after it."""

    name: str
    activation: str


class MLPPolicy:
    """A chain of layers from features to inputs of the action distribution.

    Args:
        observations: turns observations into features; without images.
        head: the action distribution.
        layers: from the features on.
        log_std: name of a parameter [A] that is appended to the outputs, clipped; or ``None``.
        log_std_limit: what log standard deviations are clipped to, plus and minus.
    """

    def __init__(
        self,
        observations: ObservationEncoder,
        head: ActionHead,
        layers: Sequence[Layer],
        *,
        log_std: str | None = None,
        log_std_limit: float = 20.0,
    ) -> None:
        self.observations, self.head, self.names = observations, head, list(layers)
        self.log_std_name, self.log_std_limit = log_std, np.float32(log_std_limit)
        self.limits = input_limits(head, log_std_limit)
        self.layers: list[tuple[Floats, Floats, Callable[[Floats], Floats] | None]] = []
        self.log_std: Floats | None = None

    def set_weights(self, weights: Weights) -> None:
        """Take over the policy's part of the module's weights; copies them.

        Raises:
            ValueError: they are those of another network.
        """
        names = [layer.name for layer in self.names]
        if missing := [name for name in names if f"{name}.weight" not in weights]:
            raise ValueError(
                f"these are not the weights of a network of this shape: {missing} missing, "
                f"got {sorted(weights)}"
            )
        self.layers = [
            (
                np.array(weights[f"{name}.weight"].T, order="C"),
                np.array(weights[f"{name}.bias"]),
                None if activation == "linear" else ACTIVATIONS[activation],
            )
            for name, activation in self.names
        ]
        if self.log_std_name is not None:
            limit = self.log_std_limit
            self.log_std = np.clip(weights[self.log_std_name], -limit, limit)

    def initial_state(self, num: int) -> dict[str, NDArray[Any]]:
        """Nothing: there is no memory."""
        return {}

    def forward(
        self, obs: NDArray[Any], state: dict[str, NDArray[Any]], explore: bool
    ) -> tuple[Floats, dict[str, NDArray[Any]]]:
        """Distribution inputs [B, num_inputs] for observations [B, ...] as environments give them.

        Raises:
            RuntimeError: there are no weights yet.
        """
        if not self.layers:
            raise RuntimeError("the policy has no weights yet; call set_weights first")
        x = self.observations.features(obs)
        for weight, bias, activation in self.layers:
            x = x @ weight + bias
            if activation is not None:
                x = activation(x)
        x = self._with_log_std(x)
        if self.observations.has_mask:
            x = mask_inputs(x, obs[ACTION_MASK])
        return x, state

    def _with_log_std(self, out: Floats) -> Floats:
        if self.log_std is not None:
            return np.concatenate([out, np.broadcast_to(self.log_std, out.shape)], -1)
        if self.limits is None:
            return out
        return np.minimum(np.maximum(out, -self.limits), self.limits)
