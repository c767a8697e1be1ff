"""Episode windows and derived seeds: small structures, all of whose states must survive a file."""

import json

import numpy as np
import pytest

from rllib.sampling.episodes import Episode, EpisodeTracker, EpisodeWindow
from rllib.seeding import Role, derive_rng, derive_seed, rng_state, set_rng_state


def test_the_window_holds_the_last_episodes_and_counts_all():
    window = EpisodeWindow(2)
    assert window.summary() == {"num_episodes_lifetime": 0}
    window.add([Episode(1.0, 10), Episode(5.0, 20), Episode(3.0, 40)])
    assert window.summary() == {
        "num_episodes_lifetime": 3,
        "episode_return_mean": 4.0,
        "episode_return_min": 3.0,
        "episode_return_max": 5.0,
        "episode_len_mean": 30.0,
        "episode_len_min": 20,
        "episode_len_max": 40,
        "agent_episode_returns_mean": {"default_agent": 4.0},
        "module_episode_returns_mean": {"default_policy": 4.0},
    }


def test_the_window_survives_json_and_a_smaller_one_keeps_the_newest():
    window = EpisodeWindow(3)
    window.add([Episode(float(n), n) for n in range(5)])
    state = json.loads(json.dumps(window.get_state()))
    twin, smaller = EpisodeWindow(3), EpisodeWindow(1)
    twin.set_state(state)
    smaller.set_state(state)
    assert twin.summary() == window.summary()
    assert smaller.summary()["episode_return_mean"] == 4.0
    assert smaller.summary()["num_episodes_lifetime"] == 5


def test_two_episodes_may_end_in_one_fragment_of_one_environment():
    tracker = EpisodeTracker(2)
    rewards = np.float32([[1, 10], [0, 20], [0, 30], [4, 40]])
    dones = np.array([[1, 0], [0, 0], [0, 1], [1, 0]], bool)
    reset_rows = np.array([[0, 0], [1, 0], [0, 0], [0, 0]], bool)
    ended = tracker.track(rewards, dones, reset_rows)
    assert ended == [Episode(1.0, 1), Episode(60.0, 3), Episode(4.0, 2)]
    assert tracker.returns.tolist() == [0.0, 40.0]
    assert tracker.lengths.tolist() == [0, 1]


def test_seeds_differ_by_root_role_index_and_generation():
    seeds = {
        derive_seed(root, role, index, generation)
        for root in (0, 1)
        for role in Role
        for index in range(3)
        for generation in range(2)
    }
    assert len(seeds) == 2 * len(Role) * 3 * 2
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_random_stream_survives_json():
    rng, twin = derive_rng(1, Role.LEARNER), derive_rng(2, Role.LEARNER)
    rng.integers(0, 9, dtype=np.int32)  # leaves half a word in the generator's cache
    set_rng_state(twin, json.loads(json.dumps(rng_state(rng))))
    draws = [each.integers(0, 9, 5, np.int32).tolist() for each in (rng, twin)]
    assert draws[0] == draws[1]
    np.testing.assert_array_equal(rng.random(5), twin.random(5))


def test_the_state_of_another_kind_of_generator_is_refused():
    other = rng_state(np.random.Generator(np.random.Philox(1)))
    with pytest.raises(ValueError, match="PCG64"):
        set_rng_state(derive_rng(1, Role.LEARNER), other)
