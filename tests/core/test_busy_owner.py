"""A process that computes still serves what it owns."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from patience import patience

from rllib import core

BUSY_S = 10.0
"""At most; the reads take a fraction of it."""
READS = 20


def test_reads_from_a_busy_owner_are_served_within_milliseconds(tmp_path: Path) -> None:
    core.init(num_cpus=1, log_to_driver=False)
    try:

        @core.remote
        class Reader:
            def read(self, refs: list[core.ObjectRef], done: str) -> list[float]:
                delays = [_timed_read(ref) for ref in refs]
                np.memmap(done, bool)[0] = True
                return delays

        # The computing thread looks at it without a system call, which would let others run.
        done = np.memmap(tmp_path / "done", bool, "w+", shape=1)
        reader = Reader.remote()
        core.get(reader.__ray_ready__.remote())
        refs = [core.put(np.full(1 << 17, number)) for number in range(READS)]
        reads = reader.read.remote(refs, str(tmp_path / "done"))
        _compute(patience(BUSY_S), lambda: done[0])
        assert done[0], "they were to be read while the owner computed"
        assert statistics.median(core.get(reads)) < patience(0.05)
    finally:
        core.shutdown()


def _timed_read(ref: core.ObjectRef) -> float:
    began = time.monotonic()
    assert core.get(ref).shape == (1 << 17,)
    return time.monotonic() - began


def _compute(most_s: float, over: Callable[[], Any]) -> None:
    """Nothing but bytecode until it is over, as a learner's driver may do."""
    until = time.monotonic() + most_s
    total = 0
    while time.monotonic() < until and not over():
        for number in range(1000):
            total += number * number
