"""A wrapper that signs an environment's exceptions with its index and step."""

from typing import Any, SupportsFloat

import gymnasium as gym

from rllib.envs.faults import raise_fault


class GuardedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Turns whatever the environment raises into an ``EnvFault`` that says which one, and when.

    It sits directly around each single environment, also in the worker processes of an
    asynchronous backend, because only there is the environment's own traceback at hand.
    """

    def __init__(self, env: gym.Env[Any, Any], env_index: int) -> None:
        super().__init__(env)
        self.env_index = env_index
        self.num_steps = 0

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment once.

        Raises:
            EnvFault: the environment raised.
        """
        self.num_steps += 1
        try:
            return self.env.step(action)
        except Exception as error:
            raise_fault(error, "step", self.env_index, self.num_steps)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin a new episode.

        Raises:
            EnvFault: the environment raised.
        """
        try:
            return self.env.reset(seed=seed, options=options)
        except Exception as error:
            raise_fault(error, "reset", self.env_index, self.num_steps)
