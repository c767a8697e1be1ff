"""Every kind of broken environment is found, and sound ones are left in peace."""

import re
import threading
from itertools import count

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import *  # noqa: F403 (what suggested spaces are written in)
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text
from hypothesis import given, settings

from rllib.envs.check import check_env, is_bad
from rllib.envs.check.code import as_code
from rllib.envs.counter import CounterEnv
from rllib.envs.multi_agent import MultiAgentEnv
from rllib.envs.schedules import RandomSchedule

from .spaces import COMPOSITES


class Sound(gym.Env):
    """Walks at random until it is out of bounds; each test breaks one thing of it."""

    observation_space, action_space = Box(-4, 4, (2,), np.float32), Discrete(3)

    def __init__(self, config=None):
        self.config = config

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.place = 0, self.np_random.uniform(-1, 1, 2)
        return self.observe(), {}

    def step(self, action):
        self.t += 1
        self.place += self.np_random.uniform(-1, 1, 2) + action - 1
        out = bool(np.abs(self.place).max() > 3)
        return self.observe(), self.pay(), out, self.t == 50, {}

    def observe(self):
        return self.place.clip(-4, 4).astype(np.float32)

    def pay(self):
        return 1.0


def broken(**parts):
    return type("Broken", (Sound,), parts)


def found(env, level="error", **config):
    return [finding for finding in check_env(env, config, 300) if finding.level == level]


def told(env, level="error", **config):
    return "\n".join(map(str, found(env, level, **config)))


@pytest.mark.parametrize(
    "env", [Sound, "CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Taxi-v4", "Acrobot-v1"]
)
def test_a_sound_environment_is_left_in_peace(env):
    findings = check_env(env, None, 300)
    assert [str(f) for f in findings if f.level != "note"] == []
    assert [f.place for f in findings] == ["speed", "vector"]


# Observations, and the space to paste.


@pytest.mark.parametrize(
    ("parts", "message", "space"),
    [
        (
            {"observe": lambda self: np.zeros(3, np.float32)},
            r"obs: array.* of shape \(3,\), float32 at env step 0",
            "Box(-np.inf, np.inf, (3,), dtype=np.float32)",
        ),
        (
            {"observe": lambda self: np.zeros((2, 2), np.uint8)},
            "obs: .*shape",
            "Box(-np.inf, np.inf, (2, 2), dtype=np.float32)",
        ),
        (
            {"observation_space": Discrete(3), "observe": lambda self: 5},
            "obs: 5 .*from 0 to 2",
            "Discrete(6)",
        ),
        (
            {"observation_space": MultiBinary(2), "observe": lambda self: np.float32([0, 0.5])},
            "obs: .*int8",
            "Box(-np.inf, np.inf, (2,), dtype=np.float32)",
        ),
        (
            {
                "observation_space": Dict(a=Discrete(2), b=Box(0, 1, (2,), np.float32)),
                "observe": lambda self: {"a": 1, "b": np.zeros(1, np.float32)},
            },
            r"obs\['b'\]: ",
            "Dict({'a': Discrete(2), 'b': Box(-np.inf, np.inf, (1,), dtype=np.float32)})",
        ),
    ],
)
def test_what_does_not_fit_is_told_with_the_space_that_would(parts, message, space):
    text = told(broken(**parts))
    assert re.search(message, text)
    assert f"self.observation_space = {space}" in text
    fitting = eval(space)
    assert found(broken(**parts | {"observation_space": fitting})) == []


def test_bounds_that_are_overstepped_are_a_warning_with_the_bound_taken_away():
    seen = count()
    env = broken(observe=lambda self: np.float32([9 if next(seen) == 30 else 1, -1]))
    text = told(env, "warning")
    assert "lies outside of Box(-4.0, 4.0, (2,), float32), first at env step 2" in text
    assert "self.observation_space = Box(np.array([-4., -4.]), np.array([np.inf,  4.])" in text
    assert found(env) == []


def test_a_choice_of_a_vector_that_there_is_not_is_an_error_with_the_space():
    env = broken(
        observation_space=MultiDiscrete([2, 2]), observe=lambda self: np.int64([0, self.t % 4])
    )
    assert "MultiDiscrete([2, 4])" in told(env)


