"""A multi-agent environment whose agents come, go and skip turns at random.

Every number in it can be checked by arithmetic: an agent's observation is ``(life, k)``, where
``life`` counts the agents that ever came and ``k`` their own steps so far. A reward can tell what
it was given for, as ``life + t / 64`` in env step ``t`` of the episode.
"""

from typing import Any

import gymnasium as gym
import numpy as np

from rllib.envs.multi_agent import ALL, AgentDict, MultiAgentEnv

PAYS = (0.0, 1.0, 2.0)


class RandomSchedule(MultiAgentEnv):
    """Agents 0 to 4 at random; keeps the books of what it paid and of who acted.

    Args:
        config: ``"length"``: env steps of an episode (12), which also ends when all five agents
            end at once; ``"nan_agent"``: this agent's reward is NaN; ``"actions"``: number of
            actions (2); ``"coded"``: rewards tell life and time, instead of being 0, 1 or 2 at
            random.

    Attributes:
        paid: sum of all rewards of all episodes.
        acted: number of agent steps of all episodes.
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        config = config or {}
        self.length = int(config.get("length", 12))
        self.nan_agent = config.get("nan_agent")
        self.is_coded = bool(config.get("coded", False))
        self.possible_agents = list(range(5))
        space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.observation_spaces = dict.fromkeys(self.possible_agents, space)
        action_space = gym.spaces.Discrete(int(config.get("actions", 2)))
        self.action_spaces = dict.fromkeys(self.possible_agents, action_space)
        self.num_lives, self.paid, self.acted = 0, 0.0, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[AgentDict, AgentDict]:
        """Some agents come; at least one of them acts."""
        if seed is not None:
            self.random = np.random.default_rng(seed)
        self.t = 0
        self.lives: dict[int, list[int]] = {}
        for agent in self.random.permutation(5)[: self.random.integers(1, 5)]:
            self._come(int(agent))
        self.waiting = set(self.lives)
        self.agents = sorted(self.lives)
        return {agent: self._obs(agent) for agent in self.waiting}, {}

    def _come(self, agent: int) -> None:
        self.num_lives += 1
        self.lives[agent] = [self.num_lives, 0]

    def _obs(self, agent: int) -> Any:
        return np.array(self.lives[agent], np.float32)

    def step(  # type: ignore[override]
        self, action_dict: AgentDict
    ) -> tuple[AgentDict, AgentDict, AgentDict, AgentDict, AgentDict]:
        """Those who acted step; anyone may be paid, go, come, or have to wait.

        Raises:
            RuntimeError: other agents acted than were asked to.
        """
        if action_dict.keys() != self.waiting:
            raise RuntimeError(f"{set(action_dict)} acted, {self.waiting} were asked")
        self.t += 1
        self.acted += len(action_dict)
        for agent in action_dict:
            self.lives[agent][1] += 1
        rewards = {agent: self._pay(agent) for agent in self.lives if self.random.random() < 0.5}
        ends = {agent: self._ends() for agent in self.lives}
        over = self.t == self.length or self._nobody_can_come(ends)
        obs = {agent: self._obs(agent) for agent, (a, b) in ends.items() if a or b or over}
        for agent, how in ends.items():
            if any(how):
                del self.lives[agent]
        if not over:
            self._next(obs)
        terminateds: AgentDict = {agent: how[0] for agent, how in ends.items()}
        truncateds: AgentDict = {agent: how[1] for agent, how in ends.items()}
        terminateds[ALL], truncateds[ALL] = False, over
        return obs, rewards, terminateds, truncateds, {}

    def _pay(self, agent: int) -> float:
        reward = self._code(agent) if self.is_coded else float(self.random.choice(PAYS))
        self.paid += reward
        return float("nan") if agent == self.nan_agent else reward

    def _code(self, agent: int) -> float:
        return self.lives[agent][0] + self.t / 64.0

    def _ends(self) -> tuple[bool, bool]:
        """Terminated, truncated."""
        dice = self.random.random()
        return dice < 0.1, 0.1 <= dice < 0.2

    def _nobody_can_come(self, ends: dict[int, tuple[bool, bool]]) -> bool:
        """All five agents end in one step, so none is left to act in the next."""
        return sum(map(any, ends.values())) == len(self.possible_agents)

    def _next(self, obs: AgentDict) -> None:
        """Who acts next: never nobody, and who comes at once."""
        gone = set(obs)
        able = sorted(self.lives)
        self.waiting = {agent for agent in able if self.random.random() < 0.6}
        for agent in range(5):
            if agent not in self.lives and agent not in gone and self.random.random() < 0.2:
                self._come(agent)
                self.waiting.add(agent)
        if not self.lives:
            self._come(next(agent for agent in range(5) if agent not in gone))
        self.waiting = self.waiting or {min(self.lives)}
        self.agents = sorted(self.lives)
        obs |= {agent: self._obs(agent) for agent in self.waiting}
