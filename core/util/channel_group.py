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

    def wait(self, timeout: timedelta = timedelta(seconds=30)) -> None:
        """Take part, for so long at most. Raises as `Receiver.receive` does."""
        self._action(time.monotonic() + timeout.total_seconds())


class ChannelGroup:
    """The operations of torch's process groups that `Group` needs, on CPU tensors, contiguous."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._others = [rank for rank in range(mesh.size) if rank != mesh.rank]

    def allreduce(self, tensor: torch.Tensor, operator: Any) -> Work:
        """Combine everybody's, into each."""
        flat, combine = tensor.view(-1), _COMBINE[operator]
        if _bytes(flat).nbytes < SHARED_BYTES * self._mesh.size:
            return Work(lambda deadline: self._combine_whole(flat, combine, deadline))
        return Work(lambda deadline: self._combine_parts(flat, combine, deadline))

    def _combine_whole(self, flat: torch.Tensor, combine: Combine, deadline: float) -> None:
        self._mesh.send_to_all(_bytes(flat))
        self._combine_into(flat, combine, deadline)

    def _combine_parts(self, flat: torch.Tensor, combine: Combine, deadline: float) -> None:
        parts = flat.tensor_split(self._mesh.size)
        for rank in self._others:
            self._mesh.send(_bytes(parts[rank]), rank)
        mine = parts[self._mesh.rank]
        self._combine_into(mine, combine, deadline)
        self._mesh.send_to_all(_bytes(mine))
        for rank in self._others:
            self._receive_into(parts[rank], rank, deadline)

    def _combine_into(self, mine: torch.Tensor, combine: Combine, deadline: float) -> None:
        """Replace this member's by what it and the others' come to, in the order of ranks."""
        found: torch.Tensor | None = None
        for rank in range(self._mesh.size):
            each = mine
            if rank != self._mesh.rank:
                each = torch.empty_like(mine)
                self._receive_into(each, rank, deadline)
            found = each if found is None else combine(found, each)
        assert found is not None
        mine.copy_(found)

    def _receive_into(self, flat: torch.Tensor, source: int, deadline: float) -> None:
        """Raises `RuntimeError` where a tensor of another size comes."""
        content, target = self._mesh.receive(source, deadline), _bytes(flat)
        if content.nbytes != target.nbytes:
            raise RuntimeError(
                f"tensors differ in size: {content.nbytes:,} bytes came from rank {source}, where "
                f"this member has {target.nbytes:,}"
            )
        target[:] = content

    def reduce(self, tensor: torch.Tensor, root: int, operator: Any) -> Work:
        """Combine everybody's, into that of ``root``."""
        flat, combine = tensor.view(-1), _COMBINE[operator]
        if self._mesh.rank != root:
            return Work(lambda _deadline: self._mesh.send(_bytes(flat), root))
        return Work(lambda deadline: self._combine_into(flat, combine, deadline))

    def broadcast(self, tensor: torch.Tensor, root: int) -> Work:
        """Copy that of ``root`` into everybody's."""
        flat = tensor.view(-1)
        if self._mesh.rank == root:
            return Work(lambda _deadline: self._mesh.send_to_all(_bytes(flat)))
        return Work(lambda deadline: self._receive_into(flat, root, deadline))

    def allgather(self, targets: list[list[torch.Tensor]], sources: list[torch.Tensor]) -> Work:
        """Copy everybody's into a list at each."""
        (found,), (own,) = targets, sources

        def gather(deadline: float) -> None:
            self._mesh.send_to_all(_bytes(own.view(-1)))
            found[self._mesh.rank].copy_(own)
            for rank in self._others:
                self._receive_into(found[rank].view(-1), rank, deadline)

        return Work(gather)

    def send(self, tensors: list[torch.Tensor], to: int, _tag: int) -> Work:
        """Send to one member."""
        (tensor,) = tensors
        return Work(lambda _deadline: self._mesh.send(_bytes(tensor.view(-1)), to))

    def recv(self, tensors: list[torch.Tensor], source: int, _tag: int) -> Work:
        """Receive from one member."""
        (tensor,) = tensors
        return Work(lambda deadline: self._receive_into(tensor.view(-1), source, deadline))

    def barrier(self) -> Work:
        """Wait until everybody is here."""
        return self.allreduce(torch.zeros(1), dist.ReduceOp.SUM)

    def abort(self) -> None:
        """Leave; what others wait for fails."""
        self._mesh.close()


def _bytes(flat: torch.Tensor) -> memoryview:
    """A tensor's memory, of any type."""
    memory: memoryview = flat.view(torch.uint8).numpy().data
    return memory
