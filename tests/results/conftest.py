"""Small runs to look at, trained once for all tests of this folder."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from small_runs import train

from rllib.results.saved import SavedRun


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def one(runs_dir: Path) -> SavedRun:
    return train(runs_dir, "one")


@pytest.fixture(scope="session")
def two(runs_dir: Path) -> SavedRun:
    return train(runs_dir, "two", "seed=2", "lr=1e-3")
