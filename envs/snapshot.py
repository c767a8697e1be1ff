"""State of vectors of environments that can be had, so that a resumed run is the same run.

An environment whose state is not to be had begins new episodes after a restore.
"""

from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from rllib.envs.generators import generator_state, set_generator_state
from rllib.envs.single_state import (
    Restorable,
    StateMisfitError,
    get_single_state,
    name_of,
    set_single_state,
)
from rllib.envs.vector import NextStepEnv, VectorEnv


def get_env_state(env: VectorEnv) -> dict[str, Any] | None:
    """The environments' state as a state tree, or ``None`` where it cannot be had."""
    source = _restorable(env.env)
    told = None if source is None else source.get_state()
    if told is None:
        return None
    state: dict[str, Any] = {"env": told, "of": _kind(source), "num_steps": env.num_steps}
    if isinstance(env, NextStepEnv):
        state["resets_next"] = env.resets_next.copy()
    return state


def set_env_state(env: VectorEnv, state: dict[str, Any]) -> None:
    """Put environments of the same kind and number into a state of ``get_env_state``.

    Raises:
        StateMisfitError: it is that of others, or these have none that can be set.
    """
    source = _restorable(env.env)
    kind = "what has no get_state and set_state" if source is None else _kind(source)
    if source is None or state.get("of", kind) != kind:
        raise StateMisfitError(f"a state of {state.get('of')}, not of {kind}: {env.env}")
    source.set_state(state["env"])
    env.num_steps = int(state["num_steps"])
    if isinstance(env, NextStepEnv):
        env.resets_next = _like(env.resets_next, state["resets_next"])


def _like(own: NDArray[Any], saved: Any) -> NDArray[Any]:
    """The saved array in place of ``own``, of which compiled code may have the address."""
    found = np.array(saved, own.dtype)
    if found.shape != own.shape:
        text = f"an array of {list(found.shape)} in place of one of {list(own.shape)}"
        raise StateMisfitError(text)
    return found


def _restorable(env: gym.vector.VectorEnv[Any, Any, Any]) -> Any:
    """What has ``get_state``, which may return ``None``, and ``set_state``."""
    if isinstance(env, Restorable):
        return env
    match env.unwrapped:
        case CartPoleVectorEnv() as whole:
            return _CartPole(whole)
        case SyncVectorEnv() as single:
            return _Singles(single)
        case AsyncVectorEnv() as apart if apart.autoreset_mode is AutoresetMode.SAME_STEP:
            return _Apart(apart)  # in other modes a process knows more than its environment
    return None


def _kind(source: object) -> str:
    """Whose state is whose: single ones have the same, wherever they are."""
    return "singles" if isinstance(source, _Singles | _Apart) else name_of(source)


class _Singles:
    """Environments of this process, one after the other."""

    def __init__(self, env: SyncVectorEnv) -> None:
        self.env = env

    def get_state(self) -> dict[str, Any] | None:
        each = [get_single_state(env) for env in self.env.envs]
        if None in each:
            return None
        return {"singles": each, "resets_next": self.env._autoreset_envs.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        for env, told in zip(self.env.envs, state["singles"], strict=True):
            set_single_state(env, told)
        if "resets_next" in state:
            self.env._autoreset_envs = np.array(state["resets_next"], np.bool_)


class _Apart:
    """Environments in processes of their own, whose outermost wrapper is a ``TellsState``."""

    def __init__(self, env: AsyncVectorEnv) -> None:
        self.env = env

    def get_state(self) -> dict[str, Any] | None:
        each = list(self.env.get_attr("single_state"))
        return None if None in each else {"singles": each}

    def set_state(self, state: dict[str, Any]) -> None:
        self.env.set_attr("single_state", state["singles"])


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
        carts = np.empty((4, self.env.num_envs))
        self.env.state = cast(None, _like(carts, state["state"]))  # gymnasium: None
        self.env.steps = _like(self.env.steps, state["steps"])
        self.env.prev_done = _like(self.env.prev_done, state["prev_done"])
        self.env.low, self.env.high = state["bounds"]
        set_generator_state(self.env.np_random, state)
