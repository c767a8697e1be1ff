"""Transitions drawn from a replay buffer, as losses read them.

Legend: B rows.
"""

from typing import NamedTuple

from torch import Tensor

from rllib.learning.sequences import inputs_of
from rllib.modules.rl_module import RLModule
from rllib.replay import Transitions
from rllib.tensors import Tree, to_tensors


class TransitionBatch(NamedTuple):
    """What the loss reads of B env steps.

    Attributes:
        inputs: of the module.
        next_inputs: the same for what was observed n steps later.
        actions: [B, ...].
        rewards: [B] discounted sums of the n rewards.
        discounts: [B] of the value of what was observed then; 0 where the episode terminated.
        weights: [B] importance weights.
    """

    inputs: Tree
    next_inputs: Tree
    actions: Tensor
    rewards: Tensor
    discounts: Tensor
    weights: Tensor


def transition_batch(draw: Transitions, module: RLModule) -> TransitionBatch:
    """A draw as tensors."""
    return TransitionBatch(
        inputs_of(module, draw.obs, {}),
        inputs_of(module, draw.next_obs, {}),
        *map(to_tensors, (draw.actions, draw.rewards, draw.discounts, draw.weights)),
    )
