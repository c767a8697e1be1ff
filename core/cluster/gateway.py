"""A node's gateway to others: its port, the control streams of gRPC, and the tunnels.

::

    process P --gateway.sock--> Gateway ===Tunnel===> Gateway --<Q>.sock--> process Q
    node      --Link---------> Gateway ===Control==> Gateway --Link------> head

Control is gRPC's; `tunnels` carry what processes say to each other, over TCP connections to the
same port (`door`). An event loop in a thread of its own serves it all, but for what is carried.

Every call proves first that its caller has the token (`proofs`); nothing of one that does not is
looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it comments on every connection that ends

import grpc

import rllib
from rllib.core.cluster import messages
from rllib.core.cluster.credentials import ClusterError, Credentials, joined_address, token_file
from rllib.core.cluster.diagnosis import why_nobody_answers
from rllib.core.cluster.dock import Dock
from rllib.core.cluster.door import GRPC, Door, host_of
from rllib.core.cluster.outbox import Outbox
from rllib.core.cluster.proofs import Doorkeeper, Prover
from rllib.core.cluster.tunnels import Tunnels
from rllib.core.native.peers import GATEWAY
from rllib.core.native.sites import key_of
from rllib.core.native.wire import WireError

BEAT_S = 1.0
SILENT_S = 5.0
"""So long without a word, and nothing new goes to that node."""
DEAD_S = 35.0
"""So long without a word, and it is gone. Long enough for a network that was cut for 15 seconds: by
then TCP may wait as long again, and a little longer, before it tries once more."""

MAX_MESSAGE = 64 * 2**20
_ID_BYTES = 16
_TICK_S = 0.5
_MOST_WARNINGS = 1_000
_SERVICE = "rllib.Node"
_OPTIONS: list[tuple[str, object]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_metadata_size", 1 << 13),
    ("grpc.http2.lookahead_bytes", 1 << 22),
    ("grpc.so_reuseport", 0),
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Not gRPC's 20 seconds without an acknowledgement: whether the other side lives is told by
    # `DEAD_S` alone.
    ("grpc.keepalive_timeout_ms", 2_000 * int(DEAD_S)),
    ("grpc.max_connection_idle_ms", 60_000),  # who says nothing does not keep a descriptor
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
]
_logger = logging.getLogger("rllib")


class Link:
    """One end of a control stream. `send` may be called from any thread."""

    def __init__(self, write: Callable[[bytes], Awaitable[Any]]) -> None:
        self.heard = time.monotonic()
        self.closed = asyncio.Event()
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox()
        self._wake = asyncio.Event()

    def send(self, message: Any) -> None:
        """Queue a message; what is sent to a node that is gone is dropped. Raises `TooLarge`."""
        if self._outbox.put(message):
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._wake.set)

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.closed.set)

    async def pour(self) -> None:
        """Write what is queued, as many batches as it takes; a beat where there is nothing. What
        the other side does not read stays queued."""
        while True:
            await self._write(await self._next())

    async def _next(self) -> bytes:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEAT_S):
                while not (batch := self._outbox.take()):
                    self._wake.clear()
                    await self._wake.wait()
                return batch
        return messages.encode([messages.Beat()])


class Listener(ABC):
    """What a gateway tells its node, from its own thread."""

    @abstractmethod
    def joined(self, link: Link, join: messages.Join) -> str:
        """A node wants to join; why it may not, empty where it may."""

    @abstractmethod
    def heard(self, link: Link, said: list[Any]) -> None:
        """The node, or the head, at the other end of the link says something."""

    @abstractmethod
    def silent(self, link: Link) -> None:
        """The other end has said nothing for `SILENT_S`."""

    @abstractmethod
    def left(self, link: Link, reason: str) -> None:
        """The link has ended."""

    @abstractmethod
    def broken(self, process: bytes, reason: str) -> None:
        """A tunnel to that process broke, though it may live."""


class Gateway:
    """See the module's text."""

    def __init__(
        self, directory: Path, me: bytes, credentials: Credentials, listener: Listener, dock: Dock
    ) -> None:
        self._directory = directory
        self._key = key_of(me)
        self._credentials = credentials
        self._prover = Prover(credentials.token, me)
        self._doorkeeper = Doorkeeper(credentials.token, self._key)
        self._listener = listener
        self._refusals = Refusals()
        self._tunnels = Tunnels(
            directory,
            credentials.tls,
            self._prover,
            self._doorkeeper,
            dock,
            listener.broken,
            self._refusals.log,
        )
        self._door = Door(
            directory,
            self._tunnels.admit,
            self._begin,
            self._refusals.log,
            has_tls=credentials.tls is not None,
        )
        self._addresses: Mapping[bytes, str] = {}
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="rllib-gateway", daemon=True
        )

    # -- from other threads --------------------------------------------------------------------

    def start(self, host: str, port: int) -> str:
        """Listen; the address. Raises `ClusterError`."""
        self._thread.start()
        address: str = self._run(self._listen(host, port))
        return address

    def join(self, address: str, join: messages.Join, timeout_s: float) -> Link:
        """Join the cluster of that head. Raises `ClusterError`."""
        link: Link = self._run(self._join(address, join, timeout_s))
        return link

    def learn(self, addresses: Mapping[bytes, str]) -> None:
        """Where the nodes are. The way to those that are not any more is cut, soon."""
        gone = self._addresses.keys() - addresses.keys()
        self._addresses = addresses
        for key in gone:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._tunnels.cut, key)

    def stop(self) -> None:
        """Close everything; returns when nothing is left."""
        if self._thread.is_alive():
            self._run(self._close())
            self._tunnels.close()
            self._run(_cancelled_all())  # a tunnel may just have wished for side wires
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # -- the server ----------------------------------------------------------------------------

    async def _listen(self, host: str, port: int) -> str:
        handlers = {
            "Greet": self._on_greet,
            "Control": self._on_control,
        }
        self._local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        guard = _Guard(self._doorkeeper, self._refusals)
        self._server = grpc.aio.server(interceptors=[guard], options=_OPTIONS)
        streams = {k: grpc.stream_stream_rpc_method_handler(f) for k, f in handlers.items()}
        served = grpc.method_handlers_generic_handler(_SERVICE, streams)
        self._server.add_generic_rpc_handlers((served,))
        self._credentials.listen(self._server, f"unix:{self._directory / GRPC}")
        await self._server.start()
        bound = self._door.listen(host, port)
        self._local.setblocking(False)
        self._local.bind(str(self._directory / GATEWAY))
        self._local.listen(1024)
        self._begin(self._accept_locals())
        self._begin(self._tunnels.tend())
        return joined_address(host, bound)

    async def _close(self) -> None:
        for task in list(self._tasks):
            await _stopped(task)
        self._local.close()
        self._door.close()
        await self._server.stop(None)
        for channel in self._channels.values():
            await channel.close()
        await _cancelled_all()

    def _channel(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            self._channels[address] = self._credentials.channel(address, _OPTIONS)
        return self._channels[address]

    def _stub(self, address: str, method: str) -> Any:
        return self._channel(address).stream_stream(_path(method))

    # -- greeting ------------------------------------------------------------------------------

    async def _on_greet(self, _requests: Any, context: Any) -> None:
        """Somebody wants to know whether this is a node of his; of what he sends nothing is read
        but the nonce."""
        nonce = str(dict(context.invocation_metadata()).get("nonce", ""))
        answer = self._doorkeeper.greet(nonce)
        if answer is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "that is no greeting")
            return
        key, proof = answer
        await context.write(key + proof.encode())

    async def _greet(self, address: str) -> bytes:
        """The key of the node there, which has the token. Raises `ClusterError`."""
        nonce = secrets.token_hex(16)
        call = self._stub(address, "Greet")(metadata=(("nonce", nonce),), wait_for_ready=True)
        said = await call.read()
        if not isinstance(said, bytes) or not _is_answer(self._prover, nonce, said):
            await self._be_refused(address, said)
            raise ClusterError(
                f"the head at {address} has another token than {token_file()}: compare them, see "
                "`rllib token`"
            )
        return key_of(said)

    async def _be_refused(self, address: str, said: Any) -> None:
        """So that the head can tell in its log who has another token. What is proved is wanted of
        no node: who passes the proof on, to one that has this token, gets nothing for it."""
        if isinstance(said, bytes):
            shown = self._prover.call(key_of(said), _path("Nothing"))
            await self._stub(address, "Nothing")(metadata=shown).code()

    # -- control -------------------------------------------------------------------------------

    async def _on_control(self, _requests: Any, context: Any) -> None:
        """A node joins, and stays until the stream ends."""
        self._door.know(context.peer())
        first = await context.read()
        join = _read_join(first)
        if join is None:
            text = f"it is another version of rllib, {rllib.__version__}: nodes join otherwise"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
            return
        link = Link(context.write)
        reason = self._listener.joined(link, join)
        if reason:
            await context.write(messages.encode([messages.Refused(reason)]))
            return
        await self._converse(link, context.read, messages.read_up)

    async def _join(self, address: str, join: messages.Join, timeout_s: float) -> Link:
        try:
            async with asyncio.timeout(timeout_s):
                key = await self._greet(address)
                shown = self._prover.call(key, _path("Control"))
                call = self._stub(address, "Control")(metadata=shown)
                await call.write(messages.encode([join]))
                first, *others = messages.read_down(await call.read())
        except (TimeoutError, grpc.aio.AioRpcError, WireError, TypeError, ValueError) as error:
            await self._channels.pop(address).close()
            told = _told(error) or await asyncio.to_thread(
                why_nobody_answers, address, self._credentials.tls
            )
            raise ClusterError(f"cannot join the head at {address}: {told}") from None
        if isinstance(first, messages.Refused):
            call.cancel()
            raise ClusterError(f"the head at {address} refuses: {first.reason}")
        link = Link(call.write)
        self._listener.heard(link, [first, *others])
        conversation = self._converse(link, call.read, messages.read_down)
        self._begin(conversation)
        return link

    async def _converse(
        self, link: Link, read: Callable[[], Awaitable[Any]], decode: Callable[[bytes], list[Any]]
    ) -> None:
        """Both ways, until one side ends or is silent for too long; the listener hears how."""
        work = [
            asyncio.ensure_future(each)
            for each in (self._hear(link, read, decode), link.pour(), self._watch(link))
        ]
        work.append(asyncio.ensure_future(_closing(link)))
        reason = "its connection broke"  # gRPC cancels what serves a client that is gone
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            reason = _reason(done.pop())
        finally:
            for each in work:
                each.cancel()
            self._listener.left(link, reason)  # before anything at which this may be cancelled
            await asyncio.gather(*work, return_exceptions=True)

    async def _hear(
        self, link: Link, read: Callable[[], Awaitable[Any]], decode: Callable[[bytes], list[Any]]
    ) -> str:
        while (data := await read()) is not grpc.aio.EOF:
            link.heard = time.monotonic()
            self._listener.heard(link, decode(data))
        return "its connection ended"

    async def _watch(self, link: Link) -> str:
        told = False
        while (silence := time.monotonic() - link.heard) < DEAD_S:
            if silence >= SILENT_S and not told:
                self._listener.silent(link)
            told = silence >= SILENT_S
            await asyncio.sleep(_TICK_S)
        return f"nothing was heard of it for {DEAD_S:g} s"

    # -- tunnels -------------------------------------------------------------------------------

    async def _accept_locals(self) -> None:
        """Processes here that want to talk to one elsewhere."""
        while True:
            try:
                sock, _address = await self._loop.sock_accept(self._local)
            except OSError:  # out of descriptors
                await asyncio.sleep(_TICK_S)
                continue
            self._begin(self._on_local(sock))

    def _begin(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on_local(self, sock: socket.socket) -> None:
        """One of them, which says first to whom, and who it is."""
        sock.setblocking(False)
        try:
            said = await _exactly(self._loop, sock, 2 * _ID_BYTES)
        except OSError:  # it may be gone
            sock.close()
            return
        to, me = said[:_ID_BYTES], said[_ID_BYTES:]
        address = self._addresses.get(key_of(to))
        if address is None:  # its node is gone, and so is it
            sock.close()
        else:
            await self._tunnels.dig(sock, me, to, address)


async def _exactly(loop: asyncio.AbstractEventLoop, sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await loop.sock_recv(sock, size - len(data))
        if not more:
            raise ConnectionError("it ended")
        data += more
    return data


async def _cancelled_all() -> None:
    """All tasks of the loop but this one."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _stopped(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _path(method: str) -> str:
    return f"/{_SERVICE}/{method}"


def _is_answer(prover: Prover, nonce: str, said: bytes) -> bool:
    """Whether that is what a node with the token answers to a greeting."""
    key = key_of(said)
    return prover.has_token(nonce, key, said[len(key) :].decode("ascii", "replace"))


def _read_join(data: Any) -> messages.Join | None:
    try:
        (join,) = messages.read_up(data)
    except (WireError, TypeError, ValueError):
        return None
    return join if isinstance(join, messages.Join) else None


async def _closing(link: Link) -> str:
    await link.closed.wait()
    return "it was let go of"


def _reason(done: asyncio.Task[Any]) -> str:
    """Why a conversation has ended."""
    error = done.exception()
    if error is None:
        return str(done.result())
    return f"its connection broke ({_told(error)})"


def _told(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return str(error.details() or error.code().name)
    if isinstance(error, TimeoutError):
        return ""
    return str(error) or type(error).__name__


class Refusals:
    """Each kind of refusal is logged once for each host, and never without end."""

    def __init__(self) -> None:
        self._warned: set[tuple[str, str]] = set()

    def log(self, reason: str, host: str) -> None:
        """A call from there was refused."""
        if (host, reason) in self._warned or len(self._warned) >= _MOST_WARNINGS:
            return
        self._warned.add((host, reason))
        last = "; no more of them are told" if len(self._warned) == _MOST_WARNINGS else ""
        _logger.warning("a call from %s %s was refused%s", host, reason, last)


class _Guard(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses who does not prove to have the token, before anything else of the call is read."""

    def __init__(self, doorkeeper: Doorkeeper, refusals: Refusals) -> None:
        self._doorkeeper = doorkeeper
        self._refusals = refusals

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Called with the metadata of a call alone."""
        if details.method == _path("Greet"):
            return await continuation(details)
        reason = self._doorkeeper.refusal(details.method, dict(details.invocation_metadata))
        return self._refusal(reason) if reason else await continuation(details)

    def _refusal(self, reason: str) -> Any:
        async def refuse(_requests: Any, context: Any) -> None:
            self._refusals.log(reason, host_of(context.peer()))
            text = f"a call {reason}: see `rllib token`"
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, text)

        return grpc.stream_stream_rpc_method_handler(refuse)
