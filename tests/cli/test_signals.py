"""Signals of a run: noticed whichever thread the system hands them to."""

import signal
import subprocess
import sys
import threading
import time

import pytest

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


@pytest.mark.parametrize("sent", [[signal.SIGTERM], [signal.SIGTERM, signal.SIGINT]])
def test_who_hears_no_signal_is_gone_in_time_all_the_same(sent: list[signal.Signals]) -> None:
    """As the main thread of one that waits in somebody's code for a device that hangs."""
    with subprocess.Popen([sys.executable, "-c", IN_C], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"away\n"
        for signum in sent:
            process.send_signal(signum)
        assert process.wait(timeout=20) in [128 + signum for signum in sent]
