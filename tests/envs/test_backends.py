"""Environments of other packages through the same step schema, and what is said where they lack."""

import sys
from importlib.util import find_spec as find_module
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from rllib.envs.atari import make_atari_vector
from rllib.envs.counter import CounterEnv
from rllib.envs.envpool_backend import EnvPoolBackend
from rllib.envs.faults import EnvSetupError
from rllib.envs.make import choose_backend, make_vector_env, probe_spaces
from rllib.envs.vector import NextStepEnv

SHORT_GAME = {"max_num_frames_per_episode": 80}


def needs(package):
    return pytest.mark.skipif(not find_module(package), reason=f"{package} is not installed")


def case(package, *values):
    return pytest.param(*values, marks=needs(package), id="/".join(map(str, values[:2])))


WORLDS = [
    case("ale_py", "ALE/Pong-v5", "auto", SHORT_GAME, "ale"),
    case("ale_py", "ALE/Pong-v5", "vector_entry_point", SHORT_GAME, "ale"),
    case("ale_py", "ALE/Pong-v5", "sync", SHORT_GAME, "sync"),
    case("ale_py", "ALE/Pong-v5", "async", SHORT_GAME, "async"),
    case("envpool", "ALE/Pong-v5", "envpool", {"max_episode_steps": 20}, "envpool"),
    case("envpool", "CartPole-v1", "envpool", {}, "envpool"),
    case("minatar", "MinAtar/Breakout-v1", "auto", {}, "sync"),
    case("mujoco", "HalfCheetah-v5", "auto", {}, "mujoco"),
    case("mujoco", "HalfCheetah-v5", "vector_entry_point", {}, "mujoco"),
    case("mujoco", "HalfCheetah-v5", "sync", {}, "sync"),
    case("mujoco", "Pusher-v5", "auto", {}, "sync"),
    case("Box2D", "LunarLander-v3", "auto", {}, "sync"),
    case("gymnasium", "CartPole-v1", "auto", {}, "vector_entry_point"),
    case("gymnasium", "Pendulum-v1", "auto", {}, "sync"),
]


@pytest.mark.parametrize(("env_id", "mode", "config", "backend"), WORLDS)
def test_steps_are_alike(env_id, mode, config, backend):
    env = make_vector_env(env_id, 2, mode, config)
    try:
        assert (env.backend, choose_backend(env_id, mode)) == (backend, backend)
        assert probe_spaces(env_id, config, mode) == (env.observation_space, env.action_space)
        check_steps(env, env.reset(seed=1))
    finally:
        env.close()


def check_steps(env, first):
    space, next_step = env.observation_space, isinstance(env, NextStepEnv)
    batch, ended = (2, *space.shape), np.zeros(2, bool)
    assert (first.shape, first.dtype) == (batch, space.dtype)
    env.env.action_space.seed(0)
    for _ in range(60):
        step = env.step(env.env.action_space.sample())
        assert (step.obs.shape, step.obs.dtype, step.reward.dtype) == (batch, space.dtype, "f4")
        assert step.is_reset_row.tolist() == (ended & next_step).tolist()
        assert not step.reward[step.is_reset_row].any()
        ended = step.terminated | step.truncated
        assert (step.final_obs is not None) == ended.any()


# Atari.


@needs("ale_py")
def test_a_game_is_the_same_whatever_steps_it():
    """The games are cut after 20 steps, so that seeds, resets and last observations count too."""
    envs = [make_vector_env("ALE/Breakout-v5", 2, mode, SHORT_GAME) for mode in ("ale", "sync")]
    try:
        vector, single = (env.reset(seed=7) for env in envs)
        np.testing.assert_array_equal(vector, single)
        for actions in np.random.default_rng(0).integers(0, 4, (50, 2)):
            vector, single = (env.step(actions) for env in envs)
            for name in ("obs", "reward", "terminated", "truncated", "final_obs"):
                np.testing.assert_array_equal(getattr(vector, name), getattr(single, name))
    finally:
        for env in envs:
            env.close()


@needs("ale_py")
@pytest.mark.parametrize("mode", ["ale", "sync"])
def test_a_game_that_is_cut_is_truncated(mode):
    env = make_vector_env("ALE/Pong-v5", 1, mode, SHORT_GAME)
    env.reset(seed=0)
    steps = [env.step(np.zeros(1, np.int64)) for _ in range(20)]
    env.close()
    assert [bool(step.truncated[0]) for step in steps] == [False] * 19 + [True]
    assert not any(step.terminated[0] for step in steps)
    assert np.abs(steps[-1].final_obs - steps[-1].obs).any()


