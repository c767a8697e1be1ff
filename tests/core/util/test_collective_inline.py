"""Collectives where calls run one after the other."""

import pytest

from rllib import core
from rllib.core.util import collective as col


def test_nothing_can_meet_on_a_serial_engine() -> None:
    with core.init("inline"):
        with pytest.raises(RuntimeError, match="inline"):
            col.init_collective_group(2, 0)
        col.init_collective_group(1, 0)
        col.barrier()
        col.destroy_collective_group()
