"""Capabilities: what is chosen where, and what a system without them is told."""

import errno
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from rllib.core.exceptions import OutOfDiskError
from rllib.core.native import memory, platform
from rllib.core.native.arena import Segment

MIB = 2**20

BARE_WINDOWS = """
import asyncio, concurrent.futures, importlib.abc, multiprocessing, os, psutil, select, signal
import socket, subprocess, sys, tempfile, cloudpickle, msgspec, uuid

MISSING = {"fcntl", "resource", "pwd", "grp", "termios", "posix", "_posixsubprocess"}

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in MISSING:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Blocked())
for name in ("epoll", "poll", "EPOLLIN", "EPOLLOUT", "POLLIN", "POLLOUT"):
    delattr(select, name)
for name in ("fork", "register_at_fork", "getuid", "eventfd", "memfd_create", "pidfd_open"):
    delattr(os, name)
for name in ("AF_UNIX", "SO_PEERCRED", "SCM_RIGHTS"):
    delattr(socket, name)
sys.platform = "win32"
"""


def on_windows(code: str) -> str:
    """What a fresh interpreter prints that finds nothing of Unix."""
    done = subprocess.run(
        [sys.executable, "-c", BARE_WINDOWS + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux alone has it")
def test_one_thread_alone_leaves_the_cores_to_others() -> None:
    found = []

    def carry() -> None:
        platform.carry_in_batches()
        found.append(os.sched_getscheduler(0))

    thread = threading.Thread(target=carry)
    thread.start()
    thread.join()
    assert found == [os.SCHED_BATCH]
    assert os.sched_getscheduler(0) != os.SCHED_BATCH


def test_windows_has_the_inline_engine() -> None:
    code = """
from rllib import core
with core.init(address="inline"):
    @core.remote
    class Counter:
        def __init__(self): self.n = 0
        def add(self, k): self.n += k; return self.n
    @core.remote
    def double(x): return 2 * x
    counter = Counter.remote()
    print(core.get([counter.add.remote(20), double.remote(11)]))
"""
    assert on_windows(code) == "[20, 22]"


@pytest.mark.parametrize("address", ["", "address='local'", "address='auto'"])
def test_windows_is_told_of_the_inline_engine(address: str) -> None:
    code = f"""
from rllib import core
try:
    core.init({address})
except RuntimeError as error:
    print(error, core.is_initialized())
"""
    said = on_windows(code)
    assert "on Windows use init(address='inline')" in said
    assert said.endswith("False")


@pytest.mark.parametrize(
    ("value", "forced"), [("1", True), ("yes", True), ("0", False), ("", False)]
)
def test_the_portable_way_can_be_forced(
    monkeypatch: pytest.MonkeyPatch, value: str, forced: bool
) -> None:
    monkeypatch.setenv(platform.VARIABLE, value)
    assert platform.is_portable_forced() is forced
    assert platform.can_fork() is not forced
    assert platform.has_memfd() is not forced
    assert platform.has_epoll() is not forced


def test_other_systems_do_not_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(platform.VARIABLE, raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not platform.can_fork()


def test_cores_are_counted_where_affinity_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert platform.usable_cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert platform.usable_cores() == os.cpu_count()


def test_the_user_of_a_peer_is_known() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert platform.peer_user(ours) == os.getuid()


def test_the_user_of_a_peer_is_known_without_so_peercred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED")

    class Socket:
        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            assert (level, option) == (0, 1)
            answer = struct.pack("=IIh2x16I", 0, 501, 1, 20, *[0] * 15)
            assert len(answer) == size == 76  # of struct xucred
            return answer

    stranger: Any = Socket()
    assert platform.peer_user(stranger) == 501


@pytest.fixture
def portable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(platform.VARIABLE, "1")


@pytest.mark.usefixtures("portable")
def test_memory_without_memfd_has_no_name_and_is_shared(tmp_path: Path) -> None:
    segment = Segment.create(b"arena", 0, MIB, tmp_path)
    assert not list(tmp_path.iterdir())
    assert not os.get_inheritable(segment.fd)
    assert os.fstat(segment.fd).st_blocks * 512 >= MIB  # a full disk would have shown by now
    other = Segment(b"arena", 0, os.dup(segment.fd), MIB)
    segment.map[5] = 77
    assert other.map[5] == 77


@pytest.mark.usefixtures("portable")
def test_a_full_disk_is_an_error_that_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutOfDiskError, match="No space left on device; make room there"):
        memory.new_memory(MIB, tmp_path)
    assert not list(tmp_path.iterdir())
