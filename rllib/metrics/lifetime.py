"""Counts over a whole run, however often it is resumed: those of this process and those before."""

from collections.abc import Callable, Mapping


class Lifetime:
    """Counts that begin at 0 in every process.

    Args:
        read: those of this process, by name.
    """

    def __init__(self, read: Callable[[], dict[str, int]]) -> None:
        self.read = read
        self._before: dict[str, int] = {}

    def totals(self) -> dict[str, int]:
        """All of them over the whole run, by name."""
        return {name: self._before.get(name, 0) + count for name, count in self.read().items()}

    def set_state(self, totals: Mapping[str, int]) -> None:
        """Go on from ``totals``; what an older checkpoint does not have goes on as it is."""
        counts, now = self.totals(), self.read()
        self._before = {name: int(totals.get(name, counts[name])) - now[name] for name in now}
