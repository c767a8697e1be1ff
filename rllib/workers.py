"""The same call on an object here and on an actor elsewhere.

What a call returns is a *handle*: the value itself when the worker is local, a reference when it
is remote. Handles are passed on as arguments without being looked into, so that data goes from
actor to actor; ``fetch`` is for the few values that the caller itself wants.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from rllib import core, stacks
from rllib.config import AlgorithmConfig
from rllib.core import api
from rllib.errors import LateError, RLlibError
from rllib.preload import preload_for

STOP_SECONDS = 2.0
"""How long actors may take to close their environments before they are killed.

Less than an interrupted run has for cleaning up (``rllib.runs.signals.CLEAN_UP_S``), so that it
still ends in order, with its last words, when an environment hangs.
"""


BESIDE = "beside"
"""Concurrency group of an actor that may be told something while it is busy."""


class Worker(ABC):
    """An object whose methods are called by name."""

    @abstractmethod
    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call ``method``; returns a handle, or a sequence of them if it returns several."""

    @abstractmethod
    def call_beside(self, method: str, *args: Any) -> Any:
        """The same while another call is under way, of an actor with the group ``BESIDE``."""

    @abstractmethod
    def begin_stop(self) -> Any:
        """Call the object's ``stop``, if it has one; returns a handle or ``None``."""

    @abstractmethod
    def end(self) -> None:
        """Let go of the object, stopped or not."""


class LocalWorker(Worker):
    """An object in this process."""

    def __init__(self, cls: type[Any], *args: Any) -> None:
        self.target = cls(*args)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call at once; arguments that are references are resolved, as for an actor."""
        resolved = [fetch(each) if is_remote(each) else each for each in args]
        return getattr(self.target, method)(*resolved, **kwargs)

    def call_beside(self, method: str, *args: Any) -> Any:
        """Nothing is ever under way here."""
        return self.call(method, *args)

    def begin_stop(self) -> Any:
        """Stop the object at once."""
        return self.target.stop() if hasattr(self.target, "stop") else None

    def end(self) -> None:
        """The object goes with its last reference."""


class RemoteWorker(Worker):
    """An actor; the runtime begins with the first one, unless the user has begun it."""

    def __init__(self, cls: type[Any], *args: Any, **options: Any) -> None:
        if not core.is_initialized():
            configs = [each for each in args if isinstance(each, AlgorithmConfig)]
            core.init(preload=preload_for(configs[0].algo_name if configs else None))
        actor_class = core.remote(**options)(cls) if options else core.remote(cls)
        self.actor = actor_class.remote(*args)
        if not api.runtime().serial:  # else it is this very process
            self.actor.__ray_call__.remote(stacks.listen, core.get_runtime_context().get_job_id())

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Send the call; returns references at once."""
        return getattr(self.actor, method).remote(*args, **kwargs)

    def call_beside(self, method: str, *args: Any) -> Any:
        """Send the call past those that wait."""
        return getattr(self.actor, method).options(concurrency_group=BESIDE).remote(*args)

    def begin_stop(self) -> Any:
        """Ask the actor to stop."""
        return self.actor.stop.remote() if hasattr(self.actor, "stop") else None

    def end(self) -> None:
        """Kill the actor."""
        core.kill(self.actor)


def environs(config: AlgorithmConfig) -> dict[str, Any]:
    """The option of an actor that sets the environment variables of the settings."""
    variables = config.extra_python_environs_for_worker
    return {"runtime_env": {"env_vars": variables}} if variables else {}


def make_worker(cls: type[Any], *args: Any, remote: bool, **options: Any) -> Worker:
    """An instance of ``cls`` here, or as an actor with options of ``core.remote``."""
    return RemoteWorker(cls, *args, **options) if remote else LocalWorker(cls, *args)


def stop_all(workers: Sequence[Worker]) -> None:
    """Stop all at the same time, wait for them within ``STOP_SECONDS`` in all, and end them."""
    handles = [worker.begin_stop() for worker in workers]
    remote = [handle for handle in handles if is_remote(handle)]
    if remote:
        core.wait(remote, num_returns=len(remote), timeout=STOP_SECONDS)
    for worker in workers:
        worker.end()


def is_remote(handle: Any) -> bool:
    """Whether the value is elsewhere, or still to come."""
    return isinstance(handle, core.ObjectRef)


def fetch(handle: Any, timeout: float | None = None) -> Any:
    """The value behind a handle.

    Args:
        handle: what ``Worker.call`` returned.
        timeout: seconds to wait for a remote value.

    Raises:
        RLlibError: the call raised one; it is the same here as where it was raised.
        TaskError: the call raised something else.
        GetTimeoutError: it took longer than ``timeout``.
    """
    if not is_remote(handle):
        return handle
    try:
        return core.get(handle, timeout=timeout)
    except (core.exceptions.TaskError, core.exceptions.ActorError) as error:
        # Our own errors say what there is to say: the frames of the actor are for their cause.
        own = _raised_in(error)
        if isinstance(own, RLlibError):
            raise own from error
        raise


def _raised_in(error: BaseException | None) -> BaseException | None:
    """What the call raised, or the actor's constructor: an environment's first reset is in that."""
    if isinstance(error, core.exceptions.ActorError):
        error = error.__cause__
    return error.cause if isinstance(error, core.exceptions.TaskError) else None


def fetch_sample(handle: Any, timeout: float) -> Any:
    """``fetch`` of a fragment.

    Raises:
        LateError: it took longer than ``timeout`` seconds.
    """
    try:
        return fetch(handle, timeout)
    except core.exceptions.GetTimeoutError as error:
        raise late("an env runner", "sample_timeout_s", timeout) from error


def late(who: str, setting: str, limit: float) -> LateError:
    """What to say of an env runner that took longer than the ``limit`` of a setting."""
    return LateError(
        f"{who} needed more than {setting} = {limit} seconds for what it was asked for; raise it, "
        "or ask for less (rollout_fragment_length, evaluation_duration)"
    )
