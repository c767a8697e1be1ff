"""Which distribution goes with which action space: always the twin of the action head."""

from math import inf
from typing import Any

import gymnasium as gym

from rllib.actions import (
    ActionHead,
    BernoulliHead,
    CategoricalHead,
    CompositeHead,
    DeterministicHead,
    EpsilonGreedyHead,
    GaussianHead,
    Kind,
    MultiCategoricalHead,
    SquashedGaussianHead,
    action_head,
)
from rllib.distributions.base import Distribution
from rllib.distributions.binary import Bernoulli
from rllib.distributions.box import Deterministic, DiagGaussian, SquashedGaussian
from rllib.distributions.categorical import Categorical, MultiCategorical
from rllib.distributions.composite import Composite, Part
from rllib.distributions.greedy import EpsilonGreedy
from rllib.schedules import Points, value_at


def distribution_for(
    space: gym.Space[Any],
    kind: Kind = "stochastic",
    *,
    epsilon: float | Points = 0.0,
    noise_std: float | Points = 0.1,
    noise_clip: float = inf,
) -> Distribution:
    """The distribution for an action space; the arguments are those of ``action_head``.

    Raises:
        ConfigError: no distribution for this kind of space.
    """
    return distribution_of(
        action_head(space, kind, epsilon=epsilon, noise_std=noise_std, noise_clip=noise_clip)
    )


def distribution_of(head: ActionHead) -> Distribution:
    """The twin of an action head; schedules are at their first value.

    Raises:
        TypeError: the head is none of ``rllib.actions``.
    """
    match head:
        case CategoricalHead():
            return Categorical()
        case MultiCategoricalHead():
            return MultiCategorical(head.sizes)
        case BernoulliHead():
            return Bernoulli()
        case GaussianHead():
            return DiagGaussian()
        case SquashedGaussianHead():
            return SquashedGaussian()
        case DeterministicHead():
            return Deterministic(value_at(head.noise_std, 0), head.noise_clip)
        case EpsilonGreedyHead():
            return EpsilonGreedy(value_at(head.epsilon, 0))
        case CompositeHead():
            return Composite([Part(distribution_of(part.head), *part[1:]) for part in head.parts])
    raise TypeError(
        f"{type(head).__name__} has no twin in rllib.distributions; override make_distribution of "
        "the module as well as make_head"
    )
