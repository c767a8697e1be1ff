"""From a network's outputs to actions, in numpy: what an env runner does in every step.

    action_head(space) -> ActionHead         inputs, noise --sample--> actions --to_env--> env

The twin of ``rllib.distributions``, which trains the same distributions in torch. Random numbers
come from outside as *noise*, drawn once per fragment, so that acting is a pure function.
"""

from rllib.actions.base import ActionHead, Fit, input_limits
from rllib.actions.binary import BernoulliHead
from rllib.actions.box import BoxHead, DeterministicHead, GaussianHead, SquashedGaussianHead
from rllib.actions.categorical import CategoricalHead, MultiCategoricalHead
from rllib.actions.composite import CompositeHead
from rllib.actions.given import choose, dist_inputs, log_prob, policy_rows
from rllib.actions.greedy import EpsilonGreedyHead
from rllib.actions.masks import FORBIDDEN, check_mask, mask_inputs, mask_sizes
from rllib.actions.select import Kind, action_head
from rllib.actions.uniform import uniform_head

__all__ = [
    "FORBIDDEN",
    "ActionHead",
    "BernoulliHead",
    "BoxHead",
    "CategoricalHead",
    "CompositeHead",
    "DeterministicHead",
    "EpsilonGreedyHead",
    "Fit",
    "GaussianHead",
    "Kind",
    "MultiCategoricalHead",
    "SquashedGaussianHead",
    "action_head",
    "check_mask",
    "choose",
    "dist_inputs",
    "input_limits",
    "log_prob",
    "mask_inputs",
    "mask_sizes",
    "policy_rows",
    "uniform_head",
]
