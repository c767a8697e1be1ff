"""One step between environments and module, and the pipeline of such steps.

Legend: N environments.
"""

from abc import ABC
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.absent import refuse_overrides
from rllib.connectors.action_check import ActionCheck
from rllib.envs.make import Spaces
from rllib.envs.packing import Leaf
from rllib.envs.vector import EnvStep, Floats
from rllib.modules.observations import ACTION_MASK

Bools = NDArray[np.bool_]
StateTree = dict[str, Any]
Memory = dict[str, NDArray[Any]]
"""Arrays [N, ...] by name: row n belongs to episode n."""


def fresh_rows(step: EnvStep) -> Bools:
    """[N] where ``step.obs`` is the first observation of a new episode.

    Under NEXT_STEP that is the reset row; in the row of an episode's end ``obs`` is still its last
    one, and ``final_obs`` the very same array.
    """
    if step.final_obs is step.obs:
        return step.is_reset_row
    return step.terminated | step.truncated | step.is_reset_row


def is_number(leaf: Leaf) -> bool:
    """Whether a part of observations can be computed with: a Box that is no action mask."""
    return isinstance(leaf.space, gym.spaces.Box) and leaf.keys != (ACTION_MASK,)


RLLIB_HOOKS = {
    "__call__": "override on_reset and on_step for observations and rewards, on_actions for "
    "actions; what changes train batches is a rllib.connectors.learner.LearnerConnector",
    "recompute_output_observation_space": "connect(spaces, num_envs) returns what comes out",
    "recompute_output_action_space": "connect(spaces, num_envs) returns what comes out",
    "preprocess": "override on_reset and on_step, or use rllib.connectors.ObservationFunction",
}
"""Methods of RLlib's connectors, and what there is instead."""


class Connector(ABC):  # noqa: B024 (every hook may stay as it is)
    """One step: changes observations, rewards or actions of N environments as they pass.

    Attributes:
        is_frozen: statistics are used, but no longer updated: for evaluation.
        is_rowwise: every observation is taken by itself, so that ``on_reset`` does for any rows.
        not_called: methods that RLlib would call, and what there is instead.
        remembers_episodes: what comes out depends on what was before in the episode, so that
            nobody can be asked about an observation alone.

    With several agents, who come and go, a step is given the rows of those who observe. One that
    is not rowwise says by ``get_memory`` what it knows of each row, so that it is kept by agent.
    """

    not_called: ClassVar[Mapping[str, str]] = RLLIB_HOOKS
    is_frozen = False
    is_rowwise = False
    remembers_episodes = False

    def __init_subclass__(cls, **others: Any) -> None:
        """Refuse what RLlib's connectors override and these do not have.

        Raises:
            TypeError: says what to override instead.
        """
        super().__init_subclass__(**others)
        refuse_overrides(cls, cls.not_called)

    def connect(self, spaces: Spaces, num_envs: int) -> Spaces:
        """Get ready for N new environments; returns the spaces that come out of this step.

        Args:
            spaces: what the step before gives out; the environment's own for the first.
            num_envs: N.

        Raises:
            ConfigError: this step cannot work on such spaces.
        """
        return spaces

    def on_reset(self, obs: NDArray[Any]) -> NDArray[Any]:
        """The first observations [N, ...] of episodes that begin everywhere."""
        return obs

    def on_step(self, step: EnvStep, actions: NDArray[Any]) -> EnvStep:
        """What came of ``actions`` [N, ...], which are the module's."""
        return step

    def on_actions(self, actions: Any) -> Any:
        """The environment's actions on their way there."""
        return actions

    def get_memory(self) -> Memory | None:
        """What is known of each episode, by name: arrays [N, ...], zeros or the like at first.

        ``None`` of a step that does not tell, and is no step for several agents.
        """
        return {} if self.is_rowwise else None

    def set_memory(self, memory: Memory) -> None:  # noqa: B027
        """Go on with other episodes, any number of them; the arrays are the step's own."""

    def get_state(self) -> StateTree:
        """All that must survive a restart: per environment, and statistics."""
        return {}

    def set_state(self, state: StateTree) -> None:  # noqa: B027 (most steps have no state)
        """Go on from ``get_state``."""

    def get_statistics(self) -> StateTree:
        """The part of the state that all env runners share; empty where there is none."""
        return {}

    def set_statistics(self, statistics: StateTree) -> None:  # noqa: B027
        """Take over shared statistics."""

    def take_news(self) -> StateTree:
        """Statistics of what was seen since the last call, to be merged; they count only once."""
        return {}

    def merge(self, news: StateTree) -> None:  # noqa: B027
        """Add another's news to the own statistics."""


