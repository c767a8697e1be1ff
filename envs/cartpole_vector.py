"""Gymnasium's vector CartPole, which comes to the same numbers several times as fast.

Legend: N environments.
"""

import ctypes
from typing import Any

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from numpy.typing import NDArray

from rllib.envs.compiled import compiled

Step = tuple[
    NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]

X, X_DOT, THETA, THETA_DOT = range(4)


class _Carts(ctypes.Structure):
    """``Carts`` of cartpole.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("num_envs", "max_steps")),
        *((name, ctypes.c_double) for name in ("gravity", "mass_pole", "total_mass", "length")),
        *((name, ctypes.c_double) for name in ("pole_moment", "force", "tau")),
        *((name, ctypes.c_double) for name in ("most_x", "most_theta")),
        *((name, ctypes.c_void_p) for name in ("state", "cos", "sin", "actions", "steps", "ended")),
        *((name, ctypes.c_void_p) for name in ("obs", "terminated", "truncated")),
    )


class _Compiled:
    """Steps an environment's arrays in their place, until one of its attributes is another one.

    Attributes:
        reward: [N] of a step in which none begins anew.
    """

    def __init__(self, library: ctypes.CDLL, env: "FastCartPole") -> None:
        num = env.num_envs
        self.library, self.env, self.theta = library, env, env.state[THETA]
        self.cos, self.sin = np.empty((2, num))
        self.actions = np.empty(num, np.int64)
        self.obs, self.reward = np.empty((num, 4), np.float32), np.ones(num, np.float32)
        self.terminated, self.truncated = np.empty((2, num), np.bool_)
        arrays = (env.state, self.cos, self.sin, self.actions, env.steps, env.prev_done)
        results = (self.obs, self.terminated, self.truncated)
        pointers = (each.ctypes.data for each in (*arrays, *results))
        self._carts = _Carts(num, env.max_episode_steps, *env.constants, *pointers)
        self._address = ctypes.addressof(self._carts)

    def step(self, action: NDArray[Any]) -> Step:
        self.actions[:] = action
        np.cos(self.theta, out=self.cos)
        np.sin(self.theta, out=self.sin)
        num_ended = self.library.cartpole_step(self._address)
        assert num_ended >= 0, f"{action!r} ({type(action)}) invalid"
        reward = self._begin() if num_ended else self.reward
        return self.obs, reward, self.terminated, self.truncated, {}

    def _begin(self) -> NDArray[np.float32]:
        """In place of a step, where episodes had ended before; returns the rewards [N]."""
        reward = self.env.replace_steps(self.terminated, self.truncated)
        np.logical_or(self.terminated, self.truncated, out=self.env.prev_done)
        self.library.cartpole_observe(self._address)
        return reward


class FastCartPole(CartPoleVectorEnv):
    """The arithmetic of every state is that of its parent, to the last bit and in its order.

    What was compiled at installation does it, or numpy with fewer arrays on the way. Reset,
    rendering and settings are the parent's. What ``step`` returns is valid until the next one.
    """

    state: Any
    _compiled: _Compiled | None

    def __setattr__(self, name: str, value: Any) -> None:
        """What is compiled has to look where things are now."""
        super().__setattr__(name, value)
        self.__dict__["_compiled"] = None

    def step(self, action: NDArray[Any]) -> Step:
        """One step of every environment; see the parent."""
        assert self.state is not None, "Call reset before using step method."
        if self.kinematics_integrator != "euler" or self._sutton_barto_reward:
            return super().step(action)
        if action.dtype.kind in "iu" and (carts := self._compiled or self._compile()):
            return carts.step(action)
        return self._step_in_numpy(action)

    def _compile(self) -> _Compiled | None:
        """Where something was compiled, and arrays lie as it reads them."""
        if (library := compiled()) is None:
            return None
        row = (self.num_envs,)
        arrays = (self.state, np.float64, (4, *row)), (self.steps, np.int32, row)
        if not all(_lies(*each) for each in (*arrays, (self.prev_done, np.bool_, row))):
            return None
        found = self.__dict__["_compiled"] = _Compiled(library, self)
        return found

    @property
    def constants(self) -> tuple[float, ...]:
        """Those of the arithmetic, in the order of cartpole.c."""
        masses = self.gravity, self.masspole, self.total_mass, self.length, self.polemass_length
        return *masses, self.force_mag, self.tau, self.x_threshold, self.theta_threshold_radians

    def _step_in_numpy(self, action: NDArray[Any]) -> Step:
        pushes_right = np.equal(action, 1)
        assert (pushes_right | np.equal(action, 0)).all(), f"{action!r} ({type(action)}) invalid"
        self._advance(self.state, pushes_right)
        terminated = self._has_fallen()
        self.steps += 1
        truncated = self.steps >= self.max_episode_steps
        reward = np.ones(self.num_envs, np.float32)
        if self.prev_done.any():
            reward = self.replace_steps(terminated, truncated)
        self.prev_done = terminated | truncated
        return self._observations(), reward, terminated, truncated, {}

    def _advance(self, state: NDArray[np.float64], pushes_right: NDArray[np.bool_]) -> None:
        """Euler's step; see https://coneural.org/florian/papers/05_cart_pole.pdf."""
        force = np.where(pushes_right, self.force_mag, -self.force_mag)
        cos, sin = np.cos(state[THETA]), np.sin(state[THETA])
        temp = state[THETA_DOT] * state[THETA_DOT]
        temp *= self.polemass_length
        temp *= sin
        temp += force
        temp /= self.total_mass
        change = np.empty_like(state)
        change[X], change[THETA] = state[X_DOT], state[THETA_DOT]
        angular, inertia = change[THETA_DOT], cos * cos
        inertia *= self.masspole
        inertia /= self.total_mass
        np.subtract(4.0 / 3.0, inertia, out=inertia)
        inertia *= self.length
        np.multiply(sin, self.gravity, out=angular)
        angular -= cos * temp
        angular /= inertia
        recoil = self.polemass_length * angular
        recoil *= cos
        recoil /= self.total_mass
        np.subtract(temp, recoil, out=change[X_DOT])
        change *= self.tau
        self.state = state + change

    def _has_fallen(self) -> NDArray[np.bool_]:
        state: NDArray[np.float64] = self.state
        fallen: NDArray[np.bool_] = np.abs(state[X]) > self.x_threshold
        fallen |= np.abs(state[THETA]) > self.theta_threshold_radians
        return fallen

    def replace_steps(
        self, terminated: NDArray[np.bool_], truncated: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Where episodes had ended before the step, they begin anew instead; returns rewards [N].

        Args:
            terminated: [N] of the step, changed here.
            truncated: likewise.
        """
        ended = self.prev_done
        shape = (4, int(ended.sum()))
        self.state[:, ended] = self.np_random.uniform(low=self.low, high=self.high, size=shape)
        self.steps[ended] = 0
        terminated[ended] = truncated[ended] = False
        return np.where(ended, np.float32(0.0), np.float32(1.0))

    def _observations(self) -> NDArray[np.float32]:
        obs: NDArray[np.float32] = self.state.T.astype(np.float32)
        return obs


def _lies(array: NDArray[Any], dtype: type[Any], shape: tuple[int, ...]) -> bool:
    """Whether an array lies as compiled code reads and writes it."""
    is_plain = array.flags.c_contiguous and array.flags.writeable
    return is_plain and array.dtype == dtype and array.shape == shape
