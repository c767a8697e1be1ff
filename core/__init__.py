"""Tasks, actors and objects: distributed computing with the API shape that Ray users know.

::

    from rllib import core

    @core.remote
    class Counter:
        def __init__(self): self.n = 0
        def add(self, k): self.n += k; return self.n

    counter = Counter.remote()
    refs = [counter.add.remote(1) for _ in range(3)]
    assert core.get(refs) == [1, 2, 3]

Map of the package, from the user inwards::

    api            init, get, put, wait, ...: the process's one runtime
    remote         @remote, ActorHandle: what a call looks like
    runtime        the abstract roles; every engine implements them
    inline         engine 1: in this process, serial, deterministic
    native/        engine 2: forked workers, unix sockets, shared memory
    serialization  values to bytes and back, large buffers out of band
    util/          on top of all this: pools, queues, groups, collectives, metrics
"""

if __name__ == "core":
    raise ImportError("this folder is the package rllib.core; import it by that name")

import importlib
from typing import Any

from rllib.core import actor, exceptions
from rllib.core.api import (
    available_resources,
    cancel,
    cluster_resources,
    get,
    get_actor,
    get_gpu_ids,
    init,
    is_initialized,
    kill,
    nodes,
    put,
    shutdown,
    timeline,
    wait,
)
from rllib.core.generator import ObjectRefGenerator
from rllib.core.object_ref import ObjectRef
from rllib.core.remote import ActorClass, ActorHandle, RemoteFunction, method, remote
from rllib.core.runtime_context import get_runtime_context

__all__ = [
    "ActorClass",
    "ActorHandle",
    "ObjectRef",
    "ObjectRefGenerator",
    "RemoteFunction",
    "actor",
    "available_resources",
    "cancel",
    "cluster_resources",
    "exceptions",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "timeline",
    "wait",
]


_LAZY = {
    "util": "rllib.core.util",
    "cloudpickle": "cloudpickle",
    "LoggingConfig": "rllib.core.logs",
    "PlacementGroupID": "rllib.core.util.placement_group",
    **dict.fromkeys(
        (
            "ActorID",
            "JobID",
            "NodeID",
            "TaskID",
            "UniqueID",
            "WorkerID",
        ),
        "rllib.core.ids",
    ),
}


def __getattr__(name: str) -> Any:
    """``core.util`` and whatever else is rarely used is there without an import of its own, and
    costs nothing before its use. Of what Ray has in this place and we have not, the error says so.
    """
    if name not in _LAZY:
        from rllib.core.absent import missing

        raise missing(__name__, name)
    module = importlib.import_module(_LAZY[name])
    return getattr(module, name, module)
