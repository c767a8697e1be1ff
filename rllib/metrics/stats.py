"""How the values of one metric become one: mean, minimum, sum, percentiles, and so on.

Each is a small state with three operations, pure of time and place: ``push`` a value, ``merge``
what somebody else has collected, ``value``. Merging is the same as pushing everything in one place.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import isnan
from operator import index
from typing import Any, ClassVar, Self

PERCENTILES = (0, 50, 75, 90, 95, 99, 100)
EMA_COEFF = 0.01


def number(value: Any) -> float | int:
    """A scalar of Python, numpy or torch as Python's int or float."""
    try:
        return index(value)
    except TypeError:
        return float(value)


@dataclass
class Stats(ABC):
    """What was logged under one key.

    Attributes:
        clear_on_reduce: whether each iteration begins anew.
    """

    kind: ClassVar[str]
    clear_on_reduce: bool = True

    @abstractmethod
    def push(self, value: Any) -> None:
        """Add a value."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Add what another one has collected."""

    @abstractmethod
    def value(self) -> Any:
        """All values as one; what it was last if there are none at present."""

    @abstractmethod
    def clear(self) -> None:
        """Begin anew; ``value`` stays what it is until there is another."""

    @abstractmethod
    def empty(self) -> Self:
        """Another one of this kind without values."""


@dataclass
class Series(Stats):
    """Keeps the values themselves, the last ``window`` of them; a window slides over iterations."""

    needs_all: ClassVar[bool] = True
    """Whether one value cannot stand for all before it."""
    window: int | None = None
    values: deque[Any] = field(default_factory=deque)
    last: Any = None

    def __post_init__(self) -> None:
        self.values = deque(self.values, maxlen=self.window)

    def push(self, value: Any) -> None:
        """Add a number; NaN says nothing."""
        if not isnan(value := number(value)):
            self._extend([value])

    def merge(self, other: Self) -> None:
        """Add the other's values after these."""
        self._extend(other.values)

    def _extend(self, values: Iterable[Any]) -> None:
        self.values.extend(values)
        if self.window is None and not self.needs_all and len(self.values) > 1:
            self.values = deque([self.reduced(self.values)])

    def value(self) -> Any:
        """The values reduced to one."""
        return self.reduced(self.values) if self.values else self.last

    @abstractmethod
    def reduced(self, values: Sequence[Any]) -> Any:
        """One value for at least one."""

    def clear(self) -> None:
        """Forget the values."""
        self.last = self.value()
        self.values.clear()

    def empty(self) -> Self:
        """The same window without values."""
        return type(self)(clear_on_reduce=self.clear_on_reduce, window=self.window)


class Min(Series):
    """The least value."""

    kind = "min"
    needs_all = False

    def reduced(self, values: Sequence[Any]) -> Any:
        """The least."""
        return min(values)


class Max(Series):
    """The greatest value."""

    kind = "max"
    needs_all = False

    def reduced(self, values: Sequence[Any]) -> Any:
        """The greatest."""
        return max(values)


class WindowMean(Series):
    """The mean of the last values."""

    kind = "window_mean"

    def reduced(self, values: Sequence[Any]) -> Any:
        """Sum over number."""
        return sum(values) / len(values)


class WindowSum(Series):
    """The sum of the last values."""

    kind = "window_sum"

    def reduced(self, values: Sequence[Any]) -> Any:
        """Their sum."""
        return sum(values)


class ItemSeries(Series):
    """The values themselves, whatever they are."""

    kind = "item_series"

    def push(self, value: Any) -> None:
        """Add anything."""
        self.values.append(value)

    def value(self) -> Any:
        """A list, empty without values."""
        return list(self.values)

    def reduced(self, values: Sequence[Any]) -> Any:
        """All of them."""
        return list(values)


@dataclass
class Percentiles(Series):
    """Exact percentiles of the last values, linear between two of them, as in numpy."""

    kind = "percentiles"
    percentiles: tuple[float, ...] = PERCENTILES

    def __post_init__(self) -> None:
        super().__post_init__()
        self.percentiles = tuple(self.percentiles)

    def reduced(self, values: Sequence[Any]) -> Any:
        """Percentile to value."""
        ordered = sorted(values)
        return {p: _percentile(ordered, p) for p in self.percentiles}

    def empty(self) -> Self:
        """The same percentiles without values."""
        made = super().empty()
        made.percentiles = self.percentiles
        return made


def _percentile(ordered: Sequence[float], p: float) -> float:
    below, rest = divmod(p * (len(ordered) - 1), 100)
    index = int(below)
    if not rest:
        return ordered[index]
    return ordered[index] + (ordered[index + 1] - ordered[index]) * rest / 100


@dataclass
class Mean(Stats):
    """The mean of an iteration, in constant memory."""

    kind = "mean"
    total: float = 0
    count: int = 0
    last: float | None = None

    def push(self, value: Any) -> None:
        """Add a number; NaN says nothing."""
        if not isnan(value := number(value)):
            self.total += value
            self.count += 1

    def merge(self, other: Self) -> None:
        """Add sums and counts."""
        self.total += other.total
        self.count += other.count

    def value(self) -> Any:
        """Sum over number."""
        return self.total / self.count if self.count else self.last

    def clear(self) -> None:
        """Forget sum and count."""
        self.last = self.value()
        self.total, self.count = 0, 0

    def empty(self) -> Self:
        """Without values."""
        return type(self)(clear_on_reduce=self.clear_on_reduce)


