"""Exceptions that travel: those of remote code, as payloads of replies."""

from __future__ import annotations

import os
import pickle

from rllib.core.exceptions import CoreError, TaskError
from rllib.core.serialization import pack, unpack

MAX_STORY = 1 << 16
"""Characters of an error that go through a control stream."""
MAX_CAUSE = 1 << 20
"""Bytes of a pickled one."""


def shortened(text: str, most: int) -> str:
    """The first ``most`` characters, and how many more there were."""
    left = len(text) - most
    return text if left <= 0 else f"{text[:most]}... ({left:,} more characters left out)"


def dump_for_node(error: TaskError) -> tuple[str, bytes]:
    """Story and payload of an error of which nodes tell each other. Of one that is large only the
    story goes, as far as there is room."""
    story, payload = str(error), dump_error(error)
    if len(payload) <= MAX_CAUSE and len(story) <= MAX_STORY:
        return story, payload
    text = shortened(error.remote_traceback, MAX_STORY)
    if len(payload) > MAX_CAUSE:
        text += f"\n(the exception takes {len(payload):,} bytes, and is left out)"
        cause = None
    else:
        cause = error.cause
    short = TaskError(error.function, text, error.pid, cause)
    return str(short), dump_error(short)


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
