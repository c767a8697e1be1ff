"""A non-blocking stream socket that carries frames, and file descriptors beside them."""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from collections.abc import Sequence

from rllib.core.native.wire import HEADER, MAX_PAYLOAD, WireError

_CHUNK = 1 << 17
_MAX_FDS = 16
_FD_SPACE = socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)
_HEADER_BYTES = HEADER.size
_RECEIVE_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

Frame = tuple[int, int, int, int, int, bytes]
"""Kind, flags, number of returns, target, sequence number, payload."""


class _Batch:
    """Frames that leave together; descriptors, if any, travel with their first byte."""

    __slots__ = ("data", "fds", "frames")

    def __init__(self, fds: Sequence[int] = ()) -> None:
        self.frames: list[bytes] = []
        self.fds = [os.dup(fd) for fd in fds]
        self.data: memoryview | None = None  # what is left of the joined frames, once begun

    def close(self) -> None:
        while self.fds:
            os.close(self.fds.pop())


class Connection:
    """Frames in, frames out. Callers hold the runtime's lock; nothing here blocks.

    ``send`` only queues; ``flush`` writes what the kernel takes. When the kernel takes no more,
    ``blocked`` is set until the reactor finds the socket writable and calls ``resume``.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.fd = sock.fileno()
        self.received_fds: deque[int] = deque()
        self.queued_bytes = 0
        self.blocked = False
        self.drained = False
        """Whether the last read found nothing more for now."""
        self._out: deque[_Batch] = deque()
        self._in: list[bytes] = []  # what has come of a frame that is not complete
        self._in_bytes = 0
        self._in_needed = _HEADER_BYTES

    # -- out -----------------------------------------------------------------------------------

    def send(self, frame: bytes, fd: int | None = None) -> None:
        """Queue a frame, and a duplicate of ``fd`` to travel with it."""
        out = self._out
        if fd is not None:
            out.append(_Batch((fd,)))
        elif not out or out[-1].data is not None:
            out.append(_Batch())
        out[-1].frames.append(frame)
        self.queued_bytes += len(frame)

    def send_with(self, frame: bytes, fds: Sequence[int]) -> None:
        """Queue a frame, and duplicates of several descriptors to travel with it, in order."""
        self._out.append(_Batch(fds))
        self.send(frame)

    def flush(self) -> None:
        """Write what the kernel takes. A dead peer is no error here: its end shows on reading."""
        if self.blocked:
            return
        try:
            while self._out:
                self._write(self._out[0])
        except BlockingIOError:
            self.blocked = True
        except OSError:
            self._drop_output()

    def _write(self, batch: _Batch) -> None:
        data = batch.data
        if data is None:
            frames = batch.frames
            data = memoryview(frames[0] if len(frames) == 1 else b"".join(frames))
            batch.data = data
        if not batch.fds:
            sent = self.sock.send(data)
        else:
            sent = send_with(self.sock, data, batch.fds)
            batch.close()
        self.queued_bytes -= sent
        if sent == data.nbytes:
            self._out.popleft()
        else:
            batch.data = data[sent:]

    def resume(self) -> None:
        """The socket is writable again."""
        self.blocked = False
        self.flush()

    def _drop_output(self) -> None:
        for batch in self._out:
            batch.close()
        self._out.clear()
        self.queued_bytes = 0

    # -- in ------------------------------------------------------------------------------------

    def receive(self) -> list[Frame]:
        """The complete frames that one read brings. Raises `EOFError` when the peer is gone."""
        try:
            data = receive(self.sock, _CHUNK, self.received_fds)
        except BlockingIOError:
            self.drained = True
            return []
        except OSError as error:
            raise EOFError(str(error)) from None
        self.drained = False
        if not data:
            raise EOFError("the peer closed the connection")
        if self._in:
            return self._join(data)
        return self._split(data)

    def _join(self, data: bytes) -> list[Frame]:
        """Collect the parts of a large frame, and put them together once: copying stays linear."""
        self._in.append(data)
        self._in_bytes += len(data)
        if self._in_bytes < self._in_needed:
            return []
        whole = b"".join(self._in)
        return self._split(whole)

    def _split(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        needed = _HEADER_BYTES
        position, end = 0, len(data)
        while end - position >= _HEADER_BYTES:
            size, kind, flags, returns, target, seq = HEADER.unpack_from(data, position)
            if size > MAX_PAYLOAD:
                raise WireError(f"a frame of {size:,} bytes is over the limit of {MAX_PAYLOAD:,}")
            start = position + _HEADER_BYTES
            if end - start < size:
                needed += size
                break
            position = start + size
            frames.append((kind, flags, returns, target, seq, data[start:position]))
        rest = data[position:]
        self._in, self._in_bytes, self._in_needed = [rest] if rest else [], len(rest), needed
        return frames

    def close(self) -> None:
        """Close the socket and every descriptor that was on its way."""
        self._drop_output()
        self.blocked = False  # what is sent from now on is dropped, as for any dead peer
        while self.received_fds:
            os.close(self.received_fds.popleft())
        self.sock.close()


def receive(sock: socket.socket, size: int, fds: deque[int]) -> bytes:
    """What one read brings; descriptors that come along are appended to ``fds``."""
    data, ancillary, _flags, _address = sock.recvmsg(size, _FD_SPACE, _RECEIVE_FLAGS)
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.extend(_descriptors(payload))
    return data


def send_with(sock: socket.socket, data: memoryview, fds: Sequence[int]) -> int:
    """Write some of ``data``, of which the first byte brings descriptors along; how much it was."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    return sock.sendmsg([data], rights)


def _descriptors(payload: bytes) -> array.array[int]:
    fds = array.array("i")
    fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return fds
