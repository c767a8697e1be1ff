"""Environments that fail are made anew, each by itself, while those beside it go on.

What a step that failed leads to is not known, so it is no step: the row becomes one in which the
environment was only reset, and what was before it ends there as if it had been cut off.
"""

import warnings
from collections.abc import Callable
from math import isfinite
from multiprocessing import get_context
from time import monotonic
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState
from gymnasium.vector.utils import CloudpickleWrapper, concatenate, iterate

from rllib.envs.async_backend import AsyncBackend
from rllib.envs.env_process import server
from rllib.envs.faults import EnvFault, close_env, find_nonfinite
from rllib.envs.guard import GuardedEnv
from rllib.envs.packing import Packer
from rllib.envs.single_state import TellsState
from rllib.envs.vector import RESTARTED

MOST_IN_A_ROW = 3
"""How often one is made anew, without a step in between, before that it fails is an error."""

SHORT = 65
"""Observations of fewer numbers are added up one by one, which is quicker than numpy's ways."""

_LOST = (EOFError, OSError, TimeoutError)
"""What a process that is gone, or does not answer, leads to."""

Maker = Callable[[], gym.Env[Any, Any]]


def told(env_index: int, fault: BaseException) -> None:
    """Warn of an environment that is made anew."""
    headline = str(fault).partition("\n")[0]
    text = f"environment {env_index} is made anew, and its episode left out: {headline}"
    warnings.warn(text, RuntimeWarning, stacklevel=3)


def later_seed(seed: int | None, num_restarts: int) -> int | None:
    """A seed of its own for an environment that was made anew so often."""
    if seed is None:
        return None
    return int(np.random.SeedSequence([seed, num_restarts]).generate_state(1)[0] >> 1)


class Streak:
    """The failures in a row of one environment: without a step in between that went well."""

    def __init__(self) -> None:
        self.length, self._step = 0, 0

    def add(self, fault: EnvFault, *, stepped: bool) -> None:
        """Count a failure, which is the first one again if the environment ``stepped`` before it.

        Raises:
            EnvFault: ``fault`` itself: making it anew leads to nothing.
        """
        self.length = 1 if stepped else self.length + 1
        if self.length > MOST_IN_A_ROW:
            raise fault

    def add_at(self, step: int, fault: EnvFault) -> None:
        """Count a failure in a numbered step, or in beginning anew there. Raises as `add`."""
        self.add(fault, stepped=step > self._step + 1)
        self._step = step


