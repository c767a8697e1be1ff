"""What Ray's workers find imported already: `init`'s ``preload``.

The modules are named in a variable, and the function is known to Ray by its name: a driver that
comes through Ray Client could not send it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

_VARIABLE = "RLLIB_RAY_PRELOAD"


def preloading(env: Mapping[str, Any], modules: Sequence[str]) -> dict[str, Any]:
    """The runtime environment ``env``, whose workers begin by importing ``modules``."""
    if not modules:
        return dict(env)
    variables = {**env.get("env_vars", {}), _VARIABLE: ",".join(modules)}
    hook = f"{import_modules.__module__}.{import_modules.__name__}"
    return {**env, "env_vars": variables, "worker_process_setup_hook": hook}


def import_modules() -> None:
    """In a worker, before anything else."""
    for module in os.environ[_VARIABLE].split(","):
        importlib.import_module(module)
