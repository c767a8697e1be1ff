"""DQN's gradient without autograd, for Q-networks of a few small layers.

The same numbers as those of ``dqn_loss`` and autograd, but for rounding. What was compiled at
installation does all of it (``rllib.kernels``); numpy otherwise.

Legend: B rows, D features, A actions.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rllib import kernels
from rllib.learning.dense_gradients import CompiledChain, DenseChain, are_small, chain, dense_chain
from rllib.learning.loss import Loss
from rllib.modules.networks import MLP
from rllib.modules.q_module import QModule, QNetwork, Stream
from rllib.modules.rl_module import RLModule

Floats = NDArray[np.float32]


class DenseQ:
    """Action values of a Q-network, forward and backward.

    Args:
        network: of small layers alone, as ``DQNByHand.can_do`` says.
    """

    def __init__(self, network: QNetwork) -> None:
        mlp = network.encoder.mlp
        if network.values is None:
            self.encoder, self.values = None, None
            self.advantages = _stream([mlp], network.advantages)
            return
        has_encoder = len(mlp.layers) > 0
        layers: Any = mlp.layers
        self.encoder = dense_chain(layers, [mlp.activation] * len(layers)) if has_encoder else None
        self.advantages = _stream([], network.advantages)
        self.values = _stream([], network.values)

    def forward(self, features: Tensor) -> Floats:
        """[B, A] of [B, D]; valid until the next call."""
        x: Floats = features.numpy()
        hidden = x if self.encoder is None else self.encoder.forward(x)
        outputs = self.advantages.forward(hidden)
        if self.values is None:
            return outputs
        centred: Floats = outputs - outputs.mean(1, keepdims=True)
        centred += self.values.forward(hidden)
        return centred

    def backward(self, of_outputs: Floats) -> None:
        """Of all parameters, from the gradient of what ``forward`` gave [B, A]."""
        if self.values is None:
            self.advantages.backward(of_outputs)
            return
        of_values = of_outputs.sum(1, keepdims=True)
        of_advantages = of_outputs - of_values / np.float32(of_outputs.shape[1])
        has_encoder = self.encoder is not None
        parts = [
            head.backward(gradient, of_inputs=has_encoder)
            for head, gradient in ((self.advantages, of_advantages), (self.values, of_values))
        ]
        if self.encoder is not None:
            first, second = parts
            assert first is not None
            assert second is not None
            self.encoder.backward(first + second)


def _kernels(network: DenseQ) -> kernels.QKernels | None:
    """What is compiled, if all of it is."""
    chains = network.encoder, network.advantages, network.values
    if any(not isinstance(each, CompiledChain) for each in chains if each is not None):
        return None
    found = [each.kernel if isinstance(each, CompiledChain) else None for each in chains]
    encoder, advantages, states = found
    assert advantages is not None, "every network has them"
    return kernels.QKernels(encoder, advantages, states)


class DQNByHand:
    """Loss and gradients of one module.

    Args:
        module: one for which ``can_do`` says that it can be done.
    """

    def __init__(self, module: QModule) -> None:
        assert module.target_q is not None, "a learner's module has a target network"
        self.online, self.target = DenseQ(module.q), DenseQ(module.target_q)
        online, target = _kernels(self.online), _kernels(self.target)
        self.kernel = kernels.DQNKernel(online, target) if online and target else None

    @staticmethod
    def can_do(module: RLModule, num_rows: int) -> bool:
        """Whether that is possible, and faster for batches of so many rows."""
        return (
            type(module) is QModule
            and module.observations.is_flat
            and module.q.memory is None
            and module.shape.num_atoms == 1
            and not module.shape.noisy
            and are_small(_stacks(module.q), module.q, num_rows)
        )

    def loss(
        self,
        features: Tensor,
        next_features: Tensor,
        actions: Tensor,
        rewards: Tensor,
        discounts: Tensor,
        weights: Tensor,
        *,
        double_q: bool,
        huber: bool,
    ) -> tuple[Loss, Floats, Floats]:
        """As ``dqn_loss`` of ``dqn_targets``; its gradients are worked out when asked for.

        Args:
            features: [B, D] of the observations.
            next_features: [B, D] of what was observed later.
            actions: [B].
            rewards: [B].
            discounts: [B].
            weights: [B].
            double_q: whether the network that is trained chooses the next action.
            huber: whether errors above 1 count linearly.

        Returns:
            The loss, and of all rows the size of the errors and the values.
        """
        arrays = (features, next_features, actions, rewards, discounts, weights)
        if self.kernel is None:
            return self._in_numpy(*arrays, double_q=double_q, huber=huber)
        found = self.kernel.loss(*arrays, double_q=double_q, huber=huber)
        loss = Loss(found.loss, {"qf_loss": found.loss}, backward=self.kernel.backward)
        return loss, found.errors, found.values

    @np.errstate(all="ignore")  # what is not finite is refused before the step
    def _in_numpy(
        self,
        features: Tensor,
        next_features: Tensor,
        actions: Tensor,
        rewards: Tensor,
        discounts: Tensor,
        weights: Tensor,
        *,
        double_q: bool,
        huber: bool,
    ) -> tuple[Loss, Floats, Floats]:
        following = self.target.forward(next_features)
        chooser = self.online.forward(next_features) if double_q else following
        rows = np.arange(len(following))
        later = following[rows, chooser.argmax(1)]
        taken = actions.numpy()
        values = self.online.forward(features)[rows, taken]
        errors = values - (rewards.numpy() + discounts.numpy() * later)
        slopes = np.clip(errors, -1.0, 1.0) if huber else errors
        losses = slopes * (errors - np.float32(0.5) * slopes)
        share = weights.numpy() * np.float32(1.0 / len(rows))

        def backward() -> None:
            with np.errstate(all="ignore"):
                of_outputs = np.zeros_like(following)
                of_outputs[rows, taken] = share * slopes
                self.online.backward(of_outputs)

        total = float((share * losses).sum())
        loss = Loss(total, {"qf_loss": total}, backward=backward)
        return loss, np.abs(errors), values


def _stacks(network: QNetwork) -> list[MLP]:
    streams = [each for each in (network.advantages, network.values) if isinstance(each, Stream)]
    return [network.encoder.mlp, *(stream.hidden for stream in streams)]


def _stream(stacks: list[MLP], stream: Any) -> DenseChain:
    return chain([*stacks, stream.hidden], stream.out)