def test_a_space_without_numbers_is_an_error():
    text = told(broken(observation_space=Dict(x=Box(-1, 1, (0,), np.float32))))
    assert text.startswith("error: observation_space: observation_space['x'] is of space Box([]")


def test_another_dtype_is_converted_and_told():
    text = told(broken(observe=lambda self: self.place.clip(-4, 4)), "warning")
    assert "is of dtype float64 and is converted to float32" in text
    assert "np.asarray(value, np.float32)" in text


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_nan_is_an_error_at_its_env_step(number):
    env = broken(
        observation_space=Dict(x=Box(-np.inf, np.inf, (2,), np.float32)),
        observe=lambda self: {"x": np.float32([0, number if self.t == 3 else 0])},
    )
    assert f"error: obs['x']: {number} at env step 3" in told(env)


def test_a_buffer_that_is_used_again_is_seen():
    class Reuses(Sound):
        buffer = np.zeros(2, np.float32)

        def observe(self):
            self.buffer[:] = super().observe()
            return self.buffer

    text = told(Reuses, "warning")
    assert "env step 1 wrote into the array that the one before had returned" in text
    assert "obs.copy()" in text
    assert text.count("\n") == 1  # gymnasium's checker says nothing else


@given(COMPOSITES)
@settings(max_examples=60, deadline=None)
def test_code_of_a_space_makes_that_space(space):
    assert eval(as_code(space)) == space


# Rewards, flags, results.


@pytest.mark.parametrize(
    ("reward", "level", "message"),
    [
        (np.nan, "error", "reward: nan at env step 1"),
        (None, "error", "reward: None at env step 1 is no number"),
        ("1", "error", "is no number"),
        (np.ones(1), "error", "of shape (1,)"),
        (np.array(1.0), "warning", "no plain number"),
    ],
)
def test_rewards_are_finite_numbers(reward, level, message):
    assert message in told(broken(pay=lambda self: reward), level)


def returning(change):
    class Returns(Sound):
        def step(self, action):
            return change(*super().step(action))

    return Returns


@pytest.mark.parametrize(
    ("change", "level", "message"),
    [
        (lambda o, r, te, tr, i: (o, r, te, i), "error", "return (obs, reward, terminated"),
        (lambda o, r, te, tr, i: (o, r, None, tr, i), "error", "terminated: None"),
        (lambda o, r, te, tr, i: (o, r, np.array([te, te]), tr, i), "error", "terminated: array"),
        (lambda o, r, te, tr, i: (o, r, te, int(tr), i), "warning", "return bool(truncated)"),
        (lambda o, r, te, tr, i: (o, r, te, tr, None), "error", "info: None"),
        (lambda o, r, te, tr, i: 1 / 0, "error", "step() at env step 1: raised ZeroDivisionError"),
    ],
)
def test_a_step_consists_of_five(change, level, message):
    assert message in told(returning(change), level)


def test_a_reset_consists_of_two():
    assert "reset(): returned array" in told(broken(reset=lambda self, **_: np.zeros(2)))
    assert "reset(): raised KeyError" in told(broken(reset=lambda self, **_: {}["x"]))
    assert "test_check.py:" in told(broken(reset=lambda self, **_: {}["x"]))
    assert "; write it as reset(self, *, seed=None, o" in told(broken(reset=lambda self: None))


# Ends of episodes.


def test_episodes_without_an_end_are_a_warning():
    forever = returning(lambda o, r, te, tr, i: (o, r, False, False, i))
    assert "no episode ended in 300 env steps" in told(forever, "warning")
    assert "TimeLimit" in told(forever, "warning")


def test_a_time_limit_that_calls_itself_an_end_is_a_warning():
    class Limit(Sound):
        def step(self, action):
            obs, reward, *_ = super().step(action)
            return obs, reward, self.t == 10, False, {}

    assert "every episode ended after 10 env steps" in told(Limit, "warning")
    assert "truncated=True" in told(Limit, "warning")


def test_a_registered_limit_is_seen_to_truncate():
    gym.register(
        "CutCounter-v0",
        lambda: CounterEnv({"endings": [(10**6, "terminated")]}),
        max_episode_steps=20,
    )
    try:
        places = {finding.place for finding in check_env("CutCounter-v0", None, 300)}
        assert not places & {"episodes", "terminated"}
    finally:
        del gym.registry["CutCounter-v0"]


