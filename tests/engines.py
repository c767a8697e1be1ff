"""The engines under test."""

import importlib
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import leaks
import psutil
import pytest
import ray_head
from patience import wait_until

from rllib import core
from rllib.core import api
from rllib.core.native import platform
from rllib.core.native.driver import DriverRuntime
from rllib.core.testing import Cluster

ENGINES = {"inline": "inline", "native": "local", "ray": "ray"}
"""Their names, and the addresses by which `core.init` knows them."""

LABELS = {"zone": "b"}
"""Of the machine, on every engine."""

if os.environ.get("RLLIB_PORTABLE"):  # Ray has but one way to work, which is tried without this
    del ENGINES["ray"]


CLUSTER = "cluster"
"""The native engine across nodes, where it is tried as well: the driver is on a head without CPUs,
and what wants one is on another node."""

CLIENT = "ray-client"
"""The engine on Ray, where it is tried as well through a Ray Client server: the driver is on none
of its nodes."""

RAYS = ("ray", CLIENT)

T = TypeVar("T")

_cluster: Cluster | None = None


def running(name: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The engine of that name, with two CPUs, as long as a fixture lasts that yields from this."""
    if name in RAYS and platform.VARIABLE in os.environ:
        pytest.skip("what is portable is our own engine; Ray was tried without it")
    if name in RAYS:
        pytest.importorskip("ray", reason='Ray is not installed: pip install "rllib-scale[ray]"')
    with leaks.ray_at_work() if name in RAYS else nullcontext():
        if name in RAYS:
            request.getfixturevalue("shared_ray" if name == "ray" else "ray_node")
        with start_cluster() if name == CLUSTER else nullcontext(), start(name):
            wait_until(is_idle)  # a shared Ray may still end what came before
            yield name


@contextmanager
def start_cluster() -> Iterator[None]:
    """Start the cluster of which `start` then makes this process a driver."""
    global _cluster
    with Cluster(head={"num_cpus": 0}) as _cluster:
        _cluster.add_node(num_cpus=2, labels=LABELS)
        yield
    _cluster = None


def start(name: str, **given: Any) -> core.api.Context:
    """Start an engine with two CPUs, or on the Ray or the cluster that has as many."""
    if name in (CLUSTER, CLIENT):
        amounts = ("num_cpus", "labels")  # which its nodes have
        others = {option: value for option, value in given.items() if option not in amounts}
        return core.init(address=address(name), **others)
    if name == "ray" and _ray().is_initialized():
        return core.init(address="ray", **given)
    # Ray prints what it thinks of a dying worker; it may not.
    options = {"num_cpus": 2, "labels": LABELS, "log_to_driver": name != "ray", **given}
    if name == "ray":
        return begin_ray(lambda: core.init(address="ray", **options))
    return core.init(address=ENGINES[name], **options)


def address(name: str) -> str:
    """By which `core.init` knows the engine."""
    if name == CLIENT:
        return ray_head.address()
    if name != CLUSTER:
        return ENGINES[name]
    assert _cluster is not None
    return _cluster.address


def is_idle() -> bool:
    """Whether nobody holds a CPU."""
    return core.available_resources().get("CPU") == core.cluster_resources()["CPU"]


def start_ray() -> None:
    """Connect this process to a new Ray, on which `start` then starts the engine."""
    options = {"include_dashboard": False, "log_to_driver": False}
    begin_ray(lambda: _ray().init(num_cpus=2, labels=LABELS, **options))


def begin_ray(begin: Callable[[], T]) -> T:
    """Once more where Ray gave up on a node of its own, or on a server of it, that did not come up
    within half a minute, as happens now and then; such processes live on, so they are ended
    first."""
    try:
        return begin()
    except Exception as error:
        if "timed out" not in str(error).lower():
            raise
        for frame, _ in traceback.walk_tb(error.__traceback__):
            node = frame.f_locals.get("self")
            if hasattr(node, "kill_all_processes"):
                node.kill_all_processes(check_alive=False, wait=True)
    return begin()


def once_more_on_ray(engine: str, attempt: Callable[[], T], error: type[Exception]) -> T:
    """What it returns; on Ray, where processes of its own fail now and then, it may fail once."""
    try:
        return attempt()
    except error:
        if engine not in RAYS:
            raise
    return attempt()


def end_ray() -> None:
    """End it."""
    _ray().shutdown()


def _ray() -> Any:
    return importlib.import_module("ray")


def on(engine: str, ours: str, *, ray: str) -> str:
    """What the text of an error matches: Ray says the same in other words."""
    return ray if engine in RAYS else ours


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
