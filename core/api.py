"""The public verbs: one runtime a process, chosen by ``init`` and started on first use."""

from __future__ import annotations

import atexit
import os
import platform
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rllib.core.exceptions import CoreSystemError
from rllib.core.generator import ObjectRefGenerator
from rllib.core.object_ref import ObjectRef
from rllib.core.runtime import Runtime

if TYPE_CHECKING:
    from rllib.core.logs import Logging, LoggingConfig
    from rllib.core.remote import ActorHandle

_runtime: Runtime | None = None
_starting = threading.RLock()


class Context:
    """What `init` returns; leaving its ``with`` block shuts the runtime down."""

    dashboard_url = ""
    """There is no dashboard."""
    python_version = platform.python_version()
    ray_version = "2.60.0"
    """Whose API this is."""

    def __init__(self, address: str, namespace: str) -> None:
        self._given = {"address": address, "namespace": namespace}

    @property
    def address_info(self) -> dict[str, str]:
        """Address and namespace; as long as the runtime lives also its machine and directory."""
        engine = current()
        if engine is None:
            return dict(self._given)
        here = engine.where()
        place = {"node_id": here.node_id, "session_dir": here.session}
        return {**self._given, **place, "node_ip_address": engine.nodes()[0]["NodeManagerAddress"]}

    def __getitem__(self, key: str) -> str:
        return self.address_info[key]

    def disconnect(self) -> None:
        """The same as `shutdown`."""
        shutdown()

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *exc: object) -> None:
        shutdown()

    def __repr__(self) -> str:
        return f"Context({self._given})"


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    object_store_memory: int | None = None,
    object_spilling_directory: str | None = None,
    namespace: str | None = None,
    ignore_reinit_error: bool = False,
    log_to_driver: bool = True,
    preload: Iterable[str] = (),
    runtime_env: Mapping[str, Any] | None = None,
    logging_level: int | str | None = None,
    logging_format: str | None = None,
    logging_config: LoggingConfig | None = None,
    configure_logging: bool = True,
    _temp_dir: str | os.PathLike[str] | None = None,
    _system_config: Mapping[str, Any] | None = None,
    **others: Any,
) -> Context:
    """Start the runtime of this process.

    ``address``, or else the environment variable ``RLLIB_ADDRESS``, chooses the engine:
    ``"inline"`` runs everything in this process, serially; ``None``, ``"local"`` and ``"auto"``
    start the native engine on this machine; ``"HOST:PORT"`` makes this process a driver of the
    cluster whose head listens there (see ``rllib start``; ``RLLIB_TLS_CERT`` and so on, or
    ``RLLIB_INSECURE=1``, are about the way there); ``"ray"`` and ``"ray:..."``, with an
    address of Ray's, hand everything to an installed Ray; ``"ray://HOST:PORT"`` to a cluster of
    Ray's, from a machine that is none of its nodes. ``num_cpus`` (default: the cores this
    process may use), ``num_gpus`` and ``resources`` are logical amounts that tasks and actors ask
    for; ``labels`` are the machine's for options like ``label_selector``, see `labels`;
    ``object_store_memory`` limits the shared memory of all processes together, in bytes; what does
    not fit goes to disk, into the session's directory or ``object_spilling_directory``;
    ``preload`` names modules that workers find already imported; ``runtime_env`` is what all tasks
    and actors start with: ``env_vars``, ``working_dir``, ``py_modules``, ``excludes``;
    ``logging_level`` and ``logging_format`` are about the driver's logger ``"rllib"``, by which the
    runtime warns, unless ``configure_logging`` is false; ``logging_config`` sets up the root logger
    of all processes, see `LoggingConfig`; ``_temp_dir`` is where session directories go;
    ``_system_config`` sets the memory monitor of the native engine, see `system_config`.

    ``others`` are options of Ray's that ask for nothing here: ``None`` or ``False``. Raises
    `ValueError` for one that asks for something, and `TypeError` for an unknown name; the same for
    arguments that make no sense, and for those of a wrong type.
    Raises `RuntimeError` when a runtime is running already, unless ``ignore_reinit_error``, and on
    Windows, which has the inline engine alone.
    """
    global _runtime
    from rllib.core import init_options
    from rllib.core.labels import check_labels
    from rllib.core.logs import Logging

    asked = Logging(logging_level, logging_format, logging_config, configure_logging)
    if others:
        from rllib.core.absent import check_init_options

        check_init_options(others)
    address = init_options.text("address", address or os.environ.get("RLLIB_ADDRESS") or "local")
    with _starting:
        if _runtime is not None:
            if not ignore_reinit_error:
                raise RuntimeError(
                    "the runtime is running already; call shutdown() first, or pass "
                    "ignore_reinit_error=True to keep it"
                )
        else:
            _runtime = _start_engine(
                address,
                amounts=init_options.machine_amounts(num_cpus, num_gpus, resources),
                labels=check_labels(labels),
                object_store_memory=init_options.store_bytes(object_store_memory),
                object_spilling_directory=object_spilling_directory,
                namespace=init_options.text("namespace", namespace),
                log_to_driver=log_to_driver,
                preload=init_options.module_names(preload),
                runtime_env=_checked_env(runtime_env),
                logging=asked.check(),
                temp_dir=init_options.folder("_temp_dir", _temp_dir),
                system_config=_system_config,
            )
        return Context(address, _runtime.namespace)


