"""Collectives: values, refusals, and what the others learn when a member dies."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from patience import wait_until

from rllib import core
from rllib.core import api
from rllib.core.testing import Cluster
from rllib.core.util import collective as col
from rllib.core.util.process_group import check_agreement, check_exposure
from rllib.core.util.rendezvous import Member
from rllib.core.util.scheduling_strategies import NodeAffinitySchedulingStrategy

ERROR_S = 5.0
"""Within which a death reaches the others, far below the groups' timeout."""


class Player:
    """A member, which does what it is told."""

    def join(self, size: int, rank: int, name: str = "default", **options: Any) -> None:
        col.init_collective_group(size, rank, "gloo", name, **options)

    def do(self, action: Callable[[int], Any]) -> Any:
        return action(col.get_rank())

    def pid(self) -> int:
        return os.getpid()


@pytest.fixture(scope="module", autouse=True, params=["one node", "three nodes"])
def runtime(request: pytest.FixtureRequest) -> Any:
    """Members talk by gloo on one node, else through channels of the runtime."""
    if request.param == "one node":
        with core.init(num_cpus=2, preload=["torch"]):
            yield request.param
        return
    options: Any = {"num_cpus": 2, "preload": ["torch"]}
    with Cluster(head=options) as cluster:
        for _ in range(2):
            cluster.add_node(**options)
        core.init(address=cluster.address)
        yield request.param


def player(rank: int) -> Any:
    """On the node whose turn it is."""
    nodes = [row["NodeID"] for row in core.nodes()]
    there = NodeAffinitySchedulingStrategy(nodes[rank % len(nodes)], soft=False)
    return core.remote(Player).options(num_cpus=0, scheduling_strategy=there).remote()


def players(size: int, **options: Any) -> list[Any]:
    made = [player(rank) for rank in range(size)]
    core.get([p.join.remote(size, rank, **options) for rank, p in enumerate(made)], timeout=60)
    return made


def all_do(members: list[Any], action: Callable[[int], Any]) -> list[Any]:
    return core.get([member.do.remote(action) for member in members], timeout=60)


@pytest.fixture(scope="module")
def three(runtime: Any) -> list[Any]:
    return players(3)


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "expected"), [("SUM", 6.0), ("PRODUCT", 6.0), ("MIN", 1.0), ("MAX", 3.0)]
)
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_allreduce_in_place(three: list[Any], kind: str, op: str, expected: float) -> None:
    def action(rank: int) -> Any:
        value = np.full((2, 3), rank + 1.0, np.float32)
        tensor = value if kind == "numpy" else torch.from_numpy(value)
        col.allreduce(tensor, op=col.ReduceOp[op])
        return np.asarray(tensor)

    for result in all_do(three, action):
        np.testing.assert_array_equal(result, np.full((2, 3), expected))


@pytest.mark.parametrize("size", [1, 50_000, 200_001])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_sums_are_the_same_bits_everywhere(three: list[Any], size: int, dtype: torch.dtype) -> None:
    def action(rank: int) -> Any:
        chance = torch.Generator().manual_seed(rank)
        numbers = 100 * torch.randn(size, generator=chance)
        added = numbers.to(dtype).clone()
        col.allreduce(added)
        return numbers.to(dtype).double().numpy(), added.double().numpy()

    results = all_do(three, action)
    expected = sum(own for own, _ in results)
    for _, added in results:
        np.testing.assert_array_equal(added, results[0][1])
        np.testing.assert_allclose(added, expected, rtol=2e-2, atol=4.0)


def test_reduce_changes_the_root_alone(three: list[Any]) -> None:
    def action(rank: int) -> list[float]:
        value = np.array([rank + 1.0])
        col.reduce(value, dst_rank=1)
        return value.tolist()

    assert all_do(three, action) == [[1.0], [6.0], [3.0]]


def test_broadcast_from_a_read_only_array(three: list[Any]) -> None:
    def action(rank: int) -> list[int]:
        value = np.arange(3) if rank == 2 else np.zeros(3, int)
        value.flags.writeable = rank != 2
        col.broadcast(value, src_rank=2)
        return value.tolist()

    assert all_do(three, action) == [[0, 1, 2]] * 3


