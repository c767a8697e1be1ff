"""A process of one environment: what is for the main process is not for it, and both end as one."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

from gymnasium.vector.async_vector_env import _async_worker

_LEFT_TO_MAIN_PROCESS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
"""Terminals and schedulers send these to all processes; the main one ends the others in order."""

_PR_SET_PDEATHSIG = 1


def server() -> Callable[..., None]:
    """What each process does; it takes what gymnasium's own worker does."""
    is_main = threading.current_thread() is threading.main_thread()  # which lives as long as all
    return partial(_serve, is_main and sys.platform == "linux")


def _serve(ends_with_parent: bool, *args: Any) -> None:
    for number in _LEFT_TO_MAIN_PROCESS:
        signal.signal(number, signal.SIG_IGN)
    if ends_with_parent:
        _end_with_parent()
    _async_worker(*args)


def _end_with_parent() -> None:
    """Have the system end this process when the thread is gone that started it, however it went
    and whatever is done here then: a simulator that hangs would stay for ever."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # it went before that
        os._exit(1)


def kill_all(processes: Sequence[BaseProcess]) -> None:
    """End those, which take no notice of what else would end them."""
    for process in processes:
        process.kill()
        process.join()
