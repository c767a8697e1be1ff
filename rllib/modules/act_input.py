"""What a module is asked to act on, looked at before it acts.

Observations that env runners act on come from environments that were looked at already; those that
are given to ``RLModule.act`` come from anywhere.

Legend: B rows, A entries of a mask.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.actions.masks import ALLOW_ONE, ZERO_OR_ONE, find_bad_mask, mask_sizes, num_choices
from rllib.envs.bounds import Bounds
from rllib.envs.faults import field_path, find_nonfinite
from rllib.envs.packing import MisfitError, Packer, unpack
from rllib.errors import ConfigError, InputError
from rllib.modules.observations import ACTION_MASK

_BATCH = (
    "is one observation, and a batch [B, ...] is wanted: give obs[None] (of a Dict or Tuple that "
    "of every part) and take [0] of the actions, or call algo.compute_single_action(obs)"
)


class ActInput:
    """Packs what is to be acted on, and refuses what cannot be.

    Args:
        observation_space: of a single environment.
        action_space: of a single environment.
    """

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> None:
        self.packer = Packer(observation_space)
        self.bounds = Bounds(self.packer.leaves)
        self.action_space = action_space
        self.sizes = mask_sizes(observation_space, action_space)

    def batch(self, obs: Any) -> NDArray[Any]:
        """[B, ...] a batch as an array of the space's type.

        Raises:
            InputError: it is no batch, does not fit the space, has NaN, or forbids everything.
        """
        if isinstance(obs, np.ndarray) and obs.dtype.names is not None:
            obs = unpack(obs)
        packed = self._packed(obs, (self._num_in(obs),))
        self._check(packed, is_batch=True)
        return packed

    def single(self, obs: Any) -> NDArray[Any]:
        """[1, ...] one observation, as an environment returns it.

        Raises:
            InputError: it does not fit the space, has NaN, or forbids everything.
        """
        packed = self._packed(obs, ())[None]
        self._check(packed, is_batch=False)
        return packed

    def mask(self, mask: Any, obs: NDArray[Any]) -> NDArray[Any]:
        """[B, A] a mask that is given beside a batch of observations.

        Raises:
            InputError: it is of another width, is not made of 0 and 1, or forbids everything.
        """
        given, sizes = np.asarray(mask), self._choices
        if given.shape != (len(obs), sum(sizes)):
            raise InputError(
                f"mask is of shape {given.shape}; it should be of shape {(len(obs), sum(sizes))}: "
                f"one row for each observation, one entry for each choice of {self.action_space}",
                field="mask",
                value=repr(given),
            )
        self._check_mask("mask", given, sizes)
        if self.sizes:
            together = given * obs[ACTION_MASK]
            self._check_mask("mask", together, sizes, " together with obs['action_mask']")
        return given

    @cached_property
    def _choices(self) -> tuple[int, ...]:
        try:
            return num_choices(self.action_space)
        except ConfigError as error:
            raise InputError(str(error), field="mask") from error

    def _num_in(self, obs: Any) -> int:
        """B of a batch, by its first part."""
        leaf = self.packer.leaves[0]
        value = obs
        for key in leaf.keys:
            if isinstance(value, Mapping):
                key = key if key in value else str(key)
            value = value[key] if isinstance(value, tuple | list) or key in value else ()
        try:
            array = np.asarray(value)
        except ValueError:  # ragged
            return 0
        if array.ndim == len(leaf.space.shape or ()) and array.size:
            raise InputError(f"obs {_BATCH}", field="obs", value=repr(obs))
        return len(array) if array.ndim else 0

    def _packed(self, obs: Any, lead: tuple[int, ...]) -> NDArray[Any]:
        try:
            return self.packer.pack(obs, *lead) if lead else self.packer.pack_one(obs)
        except MisfitError as error:
            raise InputError(str(error), field=error.field) from error

    def _check(self, packed: NDArray[Any], is_batch: bool) -> None:
        if bad := find_nonfinite(packed):
            place = bad.place if is_batch else bad.place[1:]
            self._refuse(field_path("obs", bad.names), place, bad.value, "give finite numbers")
        if outsider := self.bounds.first_choice_outside(packed):
            place = (outsider.row, *outsider.element) if is_batch else outsider.element
            fix = f"outside of its bounds [{outsider.low}, {outsider.high}]; give what lies within"
            self._refuse(outsider.leaf.path("obs"), place, outsider.value, fix)
        if self.sizes:
            field, masks = field_path("obs", [ACTION_MASK]), packed[ACTION_MASK]
            self._check_mask(field, masks if is_batch else masks[0], self.sizes)

    def _refuse(self, field: str, place: tuple[int, ...], value: Any, fix: str) -> None:
        raise InputError(f"{field_path(field, place)} = {value}; {fix}", field=field, value=value)

    def _check_mask(
        self, field: str, mask: NDArray[Any], sizes: tuple[int, ...], beside: str = ""
    ) -> None:
        bad = find_bad_mask(mask, sizes)
        if bad is None:
            return
        if bad.element is not None:
            self._refuse(field, (*bad.place, bad.element), bad.value, ZERO_OR_ONE)
        where = field_path(field, bad.place)
        text = f"{where} forbids every action in action dimension {bad.dimension}{beside}"
        raise InputError(f"{text}. {ALLOW_ONE}", field=field, value=repr(bad.value))
