"""Collective operations between actors, tasks and the driver, under Ray's names.

::

    @core.remote
    class Learner:
        def join(self, world_size, rank):
            col.init_collective_group(world_size, rank)
        def average(self, gradients):                     # a torch tensor or a numpy array
            col.allreduce(gradients)                      # in place
            return gradients / col.get_collective_group_size()

Every operation has to be called by all members, in the same order. It ends within the group's
timeout: with a `CollectiveError` that names the dead as soon as a member dies, with a
`CollectiveTimeoutError` when somebody does not come. Either breaks the group; form it anew after
`destroy_collective_group`. Over several nodes, what a member has sent and nobody has received yet
is lost with its process.

Tensors are torch tensors or numpy arrays, of any shape; in one operation they have the same shape
and dtype at all members. What is written must be writable, as arrays that come from ``get`` are not
(`ValueError`). Anything else raises `TypeError`; where this process is no member, `RuntimeError`.
"""

from __future__ import annotations

import threading
from enum import Enum
from typing import TYPE_CHECKING, Any

from rllib.core import api
from rllib.core.remote import ActorHandle
from rllib.core.util.rendezvous import CollectiveError, CollectiveTimeoutError

if TYPE_CHECKING:
    from rllib.core.util.process_group import Group

__all__ = [
    "CollectiveError",
    "CollectiveTimeoutError",
    "ReduceOp",
    "allgather",
    "allreduce",
    "barrier",
    "broadcast",
    "create_collective_group",
    "destroy_collective_group",
    "get_collective_group_size",
    "get_rank",
    "init_collective_group",
    "is_group_initialized",
    "recv",
    "reduce",
    "reducescatter",
    "send",
]

TIMEOUT_S = 30.0
_BACKENDS = {"gloo": "gloo", "torch_gloo": "gloo", "nccl": "nccl"}


class ReduceOp(Enum):
    """How tensors are combined, element by element."""

    SUM = 0
    PRODUCT = 1
    MIN = 2
    MAX = 3


_groups: dict[str, Group] = {}
_forming = threading.Lock()


# -- groups ----------------------------------------------------------------------------------------


