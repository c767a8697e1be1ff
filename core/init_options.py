"""The arguments of ``init``, checked before anything starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rllib.core.options import amount


def machine_amounts(num_cpus: Any, num_gpus: Any, resources: Any) -> dict[str, float]:
    """What is given of the machine's resources, by name.

    Raises `TypeError` or `ValueError` naming what is wrong.
    """
    if not isinstance(resources or {}, Mapping):
        raise TypeError(f"resources must map names to amounts, got {resources!r}")
    for key, word in (("CPU", "num_cpus"), ("GPU", "num_gpus")):
        if key in (resources or {}):
            raise ValueError(f"{key!r} does not go into resources; use {word}=...")
    given = {"CPU": num_cpus, "GPU": num_gpus, **(resources or {})}
    return {_name(name): amount(name, v) for name, v in given.items() if v is not None}


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise TypeError(f"the name of a resource must be a str, got {name!r}")
    return name


def store_bytes(given: Any) -> int | None:
    """The limit of the shared memory; ``None`` for the default."""
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError(f"object_store_memory must be a number of bytes, got {given!r}")
    if not 1 <= given < float("inf"):
        raise ValueError(f"object_store_memory must be a positive number of bytes, got {given!r}")
    return int(given)


def text(name: str, given: Any) -> str:
    """A text that must not be empty if it is given."""
    if given is None:
        return ""
    if not isinstance(given, str):
        raise TypeError(f"{name} must be a str, got {given!r}")
    if not given:
        raise ValueError(f"{name} must not be empty; leave it out instead")
    return given


def folder(name: str, given: Any) -> str:
    """A directory, by its whole path; empty where none is given."""
    if given is None:
        return ""
    if not isinstance(given, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {given!r}")
    if not Path(given).is_absolute():
        raise ValueError(f"{name} must be an absolute path, got {given!r}")
    return str(given)


def module_names(given: Any) -> tuple[str, ...]:
    """Modules to be imported beforehand."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"preload must be a list of names of modules, got {given!r}")
    return tuple(given)
