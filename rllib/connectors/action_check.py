"""Whether what connectors have made of actions can be given to environments.

A wrong number of actions is a mistake that no environment need notice: it may be stretched to all
of them. And of NaN an environment would be blamed that only passed it on.

Legend: N environments.
"""

from functools import cached_property
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np

from rllib.envs.bounds import Bounds
from rllib.envs.faults import find_nonfinite
from rllib.envs.packing import MisfitError, Packer
from rllib.errors import TrainingError


class ActionCheck:
    """Refuses what is no action of a space.

    Args:
        space: of a single environment's actions.
    """

    def __init__(self, space: gym.Space[Any]) -> None:
        self.space = space

    @cached_property
    def _packer(self) -> Packer:
        return Packer(self.space)

    @cached_property
    def _bounds(self) -> Bounds:
        return Bounds(self._packer.leaves)

    def check(self, actions: Any, num: int, source: str) -> None:
        """Look at the actions of N environments.

        Real numbers may lie outside of a Box, as unclipped ones do; choices may not.

        Args:
            actions: as environments take them.
            num: N.
            source: the class of the connector that gave them.

        Raises:
            TrainingError: they are of another number or kind, not finite, or no choices that there
                are; names the connector.
        """
        try:
            packed = self._packer.pack(actions, num)
        except (MisfitError, TypeError, ValueError):
            self._refuse(source, _described(actions), num)
        if bad := find_nonfinite(packed):
            self._refuse(source, f"{bad.value} in the action of environment {bad.place[0]}", num)
        if outsider := self._bounds.first_choice_outside(packed):
            text = f"{outsider.told('action')} for environment {outsider.row}"
            self._refuse(source, text, num)

    def count(self, actions: Any) -> int:
        """N, of actions that are sound."""
        leaf = actions
        while isinstance(leaf, dict | tuple):
            leaf = next(iter(leaf.values())) if isinstance(leaf, dict) else leaf[0]
        return len(leaf)

    def _refuse(self, source: str, got: str, num: int) -> NoReturn:
        raise TrainingError(
            f"{source}.on_actions gave {got}; it should give {num} actions of {self.space}, one "
            "for each environment"
        )


def _described(actions: Any) -> str:
    if isinstance(actions, dict | tuple):
        return f"a {type(actions).__name__} of {len(actions)} parts that do not fit"
    array = np.asarray(actions)
    return f"{array.dtype} of shape {list(array.shape)}"
