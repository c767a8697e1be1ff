"""Drivers that end in every way: nothing of their runtime is left, and nobody else's is touched."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import leaks
import psutil
import pytest
from patience import alive, freeze, wait_until

PRELUDE = """
import os, signal, sys, threading, time
from rllib import core

core.init(num_cpus=2)

@core.remote(num_cpus=0)
class Actor:
    def pid(self): return os.getpid()
    def spin(self):
        while True: pass
    def sleep(self): time.sleep(1000)
    def fork(self):
        import subprocess
        self.child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        return self.child.pid

def say(*words): print(*words, flush=True)
"""


class Driver:
    """A Python process that runs ``code`` after the prelude, and says a line at a time."""

    def __init__(self, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(code)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def line(self) -> str:
        """The next line; an error with its stderr when there is none."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        return line.strip()

    def end(self, timeout: float = 20) -> tuple[int, str, str]:
        """Wait for its end: status and output."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err


@pytest.fixture
def driver() -> Iterator[Callable[[str], Driver]]:
    drivers: list[Driver] = []

    def start(code: str) -> Driver:
        drivers.append(Driver(code))
        return drivers[-1]

    yield start
    for each in drivers:
        each.process.kill()
        each.process.communicate()


def assert_nothing_is_left(seconds: float = 5) -> None:
    wait_until(lambda: not (leaks.processes() | leaks.session_directories()), seconds)


MIDDLE_OF_WORK = """
actors = [Actor.remote() for _ in range(4)]
core.get([actor.pid.remote() for actor in actors])
say(core.get(actors[3].fork.remote()))
refs = [actors[0].spin.remote(), actors[1].sleep.remote(), actors[2].spin.remote()]
big = core.put(b"x" * 10_000_000)
say("working")
core.get(refs)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_driver_leaves_nothing(driver: Any, number: signal.Signals) -> None:
    killed = driver(MIDDLE_OF_WORK)
    child = int(killed.line())
    assert killed.line() == "working"
    killed.process.send_signal(number)
    assert killed.end()[0] == -number
    assert_nothing_is_left()
    wait_until(lambda: not alive(child))


def test_a_killed_driver_leaves_no_spilled_values(driver: Any, tmp_path: Path) -> None:
    killed = driver(
        f"""
        core.shutdown()
        core.init(object_store_memory=1 << 24, object_spilling_directory={str(tmp_path)!r})
        refs = [core.put(bytes(1 << 22)) for _ in range(8)]
        say("spilled")
        time.sleep(1000)
        """
    )
    assert killed.line() == "spilled"
    assert list(tmp_path.glob("*/*"))
    killed.process.kill()
    killed.end()
    assert_nothing_is_left()
    wait_until(lambda: not list(tmp_path.iterdir()))


def helper(driver: Driver, name: str) -> psutil.Process:
    """The driver's own process of that name, its template or its janitor, once it has begun."""
    found: list[psutil.Process] = []

    def there() -> bool:
        children = psutil.Process(driver.process.pid).children()
        commands = {child: " ".join(child.cmdline()) for child in children}
        marks = (f"native/{name}.py", f"native.{name} import")
        found[:] = [child for child in children if any(mark in commands[child] for mark in marks)]
        return bool(found)

    wait_until(there)
    return found[0]


def kill_with_driver(driver: Driver, *helpers: psutil.Process) -> None:
    """Kill all of them before any can react to the end of another."""
    for process in (driver.process, *helpers):
        freeze(process.pid)
    for process in helpers:
        process.kill()
    driver.process.kill()
    driver.end()


def test_a_killed_driver_and_template_leave_nothing(driver: Any) -> None:
    killed = driver(MIDDLE_OF_WORK)
    child = int(killed.line())
    killed.line()
    template = helper(killed, "template")
    assert len(template.children()) >= 4
    kill_with_driver(killed, template)
    assert_nothing_is_left()
    wait_until(lambda: not alive(child))  # amid its exit it has no environment to be found by


def test_what_three_kills_at_once_leave_is_removed_by_the_next_session(driver: Any) -> None:
    killed = driver("say(core.get(Actor.remote().pid.remote())); time.sleep(1000)")
    killed.line()
    kill_with_driver(killed, helper(killed, "template"), helper(killed, "janitor"))
    wait_until(lambda: not leaks.processes())  # the workers, at least, notice by themselves
    assert leaks.session_directories()
    fresh = driver("say('up')")
    assert fresh.line() == "up"
    assert fresh.end()[0] == 0
    assert_nothing_is_left()


