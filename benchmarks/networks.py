"""Machines on one host that are as far apart as real ones: each in a network namespace.

::

    namespace 1: 10.78.0.1 --veth--.
    namespace 2: 10.78.0.2 --veth--+-- bridge
    namespace 3: 10.78.0.3 --veth--'

It takes root, and Linux's ``ip``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000


def no_network() -> str:
    """Why there can be none here; empty where there can."""
    if os.geteuid() or shutil.which("ip") is None:
        return "network namespaces take root, and the program ip (iproute2)"
    try:
        with Network(1):
            return ""
    except OSError as error:
        return str(error)


class Network:
    """Machines with the numbers from 1 on. One that is made elsewhere is known by its ``mark``."""

    def __init__(self, size: int, mark: str = "") -> None:
        self.mark = mark or f"rlb{secrets.token_hex(1)}"
        self._size = size

    def address(self, number: int) -> str:
        """Of a machine."""
        return f"10.78.{int(self.mark[3:], 16)}.{number}"

    def cable(self, number: int) -> str:
        """The bridge's end of it."""
        return f"{self.mark}v{number}"

    def _name(self, number: int) -> str:
        return f"{self.mark}n{number}"

    def __enter__(self) -> Network:
        try:
            ip("link", "add", self.mark, "type", "bridge")
            ip("link", "set", self.mark, "up")
            for number in range(1, self._size + 1):
                self._add(number)
        except OSError:
            self.__exit__()
            raise
        return self

    def _add(self, number: int) -> None:
        name, outer = self._name(number), self.cable(number)
        ip("netns", "add", name)
        ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", name, "link", "set", device, "up")
        ip("link", "set", outer, "master", self.mark, "up")

    def __exit__(self, *exc: object) -> None:
        for number in range(1, self._size + 1):
            with contextlib.suppress(OSError):  # where making it came no further
                ip("netns", "del", self._name(number))
        with contextlib.suppress(OSError):
            ip("link", "del", self.mark)

    def on(self, number: int, action: Callable[[], T]) -> T:
        """What it returns when a process that it starts is on that machine."""
        with ThreadPoolExecutor(1) as pool:  # other threads stay where they are
            return pool.submit(self._entered, number, action).result()

    def _entered(self, number: int, action: Callable[[], T]) -> T:
        with self.entered(number):
            return action()

    @contextlib.contextmanager
    def entered(self, number: int) -> Iterator[None]:
        """This thread is on that machine, and what it starts."""
        with Path("/proc/thread-self/ns/net").open() as before:
            with Path("/var/run/netns", self._name(number)).open() as there:
                _set_namespace(there.fileno())
            try:
                yield
            finally:
                _set_namespace(before.fileno())


def _set_namespace(fd: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def ip(*arguments: str) -> None:
    """Run that program. Raises `OSError`."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
