"""State of environments that can be had, so that a resumed run is the same run.

An environment whose state is not to be had begins new episodes after a restore.
"""

from typing import Any, Protocol, cast, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

from rllib.envs.generators import generator_state, set_generator_state
from rllib.envs.vector import NextStepEnv, VectorEnv


@runtime_checkable
class Restorable(Protocol):
    """A vector environment that tells its whole state, random numbers included, as a state tree."""

    def get_state(self) -> dict[str, Any]:
        """Nested dicts with string keys of arrays, numbers, text and lists of those."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on exactly from a state of ``get_state``."""


def get_env_state(env: VectorEnv) -> dict[str, Any] | None:
    """The environments' state as a state tree, or ``None`` where it cannot be had."""
    source = _restorable(env.env)
    if source is None:
        return None
    state: dict[str, Any] = {"env": source.get_state(), "num_steps": env.num_steps}
    if isinstance(env, NextStepEnv):
        state["resets_next"] = env.resets_next.copy()
    return state


def set_env_state(env: VectorEnv, state: dict[str, Any]) -> None:
    """Put environments of the same kind and number into a state of ``get_env_state``.

    Raises:
        TypeError: this environment's state cannot be set.
    """
    source = _restorable(env.env)
    if source is None:
        raise TypeError(f"{env.env} cannot be restored: it has no get_state and set_state")
    source.set_state(state["env"])
    env.num_steps = int(state["num_steps"])
    if isinstance(env, NextStepEnv):
        env.resets_next = np.array(state["resets_next"], np.bool_)


def _restorable(env: gym.vector.VectorEnv[Any, Any, Any]) -> Restorable | None:
    if isinstance(env.unwrapped, CartPoleVectorEnv):
        return _CartPole(env.unwrapped)
    return env if isinstance(env, Restorable) else None


class _CartPole:
    """Gymnasium's vector CartPole keeps its state in four plain arrays and a generator."""

    def __init__(self, env: CartPoleVectorEnv) -> None:
        self.env = env

    def get_state(self) -> dict[str, Any]:
        return {
            "state": np.array(self.env.state),
            "steps": self.env.steps.copy(),
            "prev_done": self.env.prev_done.copy(),
            "bounds": [float(self.env.low), float(self.env.high)],
            **generator_state(self.env.np_random),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        self.env.state = cast(None, np.array(state["state"], np.float64))  # gymnasium says None
        self.env.steps = np.array(state["steps"], np.int32)
        self.env.prev_done = np.array(state["prev_done"], np.bool_)
        self.env.low, self.env.high = state["bounds"]
        set_generator_state(self.env.np_random, state)
