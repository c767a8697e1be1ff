"""The core of the suite once more, on the portable way; ``make test-portable`` runs all of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rllib.core.native import platform

HERE = Path(__file__).parent
SELECTED = (
    "test_worker_death.py::test_a_worker_that_dies_in_a_task",
    "test_worker_death.py::test_an_actor_that_dies_in_a_call",
    "test_worker_death.py::test_what_a_worker_has_started_ends_with_it",
    "test_worker_death.py::test_a_killed_template_takes_its_workers_and_is_replaced",
    "test_worker_death.py::test_an_object_is_lost_with_its_owner",
    "test_driver_death.py::test_a_killed_driver_leaves_nothing",
    "test_driver_death.py::test_a_killed_driver_and_template_leave_nothing",
    "test_driver_death.py::test_ctrl_c_interrupts_get_and_nothing_else",
    "test_conformance.py::test_a_result_may_hold_references",
    "test_conformance.py::test_tasks_nest_deeper_than_there_are_cpus",
)


@pytest.mark.skipif(platform.is_portable_forced(), reason="they all run on the portable way")
def test_the_portable_way_passes_the_same_tests() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        + [str(HERE / name) for name in SELECTED],
        env={**os.environ, platform.VARIABLE: "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