class RestartingEnv(TellsState, gym.Wrapper[Any, Any, Any, Any]):
    """Makes an environment anew that raised, or returned what is not finite or does not fit.

    Args:
        make: makes the environment.
        env_index: of it in the vector.
        is_checked: see ``GuardedEnv``.
    """

    env: GuardedEnv

    def __init__(self, make: Maker, env_index: int, is_checked: bool = True) -> None:
        self.make, self.env_index, self.is_checked = make, env_index, is_checked
        self.num_restarts, self._streak = 0, Streak()
        self._root: int | None = None
        super().__init__(self._made())
        self._packer = Packer(self.observation_space)
        self._summed = np.ndarray if self._has_short_obs() else None

    def _made(self) -> GuardedEnv:
        return GuardedEnv(self.make(), self.env_index, self.is_checked)

    def _has_short_obs(self) -> bool:
        dtype, shape = self._packer.dtype, self._packer.shape
        is_box = isinstance(self.observation_space, gym.spaces.Box)
        return is_box and dtype.kind == "f" and len(shape) == 1 and shape[0] < SHORT

    def step(self, action: Any) -> Any:
        """Step once; where that fails, the first observation of a new environment's episode.

        Raises:
            EnvFault: nor can a new environment begin or step, again and again.
        """
        try:
            result = self.env.step(action)
            obs, reward = result[0], result[1]
            # Numbers are finite if their sum is. Every step of every environment comes by here, so
            # that few calls are made, and others only where that does not tell.
            if (
                type(reward) is not float
                or type(obs) is not self._summed
                or not isfinite(sum(obs.tolist(), reward))
            ):
                self._refuse_nonfinite(obs, reward)
        except EnvFault as fault:
            self._streak.add(fault, stepped=self.env.num_steps > 1)
            obs, info = self._begin_anew(fault, None)
            return obs, 0.0, False, False, {**info, RESTARTED: True}
        return result

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin a new episode, in a new environment where the present one cannot.

        Raises:
            EnvFault: it fails again and again.
        """
        if seed is not None:
            self._root = seed
        return self._begin(seed, options)

    def _begin(self, seed: int | None, options: dict[str, Any] | None) -> Any:
        try:
            obs, info = self.env.reset(seed=seed, options=options)
            self._refuse_nonfinite(obs, 0.0)
        except EnvFault as fault:
            self._streak.add(fault, stepped=self.env.num_steps > 0)
            return self._begin_anew(fault, options)
        return obs, info

    def _begin_anew(self, fault: EnvFault, options: dict[str, Any] | None) -> Any:
        self.num_restarts += 1
        told(self.env_index, fault)
        close_env(self.env)
        self.env = self._made()
        return self._begin(later_seed(self._root, self.num_restarts), options)

    def _refuse_nonfinite(self, obs: Any, reward: Any) -> None:
        if not np.isfinite(reward):
            raise EnvFault(f"environment {self.env_index} returned reward = {reward}")
        if bad := find_nonfinite(self._packer.pack_one(obs)):
            raise EnvFault(f"environment {self.env_index} returned obs with {bad.value}")


class RestartingAsync(AsyncBackend):
    """The same of processes that die, or do not come back from a step in time.

    Args:
        makers: of the environments.
        autoreset_mode: gymnasium's.
        timeout_s: seconds that a step may take.
    """

    def __init__(
        self, makers: list[Maker], autoreset_mode: AutoresetMode, timeout_s: float
    ) -> None:
        # Observations come by the pipes: a process that is made later cannot share memory.
        super().__init__(makers, shared_memory=False, copy=False, autoreset_mode=autoreset_mode)
        self.timeout_s = timeout_s
        self._seeds: list[int | None] = [None] * self.num_envs
        self._num_restarts = [0] * self.num_envs
        self._num_steps = 0
        self._streaks = [Streak() for _ in self.env_fns]

    def reset_async(
        self, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> None:
        """As gymnasium's; the seeds are remembered."""
        if isinstance(seed, int):
            self._seeds = [seed + index for index in range(self.num_envs)]
        super().reset_async(seed, options)

    def step_async(self, actions: Any) -> None:
        """Send one action to every process that is there."""
        for index, action in enumerate(iterate(self.action_space, actions)):
            try:
                self.parent_pipes[index].send(("step", action))
            except OSError:
                continue  # it is found to be dead when its answer is waited for
        self._num_steps += 1
        self._state = AsyncState.WAITING_STEP

    def step_wait(self, timeout: float | None = None) -> Any:
        """Receive one step from every process, or start another one in its place.

        Raises:
            EnvFault: an environment cannot begin or step, again and again.
        """
        until = monotonic() + (self.timeout_s if timeout is None else timeout)
        try:
            rows = [self._step_of(index, until) for index in range(self.num_envs)]
        except EnvFault:
            self._terminate_all()
            raise
        self._state = AsyncState.DEFAULT
        obs, rewards, terminated, truncated, each_info = zip(*rows, strict=True)
        infos: dict[str, Any] = {}
        for index, info in enumerate(each_info):
            infos = self._add_info(infos, info, index)
        self.observations = concatenate(self.single_observation_space, obs, self.observations)
        flags = (np.array(each, np.bool_) for each in (terminated, truncated))
        return self.observations, np.array(rewards, np.float64), *flags, infos

    def _step_of(self, index: int, until: float) -> Any:
        try:
            return self._receive(index, until)
        except _LOST as error:
            obs, info = self._begin_anew(index, error)
            return obs, 0.0, False, False, {**info, RESTARTED: True}

    def _begin_anew(self, index: int, error: Exception) -> Any:
        """The first observation that another process has."""
        fault = self._named(index, error)
        self._streaks[index].add_at(self._num_steps, fault)
        told(index, fault)
        self._replace(index)
        seed = later_seed(self._seeds[index], self._num_restarts[index])
        try:
            self.parent_pipes[index].send(("reset", {"seed": seed}))
            return self._receive(index, monotonic() + self.timeout_s)
        except _LOST as again:
            return self._begin_anew(index, again)

    def _receive(self, index: int, until: float) -> Any:
        pipe = self.parent_pipes[index]
        if not pipe.poll(max(0.0, until - monotonic())):
            raise TimeoutError
        result, is_well = pipe.recv()
        if not is_well:
            self._raise_if_errors([False])
        return result

    def _named(self, index: int, error: BaseException) -> EnvFault:
        if isinstance(error, TimeoutError):
            what = f"did not come back from a step in sub_environment_timeout_s = {self.timeout_s}"
        else:
            what = f"has lost its process ({self._end_of(index)})"
        return EnvFault(f"environment {index} {what}", env_index=index)

    def _replace(self, index: int) -> None:
        """Another process, whatever the old one is doing."""
        old = self.processes[index]
        old.kill()
        old.join()
        old.close()
        self.parent_pipes[index].close()
        self._num_restarts[index] += 1
        context = get_context(self.context)
        ours, theirs = context.Pipe()
        maker = CloudpickleWrapper(self.env_fns[index])
        shared = (None, self.error_queue, self.autoreset_mode, None)
        process = context.Process(  # type: ignore[attr-defined]
            target=server(), args=(index, maker, theirs, ours, *shared), daemon=True
        )
        process.start()
        theirs.close()
        self.parent_pipes[index], self.processes[index] = ours, process