def test_a_killed_janitor_is_no_loss_while_others_live(driver: Any) -> None:
    bereft = driver(
        """
        say("up")
        os.kill(os.getpid(), signal.SIGSTOP)
        core.get([Actor.remote().pid.remote() for _ in range(3)])
        say("working")
        time.sleep(1000)
        """
    )
    bereft.line()
    itself = psutil.Process(bereft.process.pid)
    wait_until(lambda: itself.status() == psutil.STATUS_STOPPED)
    helper(bereft, "janitor").kill()
    bereft.process.send_signal(signal.SIGCONT)
    assert bereft.line() == "working"
    bereft.process.kill()
    bereft.end()
    assert_nothing_is_left()


def test_a_driver_that_just_ends_or_raises_leaves_nothing(driver: Any) -> None:
    assert driver("a = Actor.remote(); say(core.get(a.pid.remote()) > 0)").end()[:2] == (
        0,
        "True\n",
    )
    status, _, err = driver("a = Actor.remote(); a.spin.remote(); raise SystemExit(7)").end()
    assert (status, err) == (7, "")
    assert_nothing_is_left()


def test_os_exit_of_a_driver_leaves_nothing(driver: Any) -> None:
    assert driver("a = Actor.remote(); core.get(a.pid.remote()); os._exit(9)").end()[0] == 9
    assert_nothing_is_left()


def test_a_forked_child_of_the_driver_leaves_the_runtime_alone(driver: Any) -> None:
    status, out, err = driver(
        """
        import multiprocessing
        actor = Actor.remote()
        core.get(actor.pid.remote())
        held = core.put(b"x" * 1_000_000)
        child = os.fork()
        if child == 0:
            assert not core.is_initialized()
            del held, actor
            sys.exit(5)  # runs what was registered at exit
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        process = multiprocessing.get_context("fork").Process(target=core.shutdown)
        process.start(); process.join()
        say(process.exitcode, len(core.get(held)), core.get(actor.pid.remote()) > 0)
        """
    ).end()
    assert (status, out, err) == (0, "0 1000000 True\n", "")
    assert_nothing_is_left()


def test_a_forked_child_may_have_a_runtime_of_its_own(driver: Any) -> None:
    status, out, err = driver(
        """
        actor = Actor.remote()
        pid = core.get(actor.pid.remote())
        child = os.fork()
        if child == 0:
            with core.init(num_cpus=1):
                say(core.get(Actor.remote().pid.remote()) != pid)
            sys.exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        say(core.get(actor.pid.remote()) == pid)
        """
    ).end()
    assert (status, out, err) == (0, "True\nTrue\n", "")
    assert_nothing_is_left()


def test_a_forked_child_of_a_worker_leaves_the_worker_alone(driver: Any) -> None:
    status, out, err = driver(
        """
        @core.remote
        class Forker:
            def fork(self):
                child = os.fork()
                if child == 0:
                    core.shutdown()
                    os._exit(4)
                return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

        forker = Forker.remote()
        say(core.get([forker.fork.remote(), forker.fork.remote()]))
        """
    ).end()
    assert (status, out, err) == (0, "[4, 4]\n", "")


def test_ctrl_c_interrupts_get_and_nothing_else(driver: Any) -> None:
    interrupted = driver(
        """
        actor = Actor.remote()
        pid = core.get(actor.pid.remote())
        blocker = Actor.remote()
        never = blocker.sleep.remote()
        for _ in range(3):
            try:
                say("waiting")
                core.get(never)
            except KeyboardInterrupt:
                say(core.get(actor.pid.remote()) == pid)
        """
    )
    for _ in range(3):
        assert interrupted.line() == "waiting"
        os.killpg(interrupted.process.pid, signal.SIGINT)  # as a terminal does
        assert interrupted.line() == "True"
    assert interrupted.end()[0] == 0
    assert_nothing_is_left()


def test_ctrl_c_at_any_moment_loses_no_call(driver: Any) -> None:
    """A storm of interrupts amid thousands of calls: every call is answered afterwards."""
    stormy = driver(
        """
        actor = Actor.remote()
        core.get(actor.pid.remote())
        refs, hits, caught = [], -1, 1
        main = threading.main_thread().ident
        done = threading.Event()

        def storm():  # one at a time, and only while the main thread is within its try
            sent = 0
            while not done.wait(0.001):
                if hits == sent:
                    sent += 1
                    signal.pthread_kill(main, signal.SIGINT)

        storming = threading.Thread(target=storm, daemon=True)
        storming.start()
        while True:
            try:
                hits += caught  # from here on the next one may come
                caught = 0
                while len(refs) < 3000 or hits < 20:
                    refs.append(actor.pid.remote())
                    core.get(refs[-1])
                done.set()
                storming.join()
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # one may still be on its way
                break
            except KeyboardInterrupt:
                caught = 1
        values = core.get(refs, timeout=20)
        say(len(values) == len(refs), len(set(values)))
        """
    )
    status, out, err = stormy.end(60)
    assert (status, out, err) == (0, "True 1\n", "")


