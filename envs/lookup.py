"""Whether an environment id exists, before anything is started for it."""

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from importlib import import_module

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from rllib.envs.extras import register_namespace
from rllib.envs.faults import EnvSetupError

_OLD_ATARI = re.compile(r"(?:\w+/)?([A-Z]\w*?)(NoFrameskip|Deterministic)?-v\d+")


def find_spec(env_id: str) -> EnvSpec:
    """The registered specification of a gymnasium id.

    ``module:Id-v0`` imports ``module`` first, which is expected to register the id; the packages
    of ``ALE/...`` and ``MinAtar/...`` need not be named.

    Raises:
        EnvSetupError: unknown id, or its module cannot be imported; names the nearest one, or the
            extra that is to be installed.
    """
    module, colon, name = env_id.rpartition(":")
    if colon:
        _import(module, env_id)
    if name not in gym.registry:
        register_namespace(name)
    if name in gym.registry:
        return gym.registry[name]
    if guess := nearest(name, gym.registry) or _of_atari(name):
        raise EnvSetupError(
            f"unknown environment {env_id!r}; did you mean {module + colon + guess!r}?"
        )
    if colon:
        raise EnvSetupError(_neither(module, name))
    raise EnvSetupError(
        f"unknown environment {env_id!r}; if a package registers it, name the package as well: "
        f"'package:{name}'"
    )


def _neither(module: str, name: str) -> str:
    """What to say of ``module:name`` that is neither code in the module nor an id."""
    makers = [each for each, value in vars(import_module(module)).items() if callable(value)]
    close = get_close_matches(name, makers, n=1, cutoff=0.75)
    hint = f"; did you mean {module + ':' + close[0]!r}?" if close else ""
    text = f"unknown environment {module + ':' + name!r}: {module} has no {name!r}"
    return f"{text}, and importing it registers no environment of that id{hint}"


def _import(module: str, env_id: str) -> None:
    try:
        import_module(module)
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        raise EnvSetupError(
            f"the module of {env_id!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def nearest(name: str, known: Collection[str]) -> str | None:
    """Another version of the environment of that name, or one of a similar name."""
    similar = get_close_matches(name, known, n=1, cutoff=0.75)
    return _other_version(name, known) or next(iter(similar), None)


def _of_atari(name: str) -> str | None:
    """What a game of Atari is called today that was ``PongNoFrameskip-v4``, or ``Pong-v5``."""
    found = _OLD_ATARI.fullmatch(name)
    guess = f"ALE/{found[1]}-v5" if found else ""
    try:
        register_namespace(guess)
    except EnvSetupError:  # without the extra the old endings tell
        return guess if found and found[2] else None
    return guess if guess in gym.registry else None


def _other_version(name: str, known: Iterable[str]) -> str | None:
    """The newest version of the environment of that name, whatever the case."""
    versions = [key for key in known if _base(key) == _base(name)]
    return max(versions, key=lambda key: int(key.rpartition("-v")[2] or 0), default=None)


def _base(name: str) -> str:
    return (name.rpartition("-v")[0] or name).lower()
