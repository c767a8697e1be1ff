"""The template: a single-threaded process that makes the workers, and sees how they end.

::

    node --Boot, Make(+ control socket, output pipe), Kill--> template --makes--> worker
    node <--Made, Exited, Notice----------------------------- template --pids---> janitor

It has imported what workers need and forks them, in milliseconds; where the system cannot fork
safely it starts fresh interpreters, which import the same (`makers`). As the parent of all workers
it alone may signal them by number: until it has waited for one, the number is that one's.

The template ends when the node does, whatever way that happens, and takes all workers with it.
Should it be killed itself, the node ends the workers; should both be killed, the `janitor` does.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any, NoReturn

from rllib.core.native import wire
from rllib.core.native.connection import Connection
from rllib.core.native.makers import LEFT_TO_DRIVER, Maker, new_maker
from rllib.core.native.poller import READ, WRITE
from rllib.core.native.spillfiles import remove_session

_GRACE_S = 1.0
_PARENT_CHECK_S = 1.0
"""A process that the node forked without Python's knowledge may keep its socket from ending."""


def main(fd: int, janitor: int, parent: int) -> NoReturn:
    """Serve the node at the other end of ``fd``, process ``parent``, until it ends.

    ``janitor`` is the pipe to the process of that name.
    """
    for inherited in (fd, janitor):
        os.set_inheritable(inherited, False)  # workers get neither
    _Template(Connection(socket.socket(fileno=fd)), janitor, parent).serve()


class _Template:
    def __init__(self, node: Connection, janitor: int, parent: int) -> None:
        self._node = node
        self._janitor = janitor
        self._parent = parent
        self._directory = ""
        self._maker: Maker
        self._workers: dict[bytes, int] = {}  # id -> process id
        self._poll = select.poll()

    # -- the loop ------------------------------------------------------------------------------

    def serve(self) -> NoReturn:
        """Obey the node, report exits, end with the node."""
        for number in (signal.SIGINT, *LEFT_TO_DRIVER):  # Ctrl-C is the driver's to handle, too
            signal.signal(number, signal.SIG_IGN)
        self._poll.register(self._node.fd, READ)
        while True:
            for fd, mask in self._poll.poll(_PARENT_CHECK_S * 1000):
                self._on_node(mask) if fd == self._node.fd else self._reap()
            if os.getppid() != self._parent:
                self._end()

    def _on_node(self, mask: int) -> None:
        if mask & WRITE:
            self._node.resume()
        try:
            for frame in self._node.receive():
                self._obey(wire.read_record(frame[-1]))
        except EOFError:
            self._end()
        self._poll.modify(self._node.fd, READ | WRITE if self._node.blocked else READ)

    def _obey(self, record: Any) -> None:
        match record:
            case wire.Make():
                self._make(record)
            case wire.Kill(worker):
                if worker in self._workers:  # else it has ended by itself
                    _kill_group(self._workers[worker])
            case wire.Boot():
                self._boot(record)

    def _tell(self, record: Any) -> None:
        self._node.send(wire.record_frame(record))
        self._node.flush()

    def _tell_janitor(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError, BlockingIOError):  # killed, or stopped for long
            os.write(self._janitor, line.encode())

    # -- workers -------------------------------------------------------------------------------

    def _boot(self, boot: wire.Boot) -> None:
        self._directory = boot.directory
        self._maker = new_maker(boot, lambda text: self._tell(wire.Notice(text)))
        self._children, write_end = os.pipe()
        os.set_blocking(self._children, False)
        os.set_blocking(write_end, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        self._inherited = (self._node.fd, self._janitor, self._children, write_end)
        self._poll.register(self._children, READ)

    def _make(self, order: wire.Make) -> None:
        control, output = self._node.received_fds.popleft(), self._node.received_fds.popleft()
        pid = self._maker.make(order, control, output, self._inherited)
        self._workers[order.worker] = pid
        self._tell_janitor(f"+{pid}\n")
        os.close(control)
        os.close(output)
        self._tell(wire.Made(order.worker, pid))

    def _reap(self) -> None:
        """Wait for whoever has ended."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._children, 1 << 12)
        for worker, pid in list(self._workers.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._bury(worker, pid, status)

    def _bury(self, worker: bytes, pid: int, status: int) -> None:
        del self._workers[worker]
        _kill_group(pid)  # what the worker has started itself
        self._tell_janitor(f"-{pid}\n")
        self._tell(wire.Exited(worker, status))

    # -- the end -------------------------------------------------------------------------------

    def _end(self) -> NoReturn:
        """The node is gone: give workers a moment to notice, then leave nothing behind."""
        if self._directory:
            self._wait_for_workers()
        for pid in self._workers.values():
            _kill_group(pid)
        for worker, pid in list(self._workers.items()):
            self._bury(worker, *os.waitpid(pid, 0))
        if self._directory:
            remove_session(Path(self._directory))
        os._exit(0)

    def _wait_for_workers(self) -> None:
        self._poll.unregister(self._node.fd)
        deadline = time.monotonic() + _GRACE_S
        while self._workers and (left := deadline - time.monotonic()) > 0:
            self._poll.poll(left * 1000)
            self._reap()


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
