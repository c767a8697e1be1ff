"""The engines under test."""

import os
from typing import Any

from rllib import core

ENGINES = {"inline": "inline", "native": "local", "ray": "ray"}
"""Their names, and the addresses by which `core.init` knows them."""

if os.environ.get("RLLIB_PORTABLE"):  # Ray has but one way to work, which is tried without this
    del ENGINES["ray"]


def start(name: str, **given: Any) -> core.api.Context:
    """Start an engine with two CPUs. Ray prints what it thinks of a dying worker; it may not."""
    options = {"num_cpus": 2, "log_to_driver": name != "ray", **given}
    return core.init(address=ENGINES[name], **options)


def on(engine: str, ours: str, *, ray: str) -> str:
    """What the text of an error matches: Ray says the same in other words."""
    return ray if engine == "ray" else ours
