"""The engines under test."""

import importlib
import os
from typing import Any

import psutil

from rllib import core
from rllib.core import api
from rllib.core.native.driver import DriverRuntime

ENGINES = {"inline": "inline", "native": "local", "ray": "ray"}
"""Their names, and the addresses by which `core.init` knows them."""

LABELS = {"zone": "b"}
"""Of the machine, on every engine."""

if os.environ.get("RLLIB_PORTABLE"):  # Ray has but one way to work, which is tried without this
    del ENGINES["ray"]


def start(name: str, **given: Any) -> core.api.Context:
    """Start an engine with two CPUs, or on the Ray that is shared, which has as many."""
    if name == "ray" and _ray().is_initialized():
        return core.init(address="ray", **given)
    # Ray prints what it thinks of a dying worker; it may not.
    options = {"num_cpus": 2, "labels": LABELS, "log_to_driver": name != "ray", **given}
    return core.init(address=ENGINES[name], **options)


def is_idle() -> bool:
    """Whether nobody holds a CPU."""
    return core.available_resources().get("CPU") == core.cluster_resources()["CPU"]


def start_ray() -> None:
    """Connect this process to a new Ray, on which `start` then starts the engine."""
    _ray().init(num_cpus=2, labels=LABELS, include_dashboard=False, log_to_driver=False)


def end_ray() -> None:
    """End it."""
    _ray().shutdown()


def _ray() -> Any:
    return importlib.import_module("ray")


def on(engine: str, ours: str, *, ray: str) -> str:
    """What the text of an error matches: Ray says the same in other words."""
    return ray if engine == "ray" else ours


def native_engine() -> DriverRuntime:
    """The native engine that runs in this process, to look inside."""
    found = api.runtime()
    assert isinstance(found, DriverRuntime)
    return found


def template() -> psutil.Process:
    """The one child of this process that workers are forked from."""
    children = psutil.Process().children()
    (found,) = [child for child in children if "template" in " ".join(child.cmdline())]
    return found
