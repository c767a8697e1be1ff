"""Whether a seed and the same actions give the same episode."""

from collections.abc import Iterator
from contextlib import suppress
from math import inf
from typing import Any, NamedTuple

import numpy as np

from rllib.envs.check.agents import AgentsPlay, Stop
from rllib.envs.check.findings import Finding, error, warning
from rllib.envs.check.play import Env, sample_action
from rllib.envs.check.watch import is_true, parts_of_value


class Trace(NamedTuple):
    """What an environment returned, value by value, and what each is called."""

    names: list[str]
    values: list[bytes]


def trace_of(env: Env, mask_sizes: tuple[int, ...], seed: int, num_steps: int) -> Trace:
    """Plays from a seeded reset to the end of the episode, at most so many env steps."""
    trace = Trace([], [])
    env.action_space.seed(seed)
    obs, _ = env.reset(seed=seed)
    _note(trace, env, 0, obs)
    for t in range(1, num_steps + 1):
        action = sample_action(env.action_space, obs, mask_sizes)
        obs, reward, terminated, truncated, _ = env.step(action)
        _note(trace, env, t, obs)
        for name, value in (("reward", reward), ("end", is_true(terminated) or is_true(truncated))):
            _add(trace, f"{name} of env step {t}", value)
        if is_true(terminated) or is_true(truncated):
            break
    return trace


def _note(trace: Trace, env: Env, t: int, obs: Any) -> None:
    where = f"env step {t}" if t else "reset(seed)"
    for leaf, value in parts_of_value(env.observation_space, obs):
        _add(trace, f"{leaf.path('obs')} of {where}", value)


def _add(trace: Trace, name: str, value: Any) -> None:
    trace.names.append(name)
    trace.values.append(np.asarray(value).tobytes())


class AgentsTrace(AgentsPlay):
    """Plays once more, and notes what every agent has observed."""

    def __init__(self, env: Any, num_steps: int) -> None:
        super().__init__(env)
        self.trace = Trace([], [])
        with suppress(Stop):
            self._play(num_steps, inf)

    def _see(self, obs: Any, *others: Any) -> None:
        where = f"env step {self.num_steps}" if self.num_steps else "reset(seed)"
        for agent, each in obs.items():
            for leaf, value in parts_of_value(self.env.get_observation_space(agent), each):
                place = leaf.path(f"obs of agent {agent!r}")
                _add(self.trace, f"{place} at {where}", value)
        super()._see(obs, *others)


def check_agents_repeat(first: Any, second: Any) -> Iterator[Finding]:
    """Two environments of several agents from the same seed."""
    one, other = (AgentsTrace(env, 50).trace for env in (first, second))
    if different := first_difference(one, other):
        text = f"the same seed and actions gave another {different} in a second environment"
        yield error("seed", text, _OWN_DRAWS)


_OWN_DRAWS = "draw in reset and step from a generator that reset(seed=...) has made"


def first_difference(one: Trace, other: Trace) -> str | None:
    """Name of the first value in which two traces differ."""
    for name, a, b in zip(one.names, one.values, other.values, strict=False):
        if a != b:
            return name
    return None if len(one.values) == len(other.values) else "length of the episode"


def check_repeats(first: Env, second: Env, mask_sizes: tuple[int, ...]) -> Iterator[Finding]:
    """Two environments, and one of them twice, from the same seed."""
    if first.spec is not None and first.spec.nondeterministic:
        yield Finding("note", "seed", "registered as nondeterministic, so it was not compared")
        return
    one, other, again = (trace_of(env, mask_sizes, 7, 50) for env in (first, second, first))
    if different := first_difference(one, other):
        text = f"the same seed and actions gave another {different} in a second environment"
        fix = "begin reset with super().reset(seed=seed), and draw from self.np_random alone"
        yield error("seed", text, fix)
    elif different := first_difference(one, again):
        text = f"the same seed and actions gave another {different} after an episode"
        yield warning("seed", text, "let reset forget all that happened before")
