"""Calls the callbacks of episodes while an env runner steps its environments.

    created -> (reset) -> start -> (step) -> step -> ... -> (last step) -> step -> end -> created

Episodes are followed for callbacks alone: without any that listen to them nothing is done here.

Legend: N environments.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib.callbacks import Callbacks
from rllib.envs.vector import EnvStep, NextStepEnv, VectorEnv
from rllib.sampling.single_agent_episode import SingleAgentEpisode

HOOKS = ("on_episode_created", "on_episode_start", "on_episode_step", "on_episode_end")


class EpisodeHooks:
    """The episodes under way in N environments.

    Args:
        callbacks: whom to call.
        env: the vector of environments.
        arguments: what every hook gets besides (``env_runner``, ``metrics_logger``, ...).
    """

    def __init__(self, callbacks: Callbacks, env: VectorEnv, **arguments: Any) -> None:
        self.is_on = any(hook in callbacks for hook in HOOKS)
        self.callbacks, self.arguments = callbacks, arguments | {"env": env.env}
        self.env = env
        # Under NEXT_STEP an environment is only reset with the step after an episode's end.
        self.begins_later = isinstance(env, NextStepEnv)
        self.episodes = [SingleAgentEpisode("") for _ in range(env.num_envs)]
        self.num_begun = 0

    def before_reset(self) -> None:
        """All environments are about to be reset."""
        if self.is_on:
            for n in range(len(self.episodes)):
                self._create(n)

    def after_reset(self, obs: NDArray[Any]) -> None:
        """All environments were reset; ``obs`` [N, ...] is what they returned."""
        if self.is_on:
            for n in range(len(self.episodes)):
                self._start(n, obs[n])

    def after_step(
        self, actions: NDArray[Any], step: EnvStep, missing: NDArray[np.int64] | None = None
    ) -> None:
        """All environments were stepped with ``actions`` [N, ...], as they got them.

        Args:
            actions: what they got.
            step: what came of it.
            missing: [N] episodes that are still wanted of each; of those after them nothing is
                told. ``None`` if all are wanted.
        """
        if not self.is_on:
            return
        for n in range(len(self.episodes)):
            if missing is not None and not missing[n]:
                continue
            if step.failed is not None and step.failed[n]:
                self._create(n)
            if step.is_reset_row[n]:
                self._start(n, step.obs[n])
            else:
                self._step(n, actions[n], step, goes_on=missing is None or missing[n] > 1)

    def resume(self, obs: NDArray[Any]) -> None:
        """The environments go on where others stopped: their episodes are known from ``obs`` on.

        For callbacks they begin here, because what those had put into ``custom_data`` is gone.
        """
        self.episodes = [SingleAgentEpisode(f"resumed_{n}") for n in range(len(obs))]
        if not self.is_on:
            return
        for n, first in enumerate(obs):
            self._call("on_episode_created", n)
            self.episodes[n].add_env_reset(first)
            self._call("on_episode_start", n)

    def _create(self, n: int) -> None:
        self.num_begun += 1
        self.episodes[n] = SingleAgentEpisode(f"episode_{self.num_begun}")
        self._call("on_episode_created", n)

    def _start(self, n: int, obs: Any) -> None:
        self.episodes[n].add_env_reset(obs, self.env.info_of(n))
        self._call("on_episode_start", n)

    def _step(self, n: int, action: Any, step: EnvStep, *, goes_on: bool) -> None:
        terminated, truncated = bool(step.terminated[n]), bool(step.truncated[n])
        is_last = terminated or truncated
        obs = step.final_obs[n] if is_last and step.final_obs is not None else step.obs[n]
        info = self.env.info_of(n, is_last=is_last)
        self.episodes[n].add_env_step(
            obs, action, float(step.reward[n]), info, terminated=terminated, truncated=truncated
        )
        self._call("on_episode_step", n)
        if is_last:
            self._call("on_episode_end", n, prev_episode_chunks=[])
            if not goes_on:
                self.episodes[n] = SingleAgentEpisode("not_wanted", [step.obs[n]])
                return
            self._create(n)
            if not self.begins_later:
                self._start(n, step.obs[n])

    def _call(self, hook: str, n: int, **more: Any) -> None:
        # numpy may be told to ignore what it warns of while sampling; a callback is not.
        with np.errstate(all="warn"):
            arguments = self.arguments | more
            self.callbacks.call(hook, episode=self.episodes[n], env_index=n, **arguments)
