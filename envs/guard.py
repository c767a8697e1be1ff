"""A wrapper that signs an environment's mistakes with its index and step."""

from collections.abc import Mapping
from copy import deepcopy
from reprlib import repr as short_repr
from typing import Any, NoReturn, SupportsFloat

import gymnasium as gym
import numpy as np

from rllib.envs.faults import EnvFault, close_env, raise_fault


class GuardedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Turns what the environment raises or wrongly returns into an ``EnvFault`` that says which.

    It sits directly around each single environment, also in the worker processes of an
    asynchronous backend, because only there are the environment's own traceback and return value
    at hand: the backends stretch, cut and convert what does not fit, or fail without a name.
    """

    def __init__(self, env: gym.Env[Any, Any], env_index: int) -> None:
        super().__init__(env)
        self.env_index = env_index
        self.num_steps = 0
        self._space: gym.Space[Any] = env.observation_space

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment once; the last observation of an episode is a copy.

        Raises:
            EnvFault: the environment raised, or returned what a step does not consist of.
        """
        self.num_steps += 1
        try:
            result: Any = self.env.step(action)
        except (Exception, SystemExit) as error:
            raise_fault(error, "step", self.env_index, self.num_steps)
        if not isinstance(result, tuple) or len(result) != 5:
            wanted = "(obs, reward, terminated, truncated, info)"
            self._refuse("step", "result", result, wanted)
        obs, reward, terminated, truncated, info = result
        self._check_obs("step", obs)
        self._check_scalars(reward, terminated, truncated)
        if terminated or truncated:
            # Backends reset before anybody reads it, and an environment may reuse its buffer.
            obs = deepcopy(obs)
        return obs, reward, terminated, truncated, info

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin a new episode.

        Raises:
            EnvFault: the environment raised, or returned what a reset does not consist of.
        """
        try:
            result: Any = self.env.reset(seed=seed, options=options)
        except (Exception, SystemExit) as error:
            raise_fault(error, "reset", self.env_index, self.num_steps)
        if not isinstance(result, tuple) or len(result) != 2:
            self._refuse("reset", "result", result, "(obs, info)")
        self._check_obs("reset", result[0])
        obs, info = result
        return obs, info

    def close(self) -> None:
        """Release the environment; should it raise, that is a warning and costs no results."""
        close_env(self.env)

    def _check_obs(self, operation: str, obs: Any) -> None:
        self._check_part(operation, self._space, obs, "obs")

    def _check_part(self, operation: str, space: gym.Space[Any], obs: Any, field: str) -> None:
        """Shape and kind of an array, membership of a number; bounds are the algorithm's affair."""
        if isinstance(space, gym.spaces.Dict):
            if not isinstance(obs, Mapping) or obs.keys() != space.spaces.keys():
                self._refuse(operation, field, obs, f"a dict with the keys {sorted(space.spaces)}")
            for key, part in space.spaces.items():
                self._check_part(operation, part, obs[key], f"{field}[{key!r}]")
        elif isinstance(space, gym.spaces.Tuple):
            if not isinstance(obs, tuple | list) or len(obs) != len(space.spaces):
                self._refuse(operation, field, obs, f"a tuple of {len(space.spaces)}")
            for index, (part, value) in enumerate(zip(space.spaces, obs, strict=True)):
                self._check_part(operation, part, value, f"{field}[{index}]")
        elif isinstance(space, gym.spaces.Discrete):
            if not space.contains(obs):
                self._refuse(operation, field, obs, f"a member of {space}")
        elif space.shape is not None and space.dtype is not None:
            exact = type(obs) is np.ndarray and obs.dtype == space.dtype
            exact = exact and obs.shape == space.shape
            if not exact and not _fits(obs, space.shape, space.dtype):
                wanted = f"of shape {space.shape} and dtype {space.dtype}, as its space says"
                self._refuse(operation, field, obs, wanted)

    def _check_scalars(self, reward: Any, terminated: Any, truncated: Any) -> None:
        if not isinstance(reward, float) and not _fits(reward, (), np.dtype(np.float64)):
            self._refuse("step", "reward", reward, "a number")
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if not isinstance(flag, bool | np.bool_) and not _fits(flag, (), np.dtype(np.int64)):
                self._refuse("step", name, flag, "true or false")

    def _refuse(self, operation: str, field: str, value: Any, wanted: str) -> NoReturn:
        shape = f" of shape {value.shape}" if isinstance(value, np.ndarray) else ""
        raise EnvFault(
            f"environment {self.env_index} returned {field} = {short_repr(value)}{shape} in "
            f"{operation}() at its env step {self.num_steps}; it should be {wanted}",
            env_index=self.env_index,
            step=self.num_steps,
            field=field,
            value=short_repr(value),  # itself it might not cross a process border
        )


def _fits(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether ``value`` becomes an array of that shape and type without changing in kind."""
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return False
    return array.shape == shape and np.can_cast(array.dtype, dtype, "same_kind")
