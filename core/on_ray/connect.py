"""How a driver is connected to Ray."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray

from rllib.core.logs import Logging
from rllib.core.on_ray import options as keywords
from rllib.core.on_ray.runtime import RayRuntime


def connect(
    address: str,
    namespace: str,
    amounts: Mapping[str, float],
    *,
    object_store_memory: int | None,
    object_spilling_directory: str | None,
    labels: Mapping[str, str],
    logging: Logging,
    log_to_driver: bool,
    preload: Sequence[str],
    runtime_env: Mapping[str, Any],
    system_config: Mapping[str, Any] | None,
    temp_dir: str,
) -> RayRuntime:
    """The engine on the Ray that ``address`` names.

    ``"ray"`` means to Ray what no address does: the cluster of ``RAY_ADDRESS``, the one that runs
    on this machine, else a new one; ``"ray:X"`` is Ray's address ``X``. One that this process is
    connected to already is used as it is. Raises `ValueError` for options that come too late for
    it, and for the address of a Ray Client server.
    """
    asked = {
        **keywords.of_machine(amounts, object_store_memory),
        "object_spilling_directory": object_spilling_directory,
        "runtime_env": _environment(runtime_env, preload),
        "namespace": namespace,
        "labels": labels,
        "_system_config": system_config,
        "_temp_dir": temp_dir,
        **keywords.of_logging(logging),
    }
    given = {name: value for name, value in asked.items() if value or value == 0}
    if ray.is_initialized():
        _refuse_late(given)
        return RayRuntime()
    ray.init(_rays_address(address), log_to_driver=log_to_driver, **given)
    return RayRuntime(connected=True)


def _rays_address(ours: str) -> str | None:
    if ours.startswith("ray://"):
        raise ValueError(
            f"{ours!r} is the address of a Ray Client server, through which this engine does not "
            "work; run the driver on a node of the cluster, with 'ray:auto' or 'ray:host:port'"
        )
    return ours.removeprefix("ray").removeprefix(":") or None


def _refuse_late(given: Mapping[str, Any]) -> None:
    if given:
        raise ValueError(
            f"this process is connected to a Ray already, too late for {', '.join(given)}: "
            "give them to ray.init(), or call core.init() in its place"
        )


def _environment(given: Mapping[str, Any], preload: Sequence[str]) -> dict[str, Any]:
    hook = {"worker_process_setup_hook": _importing(preload)} if preload else {}
    return {**given, **hook}


def _importing(modules: Sequence[str]) -> Callable[[], None]:
    def setup() -> None:
        for module in modules:
            importlib.import_module(module)

    return setup