def _checked_env(given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is None:
        return {}
    from rllib.core.runtime_env import check

    return check(given)


def _start_engine(
    address: str,
    *,
    namespace: str,
    amounts: dict[str, float],
    logging: Logging,
    system_config: Mapping[str, Any] | None,
    **kw: Any,
) -> Runtime:
    if address == "ray" or address.startswith("ray:"):
        from rllib.core.on_ray.connect import connect

        return connect(
            address, namespace, amounts, logging=logging, system_config=system_config, **kw
        )
    from rllib.core.system_config import system_config as checked

    config = checked(system_config)
    logging.apply()
    if address == "inline":
        from rllib.core.inline.runtime import InlineRuntime

        return InlineRuntime(namespace, amounts, kw["runtime_env"], kw["labels"])
    if address in ("local", "auto"):
        from rllib.core.native.platform import check_native

        check_native()
        from rllib.core.native.driver import start_driver

        return start_driver(namespace, amounts, logging=logging.text(), system_config=config, **kw)
    if ":" in address:
        from rllib.core.cluster.options import connect_driver

        return connect_driver(address, namespace, amounts, **kw)
    raise ValueError(
        f"address {address!r} is not supported: use 'inline' for this process, 'local' or none for "
        "this machine, 'HOST:PORT' for a cluster that `rllib start` has made, 'ray' or "
        "'ray:host:port' for an installed Ray, 'ray://host:port' for one on other machines"
    )


def runtime() -> Runtime:
    """This process's runtime; starts the native engine if there is none yet."""
    if _runtime is None:
        init(ignore_reinit_error=True)
    assert _runtime is not None
    return _runtime


def _started() -> Runtime:
    """This process's runtime; raises where there is none to ask."""
    if _runtime is None:
        raise CoreSystemError("there is no runtime to ask; call init() first")
    return _runtime


def current() -> Runtime | None:
    """This process's runtime, if there is one."""
    return _runtime


def adopt(engine: Runtime) -> None:
    """Make ``engine`` the runtime of this process: how a worker process sets itself up."""
    global _runtime
    _runtime = engine


def is_initialized() -> bool:
    """Whether this process has a runtime."""
    return _runtime is not None


@atexit.register
def shutdown(wait_for_processes: bool = True) -> None:
    """End the runtime and all that it started; does nothing where there is none.

    Its processes are always waited for: ``wait_for_processes`` is there for Ray's sake.
    """
    global _runtime
    with _starting:
        engine, _runtime = _runtime, None
        if engine is not None:
            engine.shutdown()


def _after_fork() -> None:
    """A forked child has copies of the parent's sockets; that it ends must not end the parent's
    runtime."""
    global _runtime, _starting
    _starting = threading.RLock()  # another thread may have held it when the process was forked
    _runtime = None if _runtime is None else _runtime.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def put(value: Any) -> ObjectRef[Any]:
    """Store an immutable copy of ``value``.

    Raises `TypeError` for a reference and for what cannot be pickled.
    """
    if isinstance(value, ObjectRef):
        raise TypeError("put of an ObjectRef: it is a reference already; put a list of it instead")
    return runtime().put(value)


def get(refs: Any, timeout: float | None = None) -> Any:
    """The value of a reference, or the list of values of a list; blocks.

    ``timeout`` is in seconds, ``None`` without limit. A generator of references is returned as it
    is. Raises `GetTimeoutError`, the error of the task (see `exceptions.TaskError`), or what befell
    the process that was to make the value; `ValueError` for what is neither a reference nor a list,
    `TypeError` for a list of anything else.
    """
    _check_timeout(timeout)
    if isinstance(refs, ObjectRef):
        return runtime().get((refs,), timeout)[0]
    if isinstance(refs, ObjectRefGenerator):
        return refs
    if not isinstance(refs, list):
        raise ValueError(f"get takes an ObjectRef or a list of them, got {type(refs).__name__}")
    _check_refs("get", refs)
    return runtime().get(refs, timeout)


def wait(
    refs: list[Any],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[Any], list[Any]]:
    """Split ``refs`` into ready ones (at most ``num_returns``) and the rest, both in input order.

    Blocks until ``num_returns`` are ready or ``timeout`` seconds have passed. A failed task counts
    as ready, a generator when its next reference is there. A value on another node is ready when it
    has come here; without ``fetch_local`` it is when it exists, and stays there. Raises `TypeError`
    for what is no list of references or generators, `ValueError` for duplicates.
    """
    if not isinstance(refs, list):
        raise TypeError(f"wait takes a list of ObjectRefs, got {type(refs).__name__}")
    _check_timeout(timeout)
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout must be None or at least 0 seconds, got {timeout}")
    if not refs:
        return [], []
    streams = _check_refs("wait", refs, or_generator=True)
    if len(set(refs)) != len(refs):
        raise ValueError("wait got the same reference more than once; make the list unique")
    if not hasattr(num_returns, "__index__"):
        raise TypeError(f"num_returns must be an int, got {num_returns!r}")
    if not 0 < num_returns <= len(refs):
        raise ValueError(f"num_returns must be in 1..{len(refs)} for this list, got {num_returns}")
    if streams:
        return _wait_mixed(refs, num_returns, timeout)
    ready = runtime().wait(refs, num_returns, timeout, fetch_local=fetch_local)
    if len(ready) == 1:  # the usual loop takes one at a time from a long list
        at = refs.index(ready[0])
        return ready, refs[:at] + refs[at + 1 :]
    return _parted(refs, set(ready))


def error_of(ref: ObjectRef[Any]) -> Exception | None:
    """What ``get`` of a reference that is ready raises, or ``None`` for a value.

    The value itself is not loaded, which may be large. Raises `ValueError` for what is not ready.
    """
    if not wait([ref], timeout=0)[0]:
        raise ValueError(f"{ref!r} is not ready; wait() for it first")
    return runtime().error_of(ref)


def _wait_mixed(
    refs: list[Any], num_returns: int, timeout: float | None
) -> tuple[list[Any], list[Any]]:
    """`wait` with generators among the references: their streams stand for them."""
    stand_ins = {ref._stream if isinstance(ref, ObjectRefGenerator) else ref: ref for ref in refs}
    ready = runtime().wait(list(stand_ins), num_returns, timeout)
    return _parted(refs, {stand_ins[each] for each in ready})


def _parted(refs: list[Any], chosen: set[Any]) -> tuple[list[Any], list[Any]]:
    return [ref for ref in refs if ref in chosen], [ref for ref in refs if ref not in chosen]


def _check_timeout(timeout: Any) -> None:
    if timeout is not None and not hasattr(timeout, "__float__"):
        raise TypeError(f"timeout must be a number of seconds or None, got {timeout!r}")


def _check_refs(verb: str, refs: Sequence[Any], or_generator: bool = False) -> bool:
    """Raise for what is neither a reference nor, if allowed, a generator; whether one is there."""
    if all(issubclass(kind, ObjectRef) for kind in set(map(type, refs))):
        return False
    for index, ref in enumerate(refs):
        allowed = (ObjectRef, ObjectRefGenerator) if or_generator else ObjectRef
        if not isinstance(ref, allowed):
            raise TypeError(f"{verb}: element {index} is a {type(ref).__name__}, not an ObjectRef")
    return True


def cancel(
    ref: ObjectRef[Any] | ObjectRefGenerator, *, force: bool = False, recursive: bool = True
) -> None:
    """Have a call not begin, or stop; its references then raise `TaskCancelledError`.

    A task that runs is interrupted by a `KeyboardInterrupt`, with ``force`` by the end of its
    worker. A call of an actor that runs is told so, see `RuntimeContext.is_canceled`; a coroutine
    gets an `asyncio.CancelledError`. With ``recursive`` the same befalls the calls that it has
    made. A call that has ended is left alone. Raises `ValueError` for ``force`` on a call of an
    actor, `TypeError` for what is no reference.
    """
    if isinstance(ref, ObjectRefGenerator):
        runtime().cancel(ref._stream, force, recursive)
    elif isinstance(ref, ObjectRef):
        runtime().cancel(ref, force, recursive)
    else:
        raise TypeError(f"cancel takes an ObjectRef or a generator, got {type(ref).__name__}")


def kill(actor: ActorHandle, *, no_restart: bool = True) -> None:
    """End an actor's process at once; with ``no_restart=False`` it may be started again.

    Raises `ValueError` for anything but an actor handle.
    """
    from rllib.core.remote import ActorHandle

    if not isinstance(actor, ActorHandle):
        raise ValueError(f"kill takes an actor handle, got {type(actor).__name__}")
    runtime().kill(actor._link, no_restart)


def get_actor(name: str, namespace: str | None = None) -> ActorHandle:
    """The living actor of that name. Raises `ValueError` when there is none."""
    from rllib.core.remote import ActorHandle

    for given in (name, namespace):
        if given is not None and not isinstance(given, str):
            raise TypeError(f"names and namespaces of actors are text, got {given!r}")
    if not name:
        raise ValueError("get_actor needs the name of an actor")
    return ActorHandle(*runtime().find_actor(name, namespace or ""))


def get_gpu_ids() -> list[int | str]:
    """The GPUs that the calling task or actor may use: numbers, or names where they have names."""
    return [int(gpu) if gpu.isdigit() else gpu for gpu in runtime().where().gpus]


def nodes() -> list[dict[str, Any]]:
    """The machines of the runtime, under Ray's keys, also the last that died (``Alive`` is false).

    Raises `CoreSystemError` without a runtime.
    """
    return _started().nodes()


def timeline(filename: str | os.PathLike[str] | None = None) -> list[dict[str, Any]] | None:
    """What ran when: tasks, calls and constructors of actors, and waiting, of all processes, also
    of those that have ended, as events of Chrome's trace format (times in microseconds).

    Returns them, or writes them as JSON to ``filename``, for ``chrome://tracing`` or
    https://ui.perfetto.dev. They are recorded if ``RLLIB_PROFILING=1`` was in the environment when
    `init` was called, which costs some microseconds a call; raises `RuntimeError` if it was not,
    and without a runtime.
    """
    if _runtime is None:
        raise RuntimeError("there is no runtime whose timeline could be told; call init() first")
    events = _runtime.timeline()
    if filename is None:
        return events
    import json
    from pathlib import Path

    Path(filename).write_text(json.dumps(events), encoding="utf-8")
    return None


def cluster_resources() -> dict[str, float]:
    """Logical amounts of everything that tasks and actors can ask for.

    Raises `CoreSystemError` without a runtime.
    """
    return _started().resources()[0]


def available_resources() -> dict[str, float]:
    """The part of `cluster_resources` that is free now; raises as that does."""
    return _started().resources()[1]
