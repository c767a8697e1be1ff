"""Acting by action values without torch: the numpy twin of ``rllib.modules.q_module``.

Legend: B rows, A actions, M atoms of a distribution of returns (1 where there is none).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.actions import ActionHead, mask_inputs
from rllib.modules.noisy import draw_noise
from rllib.modules.observations import ACTION_MASK, ObservationEncoder
from rllib.policies.mlp_policy import Chain, Floats, Layer, Weights


class QPolicy:
    """Fully connected layers from features to action values.

    Args:
        observations: turns observations into features; without images.
        head: chooses by values.
        encoder: layers from the features on.
        advantages: layers after those, to [A * M].
        values: layers beside the advantages', to [M]; ``None`` if nothing is added.
        atoms: [M] returns that the atoms stand for.
    """

    def __init__(
        self,
        observations: ObservationEncoder,
        head: ActionHead,
        encoder: Sequence[Layer],
        advantages: Sequence[Layer],
        values: Sequence[Layer] | None,
        atoms: Floats,
    ) -> None:
        self.observations, self.head, self.atoms = observations, head, atoms
        # Layers that only one stream reads are part of it: that saves a pass in every step.
        self.encoder = Chain(encoder) if encoder and values is not None else None
        self.advantages = Chain(advantages if self.encoder else [*encoder, *advantages])
        self.values = None if values is None else Chain(values)
        self._num_noise = 0
        self.rng: np.random.Generator | None = None

    def use_rng(self, rng: np.random.Generator) -> None:
        """Draw from ``rng`` the noise of noisy layers."""
        self.rng = rng

    def set_weights(self, weights: Weights) -> None:
        """Take over the weights of ``QModule.policy_state``; copies them.

        Raises:
            ValueError: they are those of another network.
        """
        for chain in (self.encoder, self.advantages, self.values):
            if chain is not None:
                chain.set_weights(weights)
        self._num_noise = self.advantages.num_noise + (self.values.num_noise if self.values else 0)

    def initial_state(self, num: int) -> dict[str, NDArray[Any]]:
        """Nothing: there is no memory."""
        return {}

    def forward(
        self, obs: NDArray[Any], state: dict[str, NDArray[Any]], explore: bool
    ) -> tuple[Floats, dict[str, NDArray[Any]]]:
        """Action values [B, A] for observations [B, ...] as environments give them.

        Raises:
            RuntimeError: there are no weights yet.
        """
        x = self.observations.features(obs)
        if self.encoder is not None:
            x = self.encoder(x)
        noise = self._noise(len(x)) if explore and self._num_noise else None
        if self.values is None and len(self.atoms) == 1:
            values = self.advantages(x, noise)
        else:
            values = self._means(self._outputs(x, noise))
        if self.observations.has_mask:
            values = mask_inputs(values, obs[ACTION_MASK])
        return values, state

    def _noise(self, num: int) -> Floats | None:
        """Every row has noise of its own, so that environments side by side explore apart."""
        return None if self.rng is None else draw_noise(self.rng, (num, self._num_noise))

    def _outputs(self, x: Floats, noise: Floats | None) -> Floats:
        """[B, A, M]."""
        outputs = self.advantages(x, noise).reshape(len(x), self.head.num_inputs, -1)
        if self.values is not None:
            rest = None if noise is None else noise[:, self.advantages.num_noise :]
            values = self.values(x, rest)
            outputs = outputs + (values[:, None] - outputs.mean(axis=1, keepdims=True))
        return outputs

    def _means(self, outputs: Floats) -> Floats:
        """[B, A] the means of the distributions with these logits [B, A, M], or values as is."""
        if outputs.shape[-1] == 1:
            return outputs[..., 0]
        weights = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        means: Floats = (weights @ self.atoms) / weights.sum(axis=-1)
        return means