def test_spaces_that_change_are_an_error():
    class Growing(Sound):
        def reset(self, *, seed=None, options=None):
            self.action_space = Discrete(self.action_space.n + 1)
            return super().reset(seed=seed)

    text = told(Growing)
    assert "action_space: was Discrete(3) when the environment was made, and Discrete(" in text
    assert "set it once, in the constructor" in text


# Seeds.


def test_random_numbers_of_ones_own_are_an_error():
    class Unseeded(Sound):
        random = np.random.default_rng()

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.place = self.random.uniform(-1, 1, 2)
            return self.observe(), {}

    text = told(Unseeded)
    assert "gave another obs of reset(seed) in a second environment" in text
    assert "self.np_random" in text


def test_what_survives_a_reset_is_a_warning():
    text = told(CounterEnv, "warning")
    assert "another obs of reset(seed) after an episode" in text


# Action masks.


class Masked(Sound):
    """Allows one action, another in each step."""

    observation_space = Dict(action_mask=MultiBinary(3), x=Box(-4, 4, (2,), np.float32))

    def observe(self):
        return {"action_mask": self.mask(), "x": super().observe()}

    def mask(self):
        return np.int8(np.arange(3) == self.t % 3)

    def step(self, action):
        assert action == self.t % 3, "a forbidden action"
        return super().step(action)


def test_forbidden_actions_are_not_tried():
    assert [str(f) for f in check_env(Masked, None, 300) if f.level != "note"] == []


def test_a_mask_of_other_numbers_is_told_without_a_space_for_them():
    class Twos(Masked):
        observation_space = Dict(
            action_mask=Box(0, 1, (3,), np.int8), x=Box(-4, 4, (2,), np.float32)
        )

        def mask(self):
            return super().mask() * np.int8(2)

    text = told(Twos)
    assert "is not made of 0 and 1" in text
    assert "lies outside" not in text


def test_a_mask_that_forbids_everything_is_an_error_before_the_end_alone():
    class Stuck(Masked):
        def mask(self):
            return np.zeros(3, np.int8) if self.t == 4 else super().mask()

        def step(self, action):
            obs, reward, *_ = Sound.step(self, action)
            return obs, reward, self.t == 5, False, {}

    text = told(Stuck)
    assert "obs['action_mask']: forbids every action at env step 4: [0, 0, 0]" in text

    class Ends(Stuck):
        def step(self, action):
            obs, reward, *_ = Sound.step(self, action)
            return obs, reward, self.t == 4, False, {}

    assert told(Ends) == ""


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"action_space": Discrete(4)}, "has 4 choices\n    MultiBinary(4)"),
        ({"action_space": Box(-1, 1)}, "only actions of Discrete and MultiDiscrete can be masked"),
    ],
)
def test_a_mask_has_an_entry_for_each_choice(parts, message):
    assert message in told(type("Misfit", (Masked,), parts))


def test_masks_of_several_dimensions():
    class Two(Masked):
        observation_space = Dict(action_mask=MultiBinary(5), x=Box(-4, 4, (2,), np.float32))
        action_space = MultiDiscrete([2, 3])

        def mask(self):
            return np.int8([1, 0, 0, 0, self.t != 2])

        def step(self, action):
            assert action[0] == 0
            return Sound.step(self, 1)

    assert "forbids every action at env step 2: [1, 0, 0, 0, 0]" in told(Two)


# Spaces, and the world around.


def test_spaces_without_a_module_are_errors():
    assert "observation_space is of space Text" in told(broken(observation_space=Text(3)))
    assert "action_space is of space Text" in told(broken(action_space=Text(3)))
    assert "set self.action_space" in told(broken(action_space=None))
    assert "has no bounds" in told(
        broken(action_space=Box(-np.inf, np.inf, (1,)), step=lambda self, _: Sound.step(self, 1)),
        "warning",
    )


def test_what_cannot_travel_is_an_error():
    lock = threading.Lock()

    def make(config):
        with lock:
            return Sound(config)

    assert "pickling of env: cannot be sent to env runners: TypeError" in told(make)


