"""Machines on one host that are as far apart as real ones: each in a network namespace.

::

    namespace a: 10.77.0.1 --veth--.
    namespace b: 10.77.0.2 --veth--+-- bridge
    namespace c: 10.77.0.3 --veth--'

Their processes reach each other by these addresses alone. It takes root, and Linux's ``ip``.
"""

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

import pytest

from rllib.core.cluster.launch import Service
from rllib.core.cluster.service import Order

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class Network:
    """A bridge, and a namespace for each of ``size`` machines, which are numbered from 1 on."""

    def __init__(self, size: int) -> None:
        self._mark = f"rl{secrets.token_hex(2)}"
        self._subnet = f"10.77.{secrets.randbelow(256)}"
        self._size = size

    def address(self, number: int) -> str:
        """Of a machine."""
        return f"{self._subnet}.{number}"

    def __enter__(self) -> "Network":
        try:
            _ip("link", "add", self._mark, "type", "bridge")
            _ip("link", "set", self._mark, "up")
            for number in range(1, self._size + 1):
                self._add(number)
        except OSError as error:
            self.__exit__()
            pytest.skip(f"there can be no network namespaces here: {error}")
        return self

    def _add(self, number: int) -> None:
        name, outer = self._name(number), self._outer(number)
        _ip("netns", "add", name)
        _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", name, "link", "set", device, "up")
        _ip("link", "set", outer, "up")
        self.mend(number)

    def __exit__(self, *exc: object) -> None:
        for number in range(1, self._size + 1):
            with contextlib.suppress(OSError):  # where making it came no further
                _ip("netns", "del", self._name(number))
        with contextlib.suppress(OSError):
            _ip("link", "del", self._mark)

    def _name(self, number: int) -> str:
        return f"{self._mark}n{number}"

    def _outer(self, number: int) -> str:
        return f"{self._mark}v{number}"

    def cut(self, number: int) -> None:
        """From now on nothing that the machine sends arrives, nor what is sent to it."""
        _ip("link", "set", self._outer(number), "nomaster")

    def mend(self, number: int) -> None:
        """The end of that."""
        _ip("link", "set", self._outer(number), "master", self._mark)

    def on(self, number: int, action: Callable[[], T]) -> T:
        """What it returns when a process that it starts is on that machine."""
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._entered, number, action).result()

    def _entered(self, number: int, action: Callable[[], T]) -> T:
        """In a thread of its own: what a thread starts is where the thread is."""
        with Path("/var/run/netns", self._name(number)).open() as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        return action()

    def node(self, number: int, head: str = "", **amounts: float) -> Service:
        """A node service on that machine, without TLS."""
        order = Order(
            head=head, host=self.address(number), amounts=amounts, insecure=True, quiet=True
        )
        return self.on(number, lambda: Service(order))


@contextlib.contextmanager
def network(size: int) -> Iterator[Network]:
    """Skips the test where there can be none."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces take root, and the program ip (iproute2)")
    with Network(size) as found:
        yield found
