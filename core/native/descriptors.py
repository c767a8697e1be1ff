"""How many files and sockets a process may have open. Not on Windows, which has no such module."""

from __future__ import annotations

import contextlib
import resource

_ENDLESS = 10_240
"""Descriptors where there is no limit: what macOS allows then."""


def most_descriptors() -> int:
    """How many files and sockets this process may have open."""
    return _within(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def raise_descriptors() -> None:
    """Have it be as many as the system allows; child processes inherit that."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS has a limit besides
        resource.setrlimit(resource.RLIMIT_NOFILE, (_within(hard), hard))


def _within(limit: int) -> int:
    return _ENDLESS if limit == resource.RLIM_INFINITY else limit