def test_an_environment_that_cannot_be_made_is_an_error():
    assert "raised" not in told("CartPole")
    assert "did you mean 'CartPole-v1'" in told("CartPole")
    assert "ZeroDivisionError" in told(lambda config: 1 / 0)
    assert is_bad(check_env(lambda config: None))


def test_a_vector_entry_point_is_played_too():
    class NoMode(gym.vector.SyncVectorEnv):
        def __init__(self, num_envs, max_episode_steps):
            super().__init__([Sound] * num_envs)
            self.metadata = {}

    gym.register("NoMode-v0", Sound, vector_entry_point=NoMode, max_episode_steps=50)
    try:
        assert told("NoMode-v0").startswith("error: vector: ")
        assert "AutoresetMode" in told("NoMode-v0")
    finally:
        del gym.registry["NoMode-v0"]


# What is left behind.


def test_files_that_resets_leave_open_are_a_warning(tmp_path):
    class Logs(Sound):
        kept = []  # noqa: RUF012

        def reset(self, **options):
            self.kept.append((tmp_path / "log").open("w"))
            return super().reset(**options)

        def close(self):
            while self.kept:
                self.kept.pop().close()

    assert re.search(r"reset\(\): \d+ more files are open after \d+ resets", told(Logs, "warning"))


def test_memory_that_resets_keep_is_a_warning():
    class Remembers(Sound):
        def __init__(self, config=None):
            self.episodes = []

        def reset(self, **options):
            self.episodes.append(np.ones(100_000))
            return super().reset(**options)

    text = told(Remembers, "warning")
    grown, each = map(
        int, re.search(r"grew by (\d+) MiB in .* resets, (\d+) KiB each", text).groups()
    )
    assert grown > 8
    assert 600 < each < 1000  # 781 KiB


def test_threads_that_closing_leaves_are_a_warning():
    stop = threading.Event()

    class Threaded(Sound):
        def __init__(self, config=None):
            threading.Thread(target=stop.wait, daemon=True).start()

    try:
        assert "close(): 4 more threads are open after 4 environments" in told(Threaded, "warning")
    finally:
        stop.set()


# Pictures.


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), ""),
        (np.zeros((4, 4)), "render(): 'rgb_array' gave"),
        (None, "render(): 'rgb_array' gave None"),
    ],
)
def test_a_picture_is_height_width_and_colours(picture, message):
    class Drawn(Sound):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

        def __init__(self, config=None):
            self.render_mode = (config or {}).get("render_mode")

        def render(self):
            return picture

    assert told(Drawn) == ""
    assert message in told(Drawn, "warning")
    assert bool(message) == bool(told(Drawn, "warning"))


# Several agents.


def test_draws_of_its_own_are_an_error_for_several_agents_too():
    class Unseeded(RandomSchedule):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=next(numbers))

    numbers = count()
    assert re.search(r"seed: .* another \w+ of agent \d+ at reset\(seed\)", told(Unseeded))


def test_sound_environments_of_several_agents_are_left_in_peace():
    findings = check_env(RandomSchedule, None, 300)
    assert {finding.level for finding in findings} == {"note"}


class Pair(MultiAgentEnv):
    """Two agents act at once for five steps; each test breaks one thing of it."""

    def __init__(self, config=None):
        self.possible_agents = ["a", "b"]
        self.observation_spaces = dict.fromkeys("ab", Box(0, 9, (1,), np.float32))
        self.action_spaces = dict.fromkeys("ab", Discrete(2))

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return self.observe(), {}

    def observe(self):
        return {agent: np.float32([self.t]) for agent in "ab"}

    def step(self, action_dict):
        self.t += 1
        over = self.t == 5
        return self.observe(), {"a": 1.0}, {"__all__": over}, {"__all__": False}, {}


def pair(change):
    class Changed(Pair):
        def step(self, action_dict):
            return change(*super().step(action_dict))

    return Changed


