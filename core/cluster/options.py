"""From the arguments of `init` to a driver of a cluster: what there is on one, and what is not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib.core.cluster.attached import AttachedRuntime
from rllib.core.cluster.credentials import Tls

TLS_VARIABLES = ("RLLIB_TLS_CERT", "RLLIB_TLS_KEY", "RLLIB_TLS_CA")
"""Environment variables that name the files of `Tls`."""

INSECURE_VARIABLE = "RLLIB_INSECURE"
"""Environment variable that, with any value but 0, says that the network is trusted."""


def is_network_trusted() -> bool:
    """Whether the environment says so."""
    return os.environ.get(INSECURE_VARIABLE, "") not in ("", "0")


def tls_of(cert: str = "", key: str = "", ca: str = "") -> Tls | None:
    """The files that are given, or else those of the environment; all three or none.

    Raises `ValueError` where some are missing.
    """
    given = dict(zip(TLS_VARIABLES, (cert, key, ca), strict=True))
    paths = {name: path or os.environ.get(name, "") for name, path in given.items()}
    if not any(paths.values()):
        return None
    if not all(paths.values()):
        names = ", ".join(name for name, path in paths.items() if not path)
        raise ValueError(f"TLS takes a certificate, its key and a CA: missing is {names}")
    return Tls(*(str(Path(path).absolute()) for path in paths.values()))


def connect_driver(
    address: str,
    namespace: str,
    amounts: Mapping[str, float],
    *,
    labels: Mapping[str, str],
    object_store_memory: int | None,
    object_spilling_directory: str | None,
    log_to_driver: bool,
    preload: tuple[str, ...],
    runtime_env: Mapping[str, Any],
    temp_dir: str,
) -> AttachedRuntime:
    """Be a driver there. ``preload`` is the node's to have: workers import the rest themselves.

    Raises `ValueError` for what a node has, and not its driver; `ClusterError` where the cluster
    cannot be reached.
    """
    del preload
    asked = {
        "labels": labels,
        "object_store_memory": object_store_memory,
        "object_spilling_directory": object_spilling_directory,
        "_temp_dir": temp_dir,
    }
    for name, value in asked.items():
        if value:
            raise ValueError(
                f"init({name}=...) is about a node, and {address} has nodes already: give it to "
                "`rllib start`"
            )
    from rllib.core.cluster.launch import connect

    return connect(
        address,
        namespace,
        amounts,
        log_to_driver=log_to_driver,
        runtime_env=runtime_env,
        tls=tls_of(),
        insecure=is_network_trusted(),
    )
