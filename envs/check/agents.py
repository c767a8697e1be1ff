"""Environments of several agents: who observes, acts, is rewarded and goes when."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from time import perf_counter
from typing import Any

from rllib.envs.check.findings import Finding, error, raised, warning
from rllib.envs.check.play import sample_action
from rllib.envs.check.spaces import check_mask_space, check_space, mask_sizes
from rllib.envs.check.watch import (
    FlagWatch,
    MaskWatch,
    ObservationWatch,
    RewardWatch,
    Seen,
    Watch,
    is_true,
)
from rllib.envs.members import describe
from rllib.envs.multi_agent import ALL, NO_AGENTS, AgentDict, MultiAgentEnv

_DICTS = ("observations", "rewards", "terminateds", "truncateds", "infos")
_RANDOM_SEED = 7


def is_multi_agent(env: object) -> bool:
    """Whether it has the shape of ``MultiAgentEnv``."""
    return hasattr(env, "possible_agents") and hasattr(env, "get_observation_space")


class AgentsPlay:
    """Plays an environment of several agents with random actions.

    Attributes:
        num_steps: env steps.
        acted: agents that acted at least once.
    """

    def __init__(self, env: MultiAgentEnv) -> None:
        self.env = env
        self.num_steps = 0
        self.acted: set[Any] = set()
        self.found: dict[tuple[str, str], Finding] = {}
        self.watches: dict[Any, list[Watch]] = {}
        self.masks: dict[Any, MaskWatch] = {}
        self.gone: set[Any] = set()

    def run(self, num_steps: int, seconds: float) -> Iterator[Finding]:
        """At most so many env steps and about so many seconds; yields all that was found."""
        yield from self._check_spaces()
        started = perf_counter()
        with suppress(Stop):
            self._play(num_steps, started + seconds)
        elapsed = perf_counter() - started
        yield from self.found.values()
        for watch in [*chain(*self.watches.values()), *self.masks.values()]:
            yield from watch.findings()
        yield from self._facts(elapsed)

    def _check_spaces(self) -> Iterator[Finding]:
        if not self.env.possible_agents:
            yield error("possible_agents", "is empty", "list the ids of all agents, ever")
        for agent in self.env.possible_agents:
            try:
                spaces = self.env.get_observation_space(agent), self.env.get_action_space(agent)
            except Exception as failure:
                yield raised(f"spaces of agent {agent!r}", failure)
                continue
            yield from check_space(f"observation_space of agent {agent!r}", spaces[0])
            yield from check_space("action_space", spaces[1])
            yield from check_mask_space(*spaces, root=f"obs of agent {agent!r}")

    def _facts(self, elapsed: float) -> Iterator[Finding]:
        silent = [agent for agent in self.env.possible_agents if agent not in self.acted]
        if silent and self.num_steps:
            text = f"{silent} never acted in {self.num_steps:,} env steps"
            yield warning("possible_agents", text, "remove them, or let them observe")
        if self.num_steps:
            rate = f"{self.num_steps / elapsed:,.0f} env steps/s in one process"
            yield Finding("note", "speed", f"{rate} ({self.num_steps:,} were played)")

    def _play(self, num_steps: int, deadline: float) -> None:
        for agent in self.env.possible_agents:
            self.env.get_action_space(agent).seed(_RANDOM_SEED)
        waiting = self._reset(_RANDOM_SEED)
        while self.num_steps < num_steps and perf_counter() < deadline:
            waiting = self._step(waiting)
            if not waiting:
                waiting = self._reset(None)

    def _reset(self, seed: int | None) -> AgentDict:
        result = self._call("reset()", lambda: self.env.reset(seed=seed))
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], dict)):
            self._stop(
                error("reset()", f"returned {describe(result)}", "return (obs, infos), dicts")
            )
        self.gone = set()
        obs, infos = result
        if not isinstance(infos, dict):
            self._stop(
                error("reset()", f"infos are {describe(infos)}", "return (obs, infos), dicts")
            )
        if not obs:
            fix = "return observations of those who act first"
            self._stop(error("reset()", "returned no observation, so nobody could act", fix))
        self._see(obs, {}, {}, {}, infos)
        return dict(obs)

    def _step(self, waiting: AgentDict) -> AgentDict:
        """Returns observations of those who act next; of nobody after the end."""
        actions = {agent: self._action(agent, obs) for agent, obs in waiting.items()}
        self.acted |= actions.keys()
        result = self._call(f"step() {self.num_steps + 1}", lambda: self.env.step(actions))
        self.num_steps += 1
        if not (isinstance(result, tuple) and len(result) == 5):
            self._stop(error("step()", f"returned {describe(result)}", f"return {_DICTS}"))
        for name, part in zip(_DICTS, result, strict=True):
            if not isinstance(part, dict):
                self._stop(error("step()", f"{name} are {describe(part)}", "return a dict"))
        obs, _, terminateds, truncateds, _ = result
        self._see(*result)
        ended = {a for part in (terminateds, truncateds) for a in part if is_true(part[a])}
        self._check_ends(waiting, obs, truncateds, ended)
        if ALL in ended:
            return {}
        waiting = {agent: each for agent, each in obs.items() if agent not in ended}
        if not waiting:
            text = f"nobody was asked to act after env step {self.num_steps}"
            fix = f'observe for at least one agent, or set "{ALL}" in terminateds or truncateds'
            self._stop(error("observations", text, fix))
        return waiting

    def _check_ends(
        self, waiting: AgentDict, obs: AgentDict, truncateds: AgentDict, ended: set[Any]
    ) -> None:
        returned = [agent for agent in self.gone if agent in obs]
        if returned:
            text = f"{returned} came back after they had ended; that is a life of its own"
            self._tell(Finding("note", "observations", text))
        for agent in ended - {ALL}:
            if is_true(truncateds.get(agent)) and agent not in obs:
                text = f"agent {agent!r} was truncated without a last observation"
                fix = "return it in that step: its value is what the truncated rest is worth"
                self._tell(warning("observations", text, fix))
        self.gone = (self.gone | ended) - set(returned)

    def _see(
        self,
        obs: AgentDict,
        rewards: AgentDict,
        terminateds: AgentDict,
        truncateds: AgentDict,
        infos: AgentDict,
    ) -> None:
        for name, part in (("terminateds", terminateds), ("truncateds", truncateds)):
            if part and ALL not in part:
                self._tell(
                    error(name, f"has no {ALL!r}", f'{name}["{ALL}"] says if all have ended')
                )
        for name, part in zip(_DICTS, (obs, rewards, terminateds, truncateds, infos), strict=True):
            unknown = part.keys() - set(self.env.possible_agents) - NO_AGENTS
            if unknown:
                text = f"{sorted(map(repr, unknown))} are not in possible_agents"
                self._tell(error(name, text, "possible_agents lists all agents that may ever be"))
                return
        for agent in dict.fromkeys([*obs, *rewards, *infos]):
            if agent in NO_AGENTS:
                continue
            flags = terminateds.get(agent, False), truncateds.get(agent, False)
            self._see_agent(agent, obs, rewards.get(agent, 0.0), *flags, infos)
        if not (
            is_true(terminateds.get(ALL)) or is_true(truncateds.get(ALL))
        ):  # otherwise nobody acts on it
            self._see_masks(obs, terminateds, truncateds)

    def _see_masks(self, obs: AgentDict, terminateds: AgentDict, truncateds: AgentDict) -> None:
        for agent, each in obs.items():
            spaces = self.env.get_observation_space(agent), self.env.get_action_space(agent)
            if agent not in self.masks and (sizes := mask_sizes(*spaces)):
                self.masks[agent] = MaskWatch(sizes, f"obs of agent {agent!r}")
            if agent in self.masks:
                flags = terminateds.get(agent, False), truncateds.get(agent, False)
                self.masks[agent].see(Seen(self.num_steps, each, {}, 0.0, *flags))

    def _see_agent(
        self,
        agent: Any,
        obs: AgentDict,
        reward: Any,
        terminated: Any,
        truncated: Any,
        infos: AgentDict,
    ) -> None:
        if agent not in self.watches:
            space = self.env.get_observation_space(agent)
            self.watches[agent] = [
                ObservationWatch(space, f"obs of agent {agent!r}"),
                RewardWatch(f"reward of agent {agent!r}"),
                FlagWatch(f" of agent {agent!r}"),
            ]
        info = {} if infos.get(agent) is None else infos[agent]  # as RLlib takes it
        seen = Seen(self.num_steps, obs.get(agent), info, reward, terminated, truncated)
        for watch in self.watches[agent][0 if agent in obs else 1 :]:
            watch.see(seen)

    def _action(self, agent: Any, obs: Any) -> Any:
        spaces = self.env.get_observation_space(agent), self.env.get_action_space(agent)
        return sample_action(spaces[1], obs, mask_sizes(*spaces))

    def _call(self, place: str, function: Any) -> Any:
        try:
            return function()
        except (Exception, SystemExit) as failure:
            self._stop(raised(place, failure))

    def _tell(self, finding: Finding) -> None:
        """Once for each kind of mistake."""
        self.found.setdefault((finding.place, finding.fix), finding)

    def _stop(self, finding: Finding) -> None:
        self._tell(finding)
        raise Stop


class Stop(Exception):
    """Play cannot go on."""