@pytest.mark.parametrize(
    ("env", "level", "message"),
    [
        (
            pair(lambda o, r, te, tr, i: (o | {"a": np.zeros(2)}, r, te, tr, i)),
            "error",
            "obs of agent 'a': array",
        ),
        (
            pair(lambda o, r, te, tr, i: (o, {"b": np.nan}, te, tr, i)),
            "error",
            "reward of agent 'b': nan at env step 1",
        ),
        (
            pair(lambda o, r, te, tr, i: (o, {"c": 1.0}, te, tr, i)),
            "error",
            "rewards: [\"'c'\"] are not in possible_agents",
        ),
        (
            pair(lambda o, r, te, tr, i: (o, r, {"a": False}, tr, i)),
            "error",
            "terminateds: has no '__all__'",
        ),
        (
            pair(lambda o, r, te, tr, i: ({}, r, te, tr, i)),
            "error",
            "nobody was asked to act after env step 1",
        ),
        (pair(lambda o, r, te, tr, i: (o, r, te, i)), "error", "step(): returned"),
        (
            pair(lambda o, r, te, tr, i: (o, r, te, tr, {"b": "fine"})),
            "error",
            "info of agent 'b': 'fine' at env step 1 is no dict",
        ),
        (
            pair(lambda o, r, te, tr, i: ({"a": o["a"]}, r, te, tr, {"b": 5})),
            "error",
            "info of agent 'b': 5 at env step 1 is no dict",
        ),
        (
            pair(lambda o, r, te, tr, i: (o, r, te, tr, {"c": {}})),
            "error",
            "infos: [\"'c'\"] are not in possible_agents",
        ),
        (
            type("Mute", (Pair,), {"reset": lambda self, **_: (Pair.reset(self)[0], None)}),
            "error",
            "reset(): infos are None",
        ),
        (
            type("Odd", (Pair,), {"reset": lambda self, **_: (Pair.reset(self)[0], {"a": 1})}),
            "error",
            "info of agent 'a': 1 at env step 0 is no dict",
        ),
        (
            pair(lambda o, r, te, tr, i: (o, r, te | {"a": np.zeros(2, bool)}, tr, i)),
            "error",
            "terminated of agent 'a': array",
        ),
        (pair(lambda o, r, te, tr, i: (o, 1.0, te, tr, i)), "error", "rewards are 1.0"),
        (pair(lambda o, r, te, tr, i: 1 / 0), "error", "step() 1: raised ZeroDivisionError"),
        (
            pair(lambda o, r, te, tr, i: ({"b": o["b"]}, r, te, {"a": True} | tr, i)),
            "warning",
            "agent 'a' was truncated without a last observation",
        ),
        (
            type("Alone", (Pair,), {"observe": lambda self: {"a": np.float32([self.t])}}),
            "warning",
            "['b'] never acted in 300 env steps",
        ),
        (type("Nobody", (Pair,), {"observe": lambda self: {}}), "error", "nobody could act"),
    ],
)
def test_broken_environments_of_several_agents(env, level, message):
    assert message in told(env, level)


def test_an_agent_may_have_nothing_to_say():
    assert found(pair(lambda *parts: (*parts[:4], {"a": None, "__common__": {"t": 1}}))) == []


def masked_pair(mask, size=2):
    """Two agents with masks, of whom ``b`` has ``mask(t)``; ``t`` is 5 at the episode's end."""

    class Masked(Pair):
        def __init__(self, config=None):
            super().__init__(config)
            space = Dict(action_mask=MultiBinary(size), x=Box(0, 9, (1,), np.float32))
            self.observation_spaces = dict.fromkeys("ab", space)

        def observe(self):
            x, ones = np.float32([self.t]), np.ones(size, np.int8)
            return {a: {"action_mask": mask(self.t) if a == "b" else ones, "x": x} for a in "ab"}

    return Masked


def test_masks_of_agents_are_looked_at():
    nothing, both = np.zeros(2, np.int8), np.ones(2, np.int8)
    text = told(masked_pair(lambda t: nothing if t == 3 else both))
    assert "obs of agent 'b'['action_mask']: forbids every action at env step 3: [0, 0]" in text
    assert "'a'" not in text
    assert found(masked_pair(lambda t: nothing if t == 5 else both)) == []
    text = told(masked_pair(lambda t: np.ones(3, np.int8), size=3))
    assert "obs of agent 'a'['action_mask']: is of MultiBinary(3), but Discrete(2) has 2" in text
