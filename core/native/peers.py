"""The other processes that this one talks to, each over one Unix socket of its own.

Every process listens on ``<session>/<id>.sock``, so that its id is its address; one on another node
is reached through this node's gateway (see `rllib.core.cluster.gateway`), by whoever asks for it,
over what looks like its socket. A peer is one
process, not one connection: if two processes happen to connect to each other at the same time,
both sockets are read, and each side writes to the one that it saw first. Order holds within what
one process writes.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rllib.core.native import platform, wire
from rllib.core.native.connection import Connection, Frame
from rllib.core.native.reactor import READ, WRITE, Reactor
from rllib.core.native.sites import key_of

if TYPE_CHECKING:
    from rllib.core.native.arena import Segment
    from rllib.core.native.call import Call
    from rllib.core.native.objects import Region
    from rllib.core.native.spillfiles import FileRegion

_COALESCE_BYTES = 1 << 12
GATEWAY = "gateway.sock"
"""Where to connect in order to talk to a process on another node: its id comes first, then that of
who connects."""
_ENDED = 256
"""So many of those that are ending are remembered; they are gone within milliseconds."""


class PeerGoneError(Exception):
    """The process does not listen any more."""


class Peer:
    """Another process, as this one sees it."""

    __slots__ = (
        "coming",
        "conn",
        "gone",
        "held",
        "inflight",
        "interned",
        "links",
        "mapped",
        "process",
        "remote",
        "segments",
        "targets",
    )

    def __init__(self, process: bytes, conn: Connection, *, remote: bool) -> None:
        self.process = process
        self.remote = remote
        """Whether it is on another node, with which no memory is shared."""
        self.conn = conn
        self.links = [conn]
        self.gone = False
        self.inflight: dict[int, Call] = {}
        """Calls of mine that it has not answered."""
        self.targets: dict[Any, int] = {}
        """Functions and methods of it that I have given a number."""
        self.interned: dict[int, wire.Intern] = {}
        """The same, the other way round."""
        self.segments: set[tuple[bytes, int]] = set()
        """Segments whose descriptor it has from me."""
        self.mapped: dict[tuple[bytes, int], Segment] = {}
        """Segments whose descriptor I have from it."""
        self.coming: dict[int, Region | FileRegion] = {}
        """Large parts that have come from another node, ahead of what speaks of them."""
        self.held: dict[tuple[int, int], list[Any]] = {}
        """Blocks and files of mine that it reads, by segment and offset, as often as it was handed
        them; see `objects.Handed`."""

    def hold(self, key: tuple[int, int], what: Any) -> None:
        """It reads that of mine, once more."""
        self.held.setdefault(key, []).append(what)

    def let_go(self, key: tuple[int, int]) -> None:
        """It does so once less."""
        held = self.held.get(key)
        if held is not None:
            held.pop()
            if not held:
                del self.held[key]

    def received_fds(self) -> deque[int]:
        """Descriptors that have come and are not claimed by a message yet."""
        return next((conn.received_fds for conn in self.links if conn.received_fds), deque())


class Peers:
    """Connects, listens, and hands frames on. All methods run under the runtime's lock."""

    def __init__(
        self,
        me: bytes,
        directory: Path,
        reactor: Reactor,
        on_frame: Callable[[Peer, Frame], None],
        on_gone: Callable[[Peer], None],
        on_offence: Callable[[Peer, wire.WireError], None],
    ) -> None:
        self._me = me
        self._key = key_of(me)
        self._directory = directory
        self._reactor = reactor
        self._on_frame = on_frame
        self._on_gone = on_gone
        self._on_offence = on_offence
        self._peers: dict[bytes, Peer] = {}
        self.remote: dict[bytes, Peer] = {}
        """Those of them that are on other nodes."""
        self._held: dict[Connection, None] = {}  # queued frames that wait for company
        self._strangers: set[Connection] = set()  # connected, no Hello yet
        self._ended: deque[bytes] = deque(maxlen=_ENDED)
        self._listener = self._listen()

    def _path(self, process: bytes) -> str:
        return str(self._directory / f"{process.hex()}.sock")

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self._path(self._me))
        listener.listen(1024)
        listener.setblocking(False)
        self._reactor.register(listener.fileno(), self._accept)
        return listener

    def _accept(self, _mask: int) -> None:
        try:
            sock, _address = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # out of descriptors
            self._reactor.rest(self._listener.fileno())
            return
        if not _same_user(sock):
            sock.close()
            return
        conn = Connection(sock)
        self._strangers.add(conn)
        self._reactor.register(conn.fd, lambda mask: self._on_stranger(conn, mask))

    def _on_stranger(self, conn: Connection, _mask: int) -> None:
        """The first frames of an incoming connection: a Hello, maybe more."""
        try:
            frames = conn.receive()
            if not frames:
                return
            hello = _hello(frames[0])
        except (EOFError, wire.WireError):
            self._strangers.discard(conn)
            self._close(conn)
            return
        self._strangers.discard(conn)
        self._reactor.unregister(conn.fd)
        peer = self._adopt(hello.worker, conn)
        self._deliver(peer, frames[1:])

    def _adopt(self, process: bytes, conn: Connection) -> Peer:
        peer = self._peers.get(process)
        if peer is None:
            remote = key_of(process) != self._key
            peer = self._peers[process] = Peer(process, conn, remote=remote)
            if remote:
                self.remote[process] = peer
        else:
            peer.links.append(conn)
        self._reactor.register(conn.fd, lambda mask: self._on_events(peer, conn, mask))
        return peer

    def get(self, process: bytes) -> Peer:
        """The peer, connecting if need be. Raises `PeerGoneError`."""
        peer = self._peers.get(process)
        return peer if peer is not None else self._connect(process)

    def known(self, process: bytes) -> Peer | None:
        """The peer, if there is a connection."""
        return self._peers.get(process)

    def living(self) -> Collection[Peer]:
        """All that there is a connection to."""
        return self._peers.values()

    def any_inflight(self) -> bool:
        """Whether some call has not been answered."""
        return any(peer.inflight for peer in self._peers.values())

    def _connect(self, process: bytes) -> Peer:
        gone = PeerGoneError(f"process {process.hex()[:12]} is gone")
        if process in self._ended:
            raise gone
        remote = key_of(process) != self._key
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(self._directory / GATEWAY) if remote else self._path(process))
            if remote:
                sock.sendall(process + self._me)
        except OSError as error:
            sock.close()
            raise gone from error
        peer = self._adopt(process, Connection(sock))
        peer.conn.send(wire.record_frame(wire.Hello(self._me)))
        return peer

    # -- reading -------------------------------------------------------------------------------

    def _on_events(self, peer: Peer, conn: Connection, mask: int) -> None:
        if mask & WRITE:
            conn.resume()
            if not conn.blocked:
                self._reactor.modify(conn.fd, READ)
        if mask & ~WRITE:
            self._read(peer, conn)

    def _read(self, peer: Peer, conn: Connection) -> None:
        """One read; at the end of its last stream the peer is dropped."""
        try:
            self._deliver(peer, conn.receive())
        except EOFError:
            self._end(peer, conn)
        except wire.WireError as error:
            self._condemn(peer, error)

    def _deliver(self, peer: Peer, frames: list[Frame]) -> None:
        try:
            for frame in frames:
                self._on_frame(peer, frame)
        except wire.WireError as error:
            self._condemn(peer, error)

    def _condemn(self, peer: Peer, error: wire.WireError) -> None:
        """What it says makes no sense, so it will never answer what it was asked."""
        if not peer.gone:
            self.drop(peer)
            self._on_offence(peer, error)

    def _end(self, peer: Peer, conn: Connection) -> None:
        """The process has ended. What it wrote to another socket is read first."""
        conn.drained = True
        if peer.links == [conn]:
            self.drop(peer)
            return
        peer.links.remove(conn)
        peer.conn = peer.links[0]
        self._close(conn)

    def drain(self, peer: Peer) -> None:
        """Read what a dying peer has still written, then let go of it, for good: it takes that for
        the end of this process, so what it would say from now on is not to be trusted."""
        self._ended.append(peer.process)
        for conn in list(peer.links):
            conn.drained = False
            while not (peer.gone or conn.drained):
                self._read(peer, conn)
        self.drop(peer)

    def drop(self, peer: Peer) -> None:
        """The peer is dead, or as good as dead."""
        if peer.gone:
            return
        peer.gone = True
        self._peers.pop(peer.process, None)
        self.remote.pop(peer.process, None)
        for conn in peer.links:
            self._close(conn)
        self._on_gone(peer)

    def bury(self, process: bytes) -> None:
        """Remove the socket of a dead process. For the node alone: a process that is being ended
        may be dropped by others, takes that for their end, and is wrong."""
        Path(self._path(process)).unlink(missing_ok=True)

    def _close(self, conn: Connection) -> None:
        self._held.pop(conn, None)
        self._reactor.unregister(conn.fd)
        conn.close()

    # -- writing -------------------------------------------------------------------------------

    def tell(self, process: bytes, record: Any) -> None:
        """Queue a record. A dead process needs none, so nothing is said of it."""
        try:
            peer = self.get(process)
        except PeerGoneError:
            return
        peer.conn.send(wire.record_frame(record))
        self.hold(peer.conn)

    def hold(self, conn: Connection) -> None:
        """Leave queued frames for the next flush, which comes soon by itself."""
        self._held[conn] = None
        if conn.queued_bytes > _COALESCE_BYTES:
            self.flush(conn)
        else:
            self._reactor.nudge()

    def mark(self, conn: Connection) -> None:
        """Leave queued frames for a `flush_all` that the caller is about to do."""
        self._held[conn] = None

    def flush(self, conn: Connection) -> None:
        """Write what is queued, now or as soon as the socket takes it."""
        conn.flush()
        if conn.blocked:
            self._reactor.modify(conn.fd, READ | WRITE)

    def flush_all(self) -> None:
        """Write everything that waits for company."""
        while self._held:
            self.flush(self._held.popitem()[0])

    def close(self) -> None:
        """Close all sockets, and remove the own one from the file system."""
        self.abandon()
        Path(self._path(self._me)).unlink(missing_ok=True)

    def abandon(self) -> None:
        """Close all sockets; alone, only in a forked child."""
        for conn in list(self._strangers):
            self._close(conn)
        for peer in list(self._peers.values()):
            for conn in peer.links:
                self._close(conn)
            peer.gone = True
        self._peers.clear()
        self.remote.clear()
        self._reactor.unregister(self._listener.fileno())
        self._listener.close()


def _hello(frame: Frame) -> wire.Hello:
    hello = wire.read_record(frame[-1]) if frame[0] == wire.RECORD else None
    if not isinstance(hello, wire.Hello):
        raise wire.WireError("a connection must begin with Hello")
    return hello


def _same_user(sock: socket.socket) -> bool:
    """Directory permissions keep strangers out already; this holds even where they were changed."""
    return platform.peer_user(sock) == os.getuid()
