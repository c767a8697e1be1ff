"""A collective group over a process group of torch.distributed.

Several groups live beside each other in a process, and none of them is torch's global default
group. Gloo talks over loopback where all members are on one node. Where they are on several, it
would open ports that know no secret, so tensors go through channels of the runtime instead, unless
``GLOO_SOCKET_IFNAME`` names an interface for it, or the engine is Ray, which has no channels.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from rllib.core import api
from rllib.core.util.channel_group import ChannelGroup
from rllib.core.util.channels import ChannelError, Mesh
from rllib.core.util.rendezvous import (
    GLOO_INTERFACE,
    CollectiveError,
    CollectiveTimeoutError,
    Gathering,
    Member,
    dead_among,
)

_DEATH_PATIENCE_S = 0.5
"""How long a process may take to end after its sockets."""

_TLS_VARIABLE = "RLLIB_TLS_CERT"
"""In the environment of workers whose node speaks TLS."""

_NCCL_INTERFACE = "NCCL_SOCKET_IFNAME"
"""Which variable says over which network NCCL talks."""

OPERATORS = {
    "SUM": dist.ReduceOp.SUM,
    "PRODUCT": dist.ReduceOp.PRODUCT,
    "MIN": dist.ReduceOp.MIN,
    "MAX": dist.ReduceOp.MAX,
}


class Group:
    """This process's membership in a group. Every operation is bounded by the group's timeout.

    An operation that fails breaks the group: this member leaves it, so that the others do not wait
    for it either, and every further operation raises what the first one did.
    """

    def __init__(
        self, name: str, world_size: int, rank: int, backend: str, timeout_s: float
    ) -> None:
        check_backend(backend)
        self.name = name
        self.world_size = world_size
        self.rank = rank
        self.backend = backend
        self.timeout_s = timeout_s
        self._broken: CollectiveError | None = None
        gathering = Gathering(name, world_size, rank, timeout_s)
        self._members: list[Member] = gathering.members
        self._pg: Any = None
        self._pg = self._run("init_collective_group", lambda: self._connected(gathering))
        self._wait("init_collective_group", lambda: self._pg.barrier())

    def _connected(self, gathering: Gathering) -> Any:
        check_exposure(self.backend, gathering.members)
        check_agreement(self.backend, gathering.members)
        if self.backend == "gloo" and _goes_by_channels(gathering.members):
            return ChannelGroup(Mesh.of(gathering))
        timeout = timedelta(seconds=self.timeout_s)
        store = _Store(gathering)
        if self.backend == "nccl":
            nccl = dist.ProcessGroupNCCL.Options()
            nccl._timeout = timeout
            return dist.ProcessGroupNCCL(store, self.rank, self.world_size, nccl)
        options = dist.ProcessGroupGloo._Options()  # type: ignore[attr-defined]
        options._timeout = timeout
        options._devices = [_gloo_device(gathering.me, gathering.members)]
        return dist.ProcessGroupGloo(store, self.rank, self.world_size, options)

    # -- operations ----------------------------------------------------------------------------

    def allreduce(self, target: Any, operator: str) -> None:
        """Combine everybody's tensor, into each."""
        with _Written(target) as tensor:
            self._wait("allreduce", lambda: self._pg.allreduce(tensor, OPERATORS[operator]))

    def reduce(self, target: Any, root: int, operator: str) -> None:
        """Combine everybody's tensor, into that of ``root``."""
        if self.rank == root:
            with _Written(target) as tensor:
                self._reduce("reduce", tensor, root, operator)
        else:  # gloo uses the others' tensors as scratch space
            self._reduce("reduce", _read(target).clone(), root, operator)

    def _reduce(self, operation: str, tensor: Any, root: int, operator: str) -> None:
        self._wait(operation, lambda: self._pg.reduce(tensor, root, OPERATORS[operator]))

    def broadcast(self, target: Any, root: int) -> None:
        """Copy the tensor of ``root`` into everybody's."""
        if self.rank == root:
            source = _read(target)
            self._wait("broadcast", lambda: self._pg.broadcast(source, root))
        else:
            with _Written(target) as tensor:
                self._wait("broadcast", lambda: self._pg.broadcast(tensor, root))

    def allgather(self, targets: list[Any], source: Any) -> None:
        """Copy everybody's tensor into a list of tensors at each."""
        tensor = _read(source)
        written = [_Written(target) for target in targets]
        tensors = [each.tensor for each in written]
        self._wait("allgather", lambda: self._pg.allgather([tensors], [tensor]))
        for each in written:
            each.write_back()

    def reducescatter(self, target: Any, sources: list[Any], operator: str) -> None:
        """Combine everybody's tensors number i, into the tensor of rank i."""
        scratch = [_read(source).clone() for source in sources]
        for root, tensor in enumerate(scratch):
            self._reduce("reducescatter", tensor, root, operator)
        with _Written(target) as tensor:
            tensor.copy_(scratch[self.rank])

    def send(self, source: Any, to: int) -> None:
        """Send a tensor to one member."""
        tensor = _read(source)
        self._wait("send", lambda: self._pg.send([tensor], to, 0))

    def recv(self, target: Any, source: int) -> None:
        """Receive a tensor from one member."""
        with _Written(target) as tensor:
            self._wait("recv", lambda: self._pg.recv([tensor], source, 0))

    def barrier(self) -> None:
        """Wait until everybody is here."""
        self._wait("barrier", lambda: self._pg.barrier())

    def leave(self) -> None:
        """Close all connections."""
        pg, self._pg = self._pg, None
        if pg is not None:
            pg.abort()

    # -- failures ------------------------------------------------------------------------------

    def _wait(self, operation: str, begin: Callable[[], Any]) -> None:
        self._run(operation, lambda: begin().wait(timedelta(seconds=self.timeout_s)))

    def _run(self, operation: str, action: Callable[[], Any]) -> Any:
        if self._broken is not None:
            raise type(self._broken)(
                f"{self._broken}; the group is broken: destroy_collective_group() and form it anew",
                *(self.name, self.rank, self._broken.dead),
            )
        try:
            return action()
        except CollectiveError as error:
            self._broken = error
            raise
        except (ValueError, TypeError):  # refused before anything was sent
            raise
        except RuntimeError as error:
            self._fail(operation, error)

    def _fail(self, operation: str, error: RuntimeError) -> NoReturn:
        late = any(word in str(error).lower() for word in ("timed out", "timeout"))
        others = [member for member in self._members if member.rank != self.rank]
        dead = _told_dead(error, others) or dead_among(others, 0.0 if late else _DEATH_PATIENCE_S)
        self.leave()
        if dead:
            reason = f"{', '.join(map(str, dead))} died"
        elif late:
            reason = f"not every member took part within {self.timeout_s:g} s"
        else:
            reason = f"a member left the group or failed itself ({_first_line(error)})"
        kind = CollectiveTimeoutError if late and not dead else CollectiveError
        ranks = tuple(member.rank for member in dead)
        text = f"{operation} in collective group {self.name!r} failed on rank {self.rank}: {reason}"
        self._broken = kind(text, self.name, self.rank, ranks)
        raise self._broken from error


