"""What RLlib's modules of one's own are written with."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

TARGET_NETWORK_ACTION_DIST_INPUTS = "target_network_action_dist_inputs"


class ValueFunctionAPI(ABC):
    """A module with a value function; only says so."""

    @abstractmethod
    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Any:
        """Values [B] for a batch; ``embeddings`` is what the train forward of it put there."""


class QNetAPI(ABC):
    """A module with action values; only says so.

    What DQN acts and learns by is ``rllib.modules.q_module.QModule``, which has more than this.
    """

    @abstractmethod
    def compute_q_values(self, batch: dict[str, Any]) -> dict[str, Any]:
        """``qf_preds`` [B, A], and with several atoms ``atoms``, ``qf_logits``, ``qf_probs``."""

    def compute_advantage_distribution(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The same of advantages, where there are such."""
        return self.compute_q_values(batch)


class InferenceOnlyAPI(ABC):
    """A module with parts that only training needs; only says so."""

    @abstractmethod
    def get_non_inference_attributes(self) -> list[str]:
        """Names of the attributes that hold those parts."""


class TargetNetworkAPI:
    """A module with target networks of its own; they are not called, nor asked for.

    A learner that needs a target network makes one of the whole module.
    """

    def make_target_networks(self) -> None:
        """Make them, of the networks that they follow."""

    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Pairs of a network and its target network."""
        return []

    def forward_target(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """What the target networks say of a batch."""
        return {}


def make_target_network(main_net: nn.Module) -> nn.Module:
    """A copy of a network that no optimiser trains."""
    return copy.deepcopy(main_net).requires_grad_(False)


Size = int | Sequence[int]
"""Height and width, or one number for both."""


def same_padding(
    in_size: Size, filter_size: Size, stride_size: Size
) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """How to pad an image so that a convolution gives ceil(size / stride).

    Returns:
        (left, right, top, bottom), as ``nn.ZeroPad2d`` takes it, and (height, width) of the output.
    """
    axes = zip(_pair(in_size), _pair(filter_size), _pair(stride_size), strict=True)
    (top, bottom, height), (left, right, width) = (_padded(*axis) for axis in axes)
    return (left, right, top, bottom), (height, width)


def _padded(size: int, kernel: int, stride: int) -> tuple[int, int, int]:
    """Before, after, and the size of the output, along one axis."""
    out = -(-size // stride)
    padding = max((out - 1) * stride + kernel - size, 0)
    return padding // 2, padding - padding // 2, out


def valid_padding(in_size: Size, filter_size: Size, stride_size: Size) -> tuple[int, int]:
    """(height, width) of what a convolution gives without padding."""
    axes = zip(_pair(in_size), _pair(filter_size), _pair(stride_size), strict=True)
    height, width = (-(-(size - kernel + 1) // stride) for size, kernel, stride in axes)
    return height, width


def _pair(size: Size) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def normc_initializer(std: float = 1.0) -> Callable[[Tensor], None]:
    """A function that draws weights [outputs, inputs] so that each output's have norm ``std``."""

    @torch.no_grad()
    def draw(weights: Tensor) -> None:
        weights.normal_()
        weights.mul_(std / weights.square().sum(1, keepdim=True).sqrt())

    return draw
