"""Exceptions that travel: those of remote code, as payloads of replies."""

from __future__ import annotations

import os
import pickle

from rllib.core.exceptions import CoreError, TaskError
from rllib.core.serialization import pack, unpack


def dump_error(error: Exception) -> bytes:
    """An exception as a reply's payload; a cause that cannot be pickled is left behind."""
    try:
        return pack(error).body
    except Exception:
        if isinstance(error, TaskError):
            return pickle.dumps(TaskError(error.function, error.remote_traceback, error.pid))
        return pickle.dumps(CoreError(str(error)))


def load_error(payload: bytes) -> Exception:
    """The exception of a reply, whatever it takes to load it."""
    try:
        error = unpack(payload)
    except Exception as problem:
        text = f"the exception of the remote code cannot be unpickled here: {problem!r}"
        return TaskError("a remote call", text, os.getpid())
    return error if isinstance(error, Exception) else CoreError(repr(error))
