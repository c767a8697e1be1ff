"""The fork template: a single-threaded process that has imported what workers need.

Starting an interpreter and importing takes a second or two, forking takes milliseconds::

    node --Boot, Fork(+ control socket, output pipe)--> template --fork--> worker
    node <--Forked, Exited, Notice--------------------- template

Parent and child side by side: `main` is the template, `_become_worker` what the fork does. The
template ends when the node does, whatever way that happens, and takes all workers with it; the
kernel ends the workers should the template be killed.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import gc
import importlib
import os
import random
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from rllib.core.native import wire, worker
from rllib.core.native.spillfiles import remove_session

_PR_SET_PDEATHSIG = 1
_MAX_MESSAGE = 1 << 16
_FDS_PER_FORK = 2
_GRACE_S = 1.0


def main(fd: int, parent: int) -> NoReturn:
    """Serve the node at the other end of ``fd``, process ``parent``, until it ends."""
    template = _Template(socket.socket(fileno=fd), parent)
    template.boot()
    template.serve()


class _Template:
    def __init__(self, node: socket.socket, parent: int) -> None:
        self._node = node
        self._parent = parent
        self._directory = ""
        self._poll = select.poll()
        self._workers: dict[int, tuple[bytes, int]] = {}  # pidfd -> id, pid

    def boot(self) -> None:
        """Import what was asked for. What starts threads cannot be forked, and is said so."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
        data, _fds = self._receive()
        boot = wire.read_record(data)
        self._directory = boot.directory
        for module in boot.preload:
            try:
                importlib.import_module(module)
            except Exception as error:
                self._tell(wire.Notice(f"preload of {module!r} failed: {error!r}"))
        threads = len(list(Path("/proc/self/task").iterdir()))
        if threads > 1:
            text = f"preload started {threads - 1} threads, which forked workers will not have"
            self._tell(wire.Notice(text))
        gc.collect()
        gc.freeze()  # so that the collector of a worker leaves the shared pages alone

    def serve(self) -> NoReturn:
        """Fork on demand, report exits, end with the node."""
        parent = os.pidfd_open(self._parent)
        for fd in (self._node.fileno(), parent):
            self._poll.register(fd, select.POLLIN)
        while True:
            for fd, _mask in self._poll.poll():
                if fd == parent:
                    self._end()
                elif fd == self._node.fileno():
                    self._fork()
                elif fd in self._workers:
                    self._reap(fd)

    def _receive(self) -> tuple[bytes, list[int]]:
        space = socket.CMSG_SPACE(_FDS_PER_FORK * array.array("i").itemsize)
        try:
            data, ancillary, _flags, _address = self._node.recvmsg(_MAX_MESSAGE, space)
        except ConnectionResetError:  # it left with messages of ours unread
            self._end()
        if not data:
            self._end()
        fds = array.array("i")
        for _level, _kind, payload in ancillary:
            fds.frombytes(payload)
        return data, list(fds)

    def _tell(self, record: Any) -> None:
        with contextlib.suppress(OSError):  # the node is gone, which the next poll shows
            self._node.send(wire.encode_record(record))

    def _fork(self) -> None:
        data, fds = self._receive()
        order = wire.read_record(data)
        pid = os.fork()
        if pid == 0:
            self._node.close()
            for pidfd in self._workers:
                os.close(pidfd)
            _become_worker(order, self._directory, *fds)
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # the child does it as well; whoever is first
        pidfd = os.pidfd_open(pid)
        self._workers[pidfd] = (order.worker, pid)
        self._poll.register(pidfd, select.POLLIN)
        self._tell(wire.Forked(order.worker, pid))

    def _reap(self, pidfd: int) -> None:
        worker, pid = self._workers.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _pid, status = os.waitpid(pid, 0)
        _kill_group(pid)  # what the worker has started itself
        self._tell(wire.Exited(worker, status))

    def _end(self) -> NoReturn:
        """The node is gone: give workers a moment to notice, then leave nothing behind."""
        poll = select.poll()
        for pidfd in self._workers:
            poll.register(pidfd, select.POLLIN)
        left = dict(self._workers)
        while left and (ended := poll.poll(_GRACE_S * 1000)):
            for pidfd, _mask in ended:
                poll.unregister(pidfd)
                del left[pidfd]
        for _worker, pid in self._workers.values():
            _kill_group(pid)
        for _worker, pid in self._workers.values():
            os.waitpid(pid, 0)
        if self._directory:
            remove_session(Path(self._directory))
        os._exit(0)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _become_worker(order: wire.Fork, directory: str, control: int, output: int) -> NoReturn:
    """In the fork: cut what ties it to the template, then live as a worker."""
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # `cancel` makes use of it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        _reseed()
        worker.main(order, directory, control)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _reseed() -> None:
    """Forks must not draw the same "random" numbers."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()
