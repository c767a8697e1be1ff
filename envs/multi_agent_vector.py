"""Several multi-agent environments stepped together, with every mistake signed.

Legend: E environments.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from rllib.envs.bounds import FIRST_STEPS, SAMPLED, Bounds, Outsider
from rllib.envs.context import EnvContext
from rllib.envs.faults import (
    EnvFault,
    EnvSetupError,
    close_env,
    field_path,
    find_nonfinite,
    raise_fault,
)
from rllib.envs.members import describe, find_misfit, fits
from rllib.envs.multi_agent import ALL, NO_AGENTS, AgentDict, MultiAgentEnv
from rllib.envs.packing import Packer
from rllib.envs.restarting import Streak, later_seed, told
from rllib.envs.single_state import Restorable, StateMisfitError, name_of, offered_state

Observations = dict[Any, NDArray[Any]]
"""Packed observations by agent."""

_DICTS = ("obs", "rewards", "terminateds", "truncateds", "infos")


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
        rewards: of any agents that are there.
        ends: of the agents that are gone, all that were there if the episode is over.
        is_over: whether the episode is over; ``obs`` is then of the first agents of the next one.
        infos: by agent; empty of one whom the environment gave ``None`` for.
        failed: whether the environment failed and was made anew: nobody ended, all agents are lost.
    """

    obs: Observations = field(default_factory=dict)
    rewards: dict[Any, float] = field(default_factory=dict)
    ends: dict[Any, End] = field(default_factory=dict)
    is_over: bool = False
    infos: AgentDict = field(default_factory=dict)
    failed: bool = False


