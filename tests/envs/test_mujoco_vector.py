"""The vector MuJoCo tasks are gymnasium's, number by number."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rllib.envs.faults import EnvFault, EnvSetupError
from rllib.envs.make import choose_backend, make_vector_env
from rllib.envs.snapshot import get_env_state, set_env_state

pytest.importorskip("mujoco")

MODES = [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED]
SHORT = {"max_episode_steps": 50}
ENDLESS = {"terminate_when_unhealthy": False, "exclude_current_positions_from_observation": False}
OTHER_BODY = {"main_body": "front_left_leg", "include_cfrc_ext_in_observation": False}
CASES = [
    ("HalfCheetah-v5", {}),
    ("HalfCheetah-v5", {"ctrl_cost_weight": 1, "forward_reward_weight": 2, "frame_skip": 2}),
    ("HalfCheetah-v5", {"exclude_current_positions_from_observation": False}),
    ("Swimmer-v5", {}),
    ("Swimmer-v5", {"exclude_current_positions_from_observation": False, "reset_noise_scale": 1.0}),
    ("Hopper-v5", {}),
    ("Hopper-v5", ENDLESS | {"healthy_state_range": [-3, 3], "healthy_reward": 2}),
    ("Walker2d-v5", {}),
    ("Walker2d-v5", ENDLESS),
    ("Ant-v5", {}),
    ("Ant-v5", {"healthy_z_range": [0.4, 0.7], "contact_cost_weight": 0.5}),
    ("Ant-v5", ENDLESS | OTHER_BODY | {"contact_force_range": [-0.5, 2]}),
]


@pytest.fixture(autouse=True)
def log_of_mujoco_goes_elsewhere(tmp_path, monkeypatch):
    """Its warnings are appended to a file in the working directory."""
    monkeypatch.chdir(tmp_path)


def both(env_id, num_envs, config=SHORT, mode=AutoresetMode.SAME_STEP):
    """Gymnasium's, and ours."""
    makers = [lambda: gym.make(env_id, **config)] * num_envs
    ours = make_vector_env(env_id, num_envs, "auto", config, mode)
    assert ours.backend == "mujoco"
    return SyncVectorEnv(makers, autoreset_mode=mode), ours.env


def actions_for(env, num_steps, seed=2):
    """More than what is allowed, now and then."""
    rng = np.random.default_rng(seed)
    high = env.single_action_space.high * 1.2
    shape = (num_steps, *env.action_space.shape)
    return (rng.uniform(-1, 1, shape) * high).astype(np.float32)


def assert_same(theirs, ours):
    for their, our in zip(theirs, ours, strict=True):
        np.testing.assert_array_equal(our, their)
        assert (our.dtype, our.shape) == (their.dtype, their.shape)


def final_obs(info):
    """By environment; empty where no episode ended."""
    known = info.get("_final_obs", ())
    return {i: info["final_obs"][i].tolist() for i in np.flatnonzero(known).tolist()}


def play(envs, actions):
    """Step both, comparing; returns how often episodes were terminated and truncated."""
    seen = np.zeros(2, int)
    for action in actions:
        theirs, ours = (env.step(action) for env in envs)
        assert_same(theirs[:4], ours[:4])
        assert final_obs(theirs[4]) == final_obs(ours[4])
        done = theirs[2] | theirs[3]
        seen += [theirs[2].sum(), theirs[3].sum()]
        if envs[1].autoreset_mode is AutoresetMode.DISABLED and done.any():
            fresh = [env.reset(options={"reset_mask": done.copy()}) for env in envs]
            assert_same([fresh[0][0]], [fresh[1][0]])
    return seen


@pytest.mark.parametrize(("env_id", "config"), CASES)
def test_every_step_is_that_of_gymnasium(env_id, config):
    envs = both(env_id, 3, config | SHORT)
    resets = [env.reset(seed=5) for env in envs]
    assert_same([resets[0][0]], [resets[1][0]])
    assert resets[0][1].keys() == resets[1][1].keys()
    terminated, truncated = play(envs, actions_for(envs[0], 200))
    if env_id in ("HalfCheetah-v5", "Swimmer-v5") or config.keys() & ENDLESS.keys():
        assert (terminated, truncated) == (0, 3 * 4)
    else:
        assert terminated > 2
    for env in envs:
        env.close()


