"""Strangers that talk nonsense to living processes: those go on, run nothing, and serve others."""

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from engines import native_engine
from patience import wait_until

from rllib import core
from rllib.core import api
from rllib.core.native import wire

FRAMES = 10_000
FRAMES_PER_STRANGER = 4
SOON_S = 10.0


@pytest.fixture(scope="module", autouse=True)
def runtime() -> Iterator[None]:
    with core.init(num_cpus=1):
        yield


@core.remote(num_cpus=0)
class Witness:
    """A worker that strangers talk to, while the driver uses it."""

    def __init__(self) -> None:
        self.calls = 0

    def count(self) -> int:
        self.calls += 1
        return self.calls

    def address(self) -> bytes:
        found: Any = api.runtime()
        return bytes(found.me)

    def strangers(self) -> int:
        found: Any = api.runtime()
        with found.lock:
            return len(found.peers._strangers) + len(found.peers.living())


def frames(canary: Path) -> list[bytes]:
    """One of each kind that a peer may send, with a pickle inside that would leave a trace."""
    pickle = f"cposix\nsystem\n(S'touch {canary}'\ntR.".encode()
    block = wire.BlockAt(b"arena", 1, 64, [10, 20])
    payload = wire.Payload(pickle, [b"buffer"], block, [wire.RefAt(b"owner", 5)])
    file = wire.FileAt(b"maker", 3, [10])
    records: list[Any] = [
        wire.Intern(1, "method", "count"),
        wire.Landed(1, 2, block),
        wire.Landed(1, 2, file),
        wire.Fetch(1, 2),
        wire.FetchFor(1, b"owner", 2),
        wire.Elsewhere(1, b"process"),
        wire.Found(1, b"process", 10),
        wire.Keep(1, b"owner", 2, payload),
        wire.Stays(1, 2),
        wire.Claimed(2),
        wire.Wanted(1),
        wire.Lent(2, b"somebody"),
        wire.Released([(2, 1)]),
        wire.Freed([(0, 64)]),
        wire.Moved(1, 2, file),
        wire.Recall([1, 2]),
        wire.Cancel(1, False, True),
        wire.CancelRef(2, True, False),
        wire.Taken(1, 5),
        wire.Assigned(wire.Assignment({"CPU": 1.0})),
        wire.LeaseGranted(1, b"w", wire.Assignment({"CPU": 1.0})),
        wire.Retire(),
        wire.KillActor(b"actor", "for no reason"),
    ]
    return [
        *map(wire.record_frame, records),
        wire.segment_frame(wire.SegmentAt(b"arena", 1, 4096)),
        wire.plain_call_frame(9, 1, 1, pickle),
        wire.call_frame(9, 1, 1, payload, wire.STREAM),
        wire.plain_reply_frame(1, pickle),
        wire.reply_frame(1, [payload]),
        wire.reply_frame(1, [wire.Payload(b"", block=wire.KeptAt(b"service", 1, 10))]),
        wire.item_frame(1, 0, payload),
        wire.plain_item_frame(1, 1, pickle),
        wire.stream_end_frame(1, 2),
        wire.error_frame(1, pickle),
        wire.returned_frame(1),
        wire.HEADER.pack(2**31, wire.CALL, 0, 0, 0, 0),
    ]


def mutated(draw: random.Random, frame: bytes) -> bytes:
    """As it is, or with bytes changed behind its first ones, which say how long it is."""
    changed = bytearray(frame)
    for _ in range(draw.randrange(4)):
        changed[draw.randrange(4, len(changed))] = draw.randrange(256)
    return bytes(changed)


def speak(address: bytes, words: bytes) -> None:
    """Connect as a process that nobody knows, say it, and leave."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
        stranger.connect(str(native_engine()._directory / f"{address.hex()}.sock"))
        hello = wire.record_frame(wire.Hello(os.urandom(16)))
        stranger.sendall(hello + words)


@pytest.mark.parametrize("target", ["driver", "worker"])
def test_nonsense_harms_nobody(
    target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    witness, canary = Witness.remote(), tmp_path / "canary"
    address = native_engine().me if target == "driver" else core.get(witness.address.remote())
    draw, good = random.Random(3), frames(canary)
    for number in range(FRAMES // FRAMES_PER_STRANGER // 2):
        said = [mutated(draw, draw.choice(good)) for _ in range(FRAMES_PER_STRANGER)]
        speak(address, b"".join(said))
        if number % 100 == 0:
            assert core.get(witness.count.remote(), timeout=SOON_S) == number // 100 + 1
    wait_until(lambda: core.get(witness.strangers.remote()) == 1)
    wait_until(lambda: set(native_engine().peers._peers) <= known_workers())
    assert not canary.exists()
    assert capfd.readouterr().err == ""  # where errors of the background thread go


def known_workers() -> set[bytes]:
    node: Any = native_engine().node
    return set(node._workers)


@pytest.mark.parametrize("count", [0, 2])
def test_a_reply_with_too_few_or_too_many_results_is_refused(count: int) -> None:
    data = msgspec.msgpack.encode([wire.Payload(b"x")] * count)
    with pytest.raises(wire.WireError, match=f"{count} results came where 1"):
        wire.read_payloads(data, 1)
