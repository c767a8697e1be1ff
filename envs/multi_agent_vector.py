"""Several multi-agent environments stepped together, with every mistake signed.

Legend: E environments.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib.envs.faults import EnvFault, EnvSetupError, close_env, find_nonfinite, raise_fault
from rllib.envs.multi_agent import ALL, AgentDict, MultiAgentEnv
from rllib.envs.packing import pack_one, packed_dtype


@dataclass(frozen=True, slots=True)
class End:
    """How an agent went.

    Attributes:
        terminated: by the environment's own rules; otherwise it was cut off.
        final_obs: what it saw last; ``None`` if it never saw anything.
    """

    terminated: bool
    final_obs: NDArray[Any] | None


@dataclass(slots=True)
class AgentStep:
    """What one step of one environment returned.

    Attributes:
        obs: packed observations of the agents that act next.
        rewards: of any agents.
        ends: of the agents that are gone, all that were there if the episode is over.
        is_over: whether the episode is over; ``obs`` is then of the first agents of the next one.
        infos: as the environment gave them.
    """

    obs: dict[Any, NDArray[Any]] = field(default_factory=dict)
    rewards: dict[Any, float] = field(default_factory=dict)
    ends: dict[Any, End] = field(default_factory=dict)
    is_over: bool = False
    infos: AgentDict = field(default_factory=dict)


class MultiAgentVector:
    """E environments in this process; a new episode begins in the step in which the last one ended.

    Args:
        make: takes ``env_config`` and returns an environment.
        num_envs: E.
        env_config: arguments of the environments.

    Raises:
        EnvSetupError: an environment cannot be made, or is none of several agents.
    """

    def __init__(
        self,
        make: Callable[[dict[str, Any]], Any],
        num_envs: int,
        env_config: Mapping[str, Any] | None = None,
    ) -> None:
        self.envs = [make_multi_agent_env(make, env_config) for _ in range(num_envs)]
        self.num_envs = num_envs
        self.num_steps = 0
        self.last_seen: list[dict[Any, NDArray[Any]]] = [{} for _ in self.envs]
        self._spaces: dict[Any, gym.Space[Any]] = {}

    def reset(self, seed: int) -> list[dict[Any, NDArray[Any]]]:
        """Begin an episode everywhere; returns observations of those who act first, by agent.

        Raises:
            EnvFault: an environment raised, or returned what a reset does not consist of.
        """
        return [self._begin(index, seed + index) for index in range(self.num_envs)]

    def step(self, actions: Sequence[AgentDict]) -> list[AgentStep]:
        """Step every environment with the actions of those who were to act.

        Raises:
            EnvFault: an environment raised, or returned what cannot be trained on.
        """
        self.num_steps += 1
        return [self._step(index, acted) for index, acted in enumerate(actions)]

    def _begin(self, index: int, seed: int | None) -> dict[Any, NDArray[Any]]:
        try:
            result = self.envs[index].reset(seed=seed)
        except EnvFault:
            raise
        except (Exception, SystemExit) as error:
            raise_fault(error, "reset", index, self.num_steps)
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], dict)):
            self._refuse(index, "reset() result", result, "(dict of observations, dict of infos)")
        obs = {agent: self._pack(index, agent, each) for agent, each in result[0].items()}
        self.last_seen[index] = dict(obs)
        return obs

    def _step(self, index: int, actions: AgentDict) -> AgentStep:
        try:
            result = self.envs[index].step(actions)
        except EnvFault:
            raise
        except (Exception, SystemExit) as error:
            raise_fault(error, "step", index, self.num_steps)
        is_five_dicts = isinstance(result, tuple) and len(result) == 5
        if not (is_five_dicts and all(isinstance(part, dict) for part in result)):
            wanted = "five dicts: (obs, rewards, terminateds, truncateds, infos)"
            self._refuse(index, "step() result", result, wanted)
        obs, rewards, terminateds, truncateds, infos = result
        step = AgentStep(infos=infos)
        step.rewards = {agent: self._reward(index, agent, r) for agent, r in rewards.items()}
        seen = {agent: self._pack(index, agent, each) for agent, each in obs.items()}
        self.last_seen[index] |= seen
        step.ends = self._ends(index, terminateds, truncateds)
        step.is_over = bool(terminateds.get(ALL) or truncateds.get(ALL))
        if step.is_over or not self.last_seen[index]:
            step.is_over, step.obs = True, self._begin(index, None)
        else:
            step.obs = {agent: each for agent, each in seen.items() if agent not in step.ends}
        return step

    def _ends(self, index: int, terminateds: AgentDict, truncateds: AgentDict) -> dict[Any, End]:
        """Those who are gone; they are seen no longer."""
        seen = self.last_seen[index]
        over = bool(terminateds.get(ALL) or truncateds.get(ALL))
        named = [agent for agent in [*terminateds, *truncateds] if agent != ALL]
        ends = {}
        for agent in dict.fromkeys([*named, *seen]):
            terminated, truncated = bool(terminateds.get(agent)), bool(truncateds.get(agent))
            if terminated or truncated or over:
                terminated = terminated or (not truncated and bool(terminateds.get(ALL)))
                ends[agent] = End(terminated, seen.pop(agent, None))
        return ends

    def _pack(self, index: int, agent: Any, obs: Any) -> NDArray[Any]:
        space = self._space(index, agent)
        try:
            packed = pack_one(space, obs)
            dtype, shape = packed_dtype(space)
            fits = packed.shape == shape and np.can_cast(np.asarray(packed).dtype, dtype)
        except (ValueError, TypeError, IndexError, KeyError):
            fits = False
        if not fits or (isinstance(space, gym.spaces.Discrete) and not space.contains(obs)):
            self._refuse(index, f"obs of agent {agent!r}", obs, f"a member of {space}")
        self._check_finite(index, agent, f"obs of agent {agent!r}", packed)
        return packed

    def _space(self, index: int, agent: Any) -> gym.Space[Any]:
        if agent not in self._spaces:
            self._spaces[agent] = self.envs[index].get_observation_space(agent)
        return self._spaces[agent]

    def _check_finite(self, index: int, agent: Any, field_name: str, value: NDArray[Any]) -> None:
        for name in value.dtype.names or ():
            self._check_finite(index, agent, f"{field_name}[{name!r}]", value[name])
        if value.dtype.names is None and find_nonfinite(value) is not None:
            self._refuse(index, field_name, value, "finite numbers")

    def _reward(self, index: int, agent: Any, reward: Any) -> float:
        try:
            number = float(reward)
        except (TypeError, ValueError):
            self._refuse(index, f"reward of agent {agent!r}", reward, "a number")
        if not np.isfinite(number):
            self._refuse(index, f"reward of agent {agent!r}", reward, "a finite number")
        return number

    def _refuse(self, index: int, name: str, value: Any, wanted: str) -> NoReturn:
        raise EnvFault(
            f"environment {index} returned {name} = {value!r:.200} at its env step "
            f"{self.num_steps}; it should be {wanted}",
            env_index=index,
            step=self.num_steps,
            field=name,
            value=f"{value!r:.200}",
        )

    def close(self) -> None:
        """Close all environments; may be called twice."""
        while self.envs:
            close_env(self.envs.pop())


def make_multi_agent_env(
    make: Callable[[dict[str, Any]], Any], env_config: Mapping[str, Any] | None
) -> MultiAgentEnv:
    """One environment of several agents.

    Raises:
        EnvSetupError: it cannot be made, or is none of several agents.
    """
    config = dict(env_config or {})
    try:
        env = make(config)
    except EnvSetupError:
        raise
    except (Exception, SystemExit) as error:
        raise EnvSetupError(
            f"environment {make!r} cannot be made with env_config {config}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not hasattr(env, "possible_agents") or not hasattr(env, "get_observation_space"):
        raise EnvSetupError(
            f"environment {make!r} made {env!r}, which is none of several agents; subclass "
            "MultiAgentEnv, or wrap a PettingZoo environment (ParallelPettingZooEnv, PettingZooEnv)"
        )
    if not env.possible_agents:
        raise EnvSetupError(f"{env!r} has no possible_agents; list the ids of all its agents")
    made: MultiAgentEnv = env
    return made
