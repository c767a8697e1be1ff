"""State of one environment and of the wrappers around it, as a state tree.

Who offers ``get_state`` and ``set_state`` tells it himself, with all that lies within. Of others it
is known here which attributes change from step to step, by the very class: a class derived from
one may have more. A wrapper that has nothing of its own has no state.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym

from rllib.envs.generators import generator_state, set_generator_state
from rllib.envs.minatar_state import MinAtarState
from rllib.envs.trees import StateTree, tree_of, value_like


class StateMisfitError(TypeError):
    """A state is that of other environments."""


@runtime_checkable
class Restorable(Protocol):
    """An environment that tells its whole state, random numbers included, as a state tree."""

    def get_state(self) -> StateTree | None:
        """Nested dicts with string keys of arrays, numbers, text and lists of those; ``None`` where
        it has none just now."""

    def set_state(self, state: StateTree) -> None:
        """Go on exactly from a state of ``get_state``."""


_TRANSFORMS = "gymnasium.wrappers.transform_"
_CLASSIC = "gymnasium.envs.classic_control."
_TOY = "gymnasium.envs.toy_text."

CHANGES: Mapping[str, tuple[str, ...]] = {
    "gymnasium.wrappers.common:TimeLimit": ("_elapsed_steps",),
    "gymnasium.wrappers.common:OrderEnforcing": ("_has_reset",),
    "gymnasium.wrappers.common:PassiveEnvChecker": (),  # what it has looked at already
    "gymnasium.wrappers.common:RecordEpisodeStatistics": (
        *("episode_count", "episode_start_time", "episode_returns", "episode_lengths"),
    ),
    **{
        f"{_TRANSFORMS}observation:{name}Observation": ()
        for name in (
            *("Transform", "Filter", "Flatten", "Grayscale"),
            *("Resize", "Reshape", "Rescale", "Dtype"),
        )
    },
    **{
        f"{_TRANSFORMS}action:{name}Action": ()
        for name in ("Transform", "Clip", "Rescale", "Discretize")
    },
    **{f"{_TRANSFORMS}reward:{name}Reward": () for name in ("Transform", "Clip")},
    "gymnasium.wrappers.stateful_observation:FrameStackObservation": ("obs_queue",),
    "gymnasium.wrappers.stateful_observation:TimeAwareObservation": ("timesteps",),
    "rllib.envs.guard:GuardedEnv": ("num_steps",),
    "rllib.envs.restarting:RestartingEnv": ("num_restarts", "_root"),
    f"{_CLASSIC}cartpole:CartPoleEnv": ("state", "steps_beyond_terminated"),
    "rllib.envs.stateless_cartpole:StatelessCartPole": ("state", "steps_beyond_terminated"),
    f"{_CLASSIC}pendulum:PendulumEnv": ("state", "last_u"),
    f"{_CLASSIC}acrobot:AcrobotEnv": ("state",),
    f"{_CLASSIC}mountain_car:MountainCarEnv": ("state",),
    f"{_CLASSIC}continuous_mountain_car:Continuous_MountainCarEnv": ("state",),
    f"{_TOY}frozen_lake:FrozenLakeEnv": ("s", "lastaction"),
    f"{_TOY}cliffwalking:CliffWalkingEnv": ("s", "lastaction"),
    f"{_TOY}taxi:TaxiEnv": ("s", "lastaction", "fickle_step"),
    f"{_TOY}blackjack:BlackjackEnv": ("dealer", "player"),
    "rllib.envs.masked_walk:MaskedWalk": ("place", "num_steps"),
    "rllib.envs.counter:CounterEnv": ("episode", "t", "num_steps"),
}
"""The attributes that steps and resets change, by class, as ``module:Class``."""

TELLERS: Mapping[str, Callable[[Any], Restorable]] = {"minatar.gym:BaseEnv": MinAtarState}
"""What tells the state of those whose attributes are not the whole of it, by class."""

_OF_ANY_WRAPPER = frozenset(
    ("env", "_saved_kwargs", "_action_space", "_observation_space", "_metadata", "_cached_spec")
)


class TellsState:
    """For wrappers that are the outermost: by this name vectors ask them, also in processes."""

    @property
    def single_state(self) -> StateTree | None:
        """See ``get_single_state``."""
        assert isinstance(self, gym.Env)
        return get_single_state(self)

    @single_state.setter
    def single_state(self, state: StateTree) -> None:
        assert isinstance(self, gym.Env)
        set_single_state(self, state)


def get_single_state(env: gym.Env[Any, Any]) -> StateTree | None:
    """Of an environment and all around it; ``None`` where that of a part is not to be had."""
    parts: list[StateTree] = []
    for part in _parts(env):
        told = _told(part)
        if told is None:
            return None
        parts.append({"of": name_of(part), "is": told})
    return {"parts": parts}


def set_single_state(env: gym.Env[Any, Any], state: StateTree) -> None:
    """Go on from a state of ``get_single_state``.

    Raises:
        StateMisfitError: it is of another environment, or one in other wrappers.
    """
    parts, told = _parts(env), state["parts"]
    ours, theirs = [name_of(part) for part in parts], [each["of"] for each in told]
    if ours != theirs:
        raise StateMisfitError(f"a state of {' in '.join(theirs)}, not {' in '.join(ours)}")
    for part, each in zip(parts, told, strict=True):
        _put(part, each["is"])


def _parts(env: gym.Env[Any, Any]) -> list[gym.Env[Any, Any]]:
    """From the outermost wrapper to the one that tells of all within it, or the environment."""
    parts = [env]
    while isinstance(parts[-1], gym.Wrapper) and _teller(parts[-1]) is None:
        parts.append(parts[-1].env)
    return parts


def _teller(env: gym.Env[Any, Any]) -> Restorable | None:
    """What tells the state of all within."""
    if isinstance(env, Restorable):
        return env
    found = TELLERS.get(name_of(env))
    return None if found is None else found(env)


def name_of(thing: object) -> str:
    """Its class, as ``module:Class``."""
    return f"{type(thing).__module__}:{type(thing).__qualname__}"


def _told(env: gym.Env[Any, Any]) -> StateTree | None:
    if (teller := _teller(env)) is not None:
        return offered_state(teller)
    names = CHANGES.get(name_of(env))
    if names is None:
        return {} if isinstance(env, gym.Wrapper) and _has_nothing(env) else None
    state = {name: tree_of(getattr(env, name)) for name in names if hasattr(env, name)}
    if not isinstance(env, gym.Wrapper):
        state |= _drawn(env)
    return state


def _has_nothing(wrapper: gym.Wrapper[Any, Any, Any, Any]) -> bool:
    return vars(wrapper).keys() <= _OF_ANY_WRAPPER


def _drawn(env: gym.Env[Any, Any]) -> StateTree:
    """The state of its generator, if it has one by now."""
    return {} if env._np_random is None else {"np_random": generator_state(env._np_random)}


def offered_state(env: Restorable) -> StateTree | None:
    """What it offers, if that is a state tree: others may use the name for what they like."""
    state: Any = env.get_state()
    if state is None:
        return None
    try:
        tree = tree_of(state)
        if not isinstance(tree, dict):
            raise TypeError(f"is {type(state).__name__}")
    except TypeError as error:
        text = f"get_state() of {name_of(env)} {error}: its episodes begin anew after a restore"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return None
    return tree


def _put(env: gym.Env[Any, Any], told: StateTree) -> None:
    if (teller := _teller(env)) is not None:
        teller.set_state(told)
        return
    for name, value in told.items():
        if name == "np_random":
            set_generator_state(env.np_random, value)
        else:
            setattr(env, name, value_like(getattr(env, name, None), value))
