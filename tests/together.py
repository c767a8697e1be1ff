"""Several learners in one process: each in a thread, met at a table."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from rllib.peers import Peers


class Table:
    """Where the members of a group put what they have for each other."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.barrier = Barrier(size, timeout=20)
        self.places: list[Any] = [None] * size


class Threads(Peers):
    """A member of a group of threads."""

    def __init__(self, table: Table, rank: int) -> None:
        self.table, self.rank, self.size = table, rank, table.size
        self.num_calls = 0

    def gather(self, value: Any) -> list[Any]:
        self.num_calls += 1
        self.table.places[self.rank] = value
        self.table.barrier.wait()
        found = [*self.table.places]
        self.table.barrier.wait()
        return found

    def allreduce_sum(self, tensor: Any) -> Any:
        return tensor.copy_(sum(self.gather(tensor.clone())))

    def leave(self) -> None:
        self.table.barrier.abort()


def together(size: int, action: Callable[[Threads], Any]) -> list[Any]:
    """What ``action`` returns for each of ``size`` members."""
    table = Table(size)
    with ThreadPoolExecutor(size) as pool:
        return [*pool.map(action, [Threads(table, rank) for rank in range(size)])]
