"""How the template makes a worker: by fork, or as a fresh interpreter.

A fork takes milliseconds and shares the memory of what was imported. It is the way on Linux, for
workers that will use a GPU too: CUDA survives a fork as long as nobody has initialised it before,
and the template only imports. Should a ``preload`` initialise it, fresh interpreters take over.
They are also the way where system libraries do not survive a fork at all (macOS), and cost the
imports each time.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import random
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from rllib.core.native import platform, wire, worker

_PR_SET_PDEATHSIG = 1
_GPU = "/dev/nvidia"
_FRESH = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from rllib.core.native.makers import fresh_main; fresh_main(int(sys.argv[1]), sys.argv[3])"
)

Notify = Callable[[str], None]
"""Says something to the user."""


class Maker(ABC):
    """Makes worker processes; each leads a process group of its own."""

    @abstractmethod
    def make(self, order: wire.Make, control: int, output: int, inherited: Iterable[int]) -> int:
        """Start a worker and return its process id.

        ``control`` and ``output`` are its descriptors, ``inherited`` those of the template that it
        must not keep.
        """


def new_maker(boot: wire.Boot, notify: Notify) -> Maker:
    """The way for this system and for what the user wants to find imported."""
    if not platform.can_fork():
        return FreshMaker(boot)
    _preload(boot.preload, notify)
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        notify(f"preload started {threads - 1} threads, which forked workers will not have")
    if _holds_gpu():
        notify("preload has initialised CUDA, which no fork survives: workers start afresh instead")
        return FreshMaker(boot)
    gc.collect()
    gc.freeze()  # so that the collector of a worker leaves the shared pages alone
    return ForkMaker(boot.directory)


def _preload(modules: Iterable[str], notify: Notify) -> None:
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            notify(f"preload of {module!r} failed: {error!r}")


def _holds_gpu() -> bool:
    """Whether this process has opened a GPU, as initialising CUDA does."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if str(entry.readlink()).startswith(_GPU):
                return True
        except OSError:
            continue  # the descriptor of this very listing
    return False


class ForkMaker(Maker):
    """Forks this process."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def make(self, order: wire.Make, control: int, output: int, inherited: Iterable[int]) -> int:
        """Fork; the child never returns."""
        pid = os.fork()
        if pid == 0:
            _become_worker(order, self._directory, control, output, inherited)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)  # the child does it as well; whoever is first
        return pid


def _become_worker(
    order: wire.Make, directory: str, control: int, output: int, inherited: Iterable[int]
) -> NoReturn:
    """In the fork: cut what ties it to the template, then live as a worker."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        for fd in inherited:
            os.close(fd)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        _reseed()
        _live(order, directory, control)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _live(order: wire.Make, directory: str, control: int) -> NoReturn:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # `cancel` makes use of it
    _leave_to_driver()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    worker.main(order, directory, control)


def _reseed() -> None:
    """Forks must not draw the same "random" numbers."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()


class FreshMaker(Maker):
    """Starts interpreters; what a worker is to be comes to it on its standard input."""

    def __init__(self, boot: wire.Boot) -> None:
        self._boot = boot

    def make(self, order: wire.Make, control: int, output: int, inherited: Iterable[int]) -> int:
        """Spawn. All descriptors of the template close by themselves."""
        os.set_inheritable(control, True)
        os.set_inheritable(output, False)
        read_end, write_end = os.pipe()
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-c", _FRESH, str(control), json.dumps(sys.path), self._boot_text()],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, read_end, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setpgroup=0,
        )
        os.close(read_end)
        # Should it have ended already, that is reported as any worker's end.
        with contextlib.suppress(BrokenPipeError), os.fdopen(write_end, "wb") as stream:
            stream.write(wire.encode_record(order))
        return pid

    def _boot_text(self) -> str:
        return json.dumps([self._boot.directory, self._boot.preload])


def fresh_main(control: int, boot: str) -> NoReturn:
    """In a fresh interpreter: import what was asked for, then live as a worker."""
    directory, preload = json.loads(boot)
    order = wire.read_record(sys.stdin.buffer.read())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.set_inheritable(control, False)
    _preload(preload, lambda text: print(text, file=sys.stderr))
    _live(order, directory, control)


LEFT_TO_DRIVER = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
"""Schedulers of clusters send these to every process of a job when its time is over, and systems
that shut down."""


def _leave_to_driver() -> None:
    """Take no notice: the driver ends in order, and its workers with it."""
    for number in LEFT_TO_DRIVER:
        signal.signal(number, lambda *_: None)
    os.register_at_fork(after_in_child=_take_notice)


def _take_notice() -> None:
    """Processes that a worker forks are ended by such signals as any other."""
    for number in LEFT_TO_DRIVER:
        signal.signal(number, signal.SIG_DFL)
