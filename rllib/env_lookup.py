"""Whether an environment id exists, before anything is started for it."""

from collections.abc import Iterable
from importlib import import_module

from rllib.config_names import nearest


def env_problem(env_id: str) -> str | None:
    """Say why ``env_id`` cannot be made, or return None if gymnasium knows it.

    ``module:Id-v0`` imports ``module`` first, which is expected to register the id.
    """
    module, colon, name = env_id.rpartition(":")
    if colon:
        try:
            import_module(module)
        except Exception as error:  # a user's module may raise anything while it is imported
            reason = f"{type(error).__name__}: {error}"
            return f"the module of {env_id!r} cannot be imported: {reason}"
    from gymnasium.envs.registration import registry

    if name in registry:
        return None
    guess = _other_version(name, registry) or nearest(name, registry, cutoff=0.75)
    if guess:
        return f"unknown environment {env_id!r}; did you mean {guess!r}?"
    return (
        f"unknown environment {env_id!r}; if a package registers it, name the package as well: "
        f"'package:{name}'"
    )


def _other_version(name: str, known: Iterable[str]) -> str | None:
    """The newest version of the environment of that name, whatever the case."""
    base = _base(name)
    return max((key for key in known if _base(key) == base), default=None)


def _base(name: str) -> str:
    return (name.rpartition("-v")[0] or name).lower()
