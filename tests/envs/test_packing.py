"""Observations of every space as one array, and actions of every space through every backend."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array
from hypothesis import given, settings

from rllib.envs.counter import NESTED, CounterEnv
from rllib.envs.faults import EnvFault, EnvSetupError, check_finite, find_nonfinite
from rllib.envs.make import make_vector_env
from rllib.envs.packing import (
    MisfitError,
    Packer,
    leaves,
    pack,
    pack_one,
    packed_dtype,
    row_of,
    unpack,
)

from .spaces import COMPOSITES, samples

BACKENDS = [(mode, autoreset) for mode in ("sync", "async") for autoreset in AutoresetMode]


def batch_of(space, num):
    return concatenate(space, samples(space, num), create_empty_array(space, num))


def step_for(env, num_steps):
    for _ in range(num_steps):
        env.step(np.zeros(env.num_envs, np.int64))


def value_at(obs, leaf):
    for key in leaf.keys:
        obs = obs[key]
    return obs


@given(COMPOSITES)
@settings(max_examples=60, deadline=None)
def test_every_part_is_found_where_its_names_say(space):
    packer, batch = Packer(space), batch_of(space, 3)
    packed = packer.pack(batch, 3)
    assert (packed.dtype, packed.shape) == (packer.dtype, (3, *packer.shape))
    for leaf in packer.leaves:
        part = leaf.of(packed)
        np.testing.assert_array_equal(part, value_at(batch, leaf))
        assert part.dtype == leaf.space.dtype
        assert part.flags.aligned
        assert np.shares_memory(part, packed)


@given(COMPOSITES)
@settings(max_examples=60, deadline=None)
def test_a_batch_is_its_observations_one_by_one(space):
    packed = pack(space, batch_of(space, 3), 3)
    ones = [pack_one(space, sample) for sample in samples(space, 3)]
    assert [row.tobytes() for row in packed] == [one.tobytes() for one in ones]
    assert np.stack(ones).dtype == packed.dtype


@given(COMPOSITES)
@settings(max_examples=60, deadline=None)
def test_what_was_unpacked_can_be_packed_again(space):
    packed = pack(space, batch_of(space, 2), 2)
    assert pack(space, unpack(packed), 2).tobytes() == packed.tobytes()


def test_unpacking_gives_views():
    packed = pack(NESTED, batch_of(NESTED, 4), 4)
    fields = unpack(packed)
    fields["more"]["1"]["bits"][2] = 1
    assert packed["more"]["1"]["bits"][2].all()


def test_a_row_of_a_batch_is_one_observation():
    batch = batch_of(NESTED, 3)
    assert pack_one(NESTED, row_of(batch, 1)).tobytes() == pack(NESTED, batch, 3)[1].tobytes()


def test_plain_spaces_stay_plain():
    assert packed_dtype(MultiDiscrete([2, 3])) == (np.dtype(np.int64), (2,))
    assert pack_one(Discrete(3), 2).shape == ()
    assert unpack(np.zeros(3)).shape == (3,)


def test_fields_are_aligned_as_in_c():
    dtype, _ = packed_dtype(Dict(a=MultiBinary(3), b=Box(0, 1, (2,), np.float64), c=Discrete(2)))
    assert [dtype.fields[name][1] for name in "abc"] == [0, 8, 24]
    assert dtype.isalignedstruct


@pytest.mark.parametrize(
    ("part", "fix"),
    [
        (gym.spaces.Text(5), "one code per character"),
        (gym.spaces.Sequence(Discrete(2)), "greatest length"),
        (gym.spaces.Graph(Discrete(2), None), "nodes and edges"),
        (gym.spaces.OneOf([Discrete(2), Discrete(3)]), "all alternatives"),
        (Box(-1, 1, (2, 0), np.float32), "no numbers in it; leave it out"),
    ],
)
def test_a_part_without_a_fixed_shape_is_refused_by_name(part, fix):
    with pytest.raises(EnvSetupError, match=rf"observation\['a'\]\[0\] is of space .*{fix}"):
        packed_dtype(Dict(a=Tuple([part])))


@pytest.mark.parametrize(
    ("space", "what"), [(Dict(), "no parts"), (Dict({"": Discrete(2)}), "key")]
)
def test_a_space_that_makes_no_fields_is_refused(space, what):
    with pytest.raises(EnvSetupError, match=what):
        list(leaves(Dict(a=space)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": np.zeros(2, np.float32)}, r"obs\['count'\] is of shape \(2,\)"),
        ({"count": np.zeros((1, 2), np.float32)}, r"should be of shape \(2, 2\)"),
        ({"count": np.full((2, 2), "a")}, r"dtype <U1"),
        ({"more": (np.zeros(2),)}, r"obs\['more'\]\[0\] is .* float64; .* int64"),
        ({"more": (np.zeros(2, int),)}, r"no obs\['more'\]\[1\]\['bits'\]"),
        ({"more": None}, r"no obs\['more'\]\[0\]: in place of 0 there is a NoneType"),
    ],
)
def test_a_batch_that_does_not_fit_is_never_stretched(change, message):
    with pytest.raises(MisfitError, match=message) as caught:
        pack(NESTED, batch_of(NESTED, 2) | change, 2)
    assert caught.value.field.startswith("obs['")


def test_a_missing_key_is_named_with_those_that_there_are():
    with pytest.raises(MisfitError, match=r"no obs\['count'\].*\['other'\]"):
        pack(NESTED, {"other": 1}, 1)


# NaN and choices that there are not, wherever they are.


def test_nan_in_a_part_is_named():
    packed = pack(NESTED, batch_of(NESTED, 3), 3)
    packed["count"][1, 0] = np.nan
    with pytest.raises(
        EnvFault, match=r"environment 1 returned obs\['count'\]\[0\] = nan"
    ) as caught:
        check_finite("obs", packed[None], 5)
    assert (caught.value.field, caught.value.step) == ("obs['count']", 5)


def test_the_oldest_nan_of_a_fragment_is_named():
    fragment = np.zeros((4, 2), [("a", "f4"), ("b", "f4")])
    fragment["a"][3, 0] = np.inf
    fragment["b"][2, 1] = np.nan
    assert find_nonfinite(fragment)[:2] == (("b",), (2, 1))


class Choosy(gym.Env):
    """Returns a choice that there is not in its third env step, in whatever space."""

    action_space = Discrete(2)

    def __init__(self, config):
        self.observation_space, self.bad, self.t = config["space"], config["bad"], 0
        self.fine = samples(self.observation_space, 1)[0]

    def reset(self, *, seed=None, options=None):
        return self.fine, {}

    def step(self, action):
        self.t += 1
        return self.bad if self.t == 3 else self.fine, 0.0, False, False, {}


@pytest.mark.parametrize(
    ("space", "bad", "message"),
    [
        (Dict(a=Discrete(3)), {"a": 3}, r"obs\['a'\] = 3 .*from 0 to 2"),
        (MultiDiscrete([2, 3]), np.array([0, 3]), r"environment 0 .*obs\[1\] = 3.*bounds \[0, 2\]"),
        (Tuple([MultiBinary(2)]), (np.int8([0, 2]),), r"obs\[0\]\[1\] = 2.*bounds \[0, 1\]"),
    ],
)
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_choice_that_there_is_not_is_named(mode, space, bad, message):
    env = make_vector_env(Choosy, 2, mode, {"space": space, "bad": bad})
    try:
        env.reset(0)
        with pytest.raises(EnvFault, match=message) as caught:
            step_for(env, 3)
    finally:
        env.close()
    assert (caught.value.env_index, caught.value.step) == (0, 3)


class WrongPart(gym.ObservationWrapper):
    def __init__(self, config):
        super().__init__(CounterEnv({"nested": True}))

    def observation(self, obs):
        episode, parts = obs["more"]
        bits = parts["bits"][:-1] if obs["count"][1] == 2 else parts["bits"]
        return obs | {"more": (episode, {"bits": bits})}


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_part_that_does_not_fit_is_named_with_its_place_and_the_fix(mode):
    env = make_vector_env(WrongPart, 2, mode)
    try:
        env.reset(0)
        message = r"environment 0 .*obs\['more'\]\[1\]\['bits'\].*\(7,\).*\(8,\).*observation_space"
        with pytest.raises(EnvFault, match=message) as caught:
            step_for(env, 2)
    finally:
        env.close()
    fault = caught.value
    assert (fault.env_index, fault.step, fault.field) == (0, 2, "obs['more'][1]['bits']")


# Actions.


class Echo(gym.Env):
    """Observes the action, in its own space, and ends every third step."""

    def __init__(self, config):
        self.action_space = config["space"]
        self.observation_space = config["space"]

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return samples(self.observation_space, 1)[0], {}

    def step(self, action):
        assert action in self.action_space
        self.t += 1
        return action, 0.0, False, self.t == 3, {}


ACTIONS = [
    Discrete(4, start=-1),
    MultiDiscrete([2, 3]),
    MultiBinary(3),
    Box(-1, 1, (2, 2), np.float32),
    Tuple([Discrete(3), Box(-1, 1, (2,), np.float32)]),
    Dict(move=Box(-1, 1, (2,), np.float32), more=Dict(kind=Discrete(3), keys=MultiBinary(2))),
    Tuple([Dict(a=MultiDiscrete([2, 2])), Discrete(2)]),
]


@pytest.mark.parametrize(("mode", "autoreset"), BACKENDS)
@pytest.mark.parametrize("space", ACTIONS, ids=str)
def test_every_environment_gets_its_own_action(space, mode, autoreset):
    env = make_vector_env(Echo, 3, mode, {"space": space}, autoreset)
    batched = batch_space(space, 3)
    batched.seed(1)
    try:
        env.reset(0)
        for _ in range(7):
            actions = batched.sample()
            step = env.step(actions)
            seen = step.obs if step.final_obs is None else step.final_obs
            if not step.is_reset_row.any():
                assert seen.tobytes() == pack(space, actions, 3).tobytes()
    finally:
        env.close()
