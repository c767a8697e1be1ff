"""The way from a process to its node service: a call where that is embedded, else a socket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rllib.core.native import wire
from rllib.core.native.connection import Connection
from rllib.core.native.reactor import READ, WRITE

if TYPE_CHECKING:
    from rllib.core.native.engine import NativeRuntime


class NodeLink(ABC):
    """The way to this process's node service."""

    @abstractmethod
    def tell(self, record: Any) -> None:
        """Send it a message; answers come through `engine.NativeRuntime.on_node`."""

    @abstractmethod
    def close(self) -> None:
        """The runtime ends."""

    @abstractmethod
    def abandon(self) -> None:
        """In a forked child: close what was inherited; the parent goes on with its own."""


class NodeSocket(NodeLink):
    """The socket to the node service. ``on_end`` is called when the service has ended."""

    def __init__(
        self, runtime: NativeRuntime, conn: Connection, on_end: Callable[[], object]
    ) -> None:
        self._runtime = runtime
        self._conn = conn
        self._on_end = on_end
        self._ended = False
        runtime.reactor.register(conn.fd, self._on_events)

    def tell(self, record: Any) -> None:
        """Send at once: control messages are few, and somebody waits for each."""
        if not self._ended:
            self._conn.send(wire.record_frame(record))
            self._flush()

    def _flush(self) -> None:
        self._conn.flush()
        mask = READ | WRITE if self._conn.blocked else READ
        self._runtime.reactor.modify(self._conn.fd, mask)

    def _on_events(self, mask: int) -> None:
        if mask & WRITE:
            self._conn.blocked = False
            self._flush()
        try:
            frames = self._conn.receive()
        except EOFError:
            self._end()
            self._on_end()
            return
        for frame in frames:
            self._runtime.on_node(wire.read_record(frame[-1]))

    def _end(self) -> None:
        self._ended = True
        self._runtime.reactor.unregister(self._conn.fd)

    def close(self) -> None:
        """Leave the node; what is told from now on, nobody hears."""
        self._end()
        self._conn.close()

    def abandon(self) -> None:
        """In a forked child: the parent stays."""
        self._conn.close()
