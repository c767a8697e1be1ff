"""Workers import what they need while the command still reads the config."""

import subprocess
import sys
from pathlib import Path

import pytest

from rllib import core
from rllib.config.file import read_draft
from rllib.preload import PRELOAD, preload_for


def test_nothing_heavy_is_imported_before_workers_can_be_started() -> None:
    code = (
        "import sys, rllib.runs.session, rllib.core.native.driver\n"
        "heavy = {'torch', 'numpy', 'gymnasium', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_a_worker_has_the_algorithm_of_the_config_already() -> None:
    modules = preload_for(read_draft("ppo_cartpole").algorithm)
    with core.init(num_cpus=1, preload=modules):
        present = core.remote(lambda: set(sys.modules)).remote()
        assert {"torch", "rllib.algorithms.ppo"} <= core.get(present)


@pytest.mark.parametrize("written", ["algorithm: my_algo:Mine", "algorithm: [1]", "lr: 1", "- 1"])
def test_code_of_others_is_imported_where_it_runs(written: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(written)
    assert preload_for(read_draft(str(file)).algorithm) == PRELOAD