@dataclass
class Sum(Stats):
    """The sum of an iteration, or of a lifetime if it is not cleared; without values it is 0."""

    kind = "sum"
    total: float | int = 0

    def push(self, value: Any) -> None:
        """Add a number; NaN says nothing."""
        if not isnan(value := number(value)):
            self.total += value

    def merge(self, other: Self) -> None:
        """Add the other's sum."""
        self.total += other.total

    def value(self) -> Any:
        """The sum."""
        return self.total

    def clear(self) -> None:
        """Begin at 0."""
        self.total = 0

    def empty(self) -> Self:
        """At 0."""
        return type(self)(clear_on_reduce=self.clear_on_reduce)


@dataclass
class Ema(Stats):
    """Exponential moving average: ``coeff`` times the new value and the rest of the old average.

    For values v_1, ..., v_n it is ``decay * v_1 + weighted`` with ``decay = (1 - coeff)^(n - 1)``,
    so that averages over parts of the values can be put together exactly.
    """

    kind = "ema"
    clear_on_reduce: bool = False
    coeff: float = EMA_COEFF
    first: float | None = None
    decay: float = 1.0
    weighted: float = 0.0
    last: float | None = None

    def push(self, value: Any) -> None:
        """Add a number; NaN says nothing."""
        if isnan(value := number(value)):
            return
        if self.first is None:
            self.first = value
        else:
            self._follow(1.0 - self.coeff, self.coeff * value)

    def _follow(self, decay: float, weighted: float) -> None:
        self.decay *= decay
        self.weighted = self.weighted * decay + weighted

    def merge(self, other: Self) -> None:
        """As if the other's values had come after these."""
        if other.first is None:
            return
        self.push(other.first)
        self._follow(other.decay, other.weighted)

    def value(self) -> Any:
        """The average."""
        return self.last if self.first is None else self.decay * self.first + self.weighted

    def clear(self) -> None:
        """Forget the average."""
        self.last = self.value()
        self.first, self.decay, self.weighted = None, 1.0, 0.0

    def empty(self) -> Self:
        """The same coefficient without values."""
        return type(self)(clear_on_reduce=self.clear_on_reduce, coeff=self.coeff)


@dataclass
class Item(Stats):
    """The newest value, whatever it is."""

    kind = "item"
    newest: Any = None
    is_set: bool = False

    def push(self, value: Any) -> None:
        """Replace the value."""
        self.newest, self.is_set = value, True

    def merge(self, other: Self) -> None:
        """Take the other's value, if it has one."""
        if other.is_set:
            self.push(other.newest)

    def value(self) -> Any:
        """The newest."""
        return self.newest

    def clear(self) -> None:
        """Keep it: it is the newest until there is another."""

    def empty(self) -> Self:
        """Without a value."""
        return type(self)(clear_on_reduce=self.clear_on_reduce)


KINDS: dict[str, type[Stats]] = {
    cls.kind: cls
    for cls in (Mean, WindowMean, Ema, Min, Max, Sum, WindowSum, Item, ItemSeries, Percentiles)
}
_HOMES = {"ema_coeff": "ema", "percentiles": "percentiles"}
REDUCTIONS = (
    *("mean", "ema", "min", "max", "sum", "lifetime_sum"),
    *("item", "item_series", "percentiles"),
)


def make_stats(
    reduce: str,
    window: int | None = None,
    ema_coeff: float | None = None,
    percentiles: Sequence[float] | bool | None = None,
    clear_on_reduce: bool | None = None,
) -> Stats:
    """What collects values in this way.

    Args:
        reduce: one of ``REDUCTIONS``.
        window: number of last values that count.
        ema_coeff: weight of a new value in ``"ema"``; 0.01 by default.
        percentiles: which ones, in percent.
        clear_on_reduce: whether each iteration begins anew; by default without a window, but for
            ``"ema"`` and ``"lifetime_sum"``.

    Raises:
        ValueError: no such reduction, or arguments that belong to another.
    """
    _check(reduce, window, ema_coeff=ema_coeff, percentiles=percentiles)
    clear = window is None if clear_on_reduce is None else clear_on_reduce
    makers: dict[str, Callable[[], Stats]] = {
        "mean": lambda: WindowMean(clear, window) if window else Mean(clear),
        "ema": lambda: Ema(bool(clear_on_reduce), EMA_COEFF if ema_coeff is None else ema_coeff),
        "min": lambda: Min(clear, window),
        "max": lambda: Max(clear, window),
        "sum": lambda: WindowSum(clear, window) if window else Sum(clear),
        "lifetime_sum": lambda: Sum(False),
        "item": lambda: Item(False),
        "item_series": lambda: ItemSeries(clear, window),
        "percentiles": lambda: Percentiles(clear, window, percentiles=_wanted(percentiles)),
    }
    return makers[reduce]()


def _wanted(percentiles: Sequence[float] | bool | None) -> tuple[float, ...]:
    if percentiles is None or isinstance(percentiles, bool):
        return PERCENTILES
    return tuple(percentiles)


def _check(reduce: str, window: int | None, **others: Any) -> None:
    if reduce not in REDUCTIONS:
        raise ValueError(f"reduce={reduce!r}: should be one of {', '.join(REDUCTIONS)}")
    for name, value in others.items():
        if value is not None and reduce != _HOMES[name]:
            raise ValueError(f"{name} belongs to reduce={_HOMES[name]!r}, not {reduce!r}")
    if window is not None and not isinstance(window, int):
        raise ValueError(
            f"window={window!r}: should be a whole number; leave it out for all values"
        )
    if window is not None and (reduce in ("ema", "lifetime_sum", "item") or window < 1):
        raise ValueError(f"window={window!r} means nothing for reduce={reduce!r}")
