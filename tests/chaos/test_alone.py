"""Rows of the chaos benchmarks that have a runtime, or whole runs, of their own."""

import pytest

from benchmarks import chaos_checks, chaos_memory, chaos_store, fault_cost, soak
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


def test_memory_that_runs_out_costs_env_runners_and_nothing_else():
    try:
        found = chaos_memory.memory_capped(60.0, gib=2.5, bytes_per_step=40 * 1024, enough=2)
    except PermissionError as error:
        pytest.skip(str(error))
    assert found["env_runners_ended"] > 0
    assert found["restarts"] > 0
    assert "of 2.50 GiB were in use" in found["told"]
    assert found["lost"] == found["ended_by_the_kernel"] == 0


def test_fault_tolerance_changes_nothing_where_nothing_fails():
    with core.init(num_cpus=8, preload=PRELOAD):
        found = fault_cost.measure(fault_cost.ROWS["PPO, all of it"], 2)
    assert found["same_parameters"]


@pytest.mark.parametrize("signal", ["INT", "TERM", "KILL"])
def test_nothing_is_left_of_a_driver_that_was_ended(signal):
    left = chaos_checks.driver_ended(1, [signal])[signal]
    assert left.pop("drivers") == 1
    assert set(left.values()) == {0}


def test_a_run_goes_on_whatever_is_broken_and_leaves_nothing_behind():
    found = soak.soak(20.0, 0.0, soak.Weather(1.5, 4.0, 3.0, 10.0, 300))
    counts, curve = found["counts"], found["curves"]["faults"]
    assert counts["faults"] > 5
    assert counts["lost"] == counts["wrong_exit_codes"] == counts["left_behind"] == 0
    assert counts["SIGTERM"] == counts["SIGKILL"] == 1
    assert curve["env_faults"] > 0
    assert not curve["has_gaps_or_steps_back"]


def test_what_grows_by_something_with_each_fault_is_not_flat():
    def samples(per_s):
        values = [(life, 200 * life + s) for life in range(2) for s in range(120)]
        return [
            soak.Sample(life, at, at * per_s, 30 + int(at * per_s), 4, 9, 12) for life, at in values
        ]

    for name in ("rss_mib", "descriptors", "segments"):
        assert soak.is_flat(name, soak.growth(samples(0.0), name))
    for name in ("rss_mib", "descriptors"):
        assert not soak.is_flat(name, soak.growth(samples(0.1), name))