class MultiAgentVector:
    """E environments in this process; a new episode begins in the step in which the last one ended.

    Args:
        make: takes ``env_config`` and returns an environment.
        num_envs: E.
        env_config: arguments of the environments.
        is_checked: whether observations are to be members of their spaces.
        restarts: whether an environment that fails in a step is made anew.

    Attributes:
        last_seen: of each environment the agents that are there, with what each saw last.
        gone: of each environment the agents that are gone in this episode.
        unseen: of each environment the agents that were paid in this episode before they observed.

    Raises:
        EnvSetupError: an environment cannot be made, or is none of several agents.
    """

    def __init__(
        self,
        make: Callable[[dict[str, Any]], Any],
        num_envs: int,
        env_config: Mapping[str, Any] | None = None,
        is_checked: bool = True,
        restarts: bool = False,
    ) -> None:
        contexts = [EnvContext.of(env_config, index) for index in range(num_envs)]
        self.makers = [partial(make_multi_agent_env, make, context) for context in contexts]
        self.envs = [make_one() for make_one in self.makers]
        self._streaks = [Streak() for _ in self.envs]
        self.restarts, self.num_restarts, self._seed = restarts, 0, 0
        self.num_envs = num_envs
        self.num_steps = 0
        self.last_seen: list[Observations] = [{} for _ in self.envs]
        self.gone: list[set[Any]] = [set() for _ in self.envs]
        self.unseen: list[set[Any]] = [set() for _ in self.envs]
        self._inspectors = {
            agent: Inspector(self.envs[0], agent, is_checked, num_envs)
            for agent in self.envs[0].possible_agents
        }

    def reset(self, seed: int) -> list[Observations]:
        """Begin an episode everywhere; returns observations of those who act first.

        Raises:
            EnvFault: an environment raised, or returned what a reset does not consist of.
        """
        self._seed = seed
        return [self._begin(index, seed + index) for index in range(self.num_envs)]

    def step(self, actions: Sequence[AgentDict | None]) -> list[AgentStep | None]:
        """Step every environment with the actions of those who were to act; ``None`` lets it rest.

        Raises:
            EnvFault: an environment raised, or returned what cannot be trained on.
        """
        self.num_steps += 1
        return [
            None if acted is None else self._step_or_restart(index, acted)
            for index, acted in enumerate(actions)
        ]

    def get_state(self) -> dict[str, Any] | None:
        """State tree of all but ``last_seen``; ``None`` where an environment has none to offer, or
        agents are called by what no tree can hold."""
        offers = [offered_state(env) if isinstance(env, Restorable) else None for env in self.envs]
        agents = [agent for seen in (*self.last_seen, *self.gone, *self.unseen) for agent in seen]
        if None in offers or not all(isinstance(agent, str | int) for agent in agents):
            return None
        return {
            "of": [name_of(env) for env in self.envs],
            "envs": offers,
            "num_steps": self.num_steps,
            "restarts": [self._seed, self.num_restarts],
            "gone": [list(agents) for agents in self.gone],
            "unseen": [list(agents) for agents in self.unseen],
        }

    def set_state(self, state: dict[str, Any], last_seen: list[Observations]) -> None:
        """Go on exactly from a state of ``get_state``, with what each agent saw last.

        Raises:
            StateMisfitError: it is that of other environments.
        """
        kinds = [name_of(env) for env in self.envs]
        able = [env for env in self.envs if isinstance(env, Restorable)]
        if state["of"] != kinds or len(able) < len(kinds):
            raise StateMisfitError(f"a state of {state['of']}, not of {kinds}")
        for env, own in zip(able, state["envs"], strict=True):
            env.set_state(own)
        self.num_steps = int(state["num_steps"])
        self._seed, self.num_restarts = state["restarts"]
        self.last_seen = last_seen
        self.gone, self.unseen = ([set(each) for each in state[k]] for k in ("gone", "unseen"))

    def close(self) -> None:
        """Close all environments; may be called twice."""
        while self.envs:
            close_env(self.envs.pop())

    def _begin(self, index: int, seed: int | None) -> Observations:
        try:
            result: Any = self.envs[index].reset(seed=seed)
        except EnvFault:
            raise
        except (Exception, SystemExit) as error:
            raise_fault(error, "reset", index, self.num_steps)
        if not _are_dicts(result, 2):
            self._refuse(index, "result of reset()", result, "two dicts: (obs, infos)")
        self._infos(index, result[1])
        self.gone[index], self.unseen[index] = set(), set()
        self.last_seen[index] = {
            agent: self._packed(index, agent, each) for agent, each in result[0].items()
        }
        return dict(self.last_seen[index])

    def _step_or_restart(self, index: int, actions: AgentDict) -> AgentStep:
        try:
            return self._step(index, actions)
        except EnvFault as fault:
            if not self.restarts:
                raise
            return self._begin_anew(index, fault)

    def _begin_anew(self, index: int, fault: EnvFault) -> AgentStep:
        """The first step of another environment's episode.

        Raises:
            EnvFault: nor can that begin or step, again and again.
        """
        self._streaks[index].add_at(self.num_steps, fault)
        told(index, fault)
        self.num_restarts += 1
        close_env(self.envs[index])
        self.envs[index] = self.makers[index]()
        try:
            first = self._begin(index, later_seed(self._seed, self.num_restarts))
        except EnvFault as again:
            return self._begin_anew(index, again)
        return AgentStep(obs=first, failed=True)

    def _step(self, index: int, actions: AgentDict) -> AgentStep:
        obs, rewards, terminateds, truncateds, infos = self._raw_step(index, actions)
        step = AgentStep(infos=self._infos(index, infos))
        seen = {agent: self._packed(index, agent, each) for agent, each in obs.items()}
        self.last_seen[index] |= seen
        self.gone[index].difference_update(seen)
        self.unseen[index].difference_update(seen)
        step.rewards = self._checked_rewards(index, rewards)
        step.ends = self._ends(index, terminateds, truncateds)
        step.is_over = terminateds[ALL] or truncateds[ALL] or not self.last_seen[index]
        if step.is_over:
            step.obs = self._begin(index, None)
        else:
            step.obs = {agent: each for agent, each in seen.items() if agent not in step.ends}
        return step

    def _raw_step(self, index: int, actions: AgentDict) -> tuple[AgentDict, ...]:
        """Five dicts, whose flags are true or false, for all agents together too."""
        try:
            result: Any = self.envs[index].step(actions)
        except EnvFault:
            raise
        except (Exception, SystemExit) as error:
            raise_fault(error, "step", index, self.num_steps)
        if not _are_dicts(result, 5):
            self._refuse(index, "result of step()", result, f"five dicts: ({', '.join(_DICTS)})")
        obs, rewards, *flags, infos = result
        if not any(ALL in each for each in flags):
            wanted = f"a dict that says what is true of {ALL!r}, too"
            self._refuse(index, "terminateds", flags[0], wanted)
        for name, each in zip(("terminateds", "truncateds"), flags, strict=True):
            for agent, flag in each.items():
                if agent != ALL:
                    self._inspector(index, name, agent, flag)
                if not isinstance(flag, bool | np.bool_) and not fits(flag, (), np.dtype(int)):
                    self._refuse(index, name, flag, "true or false", agent)
        terminateds, truncateds = (
            {ALL: False} | {agent: bool(flag) for agent, flag in each.items()} for each in flags
        )
        return obs, rewards, terminateds, truncateds, infos

    def _infos(self, index: int, infos: AgentDict) -> AgentDict:
        """With an empty one for each that is ``None``, which RLlib's environments may return."""
        for agent, info in infos.items():
            if info.__class__ is not dict or agent not in self._inspectors:
                break
        else:
            return infos
        for agent, info in infos.items():
            if agent not in NO_AGENTS:
                self._inspector(index, "infos", agent, info)
            if not isinstance(info, Mapping | None):
                wanted = "a dict, or None or left out if there is nothing to say"
                self._refuse(index, "infos", describe(info), wanted, agent)
        return {agent: {} if info is None else info for agent, info in infos.items()}

    def _ends(self, index: int, terminateds: AgentDict, truncateds: AgentDict) -> dict[Any, End]:
        """Those who are gone; they are seen no longer."""
        there, gone = self.last_seen[index], self.gone[index]
        all_terminated, over = terminateds[ALL], terminateds[ALL] or truncateds[ALL]
        ends = {}
        for agent in dict.fromkeys([*terminateds, *truncateds, *there, *self.unseen[index]]):
            terminated, truncated = terminateds.get(agent, False), truncateds.get(agent, False)
            if agent != ALL and agent not in gone and (terminated or truncated or over):
                by_rule = terminated or (all_terminated and not truncated)
                ends[agent] = End(by_rule, there.pop(agent, None))
        gone.update(ends)
        return ends

    def _packed(self, index: int, agent: Any, obs: Any) -> NDArray[Any]:
        inspector = self._inspector(index, "obs", agent, obs)
        packed, complaint = inspector.inspect(obs)
        if complaint is not None:
            self._refuse(index, *complaint, agent)
        for outsider in inspector.look_at_later_floats(packed):
            name, value, wanted = _complaint(outsider)
            text = self._told(index, name, value, f"{wanted}. It is not told of again", agent)
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        return packed

    def _checked_rewards(self, index: int, rewards: AgentDict) -> dict[Any, float]:
        """Without the zeros of agents that are gone."""
        checked = {agent: self._reward(index, agent, each) for agent, each in rewards.items()}
        there, gone, unseen = self.last_seen[index], self.gone[index], self.unseen[index]
        for agent in checked.keys() & gone:
            if checked[agent] and agent not in self.envs[index].agents:
                wanted = "given before the agent is gone, to be credited to what it did"
                self._refuse(index, "reward", checked[agent], wanted, agent)
            if checked[agent]:
                gone.remove(agent)  # it is back, and will observe later
            else:
                del checked[agent]
        unseen.update(checked.keys() - there.keys())
        return checked

    def _reward(self, index: int, agent: Any, reward: Any) -> float:
        self._inspector(index, "reward", agent, reward)
        if not isinstance(reward, float) and not fits(reward, (), np.dtype(np.float64)):
            self._refuse(index, "reward", reward, "a number", agent)
        number = float(reward)
        if not np.isfinite(number):
            self._refuse(index, "reward", reward, "a finite number", agent)
        return number

    def _inspector(self, index: int, name: str, agent: Any, value: Any) -> "Inspector":
        if agent not in self._inspectors:
            known = f"of one of possible_agents {self.envs[index].possible_agents}"
            self._refuse(index, name, value, known, agent)
        return self._inspectors[agent]

    def _refuse(
        self, index: int, name: str, value: Any, wanted: str, agent: Any = None
    ) -> NoReturn:
        shown = value if isinstance(value, str) else describe(value)
        raise EnvFault(
            self._told(index, name, shown, wanted, agent),
            env_index=index,
            step=self.num_steps,
            agent=agent,
            field=name,
            value=shown,
        )

    def _told(self, index: int, name: str, shown: str, wanted: str, agent: Any) -> str:
        what = name if agent is None else f"{name} of agent {agent!r}"
        return (
            f"environment {index} returned {what} = {shown} at its env step {self.num_steps}; "
            f"it should be {wanted}"
        )


