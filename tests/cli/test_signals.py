"""Signals of a run: noticed whichever thread the system hands them to."""

import math
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection

import psutil
import pytest
from patience import wait_until

from rllib.runs.signals import Interrupted, StopSignals


def send_to_this_thread(when: threading.Event) -> None:
    when.wait()
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


def test_a_signal_that_does_not_interrupt_the_main_thread_is_noticed_all_the_same() -> None:
    """It is as if it came just before the main thread's system call: a flag is set, no more."""
    blocking = threading.Event()
    sender = threading.Thread(target=send_to_this_thread, args=(blocking,))
    sender.start()
    begun = time.monotonic()
    with StopSignals().installed():
        blocking.set()
        with pytest.raises(Interrupted):
            threading.Event().wait(10)
    sender.join()
    assert time.monotonic() - begun < 5


def test_what_was_there_before_is_there_afterwards() -> None:
    signums = (signal.SIGINT, signal.SIGTERM, signal.SIGURG)
    before = [signal.getsignal(signum) for signum in signums]
    with StopSignals().installed():
        assert [signal.getsignal(signum) for signum in signums] != before
    assert [signal.getsignal(signum) for signum in signums] == before
    assert signal.set_wakeup_fd(-1) == -1


IN_C = """
import hashlib, sys
from rllib.runs import signals
signals.CLEAN_UP_S = 0.2
with signals.StopSignals(0.5).installed() as stops, stops.deferred(list):
    print("away", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


@pytest.mark.parametrize("grace_s", [math.inf, 1e300])
def test_grace_may_be_without_end(grace_s: float) -> None:
    """The third signal still ends what does not come to its end."""
    command = [sys.executable, "-c", IN_C.replace("0.5", f"float('{grace_s}')")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"away\n"

        def is_gone() -> bool:
            process.send_signal(signal.SIGTERM)  # two that come at once are one
            return process.poll() is not None

        wait_until(is_gone)
        assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("sent", [[signal.SIGTERM], [signal.SIGTERM, signal.SIGINT]])
def test_who_hears_no_signal_is_gone_in_time_all_the_same(sent: list[signal.Signals]) -> None:
    """As the main thread of one that waits in somebody's code for a device that hangs."""
    with subprocess.Popen([sys.executable, "-c", IN_C], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"away\n"
        for signum in sent:
            process.send_signal(signum)
        assert process.wait(timeout=20) in [128 + signum for signum in sent]


def test_a_terminal_that_is_gone_may_say_so_twice() -> None:
    """A shell tells its jobs, and after it the system does: that is no second order."""
    with StopSignals().installed() as stops, stops.deferred(lambda: None):
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)
        assert stops.received == signal.SIGHUP
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)


def test_one_within_another_leaves_that_ones_to_it() -> None:
    outer, inner = StopSignals(), StopSignals()
    with outer.installed():
        with inner.installed():
            assert forked_handlers() == [signal.default_int_handler, signal.SIG_DFL]
        assert forked_handlers() == [signal.default_int_handler, signal.SIG_DFL]
        assert signal.getsignal(signal.SIGTERM) == outer._handle


def forked_handlers() -> list[object]:
    """Those of SIGINT and SIGTERM in a process that is forked now."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=tell_handlers, args=(theirs,))
    child.start()
    found = ours.recv()
    child.join()
    return list(found)


def tell_handlers(pipe: Connection) -> None:
    pipe.send([signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)])


IMPORTING = """
import threading
from rllib.runs import signals
signals.CLEAN_UP_S = {clean_up_s}
with signals.StopSignals({grace_s}).installed() as stops, stops.held_back():
    print("importing", flush=True)
    try:
        while not {ended_by_itself} or stops.received is None:
            threading.Event().wait(0.05)
    except BaseException:
        print("raised", flush=True)
print("ended with", stops.received, flush=True)
"""


@pytest.mark.parametrize(
    ("grace_s", "clean_up_s", "again"), [(99, 0.2, True), (0.7, 0.5, False)], ids=["second", "late"]
)
def test_nothing_is_raised_where_it_must_not_be(
    grace_s: float, clean_up_s: float, again: bool
) -> None:
    """As through the import of torch, whose C++ would abort: a second signal ends the process, and
    so does the end of grace."""
    fields = {"grace_s": grace_s, "clean_up_s": clean_up_s, "ended_by_itself": False}
    script = IMPORTING.format(**fields)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGINT)
        if again:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) in (130, 143)
        assert process.stdout.read() == b""


def test_a_signal_that_was_held_back_is_heeded_afterwards() -> None:
    script = IMPORTING.format(grace_s=99, clean_up_s=9, ended_by_itself=True)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert process.stdout.read() == b"ended with 2\n"


WITH_A_CHILD = """
import hashlib, multiprocessing, signal
from rllib.runs import signals
signals.CLEAN_UP_S = 0.2

def hang(pipe):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as one whose simulator holds the interpreter
    pipe.send(True)
    signal.pause()

with signals.StopSignals(0.5).installed() as stops, stops.deferred(list):
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=hang, args=(there,), daemon=True)
    child.start()
    here.recv()
    print(child.pid, flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


def test_processes_of_environments_that_hang_end_with_it() -> None:
    command = [sys.executable, "-c", WITH_A_CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143
        child.wait(timeout=20)


AT_EXIT = """
import atexit, sys, threading
from rllib import __main__, cli
from rllib.runs import signals
signals.EXIT_S, signals.SOON_S = {exit_s}, {soon_s}
atexit.register(threading.Event().wait)
cli.app = lambda prog_name: print("done") or sys.exit({code})
__main__.main()
"""


@pytest.mark.parametrize(
    ("code", "exit_s", "soon_s"), [(0, 0.2, 99), (2, 0.2, 99), (143, 99, 0.2), (138, 99, 0.2)]
)
def test_what_hangs_when_the_interpreter_exits_keeps_no_process(
    code: int, exit_s: float, soon_s: float
) -> None:
    """As clients of loggers do, which wait there for a server that hangs."""
    script = AT_EXIT.format(code=code, exit_s=exit_s, soon_s=soon_s)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (code, b"done\n")
