"""Digging tunnels to other nodes, and letting in those that others dig: who knocks says whom he
wants, and proves that he has the token, before anything else of what he sends is looked at.

::

    who knocks --MAGIC, [TLS], length, "<process> rllib <caller> <number> <proof>"--> gateway
    who knocks <--one byte: OPEN, GONE, or REFUSED and why-------------------------- gateway

Who has dug a tunnel may dig side wires for it, once it has something for them to carry. He wants
``side:<number>`` then, which is the number of the call that has opened the tunnel, his own.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rllib.core.cluster.carriers import SIDES, Carriers
from rllib.core.cluster.credentials import Tls, split_address
from rllib.core.cluster.dock import Dock
from rllib.core.cluster.proofs import Doorkeeper, Prover
from rllib.core.cluster.side_wires import HELLO, IDLE_S
from rllib.core.cluster.tunnel import Ends, Tunnel
from rllib.core.cluster.wires import Wire, prepare, read_exactly, ready, secured, write_all
from rllib.core.native.descriptors import most_descriptors
from rllib.core.native.platform import usable_cores
from rllib.core.native.sites import KEY_BYTES, key_of

MAGIC = b"RLLIB/4\n"
TUNNEL = "/rllib.Node/Tunnel"
SIDE = "/rllib.Node/Side"
"""What is proved to be wanted."""

SIDE_OF = "side:"

_OF_A_TUNNEL = 2 + SIDES
"""Descriptors, at most."""
_AT_ONCE = 8
"""So many tunnels get side wires at the same time: of thousands, and others knock, too."""
_CORES_FOR_TLS = 4
"""With fewer, encrypting on several of them takes them from each other and from all else."""

OPEN, GONE, REFUSED = b"+", b"0", b"-"
_ID_BYTES = 16
_LENGTH = struct.Struct("<H")
_MAX_KNOCK = 1024
_MAX_REASON = 1024
_PATIENCE_S = 10.0
"""How long somebody may take to say who he is."""
_DIG_S = 70.0
"""Longer than a node may say nothing before it is gone: until then the network may come back."""
_PAUSE_S = 0.2
_LINGER_S = 1.0
_LINGER_READS = 64
_FULL = (errno.EMFILE, errno.ENFILE)
"""There are no descriptors left."""
_HUNG_UP = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_NOBODY = (FileNotFoundError, ConnectionError)


class Refused(OSError):
    """The other gateway lets nobody in; the text says why."""


class Opened(NamedTuple):
    """What somebody who knocked was given."""

    wire: Wire
    number: str
    """Of his call."""


class Tunnels:
    """Those of one gateway. Coroutines run on its loop; what is carried, in a thread of its own."""

    def __init__(
        self,
        directory: Path,
        tls: Tls | None,
        prover: Prover,
        doorkeeper: Doorkeeper,
        dock: Dock,
        broken: Callable[[bytes, str], None],
        refused: Callable[[str, str], None],
    ) -> None:
        self._directory = directory
        self._tls = tls
        self._prover = prover
        self._doorkeeper = doorkeeper
        self._dock = dock
        self._broken = broken
        self._refused = refused
        self._carriers = Carriers()
        self._lock = self._carriers.main.lock
        self._tunnels: set[Tunnel] = set()
        self._admitted: dict[tuple[str, str], Tunnel] = {}
        """By who has dug them, and the number of his call."""
        self._digging: dict[asyncio.Future[Any], bytes] = {}
        """What is under way, and to the node of which key."""
        self._few = asyncio.Semaphore(_AT_ONCE)

    # -- from here -----------------------------------------------------------------------------

    async def dig(self, near: socket.socket, me: bytes, to: bytes, address: str) -> None:
        """From a process here to one at a gateway elsewhere. Ends ``near`` where that fails."""
        digging = asyncio.ensure_future(self._way(to, address))
        self._digging[digging] = key_of(to)
        try:
            opened = await digging
        except (OSError, TimeoutError) as error:
            near.close()
            self._broken(to, str(error) or "it does not answer")
            return
        except asyncio.CancelledError:  # its node is gone, or this one ends
            near.close()
            return
        finally:
            del self._digging[digging]
        if opened is None:
            near.close()
            return

        def ended(tunnel: Tunnel, reason: str) -> None:
            self._tunnels.discard(tunnel)
            if reason:
                self._broken(to, reason)

        loop, number = asyncio.get_running_loop(), opened.number

        def widen(tunnel: Tunnel) -> None:
            begin = partial(self._begin_sides, tunnel, number, address)
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(begin)

        may_widen = self._tls is None or usable_cores() >= _CORES_FOR_TLS
        ends = Ends(me, key_of(to))
        self._carry(near, opened.wire, ends, ended, widen if may_widen else None)

    async def _way(self, to: bytes, address: str) -> Opened | None:
        """As `_knock`, but what a network that is cut for a while has spoiled is tried again, and
        what this node had no descriptors for."""
        async with asyncio.timeout(_DIG_S):
            while True:
                try:
                    return await self._knock(key_of(to), TUNNEL, to.hex(), address)
                except OSError as error:  # nothing was carried yet
                    if not (isinstance(error, ConnectionError) or error.errno in _FULL):
                        raise
                    await asyncio.sleep(_PAUSE_S)

    def _begin_sides(self, tunnel: Tunnel, number: str, address: str) -> None:
        digging = asyncio.ensure_future(self._dig_sides(tunnel, number, address))
        self._digging[digging] = tunnel.ends.far
        digging.add_done_callback(lambda done: self._digging.pop(done, None))

    async def _dig_sides(self, tunnel: Tunnel, number: str, address: str) -> None:
        """As many as can be had; the tunnel does without the others until it wishes for more."""
        try:
            with contextlib.suppress(OSError, TimeoutError):
                async with self._few, asyncio.timeout(_PATIENCE_S):
                    for _ in range(SIDES):  # perhaps fewer remain
                        if not self._may_widen(tunnel):
                            break
                        await self._dig_side(tunnel, number, address)
        finally:
            with self._lock:
                tunnel.sides.done()

    async def _dig_side(self, tunnel: Tunnel, number: str, address: str) -> None:
        """One that there may be. Raises `OSError`, also where the tunnel is gone there."""
        opened = await self._knock(tunnel.ends.far, SIDE, SIDE_OF + number, address)
        if opened is None:
            raise Refused("that tunnel is gone")
        try:
            await write_all(opened.wire, HELLO)
        except BaseException:
            opened.wire.close()
            raise
        with self._lock:
            tunnel.add_side(opened.wire)

    def _may_widen(self, tunnel: Tunnel) -> bool:
        """Whether it may have one more, and leaves descriptors for tunnels to come."""
        with self._lock:
            are_many = _OF_A_TUNNEL * len(self._tunnels) > most_descriptors() // 2
            return not are_many and tunnel.may_widen()

    async def _knock(self, node: bytes, method: str, to: str, address: str) -> Opened | None:
        """The way to that process, or a side wire; none if it is gone. Raises `OSError`."""
        sock = await _connected(address)
        try:
            await asyncio.get_running_loop().sock_sendall(sock, MAGIC)
            far = await secured(sock, self._tls, server=False)
            shown = dict(self._prover.call(node, method, to))["authorization"]
            text = f"{to} {shown}".encode()
            await write_all(far, _LENGTH.pack(len(text)) + text)
            answer = await read_exactly(far, 1)
            if answer == OPEN:
                return Opened(far, shown.split(" ")[2])
            if answer != GONE:
                raise Refused(await _reason(far))
        except BaseException:
            sock.close()
            raise
        far.close()
        return None

    # -- from elsewhere ------------------------------------------------------------------------

    async def admit(self, sock: socket.socket, host: str) -> bool:
        """Somebody has said MAGIC; whether he is let in. Else the socket is to be closed."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                far = await secured(sock, self._tls, server=True)
                await self._admit(far, host)
        except ssl.SSLError as error:
            if not isinstance(error, _HUNG_UP):
                self._refused(_story(error), host)
            return False
        except OSError:  # or his time is up
            return False
        return True

    async def _admit(self, far: Wire, host: str) -> None:
        (length,) = _LENGTH.unpack(await read_exactly(far, _LENGTH.size))
        if length > _MAX_KNOCK:
            raise Refused("that is no knock")
        to, _, shown = (await read_exactly(far, length)).decode("ascii", "replace").partition(" ")
        method = SIDE if to.startswith(SIDE_OF) else TUNNEL
        reason = self._doorkeeper.refusal(method, {"authorization": shown, "to": to})
        if reason:
            self._refused(reason, host)
            await _dismiss(far, REFUSED + f"a call {reason}: see `rllib token`".encode())
            raise Refused(reason)
        _scheme, caller, number = shown.split(" ")[:3]
        if method == SIDE:
            await self._admit_side(far, self._admitted.get((caller, to.removeprefix(SIDE_OF))))
        else:
            await self._admit_tunnel(far, to, caller, number)

    async def _admit_side(self, far: Wire, tunnel: Tunnel | None) -> None:
        if tunnel is None:
            await _dismiss(far, GONE)
            raise Refused("that tunnel is gone")
        if not self._may_widen(tunnel):
            await _dismiss(far, REFUSED + b"a tunnel has no more side wires")
            raise Refused("that tunnel has all side wires")
        try:
            await write_all(far, OPEN)
        except BaseException:
            with self._lock:
                tunnel.sides.forgo()
            raise
        with self._lock:
            tunnel.add_side(far, awaits_hello=True)

    async def _admit_tunnel(self, far: Wire, to: str, caller: str, number: str) -> None:
        near = await _connected_locally(self._directory, to)
        if near is None:
            await _dismiss(far, GONE)
            raise Refused("that process is gone")
        try:
            await write_all(far, OPEN)
        except BaseException:
            near.close()
            raise
        ends = Ends(bytes.fromhex(to), bytes.fromhex(caller)[:KEY_BYTES])

        def ended(tunnel: Tunnel, _reason: str) -> None:
            self._tunnels.discard(tunnel)
            self._admitted.pop((caller, number), None)

        with self._lock:
            tunnel = self._carry(near, far, ends, ended)
            if tunnel in self._tunnels:  # else it has ended already
                self._admitted[caller, number] = tunnel

    # -- all -----------------------------------------------------------------------------------

    def _carry(
        self,
        near: socket.socket,
        far: Wire,
        ends: Ends,
        ended: Callable[[Tunnel, str], None],
        widen: Callable[[Tunnel], None] | None = None,
    ) -> Tunnel:
        with self._lock:
            tunnel = Tunnel(self._carriers, near, far, ends, self._dock, ended, widen)
            self._tunnels.add(tunnel)
            tunnel.start()
        return tunnel

    async def tend(self) -> None:
        """Have side wires go that nobody needs. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(IDLE_S / 4)
            with self._lock:
                for tunnel in self._tunnels:
                    tunnel.sides.rest()

    def cut(self, node: bytes) -> None:
        """The node of that key is gone."""
        for digging in [each for each, key in self._digging.items() if key == node]:
            digging.cancel()
        with self._lock:
            for tunnel in [each for each in self._tunnels if each.ends.far == node]:
                tunnel.cut("its node is gone")

    def close(self) -> None:
        """End all."""
        with self._lock:
            for tunnel in list(self._tunnels):
                tunnel.cut("")
        self._dock.close()
        self._carriers.stop()


def _story(error: ssl.SSLError) -> str:
    """What is wrong with a call that got no further than TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"with a certificate that is not valid here ({error.verify_message})"
    return f"that did not get through TLS ({error.reason})"


