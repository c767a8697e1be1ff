"""The workers that are lent, and how they come back when others need what they hold.

A client keeps its leases while nobody else wants them. When somebody starves, each client is asked
once for one lease of every kind that others could use. It is asked again when it has given one back
and that was not enough, so that whoever has more tasks than leases takes turns with others.
"""

from __future__ import annotations

from collections.abc import Set

from rllib.core.native import wire
from rllib.core.native.demands import Demand, LeaseKind
from rllib.core.native.instructions import Instruction, Tell
from rllib.core.native.workforce import Worker

Starving = tuple[bytes, LeaseKind]
"""A client, and the kind of its demands that wait."""


class Loans:
    """Feed it events; what clients are asked goes to ``out``."""

    def __init__(self, out: list[Instruction]) -> None:
        self._out = out
        self._leases: dict[bytes, dict[int, Worker]] = {}
        self._kinds: dict[bytes, dict[LeaseKind, dict[int, Worker]]] = {}
        self._asked_for: Set[Starving] = frozenset()
        self._to_ask: set[bytes] = set()
        """Of whom something has changed since they were asked."""

    def clients(self) -> set[bytes]:
        """Who has leases."""
        return set(self._leases)

    def get(self, client: bytes, lease: int) -> Worker | None:
        """The worker that is lent."""
        return self._leases.get(client, {}).get(lease)

    def lend(self, demand: Demand, worker: Worker) -> None:
        """A lease begins."""
        self._leases.setdefault(demand.client, {})[demand.lease] = worker
        kinds = self._kinds.setdefault(demand.client, {})
        kinds.setdefault(demand.kind, {})[demand.lease] = worker
        self._to_ask.add(demand.client)

    def end(self, client: bytes, lease: int) -> Worker | None:
        """It has ended, if there was one: its worker."""
        worker = self.get(client, lease)
        if worker is None:
            return None
        kind = worker.user.kind
        del self._leases[client][lease], self._kinds[client][kind][lease]
        if not self._kinds[client][kind]:
            del self._kinds[client][kind]
        if not self._leases[client]:
            del self._leases[client], self._kinds[client]
        self._to_ask.add(client)
        return worker

    def drop_client(self, client: bytes) -> list[Worker]:
        """A client has died: what it had."""
        self._kinds.pop(client, None)
        return list(self._leases.pop(client, {}).values())

    def goes_on(self, worker: Worker) -> None:
        """A worker's task has waited for another one, and does not any more."""
        self._to_ask.add(worker.user.client)

    def ask_back(self, starving: Set[Starving]) -> None:
        """Ask for leases that serve others than those who starve: a client that has more tasks of
        one kind than leases needs no reminder of itself."""
        clients = self._to_ask if starving <= self._asked_for else self._leases
        for client in sorted(clients & self._leases.keys()) if starving else ():
            self._ask(client, starving)
        self._asked_for = starving
        self._to_ask.clear()

    def _ask(self, client: bytes, starving: Set[Starving]) -> None:
        wanted = [
            next((number for number, worker in leases.items() if not worker.waiting), None)
            for kind, leases in self._kinds[client].items()
            if starving != {(client, kind)}
        ]
        numbers = [number for number in wanted if number is not None]
        if numbers:
            self._out.append(Tell(client, wire.LeasesWanted(numbers)))
