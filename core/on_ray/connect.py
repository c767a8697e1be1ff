"""How a driver is connected to Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.util.client import ray as client_mode

from rllib.core.logs import Logging
from rllib.core.on_ray import options as keywords
from rllib.core.on_ray.preload import preloading
from rllib.core.on_ray.runtime import RayRuntime

CLIENT = "ray://"
"""How the address of a Ray Client server begins."""


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
    on this machine, else a new one; ``"ray:X"`` is Ray's address ``X``; ``"ray://HOST:PORT"`` is
    that of a Ray Client server, see `client`. One that this process is connected to already is
    used as it is. Raises `ValueError` for options that come too late for it, and `ConnectionError`
    where no Ray Client server answers.
    """
    asked = {
        **keywords.of_machine(amounts, object_store_memory),
        "object_spilling_directory": object_spilling_directory,
        "runtime_env": preloading(runtime_env, preload),
        "namespace": namespace,
        "labels": labels,
        "_system_config": system_config,
        "_temp_dir": temp_dir,
        **keywords.of_logging(logging),
    }
    given = {name: value for name, value in asked.items() if value or value == 0}
    if ray.is_initialized():
        _refuse_late(given)
        return _runtime()
    if address.startswith(CLIENT):
        from rllib.core.on_ray.client import connect_client

        connect_client(address, given, log_to_driver=log_to_driver)
    else:
        ray.init(_rays_address(address), log_to_driver=log_to_driver, **given)
    return _runtime(connected=True)


def _runtime(*, connected: bool = False) -> RayRuntime:
    if not client_mode.is_connected():
        return RayRuntime(connected=connected)
    from rllib.core.on_ray.client import ClientRuntime

    return ClientRuntime(connected=connected)


def _rays_address(ours: str) -> str | None:
    return ours.removeprefix("ray").removeprefix(":") or None


def _refuse_late(given: Mapping[str, Any]) -> None:
    if given:
        raise ValueError(
            f"this process is connected to a Ray already, too late for {', '.join(given)}: "
            "give them to ray.init(), or call core.init() in its place"
        )
