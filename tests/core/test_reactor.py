"""Who reads the sockets: one thread at a time, always somebody, and all who wait are told."""

import contextlib
import io
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from patience import SOON_S, wait_until

from rllib.core.native import platform
from rllib.core.native.epoll_poller import EpollPoller
from rllib.core.native.poll_poller import PollPoller
from rllib.core.native.poller import WRITE, Poller, new_poller
from rllib.core.native.reactor import Reactor


class Bell:
    """An eventfd whose handler notes which thread was told how often."""

    def __init__(self, reactor: Reactor) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_SEMAPHORE)
        self.rings: list[str] = []
        reactor.register(self.fd, self._on_ring)

    def _on_ring(self, _mask: int) -> None:
        os.eventfd_read(self.fd)
        self.rings.append(threading.current_thread().name)

    def ring(self, times: int = 1) -> None:
        os.eventfd_write(self.fd, times)


class Loop:
    """A reactor, its lock, and how often it was to finish."""

    def __init__(self, poller: Poller) -> None:
        self.lock = threading.RLock()
        self.finished = 0
        self.reactor = Reactor(self.lock, self._finish, poller)
        self.bell = Bell(self.reactor)

    def _finish(self) -> None:
        assert self.lock._is_owned()
        self.finished += 1


@pytest.fixture(params=[EpollPoller, PollPoller])
def poller(request: pytest.FixtureRequest) -> Poller:
    made: Poller = request.param()
    return made


@pytest.fixture
def loop(poller: Poller) -> Iterator[Loop]:
    made = Loop(poller)
    yield made
    made.reactor.unregister(made.bell.fd)
    os.close(made.bell.fd)
    made.reactor.stop()


