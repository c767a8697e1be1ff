"""Those at a node's port who have proved nothing: how many there may be, and for how long."""

import asyncio
import contextlib
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cluster_actors import Counter, actor_on
from patience import wait_until

from rllib import core
from rllib.core.cluster.credentials import split_address
from rllib.core.cluster.launch import Service
from rllib.core.cluster.service import Order, Running
from rllib.core.cluster.strangers import Stranger, Strangers, strangers_within
from rllib.core.testing import Cluster, Node

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\4" + bytes(5)
DESCRIPTORS = 400


class Crowd:
    """Strangers who wait until they are sent away."""

    def __init__(self, most: int, most_of_host: int) -> None:
        self.strangers = Strangers(most, most_of_host)
        self.there: dict[str, Stranger] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def come(self, *names: str) -> list[str]:
        """They are named by their host and a letter; who is there then."""
        for name in names:
            self._tasks.add(asyncio.create_task(self._wait(name)))
        for _ in range(5):
            await asyncio.sleep(0)
        return list(self.there)

    async def _wait(self, name: str) -> None:
        try:
            async with asyncio.timeout(60) as patience:
                with self.strangers.one_more(name[:-1], patience) as self.there[name]:
                    await asyncio.Event().wait()
        except TimeoutError:
            pass
        finally:
            del self.there[name]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def test_of_too_many_the_oldest_goes_of_the_host_with_most() -> None:
    async def look() -> None:
        crowd = Crowd(4, 3)
        assert await crowd.come("1a", "1b", "1c") == ["1a", "1b", "1c"]
        assert await crowd.come("1d") == ["1b", "1c", "1d"]
        assert await crowd.come("2a", "3a") == ["1c", "1d", "2a", "3a"]
        await crowd.end()
        assert await crowd.come("1a", "1b", "1c") == ["1a", "1b", "1c"], "nobody is counted twice"
        await crowd.end()

    asyncio.run(look())


def test_who_has_the_token_stays_and_is_no_stranger() -> None:
    async def look() -> None:
        crowd = Crowd(4, 2)
        await crowd.come("1a", "1b")
        crowd.strangers.know(crowd.there["1a"])
        assert await crowd.come("1c", "1d") == ["1a", "1c", "1d"]
        dismissed = crowd.there["1c"]
        dismissed.dismiss()
        dismissed.stay(None)  # too late
        assert await crowd.come() == ["1a", "1d"]
        crowd.there["1d"].stay(0.0)
        assert await crowd.come() == ["1a"]
        await crowd.end()

    asyncio.run(look())


def test_there_may_be_as_many_as_there_are_descriptors_for() -> None:
    few, many = strangers_within(1024), strangers_within(2**20)
    assert few._most * 3 < 1024 / 3
    assert many._most == 1024
    assert many._most_of_host == 512


def test_a_node_may_have_as_many_descriptors_as_the_system_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(900, hard), hard))
    try:
        with Cluster() as cluster:
            limits = Path(f"/proc/{cluster.head.pid}/limits").read_text()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (line,) = [each for each in limits.splitlines() if each.startswith("Max open files")]
    assert line.split()[3] == line.split()[4] != "900"


@contextlib.contextmanager
def head_with_few_descriptors(log: Path) -> Iterator[Running]:
    arguments = ["-m", "rllib", "start", "--head", "--port", "0", "--num-cpus", "1", "--block"]
    with log.open("wb") as told:
        process = subprocess.Popen(
            ["sh", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "sh", sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=told,
        )
        assert process.stdout is not None
        with process.stdout:
            try:
                yield Running(**json.loads(process.stdout.readline()))
            finally:
                process.terminate()
                process.wait()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="limits are told by /proc")
def test_strangers_do_not_use_up_the_descriptors(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with head_with_few_descriptors(log) as head, contextlib.ExitStack() as idle:
        process = psutil.Process(head.pid)
        before = process.num_fds()
        strangers = [
            idle.enter_context(socket.create_connection(split_address(head.address)))
            for _ in range(DESCRIPTORS)
        ]
        for each in strangers:
            with contextlib.suppress(ConnectionError):  # it has to go already
                each.sendall(PREFACE)
        node = Service(Order(head=head.address, host="127.0.0.2", amounts={"CPU": 1.0}))
        try:
            core.init(address=head.address)
            assert core.get(Counter.remote(4).add.remote()) == 5
            assert core.get(actor_on(Node(node)).add.remote()) == 1
            wait_until(lambda: process.num_fds() < before + DESCRIPTORS / 3)
        finally:
            core.shutdown()
            node.stop()
    assert "Traceback" not in log.read_text()
