"""Acting without torch: a chain of fully connected layers, compiled or as a few numpy operations.

On a network of two small layers an eager torch forward costs ten times what the arithmetic does,
and an env runner acts once per step of its vector. The weights are those of a torch module, by the
same names.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib import kernels
from rllib.actions import ActionHead, input_limits, mask_inputs
from rllib.modules.observations import ACTION_MASK, ObservationEncoder

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


def layers_of(name: str, widths: Sequence[int], activation: str) -> list[Layer]:
    """The layers of the ``networks.MLP`` that is called ``name`` in its module."""
    return [Layer(f"{name}.layers.{i}", activation) for i in range(len(widths))]


class _Weights(NamedTuple):
    """Of one layer: [in, out] and [out], and the same of its noise if it has any."""

    weight: Floats
    bias: Floats
    sigma: tuple[Floats, Floats] | None
    activation: Callable[[Floats], Floats] | None


class Chain:
    """Fully connected layers, one after the other.

    Args:
        layers: in their order; plain ones, or noisy ones as ``rllib.modules.noisy`` has them.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.names = list(layers)
        self._keys = [(f"{layer.name}.weight", f"{layer.name}.bias") for layer in self.names]
        self.layers: list[_Weights] = []
        self._kernel: kernels.DenseKernel | None = None

    def set_weights(self, weights: Weights) -> None:
        """Take over the weights of these layers; copies them.

        Raises:
            ValueError: they are those of another network.
        """
        given = [
            (weights.get(of_weight), weights.get(of_bias)) for of_weight, of_bias in self._keys
        ]
        kernel = self._kernel
        if kernel is None or [getattr(x, "shape", None) for x, _ in given] != kernel.shapes:
            self._check(weights)
            kernel = self._kernel = self._compiled(given) if self._is_plain(weights) else None
            self.layers = [] if kernel else self._in_numpy(weights)
        if kernel is not None:
            for own, (weight, bias) in zip(kernel.parameters, given, strict=True):
                own.weight[:], own.bias[:] = weight, bias
            kernel.load()

    def _check(self, weights: Weights) -> None:
        names = [layer.name for layer in self.names]
        if missing := [name for name in names if f"{name}.weight" not in weights]:
            raise ValueError(
                f"these are not the weights of a network of this shape: {missing} missing, "
                f"got {sorted(weights)}"
            )

    def _is_plain(self, weights: Weights) -> bool:
        """Whether all layers can be compiled, where anything can."""
        is_plain = all(
            layer.activation in kernels.ACTIVATIONS and f"{layer.name}.weight_sigma" not in weights
            for layer in self.names
        )
        return is_plain and bool(self.names) and kernels.library() is not None

    def _compiled(self, given: list[tuple[Any, Any]]) -> kernels.DenseKernel:
        pairs = zip(given, self.names, strict=True)
        return kernels.DenseKernel(
            [
                kernels.DenseLayer(
                    np.array(weight, np.float32), np.array(bias, np.float32), layer.activation
                )
                for (weight, bias), layer in pairs
            ]
        )

    def _in_numpy(self, weights: Weights) -> list[_Weights]:
        return [
            _Weights(
                *_arrays(weights, name, ""),
                _arrays(weights, name, "_sigma") if f"{name}.weight_sigma" in weights else None,
                None if activation == "linear" else ACTIVATIONS[activation],
            )
            for name, activation in self.names
        ]

    @property
    def num_noise(self) -> int:
        """Random numbers per row that all noisy layers take together."""
        return sum(sum(layer.weight.shape) for layer in self.layers if layer.sigma is not None)

    def __call__(self, x: Floats, noise: Floats | None = None) -> Floats:
        """[B, out] from [B, in], and noise [B, num_noise] if the noisy layers are to be noisy.

        Raises:
            RuntimeError: there are no weights yet.
        """
        if self._kernel is not None:
            return self._kernel.forward(x).copy()
        if not self.layers:
            raise RuntimeError("the policy has no weights yet; call set_weights first")
        for weight, bias, sigma, activation in self.layers:
            y = x @ weight + bias
            if noise is not None and sigma is not None:
                fan_in, fan_out = weight.shape
                inner = noise[:, :fan_in]
                y += ((x * inner) @ sigma[0] + sigma[1]) * noise[:, fan_in : fan_in + fan_out]
                noise = noise[:, fan_in + fan_out :]
            x = y if activation is None else activation(y)
        return x


def _arrays(weights: Weights, name: str, suffix: str) -> tuple[Floats, Floats]:
    return (
        np.array(weights[f"{name}.weight{suffix}"].T, order="C"),
        np.array(weights[f"{name}.bias{suffix}"]),
    )


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
        self.observations, self.head, self.chain = observations, head, Chain(layers)
        self.log_std_name, self.log_std_limit = log_std, np.float32(log_std_limit)
        self.limits = input_limits(head, log_std_limit)
        self.log_std: Floats | None = None

    def use_rng(self, rng: np.random.Generator) -> None:
        """Nothing here is random."""

    def set_weights(self, weights: Weights) -> None:
        """Take over the policy's part of the module's weights; copies them.

        Raises:
            ValueError: they are those of another network.
        """
        self.chain.set_weights(weights)
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
        x = self._with_log_std(self.chain(self.observations.features(obs)))
        if self.observations.has_mask:
            x = mask_inputs(x, obs[ACTION_MASK])
        return x, state

    def _with_log_std(self, out: Floats) -> Floats:
        if self.log_std is not None:
            size = out.shape[1]
            both = np.empty((len(out), 2 * size), np.float32)
            both[:, :size], both[:, size:] = out, self.log_std
            return both
        if self.limits is None:
            return out
        return np.minimum(np.maximum(out, -self.limits), self.limits)
