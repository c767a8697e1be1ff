"""The settings ``observation_space`` and ``action_space`` beside what the environment says itself.

They may narrow or widen what is known of an environment, but not contradict it: its observations
must fit into the one, and the actions of the other into it.
"""

from typing import Any

import gymnasium as gym
import numpy as np

from rllib.config import AlgorithmConfig
from rllib.envs.bounds import bounds_of
from rllib.envs.make import Spaces
from rllib.envs.packing import leaves
from rllib.errors import ConfigError, Problem


def agreed_spaces(config: AlgorithmConfig, own: Spaces) -> Spaces:
    """The spaces of the settings where they have any, otherwise the environment's ``own``.

    Raises:
        ConfigError: the two do not go together; names the part and both spaces.
    """
    observation, action = config.observation_space, config.action_space
    problems = []
    if observation is not None and (part := _contradiction(observation, own.observation)):
        problems.append(_problem("observation_space", part, observation, own.observation))
    if action is not None and (part := _contradiction(own.action, action, with_boxes=True)):
        problems.append(_problem("action_space", part, action, own.action))
    if problems:
        raise ConfigError(problems)
    return Spaces(observation or own.observation, action or own.action)


def _problem(key: str, part: str, given: gym.Space[Any], own: gym.Space[Any]) -> Problem:
    text = f"{given} does not go with the environment's {own} ({part}); leave it out, or correct it"
    return Problem(text, key)


def _contradiction(
    wide: gym.Space[Any], narrow: gym.Space[Any], with_boxes: bool = False
) -> str | None:
    """The first part of ``narrow`` of which ``wide`` does not hold every member.

    Args:
        wide: the space that is to hold them.
        narrow: the space of what comes.
        with_boxes: whether bounds of Boxes count, too; otherwise only those of choices do.
    """
    outer, inner = list(leaves(wide, "wide")), list(leaves(narrow, "narrow"))
    if [leaf.keys for leaf in outer] != [leaf.keys for leaf in inner]:
        return f"its parts are {[leaf.path('space') for leaf in inner]}"
    for around, within in zip(outer, inner, strict=True):
        if not _holds(around.space, within.space, with_boxes):
            return f"see {within.path('space')}"
    return None


def _holds(wide: Any, narrow: Any, with_boxes: bool) -> bool:
    if type(wide) is not type(narrow) or wide.shape != narrow.shape or wide.dtype != narrow.dtype:
        return False
    if isinstance(wide, gym.spaces.Box) and not with_boxes:
        return True
    (low, high), (least, most) = bounds_of(wide), bounds_of(narrow)
    return bool(np.all(low <= least) and np.all(most <= high))
