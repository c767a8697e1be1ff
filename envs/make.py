"""Vector environments by gymnasium id or by a callable, and the choice of backend."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rllib.envs.async_backend import AsyncBackend
from rllib.envs.atari import AtariEnv, is_atari, make_atari_vector
from rllib.envs.context import EnvContext
from rllib.envs.envpool_backend import EnvPoolBackend, find_task
from rllib.envs.extras import load_maker
from rllib.envs.faults import EnvSetupError, close_env
from rllib.envs.guard import GuardedEnv
from rllib.envs.lookup import find_spec
from rllib.envs.makers import make_from
from rllib.envs.mujoco_tasks import find_task as find_mujoco_task
from rllib.envs.mujoco_vector import MujocoVector
from rllib.envs.packing import packed_dtype
from rllib.envs.restarting import RestartingAsync, RestartingEnv
from rllib.envs.vector import VectorEnv, adapt

Backend = Literal["sync", "async", "vector_entry_point", "mujoco", "ale", "envpool"]
VectorizeMode = Literal["auto", "sync", "async", "vector_entry_point", "ale", "envpool"]
EnvSource = str | Callable[..., gym.Env[Any, Any]]
"""A gymnasium id, or whatever makes an environment from ``env_config`` (a class will do); see
``rllib.envs.makers`` for how it gets that."""


class Spaces(NamedTuple):
    """Spaces of a single environment."""

    observation: gym.Space[Any]
    action: gym.Space[Any]


class HasAgentsError(EnvSetupError):
    """An environment of several agents, where one of a single agent was wanted."""


def make_vector_env(
    env: EnvSource,
    num_envs: int,
    mode: VectorizeMode = "auto",
    env_config: Mapping[str, Any] | None = None,
    autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    is_checked: bool = True,
    restart_after_s: float | None = None,
    num_threads: int = 1,
) -> VectorEnv:
    """Make ``num_envs`` environments behind the one step schema.

    Args:
        env: gymnasium id (``env_config`` becomes the keyword arguments of ``gymnasium.make``), or
            a class or function that makes one of ``env_config``, given whole or by keyword.
        num_envs: environments in the batch, at least 1.
        mode: see ``choose_backend``; the choice is the result's attribute ``backend``.
        env_config: arguments of the environment; of Atari games those of
            ``rllib.envs.atari.SETTINGS``, with "envpool" those of ``envpool.make``.
        autoreset_mode: asked of the sync, async, mujoco and ale backends; the others have the mode
            that they declare. SAME_STEP wastes no row on resets.
        is_checked: whether what environments return is compared with their spaces, by us and by
            gymnasium.
        restart_after_s: whether single environments that fail are made anew, and seconds that a
            step of one in a process of its own may take. It needs the sync or async backend, and
            "auto" then takes sync.
        num_threads: with which the mujoco backend may simulate; the results are the same.

    Raises:
        EnvSetupError: unknown id, no such backend for it, a package is missing, or the environment
            cannot be made.
    """
    config = EnvContext.of(env_config)
    restarts = restart_after_s is not None
    backend = choose_backend(env, "sync" if restarts and mode == "auto" else mode, config)
    if restarts and backend not in ("sync", "async"):
        raise EnvSetupError(
            f"the environments of backend {backend!r} are one whole, of which no single one can be "
            f"made anew (restart_failed_sub_environments); {_OTHERS}"
        )
    if backend in ("ale", "mujoco", "vector_entry_point"):
        with _named_errors(env, config):
            spec = find_spec(str(env))
            vector = _make_whole(backend, spec, num_envs, config, autoreset_mode, num_threads)
    else:
        vector = _make(backend, env, num_envs, config, autoreset_mode, is_checked, restart_after_s)
    adapted = adapt(vector, is_checked=is_checked)
    adapted.backend = backend
    return adapted


def choose_backend(
    env: EnvSource, mode: VectorizeMode, env_config: Mapping[str, Any] | None = None
) -> Backend:
    """What steps the environments: ``mode`` itself, once it is known to be possible.

    "auto" is the fastest that changes nothing about the environment: ALE's own for Atari games,
    ours for gymnasium's MuJoCo tasks as far as it knows the settings in ``env_config``, the
    registered vector entry point where there is one, "sync" for all else. "envpool" has
    implementations of its own and is always to be asked for.

    Raises:
        EnvSetupError: unknown id, or there is no such backend for it; names one that there is.
    """
    if mode == "envpool":
        if not isinstance(env, str):
            raise EnvSetupError(f"EnvPool makes environments by id, not {env!r}; use 'sync'")
        find_task(env)
        return mode
    spec = find_spec(env) if isinstance(env, str) else None
    if is_atari(env) and mode in _VECTOR_FORMS:
        return "ale"
    if spec and mode in _VECTOR_FORMS and find_mujoco_task(spec, env_config or {}):
        return "mujoco"
    if mode == "ale" and not is_atari(env):
        raise EnvSetupError(f"{env!r} is no Atari game ('ALE/...'); {_OTHERS}")
    has_entry_point = spec is not None and spec.vector_entry_point and not spec.additional_wrappers
    if mode == "vector_entry_point" and not has_entry_point:
        raise EnvSetupError(f"environment {env!r} registers no vector entry point; {_OTHERS}")
    if mode == "auto":
        return "vector_entry_point" if has_entry_point else "sync"
    return mode


_VECTOR_FORMS = ("auto", "vector_entry_point")
_OTHERS = "use gym_env_vectorize_mode 'auto', 'sync' or 'async'"


def probe_spaces(
    env: EnvSource,
    env_config: Mapping[str, Any] | None = None,
    mode: VectorizeMode = "auto",
    is_checked: bool = True,
) -> Spaces:
    """Spaces of a single environment, from one that is made and closed at once.

    Raises:
        EnvSetupError: the environment cannot be made, does not say what its spaces are, or its
            observations have no fixed shape or nothing in them.
    """
    spaces = _probe(env, env_config, mode, is_checked)
    packed_dtype(spaces.observation)
    return spaces


def _probe(
    env: EnvSource, env_config: Mapping[str, Any] | None, mode: VectorizeMode, is_checked: bool
) -> Spaces:
    config = dict(env_config or {})
    if mode == "envpool":
        pool = EnvPoolBackend(str(env), 1, config)
        return Spaces(pool.single_observation_space, pool.single_action_space)
    single = make_single_env(env, config, is_checked)
    try:
        if hasattr(single, "possible_agents"):
            raise HasAgentsError(
                f"{single} has several agents; name their policies by "
                "config.multi_agent(policies=..., policy_mapping_fn=...)"
            )
        return Spaces(_space_of(single, "observation_space"), _space_of(single, "action_space"))
    finally:
        close_env(single)


def _space_of(env: gym.Env[Any, Any], name: str) -> gym.Space[Any]:
    space = getattr(env, name, None)
    if not isinstance(space, gym.Space):
        raise EnvSetupError(f"{env} has no {name}: it is {space!r}; set it in the constructor")
    return space


def make_single_env(
    env: EnvSource, config: Mapping[str, Any], is_checked: bool = True
) -> gym.Env[Any, Any]:
    """One environment, as it is in every vector.

    Args:
        env: gymnasium id, or what makes an environment.
        config: its arguments.
        is_checked: whether gymnasium's own checks are around one that is made by id.

    Raises:
        EnvSetupError: unknown id, a package is missing, or the environment cannot be made.
    """
    with _named_errors(env, config):
        if isinstance(env, str):
            made = _by_id(env, dict(config), is_checked)
        else:
            made = make_from(env, config)
    if not isinstance(made, gym.Env):
        raise EnvSetupError(f"environment {env!r} made {made!r}, which is no gymnasium.Env")
    return made


def _by_id(env_id: str, config: dict[str, Any], is_checked: bool) -> gym.Env[Any, Any]:
    spec = find_spec(env_id)
    load_maker(env_id, spec.entry_point)
    if is_atari(env_id):
        return AtariEnv(spec.kwargs["game"], config)
    return gym.make(spec, **({} if is_checked else {"disable_env_checker": True}) | config)


def _make(
    backend: Backend,
    env: EnvSource,
    num_envs: int,
    config: dict[str, Any],
    autoreset: AutoresetMode,
    is_checked: bool,
    restart_after_s: float | None,
) -> gym.vector.VectorEnv[Any, Any, Any]:
    if backend == "envpool":
        return EnvPoolBackend(str(env), num_envs, config)
    around = GuardedEnv.of if restart_after_s is None else RestartingEnv
    makers = [_maker(env, config, index, is_checked, around) for index in range(num_envs)]
    if backend == "async" and restart_after_s is not None:
        return RestartingAsync(makers, autoreset, restart_after_s)
    kind = AsyncBackend if backend == "async" else SyncVectorEnv
    return kind(makers, copy=False, autoreset_mode=autoreset)


def _make_whole(
    backend: Backend,
    spec: EnvSpec,
    num_envs: int,
    config: dict[str, Any],
    autoreset: AutoresetMode,
    num_threads: int,
) -> gym.vector.VectorEnv[Any, Any, Any]:
    """Environments that are not made one by one."""
    if backend == "ale":
        return make_atari_vector(spec.kwargs["game"], num_envs, config, autoreset)
    if backend == "mujoco":
        return MujocoVector(spec, num_envs, config, autoreset, num_threads)
    return gym.make_vec(_faster(spec), num_envs, vectorization_mode=backend, **config)


def _faster(spec: EnvSpec) -> EnvSpec:
    """With a vector entry point of our own where there is one."""
    own = _OWN_VECTORS.get(str(spec.vector_entry_point))
    return replace(spec, vector_entry_point=own) if own else spec


_OWN_VECTORS = {
    "gymnasium.envs.classic_control.cartpole:CartPoleVectorEnv": (
        "rllib.envs.cartpole_vector:FastCartPole"
    )
}
"""By gymnasium's entry point; they come to the same numbers."""


def _maker(
    env: EnvSource,
    config: dict[str, Any],
    index: int,
    is_checked: bool,
    around: Callable[[Callable[[], gym.Env[Any, Any]], int, bool], gym.Env[Any, Any]],
) -> Callable[[], gym.Env[Any, Any]]:
    own = EnvContext.of(config, index)
    return lambda: around(lambda: make_single_env(env, own, is_checked), index, is_checked)


@contextmanager
def _named_errors(env: EnvSource, config: Mapping[str, Any]) -> Iterator[None]:
    """Whatever is raised while an environment is made says which, and what may be missing."""
    try:
        yield
    except EnvSetupError:
        raise
    except (Exception, SystemExit) as error:
        raise EnvSetupError(
            f"environment {env!r} cannot be made with env_config {dict(config)}: "
            f"{type(error).__name__}: {error}"
        ) from error
