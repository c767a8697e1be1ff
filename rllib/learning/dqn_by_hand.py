"""DQN's gradient without autograd, for Q-networks of a few small layers.

The same numbers as those of ``dqn_loss`` and autograd, but for rounding. What was compiled at
installation does all of it (``rllib.kernels``); numpy otherwise.

Legend: B rows, D features, A actions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib import kernels
from rllib.columns import Columns
from rllib.learning.dense_gradients import CompiledChain, DenseChain, are_small, chain, dense_chain
from rllib.learning.loss import Loss
from rllib.learning.transition_batch import TransitionBatch
from rllib.modules.networks import MLP
from rllib.modules.q_module import QModule, QNetwork, Stream
from rllib.modules.rl_module import RLModule
from rllib.replay import Transitions

Floats = NDArray[np.float32]


class QRows(NamedTuple):
    """What the loss reads of B env steps.

    Attributes:
        features: [B, D] of the observations.
        next_features: [B, D] of what was observed n steps later.
        actions: [B].
        rewards: [B] discounted sums of the n rewards.
        discounts: [B] of the value of what was observed then; 0 where the episode terminated.
        weights: [B] importance weights.
    """

    features: Floats
    next_features: Floats
    actions: NDArray[np.int64]
    rewards: Floats
    discounts: Floats
    weights: Floats


def rows_of(draw: Transitions, module: QModule) -> QRows:
    """A draw, of whose observations the module reads nothing but features."""
    features = module.observations.features
    return QRows(
        features(draw.obs),
        features(draw.next_obs),
        draw.actions,
        draw.rewards,
        draw.discounts,
        draw.weights,
    )


def rows_of_tensors(batch: TransitionBatch) -> QRows:
    """The same of what was made ready for the module."""
    inputs, next_inputs, *rest = batch
    tensors = inputs[Columns.OBS], next_inputs[Columns.OBS], *rest
    return QRows(*(each.numpy() for each in tensors))


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

    def forward(self, x: Floats) -> Floats:
        """[B, A] of features [B, D]; valid until the next call."""
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
        rows: QRows,
        arrays: tuple[str, str],
        *,
        double_q: bool,
        huber: bool,
    ) -> Loss:
        """As ``dqn_loss`` of ``dqn_targets``; its gradients are worked out when asked for.

        Args:
            rows: B of them.
            arrays: names for what it is to tell of all rows: the size of their errors, and values.
            double_q: whether the network that is trained chooses the next action.
            huber: whether errors above 1 count linearly.
        """
        if self.kernel is None:
            found, backward = self._in_numpy(rows, double_q, huber)
        else:
            found = self.kernel.loss(*rows, double_q=double_q, huber=huber)
            backward = self.kernel.backward
        of_rows = dict(zip(arrays, (found.errors, found.values), strict=True))
        return Loss(found.loss, {"qf_loss": found.loss}, of_rows, backward)

    @np.errstate(all="ignore")  # what is not finite is refused before the step
    def _in_numpy(
        self, batch: QRows, double_q: bool, huber: bool
    ) -> tuple[kernels.DQNLoss, Callable[[], None]]:
        features, next_features, taken, rewards, discounts, weights = batch
        following = self.target.forward(next_features)
        chooser = self.online.forward(next_features) if double_q else following
        rows = np.arange(len(following))
        later = following[rows, chooser.argmax(1)]
        values = self.online.forward(features)[rows, taken]
        errors = values - (rewards + discounts * later)
        slopes = np.clip(errors, -1.0, 1.0) if huber else errors
        losses = slopes * (errors - np.float32(0.5) * slopes)
        share = weights * np.float32(1.0 / len(rows))

        def backward() -> None:
            with np.errstate(all="ignore"):
                of_outputs = np.zeros_like(following)
                of_outputs[rows, taken] = share * slopes
                self.online.backward(of_outputs)

        total = float((share * losses).sum())
        return kernels.DQNLoss(total, np.abs(errors), values), backward


def _stacks(network: QNetwork) -> list[MLP]:
    streams = [each for each in (network.advantages, network.values) if isinstance(each, Stream)]
    return [network.encoder.mlp, *(stream.hidden for stream in streams)]


def _stream(stacks: list[MLP], stream: Any) -> DenseChain:
    return chain([*stacks, stream.hidden], stream.out)
