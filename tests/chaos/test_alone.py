"""Rows of the chaos benchmarks that have a runtime, or whole runs, of their own."""

import pytest

from benchmarks import chaos_checks, chaos_store, fault_cost
from rllib import core
from rllib.preload import PRELOAD


@pytest.mark.filterwarnings("ignore:.*asked again")
def test_a_store_and_a_disk_that_are_full_cost_nothing_but_time():
    try:
        found = chaos_store.store_full(1.0)
    except PermissionError as error:
        pytest.skip(str(error))
    assert found["lost"] == 0
    assert found["spilled_mib"] > 0
    assert found["refusal"].startswith("OutOfDiskError")
    assert min(found["env_steps"].values()) > 0


def test_fault_tolerance_changes_nothing_where_nothing_fails():
    with core.init(num_cpus=8, preload=PRELOAD):
        found = fault_cost.measure(fault_cost.ROWS["PPO, all of it"], 2)
    assert found["same_parameters"]


@pytest.mark.parametrize("signal", ["INT", "TERM", "KILL"])
def test_nothing_is_left_of_a_driver_that_was_ended(signal):
    left = chaos_checks.driver_ended(1, [signal])[signal]
    assert left.pop("drivers") == 1
    assert set(left.values()) == {0}
