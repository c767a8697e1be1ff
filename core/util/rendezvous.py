"""How the members of a collective group find each other, and learn who of them is dead.

::

    rank 0 --join--> Rendezvous <--join-- rank 1     answered once all have joined
    rank 0 --set---> Rendezvous --get---> rank 1     addresses, until all are connected

The rendezvous is a named actor that whoever comes first creates. It serves one gathering: once the
members are connected they let go of it, and it ends. Later on a member knows the others by process,
and asks the operating system whether they live.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import Any, NamedTuple

import psutil

from rllib.core import api
from rllib.core.exceptions import ActorError
from rllib.core.object_ref import ObjectRef
from rllib.core.remote import ActorClass, ActorHandle

GLOO_INTERFACE = "GLOO_SOCKET_IFNAME"
"""Which variable says over which network gloo talks."""

RETRY_S = 0.005
_LOOK_S = 0.25
"""How often somebody who waits for others looks whether they live."""


class CollectiveError(RuntimeError):
    """A collective operation failed on this member, and with it the whole group.

    Attributes: ``group`` (its name), ``rank`` of this member, and ``dead``: the ranks of members
    whose processes are known to have ended.
    """

    def __init__(self, message: str, group: str = "", rank: int = -1, dead: tuple[int, ...] = ()):
        super().__init__(message)
        self.group = group
        self.rank = rank
        self.dead = dead

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.group, self.rank, self.dead)


class CollectiveTimeoutError(CollectiveError, TimeoutError):
    """The other members did not come to the operation in time."""


class Member(NamedTuple):
    """A process in a group."""

    rank: int
    pid: int
    created: float
    """When the process started, since its number may be used again."""
    host: str
    address: str
    """Of its node, as other nodes reach it."""
    interface: str = ""
    """That gloo is to use there."""

    @classmethod
    def this_process(cls, rank: int) -> Member:
        """The one that asks."""
        created = psutil.Process().create_time()
        host, interface = socket.gethostname(), os.environ.get(GLOO_INTERFACE, "")
        return cls(rank, os.getpid(), created, host, _own_address(), interface)

    def is_dead(self) -> bool:
        """Whether its process has ended; of other hosts nothing is known."""
        if self.host != socket.gethostname():
            return False
        try:
            process = psutil.Process(self.pid)
            return process.create_time() != self.created or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def __str__(self) -> str:
        return f"rank {self.rank} (process {self.pid} on {self.host})"


def _own_address() -> str:
    here = api.runtime().where().node_id
    rows = api.nodes()
    return next((str(r["NodeManagerAddress"]) for r in rows if r["NodeID"] == here), "127.0.0.1")


def dead_among(members: list[Member], patience_s: float = 0.0) -> list[Member]:
    """Those that are dead; waits for one to be so, since a socket ends before its process."""
    deadline = time.monotonic() + patience_s
    while not (dead := [member for member in members if member.is_dead()]):
        if time.monotonic() >= deadline:
            break
        time.sleep(RETRY_S)
    return dead


class Gathering:
    """A member's side of a rendezvous. Raises `CollectiveTimeoutError` when others do not come."""

    def __init__(self, group: str, world_size: int, rank: int, timeout_s: float) -> None:
        self.group = group
        self.me = Member.this_process(rank)
        self.deadline = time.monotonic() + timeout_s
        self._size = world_size
        self._timeout_s = timeout_s
        self._actor, self.members = self._join()

    def _join(self) -> tuple[ActorHandle, list[Member]]:
        """Wait for everybody. A rendezvous that has served already is about to end: try again."""
        options = {"name": f"_collective:{self.group}", "get_if_exists": True, "num_cpus": 0}
        while True:
            left = max(0.0, self.deadline - time.monotonic())
            try:
                actor = ActorClass(_Rendezvous, options).remote(self._size)
                answer = api.get(actor.join.remote(self.me, self._size, left))
            except ActorError:
                answer = _SERVED
            if answer == _SERVED and left:
                time.sleep(RETRY_S)
                continue
            return actor, self._checked(answer)

    def _checked(self, answer: Any) -> list[Member]:
        """All members. Raises what kept them from meeting."""
        if isinstance(answer, list):
            return answer
        if isinstance(answer, str) and answer != _SERVED:
            raise self._error(CollectiveError, answer)
        missing = f"; missing are ranks {', '.join(map(str, answer))}" if answer != _SERVED else ""
        text = f"not all {self._size} members came within {self._timeout_s:g} s{missing}"
        raise self._error(CollectiveTimeoutError, text)

    def _error(
        self, kind: type[CollectiveError], text: str, dead: tuple[int, ...] = ()
    ) -> CollectiveError:
        rank = self.me.rank
        message = f"rank {rank} could not join collective group {self.group!r}: {text}"
        return kind(message, self.group, rank, dead)

    def set(self, key: str, value: Any) -> None:
        """Tell the others."""
        api.get(self._actor.set.remote(key, value))

    def add(self, key: str, amount: int) -> int:
        """Count together; the new sum."""
        total: int = api.get(self._actor.add.remote(key, amount))
        return total

    def get(self, key: str) -> Any:
        """What one of the others tells, as soon as it does."""
        ref: ObjectRef[Any] = self._actor.get.remote(key)
        while not api.wait([ref], timeout=_LOOK_S)[0]:
            dead = dead_among(self.members)
            if dead:
                text = f"{', '.join(map(str, dead))} died meanwhile"
                raise self._error(CollectiveError, text, tuple(m.rank for m in dead))
            if time.monotonic() > self.deadline:
                raise self._error(CollectiveTimeoutError, "the others did not answer in time")
        return api.get(ref)


_SERVED = "served"


class _Rendezvous:
    """The actor."""

    def __init__(self, world_size: int) -> None:
        self._size = world_size
        self._members: dict[int, Member] = {}
        self._served = False
        self._values: dict[str, Any] = {}
        self._changed = asyncio.Condition()

    async def join(self, member: Member, world_size: int, wait: float) -> Any:
        """All members once they are there; the ranks that are missing after ``wait`` seconds; or
        why this one cannot be a member, in words."""
        if world_size != self._size:
            return f"it has world_size {world_size}, but others have {self._size}"
        if self._served:
            return _SERVED
        async with self._changed:
            self._members[member.rank] = member
            self._served = len(self._members) == self._size
            self._changed.notify_all()
            await self._until(lambda: self._served or self._replaced(member), wait)
        if self._replaced(member):
            return f"{self._members[member.rank]} claims to be rank {member.rank} as well"
        if self._served:
            return [self._members[rank] for rank in sorted(self._members)]
        del self._members[member.rank]
        here = {*self._members, member.rank}
        return tuple(rank for rank in range(self._size) if rank not in here)

    def _replaced(self, member: Member) -> bool:
        return self._members[member.rank] != member

    async def _until(self, condition: Any, wait: float | None) -> None:
        if condition() or wait == 0.0:
            return
        try:
            async with asyncio.timeout(wait):
                await self._changed.wait_for(condition)
        except TimeoutError:
            return  # the caller looks at the condition itself

    async def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        async with self._changed:
            self._values[key] = value
            self._changed.notify_all()

    async def add(self, key: str, amount: int) -> int:
        """Add to a number; the sum."""
        total = int(self._values.get(key, b"0")) + amount
        await self.set(key, str(total).encode())
        return total

    async def get(self, key: str) -> Any:
        """A value, once somebody has set it."""
        async with self._changed:
            await self._until(lambda: key in self._values, None)
            return self._values[key]
