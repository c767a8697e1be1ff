"""`RayRuntime`: the verbs of the runtime, each one call of Ray's API."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cloudpickle
import ray

from rllib.core import exceptions
from rllib.core.facts import (
    ActorFacts,
    Found,
    GroupFacts,
    ObjectFacts,
    TaskFacts,
    Where,
    WorkerFacts,
)
from rllib.core.measurements import Measurement
from rllib.core.object_ref import ObjectRef
from rllib.core.on_ray import groups
from rllib.core.on_ray import options as keywords
from rllib.core.on_ray.asking import on_cluster
from rllib.core.on_ray.errors import translated
from rllib.core.on_ray.facts import shape_of, where_on_ray
from rllib.core.on_ray.refs import (
    RayActor,
    RayRef,
    RayStream,
    Session,
    live_actor,
    unwrapped,
    wrapped,
)
from rllib.core.on_ray.shipping import ENTRIES, ship_class, ship_function
from rllib.core.on_ray.table import TABLES, Table
from rllib.core.records import (
    ActorOptions,
    ActorShape,
    Args,
    CallOptions,
    Kwargs,
    RemoteCode,
    TaskOptions,
)
from rllib.core.reducers import reducers
from rllib.core.runtime import ActorLink, ResultStream, Runtime, Waitable
from rllib.core.serialization import dump_code


class RayRuntime(Runtime):
    """In a driver that has connected to Ray, and in Ray's workers."""

    _decorator = staticmethod(ray.remote)

    def __init__(self, *, connected: bool = False, in_worker: bool = False) -> None:
        self._connected = connected
        """Whether `shutdown` is to disconnect, by which a Ray that was started for us ends."""
        self._in_worker = in_worker
        exceptions.causes_pickler = ray.cloudpickle
        _share_reducers()
        context = ray.get_runtime_context()
        self.namespace = context.namespace
        self._table = Table(context.get_job_id())
        self._shipped: weakref.WeakKeyDictionary[RemoteCode, dict[Any, Any]] = (
            weakref.WeakKeyDictionary()
        )

    # -- calls ---------------------------------------------------------------------------------

    def submit(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions
    ) -> list[ObjectRef[Any]]:
        """Start a task of Ray's."""
        return wrapped(self._submit(code, args, kwargs, options))

    def stream(
        self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions
    ) -> ResultStream:
        """Start a streaming task of Ray's."""
        return RayStream(self._submit(code, args, kwargs, options))

    def _submit(self, code: RemoteCode, args: Args, kwargs: Kwargs, options: TaskOptions) -> Any:
        function = self._shipped_once(
            (code, options.max_calls),
            lambda: self._remote(ship_function(code), max_calls=options.max_calls),
        )
        return _start(function.options(**keywords.of_task(options)), args, kwargs)

    def create_actor(
        self,
        code: RemoteCode,
        shape: ActorShape,
        args: Args,
        kwargs: Kwargs,
        options: ActorOptions,
    ) -> ActorLink:
        """Start an actor of Ray's that holds an instance of the class."""
        host = self._shipped_once(
            (code, tuple(options.concurrency_groups.items())),
            lambda: self._remote(
                ship_class(code, shape), concurrency_groups=options.concurrency_groups
            ),
        )
        return RayActor(_start(host.options(**keywords.of_actor(options, shape)), args, kwargs))

    def _shipped_once(self, key: tuple[RemoteCode, Any], ship: Callable[[], Any]) -> Any:
        code, variant = key
        variants = self._shipped.setdefault(code, {})
        if variant not in variants:
            variants[variant] = ship()
        return variants[variant]

    def _remote(self, target: Any, **options: Any) -> Any:
        """Ray's decorator, with those options that are set."""
        given = {name: value for name, value in options.items() if value}
        return self._decorator(**given)(target) if given else self._decorator(target)

    def call(
        self, actor: ActorLink, method: str, args: Args, kwargs: Kwargs, options: CallOptions
    ) -> list[ObjectRef[Any]]:
        """Call a method of Ray's actor."""
        return wrapped(self._call(actor, method, args, kwargs, options))

    def stream_call(
        self, actor: ActorLink, method: str, args: Args, kwargs: Kwargs, options: CallOptions
    ) -> ResultStream:
        """Call a generator of Ray's actor."""
        return RayStream(self._call(actor, method, args, kwargs, options))

    def _call(
        self, actor: ActorLink, method: str, args: Args, kwargs: Kwargs, options: CallOptions
    ) -> Any:
        bound = self._bound(actor, ENTRIES.get(method, method))
        return _start(bound.options(**keywords.of_call(options)), args, kwargs)

    def _bound(self, actor: ActorLink, entry: str) -> Any:
        return getattr(live_actor(actor), entry)

    def pending_calls(self, actor: ActorLink) -> int:
        """Ray counts by itself and refuses the call that is too much."""
        return 0

    def cancel(self, what: ObjectRef[Any] | ResultStream, force: bool, recursive: bool) -> None:
        """Ray's ``cancel``."""
        ray.cancel(unwrapped(what), force=force, recursive=recursive)

    # -- actors --------------------------------------------------------------------------------

    def find_actor(self, name: str, namespace: str) -> tuple[ActorLink, ActorShape]:
        """Also finds actors that were made by Ray's own API."""
        handle = self._handle_of(name, namespace)
        return RayActor(handle), on_cluster(shape_of, handle)

    def _handle_of(self, name: str, namespace: str) -> Any:
        try:
            return ray.get_actor(name, namespace or self.namespace)
        except ValueError as error:
            raise ValueError(f"there is no living actor named {name!r}") from error

    def actor_names(self) -> list[tuple[str, str]]:
        """Of all of Ray's actors, but for our own."""
        rows = ray.util.list_named_actors(all_namespaces=True)
        names = [(row["namespace"], row["name"]) for row in rows]
        return [(namespace, name) for namespace, name in names if namespace != TABLES]

    def kill(self, actor: ActorLink, no_restart: bool) -> None:
        """Ray's ``kill``."""
        ray.kill(live_actor(actor), no_restart=no_restart)

    def actor_reduce(self, actor: ActorLink) -> tuple[Any, ...]:
        """The link, which pickles itself and brings this engine along."""
        return (actor,)

    def actor_restore(self, state: tuple[Any, ...]) -> ActorLink:
        """The link."""
        link: ActorLink = state[0]
        return link

    # -- objects -------------------------------------------------------------------------------

    def put(self, value: Any) -> ObjectRef[Any]:
        """Ray's ``put``."""
        with translated(), _naming_the_culprit(value):
            return RayRef(ray.put(value))

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """Ray's ``get``."""
        with translated():
            values: list[Any] = ray.get([unwrapped(ref) for ref in refs], timeout=timeout)
        return values

    def wait(
        self,
        refs: Sequence[Waitable],
        num_returns: int,
        timeout: float | None,
        *,
        fetch_local: bool = True,
    ) -> list[Waitable]:
        """Ray's ``wait``."""
        ours = {unwrapped(ref): ref for ref in refs}
        ready, _ = ray.wait(
            list(ours), num_returns=num_returns, timeout=timeout, fetch_local=fetch_local
        )
        return [ours[each] for each in ready]

    def when_ready(self, ref: ObjectRef[Any], callback: Callable[[], object]) -> None:
        """By a future of Ray's."""
        unwrapped(ref).future().add_done_callback(lambda _done: callback())

    # -- placement groups ----------------------------------------------------------------------

    def create_group(
        self,
        bundles: list[dict[str, float]],
        strategy: str,
        name: str,
        selectors: list[dict[str, str]],
    ) -> bytes:
        """Ray's ``placement_group``."""
        with translated():
            return groups.create(bundles, strategy, name, selectors)

    def group_ready(self, group: bytes, value: Any) -> ObjectRef[Any]:
        """By Ray's own sign."""
        return groups.ready(group, value)

    def remove_group(self, group: bytes) -> None:
        """Ray's ``remove_placement_group``."""
        groups.remove(group)

    def groups(self) -> list[GroupFacts]:
        """Ray's ``placement_group_table``."""
        return groups.facts()

    # -- the rest ------------------------------------------------------------------------------

    def where(self) -> Where:
        """See `where_on_ray`."""
        return where_on_ray(self._in_worker)

    def nodes(self) -> list[dict[str, Any]]:
        """As Ray lists them."""
        listed: list[dict[str, Any]] = ray.nodes()
        return listed

    def labels(self) -> dict[str, str]:
        """As Ray knows them."""
        found: dict[str, str] = ray.get_runtime_context().get_node_labels()
        return found

    def resources(self) -> tuple[dict[str, float], dict[str, float]]:
        """As Ray counts them, with entries of its own."""
        return ray.cluster_resources(), ray.available_resources()

    def actors(self) -> list[ActorFacts]:
        """From Ray's dashboard."""
        from rllib.core.on_ray import lists

        return on_cluster(lists.actors)

    def workers(self) -> list[WorkerFacts]:
        """From Ray's dashboard."""
        from rllib.core.on_ray import lists

        return on_cluster(lists.workers)

    def task_table(self, timeout: float) -> Found[TaskFacts]:
        """From Ray's dashboard."""
        from rllib.core.on_ray import lists

        return on_cluster(lists.tasks, timeout)

    def object_table(self, timeout: float) -> Found[ObjectFacts]:
        """From Ray's dashboard."""
        from rllib.core.on_ray import lists

        return on_cluster(lists.objects, timeout)

    def timeline(self) -> list[dict[str, Any]]:
        """Ray's own."""
        events: list[dict[str, Any]] = ray.timeline()
        return events

    def report(self, measurements: list[Measurement]) -> None:
        """Add them to the job's table."""
        self._table.add(measurements)

    def measurements(self) -> list[Measurement]:
        """The job's table."""
        return self._table.read()

    def shutdown(self) -> None:
        """Disconnect, where `init` has connected; a Ray that it has started ends."""
        exceptions.causes_pickler = cloudpickle
        if self._connected:
            self._connected = False
            self._table.close()
            Session.number += 1
            ray.shutdown()

    def after_fork(self) -> Runtime | None:
        """A connection to Ray does not outlive a fork; the child has none."""
        return None


def _share_reducers() -> None:
    """Have Ray's pickler know the serialisers that users register with us, now and later."""
    tables = ray.cloudpickle.CloudPickler.dispatch_table.maps
    if not any(table is reducers for table in tables):
        tables.append(reducers)


def _start(remotable: Any, args: Args, kwargs: Kwargs) -> Any:
    of_ray = [unwrapped(arg) for arg in args]
    named = {name: unwrapped(arg) for name, arg in kwargs.items()}
    with translated(), _naming_the_culprit((args, kwargs)):
        return remotable.remote(*of_ray, **named)


@contextmanager
def _naming_the_culprit(value: Any) -> Iterator[None]:
    """A `TypeError` because ``value`` cannot be pickled becomes ours, which names the part."""
    try:
        yield
    except TypeError:
        dump_code(value)
        raise
