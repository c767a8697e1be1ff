"""``counting_algo`` is found by name, as an algorithm of a third party would be; and commands."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

import clusters

from rllib.core.cluster.launch import stop_all


@pytest.fixture
def command(tmp_path: Path) -> Iterator[clusters.Command]:
    """Runs ``rllib`` with these arguments; what it printed. Ends all nodes afterwards."""
    yield partial(clusters.run, tmp_path)
    stop_all()
