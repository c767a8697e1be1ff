"""What the operating system offers, and which means the runtime uses because of it.

Linux has faster ways for three things; everywhere else a portable one takes their place::

    what                         Linux                      portable
    who is ready (poller)        nested epoll, eventfd      poll, pipes
    shared memory (memory)       memfd                      a file whose name is removed at once
    new workers (makers)         fork of a warm process     a fresh interpreter

Each is chosen by asking whether the system has it, in this file alone. The environment variable
``RLLIB_PORTABLE=1`` takes the portable way of all three on any system, so that it can be tested
where it is not needed; child processes inherit it. Processes may differ in their choice.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys

VARIABLE = "RLLIB_PORTABLE"

_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1
_XUCRED = struct.Struct("=IIh2x16I")
"""Version, user, number of groups, groups: what macOS and the BSDs tell of a socket's peer."""


def is_portable_forced() -> bool:
    """Whether the environment asks for the portable way of everything."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


def has_epoll() -> bool:
    """Whether epoll sets can be nested and eventfds ring."""
    return _has(select, "epoll") and _has(os, "eventfd")


def has_memfd() -> bool:
    """Whether there is memory with a descriptor and no name."""
    return _has(os, "memfd_create")


def can_fork() -> bool:
    """Whether workers may be forks: elsewhere, system libraries do not survive one."""
    return sys.platform == "linux" and not is_portable_forced()


def _has(module: object, name: str) -> bool:
    return hasattr(module, name) and not is_portable_forced()


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def carry_in_batches() -> None:
    """Let this thread wait for a core until others are done with their turn, instead of taking it
    from them: who receives what another thread just sends would only stop it from sending more."""
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a sandbox may forbid even that
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def send_at_once_to_neighbours(sock: socket.socket) -> None:
    """Have a connection whose other end is near not paced: BBR, which some systems use for all,
    waits between packets by timers. In a network that loses nothing that costs a fifth of what it
    could carry; over longer ways the system's choice stays."""
    if not hasattr(socket, "TCP_CONGESTION") or not hasattr(socket, "TCP_INFO"):
        return
    with contextlib.suppress(OSError, struct.error):  # there is no other, or not for everybody
        used = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        if used.startswith(b"bbr") and round_trip_us(sock) <= _NEAR_US:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")


_NEAR_US = 1000
"""Within one building; to the next one it is more."""
_RTT = struct.Struct("=68xI")
"""Of the kernel's `tcp_info`, the smoothed round trip."""


def round_trip_us(sock: socket.socket) -> int:
    """Microseconds that an answer from the other end of a TCP connection takes, on Linux."""
    facts = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT.size)
    return int(_RTT.unpack(facts)[0])


def peer_user(sock: socket.socket) -> int:
    """The user id of the process at the other end of a Unix socket."""
    if hasattr(socket, "SO_PEERCRED"):
        facts = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", facts)[1])
    facts = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size)
    return int(_XUCRED.unpack(facts)[1])


def check_native() -> None:
    """Raise `RuntimeError` where the native engine cannot run at all."""
    if sys.platform == "win32":
        raise RuntimeError(
            "the native engine needs Linux or macOS: on Windows use init(address='inline'), which "
            "runs tasks and actors in this process, or run the program under WSL"
        )