def test_allgather(three: list[Any]) -> None:
    def action(rank: int) -> list[list[int]]:
        gathered = [torch.zeros(2, dtype=torch.int64) for _ in range(3)]
        col.allgather(gathered, torch.tensor([rank, -rank]))
        return [tensor.tolist() for tensor in gathered]

    assert all_do(three, action) == [[[0, 0], [1, -1], [2, -2]]] * 3


def test_reducescatter_leaves_the_list_as_it_is(three: list[Any]) -> None:
    def action(rank: int) -> Any:
        own = np.zeros(1)
        parts = [np.array([10.0 * rank + index]) for index in range(3)]
        col.reducescatter(own, parts)
        return own.tolist(), [part.tolist() for part in parts]

    results = all_do(three, action)
    assert [own for own, _ in results] == [[30.0], [33.0], [36.0]]
    assert [parts for _, parts in results] == [[[10.0 * r + i] for i in range(3)] for r in range(3)]


def test_send_and_recv_go_round(three: list[Any]) -> None:
    def action(rank: int) -> float:
        value = np.array([float(rank)])
        if rank == 0:
            col.send(value, 1)
            col.recv(value, 2)
        else:
            col.recv(value, rank - 1)
            col.send(value + rank, (rank + 1) % 3)
        return float(value[0])

    assert all_do(three, action) == [3.0, 0.0, 1.0]


def test_what_is_sent_ahead_waits_in_order(three: list[Any]) -> None:
    def action(rank: int) -> list[float]:
        value = np.zeros(30_000)
        if rank == 0:
            for number in range(5):
                col.send(value + number, 1)
        elif rank == 1:
            return [(col.recv(value, 0), float(value[-1]))[1] for _ in range(5)]
        return []

    assert all_do(three, action)[1] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_what_was_received_is_let_go_of(three: list[Any]) -> None:
    def lent_after_many(_rank: int) -> int:
        for size in 100 * [10] + 10 * [100_000]:
            col.allreduce(np.ones(size))
        return len(api.runtime().values.lendings)  # type: ignore[attr-defined]

    assert max(all_do(three, lent_after_many)) < 20


def test_views_and_parameters_are_written_too(three: list[Any]) -> None:
    def action(rank: int) -> Any:
        matrix = np.zeros((2, 2))
        col.allreduce(matrix[:, 1])  # not contiguous
        column = matrix[:, 1]
        column += rank
        col.allreduce(column)
        parameter = torch.nn.Parameter(torch.ones(2))
        col.allreduce(parameter)
        return matrix.tolist(), parameter.tolist()

    assert all_do(three, action) == [([[0.0, 3.0], [0.0, 3.0]], [3.0, 3.0])] * 3


def test_barrier_and_what_a_member_knows_of_itself(three: list[Any]) -> None:
    def action(rank: int) -> Any:
        col.barrier()
        names = ("default", "nonsense")
        return [(col.get_rank(n), col.get_collective_group_size(n)) for n in names], [
            col.is_group_initialized(n) for n in names
        ]

    for rank, (numbers, there) in enumerate(all_do(three, action)):
        assert numbers == [(rank, 3), (-1, -1)]
        assert there == [True, False]


def test_several_groups_in_one_process(three: list[Any]) -> None:
    core.get([p.join.remote(2, 1 - rank, "pair") for rank, p in enumerate(three[:2])], timeout=60)

    def action(rank: int) -> Any:
        value = np.array([rank + 1.0])
        col.allreduce(value, "pair")
        own = col.get_rank("pair")
        col.destroy_collective_group("pair")
        return own, value.tolist(), col.is_group_initialized("pair")

    assert all_do(three[:2], action) == [(1, [3.0], False), (0, [3.0], False)]


def test_a_group_can_be_formed_again_under_its_name() -> None:
    pair = players(2, name="again")
    for _ in range(3):
        all_do(pair, lambda _rank: col.destroy_collective_group("again"))
        core.get([p.join.remote(2, rank, "again") for rank, p in enumerate(pair)], timeout=60)
    all_do(pair, lambda _rank: col.barrier("again"))


