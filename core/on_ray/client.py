"""A driver that is on no node of Ray's: it speaks to the cluster through a Ray Client server.

The verbs are those of `RayRuntime`, for Ray's own functions go through the connection by
themselves, and what only a process of the cluster can tell is asked by a task there, see `asking`.
"""

from __future__ import annotations

import inspect
import logging
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import ray
from ray.util.client import ray as client_mode
from ray.util.client.common import ClientRemoteMethod
from ray.util.debug import log_once

from rllib.core.facts import Where
from rllib.core.on_ray.errors import translated
from rllib.core.on_ray.refs import RayActor, live_actor
from rllib.core.on_ray.runtime import RayRuntime
from rllib.core.records import (
    ActorOptions,
    ActorShape,
    Args,
    CallOptions,
    Kwargs,
    RemoteCode,
    TaskOptions,
)
from rllib.core.runtime import ActorLink, ResultStream

_ANY = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)
"""Of all methods: whoever calls one has checked the arguments."""


_ADDRESS = re.compile(r"ray://(?P<host>[^/:]+|\[[^]/]+\]):(?P<port>\d+)")

_OF_DRIVERS = ("namespace", "runtime_env", "logging_config", "logging_level", "logging_format")

PATIENCE_S = 10.0
"""For a host that does not answer at all."""


_NOT_STARTED = "Starting Ray client server failed"


def connect_client(address: str, given: Mapping[str, Any], *, log_to_driver: bool) -> None:
    """Connect this process to the Ray Client server at ``address``, ``"ray://HOST:PORT"``.

    Raises `ValueError` for an address of another form and for options of machines, `RuntimeError`
    for another version of Ray or Python there, and `ConnectionError`.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ValueError(f"{address!r} is not of the form 'ray://HOST:PORT'; Ray's port is 10001")
    late = [name for name in given if name not in (*_OF_DRIVERS, "configure_logging")]
    if late:
        raise ValueError(
            f"{', '.join(late)}: a driver that comes through Ray Client cannot change the machines "
            "of the cluster; give them to `ray start`"
        )
    _check_reachable(address, found["host"].strip("[]"), int(found["port"]))
    options = {name: value for name, value in given.items() if name in _OF_DRIVERS}
    if not log_to_driver:
        options["log_to_driver"] = False
    logging.getLogger("ray.client_builder").setLevel(logging.WARNING)  # it tells of every option
    log_once("client_communication_overhead_warning")  # it warns of every 10 MB, which are nothing
    try:
        _init(address, options)
    except ConnectionError as error:
        raise ConnectionError(_refusal(address, error)) from error


def _init(address: str, options: Mapping[str, Any], tries: int = 2) -> None:
    try:
        ray.init(address, **options)
    except BaseException as error:
        client_mode.disconnect()  # else this process could use no other Ray
        # The server makes a process for each client, by a fork that hangs now and then.
        if tries == 1 or _NOT_STARTED not in str(error):
            raise
        _init(address, options, tries - 1)


def _check_reachable(address: str, host: str, port: int) -> None:
    """Ray itself waits half a minute for whom it cannot reach, and does not say for whom."""
    try:
        socket.create_connection((host, port), PATIENCE_S).close()
    except OSError as error:
        raise ConnectionError(
            f"nobody answers at {address} ({error}): is the port right, is the cluster's head up, "
            "and started with --ray-client-server-port (10001 unless said), and may this machine "
            "reach it?"
        ) from error


def _refusal(address: str, error: ConnectionError) -> str:
    return (
        f"{address} does not answer as a Ray Client server does ({error}): is it the port that "
        "`ray start` calls --ray-client-server-port (not the one of 'ray:HOST:PORT')? A cluster "
        "with a token wants it in RAY_AUTH_TOKEN or ~/.ray/auth_token, and RAY_AUTH_MODE=token; "
        "one with TLS wants RAY_USE_TLS=1"
    )


class ClientRuntime(RayRuntime):
    """In a driver that has connected to a Ray Client server."""

    # By the other one a class would become an actor's in this process, too, and be asked for names
    # as if it were one.
    _decorator = staticmethod(client_mode.remote)

    def _submit(self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions) -> Any:
        with self._sending(code):
            return super()._submit(code, args, kwargs, options)

    def create_actor(
        self,
        code: RemoteCode,
        shape: ActorShape,
        args: Args,
        kwargs: Kwargs,
        options: ActorOptions,
    ) -> ActorLink:
        """See `RayRuntime.create_actor`; waits until the cluster knows of the actor."""
        if options.get_if_exists:
            # Asked for both at once, Ray's server forgets who holds the actor, and it ends.
            with suppress(ValueError):
                return RayActor(self._handle_of(options.name, options.namespace))
        with self._sending(code), translated():
            return super().create_actor(code, shape, args, kwargs, options)

    @contextmanager
    def _sending(self, code: RemoteCode) -> Iterator[None]:
        """Code goes to the cluster at its first call, where it may fail to be unpickled."""
        try:
            yield
        except ImportError as error:
            self._shipped.pop(code, None)  # what Ray has of it is of no use for another try
            raise ImportError(
                f"the cluster cannot import what {code.name} needs ({error}): install it on the "
                "cluster's nodes, or send it by runtime_env={'py_modules': [...]}"
            ) from error
        except Exception:
            self._shipped.pop(code, None)
            raise

    def stream(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions
    ) -> ResultStream:
        """Refused."""
        _refuse_stream(code.name)

    def stream_call(
        self, actor: ActorLink, method: str, args: Args, kwargs: Kwargs, options: CallOptions
    ) -> ResultStream:
        """Refused."""
        _refuse_stream(method)

    def _bound(self, actor: ActorLink, entry: str) -> Any:
        # A handle would ask the cluster for the methods of its actor.
        return ClientRemoteMethod(live_actor(actor), entry, 1, _ANY)

    def where(self) -> Where:
        """Of the process on the cluster that does for this one what it asks for."""
        context = ray.get_runtime_context()
        return Where(
            job_id=context.get_job_id(),
            node_id=context.get_node_id(),
            worker_id=context.get_worker_id(),
            namespace=context.namespace,
            runtime_env=context.runtime_env,
            session=context.get_session_name(),
        )

    def labels(self) -> dict[str, str]:
        """Of the node at which the server is."""
        here = ray.get_runtime_context().get_node_id()
        return next(dict(node["Labels"]) for node in ray.nodes() if node["NodeID"] == here)


def _refuse_stream(name: str) -> NoReturn:
    raise RuntimeError(
        f"{name} is a generator, whose results come one by one, which Ray Client cannot carry: "
        "return a list, have a task or an actor on the cluster call it, or run the driver on a "
        "node of the cluster with address='ray:auto'"
    )
