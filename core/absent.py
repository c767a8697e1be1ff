"""What Ray's top level has and this one does not, with the reason: for the error that says so."""

from __future__ import annotations

_OTHER_LANGUAGES = "the runtime speaks Python only"
_CLIENT = 'use init(address="ray://host:port") for a cluster of Ray behind Ray Client'
_LIBRARY = "it is one of Ray's libraries, not of its core"

ABSENT = {
    "ClientBuilder": _CLIENT,
    "Language": _OTHER_LANGUAGES,
    "LoggingConfig": "give init() logging_level and logging_format",
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
