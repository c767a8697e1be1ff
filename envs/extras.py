"""Environments of packages that are not installed with this one, and what installs them."""

import warnings
from importlib import import_module
from typing import Any, NamedTuple

import gymnasium as gym

from rllib.envs.faults import EnvSetupError


class Extra(NamedTuple):
    """An optional dependency.

    Attributes:
        name: ``pip install "rllib-scale[name]"`` brings it.
        module: what is imported of it.
    """

    name: str
    module: str

    @property
    def hint(self) -> str:
        """What to do where it is missing."""
        return f'pip install "rllib-scale[{self.name}]"'

    def load(self, wanted_by: str) -> Any:
        """Import its module.

        Raises:
            EnvSetupError: it is not installed, or cannot be imported; names the extra.
        """
        try:
            with warnings.catch_warnings():
                # Box2D's import ends the process where its deprecation warnings are errors.
                warnings.simplefilter("ignore")
                return import_module(self.module)
        except Exception as error:  # a package that is half installed may raise anything
            raise EnvSetupError(
                f"{wanted_by} needs {self.module.partition('.')[0]}, which cannot be imported "
                f"({type(error).__name__}: {error}); {self.hint}"
            ) from error


ATARI = Extra("atari", "ale_py.vector_env")
ENVPOOL = Extra("envpool", "envpool")
MINATAR = Extra("minatar", "minatar.gym")
MUJOCO = Extra("mujoco", "mujoco")
PETTINGZOO = Extra("multiagent", "pettingzoo")

_MADE_BY = {
    "gymnasium.envs.mujoco": MUJOCO,
    "gymnasium.envs.box2d": Extra("box2d", "Box2D"),
}


def register_namespace(env_id: str) -> None:
    """Let the package of ``ALE/...`` or ``MinAtar/...`` register its environments, once.

    Raises:
        EnvSetupError: the package is not installed.
    """
    namespace = env_id.rpartition("/")[0]
    if any(known.startswith(f"{namespace}/") for known in gym.registry):
        return
    if namespace == "ALE":
        ATARI.load(f"environment {env_id!r}")  # registers as it is imported
    elif namespace == "MinAtar":
        MINATAR.load(f"environment {env_id!r}").register_envs()


def load_maker(env_id: str, entry_point: object) -> None:
    """Import what an environment of gymnasium's own is made with, before it is made.

    Raises:
        EnvSetupError: it is not installed.
    """
    for part, extra in _MADE_BY.items():
        if str(entry_point).startswith(part):
            extra.load(f"environment {env_id!r}")
