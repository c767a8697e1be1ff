"""Random play in one environment, watched."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

import gymnasium as gym
import numpy as np

from rllib.envs.check.findings import Finding, error, raised
from rllib.envs.check.watch import MASK, Seen, Watch
from rllib.envs.members import describe

Env = gym.Env[Any, Any]
Watched = Generator[Finding, None, Seen | None]


class Play:
    """Steps an environment with random actions that its masks allow.

    Args:
        env: not closed here.
        watches: are told everything that it returns.
        mask_sizes: how many entries of the mask each action dimension has; empty without a mask.
        seed: of the environment and of the actions.

    Attributes:
        num_steps: env steps.
        step_s: seconds in ``step``.
    """

    def __init__(
        self, env: Env, watches: Sequence[Watch], mask_sizes: tuple[int, ...], seed: int
    ) -> None:
        self.env, self.watches, self.mask_sizes, self.seed = env, watches, mask_sizes, seed
        self.num_steps = 0
        self.step_s = 0.0

    def run(self, num_steps: int, seconds: float) -> Iterator[Finding]:
        """At most so many env steps and about so many seconds; yields what stops it early."""
        deadline = perf_counter() + seconds
        self.env.action_space.seed(self.seed)
        seen = yield from self._reset(self.seed)
        while seen and self.num_steps < num_steps and perf_counter() < deadline:
            seen = yield from self._step(seen)
            if seen and seen.has_ended:
                seen = yield from self._reset(None)

    def findings(self) -> Iterator[Finding]:
        """What was seen, and how fast it was."""
        for watch in self.watches:
            yield from watch.findings()
        if self.num_steps:
            rate = self.num_steps / max(self.step_s, 1e-9)
            text = f"{rate:,.0f} env steps/s in one process ({self.num_steps:,} were played)"
            yield Finding("note", "speed", text)

    def _reset(self, seed: int | None) -> Watched:
        try:
            result: Any = self.env.reset(seed=seed)
        except (Exception, SystemExit) as failure:
            yield raised("reset()", failure)
            return None
        if not (isinstance(result, tuple) and len(result) == 2):
            yield error("reset()", f"returned {describe(result)}", "return (obs, info)")
            return None
        return self._tell(Seen(self.num_steps, *result, is_reset=True))

    def _step(self, before: Seen) -> Watched:
        action = sample_action(self.env.action_space, before.obs, self.mask_sizes)
        started = perf_counter()
        try:
            result: Any = self.env.step(action)
        except (Exception, SystemExit) as failure:
            yield raised(f"step() at env step {self.num_steps + 1}", failure)
            return None
        self.step_s += perf_counter() - started
        self.num_steps += 1
        if not (isinstance(result, tuple) and len(result) == 5):
            wanted = "return (obs, reward, terminated, truncated, info)"
            yield error("step()", f"returned {describe(result)}", wanted)
            return None
        obs, reward, terminated, truncated, info = result
        return self._tell(Seen(self.num_steps, obs, info, reward, terminated, truncated))

    def _tell(self, seen: Seen) -> Seen:
        for watch in self.watches:
            watch.see(seen)
        return seen


def sample_action(space: gym.Space[Any], obs: Any, mask_sizes: tuple[int, ...]) -> Any:
    """A random action, among those that the observation's mask allows."""
    mask = obs.get(MASK) if mask_sizes and isinstance(obs, Mapping) else None
    if mask is None or len(mask) != sum(mask_sizes):
        return space.sample()
    allowed = (np.asarray(mask) != 0).astype(np.int8)
    if isinstance(space, gym.spaces.Discrete):
        return space.sample(mask=allowed)
    return space.sample(mask=tuple(np.split(allowed, np.cumsum(mask_sizes)[:-1])))
