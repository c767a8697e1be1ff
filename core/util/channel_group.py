"""Collective operations over channels: what gloo does, where its sockets would stand open.

A tensor to be combined is cut in as many parts as there are members. Each gets its part from all,
combines them by rank, and sends the result to all: as few bytes as in a ring, in two steps, and
the same bits at each member. Small tensors go to all as they are, in one step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from rllib.core.util.channels import SHARED_BYTES, Mesh

Combine = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_COMBINE: dict[Any, Combine] = {
    dist.ReduceOp.SUM: torch.add,
    dist.ReduceOp.PRODUCT: torch.mul,
    dist.ReduceOp.MIN: torch.minimum,
    dist.ReduceOp.MAX: torch.maximum,
}


class Work:
    """An operation, which takes place while it is waited for."""

    def __init__(self, action: Callable[[float], None]) -> None:
        self._action = action

    def wait(self, timeout: timedelta) -> None:
        """Take part, for so long at most. Raises as `Receiver.receive` does."""
        self._action(time.monotonic() + timeout.total_seconds())


class ChannelGroup:
    """The operations of torch's process groups that `Group` needs, on CPU tensors, contiguous.

    All raise `TypeError` for tensors elsewhere, before anything is sent.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._others = [rank for rank in range(mesh.size) if rank != mesh.rank]

    def allreduce(self, tensor: torch.Tensor, operator: Any) -> Work:
        """Combine everybody's, into each."""
        flat, what = _flat(tensor), _named("allreduce", tensor)
        combine = _COMBINE[operator]
        if _bytes(flat).nbytes < SHARED_BYTES * self._mesh.size:
            return Work(lambda deadline: self._combine_whole(what, flat, combine, deadline))
        return Work(lambda deadline: self._combine_parts(what, flat, combine, deadline))

    def _combine_whole(
        self, what: str, flat: torch.Tensor, combine: Combine, deadline: float
    ) -> None:
        self._mesh.send_to_all(what, _bytes(flat))
        self._combine_into(what, flat, combine, deadline)

    def _combine_parts(
        self, what: str, flat: torch.Tensor, combine: Combine, deadline: float
    ) -> None:
        parts = flat.tensor_split(self._mesh.size)
        for rank in self._others:
            self._mesh.send(what, _bytes(parts[rank]), rank)
        mine = parts[self._mesh.rank]
        self._combine_into(what, mine, combine, deadline)
        self._mesh.send_to_all(what, _bytes(mine))
        for rank in self._others:
            self._receive_into(what, parts[rank], rank, deadline)

    def _combine_into(
        self, what: str, mine: torch.Tensor, combine: Combine, deadline: float
    ) -> None:
        """Replace this member's by what it and the others' come to, in the order of ranks."""
        found: torch.Tensor | None = None
        for rank in range(self._mesh.size):
            each = mine
            if rank != self._mesh.rank:
                each = torch.empty_like(mine)
                self._receive_into(what, each, rank, deadline)
            found = each if found is None else combine(found, each)
        assert found is not None
        mine.copy_(found)

    def _receive_into(self, what: str, flat: torch.Tensor, source: int, deadline: float) -> None:
        _bytes(flat)[:] = self._mesh.receive(what, source, deadline)

    def reduce(self, tensor: torch.Tensor, root: int, operator: Any) -> Work:
        """Combine everybody's, into that of ``root``."""
        flat, what = _flat(tensor), _named("reduce", tensor)
        combine = _COMBINE[operator]
        if self._mesh.rank != root:
            return Work(lambda _deadline: self._mesh.send(what, _bytes(flat), root))
        return Work(lambda deadline: self._combine_into(what, flat, combine, deadline))

    def broadcast(self, tensor: torch.Tensor, root: int) -> Work:
        """Copy that of ``root`` into everybody's."""
        flat, what = _flat(tensor), _named("broadcast", tensor)
        if self._mesh.rank == root:
            return Work(lambda _deadline: self._mesh.send_to_all(what, _bytes(flat)))
        return Work(lambda deadline: self._receive_into(what, flat, root, deadline))

    def allgather(self, targets: list[list[torch.Tensor]], sources: list[torch.Tensor]) -> Work:
        """Copy everybody's into a list at each."""
        (own,), found = sources, [_flat(target) for target in targets[0]]
        flat, what = _flat(own), _named("allgather", own)

        def gather(deadline: float) -> None:
            self._mesh.send_to_all(what, _bytes(flat))
            found[self._mesh.rank].copy_(flat)
            for rank in self._others:
                self._receive_into(what, found[rank], rank, deadline)

        return Work(gather)

    def send(self, tensors: list[torch.Tensor], to: int, _tag: int) -> Work:
        """Send to one member."""
        (tensor,) = tensors
        flat, what = _flat(tensor), _named("a message", tensor)
        return Work(lambda _deadline: self._mesh.send(what, _bytes(flat), to))

    def recv(self, tensors: list[torch.Tensor], source: int, _tag: int) -> Work:
        """Receive from one member."""
        (tensor,) = tensors
        flat, what = _flat(tensor), _named("a message", tensor)
        return Work(lambda deadline: self._receive_into(what, flat, source, deadline))

    def barrier(self) -> Work:
        """Wait until everybody is here."""
        return self.allreduce(torch.zeros(1), dist.ReduceOp.SUM)

    def abort(self) -> None:
        """Leave; what others wait for fails."""
        self._mesh.close()


def _named(operation: str, tensor: torch.Tensor) -> str:
    """What all members must agree on."""
    return f"{operation} of {tensor.numel():,} {tensor.dtype}"


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.device.type != "cpu":
        raise TypeError(
            f"the tensor is on {tensor.device}: groups over several nodes take tensors on the CPU, "
            "unless their backend is 'nccl'"
        )
    return tensor.view(-1)


def _bytes(flat: torch.Tensor) -> memoryview:
    """A tensor's memory, of any type."""
    memory: memoryview = flat.view(torch.uint8).numpy().data
    return memory