def in_threads(count: int, work: Callable[[int], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    return threads


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(SOON_S)
        assert not thread.is_alive()


def test_the_background_reads_while_nobody_waits(loop: Loop) -> None:
    loop.bell.ring()
    wait_until(lambda: loop.bell.rings == ["rllib-io"])
    wait_until(lambda: loop.finished)


def test_what_rests_is_not_read_until_later(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rllib.core.native.reactor.threading.Timer", Alarm)
    bell, reactor = loop.bell, loop.reactor
    with loop.lock:
        reactor.rest(bell.fd)
    bell.ring()
    assert not reactor.run_until(lambda: bool(bell.rings), time.monotonic())
    Alarm.last.function()
    wait_until(lambda: len(bell.rings) == 1)
    with loop.lock:
        reactor.rest(bell.fd)
        reactor.unregister(bell.fd)
    Alarm.last.function()  # it may be another one's by now
    assert bell.fd not in reactor._handlers


class Alarm:
    """In place of `threading.Timer`."""

    last: "Alarm"

    def __init__(
        self, _seconds: float, function: Callable[..., None], given: tuple[Any, ...]
    ) -> None:
        self.function = partial(function, *given)
        Alarm.last = self

    def start(self) -> None:
        """It rings when it is told to."""


def test_a_thread_that_waits_reads_itself(loop: Loop) -> None:
    threading.Timer(0, loop.bell.ring).start()
    assert loop.reactor.run_until(lambda: bool(loop.bell.rings), time.monotonic() + SOON_S)
    loop.bell.ring()
    wait_until(lambda: len(loop.bell.rings) == 2)
    assert loop.bell.rings[1] == "rllib-io"  # given back


def test_what_is_done_already_needs_no_reading(loop: Loop) -> None:
    assert loop.reactor.run_until(lambda: True, 0.0)


@pytest.mark.parametrize("patience", [0.0, 0.05])
def test_a_deadline_ends_the_wait(loop: Loop, patience: float) -> None:
    start = time.monotonic()
    assert not loop.reactor.run_until(lambda: False, start + patience)
    assert patience <= time.monotonic() - start < patience + SOON_S


@pytest.mark.parametrize("seconds", [1e300, float("inf")])
def test_a_deadline_may_be_as_far_away_as_one_likes(loop: Loop, seconds: float) -> None:
    heard: list[bool] = []
    deadline = time.monotonic() + seconds

    def wait(_k: int) -> None:
        heard.append(loop.reactor.run_until(lambda: bool(loop.bell.rings), deadline))

    threads = in_threads(2, wait)  # one leads, one follows
    loop.bell.ring()
    join(threads)
    assert heard == [True, True]


def test_every_waiting_thread_hears_of_its_event(loop: Loop) -> None:
    done = [False] * 8

    def wait(k: int) -> None:
        target = k + 1
        done[k] = loop.reactor.run_until(lambda: len(loop.bell.rings) >= target, None)

    threads = in_threads(8, wait)
    for _ in range(8):
        loop.bell.ring()
    join(threads)
    assert all(done)


def test_deadlines_of_followers_hold(loop: Loop) -> None:
    late: list[bool] = []

    def wait(k: int) -> None:
        if k:
            late.append(loop.reactor.run_until(lambda: False, time.monotonic() + 0.05))
        else:
            loop.reactor.run_until(lambda: len(late) == 3, None)

    threads = in_threads(4, wait)
    wait_until(lambda: len(late) == 3)
    loop.reactor.announce()
    join(threads)
    assert late == [False] * 3


def test_what_happens_without_a_message_is_announced(loop: Loop) -> None:
    happened: list[int] = []
    seen: list[bool] = []
    threads = in_threads(
        3, lambda _: seen.append(loop.reactor.run_until(lambda: bool(happened), None))
    )
    wait_until(lambda: loop.reactor._led and loop.reactor._followers == 2)
    happened.append(1)
    loop.reactor.announce()
    join(threads)
    assert seen == [True] * 3


def test_nudges_are_answered_and_folded(loop: Loop) -> None:
    before = loop.finished
    with loop.lock:
        for _ in range(100):
            loop.reactor.nudge()
    wait_until(lambda: loop.finished > before)
    assert loop.finished - before < 10


def test_what_is_postponed_comes_when_the_lock_is_free(loop: Loop) -> None:
    free: list[bool] = []

    def action() -> None:
        free.append(loop.lock.acquire(blocking=False))
        loop.lock.release()

    with loop.lock:
        assert loop.reactor.postpone(action)
        assert not free
    wait_until(lambda: free == [True])


def test_an_error_in_a_handler_does_not_end_the_background(loop: Loop) -> None:
    broken = os.eventfd(0, os.EFD_NONBLOCK)

    def handler(_mask: int) -> None:
        os.eventfd_read(broken)
        raise LookupError("a defect")

    loop.reactor.register(broken, handler)
    with contextlib.redirect_stderr(io.StringIO()) as shown:
        os.eventfd_write(broken, 1)
        wait_until(lambda: "a defect" in shown.getvalue())
    loop.bell.ring()
    wait_until(lambda: loop.bell.rings)
    loop.reactor.unregister(broken)
    loop.reactor.unregister(broken)  # a second time is no error
    os.close(broken)


def test_stop_ends_all_waits(poller: Poller) -> None:
    loop = Loop(poller)
    results: list[bool] = []
    threads = in_threads(4, lambda _: results.append(loop.reactor.run_until(lambda: False, None)))
    wait_until(lambda: loop.reactor._led and loop.reactor._followers == 3)
    loop.reactor.stop()
    join(threads)
    os.close(loop.bell.fd)
    assert results == [False] * 4
    assert not loop.reactor.run_until(lambda: False, None)
    assert not loop.reactor.postpone(lambda: None)
    loop.reactor.nudge()
    loop.reactor.announce()


def test_what_changes_during_a_wait_counts_for_it(loop: Loop) -> None:
    """A socket is registered, watched for room, and closed while another thread waits."""
    reactor, seen = loop.reactor, []
    ours, theirs = socket.socketpair()
    done = threading.Event()

    def handler(mask: int) -> None:
        seen.append(mask)
        reactor.modify(ours.fileno(), 0)

    (waiter,) = in_threads(1, lambda _: reactor.run_until(done.is_set, None) and None)
    wait_until(lambda: reactor._led)
    with loop.lock:
        reactor.register(ours.fileno(), handler, 0)
        reactor.modify(ours.fileno(), WRITE)
    wait_until(lambda: seen == [WRITE])
    with loop.lock:
        reactor.unregister(ours.fileno())
        ours.close()
    theirs.settimeout(SOON_S)
    assert theirs.recv(1) == b""  # nobody's wait holds the closed socket open
    theirs.close()
    done.set()
    reactor.announce()
    join([waiter])


def test_a_closed_socket_ends_while_only_the_background_waits(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    loop.reactor.register(ours.fileno(), lambda _mask: None)
    loop.bell.ring()
    wait_until(lambda: loop.bell.rings)  # the background is at work
    loop.reactor.unregister(ours.fileno())
    ours.close()
    theirs.settimeout(SOON_S)
    assert theirs.recv(1) == b""
    theirs.close()


def test_short_waits_in_a_row_leave_the_background_alone() -> None:
    """What each of them costs on the portable way: nothing is written to a pipe."""
    poller = PollPoller()
    loop = Loop(poller)
    rung: list[int] = []
    ring, poller._wake.ring = poller._wake.ring, lambda: (rung.append(1), ring())[1]
    wait_until(lambda: poller._watching)
    start = time.monotonic()
    for _ in range(1000):
        loop.reactor.run_until(lambda: False, 0.0)
    lingers = (time.monotonic() - start) / 0.002
    assert 1 <= len(rung) <= 1 + lingers  # at most one each time that the background had settled
    wait_until(lambda: poller._watching)  # it comes back by itself
    loop.bell.ring()
    wait_until(lambda: loop.bell.rings == ["rllib-io"])
    loop.reactor.stop()
    os.close(loop.bell.fd)


def test_a_background_at_rest_uses_no_time_and_comes_back() -> None:
    poller = PollPoller()
    loop = Loop(poller)
    done = threading.Event()
    (leader,) = in_threads(1, lambda _: loop.reactor.run_until(done.is_set, None) and None)
    wait_until(lambda: poller._resting)
    before = time.process_time()
    done.wait(0.1)
    assert time.process_time() - before < 0.01
    done.set()
    loop.reactor.announce()
    join([leader])
    loop.bell.ring()
    wait_until(lambda: loop.bell.rings == ["rllib-io"])
    loop.reactor.stop()
    os.close(loop.bell.fd)


def test_the_poller_is_chosen_by_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(platform.VARIABLE, raising=False)
    chosen = [new_poller()]
    monkeypatch.setenv(platform.VARIABLE, "1")
    chosen.append(new_poller())
    monkeypatch.setenv(platform.VARIABLE, "0")
    monkeypatch.delattr(os, "eventfd")
    chosen.append(new_poller())
    monkeypatch.undo()
    assert [type(poller) for poller in chosen] == [EpollPoller, PollPoller, PollPoller]
    for poller in chosen:
        poller.close()
