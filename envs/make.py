"""Vector environments by gymnasium id or by a callable, and the choice of backend."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rllib.envs.async_backend import AsyncBackend
from rllib.envs.faults import EnvSetupError, close_env
from rllib.envs.guard import GuardedEnv
from rllib.envs.lookup import find_spec
from rllib.envs.vector import VectorEnv, adapt

VectorizeMode = Literal["auto", "sync", "async", "vector_entry_point", "ale", "envpool"]
EnvSource = str | Callable[[dict[str, Any]], gym.Env[Any, Any]]
"""A gymnasium id, or whatever makes an environment from ``env_config`` (a class will do)."""


class Spaces(NamedTuple):
    """Spaces of a single environment."""

    observation: gym.Space[Any]
    action: gym.Space[Any]


def make_vector_env(
    env: EnvSource,
    num_envs: int,
    mode: VectorizeMode = "auto",
    env_config: Mapping[str, Any] | None = None,
    autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
) -> VectorEnv:
    """Make ``num_envs`` environments behind the one step schema.

    Args:
        env: gymnasium id (``env_config`` becomes the keyword arguments of ``gymnasium.make``), or
            a callable that takes ``env_config`` as a dict and returns an environment.
        num_envs: environments in the batch, at least 1.
        mode: ``"auto"`` takes the vector entry point where one is registered, else ``"sync"``.
        env_config: arguments of the environment.
        autoreset_mode: asked of the sync and async backends. SAME_STEP wastes no row on resets;
            a vector entry point has the mode that it declares.

    Raises:
        EnvSetupError: unknown id, no such entry point, or the environment cannot be made.
    """
    config = dict(env_config or {})
    if _resolve(env, mode) == "vector_entry_point":
        return adapt(_make_entry_point(str(env), num_envs, config))
    makers = [_guarded_maker(env, config, index) for index in range(num_envs)]
    backend = AsyncBackend if _resolve(env, mode) == "async" else SyncVectorEnv
    vector = backend(makers, copy=False, autoreset_mode=autoreset_mode)
    return adapt(vector, is_guarded=True)


def probe_spaces(env: EnvSource, env_config: Mapping[str, Any] | None = None) -> Spaces:
    """Spaces of a single environment, from one that is made and closed at once.

    Raises:
        EnvSetupError: the environment cannot be made, or does not say what its spaces are.
    """
    single = _make_single(env, dict(env_config or {}))
    try:
        return Spaces(_space_of(single, "observation_space"), _space_of(single, "action_space"))
    finally:
        close_env(single)


def _space_of(env: gym.Env[Any, Any], name: str) -> gym.Space[Any]:
    space = getattr(env, name, None)
    if not isinstance(space, gym.Space):
        raise EnvSetupError(f"{env} has no {name}: it is {space!r}; set it in the constructor")
    return space


def _resolve(env: EnvSource, mode: VectorizeMode) -> VectorizeMode:
    if mode == "auto":
        return "vector_entry_point" if _has_entry_point(env) else "sync"
    if mode == "vector_entry_point" and not _has_entry_point(env):
        raise EnvSetupError(
            f"environment {env!r} registers no vector entry point; "
            "use gym_env_vectorize_mode 'auto', 'sync' or 'async'"
        )
    return mode


def _has_entry_point(env: EnvSource) -> bool:
    if not isinstance(env, str):
        return False
    spec = find_spec(env)
    return spec.vector_entry_point is not None and not spec.additional_wrappers


def _make_entry_point(
    env_id: str, num_envs: int, config: dict[str, Any]
) -> gym.vector.VectorEnv[Any, Any, Any]:
    try:
        return gym.make_vec(
            find_spec(env_id), num_envs=num_envs, vectorization_mode="vector_entry_point", **config
        )
    except Exception as error:
        raise EnvSetupError(_cannot_make(env_id, config, error)) from error


def _guarded_maker(
    env: EnvSource, config: dict[str, Any], index: int
) -> Callable[[], gym.Env[Any, Any]]:
    return lambda: GuardedEnv(_make_single(env, config), index)


def _make_single(env: EnvSource, config: dict[str, Any]) -> gym.Env[Any, Any]:
    try:
        made = gym.make(find_spec(env), **config) if isinstance(env, str) else env(dict(config))
    except EnvSetupError:
        raise
    except (Exception, SystemExit) as error:
        raise EnvSetupError(_cannot_make(env, config, error)) from error
    if not isinstance(made, gym.Env):
        raise EnvSetupError(f"environment {env!r} made {made!r}, which is no gymnasium.Env")
    return made


def _cannot_make(env: EnvSource, config: dict[str, Any], error: BaseException) -> str:
    return (
        f"environment {env!r} cannot be made with env_config {config}: "
        f"{type(error).__name__}: {error}"
    )
