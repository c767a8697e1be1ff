"""Workers that die in every way: whoever waits hears of it in time, and the rest goes on."""

import contextlib
import gc
import io
import os
import random
import signal
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from engines import template
from patience import SOON_S, alive, wait_until

from rllib import core
from rllib.core import exceptions


@pytest.fixture(scope="module", autouse=True)
def runtime() -> Iterator[None]:
    with core.init(num_cpus=2):
        yield


def die(how: str) -> None:
    """End this process."""
    import ctypes
    import os
    import signal

    print("last words", flush=True)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "exit":
        os._exit(3)
    ctypes.string_at(0)


HOW = {"kill": "SIGKILL", "exit": "code 3", "segfault": "SIGSEGV"}


def by_value(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as one of no module, so that workers need not import this one."""
    copy = types.FunctionType(function.__code__, {"__builtins__": __builtins__}, function.__name__)
    copy.__module__ = "__main__"
    return copy


def make_actor() -> Any:
    end = by_value(die)

    @core.remote
    class Mortal:
        def pid(self) -> int:
            import os

            return os.getpid()

        def die(self, how: str) -> None:
            end(how)

        def block(self, folder: str) -> None:
            import pathlib
            import threading

            pathlib.Path(folder, "blocked").touch()
            threading.Event().wait()

    return Mortal


@pytest.mark.parametrize("how", HOW)
def test_a_worker_that_dies_in_a_task(how: str, capfd: pytest.CaptureFixture[str]) -> None:
    start = time.monotonic()
    task = core.remote(by_value(die)).options(max_retries=0, name="mortal")
    with pytest.raises(exceptions.WorkerCrashedError) as caught:
        core.get(task.remote(how), timeout=SOON_S)
    assert time.monotonic() - start < SOON_S
    text = str(caught.value)
    assert HOW[how] in text
    assert "mortal" in text
    assert "last words" in text
    assert core.get(core.remote(lambda: 1).remote(), timeout=SOON_S) == 1


@pytest.mark.parametrize("how", HOW)
def test_an_actor_that_dies_in_a_call(how: str) -> None:
    actor = make_actor().remote()
    pid = core.get(actor.pid.remote())
    running, pending = actor.die.remote(how), actor.pid.remote()
    later = None
    for ref in (running, pending):
        with pytest.raises(exceptions.ActorDiedError) as caught:
            core.get(ref, timeout=SOON_S)
        assert HOW[how] in str(caught.value)
        assert str(pid) in str(caught.value)
        assert "last words" in str(caught.value)
    later = actor.pid.remote()
    with pytest.raises(exceptions.ActorDiedError, match=HOW[how]):
        core.get(later, timeout=SOON_S)


def test_what_was_written_before_the_death_is_still_read() -> None:
    @core.remote
    class Talker:
        def complain(self) -> None:
            raise ValueError("x" * 80_000)  # twice in the reply, which takes two reads

        def leave(self) -> None:
            os._exit(1)

    talker = Talker.remote()
    complaint, end = talker.complain.remote(), talker.leave.remote()
    with pytest.raises(core.exceptions.ActorDiedError):
        core.get(end)
    with pytest.raises(ValueError, match="xxx"):
        core.get(complaint)


def test_a_task_is_tried_again_as_often_as_allowed(tmp_path: Path) -> None:
    @core.remote(max_retries=2)
    def fail_twice(folder: str) -> int:
        import os
        import pathlib
        import secrets

        pathlib.Path(folder, secrets.token_hex(4)).touch()
        runs = len(list(pathlib.Path(folder).iterdir()))
        if runs < 3:
            os._exit(1)
        return runs

    assert core.get(fail_twice.remote(str(tmp_path)), timeout=SOON_S) == 3
    for entry in tmp_path.iterdir():
        entry.unlink()
    with pytest.raises(exceptions.WorkerCrashedError, match="code 1"):
        core.get(fail_twice.options(max_retries=1).remote(str(tmp_path)), timeout=SOON_S)
    assert len(list(tmp_path.iterdir())) == 2


def babble() -> None:
    """Send every process that this one knows what is no message, and go on as if nothing were."""
    import threading

    from rllib.core import api

    runtime = api.runtime()
    with runtime.lock:  # type: ignore[attr-defined]
        for peer in runtime.peers.living():  # type: ignore[attr-defined]
            peer.conn.send(b"\xff" * 64)
            peer.conn.flush()
    threading.Event().wait()


def test_a_task_whose_worker_babbles_fails() -> None:
    task = core.remote(by_value(babble)).options(max_retries=0)
    with pytest.raises(exceptions.WorkerCrashedError, match="sent what could not be read: a frame"):
        core.get(task.remote(), timeout=SOON_S)
    assert core.get(core.remote(lambda: 1).remote(), timeout=SOON_S) == 1


def test_an_actor_that_babbles_dies() -> None:
    end = by_value(babble)

    @core.remote
    class Babbler:
        def babble(self) -> None:
            end()

        def nothing(self) -> None:
            pass

    babbler = Babbler.remote()
    pending = [babbler.babble.remote(), babbler.nothing.remote()]
    for ref in (*pending, babbler.nothing.remote()):
        with pytest.raises(exceptions.ActorDiedError, match="sent what could not be read: a frame"):
            core.get(ref, timeout=SOON_S)


def test_other_tasks_survive_the_death_of_one(tmp_path: Path) -> None:
    doomed = core.remote(by_value(die)).options(max_retries=0)
    square = core.remote(lambda x: x * x)
    refs = [square.remote(x) for x in range(50)]
    lost = [doomed.remote("kill") for _ in range(3)]
    refs += [square.remote(x) for x in range(50, 100)]
    assert core.get(refs, timeout=20) == [x * x for x in range(100)]
    for ref in lost:
        with pytest.raises(exceptions.WorkerCrashedError):
            core.get(ref, timeout=SOON_S)


def test_get_does_not_wait_for_the_rest_when_one_has_failed(tmp_path: Path) -> None:
    blocked = make_actor().remote()
    never = blocked.block.remote(str(tmp_path))
    doomed = core.remote(by_value(die)).options(max_retries=0).remote("kill")
    with pytest.raises(exceptions.WorkerCrashedError):
        core.get([never, doomed], timeout=20)
    with pytest.raises(exceptions.WorkerCrashedError):
        core.get([never, doomed], timeout=20)
    ready, rest = core.wait([never, doomed], timeout=20)
    assert (ready, rest) == ([doomed], [never])


def test_timeouts_of_get_and_wait(tmp_path: Path) -> None:
    actor = make_actor().remote()
    never = actor.block.remote(str(tmp_path))
    for timeout in (0, 0.05):
        with pytest.raises(exceptions.GetTimeoutError, match="1 of 2"):
            core.get([core.put(1), never], timeout=timeout)
        with pytest.raises(TimeoutError):
            core.get(never, timeout=timeout)
        assert core.wait([never], timeout=timeout) == ([], [never])


def test_a_kill_reaches_an_actor_that_is_blocked(tmp_path: Path) -> None:
    actor = make_actor().remote()
    pid = core.get(actor.pid.remote())
    blocked = actor.block.remote(str(tmp_path))
    wait_until((tmp_path / "blocked").exists)
    core.kill(actor)
    with pytest.raises(exceptions.ActorDiedError, match="killed by kill"):
        core.get(blocked, timeout=SOON_S)
    wait_until(lambda: not alive(pid))


def test_a_kill_wakes_a_thread_that_waits_for_an_actor_that_never_starts() -> None:
    actor = make_actor().options(resources={"unobtainable": 1}).remote()
    ref = actor.pid.remote()
    waiting, seen = threading.Event(), []

    def wait() -> None:
        waiting.set()
        try:
            core.get(ref)
        except exceptions.ActorDiedError as error:
            seen.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait()
    core.kill(actor)
    thread.join(SOON_S)
    assert len(seen) == 1


def test_an_actor_ends_with_its_last_handle() -> None:
    Mortal = make_actor()

    @core.remote
    class Keeper:
        def keep(self, handles: list[Any]) -> None:
            self.handles = handles

        def drop(self) -> None:
            self.handles = []

    actor, keeper = Mortal.remote(), Keeper.remote()
    pid = core.get(actor.pid.remote())
    core.get(keeper.keep.remote([actor]))
    inside = core.put({"handle": actor})
    del actor
    assert alive(pid)
    assert core.get(core.get(inside)["handle"].pid.remote()) == pid
    del inside
    core.get(keeper.drop.remote())
    wait_until(lambda: not alive(pid))


def test_an_actor_outlives_its_handle_until_it_has_answered() -> None:
    assert isinstance(core.get(make_actor().remote().pid.remote()), int)
    ref = make_actor().remote().pid.remote()
    gc.collect()  # a call that waits for the actor's process is no garbage
    assert isinstance(core.get(ref, timeout=SOON_S), int)


def test_handles_in_cycles_and_exceptions_end_too() -> None:
    Mortal = make_actor()
    actor = Mortal.remote()
    pid = core.get(actor.pid.remote())
    cycle: list[Any] = [actor]
    cycle.append(cycle)
    try:
        raise ValueError(actor)
    except ValueError as error:
        cycle.append(error)
    del actor, cycle
    gc.collect()
    wait_until(lambda: not alive(pid))


def test_an_actor_dies_with_the_process_that_made_it() -> None:
    Mortal = make_actor()

    @core.remote
    class Parent:
        def __init__(self) -> None:
            self.child = Mortal.remote()

        def child_pid(self) -> int:
            return core.get(self.child.pid.remote())

        def get_child(self) -> list[Any]:
            return [self.child]

    parent = Parent.remote()
    pid = core.get(parent.child_pid.remote())
    (child,) = core.get(parent.get_child.remote())
    core.kill(parent)
    wait_until(lambda: not alive(pid))
    with pytest.raises(exceptions.ActorDiedError):
        core.get(child.pid.remote(), timeout=SOON_S)


@pytest.mark.parametrize("size", [10, 10_000, 1_000_000])
def test_an_object_is_lost_with_its_owner(size: int) -> None:
    @core.remote
    class Owner:
        def make(self) -> list[Any]:
            self.ref = core.put(b"x" * size)
            return [self.ref]

    owner = Owner.remote()
    (ref,) = core.get(owner.make.remote())
    core.kill(owner)
    with pytest.raises(exceptions.ActorDiedError):
        core.get(owner.make.remote(), timeout=SOON_S)
    with pytest.raises(exceptions.OwnerDiedError, match="died"):  # also while it is being ended
        core.get(ref, timeout=SOON_S)


def test_what_a_worker_has_started_ends_with_it(tmp_path: Path) -> None:
    @core.remote
    class Parent:
        def __init__(self) -> None:
            import multiprocessing
            import subprocess
            import sys

            context = multiprocessing.get_context("fork")
            sleeper = threading.Event()
            self.forked = context.Process(target=sleeper.wait)
            self.forked.start()
            self.spawned = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])

        def pids(self) -> tuple[int, int]:
            return self.forked.pid, self.spawned.pid

    parent = Parent.remote()
    pids = core.get(parent.pids.remote(), timeout=SOON_S)
    assert all(alive(pid) for pid in pids)
    core.kill(parent)
    wait_until(lambda: not any(alive(pid) for pid in pids))


def test_a_worker_that_closes_its_output_costs_nothing() -> None:
    @core.remote
    class Quiet:
        def close(self) -> None:
            import os

            os.close(1)
            os.close(2)

        def f(self) -> int:
            return 1

    quiet = Quiet.remote()
    core.get(quiet.close.remote())
    before = time.process_time()
    with pytest.raises(exceptions.GetTimeoutError):
        core.get(make_actor().options(resources={"unobtainable": 1}).remote().pid.remote(), 0.3)
    assert time.process_time() - before < 0.1
    assert core.get(quiet.f.remote()) == 1


def test_a_killed_template_takes_its_workers_and_is_replaced() -> None:
    actor = make_actor().remote()
    pid = core.get(actor.pid.remote())
    old = template().pid
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    with pytest.raises(exceptions.ActorDiedError, match="template was killed"):
        core.get(actor.pid.remote(), timeout=SOON_S)
    assert core.get(core.remote(lambda: 2).remote(), timeout=20) == 2
    assert template().pid != old


def test_output_reaches_the_driver_with_its_origin() -> None:
    @core.remote
    class Talker:
        def talk(self) -> int:
            import os
            import sys

            print("to stdout")
            print("to stderr", file=sys.stderr)
            os.system("echo from a child")
            return os.getpid()

    # Not by a fixture of pytest's: they lose what is printed between their look and their emptying.
    with contextlib.redirect_stderr(io.StringIO()) as shown:
        pid = core.get(Talker.remote().talk.remote())
        for text in ("to stdout", "to stderr", "from a child"):
            wait_until(lambda line=f"(Talker pid={pid}) {text}\n": line in shown.getvalue())


def test_random_kills_under_load() -> None:
    """Whatever is killed when: every call ends in time, with its value or a typed error."""
    draw = random.Random(7)
    Mortal, square = make_actor(), core.remote(lambda x: x * x)
    for _ in range(12):
        actors = [Mortal.remote() for _ in range(2)]
        refs = [square.remote(x) for x in range(20)]
        calls = [actor.pid.remote() for actor in actors for _ in range(20)]
        wait_until(template().children)
        workers = template().children()
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended by itself
            draw.choice(workers).kill()
        core.wait(calls, num_returns=len(calls), timeout=20)
        for call in calls:
            try:
                core.get(call, timeout=0)
            except exceptions.ActorDiedError:
                continue
        assert core.get(refs, timeout=20) == [x * x for x in range(20)]
