"""This process as a worker: how it ends, and how its main thread is interrupted."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import NoReturn


def exit_process(code: int) -> NoReturn:
    """Leave at once; what user code has printed still gets out."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def interrupt_main(number: int = signal.SIGINT) -> None:
    """Have the main thread's handler of that signal run, also amid a sleep or a system call."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, number)
