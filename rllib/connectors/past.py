"""What was done before and what came of it, as part of an observation.

Legend: N environments, n steps of the past, W numbers in an action.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.actions import action_head
from rllib.actions.categorical import choices
from rllib.checkpoints.array_state import array_from_state, array_to_state
from rllib.connectors.base import Connector, Memory, StateTree, fresh_rows, with_observations
from rllib.envs.make import Spaces
from rllib.envs.packing import packed_dtype, parts_of
from rllib.envs.vector import EnvStep
from rllib.errors import ConfigError


class PrevActionsPrevRewards(Connector):
    """Observations that also tell the last n actions and rewards of the episode; zeros before.

    They come as fields ``prev_actions`` and ``prev_rewards`` of a Dict; an observation that is
    none itself becomes its field ``obs``. Actions are as the policy chose them: choices are counted
    from 0, and numbers not stretched to the bounds of their space. Those of a Dict or Tuple space
    are a Dict of their parts.

    Args:
        n_prev_actions: 0 leaves actions out.
        n_prev_rewards: 0 leaves rewards out.
    """

    remembers_episodes = True

    def __init__(self, n_prev_actions: int = 1, n_prev_rewards: int = 1) -> None:
        if n_prev_actions < 0 or n_prev_rewards < 0 or n_prev_actions + n_prev_rewards == 0:
            raise ConfigError("PrevActionsPrevRewards takes at least one action or reward")
        self.n_actions, self.n_rewards = n_prev_actions, n_prev_rewards

    def connect(self, spaces: Spaces, num_envs: int) -> Spaces:
        """A Dict with the fields of the observation and the new ones.

        Raises:
            ConfigError: no policy can act in the space of actions.
        """
        action_head(spaces.action)
        space = spaces.observation
        fields = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {"obs": space}
        fields |= self._new_fields(spaces.action)
        self.is_dict = isinstance(space, gym.spaces.Dict)
        whole = gym.spaces.Dict(OrderedDict(fields))
        self.dtype, _ = packed_dtype(whole)
        self.past = {}
        for name, field in self._new_fields(spaces.action).items():
            dtype, shape = packed_dtype(field)
            self.past[name] = np.zeros((num_envs, *shape), dtype)
        return spaces._replace(observation=whole)

    def _new_fields(self, action: gym.Space[Any]) -> dict[str, gym.Space[Any]]:
        fields: dict[str, gym.Space[Any]] = {}
        if self.n_actions:
            fields["prev_actions"] = stacked_actions(action, self.n_actions)
        if self.n_rewards:
            fields["prev_rewards"] = gym.spaces.Box(-np.inf, np.inf, (self.n_rewards,), np.float32)
        return fields

    def on_reset(self, obs: NDArray[Any]) -> NDArray[Any]:
        """Nothing happened yet."""
        for past in self.past.values():
            past[:] = 0
        return self._extended(obs, self.past)

    def on_step(self, step: EnvStep, actions: NDArray[Any]) -> EnvStep:
        """Remember what was done and what came of it, and forget episodes that ended."""
        newest = {"prev_actions": (actions, self.n_actions)}
        newest |= {"prev_rewards": (step.reward, self.n_rewards)}
        past = {name: _shifted(old, *newest[name]) for name, old in self.past.items()}
        final_obs = None if step.final_obs is None else self._extended(step.final_obs, past)
        fresh = fresh_rows(step)
        if fresh.any():
            past = {name: new.copy() for name, new in past.items()}
            for new in past.values():
                new[fresh] = 0
        self.past = past
        return with_observations(step, self._extended(step.obs, past), final_obs)

    def _extended(self, obs: NDArray[Any], past: dict[str, NDArray[Any]]) -> NDArray[Any]:
        whole = np.zeros(len(obs), self.dtype)
        for name in obs.dtype.names or () if self.is_dict else ():
            whole[name] = obs[name]
        if not self.is_dict:
            whole["obs"] = obs
        for name, part in past.items():
            whole[name] = part
        return whole

    def get_memory(self) -> Memory:
        """Past actions and rewards."""
        return dict(self.past)

    def set_memory(self, memory: Memory) -> None:
        """Go on with those of other episodes."""
        self.past = memory

    def get_state(self) -> StateTree:
        """Past actions and rewards."""
        return {name: array_to_state(past) for name, past in self.past.items()}

    def set_state(self, state: StateTree) -> None:
        """Go on from ``get_state``."""
        self.past = {name: array_from_state(past) for name, past in state.items()}


def stacked_actions(space: gym.Space[Any], count: int) -> gym.Space[Any]:
    """The space of so many actions side by side: choices become one-hot features later.

    Of a Dict or Tuple space a Dict of each part's, with texts for keys.
    """
    parts = parts_of(space)
    if parts is not None:
        stacked = ((str(key), stacked_actions(part, count)) for key, part in parts.items())
        return gym.spaces.Dict(OrderedDict(stacked))
    if isinstance(space, gym.spaces.Discrete):
        return gym.spaces.MultiDiscrete([int(space.n)] * count)
    if isinstance(space, gym.spaces.MultiBinary):
        return gym.spaces.MultiBinary(count * int(np.prod(space.shape or ())))
    assert isinstance(space, gym.spaces.MultiDiscrete | gym.spaces.Box), "others were refused"
    if np.issubdtype(space.dtype, np.integer):
        return gym.spaces.MultiDiscrete([int(n) for n in choices(space).flat] * count)
    return gym.spaces.Box(-np.inf, np.inf, (count * int(np.prod(space.shape or ())),), np.float32)


def _shifted(past: NDArray[Any], newest: NDArray[Any], count: int) -> NDArray[Any]:
    """[N, n x W] with the newest [N, W] in front and the oldest of n dropped, part by part."""
    rows = newest.reshape(len(past), -1)
    shifted = np.empty_like(past)
    for part, old in zip(_parts(shifted), _parts(past), strict=True):
        width = old.shape[1] // count
        part[:, :width], rows = rows[:, :width], rows[:, width:]
        part[:, width:] = old[:, :-width]
    return shifted


def _parts(packed: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The plain arrays [N, ...] in a packed one, in the order of its space."""
    if packed.dtype.names is None:
        yield packed
    for name in packed.dtype.names or ():
        yield from _parts(packed[name])
