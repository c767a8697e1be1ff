"""What Ray's top level has and this one does not, with the reason: for the error that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OTHER_LANGUAGES = "the runtime speaks Python only"
_CLIENT = 'use init(address="ray://host:port") for a cluster of Ray behind Ray Client'
_LIBRARY = "it is one of Ray's libraries, not of its core"

ABSENT = {
    "ClientBuilder": _CLIENT,
    "Language": _OTHER_LANGUAGES,
    "LOCAL_MODE": 'use init(address="inline")',
    "SCRIPT_MODE": "a process is a driver or a worker by how it was started",
    "WORKER_MODE": "a process is a driver or a worker by how it was started",
    "client": _CLIENT,
    "cpp_function": _OTHER_LANGUAGES,
    "data": _LIBRARY,
    "java_actor_class": _OTHER_LANGUAGES,
    "java_function": _OTHER_LANGUAGES,
    "rllib": "that is this project's own package: import rllib",
    "serve": _LIBRARY,
    "show_in_dashboard": "there is no dashboard",
    "train": _LIBRARY,
    "tune": _LIBRARY,
    "workflow": _LIBRARY,
}


def missing(module: str, name: str) -> AttributeError:
    """The error for ``name``, which ``module`` does not have."""
    if name in ABSENT:
        return AttributeError(f"{module}.{name} is not supported: {ABSENT[name]}")
    return AttributeError(f"module {module!r} has no attribute {name!r}")


_NO_DASHBOARD = "there is no dashboard"
_CLUSTER = "it belongs to a cluster, and this is one machine"

_INIT_OPTIONS = {
    "_memory": 'give resources={"memory": bytes}',
    "_node_ip_address": _CLUSTER,
    "_node_name": _CLUSTER,
    "_redis_password": _CLUSTER,
    "dashboard_host": _NO_DASHBOARD,
    "dashboard_port": _NO_DASHBOARD,
    "enable_resource_isolation": "workers run in the driver's control group",
    "include_dashboard": _NO_DASHBOARD,
    "job_config": "give namespace and runtime_env by themselves",
    "local_mode": 'use init(address="inline")',
    "proxy_server_url": _NO_DASHBOARD,
}


def check_init_options(given: Mapping[str, Any]) -> None:
    """Options of Ray's ``init`` that this one does not have: accepted where they ask for nothing.

    Raises `ValueError` for one that asks for something, `TypeError` for a name that Ray has not
    either.
    """
    for name, value in given.items():
        if name not in _INIT_OPTIONS:
            raise TypeError(f"init() got an unexpected keyword argument {name!r}")
        if value not in (None, False):
            raise ValueError(f"init({name}={value!r}) is not supported: {_INIT_OPTIONS[name]}")
