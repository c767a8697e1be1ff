"""Neither store nor disk has room for what an env runner has sampled: it is asked again."""

import warnings

import pytest

from rllib.algorithms.ppo import PPOConfig
from rllib.core.exceptions import OutOfDiskError
from rllib.sampling.crew import ROOM_NAP_S, Crew

FULL = OutOfDiskError("8 bytes do not fit")


class Stub:
    """A worker elsewhere, which must not be ended."""

    def call(self, method):
        return None


class Time:
    now = 0.0

    def read(self):
        return self.now

    def nap(self, seconds):
        self.now += seconds


@pytest.fixture
def crew():
    time = Time()
    config = PPOConfig().env_runners(num_env_runners=2, sample_timeout_s=10 * ROOM_NAP_S)
    return Crew(config, lambda index: Stub(), None, None, clock=time.read, nap=time.nap)


def fail(crew, index, times):
    for _ in range(times):
        crew.failed(index, FULL)


def test_it_stays_and_is_told_of_once(crew):
    with pytest.warns(RuntimeWarning, match="env runner 1 .* asked again: 8 bytes") as told:
        fail(crew, 1, 3)
    assert len(told) == 1
    assert crew.healthy == [0, 1]
    assert crew.num_dropped == 3
    assert crew.restarts.num_restarts == 0


@pytest.mark.filterwarnings("ignore:.*asked again")
def test_after_too_long_without_room_it_is_an_error(crew):
    with pytest.raises(OutOfDiskError, match="8 bytes"):
        fail(crew, 0, 20)


@pytest.mark.filterwarnings("ignore:.*asked again")
def test_what_is_delivered_in_between_ends_the_wait(crew):
    for _ in range(20):
        crew.failed(0, FULL)
        crew.delivered(1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        crew.failed(0, FULL)
    assert len(told) == 1
