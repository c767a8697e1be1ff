"""PettingZoo's environments in the shape of ``MultiAgentEnv`` (extra ``[multiagent]``)."""

from collections.abc import Mapping
from typing import Any

from rllib.envs.faults import EnvSetupError
from rllib.envs.multi_agent import ALL, AgentDict, MultiAgentEnv


class _FromPettingZoo(MultiAgentEnv):
    """An environment of PettingZoo.

    Args:
        env: PettingZoo's environment, owned from here on.

    Raises:
        EnvSetupError: it does not tell its agents and their spaces beforehand.
    """

    def __init__(self, env: Any) -> None:
        self.env = env
        self.possible_agents = _agents_of(env)
        self.observation_spaces = {a: env.observation_space(a) for a in self.possible_agents}
        self.action_spaces = {a: env.action_space(a) for a in self.possible_agents}

    def render(self) -> Any:
        """What PettingZoo's environment renders."""
        return self.env.render()

    def close(self) -> None:
        """Close PettingZoo's environment."""
        self.env.close()


class ParallelPettingZooEnv(_FromPettingZoo):
    """An environment of PettingZoo's parallel API: all agents act at once."""

    @property
    def par_env(self) -> Any:
        """RLlib's name of ``env``."""
        return self.env

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[AgentDict, AgentDict]:
        """Begin an episode."""
        obs, infos = self.env.reset(seed=seed, options=options)
        self.agents = list(self.env.agents)
        return dict(obs), dict(infos or {})

    def step(  # type: ignore[override]
        self, action_dict: AgentDict
    ) -> tuple[AgentDict, AgentDict, AgentDict, AgentDict, AgentDict]:
        """One step of all agents."""
        obs, rewards, terminateds, truncateds, infos = self.env.step(action_dict)
        self.agents = list(self.env.agents)
        terminateds, truncateds = dict(terminateds), dict(truncateds)
        terminateds[ALL] = not self.agents and all(terminateds.values())
        truncateds[ALL] = not self.agents and not terminateds[ALL]
        return dict(obs), dict(rewards), terminateds, truncateds, dict(infos)


class PettingZooEnv(_FromPettingZoo):
    """An environment of PettingZoo's AEC API: agents act one after the other."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._gone: set[Any] = set()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[AgentDict, AgentDict]:
        """Begin an episode; the agent that acts first observes."""
        self.env.reset(seed=seed, options=options)
        self._gone = set()
        self.agents = list(self.env.agents)
        agent = self.env.agent_selection
        return {agent: self.env.observe(agent)}, {agent: _info_of(self.env, agent)}

    def step(  # type: ignore[override]
        self, action_dict: AgentDict
    ) -> tuple[AgentDict, AgentDict, AgentDict, AgentDict, AgentDict]:
        """The selected agent acts; rewards are those of all agents for this one step."""
        env = self.env
        there = set(env.agents) - self._gone
        env.step(action_dict[env.agent_selection])
        rewards = {agent: reward for agent, reward in env.rewards.items() if agent in there}
        # Agents that are gone stay until PettingZoo has had its step of None from each.
        news = [agent for agent in env.agents if agent not in self._gone]
        terminateds = {agent: bool(env.terminations[agent]) for agent in news}
        truncateds = {agent: bool(env.truncations[agent]) for agent in news}
        ended = [agent for agent in news if terminateds[agent] or truncateds[agent]]
        obs = {agent: env.observe(agent) for agent in ended}
        self._gone.update(ended)
        self._bury()
        self.agents = [agent for agent in env.agents if agent not in self._gone]
        if self.agents:
            obs[env.agent_selection] = env.observe(env.agent_selection)
        terminateds[ALL] = not self.agents and not any(truncateds.values())
        truncateds[ALL] = not self.agents and not terminateds[ALL]
        infos = {agent: _info_of(env, agent) for agent in obs}
        return obs, rewards, terminateds, truncateds, infos

    def _bury(self) -> None:
        """PettingZoo wants a step of ``None`` from every agent that is gone."""
        env = self.env
        while env.agents and env.agent_selection in self._gone:
            env.step(None)


def _info_of(env: Any, agent: Any) -> Any:
    """What is said of an agent now; environments may change it in place."""
    info = env.infos.get(agent)
    return dict(info) if isinstance(info, Mapping) else info


def _agents_of(env: Any) -> list[Any]:
    agents = getattr(env, "possible_agents", None)
    if not agents or not callable(getattr(env, "observation_space", None)):
        raise EnvSetupError(
            f"{env} does not tell its possible_agents and their spaces before it runs, or is no "
            "environment of PettingZoo; a wrapper of PettingZoo's around it can tell them"
        )
    return list(agents)