def test_what_a_handler_of_the_user_raises_leaves_get_and_nothing_else(driver: Any) -> None:
    status, out, err = driver(
        """
        class Alarm(Exception):
            pass

        def ring(*_):
            raise Alarm

        actor = Actor.remote()
        pid = core.get(actor.pid.remote())
        never = Actor.remote().sleep.remote()
        signal.signal(signal.SIGALRM, ring)
        for verb in (core.get, lambda ref: core.wait([ref])):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            try:
                verb(never)
            except Alarm:
                say(core.get(actor.pid.remote()) == pid)
        core.shutdown()
        say(signal.getsignal(signal.SIGALRM) is ring)
        """
    ).end()
    assert (status, out, err) == (0, "True\nTrue\nTrue\n", "")


def test_alarms_at_any_moment_lose_no_call(driver: Any) -> None:
    """A storm of exceptions from a handler amid calls: every call is answered afterwards."""
    status, out, err = driver(
        """
        class Alarm(Exception):
            pass

        def ring(*_):
            raise Alarm

        actor = Actor.remote()
        core.get(actor.pid.remote())
        signal.signal(signal.SIGALRM, ring)
        refs, hits = [], 0
        while hits < 200:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.001 + hits * 1e-5)
                while True:
                    refs.append(actor.pid.remote())
                    core.get(refs[-1])
            except Alarm:
                hits += 1
        values = core.get(refs, timeout=20)
        say(len(values) == len(refs), len(set(values)))
        """
    ).end(60)
    assert (status, out, err) == (0, "True 1\n", "")


def test_a_handler_of_a_task_may_raise_in_get(driver: Any) -> None:
    status, out, err = driver(
        """
        @core.remote
        def impatient(actor):
            def ring(*_):
                raise TimeoutError("rang")

            signal.signal(signal.SIGALRM, ring)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            try:
                core.get(actor.sleep.remote())
            except TimeoutError as error:
                return str(error), core.get(core.put(1))

        say(core.get([impatient.remote(Actor.remote()) for _ in range(2)]))
        """
    ).end()
    assert (status, out, err) == (0, "[('rang', 1), ('rang', 1)]\n", "")


def test_a_handler_of_the_user_is_left_alone(driver: Any) -> None:
    status, out, _ = driver(
        """
        core.shutdown()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with core.init(num_cpus=1):
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        say(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)
        """
    ).end()
    assert (status, out) == (0, "True\n")


def test_a_shutdown_ends_every_wait(driver: Any) -> None:
    status, out, err = driver(
        """
        never = Actor.remote().sleep.remote()
        ended = []

        def wait():
            try:
                core.get(never)
            except core.exceptions.CoreError:
                ended.append(1)

        threads = [threading.Thread(target=wait) for _ in range(4)]
        for thread in threads: thread.start()
        core.shutdown()
        for thread in threads: thread.join()
        say(len(ended))
        """
    ).end()
    assert (status, out, err) == (0, "4\n", "")


def test_a_preload_that_kills_the_template_is_told(driver: Any, tmp_path: Path) -> None:
    (tmp_path / "lethal.py").write_text("import os\nos._exit(6)\n")
    (tmp_path / "broken.py").write_text("raise ValueError('broken here')\n")
    status, out, err = driver(
        f"""
        core.shutdown()
        sys.path.append({str(tmp_path)!r})
        with core.init(num_cpus=2, preload=["broken"]):
            say(core.get(Actor.remote().pid.remote()) > 0)
        core.init(num_cpus=2, preload=["lethal"])
        try:
            core.get(Actor.remote().pid.remote(), timeout=20)
        except core.exceptions.ActorDiedError as error:
            say("exited with code 6" in str(error))
        """
    ).end()
    assert (status, out) == (0, "True\nTrue\n")
    assert "preload of 'broken' failed: ValueError('broken here')" in err


def test_a_driver_whose_output_nobody_reads_goes_on(driver: Any) -> None:
    loud = driver(
        """
        @core.remote
        class Loud:
            def shout(self):
                for _ in range(20_000): print("x" * 100)
            def f(self): return 1

        loud, other = Loud.remote(), Actor.remote()
        loud.shout.remote()
        say(core.get(loud.f.remote()), core.get(other.pid.remote()) > 0)
        os._exit(0)
        """
    )
    assert loud.line() == "1 True"


def test_nothing_listens_on_a_network(driver: Any) -> None:
    quiet = driver("core.get(Actor.remote().pid.remote()); say('up'); time.sleep(100)")
    quiet.line()
    root = psutil.Process(quiet.process.pid)
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # an idle worker that was sent home
            assert process.net_connections(kind="inet") == []
    quiet.process.kill()
    quiet.end()
    assert_nothing_is_left()
