"""Losses in RLlib's shape: ``compute_loss_for_module`` makes another total of an algorithm's loss.

minibatch --compute_loss--> Loss --its total, by super()--> compute_loss_for_module --> Loss
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from rllib.columns import Columns
from rllib.learning.loss import Loss

_NAMES = {
    "old_dist_inputs": Columns.ACTION_DIST_INPUTS,
    "old_logp": Columns.ACTION_LOGP,
}
"""RLlib's names of columns of minibatches that have others here."""


class Logged:
    """The ``metrics`` of such a learner: what is logged of a minibatch is reported with it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def log_value(self, key: str | tuple[str, ...], value: Any, **how: Any) -> None:
        """Report a scalar; of several minibatches the mean, whatever ``how`` says.

        Args:
            key: its name, which may stand behind the module's id.
            value: a number, or a tensor of one.
            how: RLlib's ways to reduce.
        """
        self.values[key if isinstance(key, str) else key[-1]] = value

    def log_dict(self, values: Mapping[str, Any], *, key: Any = None, **how: Any) -> None:
        """The same of several, by name."""
        for name, value in values.items():
            self.log_value(name, value)

    def take(self) -> dict[str, Any]:
        """What was logged since the last time."""
        taken, self.values = self.values, {}
        return taken


class Later(Mapping[str, Any]):
    """What a forward gives, which is made when somebody looks into it.

    Args:
        make: the forward.
    """

    def __init__(self, make: Callable[[], Mapping[str, Any]]) -> None:
        self.make = make
        self._made: Mapping[str, Any] | None = None

    def _all(self) -> Mapping[str, Any]:
        if self._made is None:
            self._made = self.make()
        return self._made

    def __getitem__(self, name: str) -> Any:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def columns_of(minibatch: Any) -> dict[str, Any]:
    """A minibatch by RLlib's names of its columns, or else by ours; without those it has not."""
    columns: dict[str, Any] = {}
    for name, column in minibatch._asdict().items():
        if name == "inputs":
            columns |= column
        elif column is not None:
            columns[_NAMES.get(name, name)] = column
    return columns


def total_of(loss: Loss, owner: str) -> Tensor:
    """What such a method is given of a loss.

    Raises:
        TypeError: there are several losses.
    """
    if isinstance(loss.total, Tensor):
        return loss.total
    raise TypeError(
        f"{owner}.compute_loss_for_module: this algorithm has a loss for each of its optimisers; "
        "override compute_loss(minibatch), which returns all of them"
    )
