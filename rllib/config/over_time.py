"""Settings that change while training, for whoever asks for them in every update."""

from collections.abc import Callable
from typing import Generic, TypeVar

from rllib.config.algorithm_config import AlgorithmConfig
from rllib.schedules import value_at

ConfigT = TypeVar("ConfigT", bound=AlgorithmConfig)
ValueT = TypeVar("ValueT")


class OverTime(Generic[ConfigT]):
    """``config.at(timestep)`` without a search for schedules, or a copy where nothing has changed.

    Args:
        config: must not be changed from here on.

    Attributes:
        schedules: of the settings that have one, by name.
    """

    def __init__(self, config: ConfigT) -> None:
        self.config = self._now = config
        self.schedules = config.schedules
        self._values: dict[str, float] = {}
        self._timestep = -1
        self._end = max((points[-1][0] for points in self.schedules.values()), default=0)
        """From then on nothing changes."""

    def at(self, timestep: int) -> ConfigT:
        """The settings with every schedule at its value of this timestep."""
        if timestep == self._timestep or self._timestep >= self._end <= timestep:
            return self._now
        self._timestep = timestep
        values = {name: value_at(each, timestep) for name, each in self.schedules.items()}
        if values != self._values:
            self._now, self._values = self.config.with_values(values), values
        return self._now


class Derived(Generic[ConfigT, ValueT]):
    """What is worked out of present settings, anew only where they are others than before.

    Args:
        work_out: from the settings.
    """

    def __init__(self, work_out: Callable[[ConfigT], ValueT]) -> None:
        self._work_out = work_out
        self._latest: tuple[ConfigT, ValueT] | None = None

    def of(self, now: ConfigT) -> ValueT:
        """The value of these settings, which are not changed in place."""
        if self._latest is None or self._latest[0] is not now:
            self._latest = (now, self._work_out(now))
        return self._latest[1]
