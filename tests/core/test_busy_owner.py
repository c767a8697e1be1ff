"""A process that computes still serves what it owns."""

import statistics
import time

import numpy as np

from rllib import core

BUSY_S = 2.0
READS = 20


def test_reads_from_a_busy_owner_are_served_within_milliseconds() -> None:
    core.init(num_cpus=1, log_to_driver=False)
    try:

        @core.remote
        class Reader:
            def read(self, refs: list[core.ObjectRef]) -> list[tuple[float, float]]:
                return [_timed_read(ref) for ref in refs]

        reader = Reader.remote()
        core.get(reader.__ray_ready__.remote())
        refs = [core.put(np.full(1 << 17, number)) for number in range(READS)]
        reads = reader.read.remote(refs)
        busy_until = _compute(BUSY_S)
        delays, ends = zip(*core.get(reads), strict=True)
        assert max(ends) < busy_until, "they were to be read while the owner computed"
        assert statistics.median(delays) < 0.05
    finally:
        core.shutdown()


def _timed_read(ref: core.ObjectRef) -> tuple[float, float]:
    began = time.monotonic()
    assert core.get(ref).shape == (1 << 17,)
    ended = time.monotonic()
    return ended - began, ended


def _compute(seconds: float) -> float:
    """Nothing but bytecode until then, as a learner's driver may do; when it was over."""
    until = time.monotonic() + seconds
    total = 0
    while time.monotonic() < until:
        for number in range(1000):
            total += number * number
    return time.monotonic()
