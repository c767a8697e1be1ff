"""Several learners in one process: each in a thread, met at a table."""

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock
from typing import Any

from rllib.learning.peers import Peers


class Round:
    """An operation of a group: what the members have for each other, and a barrier to wait at."""

    def __init__(self, size: int) -> None:
        self.barrier = Barrier(size, timeout=20)
        self.places: list[Any] = [None] * size


class Table:
    """Where a group meets, in one round after the other."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.lock = Lock()
        self.rounds: dict[int, Round] = defaultdict(lambda: Round(size))

    def round(self, number: int) -> Round:
        with self.lock:
            return self.rounds[number]


class Threads(Peers):
    """A member of a group of threads."""

    def __init__(self, table: Table, rank: int) -> None:
        self.table, self.rank, self.size = table, rank, table.size
        self.num_calls = 0

    def gather(self, value: Any) -> list[Any]:
        self.num_calls += 1
        here = self.table.round(self.num_calls)
        here.places[self.rank] = value
        here.barrier.wait()
        return here.places

    def allreduce_sum(self, tensor: Any) -> Any:
        return tensor.copy_(sum(self.gather(tensor.clone())))

    def leave(self) -> None:
        self.table.round(self.num_calls + 1).barrier.abort()


def together(size: int, action: Callable[[Threads], Any]) -> list[Any]:
    """What ``action`` returns for each of ``size`` members."""
    table = Table(size)
    with ThreadPoolExecutor(size) as pool:
        return [*pool.map(action, [Threads(table, rank) for rank in range(size)])]
