"""Processes are killed at random instants amid a load of everything: whoever waits gets a value or
a typed error in time, the runtime serves on, and nothing is left of the dead.

The suite runs a short form; ``make test-slow`` runs it at full length.
"""

import gc
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import mixed_load
import psutil
import pytest
from engines import native_engine
from mixed_load import Counter, Piece, Stream, square
from patience import patience, wait_until

from rllib import core
from rllib.core.native.node import Node

SLOW = bool(os.environ.get("RLLIB_SLOW"))
KILLS = 200 if SLOW else 32
KILLS_PER_BURST = 8
WINDOW_S = 0.3
"""How long a burst of kills takes."""
PATIENCE_S = 5.0
"""Where nothing else runs."""
SEED = int(os.environ.get("RLLIB_SEED", "20"))

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", autouse=True)
def runtime() -> Iterator[None]:
    with core.init(num_cpus=2, object_store_memory=16 * 2**20):  # less than the load puts
        core.get(square.remote(1))
        yield


def template() -> psutil.Process:
    """The one that is there at this moment."""
    node = native_engine().node
    assert isinstance(node, Node)
    while (found := node._template) is None:
        threading.Event().wait(0.001)
    return psutil.Process(found._process.pid)


def kill_one(draw: random.Random) -> bool:
    """Kill a worker, whatever it is at; whether there was one."""
    try:
        pids = sorted(child.pid for child in template().children())
        if pids:
            os.kill(draw.choice(pids), signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):  # somebody was faster
        return False
    return bool(pids)


def kill_some(draw: random.Random, count: int) -> None:
    """One kill after the other, at random instants of the window."""
    for _ in range(count):
        threading.Event().wait(draw.uniform(0, 2 * WINDOW_S / count))
        deadline = time.monotonic() + patience(PATIENCE_S)
        while not kill_one(draw):
            assert time.monotonic() < deadline, "there is no worker to kill"


def expect_outcomes(pieces: list[Piece]) -> None:
    """All there in time, and each of them as it may be."""
    refs = [ref for piece in pieces if not isinstance(piece, Stream) for ref in piece.refs]
    _, late = core.wait(refs, num_returns=len(refs), timeout=patience(PATIENCE_S))
    waiting = {piece.kind for piece in pieces for ref in piece.refs if ref in late}
    assert not waiting, f"nothing has come of {waiting} in time"
    for piece in pieces:
        piece.check()


def expect_service() -> None:
    """New tasks and actors do their work; one that needs all CPUs gets them, so none is lost."""
    greedy = Counter.options(num_cpus=2).remote()
    assert core.get(greedy.next.remote(), timeout=patience(PATIENCE_S)) == 1
    core.kill(greedy)
    wait_until(lambda: core.available_resources()["CPU"] == 2, patience(PATIENCE_S))
    assert core.get([square.remote(n) for n in range(9)], timeout=patience(PATIENCE_S))[-1] == 64


def what_is_held() -> dict[str, int]:
    """What the driver has lent, borrowed and handed out, and its shared memory in use."""
    runtime = native_engine()
    gc.collect()
    with runtime.lock:
        runtime.flush()
        values, peers = runtime.values, runtime.peers.living()
        return {
            "lent": len(values.lendings),
            "borrowed": sum(map(len, values.borrowings._refs.values())),
            "handed out": sum(len(peer.held) for peer in peers),
            "bytes": runtime.places.arena.statistics().used,
            "calls": sum(len(peer.inflight) for peer in peers),
            "actors waited for": len(runtime.actor_calls._awaited),
            "tasks": sum(1 for _ in runtime.tasks.unsent()),
            "recipes": len(runtime.lineage.recipes),
        }


def expect_nothing_held() -> None:
    held: dict[str, int] = {}

    def nothing() -> bool:
        held.update(what_is_held())
        return not any(held.values())

    try:
        wait_until(nothing, patience(PATIENCE_S))
    except AssertionError:
        raise AssertionError(f"still held: {held}") from None


def burst(draw: random.Random, kill: Callable[[random.Random], Any]) -> None:
    """A load, kills amid it, and what must hold afterwards."""
    killer = threading.Thread(target=kill, args=(draw,))
    killer.start()
    pieces = mixed_load.begin(random.Random(draw.random()))
    killer.join()
    expect_outcomes(pieces)
    del pieces
    expect_service()
    expect_nothing_held()


@pytest.mark.parametrize("seed", range(SEED, SEED + KILLS // KILLS_PER_BURST))
def test_workers_are_killed(seed: int) -> None:
    burst(random.Random(seed), lambda draw: kill_some(draw, KILLS_PER_BURST))


@pytest.mark.parametrize("seed", range(SEED, SEED + (10 if SLOW else 2)))
def test_the_template_is_killed(seed: int) -> None:
    def kill_template(draw: random.Random) -> None:
        kill_some(draw, 2)
        template().kill()

    burst(random.Random(seed), kill_template)
