"""What an environment may return, and what becomes of everything else."""

import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rllib.envs.faults import EnvFault, EnvSetupError
from rllib.envs.guard import GuardedEnv
from rllib.envs.make import make_single_env, make_vector_env, probe_spaces
from rllib.envs.vector import adapt

ZEROS = np.zeros(3, np.float32)


class Says(gym.Env):
    """Returns what it is told to, from its second env step on if ``late``."""

    action_space = Discrete(2)

    def __init__(self, config):
        self.observation_space = config.get("space", Box(-1, 1, (3,), np.float32))
        self.first = config.get("first", (ZEROS, {}))
        self.then = config["then"]
        self.closes_badly = config.get("closes_badly", False)

    def reset(self, *, seed=None, options=None):
        return self.first

    def step(self, action):
        return self.then() if callable(self.then) else self.then

    def close(self):
        if self.closes_badly:
            raise OSError("the simulator hangs on")


def step_of(obs, reward=1.0, terminated=False, truncated=False):
    return (obs, reward, terminated, truncated, {})


@pytest.mark.parametrize(
    ("then", "field", "wanted"),
    [
        (step_of(None), "obs", r"= None in step\(\).*shape \(3,\) and dtype float32"),
        (step_of(np.zeros(4)), "obs", r"of shape \(4,\)"),
        (step_of(np.zeros(1)), "obs", r"of shape \(1,\)"),  # numpy would stretch it
        (step_of([[0.0], 0.0, 0.0]), "obs", "= "),
        (step_of("cat"), "obs", "= 'cat'"),
        (step_of(ZEROS, reward=None), "reward", "= None.*should be a number"),
        (step_of(ZEROS, reward="1"), "reward", "= '1'"),
        (step_of(ZEROS, reward=np.ones(1)), "reward", r"of shape \(1,\)"),
        (step_of(ZEROS, terminated=None), "terminated", "true or false"),
        (step_of(ZEROS, truncated=np.zeros(2, bool)), "truncated", "true or false"),
        ((ZEROS, 1.0, False, False, None), "info", "info = None in step.*a dict, {} if"),
        ((ZEROS, 1.0, False, {}), "result", "(obs, reward, terminated, truncated, info)"),
        (None, "result", "= None"),
    ],
)
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_what_is_no_step_is_refused_by_name(mode, then, field, wanted):
    env = make_vector_env(Says, 1, mode, {"then": then})
    try:
        env.reset(seed=0)
        with pytest.raises(EnvFault, match=wanted) as caught:
            env.step(np.zeros(1, np.int64))
    finally:
        env.close()
    fault = caught.value
    assert (fault.env_index, fault.step, fault.field) == (0, 1, field)
    assert "environment 0 returned" in str(fault)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_unchecked_environments_are_taken_as_they_are(mode):
    space = gym.spaces.Dict({"n": Discrete(4), "x": Box(-1, 1, (3,), np.float32)})
    then = step_of({"n": 9, "x": np.full(3, 7.0)}, reward=np.full((), 2), terminated=0.0)
    config = {"first": ({"n": 0, "x": ZEROS}, {}), "then": then, "space": space}
    env = make_vector_env(Says, 1, mode, config, is_checked=False)
    try:
        env.reset(seed=0)
        step = env.step(np.zeros(1, np.int64))
    finally:
        env.close()
    assert step.obs["n"].tolist() == [9]
    assert step.obs["x"].tolist() == [[7.0] * 3]
    assert step.reward.tolist() == [2.0]


def test_unchecked_environments_are_still_named_when_they_raise():
    env = make_vector_env(Says, 2, "sync", {"then": lambda: 1 / 0}, is_checked=False)
    env.reset(seed=0)
    with pytest.raises(EnvFault, match="environment 0 raised ZeroDivisionError"):
        env.step(np.zeros(2, np.int64))


def test_gymnasiums_own_checks_go_with_ours():
    for is_checked in (True, False):
        env = make_single_env("CartPole-v1", {}, is_checked)
        assert ("PassiveEnvChecker" in str(env)) == is_checked


@pytest.mark.parametrize(
    ("first", "wanted"),
    [
        (ZEROS, r"\(obs, info\)"),
        ((ZEROS, None), "info = None in reset"),
        ((np.zeros(2), {}), r"of shape \(2,\)"),
    ],
)
def test_what_is_no_reset_is_refused(first, wanted):
    env = GuardedEnv(Says({"first": first, "then": None}), 4)
    with pytest.raises(EnvFault, match=wanted) as caught:
        env.reset()
    assert caught.value.env_index == 4


def test_a_discrete_observation_is_a_member_of_its_space():
    env = GuardedEnv(Says({"space": Discrete(4, start=2), "then": step_of(6)}), 0)
    with pytest.raises(EnvFault, match=r"obs = 6 .*a member of Discrete\(4, start=2\)"):
        env.step(0)
    env = GuardedEnv(Says({"space": Discrete(4, start=2), "then": step_of(5)}), 0)
    assert env.step(0)[0] == 5


