"""Bytes from process to process over the runtime's own connections: with its token, and its TLS.

::

    sender --(what, bytes, next)--> receiver

Each message brings the reference of the one after it.

A channel leads one way. The receiver asks for the next message as soon as it has one, so that it
comes by itself when it is sent. What was sent and not received takes room in the object store, and
is lost with the process of the sender.
"""

from __future__ import annotations

import contextlib
import time
from pickle import PickleBuffer
from typing import Any

from rllib.core import api
from rllib.core.exceptions import CoreError, GetTimeoutError, OwnerDiedError, RuntimeClosedError
from rllib.core.object_ref import ObjectRef
from rllib.core.util.rendezvous import Gathering

SHARED_BYTES = 1 << 16
"""From this size on what goes to several is stored once, and comes to each node once."""


class ChannelError(RuntimeError):
    """Nothing more comes through a channel.

    Attributes: ``rank`` of who should have sent something, and ``died``: whether its process has.
    """

    def __init__(self, rank: int, reason: str, *, died: bool) -> None:
        super().__init__(f"rank {rank} {reason}")
        self.rank, self.died = rank, died


class Sender:
    """The end into which messages go.

    Attributes: ``next``, the reference of the next message, from which a `Receiver` begins. Who
    keeps it keeps all that come after it.
    """

    def __init__(self) -> None:
        self.next = api.runtime().promise()

    def send(self, what: str, message: Any) -> None:
        """Send a `PickleBuffer`, or the reference of one; nobody is waited for."""
        runtime = api.runtime()
        here, self.next = self.next, runtime.promise()
        runtime.fulfil(here, (what, message, self.next))

    def close(self) -> None:
        """Whoever waits for a message hears that none comes."""
        with contextlib.suppress(RuntimeClosedError):  # then nobody waits any more
            api.runtime().fulfil(self.next, CoreError("has left the group"))


class Receiver:
    """The end from which messages come, of the process of that rank."""

    def __init__(self, first: ObjectRef[Any], rank: int) -> None:
        self.rank = rank
        self._next = self._asked_for(first)

    @staticmethod
    def _asked_for(ref: ObjectRef[Any]) -> ObjectRef[Any]:
        api.runtime().expect(ref)
        return ref

    def receive(self, what: str, deadline: float) -> memoryview:
        """The next bytes, read-only; waits until ``deadline``, of the monotonic clock.

        Raises `ChannelError`, also where they are something else than ``what``.
        """
        try:
            sent, message, following = self._get(self._next, deadline)
            self._next = self._asked_for(following)
            if sent != what:
                reason = f"takes part in {sent}, and this member in {what}"
                raise ChannelError(self.rank, reason, died=False)
            is_stored = isinstance(message, ObjectRef)
            content = self._get(message, deadline) if is_stored else message
        except GetTimeoutError:
            raise ChannelError(self.rank, "timed out", died=False) from None
        except OwnerDiedError:
            raise ChannelError(self.rank, "died", died=True) from None
        except CoreError as error:
            raise ChannelError(self.rank, str(error), died=False) from None
        return memoryview(content)

    @staticmethod
    def _get(ref: ObjectRef[Any], deadline: float) -> Any:
        return api.get(ref, timeout=max(0.0, deadline - time.monotonic()))


class Mesh:
    """Channels between each two of the members of a group, as one member has them.

    Args:
        rank: this one's.
        senders: to the others, by rank.
        firsts: of the others' senders to this one, by rank.
    """

    def __init__(
        self, rank: int, senders: dict[int, Sender], firsts: dict[int, ObjectRef[Any]]
    ) -> None:
        self.rank, self.size = rank, len(senders) + 1
        self._senders = senders
        self._receivers = {other: Receiver(first, other) for other, first in firsts.items()}

    @classmethod
    def of(cls, gathering: Gathering) -> Mesh:
        """That of members who have just met."""
        me = gathering.me.rank
        others = [member.rank for member in gathering.members if member.rank != me]
        senders = {other: Sender() for other in others}
        gathering.set(f"channels/{me}", {other: sender.next for other, sender in senders.items()})
        firsts = {other: gathering.get(f"channels/{other}")[me] for other in others}
        return cls(me, senders, firsts)

    def send(self, what: str, content: memoryview, to: int) -> None:
        """Send a copy to one."""
        self._senders[to].send(what, PickleBuffer(content))

    def send_to_all(self, what: str, content: memoryview) -> None:
        """Send a copy to all others."""
        is_large = content.nbytes >= SHARED_BYTES and len(self._senders) > 1
        buffer = PickleBuffer(content)
        message = api.put(buffer) if is_large else buffer
        for sender in self._senders.values():
            sender.send(what, message)

    def receive(self, what: str, source: int, deadline: float) -> memoryview:
        """Receive from one; see `Receiver.receive`."""
        return self._receivers[source].receive(what, deadline)

    def close(self) -> None:
        """Tell the others that nothing more comes."""
        for sender in self._senders.values():
            sender.close()