def init_collective_group(
    world_size: int,
    rank: int,
    backend: str = "gloo",
    group_name: str = "default",
    gloo_timeout: int | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Become member ``rank`` of a group of ``world_size``; blocks until all have done so.

    ``backend`` is ``"gloo"`` or ``"nccl"``. ``timeout_s`` bounds this and every later operation, in
    seconds; ``gloo_timeout`` is Ray's name for it, in milliseconds.

    Raises `ValueError` for numbers that make no sense, `RuntimeError` when this process is a member
    already or the backend is not there, `CollectiveTimeoutError` when the others do not come.
    """
    kind = _checked_backend(backend)
    seconds = timeout_s if gloo_timeout is None else gloo_timeout / 1000
    _check_numbers(world_size, rank, group_name, seconds)
    if world_size > 1 and api.runtime().serial:
        raise RuntimeError(
            "on the inline engine one call runs after the other, so that the members of a "
            "collective group cannot meet; use init() for the native engine"
        )
    from rllib.core.util.process_group import Group

    with _forming:
        if group_name in _groups:
            raise RuntimeError(
                f"this process is a member of collective group {group_name!r} already; "
                "destroy_collective_group() first, or use another group_name"
            )
        _groups[group_name] = Group(group_name, world_size, rank, kind, seconds)


def create_collective_group(
    actors: list[ActorHandle],
    world_size: int,
    ranks: list[int],
    backend: str = "gloo",
    group_name: str = "default",
    gloo_timeout: int | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Make actors the members of a group, from outside; blocks until they are.

    Raises as `init_collective_group` does, and `ValueError` unless ``ranks`` gives each of the
    ``world_size`` actors one of the ranks.
    """
    if sorted(ranks) != list(range(world_size)) or len(actors) != world_size:
        raise ValueError(
            f"a group of {world_size} needs as many actors and each rank from 0 to "
            f"{world_size - 1} once; got {len(actors)} actors and ranks {ranks}"
        )
    options = {"gloo_timeout": gloo_timeout, "timeout_s": timeout_s}
    api.get(
        [
            actor.__ray_call__.remote(_join, world_size, rank, backend, group_name, options)
            for actor, rank in zip(actors, ranks, strict=True)
        ]
    )


def _join(
    _actor: Any, world_size: int, rank: int, backend: str, group_name: str, options: dict[str, Any]
) -> None:
    init_collective_group(world_size, rank, backend, group_name, **options)


def destroy_collective_group(group_name: str = "default") -> None:
    """Leave a group; the operations of the others fail from now on. Nothing if there is none."""
    group = _groups.pop(group_name, None)
    if group is not None:
        group.leave()


def is_group_initialized(group_name: str = "default") -> bool:
    """Whether this process is a member."""
    return group_name in _groups


def get_rank(group_name: str = "default") -> int:
    """The rank of this process; -1 if it is no member."""
    return _groups[group_name].rank if group_name in _groups else -1


def get_collective_group_size(group_name: str = "default") -> int:
    """Number of members; -1 if this process is none."""
    return _groups[group_name].world_size if group_name in _groups else -1


# -- operations ------------------------------------------------------------------------------------


def allreduce(tensor: Any, group_name: str = "default", op: ReduceOp = ReduceOp.SUM) -> None:
    """Combine the members' tensors element by element; each one's own is replaced by the result."""
    _group(group_name).allreduce(tensor, op.name)


def reduce(
    tensor: Any, dst_rank: int = 0, group_name: str = "default", op: ReduceOp = ReduceOp.SUM
) -> None:
    """Combine the members' tensors; that of ``dst_rank`` is replaced by the result.

    Raises `ValueError` for a rank that the group does not have.
    """
    group = _group(group_name)
    group.reduce(tensor, _checked_rank(group, dst_rank), op.name)


def broadcast(tensor: Any, src_rank: int = 0, group_name: str = "default") -> None:
    """Copy the tensor of ``src_rank`` into those of the others.

    Raises `ValueError` for a rank that the group does not have.
    """
    group = _group(group_name)
    group.broadcast(tensor, _checked_rank(group, src_rank))


def allgather(tensor_list: list[Any], tensor: Any, group_name: str = "default") -> None:
    """Copy the members' tensors into ``tensor_list``: as many tensors, of their shape, by rank.

    Raises `RuntimeError` for a list of another length.
    """
    group = _group(group_name)
    _check_list(group, tensor_list)
    group.allgather(tensor_list, tensor)


def reducescatter(
    tensor: Any,
    tensor_list: list[Any],
    group_name: str = "default",
    op: ReduceOp = ReduceOp.SUM,
) -> None:
    """Combine the members' lists, which have a tensor for each rank; ``tensor`` gets this rank's.

    All are of one shape. Raises `RuntimeError` for a list of another length.
    """
    group = _group(group_name)
    _check_list(group, tensor_list)
    group.reducescatter(tensor, tensor_list, op.name)


def send(tensor: Any, dst_rank: int, group_name: str = "default") -> None:
    """Send a tensor to a member, which has to `recv` it.

    Raises `ValueError` for a rank that the group does not have, `RuntimeError` for the own one.
    """
    group = _group(group_name)
    group.send(tensor, _checked_other(group, dst_rank))


def recv(tensor: Any, src_rank: int, group_name: str = "default") -> None:
    """Receive what a member sends, into ``tensor``, which has its shape; raises as `send` does."""
    group = _group(group_name)
    group.recv(tensor, _checked_other(group, src_rank))


def barrier(group_name: str = "default") -> None:
    """Wait until all members have come to this point."""
    _group(group_name).barrier()


# -- checks ----------------------------------------------------------------------------------------


def _group(name: str) -> Group:
    if name not in _groups:
        raise RuntimeError(
            f"this process is no member of collective group {name!r}; call init_collective_group()"
        )
    return _groups[name]


def _checked_backend(backend: str) -> str:
    kind = _BACKENDS.get(str(backend).lower())
    if kind is None:
        raise ValueError(f"backend must be 'gloo' or 'nccl', got {backend!r}")
    return kind


def _check_numbers(world_size: int, rank: int, group_name: str, timeout_s: float) -> None:
    if world_size < 1:
        raise ValueError(f"world_size must be at least 1, got {world_size}")
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be in 0..{world_size - 1}, got {rank}")
    if not group_name:
        raise ValueError("group_name must not be empty")
    if timeout_s <= 0:
        raise ValueError(f"timeout_s must be positive, got {timeout_s}")


def _checked_rank(group: Group, rank: int) -> int:
    if not 0 <= rank < group.world_size:
        raise ValueError(f"a rank of this group is in 0..{group.world_size - 1}, got {rank}")
    return rank


def _checked_other(group: Group, rank: int) -> int:
    if rank == group.rank:
        raise RuntimeError(f"rank {rank} is this very process")
    return _checked_rank(group, rank)


def _check_list(group: Group, tensors: list[Any]) -> None:
    if not isinstance(tensors, list) or len(tensors) != group.world_size:
        raise RuntimeError(
            f"tensor_list must be a list of {group.world_size} tensors, one for each rank"
        )
