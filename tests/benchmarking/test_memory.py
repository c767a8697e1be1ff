"""The memory row: what it makes of looks, and that it looks at all."""

import numpy as np

from benchmarks import memory
from rllib import core
from rllib.preload import PRELOAD


def test_growth_is_from_the_first_third_to_the_last() -> None:
    assert memory.growth([10.0, 50.0, 10.0, 11.0, 12.0, 13.0, 13.5, 99.0, 13.0]) == 3.5
    assert memory.growth([10.0]) == 0.0


def test_arrays_count_with_what_is_pickled() -> None:
    assert 8000 < memory.size_of({"x": np.zeros(1000)}) < 8200


def test_every_process_is_looked_at() -> None:
    with core.init(num_cpus=3, preload=PRELOAD):
        found = memory.measure(env_steps=4096, num_looks=3, warm_up=1024)
    assert list(found["processes"]) == ["main process", "env runner 1", "env runner 2"]
    for process in found["processes"].values():
        assert len(process["mib"]) == 3
        assert min(process["mib"]) > 1.0
    assert found["env_steps"] >= 4096
    # Observation 16, action 8, reward, logits and log probability 16, three flags; little besides.
    assert 43 <= found["bytes_per_env_step"] < 50
