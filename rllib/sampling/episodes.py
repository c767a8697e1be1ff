"""Episode returns and lengths: followed in the env runners, averaged in the algorithm."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rllib.config.multi_agent import DEFAULT_POLICY_ID
from rllib.envs.vector import EnvStep
from rllib.errors import CheckpointError
from rllib.metrics.names import DEFAULT_AGENT_ID
from rllib.sampling.endless import EndWatch

ONE_AGENT = (DEFAULT_AGENT_ID, DEFAULT_POLICY_ID)
"""What RLlib calls a single agent, and its module."""
LEAST_AGENT = "least_agent_episode_return_mean"


class Episode(NamedTuple):
    """A finished episode: undiscounted return and length in env steps.

    With several agents also the return of each agent and of each module.
    """

    episode_return: float
    length: int
    by_agent: Mapping[str, float] = {}
    by_module: Mapping[str, float] = {}


class EpisodeTracker:
    """Follows the episodes that run on across fragments in N environments."""

    def __init__(self, num_envs: int) -> None:
        self.returns = np.zeros(num_envs, np.float64)
        self.lengths = np.zeros(num_envs, np.int64)

    def track(
        self,
        rewards: NDArray[np.float32],
        dones: NDArray[np.bool_],
        reset_rows: NDArray[np.bool_],
        failed: NDArray[np.bool_] | None = None,
    ) -> list[Episode]:
        """Add a fragment of [T, N] rows; returns the episodes that ended in it, in time order.

        Of an environment that ``failed`` the episode so far is forgotten.
        """
        ended = dones if failed is None else dones | failed
        if not np.count_nonzero(ended):  # as in most fragments of few rows
            self.returns = self.returns + np.add.reduce(rewards, dtype=np.float64)
            self.lengths = self.lengths + len(rewards) - np.add.reduce(reset_rows, dtype=np.int64)
            return []
        returns = self.returns + rewards.cumsum(axis=0, dtype=np.float64)
        lengths = self.lengths + (~reset_rows).cumsum(axis=0)
        past_returns, past_lengths = np.zeros_like(self.returns), np.zeros_like(self.lengths)
        episodes = []
        for t, n in np.argwhere(ended):
            if dones[t, n]:
                episode = Episode(
                    float(returns[t, n] - past_returns[n]), int(lengths[t, n] - past_lengths[n])
                )
                episodes.append(episode)
            past_returns[n], past_lengths[n] = returns[t, n], lengths[t, n]
        self.returns, self.lengths = returns[-1] - past_returns, lengths[-1] - past_lengths
        return episodes

    def track_step(self, step: EnvStep) -> list[Episode]:
        """Add one vector step; returns the episodes that ended in it, by environment."""
        rewards = step.reward if step.raw_reward is None else step.raw_reward
        dones = step.terminated | step.truncated
        failed = None if step.failed is None else step.failed[None]
        return self.track(rewards[None], dones[None], step.is_reset_row[None], failed)

    def get_state(self) -> dict[str, Any]:
        """State tree of the unfinished episodes."""
        return {"returns": self.returns.copy(), "lengths": self.lengths.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on with the unfinished episodes of ``get_state``.

        Raises:
            CheckpointError: they are of another number of environments.
        """
        returns, lengths = np.array(state["returns"], float), np.array(state["lengths"], np.int64)
        if not returns.shape == lengths.shape == self.returns.shape:
            text = f"returns {list(returns.shape)} and lengths {list(lengths.shape)}"
            raise CheckpointError(f"{text} of episodes, of {len(self.returns)} environments")
        self.returns, self.lengths = returns, lengths


class EpisodeTally:
    """Counts a fixed number of whole episodes, from the first step of each on.

    Args:
        num_episodes: shared out evenly among the environments, beforehand.
        num_envs: N.
        watch: is asked after every step whether that takes too long.

    Attributes:
        episodes: those that have ended, in the order in which they did.
        num_env_steps: in those episodes.
        missing: [N] episodes that are still wanted of each environment.
    """

    def __init__(self, num_episodes: int, num_envs: int, watch: EndWatch) -> None:
        self.watch = watch
        share, rest = divmod(num_episodes, num_envs)
        self.missing = share + (np.arange(num_envs) < rest)
        self.tracker = EpisodeTracker(num_envs)
        self.episodes: list[Episode] = []

    @property
    def is_full(self) -> bool:
        """Whether all have ended."""
        return not self.missing.any()

    @property
    def num_env_steps(self) -> int:
        """Steps of the counted episodes."""
        return sum(episode.length for episode in self.episodes)

    def add(self, step: EnvStep) -> None:
        """Count one vector step.

        Raises:
            TrainingError: no episode has ended for too long.
        """
        ended = self.tracker.track_step(step)
        for index, episode in zip(
            np.flatnonzero(step.terminated | step.truncated), ended, strict=True
        ):
            if self.missing[index]:
                self.missing[index] -= 1
                self.episodes.append(episode)
        self.watch.look(len(self.episodes), np.flatnonzero(self.missing))