def lives_and_ends(vector, num_steps=400):
    """Lives of one game, and whether it ended, step by step."""
    vector.reset(seed=0)
    rows = []
    for action in np.random.default_rng(0).integers(0, 4, (num_steps, 1)):
        _, _, terminated, truncated, info = vector.step(action)
        rows.append((int(info["lives"][0]), bool(terminated[0] or truncated[0])))
    vector.close()
    return rows


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            lambda **config: make_atari_vector("breakout", 1, config, AutoresetMode.NEXT_STEP),
            marks=needs("ale_py"),
            id="ale",
        ),
        pytest.param(
            lambda **config: EnvPoolBackend("ALE/Breakout-v5", 1, config),
            marks=needs("envpool"),
            id="envpool",
        ),
    ],
)
def test_a_life_that_is_lost_ends_no_episode_unless_that_is_asked_for(make):
    rows = lives_and_ends(make())
    lost = [now for (before, _), (now, _) in pairwise(rows) if now < before]
    assert len(lost) > 4
    assert all(lives == 0 for lives, ended in rows if ended)
    assert any(lives > 0 for lives, ended in lives_and_ends(make(episodic_life=True)) if ended)


@needs("ale_py")
def test_settings_of_a_game_can_be_changed():
    config = {"img_height": 42, "img_width": 40, "stack_num": 2, "full_action_space": True}
    for mode in ("ale", "sync"):
        spaces = probe_spaces("ALE/Pong-v5", config, mode)
        assert (spaces.observation.shape, spaces.action.n) == ((2, 42, 40), 18)
    with pytest.raises(EnvSetupError, match="unexpected keyword argument 'frame_skip'"):
        make_vector_env("ALE/Pong-v5", 1, "auto", {"frame_skip": 2})


@needs("ale_py")
def test_a_game_leaves_no_trace_in_other_vector_environments():
    """ALE notes its mode in the class of all of them."""
    modes = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]
    games = [make_atari_vector("pong", 1, {}, mode) for mode in modes]
    assert [game.metadata["autoreset_mode"] for game in games] == modes
    assert "autoreset_mode" not in gym.vector.VectorEnv.metadata
    for game in games:
        game.close()


# EnvPool.


@needs("envpool")
def test_a_pool_has_the_seed_of_its_reset():
    env = make_vector_env("CartPole-v1", 2, "envpool")
    first, again, other = env.reset(1), env.reset(1), env.reset(2)
    env.close()
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[0] != first[1]).any()


@needs("envpool")
def test_a_pool_tells_an_end_from_a_cut():
    env = make_vector_env("CartPole-v1", 2, "envpool", {"max_episode_steps": 5})
    env.reset(0)
    steps = [env.step(np.zeros(2, np.int64)) for _ in range(6)]
    env.close()
    assert [step.truncated.all() for step in steps] == [False] * 4 + [True, False]
    assert not any(step.terminated.any() for step in steps)
    assert steps[5].is_reset_row.all()


def test_the_single_ones_are_reached_where_there_are_any():
    env = make_vector_env("CartPole-v1", 2, "sync")
    assert env.get_attr("gravity") == (9.8, 9.8)
    env.set_attr("gravity", [1.0, 2.0])
    assert env.get_attr("gravity") == (1.0, 2.0)
    assert len(env.call("reset")) == 2
    assert env.single_action_space == env.action_space
    assert env.single_observation_space == env.observation_space
    env.close()
    env = make_vector_env("CartPole-v1", 2, "vector_entry_point")
    with pytest.raises(AttributeError, match=r"steps all environments as one, so that .* get_attr"):
        env.get_attr("gravity")
    env.close()


@needs("envpool")
@pytest.mark.parametrize(
    ("env", "config", "message"),
    [
        ("CartPol-v1", {}, "EnvPool has no environment 'CartPol-v1'; did you mean 'CartPole-v1'"),
        ("Zaxxonian", {}, "use gym_env_vectorize_mode 'auto'"),
        ("CartPole-v1", {"gravity": 1}, "cannot make 'CartPole-v1' with .*'gravity'"),
        (CounterEnv, {}, "makes environments by id"),
    ],
)
def test_what_no_pool_can_have_is_refused(env, config, message):
    with pytest.raises(EnvSetupError, match=message):
        make_vector_env(env, 1, "envpool", config)


# What is not there.


def test_only_atari_games_are_made_by_ale():
    with pytest.raises(EnvSetupError, match="'CartPole-v1' is no Atari game"):
        choose_backend("CartPole-v1", "ale")


@pytest.mark.parametrize(
    ("env_id", "mode", "module", "extra"),
    [
        ("ALE/Pong-v5", "auto", "ale_py.vector_env", "atari"),
        ("CartPole-v1", "envpool", "envpool", "envpool"),
        ("MinAtar/Breakout-v1", "auto", "minatar.gym", "minatar"),
        ("HalfCheetah-v5", "sync", "mujoco", "mujoco"),
        ("LunarLander-v3", "sync", "Box2D", "box2d"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    env_id, mode, module, extra, monkeypatch
):
    known = {key: spec for key, spec in gym.registry.items() if "/" not in key}
    monkeypatch.setattr(gym, "registry", known)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EnvSetupError) as caught:
        make_vector_env(env_id, 1, mode)
    assert f'pip install "rllib-scale[{extra}]"' in str(caught.value)
    assert repr(env_id) in str(caught.value)
