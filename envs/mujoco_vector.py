"""Gymnasium's MuJoCo environments, many at once: the same numbers for a fraction of the price.

    actions [N, ...] -> Simulation -> physics of all [N, ...] -> Task -> rows [N, ...]

Gymnasium pays for each environment by itself what numpy, infos and four wrappers cost. Here that is
paid once for all of them, and what remains is the simulation.

Legend: N environments.
"""

from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from rllib.envs.extras import MUJOCO
from rllib.envs.generators import generator_state, set_generator_state
from rllib.envs.mujoco_tasks import Bools, Floats, Physics, Settings, Task, find_task
from rllib.envs.physics import Copies, Copy, worlds_of

Step = tuple[Any, Floats, Bools, Bools, dict[str, Any]]


class MujocoVector(SyncVectorEnv):
    """Steps gymnasium's own environments by their models and data, without asking them.

    Resets, spaces and rendering are theirs. Infos are those of resets; a step's tells nothing but
    the last observations of episodes that ended.

    Args:
        spec: of an environment that is a task of ours, by ``find_task``.
        num_envs: N.
        config: arguments of its constructor, and "max_episode_steps".
        autoreset_mode: any.
        num_threads: that may simulate at the same time.

    Attributes:
        steps: [N] taken in the present episodes.

    Raises:
        EnvSetupError: MuJoCo is not installed.
    """

    def __init__(
        self,
        spec: EnvSpec,
        num_envs: int,
        config: Mapping[str, Any],
        autoreset_mode: AutoresetMode,
        num_threads: int = 1,
    ) -> None:
        MUJOCO.load(f"environment {spec.id!r}")
        task = find_task(spec, config)
        assert task is not None, f"{spec.id} with {config} is none of ours"
        arguments = {"max_episode_steps": spec.max_episode_steps, **spec.kwargs, **config}
        self.max_episode_steps = arguments.pop("max_episode_steps") or np.inf
        make: Any = load_env_creator(str(spec.entry_point))
        super().__init__(
            [lambda: make(**arguments)] * num_envs, copy=False, autoreset_mode=autoreset_mode
        )
        self.task, self.settings = task, _settings(make, arguments)
        self.simulation = Simulation(self.envs, task, self.settings, num_threads)
        self.steps = np.zeros(num_envs, np.int64)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Begin new episodes, in all or where ``options["reset_mask"]`` says; see the parent."""
        self.steps[(options or {}).get("reset_mask", ...)] = 0
        return super().reset(seed=seed, options=options)

    def step(self, actions: Any) -> Step:
        """One step of every environment; see the parent.

        Raises:
            ValueError: the actions are of another shape than they should be.
        """
        resting = self._resting()
        actions = self._of_right_shape(actions)
        now = self.simulation.step(actions, resting)
        obs, reward, terminated = self.task.outcome(self.settings, now, actions)
        self.steps += 1
        truncated = self.steps >= self.max_episode_steps
        infos: dict[str, Any] = {}
        if resting is not None:
            self._begin(resting, obs)
            reward[resting], terminated[resting], truncated[resting] = 0, False, False
        done = terminated | truncated
        if self.autoreset_mode is AutoresetMode.SAME_STEP and done.any():
            infos = {"final_obs": _only(obs, done), "_final_obs": done.copy()}
            self._begin(done, obs)
        self._autoreset_envs, self._env_obs = done, list(obs)
        return obs, reward, terminated, truncated, infos

    def _resting(self) -> Bools | None:
        """[N] those that are reset instead of stepped; ``None`` if none is."""
        ended = self._autoreset_envs
        if self.autoreset_mode is AutoresetMode.SAME_STEP or not ended.any():
            return None
        assert self.autoreset_mode is AutoresetMode.NEXT_STEP, f"reset first: {ended}"
        return ended

    def _of_right_shape(self, actions: Any) -> NDArray[Any]:
        # In another order of memory, numpy would add an action's elements in another order.
        given, wanted = np.ascontiguousarray(actions), self.action_space.shape
        if given.shape != wanted:
            raise ValueError(f"actions are of shape {given.shape}; they should be of {wanted}")
        return given

    def _begin(self, which: Bools, obs: Floats) -> None:
        """New episodes, whose first observations are written into ``obs`` [N, ...]."""
        self.steps[which] = 0
        for index in np.flatnonzero(which):
            obs[index], _ = self.envs[index].reset()

    def set_attr(self, name: str, values: Any) -> None:
        """Refused, since the environments are not asked in a step.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(
            f"{name!r} of these environments is fixed; give it in env_config, or use "
            "gym_env_vectorize_mode 'sync', where attributes can be set"
        )

    def get_state(self) -> dict[str, Any]:
        """State tree from which the environments go on exactly."""
        return self.simulation.get_state() | {
            "steps": self.steps.copy(),
            "ended": self._autoreset_envs.copy(),
            "rngs": {str(i): generator_state(env.np_random) for i, env in enumerate(self.envs)},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of ``get_state``."""
        self.simulation.set_state(state)
        self.steps = np.array(state["steps"], np.int64)
        self._autoreset_envs = np.array(state["ended"], np.bool_)
        for index, env in enumerate(self.envs):
            set_generator_state(env.np_random, state["rngs"][str(index)])


class Simulation:
    """The physics of N environments.

    Args:
        envs: gymnasium's, without wrappers.
        task: that of all of them.
        settings: of the task.
        num_threads: that may simulate at the same time.
    """

    def __init__(
        self, envs: list[Any], task: Task, settings: Settings, num_threads: int = 1
    ) -> None:
        self.mujoco = MUJOCO.load("a simulation")
        self.dt, self.num_positions = envs[0].dt, envs[0].model.nq
        self._pairs = [(env.model, env.data) for env in envs]
        self._places = [task.place(env.data, settings) for env in envs]
        # What each step reads, and what it shows.
        num_envs, model = len(envs), envs[0].model
        self._actions = np.zeros((num_envs, model.nu))
        self._state = np.zeros((num_envs, model.nq + model.nv))
        self._way = np.zeros((2, num_envs))
        self._forces = np.zeros((num_envs, 6 * model.nbody)) if task.reads_forces else None
        self._worlds = worlds_of(
            self.mujoco,
            self._pairs,
            [self._copies(index) for index in range(num_envs)],
            envs[0].frame_skip,
            settles=task.reads_forces,
            num_threads=num_threads,
        )

    def _copies(self, index: int) -> Copies:
        """Of one environment."""
        data, place, way = self._pairs[index][1], self._places[index], self._way[:, index]
        positions, speeds = np.split(self._state[index], [self.num_positions])
        before = [Copy(data.ctrl, self._actions[index]), Copy(way[:1], place)]
        after = [Copy(positions, data.qpos), Copy(speeds, data.qvel), Copy(way[1:], place)]
        if self._forces is not None:
            after.append(Copy(self._forces[index], data.cfrc_ext.reshape(-1)))
        return Copies(before, after)

    def step(self, actions: NDArray[Any], resting: Bools | None = None) -> Physics:
        """Go on by as many steps as a frame has, except where ``resting`` [N].

        Returns:
            What is valid until the next step.
        """
        self._actions[:] = actions
        self._worlds.advance(resting)
        before, after = self._way
        velocity = (after - before) / self.dt
        return Physics(self._state, self.num_positions, velocity, self._forces)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """All that the next step depends on; where places are read from lags behind the rest."""
        return {"physics": self._gather(), "places": np.concatenate(self._places)}

    def _gather(self) -> Floats:
        kind = self._kind
        size = self.mujoco.mj_stateSize(self._pairs[0][0], kind)
        state = np.empty((len(self._pairs), size))
        for row, (model, data) in zip(state, self._pairs, strict=True):
            self.mujoco.mj_getState(model, data, row, kind)
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from ``get_state``."""
        rows, places = np.array(state["physics"], np.float64), state["places"]
        for row, (model, data) in zip(rows, self._pairs, strict=True):
            self.mujoco.mj_setState(model, data, row, self._kind)
        for here, place in zip(self._places, places, strict=True):
            here[:] = place

    @property
    def _kind(self) -> int:
        """With the solver's warm start, without which the last bits differ."""
        return int(self.mujoco.mjtState.mjSTATE_INTEGRATION)


def _settings(make: Any, arguments: Mapping[str, Any]) -> Settings:
    """Arguments, and the defaults of those that are not given."""
    known = signature(make).parameters.values()
    return {
        each.name: each.default for each in known if each.default is not Parameter.empty
    } | dict(arguments)


def _only(obs: Floats, which: Bools) -> NDArray[np.object_]:
    """[N] copies of some observations, as gymnasium has them; ``None`` elsewhere."""
    final = np.full(len(obs), None, dtype=object)
    for index in np.flatnonzero(which):
        final[index] = obs[index].copy()
    return final
