"""Observations outside of their space: refused as mistakes, or told where they may be physics."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rllib.envs.bounds import FIRST_STEPS
from rllib.envs.check import check_env
from rllib.envs.faults import EnvFault
from rllib.envs.make import make_vector_env
from rllib.envs.multi_agent import make_multi_agent
from rllib.envs.multi_agent_vector import MultiAgentVector
from rllib.envs.vector import adapt


class Shows(gym.Env):
    """Shows ``config["obs"]``, from env step ``config["at"]`` on only, before that ``inside``.

    Its second copy in a vector is the one that does.
    """

    action_space = Discrete(2)
    made = 0

    def __init__(self, config):
        self.observation_space, self.obs = config["space"], config["obs"]
        self.inside, self.at = config["inside"], config.get("at", 0)
        self.ends_at = config.get("ends_at")

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return self._shown(), {}

    def step(self, action):
        self.t += 1
        return self._shown(), 0.0, False, self.t == self.ends_at, {}

    def _shown(self):
        return self.inside if self.t < self.at else self.obs


def play(steps, **config):
    """A vector of three, in which the second one shows what it should not."""
    inner = dict(config, obs=config["inside"])
    makers = [lambda c=c: Shows(c) for c in (inner, config, inner)]
    env = adapt(SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP))
    env.reset(seed=0)
    for _ in range(steps):
        env.step(np.zeros(3, np.int64))
    return env


CASES = [
    (Box(0, 9, (2,), np.int64), [3, 12], [3, 4], "obs", r"obs\[1\] = 12", r"bounds \[0, 9\]"),
    (Box(0, 1, (2, 1), np.uint8), [[0], [7]], [[0], [1]], "obs", r"obs\[1\]\[0\] = 7", ""),
    (MultiDiscrete([2, 3]), [0, 3], [1, 2], "obs", r"obs\[1\] = 3", r"bounds \[0, 2\]"),
    (MultiDiscrete([2, 3], start=[1, 5]), [0, 5], [1, 5], "obs", r"obs\[0\] = 0", r"\[1, 2\]"),
    (MultiBinary(3), [0, 1, 2], [0, 1, 1], "obs", r"obs\[2\] = 2", r"bounds \[0, 1\]"),
    (Discrete(4, start=2), 6, 5, "obs", "obs = 6", r"bounds \[2, 5\]"),
]  # fmt: skip


def as_member(space, obs):
    return np.asarray(obs, space.dtype) if space.shape else obs


@pytest.mark.parametrize("at", [0, 1, 70])
@pytest.mark.parametrize(("space", "obs", "inside", "field", "what", "bounds"), CASES)
def test_choices_and_integers_outside_are_refused_at_any_step(
    space, obs, inside, field, what, bounds, at
):
    config = {"space": space, "obs": as_member(space, obs), "inside": as_member(space, inside)}
    with pytest.raises(EnvFault, match=f"environment 1 returned {what}.*{bounds}") as caught:
        play(at, at=at, **config)
    fault = caught.value
    assert (fault.env_index, fault.step, fault.field) == (1, at, field)
    assert fault.value == np.max(obs) if "start" not in str(space) else fault.value in (0, 6)
    assert "or correct the observation_space" in str(fault)


def test_a_part_is_named_by_its_whole_path():
    space = Dict(hand=Dict(cards=MultiDiscrete([5, 5])), x=Box(-1, 1, (2,), np.float32))
    good = {"hand": {"cards": np.array([1, 2])}, "x": np.zeros(2, np.float32)}
    bad = {"hand": {"cards": np.array([1, 5])}, "x": np.zeros(2, np.float32)}
    with pytest.raises(EnvFault, match=r"obs\['hand'\]\['cards'\]\[1\] = 5") as caught:
        play(3, space=space, obs=bad, inside=good, at=3)
    assert caught.value.field == "obs['hand']['cards']"


def test_the_last_observation_of_an_episode_is_looked_at_too():
    space = Box(0, 9, (1,), np.int64)
    config = {"space": space, "obs": np.array([12]), "inside": np.array([3])}
    with pytest.raises(EnvFault, match=r"environment 1 returned .*obs\[0\] = 12 at vector step 4"):
        play(4, at=4, ends_at=4, **config)


FLOATS = Box(np.float32([-1, -np.inf]), np.float32([1, np.inf]))


def floats(x, at):
    return {
        "space": FLOATS,
        "obs": np.float32([x, 99]),
        "inside": np.float32([1, -99]),
        "at": at,
    }


@pytest.mark.parametrize("at", [0, 1, FIRST_STEPS])
def test_floats_outside_are_refused_in_the_first_steps(at):
    with pytest.raises(
        EnvFault, match=r"environment 1 returned obs\[0\] = 7.5 at vector"
    ) as caught:
        play(at, **floats(7.5, at))
    text = str(caught.value)
    assert "bounds [-1.0, 1.0]" in text
    assert "disable_env_checking=True" in text
    assert (caught.value.env_index, caught.value.step, caught.value.value) == (1, at, 7.5)


def test_floats_that_leave_their_bounds_later_are_told_once_and_trained_on():
    with pytest.warns(RuntimeWarning) as told:
        env = play(300, **floats(-7.5, FIRST_STEPS + 1))
    (warning,) = told
    assert "environment 1 returned obs[0] = -7.5 at vector step 64" in str(warning.message)
    assert "bounds [-1.0, 1.0]" in str(warning.message)
    assert env.step(np.zeros(3, np.int64)).obs[1].tolist() == [-7.5, 99]


def test_rounding_is_no_offence():
    angle = np.float32([np.nextafter(np.float32(1), np.float32(2)), 0])
    play(100, space=FLOATS, obs=angle, inside=angle)


def test_what_has_no_bounds_to_leave_costs_nothing():
    free = Dict(
        pixels=Box(0, 255, (4, 4), np.uint8), flag=Box(0, 1, (2,), np.bool_),
        x=Box(-np.inf, np.inf, (3,), np.float64), n=Box(-128, 127, (1,), np.int8),
    )  # fmt: skip
    env = adapt(SyncVectorEnv([lambda: Shows({"space": free, "obs": {}, "inside": {}})]))
    assert not env.bounds.exact
    assert not env.bounds.floats


def test_all_of_it_can_be_turned_off():
    config = {"space": MultiDiscrete([2, 2]), "obs": np.array([7, 7]), "inside": np.zeros(2, int)}
    env = make_vector_env(Shows, 1, "sync", config, is_checked=False)
    assert env.reset(seed=0).tolist() == [[7, 7]]


def step_on(env, steps, actions):
    for _ in range(steps):
        env.step(actions)


class LandsHigh(gym.Wrapper):
    """LunarLander with its main engine always on: it flies out at the top."""

    def __init__(self, config):
        super().__init__(gym.make("LunarLander-v3"))

    def step(self, action):
        return super().step(2)


def test_lunar_lander_above_its_ceiling_goes_on():
    pytest.importorskip("Box2D")
    env = make_vector_env(LandsHigh, 2)
    env.reset(seed=0)
    with pytest.warns(RuntimeWarning, match=r"obs\[1\] = .*outside of its bounds \[-2.5, 2.5\]"):
        step_on(env, 400, np.zeros(2, np.int64))
    env.close()


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
@pytest.mark.parametrize("at", [1, 30])
def test_an_action_that_there_is_not_is_told_as_such(mode, at):
    env = make_vector_env("CartPole-v1", 3, mode)
    env.reset(seed=0)
    step_on(env, at - 1, np.zeros(3, np.int64))
    with pytest.raises(EnvFault, match=r"environment 1 was given action = 7 .*\[0, 1\]") as caught:
        env.step(np.array([0, 7, 1]))
    env.close()
    assert (caught.value.env_index, caught.value.step, caught.value.field) == (1, at, "action")


# Several agents.


ACTIONS = [{0: 0, 1: 0}] * 2


def agents(**config):
    kind = make_multi_agent(lambda env_config: Shows(config))
    return MultiAgentVector(kind, 2, {"num_agents": 2})


def test_agents_observations_are_refused_likewise():
    space = MultiDiscrete([2, 3])
    config = {"space": space, "obs": np.array([0, 3]), "inside": np.array([1, 2]), "at": 70}
    vector = agents(**config)
    vector.reset(seed=0)
    for _ in range(69):
        vector.step([{0: 0, 1: 0}] * 2)
    with pytest.raises(
        EnvFault, match=r"environment 0 .*agent 0 = 3 in its element \[1\]"
    ) as fault:
        vector.step([{0: 0, 1: 0}] * 2)
    assert (fault.value.agent, fault.value.field, fault.value.value) == (
        0,
        "obs",
        "3 in its element [1]",
    )


def test_an_agents_first_floats_are_refused_and_later_ones_told_once():
    with pytest.raises(EnvFault, match=r"agent 0 = 7.5 .*bounds \[-1.0, 1.0\]"):
        agents(**floats(7.5, 0)).reset(seed=0)
    vector = agents(**floats(7.5, 30))
    vector.reset(seed=0)
    with pytest.warns(RuntimeWarning, match=r"environment \d .*agent \d = 7.5") as told:
        step_on(vector, 200, ACTIONS)
    assert len(told) == 2  # one for each agent


# And before training.


def levels(**config):
    found = check_env(Shows, config, num_steps=300)
    return {f.level for f in found if f.place.startswith("obs") and "outside of" in f.text}


def test_check_env_says_error_where_training_would_and_warning_where_it_would_warn():
    space = MultiDiscrete([2, 3])
    outside, inside = np.array([0, 3]), np.array([1, 2])
    ends = {"ends_at": 150}
    assert levels(space=space, obs=outside, inside=inside, at=70, **ends) == {"error"}
    assert levels(**floats(7.5, 0), **ends) == {"error"}
    assert levels(**floats(7.5, 1), **ends) == {"error"}
    assert levels(**floats(7.5, 70), **ends) == {"warning"}
    assert levels(**floats(np.nextafter(np.float32(1), np.float32(2)), 0), **ends) == set()
