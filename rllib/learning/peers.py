"""What the learners of an algorithm compute together.

Each learner has a part of every train batch. Whatever is meant of the whole batch, a gradient or a
mean, goes through here; a learner on its own calls the same methods, which then do nothing.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rllib.core.util import collective

Doubles = NDArray[np.float64]


class Moments(NamedTuple):
    """Means and standard deviations [K] of K columns over all learners' rows."""

    means: Doubles
    stds: Doubles


class Peers(ABC):
    """The learners, as one of them sees them. All of them call each method, in the same order.

    Attributes:
        rank: this one's number.
        size: how many there are.
    """

    rank: int
    size: int

    @abstractmethod
    def allreduce_sum(self, tensor: Tensor) -> Tensor:
        """Replace the tensor by the sum of everybody's, and return it."""

    @abstractmethod
    def gather(self, value: Any) -> list[Any]:
        """Everybody's values, by rank: numbers, text, arrays, and tuples and dictionaries of such,
        where tuples may come as lists."""

    @abstractmethod
    def leave(self) -> None:
        """Take no further part: what the others wait for fails."""

    def total(self, number: int) -> int:
        """The sum of everybody's numbers."""
        return int(self.allreduce_sum(torch.tensor([number])))

    def allreduce_mean(self, tensor: Tensor, weight: float = 1.0) -> Tensor:
        """Replace the tensor by the mean of everybody's, weighted, and return it."""
        total = self.allreduce_sum(torch.tensor([weight], dtype=torch.float64))
        return self.allreduce_sum(tensor.mul_(weight)).div_(float(total))

    def moments(self, columns: NDArray[Any]) -> Moments:
        """Means and standard deviations.

        Args:
            columns: [K, B] of this learner's B rows; other learners may have more or fewer.
        """
        local = columns.astype(np.float64)
        count, sums = local.shape[1], local.sum(axis=1)
        total, *sums = self._add(np.append([count], sums))
        means = np.array(sums) / max(total, 1.0)
        squares = self._add(np.square(local - means[:, None]).sum(axis=1))
        return Moments(means, np.sqrt(squares / max(total, 1.0)))

    def _add(self, numbers: Doubles) -> Doubles:
        added: Doubles = self.allreduce_sum(torch.from_numpy(numbers)).numpy()
        return added


class Alone(Peers):
    """A single learner."""

    rank, size = 0, 1

    def allreduce_sum(self, tensor: Tensor) -> Tensor:
        """The tensor as it is."""
        return tensor

    def total(self, number: int) -> int:
        """The number as it is."""
        return number

    def gather(self, value: Any) -> list[Any]:
        """The value alone."""
        return [value]

    def leave(self) -> None:
        """There is nobody to wait."""


def _array_as_ext(value: Any) -> msgspec.msgpack.Ext:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"learners cannot tell each other a {type(value).__name__}")
    parts = value.dtype.str, value.shape, np.ascontiguousarray(value).tobytes()
    return msgspec.msgpack.Ext(0, msgspec.msgpack.encode(parts))


def _array_of_ext(_code: int, data: memoryview) -> NDArray[Any]:
    dtype, shape, content = msgspec.msgpack.decode(data, type=tuple[str, tuple[int, ...], bytes])
    return np.frombuffer(content, dtype).reshape(shape)


# Not pickled: what comes over gloo's sockets comes from whoever has connected to them.
_encode = msgspec.msgpack.Encoder(enc_hook=_array_as_ext).encode
_decode = msgspec.msgpack.Decoder(ext_hook=_array_of_ext).decode


class Members(Peers):
    """Learners in processes of their own: a collective group of the runtime.

    Args:
        rank: this one's number.
        size: how many there are.
        name: the group's.
        device: where tensors are when they are sent: "cpu" by gloo, CUDA devices by NCCL.
        timeout_s: seconds that an operation waits for others, of whom it is not known that they
            are dead.

    Raises:
        CollectiveError: a member is dead or did not come; from every method.
    """

    def __init__(
        self, rank: int, size: int, name: str, device: torch.device, timeout_s: float
    ) -> None:
        self.rank, self.size, self.name, self.device = rank, size, name, device
        backend = "gloo" if device.type == "cpu" else "nccl"
        collective.init_collective_group(size, rank, backend, name, timeout_s=timeout_s)

    def allreduce_sum(self, tensor: Tensor) -> Tensor:
        """By one operation, which adds in the same order at every member."""
        sent = tensor.to(self.device)
        collective.allreduce(sent, self.name)
        return tensor if sent is tensor else tensor.copy_(sent)

    def gather(self, value: Any) -> list[Any]:
        """By two operations: how long the values are, then the values."""
        data = _encode(value)
        sizes = [int(size) for size in self._collect(torch.tensor([len(data)]))]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        found = self._collect(padded)
        return [
            _decode(part[:size].numpy().tobytes()) for part, size in zip(found, sizes, strict=True)
        ]

    def _collect(self, tensor: Tensor) -> list[Tensor]:
        sent = tensor.to(self.device)
        found = [torch.empty_like(sent) for _ in range(self.size)]
        collective.allgather(found, sent, self.name)
        return [part.cpu() for part in found]

    def leave(self) -> None:
        """Leave the group."""
        collective.destroy_collective_group(self.name)
