"""Observations of every space as one array, through every backend and autoreset mode."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from rllib.envs.counter import CounterEnv
from rllib.envs.faults import EnvFault, EnvSetupError, check_finite
from rllib.envs.make import make_vector_env
from rllib.envs.packing import pack, pack_one, packed_dtype, unpack

NESTED = gym.spaces.Dict(
    {
        "count": gym.spaces.Box(-1, np.inf, (2,), np.float32),
        "more": gym.spaces.Tuple(
            [gym.spaces.Discrete(100), gym.spaces.Dict({"bits": gym.spaces.MultiBinary(3)})]
        ),
    }
)


class NestedCounter(gym.ObservationWrapper):
    """The counter env with its observation spread over a nested space."""

    def __init__(self, config):
        super().__init__(CounterEnv(config))
        self.observation_space = NESTED
        self.wrong = config.get("wrong")

    def observation(self, obs):
        episode, t = obs.astype(int)
        bits = np.int8([t & 1, t >> 1 & 1, t >> 2 & 1])
        if self.wrong == t:
            bits = bits[:2]
        return {"count": obs, "more": (np.int64(episode), {"bits": bits})}


def played(env_class, mode, autoreset, num_steps=12, **config):
    env = make_vector_env(env_class, 2, mode, config, autoreset)
    try:
        first = env.reset(0)
        return first, [env.step(np.zeros(2, np.int64)) for _ in range(num_steps)]
    finally:
        env.close()


def check(packed, plain):
    episode, t = plain.astype(int).T
    np.testing.assert_array_equal(packed["count"], plain)
    np.testing.assert_array_equal(packed["more"]["0"], episode)
    bits = np.stack([t & 1, t >> 1 & 1, t >> 2 & 1], -1)
    np.testing.assert_array_equal(packed["more"]["1"]["bits"], bits)


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("autoreset", list(AutoresetMode))
def test_a_nested_observation_is_the_plain_one_in_fields(mode, autoreset):
    first, steps = played(NestedCounter, mode, autoreset)
    plain_first, plain_steps = played(CounterEnv, "sync", autoreset)
    check(first, plain_first)
    for step, plain in zip(steps, plain_steps, strict=True):
        check(step.obs, plain.obs)
        done = plain.terminated | plain.truncated
        assert (step.final_obs is None) == (plain.final_obs is None)
        if done.any():
            check(step.final_obs[done], plain.final_obs[done])


def test_a_part_that_does_not_fit_is_named():
    with pytest.raises(EnvFault, match=r"obs\['more'\]\[1\]\['bits'\].*shape \(3,\)") as caught:
        played(NestedCounter, "sync", AutoresetMode.SAME_STEP, wrong=2)
    assert caught.value.field == "obs['more'][1]['bits']"


def test_nan_in_a_part_is_named():
    packed = pack(NESTED, batch_of(3), 3)
    packed["count"][1, 0] = np.nan
    with pytest.raises(EnvFault, match=r"environment 1 returned obs\['count'\]\[0\] = nan"):
        check_finite("obs", packed[None], 5)


def batch_of(count):
    NESTED.seed(0)
    samples = [NESTED.sample() for _ in range(count)]
    return gym.vector.utils.concatenate(
        NESTED, samples, gym.vector.utils.create_empty_array(NESTED, count)
    )


def test_unpacking_gives_back_what_was_packed():
    batch = batch_of(4)
    fields = unpack(pack(NESTED, batch, 4))
    np.testing.assert_array_equal(fields["count"], batch["count"])
    np.testing.assert_array_equal(fields["more"]["1"]["bits"], batch["more"][1]["bits"])
    fields["count"][0] = 7  # a view
    assert fields["count"].base is not None


def test_one_observation_is_a_row_of_a_batch():
    NESTED.seed(1)
    sample = NESTED.sample()
    row = pack_one(NESTED, sample)
    batch = pack(NESTED, {k: _stacked(v) for k, v in sample.items()}, 1)
    assert row.tobytes() == batch[0].tobytes()


def _stacked(value):
    if isinstance(value, dict):
        return {key: _stacked(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_stacked(part) for part in value)
    return np.asarray(value)[None]


def test_a_part_without_a_fixed_shape_is_refused_by_name():
    space = gym.spaces.Dict({"a": gym.spaces.Tuple([gym.spaces.Text(5)])})
    with pytest.raises(EnvSetupError, match=r"observation\['a'\]\['0'\] is of space Text"):
        packed_dtype(space)


def test_plain_spaces_stay_plain():
    assert packed_dtype(gym.spaces.MultiDiscrete([2, 3])) == (np.dtype(np.int64), (2,))
    assert pack_one(gym.spaces.Discrete(3), 2).shape == ()