def test_a_group_can_be_formed_from_outside() -> None:
    pair = [player(rank) for rank in range(2)]
    col.create_collective_group(pair, 2, [1, 0], group_name="made", gloo_timeout=20_000)
    ranks = all_do(pair, lambda _rank: (col.barrier("made"), col.get_rank("made"))[1])
    assert ranks == [1, 0]
    with pytest.raises(RuntimeError, match="already"):
        col.create_collective_group(pair, 2, [0, 1], group_name="made")
    for ranks in ([0], [0, 2], [1, 1]):
        with pytest.raises(ValueError, match="each rank from 0 to 1 once"):
            col.create_collective_group(pair, 2, ranks)


def test_the_driver_can_be_a_member() -> None:
    other = player(1)
    joined = other.join.remote(2, 1)
    col.init_collective_group(2, 0)
    core.get(joined)
    value = np.ones(1)
    summed = other.do.remote(lambda _rank: col.allreduce(np.ones(1)))
    col.allreduce(value)
    core.get(summed)
    col.destroy_collective_group()
    assert value.tolist() == [2.0]


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "rank", "options", "message"),
    [
        (0, 0, {}, "world_size"),
        (2, 2, {}, "rank must be in 0..1"),
        (2, -1, {}, "rank must be"),
        (1, 0, {"backend": "mpi"}, "'gloo' or 'nccl'"),
        (1, 0, {"group_name": ""}, "group_name"),
        (1, 0, {"timeout_s": 0}, "timeout_s"),
    ],
)
def test_groups_that_make_no_sense(size: int, rank: int, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        col.init_collective_group(size, rank, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_nccl_needs_a_device() -> None:
    with pytest.raises(RuntimeError, match="needs a CUDA device"):
        col.init_collective_group(1, 0, "nccl")


def test_arguments_that_make_no_sense() -> None:
    with pytest.raises(RuntimeError, match="no member of collective group 'default'"):
        col.barrier()
    col.init_collective_group(1, 0)
    try:
        with pytest.raises(RuntimeError, match="member of collective group 'default' already"):
            col.init_collective_group(1, 0)
        with pytest.raises(TypeError, match="got list"):
            col.allreduce([1.0])
        with pytest.raises(ValueError, match="rank of this group"):
            col.broadcast(np.ones(1), src_rank=1)
        with pytest.raises(RuntimeError, match="this very process"):
            col.send(np.ones(1), 0)
        with pytest.raises(RuntimeError, match="list of 1 tensors"):
            col.allgather([], np.ones(1))
        read_only = core.get(core.put(np.ones(1)))
        read_only.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            col.allreduce(read_only)
        value = np.ones(1)
        col.allreduce(value)  # none of this has broken the group
        assert value.tolist() == [1.0]
    finally:
        col.destroy_collective_group()


def test_members_that_disagree_on_the_size() -> None:
    first, second = (player(rank) for rank in range(2))
    waiting = first.join.remote(2, 0, "odd", timeout_s=3.0)
    wait_until(lambda: "_collective:odd" in _named())
    with pytest.raises(col.CollectiveError, match="world_size 3, but others have 2"):
        core.get(second.join.remote(3, 1, "odd"))
    core.get(second.join.remote(2, 1, "odd"))
    core.get(waiting)


def _named() -> list[str]:
    try:
        core.get_actor("_collective:odd")
    except ValueError:
        return []
    return ["_collective:odd"]


# -- failures --------------------------------------------------------------------------------------


def test_who_is_missing_is_told() -> None:
    with pytest.raises(col.CollectiveTimeoutError, match=r"within 0\.1 s; missing are ranks 0, 2"):
        col.init_collective_group(3, 1, group_name="lonely", timeout_s=0.1)
    assert not col.is_group_initialized("lonely")


def test_an_operation_that_nobody_joins_times_out_and_breaks_the_group() -> None:
    pair = players(2, name="idle", timeout_s=0.5)
    with pytest.raises(col.CollectiveTimeoutError, match=r"barrier .*'idle'.* rank 0.* 0\.5 s"):
        core.get(pair[0].do.remote(lambda _rank: col.barrier("idle")), timeout=30)
    with pytest.raises(col.CollectiveTimeoutError, match="broken"):
        core.get(pair[0].do.remote(lambda _rank: col.barrier("idle")), timeout=30)
    # The other one does not wait for who has left, although what was sent before may still come.
    twice = pair[1].do.remote(lambda _rank: [col.barrier("idle") for _ in range(2)])
    with pytest.raises(col.CollectiveError):
        core.get(twice, timeout=30)


@pytest.mark.parametrize("sizes", [(2, 3), (12_500, 25_000), (30_000, 60_000)])
def test_tensors_of_different_sizes_are_an_error(runtime: str, sizes: tuple[int, int]) -> None:
    if runtime == "one node":
        pytest.skip("gloo does not notice")
    pair = players(2, timeout_s=5.0)

    def action(rank: int) -> str:
        try:
            col.allreduce(np.ones(sizes[rank]))
        except col.CollectiveError as error:
            return str(error)
        return ""

    told = all_do(pair, action)
    assert any(f"takes part in allreduce of {sizes[0]:,}" in each for each in told), told
    assert all(told)


def test_members_who_would_wait_by_different_means_are_told() -> None:
    near, far = Member(0, 1, 0.0, "a", "10.0.0.1"), Member(1, 1, 0.0, "b", "10.0.0.2")
    check_agreement("gloo", [near, far])
    check_agreement("gloo", [each._replace(interface="eth1") for each in (near, far)])
    one_node = [near, near._replace(rank=1, interface="eth1")]
    check_agreement("gloo", one_node)  # the way is loopback's, or leads there
    check_agreement("nccl", [near, far._replace(interface="eth1")])
    with pytest.raises(ValueError, match=r"of the ranks \[1\], and not in that of \[0\]"):
        check_agreement("gloo", [near, far._replace(interface="eth1")])


@pytest.mark.parametrize("operation", ["allreduce", "barrier", "recv", "broadcast"])
def test_a_killed_member_is_named_to_all_others_at_once(operation: str) -> None:
    members = players(4, timeout_s=60.0)

    def action(_rank: int) -> None:
        value = np.ones(1000)
        if operation == "recv":
            col.recv(value, 3)
        elif operation == "broadcast":
            col.broadcast(value, 3)
        else:
            getattr(col, operation)(*([value] if operation == "allreduce" else []))

    pid = core.get(members[3].pid.remote())
    waiting = [member.do.remote(action) for member in members[:3]]
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    for rank, ref in enumerate(waiting):
        with pytest.raises(col.CollectiveError, match=rf"rank {rank}: rank 3 \(process {pid}") as e:
            core.get(ref, timeout=30)
        assert (e.value.dead, e.value.rank, e.value.group) == ((3,), rank, "default")
    assert time.monotonic() - killed < ERROR_S


def test_a_member_that_dies_before_all_have_met() -> None:
    first, second = (player(rank) for rank in range(2))
    core.get([first.pid.remote(), second.pid.remote()])
    waiting = first.join.remote(2, 0, "early", timeout_s=60.0)
    core.kill(first)
    with pytest.raises(core.exceptions.ActorDiedError):
        core.get(waiting)
    with pytest.raises(col.CollectiveError, match=r"within 1 s|died"):
        core.get(second.join.remote(2, 1, "early", timeout_s=1.0), timeout=30)


def test_a_process_that_ended_is_known_by_more_than_its_number() -> None:
    me = Member.this_process(0)
    assert not me.is_dead()
    assert me._replace(created=me.created - 100).is_dead()
    assert me._replace(pid=2**22 + 1).is_dead()
    assert not me._replace(pid=2**22 + 1, host="elsewhere").is_dead()


def test_a_cluster_with_tls_sends_nothing_in_the_clear_unasked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NCCL_SOCKET_IFNAME", raising=False)
    here, near, far = (
        Member(rank, 1, 0.0, "host", f"10.0.0.{address}:6379")
        for rank, address in enumerate((1, 1, 2))
    )
    check_exposure("nccl", [here, far])
    monkeypatch.setenv("RLLIB_TLS_CERT", "node.pem")
    check_exposure("nccl", [here, near])
    check_exposure("gloo", [here, far])
    with pytest.raises(ValueError, match="NCCL_SOCKET_IFNAME"):
        check_exposure("nccl", [here, far])
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth1")
    check_exposure("nccl", [here, far])
