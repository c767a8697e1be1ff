"""How much there is and who has what: pools of resources, and the shares taken out of them.

Everything is counted in whole units, so that amounts add up exactly. A GPU is more than an amount:
a share of it names its device. Whole GPUs are devices that nobody else uses; a fraction comes from
the fullest device that still has room, so that whole ones stay whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

UNIT = 10_000
"""Amounts are counted in whole units of 0.0001."""

Amounts = dict[str, int]


def units(amounts: Mapping[str, float]) -> Amounts:
    """Resource amounts as whole units."""
    return {name: round(value * UNIT) for name, value in amounts.items()}


Kind = tuple[tuple[str, int], ...]
"""Amounts, as a key."""


def kind_of(amounts: Amounts) -> Kind:
    """The same whatever the order."""
    return tuple(sorted(amounts.items()))


def floats(amounts: Amounts) -> dict[str, float]:
    """Units as amounts again."""
    return {name: value / UNIT for name, value in amounts.items()}


def covers(free: Amounts, needs: Amounts) -> bool:
    """Whether ``free`` has all that is needed."""
    return all(free.get(name, 0) >= amount for name, amount in needs.items() if amount)


def devices(amount: float, names: Iterable[str]) -> Amounts:
    """That many GPUs, and how much there is of each; those beyond ``names`` are numbered."""
    given = list(names)
    found: Amounts = {}
    left = round(amount * UNIT)
    while left > 0:
        index = len(found)
        found[given[index] if index < len(given) else str(index)] = min(left, UNIT)
        left -= UNIT
    return found


class Pool:
    """Resources of a node, or of a bundle that was taken out of it.

    Invariant: what is free and what its shares hold add up to the total.
    """

    def __init__(self, total: Amounts, devices: Amounts) -> None:
        self.total = total
        self.free = dict(total)
        self.freed: Callable[[], object] | None = None
        """Called when more is free than before, or it has a share less."""
        self.shares = 0
        """How many were taken and not given back."""
        self._devices = devices
        self._free_devices = dict(devices)

    @property
    def devices(self) -> Amounts:
        """The GPUs, and how much there is of each."""
        return dict(self._devices)

    def take(self, needs: Amounts) -> Share | None:
        """A share of what is needed, if that is free."""
        if not covers(self.free, needs):
            return None
        devices = self._pick(needs.get("GPU", 0))
        if devices is None:
            return None
        self.shares += 1
        for name, amount in needs.items():
            self._add(name, -amount)
        for name, amount in devices.items():
            self._free_devices[name] -= amount
        return Share(self, needs, devices)

    def _pick(self, amount: int) -> Amounts | None:
        """Devices with that much together: whole ones, and one for the fraction that is left."""
        count, rest = divmod(amount, UNIT)
        whole = [name for name, free in self._free_devices.items() if free == UNIT][:count]
        if len(whole) < count:
            return None
        picked = dict.fromkeys(whole, UNIT)
        if rest:
            others = (item for item in self._free_devices.items() if item[0] not in picked)
            roomy = [(free, name) for name, free in others if free >= rest]
            if not roomy:
                return None
            picked[min(roomy)[1]] = rest
        return picked

    def could_cover(self, needs: Amounts) -> bool:
        """Whether it has that much when nothing is taken."""
        return self.unused().take(needs) is not None

    def unused(self) -> Pool:
        """The same pool with nothing taken out of it, to try things with."""
        return Pool(self.total, self._devices)

    def change(self, name: str, amount: int) -> None:
        """Have more or less free, for a moment even less than nothing: see `Share.hold_cpus`."""
        self._add(name, amount)
        if amount > 0:
            self._tell()

    def _add(self, name: str, amount: int) -> None:
        self.free[name] = self.free.get(name, 0) + amount

    def _tell(self) -> None:
        if self.freed is not None:
            self.freed()

    def returned(self, share: Share) -> None:
        """The inverse of `take`."""
        self.undo(share)
        self._tell()

    def undo(self, share: Share) -> None:
        """Have it as it was before `take`, so that nothing is free that was not before."""
        self.shares -= 1
        for name, amount in share.amounts.items():
            self._add(name, amount)
        for name, amount in share.devices.items():
            self._free_devices[name] += amount


class Share:
    """What was taken out of a pool."""

    __slots__ = ("amounts", "devices", "pool")

    def __init__(self, pool: Pool, amounts: Amounts, devices: Amounts) -> None:
        self.pool = pool
        self.amounts = amounts
        self.devices = devices

    def give_back(self) -> None:
        """All of it; the share is not used any more."""
        self.pool.returned(self)

    def undo(self) -> None:
        """The same for one that was taken only to see whether it can be."""
        self.pool.undo(self)

    def hold_cpus(self, amount: int) -> None:
        """Hold that much CPU from now on. Whoever goes on after having lent its CPU takes it back
        at once, though others may use it: then less than nothing is free."""
        self.pool.change("CPU", self.amounts.get("CPU", 0) - amount)
        self.amounts = {**self.amounts, "CPU": amount}

    def as_pool(self) -> Pool:
        """A pool of just this."""
        return Pool(self.amounts, self.devices)