def _told_dead(error: RuntimeError, others: list[Member]) -> list[Member]:
    """Who is dead by what the error says; of other hosts nobody else knows."""
    if not (isinstance(error, ChannelError) and error.died):
        return []
    return [member for member in others if member.rank == error.rank]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def check_backend(backend: str) -> None:
    """Raise `RuntimeError` for a backend that this machine cannot run."""
    if backend == "nccl" and not (torch.cuda.is_available() and dist.is_nccl_available()):
        raise RuntimeError(
            "backend 'nccl' needs a CUDA device and a torch that is built with NCCL; use 'gloo'"
        )


def check_exposure(backend: str, members: list[Member]) -> None:
    """Raise `ValueError` where that would carry in the clear what the cluster encrypts."""
    if backend != "nccl" or _are_together(members) or os.environ.get(_NCCL_INTERFACE):
        return
    if os.environ.get(_TLS_VARIABLE):
        raise ValueError(
            "the members are on several nodes of a cluster that speaks TLS, and NCCL does not: put "
            "them on one node, use backend 'gloo', or say that the network between them is "
            f"trusted, by {_NCCL_INTERFACE} (its interface, such as eth0) in their environment"
        )


def check_agreement(backend: str, members: list[Member]) -> None:
    """Raise `ValueError` where some would wait for others by other means than these."""
    if backend != "gloo" or _are_together(members):
        return
    named = [member.rank for member in members if member.interface]
    if named and len(named) < len(members):
        missing = [member.rank for member in members if not member.interface]
        raise ValueError(
            f"{GLOO_INTERFACE} is in the environment of the ranks {named}, and not in that of "
            f"{missing}: set it on all nodes, or on none"
        )


def _goes_by_channels(members: list[Member]) -> bool:
    is_named = any(member.interface for member in members)
    return not (_are_together(members) or is_named) and api.runtime().has_promises


def _are_together(members: list[Member]) -> bool:
    return len({member.address for member in members}) == 1


def _gloo_device(me: Member, members: list[Member]) -> Any:
    """Where this member is reached by the others."""
    if me.interface:
        return dist.ProcessGroupGloo.create_device(interface=me.interface)
    hostname = "127.0.0.1" if _are_together(members) else me.address
    return dist.ProcessGroupGloo.create_device(hostname=hostname)


class _Store(dist.Store):  # type: ignore[name-defined, misc]
    """What torch's process groups exchange addresses through."""

    def __init__(self, gathering: Gathering) -> None:
        super().__init__()
        self._gathering = gathering

    def set(self, key: str, value: Any) -> None:
        """Tell the others."""
        self._gathering.set(key, value.encode() if isinstance(value, str) else bytes(value))

    def get(self, key: str) -> bytes:
        """Wait for what another one tells."""
        value: bytes = self._gathering.get(key)
        return value

    def add(self, key: str, amount: int) -> int:
        """Count together."""
        return self._gathering.add(key, amount)

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        """Wait for all; the gathering has its own deadline."""
        for key in keys:
            self._gathering.get(key)

    def set_timeout(self, timeout: timedelta) -> None:
        """The gathering's deadline holds."""


# -- tensors ---------------------------------------------------------------------------------------


def _read(value: Any) -> torch.Tensor:
    """An argument that is only read, as a contiguous tensor."""
    if isinstance(value, torch.Tensor):
        return value.detach().contiguous()
    _check_array(value)
    return torch.from_numpy(value if value.flags.writeable else value.copy()).contiguous()


class _Written:
    """An argument that is written, as a contiguous tensor whose content ends up in it."""

    def __init__(self, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            self._target = value.detach()
        else:
            _check_array(value)
            if not value.flags.writeable:
                raise ValueError(
                    "the array is read-only, as those from get() are; pass a copy to receive into"
                )
            self._target = torch.from_numpy(value)
        self.tensor = self._target.contiguous()

    def write_back(self) -> None:
        if self.tensor is not self._target:
            self._target.copy_(self.tensor)

    def __enter__(self) -> torch.Tensor:
        return self.tensor

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is None:
            self.write_back()


def _check_array(value: Any) -> None:
    if not hasattr(value, "__array_interface__"):
        raise TypeError(
            f"collectives take torch tensors and numpy arrays, got {type(value).__name__}"
        )