@pytest.mark.parametrize("mode", MODES, ids=[mode.name for mode in MODES])
def test_autoreset_and_a_second_reset_are_those_of_gymnasium(mode):
    envs = both("Hopper-v5", 5, {"max_episode_steps": 20}, mode)
    for seed in (1, [7, 5, None, 3, 1]):
        resets = [env.reset(seed=seed)[0] for env in envs]
        for row in [0, 1, 3, 4]:
            np.testing.assert_array_equal(resets[0][row], resets[1][row])
        if seed == 1:
            terminated, truncated = play(envs, actions_for(envs[0], 150))
            assert min(terminated, truncated) > 5


@pytest.mark.parametrize("num_envs", [1, 2, 9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_sum_over_an_action_does_not_depend_on_how_many_there_are(num_envs, dtype):
    envs = both("Ant-v5", num_envs)
    for env in envs:
        env.reset(seed=3)
    actions = actions_for(envs[0], 8).astype(dtype)
    play(envs, actions)
    play(envs, np.asfortranarray(actions))


def test_an_episode_has_a_thousand_steps():
    envs = both("HalfCheetah-v5", 1, {})
    for env in envs:
        env.reset(seed=0)
    assert play(envs, actions_for(envs[0], 1000))[1] == 1
    assert envs[1].steps.tolist() == [0]


def test_actions_that_are_no_numbers_come_to_what_they_come_to_in_gymnasium():
    envs = both("HalfCheetah-v5", 2)
    for env in envs:
        env.reset(seed=0)
    actions = actions_for(envs[0], 10)
    actions[4, 0, 2], actions[6, 1, 0] = np.nan, np.inf
    with np.errstate(all="ignore"):
        play(envs, actions)


def test_actions_of_a_wrong_shape_are_refused():
    env = make_vector_env("HalfCheetah-v5", 2)
    env.reset(seed=0)
    for shape in [(2, 5), (3, 6), (6,)]:
        with pytest.raises(EnvFault, match=r"shape .*; they should be of \(2, 6\)"):
            env.step(np.zeros(shape, np.float32))


def test_attributes_are_not_set_in_vain():
    env = make_vector_env("HalfCheetah-v5", 2)
    with pytest.raises(AttributeError, match="gym_env_vectorize_mode 'sync'"):
        env.env.set_attr("_ctrl_cost_weight", 0)


@pytest.mark.parametrize(
    "config",
    [
        {"render_mode": "rgb_array"},
        {"disable_env_checker": True},
        {"max_episode_steps": -1},
        {"healthy_reward": 2.0},
    ],
)
def test_what_is_not_known_here_is_left_to_gymnasium(config):
    assert choose_backend("HalfCheetah-v5", "auto", config) == "sync"
    with pytest.raises(EnvSetupError, match="no vector entry point"):
        choose_backend("HalfCheetah-v5", "vector_entry_point", config)


def test_settings_of_a_registered_variant_hold():
    spec = gym.spec("Hopper-v5")
    name = "CheapHopper-v0"
    gym.register(name, spec.entry_point, max_episode_steps=7, kwargs={"ctrl_cost_weight": 0.0})
    try:
        envs = both(name, 2, {"healthy_reward": 3.0})
        for env in envs:
            env.reset(seed=1)
        assert play(envs, actions_for(envs[0], 20))[1] == 4
        assert envs[1].settings["ctrl_cost_weight"] == 0.0
    finally:
        del gym.registry[name]


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Ant-v5", "Walker2d-v5"])
@pytest.mark.parametrize("mode", MODES[:2], ids=[mode.name for mode in MODES[:2]])
def test_it_goes_on_exactly_wherever_it_was_saved(env_id, mode):
    envs = [make_vector_env(env_id, 3, "auto", {"max_episode_steps": 37}, mode) for _ in range(2)]
    for seed, env in enumerate(envs):
        env.reset(seed)
        for action in actions_for(env.env, 37 + 10 * seed, seed):
            env.step(action)
    state = get_env_state(envs[0])
    expected = rollout(envs[0])
    set_env_state(envs[1], state)
    for theirs, ours in zip(expected, rollout(envs[1]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def rollout(env):
    steps = [env.step(action) for action in actions_for(env.env, 90)]
    return [
        np.stack([getattr(step, name) for step in steps])
        for name in ("obs", "reward", "terminated", "truncated", "is_reset_row")
    ]
