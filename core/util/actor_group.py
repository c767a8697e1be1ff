"""`ActorGroup`: the same call on many actors, a bounded number under way on each.

What asynchronous sampling needs: keep every member busy and take results as they come, while
neither a slow member nor a dead one holds up the others::

    group = ActorGroup({"runner-0": a, "runner-1": b}, max_in_flight=2)
    group.fill("sample")                               # two calls on each
    for result in group.ready(timeout=1.0):            # of whoever is done
        learn(result.ref)                              # by reference: nothing is copied to here
        group.send("sample", members=[result.member])
    for member, error in group.take_deaths():
        group.add(member, Runner.remote())             # somebody else in its place
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rllib.core import api
from rllib.core.exceptions import ActorError, TaskError
from rllib.core.object_ref import ObjectRef
from rllib.core.remote import ActorHandle

Member = int | str
"""A name, or an index where the group was made of a sequence."""


class Result(NamedTuple):
    """A call that has ended."""

    member: Member
    method: str
    tag: str
    """What `ActorGroup.send` was given."""
    ref: Any
    """The reference of the value, or a list of them where the method has several returns."""
    error: Exception | None
    """What the method raised."""

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    def get(self) -> Any:
        """Fetch the value; raises the error if there is one."""
        return api.get(self.ref)


class Death(NamedTuple):
    """A member that cannot answer any more, and why."""

    member: Member
    error: ActorError


class Answers(NamedTuple):
    """What came of a call on all members, each in the order of the members."""

    results: list[Result]
    deaths: list[Death]
    late: list[Member]
    """Members that did not answer in time. Their calls go on; what comes of them is dropped."""

    def values(self) -> list[Any]:
        """Fetch all values; raises the first error of a method if there is one."""
        return [result.get() for result in self.results]


@dataclass(slots=True, eq=False)
class _Call:
    """A call under way."""

    member: Member
    method: str
    tag: str
    returned: Any
    abandoned: bool = False


class ActorGroup:
    """Actors by name or, from a sequence, by index. Not to be shared by threads.

    A member is *healthy* until a call of it ends with an `ActorError`. It is *dead* from then on:
    it gets no calls, and what it had under way is forgotten, until `add` or `probe` brings it back.
    ``max_in_flight`` limits the unfinished calls of each member that `send` and `fill` make.
    """

    def __init__(
        self,
        actors: Mapping[Member, ActorHandle] | Sequence[ActorHandle],
        max_in_flight: int = 2,
    ) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight must be at least 1, got {max_in_flight}")
        pairs = actors.items() if isinstance(actors, Mapping) else enumerate(actors)
        self.max_in_flight = max_in_flight
        self._actors: dict[Member, ActorHandle] = dict(pairs)
        self._calls: dict[ObjectRef[Any], _Call] = {}
        self._load: Counter[Member] = Counter()
        self._dead: dict[Member, ActorError] = {}
        self._untold: list[Death] = []

    # -- members -------------------------------------------------------------------------------

    @property
    def members(self) -> dict[Member, ActorHandle]:
        """All members, dead or not."""
        return dict(self._actors)

    @property
    def healthy(self) -> list[Member]:
        """Members that can be called, as far as is known."""
        return [member for member in self._actors if member not in self._dead]

    @property
    def dead(self) -> dict[Member, ActorError]:
        """Members that cannot, and why."""
        return dict(self._dead)

    def take_deaths(self) -> list[Death]:
        """Deaths noticed since this was asked last, each once, whichever verb noticed it."""
        deaths, self._untold = self._untold, []
        return deaths

    def add(self, member: Member, actor: ActorHandle) -> None:
        """Add a member, or another actor in the place of a dead one.

        Raises `ValueError` for the name of a healthy member.
        """
        if member in self._actors and member not in self._dead:
            raise ValueError(f"member {member!r} is in the group and healthy; remove() it first")
        self._dead.pop(member, None)
        self._actors[member] = actor

    def remove(self, member: Member) -> ActorHandle:
        """Take a member out; what it has under way is forgotten. Raises `KeyError` for a stranger.

        The actor itself goes on living as long as somebody holds its handle.
        """
        actor = self._actors.pop(member)
        self._dead.pop(member, None)
        self._forget(member)
        return actor

    def probe(self, timeout: float | None = None) -> list[Member]:
        """Ask dead members whether they answer again, as restarted actors do.

        Waits up to ``timeout`` seconds; returns those that are healthy again. Their state is what
        their constructor made, so that they may have to be brought up to date.
        """
        asked = {self._actors[member].__ray_ready__.remote(): member for member in self._dead}
        ready = _ready(list(asked), len(asked), timeout)
        back = [asked[ref] for ref in ready if api.error_of(ref) is None]
        for member in back:
            del self._dead[member]
        return back

    # -- calls ---------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        *args: Any,
        members: Iterable[Member] | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Answers:
        """Call all healthy members (or those of ``members`` that are), and wait for their answers.

        ``timeout`` is in seconds. The call queues up behind what a member has under way.
        """
        chosen = self._chosen(members)
        refs = [self._start(member, method, args, kwargs, "") for member in chosen]
        ready = _ready(refs, len(refs), timeout)
        told = len(self._untold)
        results = self._settle(ready)
        late = [self._abandon(ref) for ref in refs if ref in self._calls]
        return Answers(results, self._untold[told:], late)

    def send(
        self,
        method: str,
        *args: Any,
        members: Iterable[Member] | None = None,
        tag: str = "",
        **kwargs: Any,
    ) -> list[Member]:
        """Call all healthy members (or those of ``members``) that have room, once each.

        Returns at once with those that were called. `ready` gives the results, with ``tag``.
        """
        self._sweep()
        chosen = [m for m in self._chosen(members) if self._load[m] < self.max_in_flight]
        for member in chosen:
            self._start(member, method, args, kwargs, tag)
        return chosen

    def fill(self, method: str, *args: Any, tag: str = "", **kwargs: Any) -> int:
        """Call every healthy member until it has no room; the number of calls."""
        count = 0
        while called := self.send(method, *args, tag=tag, **kwargs):
            count += len(called)
        return count

    def in_flight(self, member: Member | None = None, tag: str | None = None) -> int:
        """Number of unfetched calls: of one member or of all, with one tag or with any."""
        if tag is None:
            return self._load.total() if member is None else self._load[member]
        calls = [call for call in self._calls.values() if call.tag == tag and not call.abandoned]
        return len(calls) if member is None else sum(call.member == member for call in calls)

    def ready(
        self,
        timeout: float | None = None,
        *,
        tags: Collection[str] | None = None,
        num_returns: int = 1,
    ) -> list[Result]:
        """Take what has ended, in the order of sending; everything, or what has one of ``tags``.

        Waits until at least ``num_returns`` calls have ended, for at most ``timeout`` seconds.
        Calls that ended with their member are no results: when nothing else did, the list is
        empty, and `take_deaths` tells. It is empty as well when nothing is under way.
        """
        self._sweep()
        waiting = [
            ref
            for ref, call in self._calls.items()
            if not call.abandoned and (tags is None or call.tag in tags)
        ]
        return self._settle(_ready(waiting, num_returns, timeout))

    def kill(self) -> None:
        """End all actors and empty the group."""
        for member in list(self._actors):
            api.kill(self.remove(member))

    # -- the books -----------------------------------------------------------------------------

    def _chosen(self, members: Iterable[Member] | None) -> list[Member]:
        """The healthy ones. Raises `KeyError` for a stranger."""
        if members is None:
            return self.healthy
        chosen = list(members)
        for member in chosen:
            if member not in self._actors:
                raise KeyError(f"{member!r} is no member of the group")
        return [member for member in chosen if member not in self._dead]

    def _start(
        self, member: Member, method: str, args: Any, kwargs: Any, tag: str
    ) -> ObjectRef[Any]:
        returned = getattr(self._actors[member], method).remote(*args, **kwargs)
        ref = returned[0] if isinstance(returned, list) else returned
        if ref is None:
            raise ValueError(f"{method} has num_returns=0: nothing would tell when it is done")
        self._calls[ref] = _Call(member, method, tag, returned)
        self._load[member] += 1
        return ref  # type: ignore[no-any-return]

    def _settle(self, ended: list[ObjectRef[Any]]) -> list[Result]:
        """Close the books on calls that have ended; the results among them."""
        results = []
        for ref in ended:
            call = self._calls.get(ref)
            if call is None:
                continue  # its member died with an earlier one
            error = api.error_of(ref)
            if isinstance(error, ActorError) and not isinstance(error, TaskError):
                self._bury(call.member, error)
                continue
            self._close(ref)
            if not call.abandoned:
                results.append(Result(call.member, call.method, call.tag, call.returned, error))
        return results

    def _close(self, ref: ObjectRef[Any]) -> None:
        self._load[self._calls.pop(ref).member] -= 1

    def _bury(self, member: Member, error: ActorError) -> None:
        self._forget(member)
        self._dead[member] = error
        self._untold.append(Death(member, error))

    def _forget(self, member: Member) -> None:
        for ref in [ref for ref, call in self._calls.items() if call.member == member]:
            self._close(ref)

    def _abandon(self, ref: ObjectRef[Any]) -> Member:
        call = self._calls[ref]
        call.abandoned = True
        return call.member

    def _sweep(self) -> None:
        """Settle abandoned calls, which hold room as long as they run."""
        abandoned = [ref for ref, call in self._calls.items() if call.abandoned]
        self._settle(_ready(abandoned, len(abandoned), 0))


def _ready(
    refs: list[ObjectRef[Any]], num_returns: int, timeout: float | None
) -> list[ObjectRef[Any]]:
    """All that are ready as soon as ``num_returns`` are, or ``timeout`` seconds have passed."""
    if not refs:
        return []
    wanted = min(num_returns, len(refs))
    ready, rest = api.wait(refs, num_returns=wanted, timeout=timeout)
    if rest and len(ready) == wanted:
        return api.wait(refs, num_returns=len(refs), timeout=0)[0]
    return ready
