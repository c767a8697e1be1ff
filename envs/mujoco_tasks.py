"""What gymnasium's MuJoCo tasks (v5) make of the physics, for all environments at once.

The numbers are gymnasium's to the last bit: the same operations in the same order and the same
precision, a row for each environment. An action's cost is worked out in the action's own type.

Legend: N environments.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

Settings = Mapping[str, Any]
"""Of a task: the named arguments of gymnasium's environment, and their defaults."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SPEED_LIMIT = 10
"""To which Hopper and Walker2d clip velocities in observations."""


class Physics(NamedTuple):
    """What was read after a step of the simulation.

    Attributes:
        state: [N, nq + nv] positions, then velocities.
        num_positions: nq.
        x_velocity: [N] distance per second in the step.
        forces: [N, 6 * bodies] contact forces of a task that reads them.
    """

    state: Floats
    num_positions: int
    x_velocity: Floats
    forces: Floats | None


class Outcome(NamedTuple):
    """What a step comes to: observations [N, ...], rewards [N], and whether the task ended [N]."""

    obs: Floats
    reward: Floats
    terminated: Bools


class Task(NamedTuple):
    """One of gymnasium's environments.

    Attributes:
        outcome: of a step with actions [N, ...].
        settings: that it goes by, beside those that all have.
        place: [1] view of the x coordinate whose speed counts, in MuJoCo's data.
        reads_forces: whether contact forces are to be worked out.
    """

    outcome: Callable[[Settings, Physics, NDArray[Any]], Outcome]
    settings: frozenset[str] = frozenset()
    place: Callable[[Any, Settings], Floats] = lambda data, _: data.qpos[:1]
    reads_forces: bool = False


def half_cheetah(settings: Settings, now: Physics, actions: NDArray[Any]) -> Outcome:
    """HalfCheetah: run, cheaply; it never ends."""
    return _run(settings, now, actions, hidden=1)


def swimmer(settings: Settings, now: Physics, actions: NDArray[Any]) -> Outcome:
    """Swimmer: the same, in a plane."""
    return _run(settings, now, actions, hidden=2)


def hopper(settings: Settings, now: Physics, actions: NDArray[Any]) -> Outcome:
    """Hopper: hop without falling."""
    limbs = _within(now.state[:, 2:], settings["healthy_state_range"]).all(axis=1)
    return _upright(settings, now, actions, limbs & _stands(settings, now))


def walker2d(settings: Settings, now: Physics, actions: NDArray[Any]) -> Outcome:
    """Walker2d: walk without falling."""
    return _upright(settings, now, actions, _stands(settings, now))


def ant(settings: Settings, now: Physics, actions: NDArray[Any]) -> Outcome:
    """Ant: run on four legs, right way up, without hitting the ground hard."""
    low, high = settings["healthy_z_range"]
    height = now.state[:, 2]
    healthy = np.isfinite(now.state).all(axis=1) & (low <= height) & (height <= high)
    assert now.forces is not None, "the task reads forces"
    forces = np.clip(now.forces, *settings["contact_force_range"])
    contact_cost = settings["contact_cost_weight"] * np.square(forces).sum(axis=1)
    cost = _control_cost(settings, actions) + contact_cost
    obs = _seen(settings, now, hidden=2)
    if settings["include_cfrc_ext_in_observation"]:
        world = 6  # the first body, on which nothing acts
        obs = np.concatenate((obs, forces[:, world:]), axis=1)
    return Outcome(obs, _gain(settings, now, healthy) - cost, _ended(settings, healthy))


def _run(settings: Settings, now: Physics, actions: NDArray[Any], hidden: int) -> Outcome:
    reward = _forward(settings, now) - _control_cost(settings, actions)
    return Outcome(_seen(settings, now, hidden), reward, np.zeros(len(reward), np.bool_))


def _upright(settings: Settings, now: Physics, actions: NDArray[Any], healthy: Bools) -> Outcome:
    obs = _seen(settings, now, hidden=1)
    speeds = obs[:, now.num_positions - now.state.shape[1] :]
    np.clip(speeds, -SPEED_LIMIT, SPEED_LIMIT, out=speeds)
    reward = _gain(settings, now, healthy) - _control_cost(settings, actions)
    return Outcome(obs, reward, _ended(settings, healthy))


def _seen(settings: Settings, now: Physics, hidden: int) -> Floats:
    """[N, ...] a copy of the state, without its first positions unless they are to be seen."""
    is_hidden = settings["exclude_current_positions_from_observation"]
    return now.state[:, hidden if is_hidden else 0 :].copy()


def _forward(settings: Settings, now: Physics) -> Floats:
    reward: Floats = settings["forward_reward_weight"] * now.x_velocity
    return reward


def _gain(settings: Settings, now: Physics, healthy: Bools) -> Floats:
    reward: Floats = _forward(settings, now) + healthy * settings["healthy_reward"]
    return reward


def _control_cost(settings: Settings, actions: NDArray[Any]) -> NDArray[Any]:
    cost: NDArray[Any] = settings["ctrl_cost_weight"] * np.square(actions).sum(axis=1)
    return cost


def _stands(settings: Settings, now: Physics) -> Bools:
    height, angle = now.state[:, 1], now.state[:, 2]
    stands: Bools = _within(height, settings["healthy_z_range"])
    stands &= _within(angle, settings["healthy_angle_range"])
    return stands


def _within(values: Floats, bounds: tuple[float, float]) -> Bools:
    low, high = bounds
    within: Bools = (low < values) & (values < high)
    return within


def _ended(settings: Settings, healthy: Bools) -> Bools:
    return ~healthy & bool(settings["terminate_when_unhealthy"])


def _main_body(data: Any, settings: Settings) -> Floats:
    place: Floats = data.body(settings["main_body"]).xpos[:1]
    return place


_COMMON = frozenset(
    {
        "xml_file",
        "frame_skip",
        "forward_reward_weight",
        "ctrl_cost_weight",
        "reset_noise_scale",
        "exclude_current_positions_from_observation",
    }
)
_HEALTH = frozenset({"healthy_reward", "terminate_when_unhealthy", "healthy_z_range"})
_CONTACT = frozenset(
    {
        "contact_cost_weight",
        "contact_force_range",
        "include_cfrc_ext_in_observation",
        "main_body",
    }
)

TASKS = {
    "half_cheetah_v5:HalfCheetahEnv": Task(half_cheetah),
    "swimmer_v5:SwimmerEnv": Task(swimmer),
    "hopper_v5:HopperEnv": Task(hopper, _HEALTH | {"healthy_angle_range", "healthy_state_range"}),
    "walker2d_v5:Walker2dEnv": Task(walker2d, _HEALTH | {"healthy_angle_range"}),
    "ant_v5:AntEnv": Task(ant, _HEALTH | _CONTACT, _main_body, reads_forces=True),
}
"""By entry point in ``gymnasium.envs.mujoco``."""


def find_task(spec: EnvSpec, config: Mapping[str, Any]) -> Task | None:
    """The task of a registered environment, unless ``config`` asks for more than is known here."""
    task = TASKS.get(str(spec.entry_point).removeprefix("gymnasium.envs.mujoco."))
    if task is None or spec.additional_wrappers:
        return None
    asked = {"max_episode_steps": spec.max_episode_steps, **spec.kwargs, **config}
    limit = asked.pop("max_episode_steps")
    is_known = asked.keys() <= _COMMON | task.settings and (limit is None or limit > 0)
    return task if is_known else None
