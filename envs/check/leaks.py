"""What an environment leaves behind: open files, threads, processes and memory."""

import gc
import threading
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, NamedTuple

import psutil

from rllib.envs.check.findings import Finding, warning
from rllib.envs.faults import close_env

MOST_RESETS, RESETS_S = 400, 1.0
CLOSINGS, CLOSINGS_S = 4, 2.0
GROWTH_BYTES, GROWTH_OF_RESET = 8 * 2**20, 4 * 2**10
"""Memory that grows by less, in all or by each reset, may as well be that of the allocator."""


class Holding(NamedTuple):
    """What this process holds."""

    files: int
    threads: int
    processes: int
    memory: int


def holding() -> Holding:
    """At this moment, of what is not garbage."""
    gc.collect()
    process = psutil.Process()
    # Handles, where there are no descriptors, come and go by themselves.
    files = process.num_fds() if hasattr(process, "num_fds") else 0
    children = len(process.children(recursive=True))
    return Holding(files, threading.active_count(), children, process.memory_info().rss)


def check_leaks(make: Callable[[], Any]) -> Iterator[Finding]:
    """Whether something is left of each reset, and of environments that were closed.

    Args:
        make: an environment, of one agent or several, which is closed here.
    """
    env = make()
    try:
        yield from _check_resets(env)
    finally:
        close_env(env)
    yield from _check_closing(make)


def _check_resets(env: Any) -> Iterator[Finding]:
    """In three parts, of which the first fills what is kept on purpose."""
    env.reset(seed=0)
    number = _reset(env, MOST_RESETS, RESETS_S / 3)
    first = holding()
    number = _reset(env, number, RESETS_S)
    second = holding()
    number = _reset(env, number, RESETS_S)
    third = holding()
    for kind in ("files", "threads", "processes"):
        grown = getattr(third, kind) - getattr(first, kind)
        if grown >= max(2, number):
            text = f"{grown} more {kind} are open after {2 * number} resets"
            yield warning("reset()", text, "close what the last episode has opened, or keep it")
    halves = second.memory - first.memory, third.memory - second.memory
    if sum(halves) > GROWTH_BYTES and min(halves) > GROWTH_OF_RESET * number:
        each = sum(halves) / (2 * number) / 2**10
        text = f"memory grew by {sum(halves) / 2**20:,.0f} MiB in {2 * number} resets"
        yield warning("reset()", f"{text}, {each:,.0f} KiB each", "forget the last episode")


def _reset(env: Any, most: int, seconds: float) -> int:
    """How many times it was reset: so often at most, and about so long."""
    deadline = perf_counter() + seconds
    for number in range(1, most + 1):
        env.reset()
        if perf_counter() > deadline:
            return number
    return most


def _check_closing(make: Callable[[], Any]) -> Iterator[Finding]:
    _make_and_close(make)  # what is loaded once and kept
    before, deadline, closed = holding(), perf_counter() + CLOSINGS_S, 0
    while closed < CLOSINGS and (closed < 2 or perf_counter() < deadline):
        _make_and_close(make)
        closed += 1
    after = holding()
    for kind in ("files", "threads", "processes"):
        grown = getattr(after, kind) - getattr(before, kind)
        if grown >= closed:
            text = f"{grown} more {kind} are open after {closed} environments were made and closed"
            yield warning("close()", text, "end in close() what the constructor or reset has begun")


def _make_and_close(make: Callable[[], Any]) -> None:
    env = make()
    env.reset(seed=0)
    close_env(env)
