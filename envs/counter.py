"""An environment that counts, to find transitions that cross an episode's border.

Its observation is ``(episode, t)``, so every array that a backend, an adapter or an env runner
returns can be checked against arithmetic instead of against another implementation. On request
the same two numbers are spread over a nested space.
"""

import os
import signal
import threading
from collections.abc import Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

Ending = tuple[int, Literal["terminated", "truncated"]]
"""Length of an episode and how it ends."""


PLAIN = gym.spaces.Box(-1.0, np.inf, (2,), np.float32)
"""(episode, t)"""

NESTED = gym.spaces.Dict(
    {
        "count": PLAIN,
        "more": gym.spaces.Tuple(
            [gym.spaces.Discrete(1000), gym.spaces.Dict({"bits": gym.spaces.MultiBinary(8)})]
        ),
    }
)
"""The same, and once more: the episode as a choice, and ``t`` by its lowest eight bits."""


def nested(obs: NDArray[np.float32]) -> dict[str, Any]:
    """A member of ``NESTED`` of an observation ``(episode, t)``."""
    episode, t = np.nan_to_num(obs).astype(np.int64)
    bits = (t >> np.arange(8) & 1).astype(np.int8)
    return {"count": obs, "more": (episode % 1000, {"bits": bits})}


class CounterEnv(gym.Env[Any, np.int64]):
    """Observes ``(episode, t)`` and rewards each step with ``100 * episode + t`` after the step.

    Args:
        config: ``"endings"``: list of ``(length, "terminated" | "truncated")``, repeated forever;
            ``"fail_at"``: raise in that env step (counted over episodes); ``"nan_at"``: return NaN
            as reward in that env step; ``"nan_obs_at"``: the same for ``t`` in the observation;
            ``"reward_scale"``: factor of every reward; ``"kill_at"``: kill the own process with
            SIGKILL in that env step; ``"hang_at"``: never come back from that env step;
            ``"nested"``: observe in the space ``NESTED``.
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        config = config or {}
        self.endings: Sequence[Ending] = config.get(
            "endings", [(3, "terminated"), (2, "truncated")]
        )
        self.fail_at: int | None = config.get("fail_at")
        self.nan_at: int | None = config.get("nan_at")
        self.nan_obs_at: int | None = config.get("nan_obs_at")
        self.kill_at: int | None = config.get("kill_at")
        self.hang_at: int | None = config.get("hang_at")
        self.reward_scale = float(config.get("reward_scale", 1.0))
        self.is_nested = bool(config.get("nested", False))
        self.observation_space = NESTED if self.is_nested else PLAIN
        self.action_space = gym.spaces.Discrete(2)
        self.episode = -1
        self.t = 0
        self.num_steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode."""
        super().reset(seed=seed)
        self.episode += 1
        self.t = 0
        return self._obs(), {}

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Count one step.

        Raises:
            ZeroDivisionError: at ``fail_at``, on purpose.
        """
        self.num_steps += 1
        if self.num_steps == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.num_steps == self.hang_at:
            threading.Event().wait()
        if self.num_steps == self.fail_at:
            raise ZeroDivisionError("the counter fails here on purpose")
        self.t += 1
        length, ending = self.endings[self.episode % len(self.endings)]
        ended = ending if self.t == length else None
        return self._obs(), self._reward(), ended == "terminated", ended == "truncated", {}

    def _reward(self) -> float:
        if self.num_steps == self.nan_at:
            return np.nan
        return self.reward_scale * (100.0 * self.episode + self.t)

    def _obs(self) -> Any:
        t = np.nan if self.num_steps == self.nan_obs_at and self.num_steps else self.t
        obs = np.array([self.episode, t], np.float32)
        return nested(obs) if self.is_nested else obs
