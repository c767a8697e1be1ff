"""The node's side of the object store: cells of the ledger, requests for room, files of the dead.

A process that finds no room asks the node, which asks all others and answers when they have::

    client --NeedRoom--> node --MakeRoom--> every other client
    client <--RoomMade-- node <--RoomMade-- every other client
"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from rllib.core.native import wire
from rllib.core.native.instructions import Tell
from rllib.core.native.ledger import Assignments, Cells
from rllib.core.native.spillfiles import remove_files_of

_MOURNING_S = 10.0
"""Files of a dead process stay for so long: somebody may be about to adopt what it handed over."""


class Round:
    """One request for room: who has not answered it, and what the others have moved."""

    def __init__(self, client: bytes, seq: int, asked: set[bytes]) -> None:
        self.client = client
        self.seq = seq
        self.asked = asked
        self.moved = 0


class Rounds:
    """All requests for room. No I/O."""

    def __init__(self) -> None:
        self._rounds: dict[int, Round] = {}
        self._count = 0

    def need(self, client: bytes, need: wire.NeedRoom, others: set[bytes]) -> list[Tell]:
        """``client`` needs room that ``others`` may make."""
        self._count += 1
        begun = self._rounds[self._count] = Round(client, need.seq, others)
        questions = [Tell(other, wire.MakeRoom(self._count, need.size)) for other in sorted(others)]
        return questions + self._answer(self._count, begun)

    def made(self, client: bytes, made: wire.RoomMade) -> list[Tell]:
        """One of those who were asked has answered."""
        found = self._rounds.get(made.seq)
        if found is None or client not in found.asked:
            raise wire.WireError("RoomMade from a process that was not asked")
        found.asked.discard(client)
        found.moved += made.moved
        return self._answer(made.seq, found)

    def gone(self, client: bytes) -> list[Tell]:
        """Nobody waits for an answer of the dead."""
        answers = []
        for number, found in list(self._rounds.items()):
            if found.client == client:
                found.client = b""
            if client in found.asked:
                found.asked.discard(client)
                answers += self._answer(number, found)
        return answers

    def _answer(self, number: int, found: Round) -> list[Tell]:
        if found.asked:
            return []
        del self._rounds[number]
        return [Tell(found.client, wire.RoomMade(found.seq, found.moved))] if found.client else []

    def __len__(self) -> int:
        return len(self._rounds)


class StoreKeeper:
    """See the module's text. ``folder`` is where values are spilled."""

    def __init__(self, driver: bytes, cells: Cells, capacity: int, folder: Path) -> None:
        self.capacity = capacity
        self._assignments = Assignments(cells)
        self._folder = folder
        self._rounds = Rounds()
        self._driver = driver
        self._clients: set[bytes] = set()
        self._dead: deque[tuple[float, bytes]] = deque()
        self.driver_cell = self.admit(driver)

    def admit(self, client: bytes) -> int:
        """The cell of a new process."""
        self._clients.add(client)
        return self._assignments.assign(client)

    def handle(self, client: bytes, record: wire.NeedRoom | wire.RoomMade) -> list[Tell]:
        """A message of a client. Raises `wire.WireError` for an answer that was not asked for."""
        if isinstance(record, wire.RoomMade):
            return self._rounds.made(client, record)
        return self._rounds.need(client, record, self._clients - {client})

    def gone(self, client: bytes) -> list[Tell]:
        """A worker is dead."""
        self._clients.discard(client)
        self._assignments.gone(client)
        self._dead.append((time.monotonic(), client))
        self.remove_files(_MOURNING_S)
        return self._rounds.gone(client)

    def remove_files(self, mourning_s: float) -> None:
        """Remove the files of those who have been dead for so long."""
        until = time.monotonic() - mourning_s
        while self._dead and self._dead[0][0] <= until:
            remove_files_of(self._folder, self._dead.popleft()[1])

    def order(self, worker: bytes, namespace: str, logging: str) -> wire.Make:
        """What a new worker has to know."""
        self.remove_files(_MOURNING_S)
        cell = self.admit(worker)
        return wire.Make(worker, self._driver, namespace, self.capacity, cell, logging)
