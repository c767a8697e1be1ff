"""Agents that act as one: their observations and actions are Tuples, their rewards are summed."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import gymnasium as gym

from rllib.envs.faults import EnvSetupError
from rllib.envs.multi_agent import ALL, AgentDict, MultiAgentEnv

_REWARDS = "individual_rewards"


class GroupedAgents(MultiAgentEnv):
    """Puts groups of agents in place of their members; agents of no group stay as they are.

    The members of a group act in the same steps and end together. Their single rewards are in the
    group's info as ``individual_rewards``.

    Args:
        env: owned from here on; one that names no ``possible_agents`` has the groups' members.
        groups: members by the group's id, which becomes an agent's.
        obs_space: of all groups; by default a Tuple of the members' spaces.
        act_space: of all groups; by default a Tuple of the members' spaces.

    Raises:
        EnvSetupError: an agent is in two groups, or there is no such agent.
    """

    def __init__(
        self,
        env: MultiAgentEnv,
        groups: Mapping[Hashable, Sequence[Any]],
        obs_space: gym.Space[Any] | None = None,
        act_space: gym.Space[Any] | None = None,
    ) -> None:
        self.env = env
        self.groups = {group: list(members) for group, members in groups.items()}
        self.group_of = {agent: group for group, each in self.groups.items() for agent in each}
        known = env.possible_agents or env.agents or list(self.group_of)
        self._check(known)
        self.possible_agents = list(self._by_group(known))
        observe, act = env.get_observation_space, env.get_action_space
        ids = self.possible_agents
        self.observation_spaces = {a: self._space(a, observe, obs_space) for a in ids}
        self.action_spaces = {a: self._space(a, act, act_space) for a in ids}
        if obs_space is not None:
            self.observation_space = obs_space
        if act_space is not None:
            self.action_space = act_space

    def _check(self, known: Sequence[Any]) -> None:
        members = [agent for each in self.groups.values() for agent in each]
        wrong = [agent for agent in members if members.count(agent) > 1]
        wrong += [agent for agent in members if agent not in known]
        if wrong:
            raise EnvSetupError(
                f"groups {self.groups}: {list(dict.fromkeys(wrong))} should be possible_agents "
                f"{known}, each in one group"
            )

    def _space(self, agent: Any, space_of: Any, given: gym.Space[Any] | None) -> gym.Space[Any]:
        if agent not in self.groups:
            space: gym.Space[Any] = space_of(agent)
            return space
        return given or gym.spaces.Tuple([space_of(member) for member in self.groups[agent]])

    def _by_group(self, agents: Sequence[Any]) -> dict[Any, None]:
        """Ids of groups, and of agents of none, in order."""
        return dict.fromkeys(self.group_of.get(agent, agent) for agent in agents)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[AgentDict, AgentDict]:
        """Begin an episode."""
        obs, infos = self.env.reset(seed=seed, options=options)
        self.agents = list(self._by_group(self.env.agents))
        return self._grouped(obs), self._infos(infos, {})

    def step(  # type: ignore[override]
        self, action_dict: AgentDict
    ) -> tuple[AgentDict, AgentDict, AgentDict, AgentDict, AgentDict]:
        """One step; a group's action is one for each member, in their order."""
        actions: AgentDict = {}
        for agent, action in action_dict.items():
            members = self.groups.get(agent)
            actions |= zip(members, action, strict=True) if members else {agent: action}
        obs, rewards, terminateds, truncateds, infos = self.env.step(actions)
        self.agents = list(self._by_group(self.env.agents))
        return (
            self._grouped(obs),
            {agent: self._sum(agent, rewards) for agent in self._by_group(list(rewards))},
            self._any(terminateds),
            self._any(truncateds),
            self._infos(infos, rewards),
        )

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _grouped(self, values: AgentDict) -> AgentDict:
        """Of a group a tuple, of its members that are all there or all absent."""
        result: AgentDict = {}
        for agent in self._by_group(list(values)):
            members = self.groups.get(agent)
            if members and not values.keys() >= set(members):
                absent = [member for member in members if member not in values]
                raise EnvSetupError(f"group {agent!r} acts together, but {absent} had to wait")
            result[agent] = tuple(values[m] for m in members) if members else values[agent]
        return result

    def _sum(self, agent: Any, rewards: AgentDict) -> Any:
        members = self.groups.get(agent)
        return sum(rewards.get(m, 0.0) for m in members) if members else rewards[agent]

    def _any(self, flags: AgentDict) -> AgentDict:
        """A group has ended with its first member."""
        return {
            agent: any(flags.get(member, False) for member in self.groups.get(agent, [agent]))
            for agent in self._by_group(list(flags))
        } | {ALL: flags.get(ALL, False)}

    def _infos(self, infos: AgentDict, rewards: AgentDict) -> AgentDict:
        result: AgentDict = {a: info for a, info in infos.items() if a not in self.group_of}
        for group, members in self.groups.items():
            own = {member: infos[member] for member in members if member in infos}
            if rewards.keys() & set(members):
                own[_REWARDS] = [rewards.get(member, 0.0) for member in members]
            if own:
                result[group] = own
        return result
