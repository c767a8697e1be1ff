"""What is done to observations: flattened, stacked, extended, or changed by a function.

Legend: N environments, C the last dimension of an observation, k stacked frames.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.checkpoints.array_state import array_from_state, array_to_state
from rllib.connectors.base import (
    Connector,
    Memory,
    StateTree,
    fresh_rows,
    is_number,
    with_observations,
)
from rllib.envs.make import Spaces
from rllib.envs.packing import Leaf, leaves, packed_dtype, with_parts
from rllib.envs.vector import EnvStep
from rllib.errors import ConfigError, Problem
from rllib.modules.observations import ACTION_MASK, FEATURES, ObservationEncoder
from rllib.modules.observations import Leaf as Part


class ObservationFunction(Connector):
    """Observations changed by a pure function.

    Args:
        change: [N, ...] -> [N, ...].
        space: what comes out; ``None`` if the space stays as it is.
    """

    is_rowwise = True

    def __init__(
        self,
        change: Callable[[NDArray[Any]], NDArray[Any]],
        space: gym.Space[Any] | None = None,
    ) -> None:
        self.change, self.space = change, space

    def connect(self, spaces: Spaces, num_envs: int) -> Spaces:
        """The spaces with the new observation space."""
        return spaces if self.space is None else spaces._replace(observation=self.space)

    def on_reset(self, obs: NDArray[Any]) -> NDArray[Any]:
        """Change first observations."""
        return self.change(obs)

    def on_step(self, step: EnvStep, actions: NDArray[Any]) -> EnvStep:
        """Change the observations of one vector step."""
        final_obs = None if step.final_obs is None else self.change(step.final_obs)
        return with_observations(step, self.change(step.obs), final_obs)


class MaskFrom(ObservationFunction):
    """The field of Dict observations that says which actions are allowed gets its usual name.

    Connectors and modules find it as ``action_mask``, whatever the environment calls it.

    Args:
        key: the environment's name of the field.
    """

    def __init__(self, key: str) -> None:
        super().__init__(self._renamed)
        self.key = key

    def connect(self, spaces: Spaces, num_envs: int) -> Spaces:
        """The Dict with the field under its usual name, in the same place.

        Raises:
            ConfigError: there is no such field, or another one has the usual name.
        """
        space = spaces.observation
        names = list(space.spaces) if isinstance(space, gym.spaces.Dict) else []
        if self.key not in names or ACTION_MASK in names:
            fault = f"another field {ACTION_MASK!r}" if ACTION_MASK in names else "no such field"
            text = f"{self.key!r}: observations of {space} have {fault}"
            raise ConfigError(Problem(text, "action_mask_key"))
        parts = {self._name(name): space[name] for name in names}  # type: ignore[index]
        renamed = gym.spaces.Dict(OrderedDict(parts))
        self.dtype, _ = packed_dtype(renamed)
        return spaces._replace(observation=renamed)

    def _name(self, name: str) -> str:
        return ACTION_MASK if name == self.key else name

    def _renamed(self, obs: NDArray[Any]) -> NDArray[Any]:
        """The same memory under other names."""
        return obs.view(self.dtype)


class FlattenObservations(ObservationFunction):
    """Any observation as one row of float32: numbers flattened, choices one-hot.

    An action mask stays beside it, under its own name.
    """

    def __init__(self) -> None:
        super().__init__(self._flatten)

    def connect(self, spaces: Spaces, num_envs: int) -> Spaces:
        """A Box of the features; with an action mask, a Dict of both."""
        self.encoder = ObservationEncoder(spaces.observation)
        if self.encoder.images:
            raise ConfigError(
                f"FlattenObservations would flatten images ({', '.join(self.encoder.images)}); "
                "leave it out, or set model_config.encoder to 'mlp'"
            )
        box = gym.spaces.Box(-np.inf, np.inf, (self.encoder.size,), np.float32)
        if not self.encoder.has_mask:
            return spaces._replace(observation=box)
        mask = spaces.observation[ACTION_MASK]  # type: ignore[index]
        self.dtype = np.dtype(
            [(ACTION_MASK, mask.dtype, mask.shape), (FEATURES, np.float32, box.shape)]
        )
        return spaces._replace(
            observation=gym.spaces.Dict(OrderedDict([(ACTION_MASK, mask), (FEATURES, box)]))
        )

    def _flatten(self, obs: NDArray[Any]) -> NDArray[Any]:
        features = self.encoder.features(obs)
        if not self.encoder.has_mask:
            return features
        both = np.empty(len(obs), self.dtype)
        both[ACTION_MASK], both[FEATURES] = obs[ACTION_MASK], features
        return both


class OneHot(ObservationFunction):
    """Choices as numbers: a 1 in the place of what was chosen, and 0 elsewhere.

    ``Discrete(n)`` becomes n numbers, ``MultiDiscrete`` those of all its choices side by side. Of a
    Dict or Tuple every choice becomes numbers in its place; all else stays as it is.
    """

    def __init__(self) -> None:
        super().__init__(self._hot)

    def connect(self, spaces: Spaces, num_envs: int) -> Spaces:
        """A Box of 0 and 1 for each choice.

        Raises:
            ConfigError: there is none.
        """
        self.leaves = list(leaves(spaces.observation))
        if not any(map(_is_choice, self.leaves)):
            raise ConfigError(
                f"OneHot is for Discrete and MultiDiscrete observations; {spaces.observation} has "
                "none: leave it out"
            )
        space = with_parts(spaces.observation, _hot_space)
        self.dtype, _ = packed_dtype(space)
        return spaces._replace(observation=space)

    def _hot(self, obs: NDArray[Any]) -> NDArray[Any]:
        if self.dtype.names is None:
            return _features(self.leaves[0], obs)
        hot = np.empty(obs.shape, self.dtype)
        for leaf in self.leaves:
            leaf.of(hot)[...] = _features(leaf, obs) if _is_choice(leaf) else leaf.of(obs)
        return hot


def _is_choice(leaf: Leaf) -> bool:
    return isinstance(leaf.space, gym.spaces.Discrete | gym.spaces.MultiDiscrete)


def _hot_space(leaf: Leaf) -> gym.Space[Any]:
    if not _is_choice(leaf):
        return leaf.space
    return gym.spaces.Box(0.0, 1.0, (Part(leaf.names, leaf.space).size,), np.float32)


def _features(leaf: Leaf, obs: NDArray[Any]) -> NDArray[np.float32]:
    return Part(leaf.names, leaf.space).features(obs)


class FrameStacking(Connector):
    """The last k observations side by side in the last dimension: [..., C] -> [..., k C].

    Before an episode's first observation stand zeros. Of a Dict or Tuple every Box is stacked; the
    newest choices and action mask stand beside them as they are.

    Args:
        num_frames: k.
    """

    remembers_episodes = True

    def __init__(self, num_frames: int = 4) -> None:
        if num_frames < 1:
            raise ConfigError(f"FrameStacking(num_frames={num_frames}): at least 1")
        self.num_frames = num_frames

    def connect(self, spaces: Spaces, num_envs: int) -> Spaces:
        """A Box with k times the channels, for each that is stacked.

        Raises:
            ConfigError: there is none.
        """
        space = spaces.observation
        self.leaves = list(leaves(space))
        if not any(map(_is_stacked, self.leaves)):
            raise ConfigError(
                f"FrameStacking stacks the Boxes of observations that have a dimension; {space} "
                "has none. Put FlattenObservations before it, or leave it out"
            )
        stacked = with_parts(space, self._stacked_space)
        dtype, shape = packed_dtype(stacked)
        self.stack = np.zeros((num_envs, *shape), dtype)
        return spaces._replace(observation=stacked)

    def _stacked_space(self, leaf: Leaf) -> gym.Space[Any]:
        if not _is_stacked(leaf):
            return leaf.space
        space: Any = leaf.space
        low, high = np.minimum(space.low, 0), np.maximum(space.high, 0)
        low, high = (np.concatenate([bound] * self.num_frames, -1) for bound in (low, high))
        return gym.spaces.Box(low, high, dtype=space.dtype)

    def on_reset(self, obs: NDArray[Any]) -> NDArray[Any]:
        """Begin every stack anew."""
        self.stack = self._pushed(np.zeros_like(self.stack), obs)
        return self.stack

    def on_step(self, step: EnvStep, actions: NDArray[Any]) -> EnvStep:
        """Push the newest frame; where an episode began, onto an empty stack."""
        before, fresh = self.stack, fresh_rows(step)
        final_obs = None if step.final_obs is None else self._pushed(before, step.final_obs)
        if fresh.any():
            before = before.copy()
            before[fresh] = np.zeros((), before.dtype)
        self.stack = self._pushed(before, step.obs)
        return with_observations(step, self.stack, final_obs)

    def _pushed(self, stack: NDArray[Any], obs: NDArray[Any]) -> NDArray[Any]:
        pushed = np.zeros_like(stack)
        for leaf in self.leaves:
            newest, place = leaf.of(obs), leaf.of(pushed)
            if _is_stacked(leaf):
                channels = newest.shape[-1]
                place[..., :-channels] = leaf.of(stack)[..., channels:]
                place[..., -channels:] = newest
            else:
                place[...] = newest
        return pushed

    def get_memory(self) -> Memory:
        """The stacks."""
        return {"stack": self.stack}

    def set_memory(self, memory: Memory) -> None:
        """Go on with those of other episodes."""
        self.stack = memory["stack"]

    def get_state(self) -> StateTree:
        """The stacks."""
        return {"stack": array_to_state(self.stack)}

    def set_state(self, state: StateTree) -> None:
        """Go on with the stacks of ``get_state``."""
        self.stack = array_from_state(state["stack"])


def _is_stacked(leaf: Leaf) -> bool:
    return is_number(leaf) and bool(leaf.space.shape)
