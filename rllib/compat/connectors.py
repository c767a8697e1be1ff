"""Our connectors under RLlib's signatures, and its learner connectors that have nothing to do here.

``multi_agent`` changes nothing: with several agents every module has a pipeline of its own.
What RLlib's connectors take and these do not is an error that says how else it is had.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.compat.table import OWN_CONNECTOR
from rllib.connectors import filters, observations, past
from rllib.connectors.base import RLLIB_HOOKS
from rllib.connectors.learner import LearnerConnector
from rllib.envs.make import Spaces
from rllib.envs.packing import Packer, row_of, unpack
from rllib.errors import ConfigError
from rllib.modules.rl_module import RLModule

ClassT = TypeVar("ClassT", bound=type)

_INSTEAD = {
    "agent_ids": "algorithm_config_overrides_per_module={module: {'env_to_module_connector': "
    "lambda: FlattenObservations()}} gives connectors to one module",
    "as_learner_connector": "a learner sees what came out of the env runner's connectors",
    "de_mean_to_zero": OWN_CONNECTOR,
    "de_std_to_one": OWN_CONNECTOR,
    "input_action_space": "a connector is told the spaces when it is connected",
    "input_observation_space": "a connector is told the spaces when it is connected",
    "keys_to_remove": "rllib.connectors.ObservationFunction changes observations as you like",
    "update_stats": "statistics are updated in training, and left alone in evaluation",
}
"""Arguments of RLlib's connectors, and what there is instead."""


def _explains_arguments(cls: ClassT) -> ClassT:
    """Decorator: arguments that a connector of RLlib's takes, and this one does not, are explained.

    Raises:
        ConfigError: when the connector is made; names the argument, and what there is instead.
    """
    init: Callable[..., None] = cls.__init__  # type: ignore[misc]

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        known = inspect.signature(init).parameters
        for name in _INSTEAD.keys() & kwargs.keys() - known.keys():
            raise ConfigError(f"{cls.__name__}({name}=...) is not supported: {_INSTEAD[name]}")
        init(self, *args, **kwargs)

    cls.__init__ = checked  # type: ignore[misc]
    return cls


@_explains_arguments
class MeanStdFilter(filters.MeanStdFilter):
    """Observations shifted and scaled to mean 0 and standard deviation 1.

    Args:
        multi_agent: no effect here.
        clip_by_value: the result is clipped to plus and minus this; ``None`` leaves it.
    """

    def __init__(self, *, multi_agent: bool = False, clip_by_value: float | None = 10.0) -> None:
        super().__init__(clip_by_value)


@_explains_arguments
class FlattenObservations(observations.FlattenObservations):
    """Any observation as one row of numbers."""

    def __init__(self, *, multi_agent: bool = False) -> None:
        super().__init__()


@_explains_arguments
class FrameStacking(observations.FrameStacking):
    """The last ``num_frames`` observations side by side in the last dimension."""

    def __init__(self, *, num_frames: int = 1, multi_agent: bool = False) -> None:
        super().__init__(num_frames)


@_explains_arguments
class PrevActionsPrevRewards(past.PrevActionsPrevRewards):
    """Observations that also tell the last actions and rewards of the episode."""

    def __init__(
        self, *, multi_agent: bool = False, n_prev_actions: int = 1, n_prev_rewards: int = 1
    ) -> None:
        super().__init__(n_prev_actions, n_prev_rewards)


class _NoEpisode:
    """Stands for an episode where there is none to be asked."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"preprocess() is given observations alone here, and no episode with {name!r}; "
            "a rllib.connectors.Connector sees steps one after the other"
        )


@_explains_arguments
class SingleAgentObservationPreprocessor(observations.ObservationFunction):
    """Observations changed one by one; ``ObservationFunction`` changes those of all environments.

    A subclass overrides ``preprocess`` and, where another space comes out,
    ``recompute_output_observation_space``. Parts of a Dict or Tuple come as a dict.
    """

    not_called: ClassVar[Mapping[str, str]] = {
        name: hint
        for name, hint in RLLIB_HOOKS.items()
        if name not in ("preprocess", "recompute_output_observation_space")
    }

    def __init__(self) -> None:
        super().__init__(self._changed)

    def connect(self, spaces: Spaces, num_envs: int) -> Spaces:
        """With the space that the subclass says."""
        self.space = self.recompute_output_observation_space(spaces.observation, spaces.action)
        self.packer = Packer(self.space)
        return super().connect(spaces, num_envs)

    def recompute_output_observation_space(
        self, input_observation_space: gym.Space[Any], input_action_space: gym.Space[Any]
    ) -> gym.Space[Any]:
        """What comes out: by default the space of what goes in."""
        return input_observation_space

    def preprocess(self, observation: Any, episode: Any) -> Any:
        """One observation instead of another, which belongs to the space that comes out.

        Raises:
            NotImplementedError: a subclass has to say it.
        """
        raise NotImplementedError(f"{type(self).__name__} needs preprocess(observation, episode)")

    def _changed(self, obs: NDArray[Any]) -> NDArray[Any]:
        batch, none = unpack(obs), _NoEpisode()
        each = (self.preprocess(row_of(batch, index), none) for index in range(len(obs)))
        return np.stack([self.packer.pack_one(new) for new in each])


@_explains_arguments
class FrameStackingLearner(LearnerConnector):
    """What ``FrameStacking`` does for env runners, for learners: nothing is left to be done.

    A fragment holds what came out of the env-to-module connectors.
    """

    def __init__(self, *, num_frames: int = 1, multi_agent: bool = False) -> None:
        """Take RLlib's arguments."""

    def __call__(self, batch: Any, rl_module: RLModule) -> Any:
        """The same."""
        return batch
