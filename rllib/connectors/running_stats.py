"""Mean and variance of a stream, mergeable over processes.

Chan, Golub & LeVeque 1979: the moments of two parts give those of the whole, exactly.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


class Moments(NamedTuple):
    """Number of values, their mean, and the sum of their squared distances from it; float64."""

    num: float
    mean: Doubles
    squares: Doubles

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Self:
        """Of no values of this shape."""
        return cls(0.0, np.zeros(shape), np.zeros(shape))

    @classmethod
    def of(cls, values: NDArray[Any]) -> Self:
        """Of values [B, *shape], along the first dimension."""
        if not len(values):
            return cls.empty(values.shape[1:])
        mean = values.mean(axis=0, dtype=np.float64)
        return cls(float(len(values)), mean, np.square(values - mean).sum(axis=0))

    def merged(self, other: "Moments") -> "Moments":
        """Of the values of both."""
        count = self.num + other.num
        if not count:
            return self
        shift = other.mean - self.mean
        mean = self.mean + shift * (other.num / count)
        between = np.square(shift) * (self.num * other.num / count)
        return Moments(count, mean, self.squares + other.squares + between)

    @property
    def std(self) -> Doubles:
        """Standard deviation; 1 of fewer than two values, which say nothing of it."""
        if self.num < 2:
            return np.ones_like(self.mean)
        return np.sqrt(self.squares / self.num)

    def get_state(self) -> dict[str, Any]:
        """State tree."""
        return {"count": self.num, "mean": self.mean.copy(), "squares": self.squares.copy()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """From ``get_state``."""
        return cls(float(state["count"]), np.array(state["mean"]), np.array(state["squares"]))


class SharedMoments:
    """Moments that several processes collect together.

    Each adds what it sees, gives it away once (``take_news``), and gets back the moments of all
    (``set``). In between it goes by what it knows: those of all, and its own since then.

    Args:
        shape: of one value.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shared = Moments.empty(shape)
        self.given = Moments.empty(shape)
        self.news = Moments.empty(shape)
        self.total = self.shared

    def update(self, values: NDArray[Any]) -> None:
        """Add values [B, *shape]."""
        moments = Moments.of(values)
        self.news = self.news.merged(moments)
        self.total = self.total.merged(moments)

    def take_news(self) -> Moments:
        """What was added since the last call."""
        news, self.news = self.news, Moments.empty(self.news.mean.shape)
        self.given = self.given.merged(news)
        return news

    def set(self, shared: Moments) -> None:
        """Take over the moments of all, which include everything given away so far."""
        self.shared, self.given = shared, Moments.empty(shared.mean.shape)
        self.total = shared.merged(self.news)

    def get_state(self) -> dict[str, Any]:
        """State tree."""
        parts = {"shared": self.shared, "given": self.given, "news": self.news}
        return {name: part.get_state() for name, part in parts.items()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``."""
        self.shared, self.given, self.news = (
            Moments.from_state(state[name]) for name in ("shared", "given", "news")
        )
        self.total = self.shared.merged(self.given).merged(self.news)
