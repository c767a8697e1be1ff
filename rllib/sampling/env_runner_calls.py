"""RLlib's ways to each env runner of a group."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from rllib import core
from rllib.absent import NamesNearest, refuse_arguments
from rllib.sampling.crew import Crew
from rllib.workers import LocalWorker, Worker, fetch

_FIXED = "the number of env runners is config.num_env_runners for the whole run"
_NOT_ASKED = {
    "return_obj_refs": "foreach_env_runner_async(func) does not wait, and fetch_ready_async_reqs() "
    "has what they return",
    "mark_healthy": "one that failed is started anew by itself",
}


class EnvRunnerCalls(NamesNearest, ABC):
    """Questions and calls, by RLlib's names.

    Attributes:
        crew: the env runners.
    """

    INSTEAD: ClassVar[Mapping[str, str]] = {
        "add_workers": _FIXED,
        "reset": _FIXED,
        "foreach_env": "foreach_env_runner(func), where func finds environments by env_runner.env",
        "foreach_env_with_context": "foreach_env_runner(func), with env_runner.env and its config",
        "foreach_worker": "it is called foreach_env_runner here",
        "local_worker": "it is called local_env_runner here",
        "sync_env_runner_states": "states of connectors are merged in every iteration",
        "get_merged_env_runner_state": "algo.interface.pipeline.get_statistics() has it",
        "foreach_env_runner_async_fetch_ready": "foreach_env_runner_async(func), then "
        "fetch_ready_async_reqs()",
    }

    crew: Crew
    _requests: dict[Any, tuple[int, str | None]]

    @property
    def workers(self) -> list[Worker]:
        """All env runners by index, those that failed as well."""
        return self.crew.workers

    @abstractmethod
    def failed(self, index: int, error: Exception, num_dropped: int = 1) -> None:
        """See ``Crew.failed``."""

    @property
    def local_env_runner(self) -> Any:
        """The env runner of this process; ``None`` where all are actors."""
        worker = self.workers[0]
        return worker.target if isinstance(worker, LocalWorker) else None

    def num_remote_env_runners(self) -> int:
        """How many are actors."""
        return sum(not isinstance(worker, LocalWorker) for worker in self.workers)

    def num_healthy_remote_env_runners(self) -> int:
        """How many of them work."""
        return len(self.healthy_env_runner_ids())

    def num_healthy_env_runners(self) -> int:
        """How many work, with one in this process."""
        return len(self.crew.healthy)

    def healthy_env_runner_ids(self) -> list[int]:
        """Numbers of actors that work, from 1 on."""
        return [] if self.local_env_runner else [index + 1 for index in self.crew.healthy]

    def num_remote_worker_restarts(self) -> int:
        """How often actors were started anew."""
        return self.crew.restarts.num_restarts

    def num_env_runners_dropped_lifetime(self) -> int:
        """How many fragments, or plays of an evaluation, came to nothing because of failures."""
        return self.crew.num_dropped

    def get_fault_metrics(self) -> dict[str, int]:
        """The same three under RLlib's names."""
        return {
            "num_healthy_workers": self.num_healthy_remote_env_runners(),
            "num_remote_worker_restarts": self.num_remote_worker_restarts(),
            "num_env_runners_dropped_lifetime": self.num_env_runners_dropped_lifetime(),
        }

    def probe_unhealthy_env_runners(self, timeout_seconds: float | None = None) -> list[int]:
        """Ask who is alive; returns numbers of those that were started anew and are ready.

        Args:
            timeout_seconds: how long to wait for one of them.
        """
        for index, error in self.crew.silent(self.crew.healthy).items():
            self.failed(index, error, num_dropped=0)
        before = {*self.crew.healthy}
        self.crew.tend(timeout_seconds or 0.0)
        return [index + 1 for index in self.crew.healthy if index not in before]

    def get_spaces(self) -> dict[str, Any]:
        """Spaces of environments and modules; see ``EnvRunner.get_spaces``."""
        first = self.crew.await_healthy()[0]
        spaces: dict[str, Any] = fetch(self.workers[first].call("get_spaces"))
        return spaces

    def _chosen(self, local: bool, remote_ids: Sequence[int] | None) -> list[int]:
        """Indices of those that work; in RLlib's numbers actors count from 1 on."""
        if self.local_env_runner is not None:
            return [0] if local else []
        healthy = self.crew.healthy
        return [i for i in healthy if remote_ids is None or i + 1 in remote_ids]

    def foreach_env_runner(
        self,
        func: Callable[..., Any] | str,
        *,
        kwargs: Mapping[str, Any] | None = None,
        local_env_runner: bool = True,
        healthy_only: bool = True,
        remote_worker_ids: Sequence[int] | None = None,
        timeout_seconds: float | None = None,
        **others: Any,
    ) -> list[Any]:
        """Call ``func(env_runner)`` where each env runner lives; returns what they return.

        One that dies of it, or has died, is left out, as far as ``fault_tolerance`` allows for it.

        The way to change environments while training, from a callback for example: ``func`` gets
        at them by ``env_runner.env``.

        Args:
            func: may be any function; it travels to actors. Or the name of a method.
            kwargs: more arguments.
            local_env_runner: whether one in this process is called, too.
            healthy_only: has no meaning here: one that failed is not there to be called.
            remote_worker_ids: which actors, from 1 on; by default all.
            timeout_seconds: how long to wait for each.
            others: RLlib's other arguments may be ``None`` or false.

        Raises:
            TypeError: one is not.
            TaskError: ``func`` raised in an actor.
            GetTimeoutError: it took longer.
        """
        refuse_arguments("foreach_env_runner", others, _NOT_ASKED)
        handles = {
            index: _applied(self.workers[index], func, kwargs or {})
            for index in self._chosen(local_env_runner, remote_worker_ids)
        }
        answers = [self._answers(i, handle, timeout_seconds) for i, handle in handles.items()]
        return [answer for each in answers for answer in each]

    def _answers(self, index: int, handle: Any, timeout: float | None) -> list[Any]:
        """What an env runner answers; nothing if it died."""
        try:
            return [fetch(handle, timeout)]
        except core.exceptions.ActorError as error:
            self.failed(index, error, num_dropped=0)
            return []

    def foreach_env_runner_async(
        self,
        func: Callable[..., Any] | str,
        tag: str | None = None,
        *,
        kwargs: Mapping[str, Any] | None = None,
        healthy_only: bool = True,
        remote_worker_ids: Sequence[int] | None = None,
    ) -> int:
        """The same of actors without waiting; ``fetch_ready_async_reqs`` has what they return.

        Returns:
            How many were called.
        """
        chosen = self._chosen(False, remote_worker_ids)
        for index in chosen:
            self._requests[_applied(self.workers[index], func, kwargs or {})] = (index, tag)
        return len(chosen)

    def num_in_flight_async_reqs(self, tag: str | None = None) -> int:
        """How many calls of ``foreach_env_runner_async`` nobody has fetched yet."""
        return sum(tag is None or tag == mine for _, mine in self._requests.values())

    def fetch_ready_async_reqs(
        self, *, tags: Sequence[str] = (), timeout_seconds: float | None = 0.0
    ) -> list[tuple[int, Any]]:
        """(number, what it returned) of all calls that are done.

        Args:
            tags: of the calls that are meant; by default all.
            timeout_seconds: how long to wait for all of them; ``None`` until all are done.
        """
        mine = [h for h, (_, tag) in self._requests.items() if not tags or tag in tags]
        ready, _ = (
            core.wait(mine, num_returns=len(mine), timeout=timeout_seconds) if mine else ([], [])
        )
        found = []
        for handle in ready:
            index, _ = self._requests.pop(handle)
            found += [(index + 1, answer) for answer in self._answers(index, handle, None)]
        return found


def _applied(worker: Worker, func: Callable[..., Any] | str, kwargs: Mapping[str, Any]) -> Any:
    if isinstance(func, str):
        return worker.call(func, **kwargs)
    return worker.call("apply", partial(func, **kwargs) if kwargs else func)
