"""Gymnasium's worker processes, with errors that keep their origin."""

import multiprocessing
from collections.abc import Iterable
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from typing import Any, NoReturn

from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.async_vector_env import AsyncState

from rllib.envs.env_process import kill_all, server
from rllib.envs.faults import EnvFault

_EXIT_SECONDS = 5.0


class AsyncBackend(AsyncVectorEnv):
    """One process per environment; what a process raises arrives here as it was raised.

    Gymnasium rebuilds the exception from its type and logs the traceback as a warning; here the
    ``EnvFault`` of the guard inside the process travels whole. A process that died is named with
    its exit code or signal.

    Takes what gymnasium's takes, but for ``worker``.
    """

    _at_exit: Finalize | None = None
    """None until all processes have started."""

    def __init__(self, env_fns: Any, **options: Any) -> None:
        try:
            super().__init__(env_fns, worker=server(), **options)
        except BaseException:
            kill_all(getattr(self, "processes", ()))
            raise
        self._at_exit = Finalize(self, kill_all, args=[self.processes], exitpriority=0)

    def step_wait(self, timeout: float | None = None) -> Any:
        """Receive one step from every process.

        Raises:
            EnvFault: an environment raised, or its process died.
        """
        try:
            return super().step_wait(timeout)
        except (EOFError, OSError) as error:
            self._raise_death(error)

    def step_async(self, actions: Any) -> None:
        """Send one action to every process.

        Raises:
            EnvFault: a process died.
        """
        try:
            super().step_async(actions)
        except OSError as error:
            self._raise_death(error)

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """End the processes, and give back the descriptors that gymnasium leaves to the collector.

        Args:
            timeout: seconds to wait for the processes, which are ended then; ``None`` waits as long
                as they take.
            terminate: end them at once.
        """
        if terminate or not self._is_settled(timeout):
            self._terminate_all()
        super().close_extras()
        if self._at_exit is not None:
            self._at_exit.cancel()
        for process in self.processes:
            process.close()
        self.error_queue.close()
        del self.error_queue  # its two pipe ends go with it

    def _is_settled(self, timeout: float | None) -> bool:
        """Whether what the processes were told last is done in time."""
        try:
            if self._state is not AsyncState.DEFAULT:
                getattr(self, f"{self._state.value}_wait")(timeout)
        except multiprocessing.TimeoutError:
            return False
        return True

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        failed = sum(not success for success in successes)
        reports = [self.error_queue.get() for _ in range(failed)]
        for index, *_ in reports:
            self._drop(index)
        if reports:
            raise min(reports, key=lambda report: report[0])[2]

    def _raise_death(self, error: Exception) -> NoReturn:
        ended = wait([process.sentinel for process in self.processes], timeout=_EXIT_SECONDS)
        for process in self.processes:
            if process.sentinel in ended:
                process.join(_EXIT_SECONDS)  # its pipes close a moment before it can be reaped
        dead = {i: p.exitcode for i, p in enumerate(self.processes) if p.exitcode is not None}
        self._terminate_all()
        ends = ", ".join(f"environment {i}: {_describe_exit(code)}" for i, code in dead.items())
        raise EnvFault(
            f"a worker process of the vector environment died ({ends or error})",
            env_index=min(dead, default=None),
        ) from error

    def _end_of(self, index: int) -> str:
        """How a process ended that is about to be gone."""
        process = self.processes[index]
        process.join(_EXIT_SECONDS)
        return "still there" if process.exitcode is None else _describe_exit(process.exitcode)

    def _terminate_all(self) -> None:
        """End the living too: which replies they still owe is unknown, so they cannot go on."""
        kill_all(self.processes)
        for index in range(self.num_envs):
            self._drop(index)

    def _drop(self, index: int) -> None:
        pipes: list[Any] = self.parent_pipes  # gymnasium marks a lost pipe with None
        if pipes[index] is not None:
            pipes[index].close()
        pipes[index] = None
        self._state = AsyncState.DEFAULT


def _describe_exit(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
