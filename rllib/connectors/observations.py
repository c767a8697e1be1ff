"""What is done to observations: flattened, stacked, extended, or changed by a function.

Legend: N environments, C the last dimension of an observation, k stacked frames.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.connectors.base import (
    Connector,
    StateTree,
    fresh_rows,
    is_number,
    with_observations,
)
from rllib.envs.make import Spaces
from rllib.envs.packing import Leaf, Packer, leaves, packed_dtype, unpack, with_parts
from rllib.envs.vector import EnvStep
from rllib.errors import ConfigError, Problem
from rllib.modules.observations import ACTION_MASK, FEATURES, ObservationEncoder


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


class FrameStacking(Connector):
    """The last k observations side by side in the last dimension: [..., C] -> [..., k C].

    Before an episode's first observation stand zeros. Of a Dict or Tuple every Box is stacked; the
    newest choices and action mask stand beside them as they are.

    Args:
        num_frames: k.
    """

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
        self.packer = Packer(stacked)
        self.stack = np.zeros((num_envs, *self.packer.shape), self.packer.dtype)
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

    def get_state(self) -> StateTree:
        """The stacks."""
        return {"stack": unpack(self.stack.copy())}

    def set_state(self, state: StateTree) -> None:
        """Go on with the stacks of ``get_state``."""
        self.stack = self.packer.pack(state["stack"], len(self.stack))


def _is_stacked(leaf: Leaf) -> bool:
    return is_number(leaf) and bool(leaf.space.shape)


class PrevActionsPrevRewards(Connector):
    """Observations that also tell the last n actions and rewards of the episode; zeros before.

    They come as fields ``prev_actions`` and ``prev_rewards`` of a Dict; an observation that is
    none itself becomes its field ``obs``.

    Args:
        n_prev_actions: 0 leaves actions out.
        n_prev_rewards: 0 leaves rewards out.
    """

    def __init__(self, n_prev_actions: int = 1, n_prev_rewards: int = 1) -> None:
        if n_prev_actions < 0 or n_prev_rewards < 0 or n_prev_actions + n_prev_rewards == 0:
            raise ConfigError("PrevActionsPrevRewards takes at least one action or reward")
        self.n_actions, self.n_rewards = n_prev_actions, n_prev_rewards

    def connect(self, spaces: Spaces, num_envs: int) -> Spaces:
        """A Dict with the fields of the observation and the new ones."""
        space = spaces.observation
        fields = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {"obs": space}
        fields |= self._new_fields(spaces.action)
        self.is_dict = isinstance(space, gym.spaces.Dict)
        whole = gym.spaces.Dict(OrderedDict(fields))
        self.dtype, _ = packed_dtype(whole)
        self.past = {
            name: np.zeros((num_envs, *(whole[name].shape or ())), whole[name].dtype)
            for name in self._new_fields(spaces.action)
        }
        return spaces._replace(observation=whole)

    def _new_fields(self, action: gym.Space[Any]) -> dict[str, gym.Space[Any]]:
        fields: dict[str, gym.Space[Any]] = {}
        if self.n_actions:
            fields["prev_actions"] = _stacked_actions(action, self.n_actions)
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
        newest = {"prev_actions": actions, "prev_rewards": step.reward}
        past = {name: _shifted(old, newest[name]) for name, old in self.past.items()}
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

    def get_state(self) -> StateTree:
        """Past actions and rewards."""
        return {name: past.copy() for name, past in self.past.items()}

    def set_state(self, state: StateTree) -> None:
        """Go on from ``get_state``."""
        self.past = {name: np.array(past) for name, past in state.items()}


def _stacked_actions(space: gym.Space[Any], count: int) -> gym.Space[Any]:
    """Choices become one-hot features later, numbers stay numbers."""
    if isinstance(space, gym.spaces.Discrete):
        return gym.spaces.MultiDiscrete([int(space.n)] * count)
    if isinstance(space, gym.spaces.Box):
        return gym.spaces.Box(-np.inf, np.inf, (count * int(np.prod(space.shape)),), np.float32)
    raise ConfigError(f"PrevActionsPrevRewards knows Discrete and Box actions, not {space}")


def _shifted(past: NDArray[Any], newest: NDArray[Any]) -> NDArray[Any]:
    """[N, n x width] with the newest in front and the oldest dropped."""
    newest = newest.reshape(len(past), -1)
    shifted: NDArray[Any] = np.concatenate([newest, past[:, : -newest.shape[1]]], axis=1)
    return shifted.astype(past.dtype, copy=False)