Complaint = tuple[str, str, str]
"""A field, its value, and what it should be."""


class Inspector:
    """Packs the observations of one agent and finds what is wrong with them.

    Args:
        env: its environment.
        agent: its id.
        is_checked: whether observations are to be members of their space, rather than only finite.
        num_envs: environments in which there is such an agent.

    Raises:
        EnvSetupError: the environment does not say what the agent observes, or it cannot be packed.
    """

    def __init__(
        self, env: MultiAgentEnv, agent: Any, is_checked: bool = True, num_envs: int = 1
    ) -> None:
        self.space, self.is_checked = env.get_observation_space(agent), is_checked
        self.packer = Packer(self.space)
        self.bounds = Bounds(self.packer.leaves, is_checked)
        self.num_seen, self.num_first = 0, (1 + FIRST_STEPS) * num_envs

    def inspect(self, obs: Any) -> tuple[NDArray[Any], Complaint | None]:
        """The packed observation; and of a bad one a field, its value, and what it should be."""
        self.num_seen += 1
        if self.is_checked and (misfit := find_misfit(self.space, obs)):
            return np.empty(0), misfit
        packed = self.packer.pack_one(obs)
        if bad := find_nonfinite(packed):
            return packed, (field_path("obs", bad.names), _shown(bad.value, bad.place), "finite")
        outsider = self.bounds.first_choice_outside(packed[None])
        if outsider is None and self.num_seen <= self.num_first:
            outsider = self.bounds.first_float_outside(packed[None])
        return packed, None if outsider is None else _complaint(outsider)

    def look_at_later_floats(self, packed: NDArray[Any]) -> list[Outsider]:
        """Numbers outside of float Boxes in a sample of what is seen after the first steps."""
        is_due = self.num_seen > self.num_first and self.num_seen % SAMPLED == 0
        return self.bounds.new_floats_outside(packed[None]) if is_due else []


def _complaint(outsider: Outsider) -> Complaint:
    shown = _shown(outsider.value, outsider.element)
    return outsider.leaf.path("obs"), shown, f"within {outsider.bounds}"


def _shown(value: Any, place: tuple[int, ...]) -> str:
    return f"{value} in its element {list(place)}" if place else str(value)


def _are_dicts(result: Any, number: int) -> bool:
    is_tuple = isinstance(result, tuple) and len(result) == number
    return is_tuple and all(isinstance(part, Mapping) for part in result)


def make_multi_agent_env(
    make: Callable[[dict[str, Any]], Any], env_config: Mapping[str, Any] | None
) -> MultiAgentEnv:
    """One environment of several agents.

    Raises:
        EnvSetupError: it cannot be made, or is none of several agents.
    """
    config = EnvContext.of(env_config)
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
        env.possible_agents = list(env.agents)  # as in RLlib, agents may be all there are
    if not env.possible_agents:
        raise EnvSetupError(f"{env!r} has no possible_agents; list the ids of all its agents")
    made: MultiAgentEnv = env
    return made
