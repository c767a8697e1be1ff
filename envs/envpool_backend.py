"""Environments of EnvPool: many at once in C++ (Weng et al. 2022, arXiv 2206.10558)."""

import warnings
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from rllib.envs.extras import ENVPOOL
from rllib.envs.faults import EnvSetupError
from rllib.envs.lookup import nearest

_STICKY = {"repeat_action_probability": 0.25}
"""In all else EnvPool's settings of Atari games are those of ``rllib.envs.atari``."""


class EnvPoolBackend(gym.vector.VectorEnv[Any, Any, Any]):
    """A pool of environments, made by the first reset: EnvPool takes seeds only then.

    Args:
        env_id: as EnvPool has it; ``ALE/Pong-v5`` is its ``Pong-v5`` with sticky actions.
        num_envs: environments.
        config: arguments of ``envpool.make``.

    Raises:
        EnvSetupError: EnvPool is not installed, or does not have such an environment.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 (gymnasium's own form)

    def __init__(self, env_id: str, num_envs: int, config: dict[str, Any]) -> None:
        self._envpool = ENVPOOL.load(f"environment {env_id!r} with EnvPool")
        self.task_id = find_task(env_id)
        self.num_envs = num_envs
        self._config = (_STICKY if env_id != self.task_id else {}) | config
        self._pool: Any = None
        spaces = self._spaces()
        self.single_observation_space, self.single_action_space = spaces
        self.observation_space, self.action_space = (batch_space(s, num_envs) for s in spaces)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes everywhere; with a seed, in new environments of that seed."""
        if self._pool is None or seed is not None:
            self.close_extras()
            self._pool = self._make(seed or 0)
        obs, info = self._pool.reset()
        return obs, info

    def _make(self, seed: int) -> Any:
        settings = {"num_envs": self.num_envs, "seed": seed} | self._config
        pool = self._envpool.make(self.task_id, "gymnasium", **settings)
        _spaces_of(pool, "")  # which it derives only once
        return pool

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all environments; where an episode has ended before, it is the reset."""
        obs, reward, terminated, truncated, info = self._pool.step(actions)
        return obs, reward, terminated, truncated, info

    def close_extras(self, **_: Any) -> None:
        """End the pool's threads."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _spaces(self) -> tuple[gym.Space[Any], gym.Space[Any]]:
        try:
            spec = self._envpool.make_spec(self.task_id, **self._config)
        except Exception as error:
            raise EnvSetupError(
                f"EnvPool cannot make {self.task_id!r} with env_config {self._config}: "
                f"{type(error).__name__}: {error}"
            ) from error
        return _spaces_of(spec, "gymnasium_")


def _spaces_of(source: Any, prefix: str) -> tuple[gym.Space[Any], gym.Space[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of float64 bounds that become float32
        observation, action = (
            getattr(source, f"{prefix}{name}_space") for name in ("observation", "action")
        )
    return observation, action


def find_task(env_id: str) -> str:
    """The name by which EnvPool knows a gymnasium id.

    Raises:
        EnvSetupError: EnvPool is not installed, or has none of that name; names the nearest.
    """
    tasks = ENVPOOL.load(f"environment {env_id!r} with EnvPool").list_all_envs()
    task = env_id.removeprefix("ALE/")
    if task in tasks:
        return task
    guess = nearest(task, tasks)
    hint = f"did you mean {guess!r}?" if guess else "use gym_env_vectorize_mode 'auto'"
    raise EnvSetupError(f"EnvPool has no environment {env_id!r}; {hint}")
