"""Episodes of a trained policy, one by one: each has a seed of its own, so each can be repeated."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from rllib.envs.faults import close_env
from rllib.envs.make import make_single_env
from rllib.envs.multi_agent import ALL
from rllib.errors import EnvError
from rllib.interface import MultiAgentInterface

if TYPE_CHECKING:
    from rllib.acting import ActingEpisode
    from rllib.algorithm import Algorithm

Watch = Callable[[Any], object]
"""Is called with the environment after the reset and after every step."""


class Episode(NamedTuple):
    """One episode.

    Attributes:
        seed: of the environment's reset.
        episode_return: sum of rewards, over all agents.
        length: env steps.
        truncated: whether a limit ended it, not the task.
    """

    seed: int
    episode_return: float
    length: int
    truncated: bool


class Player:
    """Plays by the policies of an algorithm, in one environment of its own; use it as a context.

    Args:
        algo: whose policies act.
        explore: whether they draw their actions; otherwise they take the most likely ones.
        render_mode: of gymnasium's, for films and windows.

    Raises:
        EnvSetupError: the environment cannot be made, or has no such render mode.
    """

    def __init__(
        self, algo: "Algorithm", explore: bool = False, render_mode: str | None = None
    ) -> None:
        self.algo, self.explore = algo, explore
        config = algo.config
        extra = {"render_mode": render_mode} if render_mode else {}
        self.env: Any = make_single_env(config.env or "", dict(config.env_config) | extra)
        has_agents = isinstance(algo.interface, MultiAgentInterface)
        self._play = self._play_agents if has_agents else self._play_one

    def play(self, seed: int, watch: Watch = bool) -> Episode:
        """One episode from reset to end.

        Raises:
            EnvError: the environment raised.
        """
        with self._named(seed):
            observation, _ = self.env.reset(seed=seed)
        watch(self.env)
        return self._play(seed, observation, watch)

    def episodes(self, count: int, seed: int = 0, watch: Watch = bool) -> Iterator[Episode]:
        """``count`` episodes with the seeds from ``seed`` on."""
        return (self.play(each, watch) for each in range(seed, seed + count))

    def _play_one(self, seed: int, observation: Any, watch: Watch) -> Episode:
        episode = self.algo.begin_episode()
        total, length, reward = 0.0, 0, 0.0
        while True:
            action = self._act(episode, observation, reward)
            observation, reward, terminated, truncated = self._step(seed, action, watch)
            total, length = total + float(reward), length + 1
            if terminated or truncated:
                return Episode(seed, total, length, bool(truncated))

    def _play_agents(self, seed: int, observations: Any, watch: Watch) -> Episode:
        episodes: dict[Any, ActingEpisode] = {}
        paid: dict[Any, float] = defaultdict(float)  # since what the agent did last
        total, length = 0.0, 0
        while True:
            actions = {}
            for agent, seen in observations.items():
                # What comes before its first action is for that.
                reward = paid.pop(agent, 0.0) if agent in episodes else 0.0
                actions[agent] = self._act(self._episode_of(agent, episodes), seen, reward)
            observations, rewards, ends, cuts = self._step(seed, actions, watch)
            total, length = total + float(sum(rewards.values())), length + 1
            for agent, reward in rewards.items():
                paid[agent] += float(reward)
            if ends.get(ALL) or cuts.get(ALL):
                return Episode(seed, total, length, bool(cuts.get(ALL)))
            gone = [agent for agent in episodes if ends.get(agent) or cuts.get(agent)]
            for agent in gone:  # what is observed of it now is its last
                del episodes[agent]
                paid.pop(agent, None)
            observations = {name: seen for name, seen in observations.items() if name not in gone}

    def _episode_of(self, agent: Any, episodes: "dict[Any, ActingEpisode]") -> "ActingEpisode":
        if agent not in episodes:
            episodes[agent] = self.algo.begin_episode(self.algo.config.get_module_id(agent))
        return episodes[agent]

    def _act(self, episode: "ActingEpisode", observation: Any, reward: float) -> Any:
        return self.algo.compute_single_action(
            observation, episode=episode, prev_reward=float(reward), explore=self.explore
        )

    def _step(self, seed: int, action: Any, watch: Watch) -> tuple[Any, Any, Any, Any]:
        with self._named(seed):
            observation, reward, terminated, truncated, _ = self.env.step(action)
        watch(self.env)
        return observation, reward, terminated, truncated

    @contextmanager
    def _named(self, seed: int) -> Iterator[None]:
        """Say of what an environment raises in which episode it was."""
        try:
            yield
        except Exception as error:
            kind = type(error).__name__
            text = f"the environment raised {kind} in the episode of seed {seed}: {error}"
            raise EnvError(text) from error

    def close(self) -> None:
        """Close the environment."""
        close_env(self.env)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