class Pipeline(Connector):
    """Connectors one after the other; itself a connector.

    Args:
        connectors: from the environment to the module; actions pass them in the other direction.
    """

    def __init__(self, connectors: Iterable[Connector] = ()) -> None:
        self.connectors = list(connectors)

    def __len__(self) -> int:
        return len(self.connectors)

    def __iter__(self) -> Iterator[Connector]:
        return iter(self.connectors)

    # RLlib's operations.

    def prepend(self, connector: Connector) -> None:
        """Put a connector next to the environment."""
        self.connectors.insert(0, connector)

    def append(self, connector: Connector) -> None:
        """Put a connector next to the module."""
        self.connectors.append(connector)

    def insert_before(self, where: type[Connector] | str, connector: Connector) -> None:
        """Put a connector before the first one of the given class or class name.

        Raises:
            ValueError: there is none.
        """
        self.connectors.insert(self._index(where), connector)

    def insert_after(self, where: type[Connector] | str, connector: Connector) -> None:
        """Put a connector behind the first one of the given class or class name.

        Raises:
            ValueError: there is none.
        """
        self.connectors.insert(self._index(where) + 1, connector)

    def remove(self, where: type[Connector] | str) -> None:
        """Take the first connector of the given class or class name out.

        Raises:
            ValueError: there is none.
        """
        del self.connectors[self._index(where)]

    def _index(self, where: type[Connector] | str) -> int:
        name = where if isinstance(where, str) else where.__name__
        names = [type(connector).__name__ for connector in self.connectors]
        if name not in names:
            raise ValueError(f"no {name} in the pipeline; it has {names}")
        return names.index(name)

    # The connector.

    def connect(self, spaces: Spaces, num_envs: int) -> Spaces:
        """Get all ready; returns the spaces that the module sees."""
        self._check = ActionCheck(spaces.action)
        for connector in self.connectors:
            spaces = connector.connect(spaces, num_envs)
        return spaces

    def on_reset(self, obs: NDArray[Any]) -> NDArray[Any]:
        """First observations through all steps."""
        for connector in self.connectors:
            obs = connector.on_reset(obs)
        return obs

    def on_step(self, step: EnvStep, actions: NDArray[Any]) -> EnvStep:
        """One vector step through all steps."""
        for connector in self.connectors:
            step = connector.on_step(step, actions)
        return step

    def on_actions(self, actions: Any) -> Any:
        """Actions through all steps, from the module to the environment.

        Raises:
            TrainingError: a step has made of them what cannot be given to environments.
        """
        given, source = actions, ""
        for connector in reversed(self.connectors):
            before, actions = actions, connector.on_actions(actions)
            source = source if actions is before else type(connector).__name__
        if source:
            self._check.check(actions, self._check.count(given), source)
        return actions

    def freeze(self) -> "Pipeline":
        """Update no statistics any more."""
        for connector in self.connectors:
            connector.is_frozen = True
        return self

    def get_memory(self) -> Memory | None:
        """What all know of each episode, by place and name; ``None`` if one does not tell."""
        memory: Memory = {}
        for place, connector in enumerate(self.connectors):
            own = connector.get_memory()
            if own is None:
                return None
            memory |= {f"{place}.{name}": part for name, part in own.items()}
        return memory

    def set_memory(self, memory: Memory) -> None:
        """Go on with other episodes."""
        for place, connector in enumerate(self.connectors):
            start = f"{place}."
            own = {k.removeprefix(start): v for k, v in memory.items() if k.startswith(start)}
            connector.set_memory(own)

    def get_state(self) -> StateTree:
        """State of all, by place."""
        return self._of_all("get_state")

    def set_state(self, state: StateTree) -> None:
        """Go on from ``get_state`` of a pipeline of the same steps."""
        self._to_all("set_state", state)

    def get_statistics(self) -> StateTree:
        """Shared statistics of all, by place."""
        return self._of_all("get_statistics")

    def set_statistics(self, statistics: StateTree) -> None:
        """Take over the shared statistics of a pipeline of the same steps."""
        self._to_all("set_statistics", statistics)

    def take_news(self) -> StateTree:
        """News of all, by place."""
        return self._of_all("take_news")

    def merge(self, news: StateTree) -> None:
        """Merge the news of a pipeline of the same steps."""
        self._to_all("merge", news)

    def _of_all(self, method: str) -> StateTree:
        parts = {str(i): getattr(each, method)() for i, each in enumerate(self.connectors)}
        return {place: part for place, part in parts.items() if part}

    def _to_all(self, method: str, parts: StateTree) -> None:
        for place, part in parts.items():
            getattr(self.connectors[int(place)], method)(part)


def step_within(obs: NDArray[Any], rewards: Floats) -> EnvStep:
    """One step [N, ...] in which no episode ended."""
    no = np.zeros(len(obs), np.bool_)
    return EnvStep(obs, rewards, no, no, no, None)


def last_step(obs: NDArray[Any], rewards: Floats, terminated: Bools) -> EnvStep:
    """One step [N, ...] in which every episode ended, and none began."""
    no = np.zeros(len(obs), np.bool_)
    return EnvStep(obs, rewards, terminated, ~terminated, no, final_obs=obs)


def with_observations(step: EnvStep, obs: NDArray[Any], final_obs: NDArray[Any] | None) -> EnvStep:
    """The same step with other observations; where both were one array they stay one."""
    final_obs = obs if step.final_obs is step.obs else final_obs
    return replace(step, obs=obs, final_obs=final_obs)