async def _connected(address: str) -> socket.socket:
    """A connection to that address. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    host, port = split_address(address)
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _name, where = found[0]
    sock = socket.socket(family, kind, protocol)
    prepare(sock)
    try:
        await loop.sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connected_locally(directory: Path, to: str) -> socket.socket | None:
    """The socket of a process here, if it lives; of nothing else that came is a name made.

    Raises `OSError` where that cannot be told.
    """
    if len(to) != 2 * _ID_BYTES or not set(to) <= set("0123456789abcdef"):
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, str(directory / f"{to}.sock"))
    except BaseException as error:
        sock.close()
        if isinstance(error, _NOBODY):
            return None
        raise
    return sock


async def _dismiss(far: Wire, answer: bytes) -> None:
    """Say so, and hear him out a little: an answer is lost with what is not read when it ends."""
    await write_all(far, answer)
    far.end_output()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            for _ in range(_LINGER_READS):
                if (heard := far.receive(_MAX_KNOCK)) is None:
                    await ready(far.sock)
                elif not heard:
                    return


async def _reason(far: Wire) -> str:
    """What it says, up to its end."""
    told = b""
    with contextlib.suppress(OSError):
        while len(told) < _MAX_REASON:
            more = far.receive(_MAX_REASON)
            if more is None:
                await ready(far.sock)
            elif more:
                told += more
            else:
                break
    return told.decode("ascii", "replace")
