"""Which action head goes with which action space."""

from math import inf
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from rllib.actions.base import ActionHead
from rllib.actions.binary import BernoulliHead
from rllib.actions.box import DeterministicHead, GaussianHead, SquashedGaussianHead
from rllib.actions.categorical import CategoricalHead, MultiCategoricalHead, choices
from rllib.actions.composite import CompositeHead, leaf_spaces
from rllib.actions.greedy import EpsilonGreedyHead
from rllib.errors import ConfigError
from rllib.schedules import Points

Kind = Literal["stochastic", "squashed", "deterministic", "epsilon_greedy"]
"""How to act: by probabilities (PPO, IMPALA), by a normal squashed into the bounds of the space
(SAC; choices stay probabilities), by the output itself with noise (TD3), or by values (DQN)."""

MAX_CHOICES = 256
"""Integers that one dimension of a Box may have to be treated as a choice."""


def action_head(
    space: gym.Space[Any],
    kind: Kind = "stochastic",
    *,
    epsilon: float | Points = 0.0,
    noise_std: float | Points = 0.1,
    noise_clip: float = inf,
) -> ActionHead:
    """The distribution for an action space.

    Args:
        space: of a single environment.
        kind: how to act.
        epsilon: of "epsilon_greedy": probability of any action at all; may be a schedule.
        noise_std: of "deterministic": of the noise to explore with; may be a schedule.
        noise_clip: of "deterministic": where that noise is cut.

    Raises:
        ConfigError: no distribution for this kind of space.
    """
    if 0 in (space.shape or ()):
        raise ConfigError(
            f"action space {space} has no numbers in it; leave it out of a Dict or Tuple, and "
            "where there is nothing else to choose give Discrete(1)"
        )
    if kind == "epsilon_greedy":
        return EpsilonGreedyHead(_discrete(space), epsilon)
    if isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        leaves = list(leaf_spaces(space))
        if not leaves:
            raise ConfigError(f"action space {space} is empty; there is nothing to choose")
        return CompositeHead(
            space,
            [
                action_head(leaf, kind, noise_std=noise_std, noise_clip=noise_clip)
                for leaf in leaves
            ],
        )
    if kind == "deterministic":
        return DeterministicHead(_bounded(space, kind), noise_std, noise_clip)
    return _stochastic(space, kind)


def _stochastic(space: gym.Space[Any], kind: Kind) -> ActionHead:
    if isinstance(space, gym.spaces.Discrete):
        return CategoricalHead(space)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return MultiCategoricalHead(space)
    if isinstance(space, gym.spaces.MultiBinary):
        return BernoulliHead(space)
    if not isinstance(space, gym.spaces.Box):
        raise ConfigError(
            f"action space {space} is not supported; there are distributions for Box, Discrete, "
            "MultiDiscrete, MultiBinary, and Dict and Tuple of those. Wrap the environment so that "
            "it has one of these."
        )
    if np.issubdtype(space.dtype, np.integer):
        return MultiCategoricalHead(_few_choices(space))
    return (
        SquashedGaussianHead(_bounded(space, kind)) if kind == "squashed" else GaussianHead(space)
    )


def _few_choices(space: gym.spaces.Box) -> gym.spaces.Box:
    if (most := choices(space).max()) > MAX_CHOICES:
        raise ConfigError(
            f"action space {space} has {most} integers in a dimension, more than the {MAX_CHOICES} "
            "up to which each is a choice of its own. Wrap the environment so that it has a Box of "
            "float32 and rounds the actions, or narrower bounds."
        )
    return space


def _discrete(space: gym.Space[Any]) -> gym.spaces.Discrete:
    if not isinstance(space, gym.spaces.Discrete):
        raise ConfigError(
            f"action space {space} is not supported by values of single actions, which need "
            "Discrete. Wrap the environment so that it has this, or take another algorithm."
        )
    return space


def _bounded(space: gym.Space[Any], kind: Kind) -> gym.spaces.Box:
    if not isinstance(space, gym.spaces.Box) or not np.issubdtype(space.dtype, np.floating):
        raise ConfigError(
            f"action space {space} is not supported by {kind} actions, which need a Box of floats. "
            "Wrap the environment so that it has this, or take another algorithm."
        )
    if not (space.bounded_below & space.bounded_above).all():
        raise ConfigError(
            f"action space {space} has no bounds, between which {kind} actions lie. Give it finite "
            "bounds, for example with gymnasium.wrappers.TransformAction."
        )
    return space
