"""What workers of other nodes print, and how their constructors fail, whatever the size of it."""

import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from cluster_actors import on
from patience import SOON_S, freeze, wait_until

from rllib import core
from rllib.core.cluster.outbox import MAX_RECORD
from rllib.core.cluster.services import AttachedDriver
from rllib.core.exceptions import ActorDiedError, ActorUnschedulableError, TaskError
from rllib.core.native import wire
from rllib.core.native.connection import Connection
from rllib.core.native.output import MAX_WAITING
from rllib.core.testing import Cluster, Node

MIB = 2**20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(head={"num_cpus": 1}) as cluster:
        cluster.add_node(num_cpus=2)
        core.init(address=cluster.address)
        yield cluster


@pytest.fixture
def node(cluster: Cluster) -> Node:
    return next(each for each in cluster._nodes.values() if each is not cluster.head)


@core.remote(num_cpus=0)
class Talker:
    """Prints, or raises, a lot."""

    def __init__(self, refuse: int = 0) -> None:
        if refuse:
            raise ValueError(b"x" * refuse)

    def talk(self, megabytes: int) -> int:
        line = "y" * 4_095
        for _ in range(megabytes * MIB // 4_096):
            print(line)
        sys.stdout.flush()
        return megabytes

    def talk_later(self, go: Path, done: Path, megabytes: int) -> None:
        def work() -> None:
            go.read_text()
            self.talk(megabytes)
            done.touch()

        threading.Thread(target=work).start()

    def say(self, text: str) -> str:
        print(text, flush=True)
        return text

    def one_line(self, megabytes: int) -> int:
        print("z" * (megabytes * MIB), flush=True)
        return megabytes


def talker(node: Node, *args: Any, **options: Any) -> Any:
    return Talker.options(scheduling_strategy=on(node), **options).remote(*args)


def test_a_node_outlives_what_its_actors_print(
    node: Node, capfd: pytest.CaptureFixture[str]
) -> None:
    actor = talker(node)
    assert core.get(actor.talk.remote(100), timeout=60) == 100
    assert core.get(actor.one_line.remote(80), timeout=60) == 80
    shown = ""

    def heard() -> bool:
        nonlocal shown
        assert core.get(actor.say.remote("the end"), timeout=SOON_S) == "the end"
        shown += capfd.readouterr().err
        return "the end" in shown

    wait_until(heard, 60)
    left = sum(int(n.replace(",", "")) for n in re.findall(r"\[([\d,]+) lines left out", shown))
    assert shown.count("y" * 4_095) + left >= 100 * MIB // 4_096
    assert [row["Alive"] for row in core.nodes()] == [True, True]


def test_a_head_that_is_frozen_costs_a_node_little(
    cluster: Cluster, node: Node, tmp_path: Path
) -> None:
    actor = talker(node)
    assert core.get(actor.talk.remote(1), timeout=SOON_S) == 1
    service = psutil.Process(node.pid)
    before = service.memory_info().rss
    go, done = tmp_path / "go", tmp_path / "done"
    os.mkfifo(go)
    core.get(actor.talk_later.remote(go, done, 200))
    freeze(cluster.head.pid)  # through which calls of its drivers go
    go.write_text("now")
    wait_until(done.exists, 60)
    grown = service.memory_info().rss - before
    psutil.Process(cluster.head.pid).resume()
    assert grown < 6 * MAX_WAITING
    assert core.get(actor.talk.remote(1), timeout=SOON_S) == 1
    assert [row["Alive"] for row in core.nodes()] == [True, True]


def test_a_constructor_may_raise_whatever_it_likes(node: Node) -> None:
    actor = talker(node, 70 * MIB)
    with pytest.raises(ActorDiedError, match="more characters left out") as caught:
        core.get(actor.talk.remote(1), timeout=60)
    assert isinstance(caught.value.__cause__, TaskError)
    assert "is left out" in str(caught.value)
    assert len(str(caught.value)) < MIB
    assert core.get(talker(node).talk.remote(1), timeout=SOON_S) == 1


def test_a_request_that_is_too_large_fails_alone(node: Node) -> None:
    @core.remote(num_cpus=0)
    class Asker:
        def ask(self) -> str:
            much = {"env_vars": {"MUCH": "x" * MAX_RECORD}}
            try:
                core.get(Talker.options(runtime_env=much).remote().talk.remote(1), timeout=60)
            except ActorUnschedulableError as error:
                return str(error)
            return "it was placed"

    asker = Asker.options(scheduling_strategy=on(node)).remote()
    assert "at a time" in core.get(asker.ask.remote(), timeout=60)
    assert core.get(talker(node).talk.remote(1), timeout=SOON_S) == 1


def test_of_what_a_driver_does_not_read_lines_are_left_out_and_counted() -> None:
    ours, theirs = socket.socketpair()
    driver, reader = AttachedDriver(b"d" * 16, Connection(ours)), Connection(theirs)
    sent = 400
    for _ in range(sent):
        driver.send(wire.Printed("Cls", 7, "x" * 2**17))
    driver.flush()
    assert driver.control.queued_bytes < MAX_WAITING + 2**18
    driver.send(wire.RoomMade(1, 2))  # anything else is not left out
    heard: list[Any] = []
    while not heard or not getattr(heard[-1], "left_out", 0):
        heard += [wire.read_record(frame[-1]) for frame in reader.receive()]
        driver.control.resume()
        driver.flush()
    *lines, other, notice = heard
    assert other == wire.RoomMade(1, 2)
    assert notice == wire.Printed("Cls", 7, "", sent - len(lines))
    ours.close()
    theirs.close()