class StepTally:
    """Counts env steps until there are enough, and the episodes that end meanwhile.

    Args:
        is_enough: says of a number of env steps whether there are.
        num_envs: N.

    Attributes:
        missing: ``None``, for every episode counts.
    """

    missing = None

    def __init__(self, is_enough: Callable[[int], bool], num_envs: int) -> None:
        self.is_enough, self.num_env_steps = is_enough, 0
        self.tracker = EpisodeTracker(num_envs)
        self.episodes: list[Episode] = []

    @property
    def is_full(self) -> bool:
        """Whether there are enough steps."""
        return self.is_enough(self.num_env_steps)

    def add(self, step: EnvStep) -> None:
        """Count one vector step."""
        self.num_env_steps += int(np.count_nonzero(~step.is_reset_row))
        self.episodes += self.tracker.track_step(step)


@dataclass
class OpenEnd:
    """A play that goes on until it is told to end.

    Attributes:
        number: of the play; plays up to a number are told to end together.
        least: env steps that are played in any case.
        at_a_time: env steps between two looks at whether it is told to end.
    """

    number: int
    least: int
    at_a_time: int

    def is_reached(self, num_env_steps: int, last_ended: int) -> bool:
        """Whether to end after so many env steps, if the plays up to ``last_ended`` are to."""
        if num_env_steps < self.least:
            return False
        self.least = num_env_steps + self.at_a_time
        return last_ended >= self.number


class EpisodeWindow:
    """The last ``size`` episodes, and how many there ever were."""

    def __init__(self, size: int) -> None:
        self.episodes: deque[Episode] = deque(maxlen=size)
        self.num_lifetime = 0

    def add(self, episodes: Iterable[Episode]) -> None:
        """Append finished episodes."""
        before = self.num_lifetime
        for self.num_lifetime, episode in enumerate(episodes, before + 1):
            self.episodes.append(episode)

    def summary(self) -> dict[str, Any]:
        """Mean, least and greatest return and length; without episodes, only their number."""
        count: dict[str, Any] = {"num_episodes_lifetime": self.num_lifetime}
        if not self.episodes:
            return count
        returns = [episode.episode_return for episode in self.episodes]
        lengths = [episode.length for episode in self.episodes]
        spreads = _spread("episode_return", returns) | _spread("episode_len", lengths)
        return count | spreads | self._means_of_agents(spreads["episode_return_mean"])

    def _means_of_agents(self, mean: float) -> dict[str, Any]:
        """Under RLlib's names, which are also those of a single agent and its module.

        Of several agents also the least mean: all of them have learnt when that one has.
        """
        found = {
            "agent_episode_returns_mean": [episode.by_agent for episode in self.episodes],
            "module_episode_returns_mean": [episode.by_module for episode in self.episodes],
        }
        means = {name: _means(each) for name, each in found.items() if any(each)}
        if not means:
            return {name: {one: mean} for name, one in zip(found, ONE_AGENT, strict=True)}
        least = min(means["agent_episode_returns_mean"].values())
        return means | {LEAST_AGENT: least}

    def get_state(self) -> dict[str, Any]:
        """State tree."""
        return {
            "num_lifetime": self.num_lifetime,
            "returns": [episode.episode_return for episode in self.episodes],
            "lengths": [episode.length for episode in self.episodes],
            "by_agent": [dict(episode.by_agent) for episode in self.episodes],
            "by_module": [dict(episode.by_module) for episode in self.episodes],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore ``get_state``; a smaller window keeps the newest episodes."""
        self.num_lifetime = int(state["num_lifetime"])
        columns = (state[name] for name in ("returns", "lengths", "by_agent", "by_module"))
        self.episodes.clear()
        self.episodes.extend(
            Episode(float(total), int(length), agents, modules)
            for total, length, agents, modules in zip(*columns, strict=True)
        )


def _means(parts: list[Mapping[str, float]]) -> dict[str, float]:
    """Of each name over the episodes in which it appears."""
    names = dict.fromkeys(name for part in parts for name in part)
    columns = {name: [part[name] for part in parts if name in part] for name in names}
    return {name: sum(column) / len(column) for name, column in columns.items()}


def _spread(name: str, values: list[float] | list[int]) -> dict[str, float | int]:
    return {
        f"{name}_mean": sum(values) / len(values),
        f"{name}_min": min(values),
        f"{name}_max": max(values),
    }