@pytest.mark.parametrize(
    ("space", "obs"),
    [
        (Box(-1, 1, (3,), np.float32), np.zeros(3, np.float64)),
        (Box(-1, 1, (3,), np.float32), [0, 1, 0]),
        (Box(-1, 1, (3,), np.float32), np.full(3, 1e6)),  # bounds are looked at in the vector
        (Box(-1, 1, (), np.float64), 0.5),
        (Box(0, 255, (2, 2), np.uint8), np.zeros((2, 2), np.uint8)),
    ],
)
def test_what_converts_without_loss_of_kind_is_taken(space, obs):
    env = GuardedEnv(Says({"space": space, "then": step_of(obs, np.float32(1), np.True_, 0)}), 0)
    np.testing.assert_equal(env.step(0)[0], obs)


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize(
    ("space", "obs", "what"),
    [
        (Box(-np.inf, np.inf, (3,), np.float32), np.float64([0, -1e200, 0]), "-1e[+]200.*float32"),
        (Box(-9, 9, (3,), np.int8), np.array([0, 300, 0]), "300, which int8 cannot hold"),
    ],
)
def test_a_number_that_the_spaces_dtype_cannot_hold_is_named(mode, space, obs, what):
    first = np.zeros(3, space.dtype), {}
    env = make_vector_env(Says, 1, mode, {"first": first, "then": step_of(obs), "space": space})
    try:
        env.reset(seed=0)
        with pytest.raises(EnvFault, match=f"environment 0 returned obs.*{what}") as caught:
            env.step(np.zeros(1, np.int64))
    finally:
        env.close()
    assert (caught.value.env_index, caught.value.field) == (0, "obs")


def test_infinity_is_no_number_that_does_not_fit():
    space = Box(-np.inf, np.inf, (1,), np.float32)
    env = GuardedEnv(Says({"space": space, "then": step_of(np.array([np.inf]))}), 0)
    assert env.step(0)[0] == [np.inf]  # it is told by its own name


def test_floats_are_no_pixels():
    env = GuardedEnv(Says({"space": Box(0, 255, (2,), np.uint8), "then": step_of([0.5, 1.0])}), 0)
    with pytest.raises(EnvFault, match="dtype uint8"):
        env.step(0)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_an_env_that_leaves_the_program_is_a_fault(mode):
    env = make_vector_env(Says, 1, mode, {"then": lambda: sys.exit(3)})
    try:
        env.reset(seed=0)
        with pytest.raises(EnvFault, match="raised SystemExit in step"):
            env.step(np.zeros(1, np.int64))
    finally:
        env.close()


class OneBuffer(gym.Env):
    """Ends every third env step, and writes each observation into the same array: ``t``."""

    observation_space, action_space = Box(0, 3, (1,), np.float32), Discrete(2)

    def __init__(self, config):
        self.obs = np.zeros(1, np.float32)

    def reset(self, *, seed=None, options=None):
        self.obs[:] = 0
        return self.obs, {}

    def step(self, action):
        self.obs += 1
        return self.obs, 0.0, False, bool(self.obs[0] == 3), {}


@pytest.mark.parametrize("autoreset", AutoresetMode)
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_last_observation_survives_an_env_that_reuses_its_buffer(mode, autoreset):
    env = make_vector_env(OneBuffer, 2, mode, autoreset_mode=autoreset)
    try:
        env.reset(seed=0)
        steps = [env.step(np.zeros(2, np.int64)) for _ in range(3)]
    finally:
        env.close()
    np.testing.assert_equal(steps[1].obs, [[2], [2]])
    np.testing.assert_equal(steps[2].final_obs, [[3], [3]])


def test_a_close_that_raises_is_a_warning_and_no_more():
    with pytest.warns(RuntimeWarning, match=r"raised OSError in close\(\): the simulator hangs on"):
        probe_spaces(Says, {"then": None, "closes_badly": True})
    env = make_vector_env(Says, 2, "sync", {"then": None, "closes_badly": True})
    with pytest.warns(RuntimeWarning, match="the simulator hangs on"):
        env.close()


def test_what_is_no_environment_is_refused():
    with pytest.raises(EnvSetupError, match=r"made None, which is no gymnasium\.Env"):
        probe_spaces(lambda config: None)

    class NoSpaces(gym.Env):
        def __init__(self, config):
            pass

    with pytest.raises(EnvSetupError, match="has no observation_space"):
        probe_spaces(NoSpaces)


class WrongBatch(VectorEnv):
    """A vector environment whose second observation has one row for all environments."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self):
        self.num_envs, self.single_action_space = 2, Discrete(2)
        self.single_observation_space = Box(-1, 1, (3,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, 2)

    def reset(self, *, seed=None, options=None):
        return np.zeros((2, 3), np.float32), {}

    def step(self, actions):
        return ZEROS[None], np.zeros(2), np.zeros(2, bool), np.zeros(2, bool), {}


def test_a_batch_of_another_shape_is_refused():
    env = adapt(WrongBatch())
    env.reset(seed=0)
    with pytest.raises(EnvFault, match=r"at vector step 1 .*shape \(1, 3\).*shape \(2, 3\)"):
        env.step(np.zeros(2, np.int64))
