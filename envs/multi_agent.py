"""Environments of several agents, in RLlib's shape.

An agent acts exactly in the steps before which its observation was returned: who is missing from
an observation dict skips a turn. Rewards may come for any agent that is there, at any time; between
two of its own steps they belong to what it did last. An agent is gone after its ``terminateds`` or
``truncateds`` was true, or that of ``"__all__"``; an observation of it in that step is its last
one, from which a truncated agent is bootstrapped. Others may come at any time, and so may an agent
that was gone, to a new life.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym

from rllib.envs.faults import EnvSetupError
from rllib.envs.make import EnvSource, make_single_env
from rllib.envs.single_state import get_single_state, set_single_state

AgentID = Hashable
AgentDict = dict[Any, Any]
"""Something per agent."""

ALL = "__all__"
"""The key that stands for all agents in ``terminateds`` and ``truncateds``."""
NO_AGENTS = frozenset({ALL, "__common__"})
"""What may stand among agents in infos, as RLlib's environments have it."""


class MultiAgentEnv(gym.Env[AgentDict, AgentDict]):
    """Base class: agents see, act and are rewarded by dicts with their ids as keys.

    Attributes:
        possible_agents: ids of all agents that may ever appear.
        agents: ids of those that are there now.
        observation_spaces: of each possible agent.
        action_spaces: of each possible agent.
    """

    possible_agents: list[Any] = []  # noqa: RUF012 (set by each environment; RLlib's shape)
    agents: list[Any] = []  # noqa: RUF012
    observation_spaces: Mapping[Any, gym.Space[Any]] | None = None
    action_spaces: Mapping[Any, gym.Space[Any]] | None = None

    @property
    def num_agents(self) -> int:
        """Agents that are there now."""
        return len(self.agents)

    @property
    def max_num_agents(self) -> int:
        """Agents that may ever appear."""
        return len(self.possible_agents)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[AgentDict, AgentDict]:
        """Begin an episode; returns observations of those who act first, and infos.

        What overrides it may call it, to have ``np_random`` seeded.
        """
        super().reset(seed=seed)
        if type(self).reset is MultiAgentEnv.reset:
            raise TypeError(f"{type(self).__name__} has no reset(*, seed, options) -> (obs, infos)")
        return {}, {}

    def step(  # type: ignore[override]  # dicts instead of numbers
        self, action_dict: AgentDict
    ) -> tuple[AgentDict, AgentDict, AgentDict, AgentDict, AgentDict]:
        """One step of those who act.

        Returns:
            Observations of those who act next (and last ones of those who are gone), rewards,
            terminateds and truncateds with ``"__all__"``, infos.
        """
        raise TypeError(f"{type(self).__name__} has no step(action_dict) -> five dicts")

    def get_observation_space(self, agent_id: AgentID) -> gym.Space[Any]:
        """Space of an agent's observations."""
        return self._space_of(agent_id, self.observation_spaces, "observation_space")

    def get_action_space(self, agent_id: AgentID) -> gym.Space[Any]:
        """Space of an agent's actions."""
        return self._space_of(agent_id, self.action_spaces, "action_space")

    def with_agent_groups(
        self,
        groups: Mapping[Hashable, Sequence[Any]],
        obs_space: gym.Space[Any] | None = None,
        act_space: gym.Space[Any] | None = None,
    ) -> "MultiAgentEnv":
        """The environment with groups of agents that act as one: ``GroupedAgents``."""
        from rllib.envs.agent_groups import GroupedAgents

        return GroupedAgents(self, groups, obs_space, act_space)

    def _space_of(
        self, agent_id: AgentID, spaces: Mapping[Any, gym.Space[Any]] | None, name: str
    ) -> gym.Space[Any]:
        """From the mapping, else one space of that name for all, or a Dict of it by agent."""
        if spaces is not None and agent_id in spaces:
            return spaces[agent_id]
        shared = getattr(self, name, None)
        if isinstance(shared, gym.spaces.Dict) and agent_id in shared.spaces:
            return shared.spaces[agent_id]
        if isinstance(shared, gym.Space):
            return shared
        raise EnvSetupError(
            f"{type(self).__name__} does not say the {name} of agent {agent_id!r}; put it into "
            f"{name}s, or override get_{name}"
        )


class Replicated(MultiAgentEnv):
    """Several copies of one environment of a single agent, one for each agent.

    An agent is gone when its copy's episode ends; the episode of all ends with the last one.

    Args:
        config: ``env_config`` of every copy; its ``num_agents`` (1) says how many there are, with
            the ids 0, 1, ...
    """

    source: ClassVar[EnvSource]

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        rest = dict(config or {})
        num_agents = int(rest.pop("num_agents", 1))
        self.envs = [make_single_env(type(self).source, rest) for _ in range(num_agents)]
        self.possible_agents = list(range(num_agents))
        self.observation_spaces = {i: env.observation_space for i, env in enumerate(self.envs)}
        self.action_spaces = {i: env.action_space for i, env in enumerate(self.envs)}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[AgentDict, AgentDict]:
        """Begin an episode of every copy."""
        self.agents = list(self.possible_agents)
        observations, infos = {}, {}
        for i, env in enumerate(self.envs):
            own_seed = None if seed is None else seed + i
            observations[i], infos[i] = env.reset(seed=own_seed, options=options)
        return observations, infos

    def step(  # type: ignore[override]
        self, action_dict: AgentDict
    ) -> tuple[AgentDict, AgentDict, AgentDict, AgentDict, AgentDict]:
        """Step the copies of those who act."""
        steps = {agent: self.envs[agent].step(action) for agent, action in action_dict.items()}
        obs, rewards, terminateds, truncateds, infos = (
            {agent: step[part] for agent, step in steps.items()} for part in range(5)
        )
        self.agents = [i for i in self.agents if not (terminateds.get(i) or truncateds.get(i))]
        terminateds[ALL], truncateds[ALL] = not self.agents, False
        return obs, rewards, terminateds, truncateds, infos

    def get_state(self) -> dict[str, Any] | None:
        """State tree of all copies; ``None`` where theirs is not to be had."""
        copies = [get_single_state(env) for env in self.envs]
        return None if None in copies else {"copies": copies, "agents": list(self.agents)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on exactly from a state of ``get_state``."""
        for env, told in zip(self.envs, state["copies"], strict=True):
            set_single_state(env, told)
        self.agents = list(state["agents"])

    def close(self) -> None:
        """Close all copies."""
        for env in self.envs:
            env.close()


def make_multi_agent(
    env_name_or_creator: str | Callable[[dict[str, Any]], gym.Env[Any, Any]],
) -> type[Replicated]:
    """RLlib's helper: many independent agents in copies of an environment of one agent.

    Args:
        env_name_or_creator: gymnasium id, or a function that takes ``env_config``.

    Returns:
        A class whose constructor takes ``env_config``, in which ``num_agents`` (1) says how many.
    """

    class MultiEnv(Replicated):
        source = env_name_or_creator

    return MultiEnv
