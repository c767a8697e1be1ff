"""A wrapper that signs an environment's mistakes with its index and step."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, NoReturn, Self, SupportsFloat

import gymnasium as gym
import numpy as np

from rllib.envs.faults import EnvFault, close_env, raise_fault
from rllib.envs.members import Misfit, describe, find_misfit, fits, is_exact
from rllib.envs.single_state import TellsState


class GuardedEnv(TellsState, gym.Wrapper[Any, Any, Any, Any]):
    """Turns what the environment raises or wrongly returns into an ``EnvFault`` that says which.

    It sits directly around each single environment, also in the worker processes of an
    asynchronous backend, because only there are the environment's own traceback and return value
    at hand: the backends stretch, cut and convert what does not fit, or fail without a name.

    Args:
        env: a single environment.
        env_index: of it in the vector.
        is_checked: whether observations, rewards and flags are looked at, too.
    """

    def __init__(self, env: gym.Env[Any, Any], env_index: int, is_checked: bool = True) -> None:
        super().__init__(env)
        self.env_index, self.is_checked = env_index, is_checked
        self.num_steps = 0
        self._space: gym.Space[Any] = env.observation_space
        self._is_plain = isinstance(self._space, gym.spaces.Box)

    @classmethod
    def of(cls, make: Callable[[], gym.Env[Any, Any]], env_index: int, is_checked: bool) -> Self:
        """Around an environment that is made here."""
        return cls(make(), env_index, is_checked)

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
        self._check_info("step", info)
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
        obs, info = result
        self._check_obs("reset", obs)
        self._check_info("reset", info)
        return obs, info

    def close(self) -> None:
        """Release the environment; should it raise, that is a warning and costs no results."""
        close_env(self.env)

    def _check_obs(self, operation: str, obs: Any) -> None:
        if not self.is_checked or (self._is_plain and is_exact(self._space, obs)):
            return
        if misfit := find_misfit(self._space, obs):
            self._raise_misfit(operation, misfit)

    def _check_info(self, operation: str, info: Any) -> None:
        """Also where nothing else is looked at: gymnasium's vectors fail on what is no dict."""
        if not isinstance(info, dict):
            self._refuse(operation, "info", info, "a dict, {} if there is nothing to say")

    def _check_scalars(self, reward: Any, terminated: Any, truncated: Any) -> None:
        if not self.is_checked:
            return
        if not isinstance(reward, float) and not fits(reward, (), np.dtype(np.float64)):
            self._refuse("step", "reward", reward, "a number")
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if not isinstance(flag, bool | np.bool_) and not fits(flag, (), np.dtype(np.int64)):
                self._refuse("step", name, flag, "true or false")

    def _refuse(self, operation: str, field: str, value: Any, wanted: str) -> NoReturn:
        self._raise_misfit(operation, Misfit(field, describe(value), wanted))

    def _raise_misfit(self, operation: str, misfit: Misfit) -> NoReturn:
        raise EnvFault(
            f"environment {self.env_index} returned {misfit.field} = {misfit.value} in "
            f"{operation}() at its env step {self.num_steps}; it should be {misfit.wanted}",
            env_index=self.env_index,
            step=self.num_steps,
            field=misfit.field,
            value=misfit.value,
        )
