"""State of environments: what can be had is exact, what cannot is said."""

from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control import PendulumEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rllib.checkpoints.checkpoint import load, save
from rllib.envs.counter import CounterEnv
from rllib.envs.make import make_vector_env
from rllib.envs.single_state import StateMisfitError
from rllib.envs.snapshot import get_env_state, set_env_state
from rllib.envs.vector import adapt


def rollout(env, num_steps=60):
    """Pushing always to one side ends an episode about every ten steps."""
    steps = [env.step(np.ones(env.num_envs, np.int64)) for _ in range(num_steps)]
    return [(s.obs.tolist(), s.terminated.tolist(), s.is_reset_row.tolist()) for s in steps]


@pytest.mark.parametrize("num_steps", range(8, 14))
def test_cartpole_goes_on_exactly_wherever_it_was_saved(num_steps):
    env, heir = make_vector_env("CartPole-v1", 3), make_vector_env("CartPole-v1", 3)
    env.reset(seed=1)
    heir.reset(seed=2)
    rollout(env, num_steps)
    state = get_env_state(env)
    expected = rollout(env)
    set_env_state(heir, state)
    assert heir.num_steps == num_steps
    assert rollout(heir) == expected


def test_a_saved_state_does_not_change_with_the_environment():
    env = make_vector_env("CartPole-v1", 3)
    env.reset(seed=1)
    state = get_env_state(env)
    kept = state["env"]["state"].copy()
    rollout(env)
    np.testing.assert_array_equal(state["env"]["state"], kept)


class RestorableCounter(SyncVectorEnv):
    def get_state(self):
        return {"places": [[env.episode, env.t] for env in self.envs]}

    def set_state(self, state):
        for env, (episode, t) in zip(self.envs, state["places"], strict=True):
            env.episode, env.t = episode, t


def test_an_environment_may_offer_its_state_itself():
    def make():
        env = adapt(RestorableCounter([CounterEnv] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
        env.reset(seed=0)
        return env

    env, heir = make(), make()
    rollout(env, 4)
    set_env_state(heir, get_env_state(env))
    assert rollout(heir, 7) == rollout(env, 7)


class UnknownWrapper(gym.Wrapper):
    """Has something of its own, of which nobody knows whether it changes."""

    def __init__(self, env):
        super().__init__(env)
        self.scale = 2.0


class PlainWrapper(gym.RewardWrapper):
    """Has nothing of its own."""

    def reward(self, reward):
        return -reward


class Derived(PendulumEnv):
    """May have more than what it is derived from."""


@pytest.mark.parametrize("make", [lambda: UnknownWrapper(CounterEnv()), Derived])
def test_where_state_cannot_be_had_it_is_none_and_setting_it_is_refused(make):
    env = make_vector_env(make, 2, "sync")
    assert get_env_state(env) is None
    with pytest.raises(StateMisfitError, match=r"state of .*CounterEnv, not"):
        set_env_state(env, get_env_state(make_vector_env(CounterEnv, 2, "sync")))
    env.close()


def random_rollout(env, num_steps, seed):
    rng = np.random.default_rng(seed)
    whole = range(num_steps * env.num_envs)
    space = env.action_space
    if isinstance(space, gym.spaces.Discrete):
        actions = np.array([rng.integers(space.n) for _ in whole])
    else:
        actions = rng.uniform(-1, 1, (len(whole), *space.shape)).astype(np.float32)
    steps = [env.step(each) for each in actions.reshape(num_steps, env.num_envs, *space.shape)]
    return [(s.obs.tobytes(), s.reward.tolist(), s.terminated.tolist()) for s in steps]


def framed():
    return PlainWrapper(gym.wrappers.FrameStackObservation(gym.make("Acrobot-v1"), 3))


SINGLE = [
    *(
        "CartPole-v1",
        "rllib.envs.stateless_cartpole:StatelessCartPole-v0",
        "Pendulum-v1",
        "Acrobot-v1",
        "MountainCar-v0",
    ),
    *("MountainCarContinuous-v0", "FrozenLake-v1", "CliffWalking-v1", "Taxi-v4", "Blackjack-v1"),
    *("rllib.envs.masked_walk:MaskedWalk-v0", framed, CounterEnv),
]


@pytest.mark.parametrize("env_id", SINGLE)
@pytest.mark.parametrize("restart_after_s", [None, 30.0])
def test_single_environments_go_on_exactly_amid_an_episode(env_id, restart_after_s, tmp_path):
    env, heir = (make_vector_env(env_id, 2, "sync", restart_after_s=restart_after_s) for _ in "12")
    env.reset(seed=1)
    heir.reset(seed=7)
    random_rollout(env, 77, seed=0)
    random_rollout(heir, 5, seed=0)
    save(tmp_path / "saved", get_env_state(env), metadata={})
    state, _ = load(tmp_path / "saved")
    expected = random_rollout(env, 300, seed=1)
    set_env_state(heir, state)
    assert random_rollout(heir, 300, seed=1) == expected


@pytest.mark.parametrize("game", ["Breakout", "Asterix", "Freeway", "Seaquest", "SpaceInvaders"])
def test_games_of_minatar_go_on_exactly(game, tmp_path):
    pytest.importorskip("minatar", reason="MinAtar is not installed")
    make = f"minatar.gym:MinAtar/{game}-v1"
    test_single_environments_go_on_exactly_amid_an_episode(make, None, tmp_path)


@pytest.mark.parametrize("restart_after_s", [None, 30.0])
def test_processes_take_over_from_environments_of_one_and_back(restart_after_s):
    modes = ("sync", "async", "sync")
    envs = [make_vector_env("Pendulum-v1", 2, m, restart_after_s=restart_after_s) for m in modes]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
        random_rollout(env, 150, seed)
    for env, heir in pairwise(envs):
        set_env_state(heir, get_env_state(env))
        assert random_rollout(heir, 100, seed=9) == random_rollout(env, 100, seed=9)
    for env in envs:
        env.close()


def test_after_a_row_that_is_next_to_be_a_reset():
    env, heir = (
        make_vector_env(CounterEnv, 2, "sync", autoreset_mode=AutoresetMode.NEXT_STEP)
        for _ in range(2)
    )
    env.reset(seed=1)
    heir.reset(seed=2)
    rollout(env, 3)
    set_env_state(heir, get_env_state(env))
    assert rollout(heir, 9) == rollout(env, 9)


class Told(CounterEnv):
    """Tells its own state, in its own way."""

    said = None

    def get_state(self):
        return self.said or {"at": [self.episode, self.t]}

    def set_state(self, state):
        self.episode, self.t = state["at"]


def test_what_a_single_environment_offers_is_taken():
    env, heir = (make_vector_env(lambda: UnknownUnder(Told()), 2, "sync") for _ in range(2))
    env.reset(seed=0)
    heir.reset(seed=0)
    rollout(env, 4)
    state = get_env_state(env)
    assert state["env"]["singles"][0]["parts"][-1]["is"] == {"at": [1, 1]}
    set_env_state(heir, state)
    assert rollout(heir, 7) == rollout(env, 7)


class UnknownUnder(gym.ObservationWrapper):
    def observation(self, observation):
        return observation


def test_what_is_offered_but_is_no_state_tree_is_told_of_and_left():
    env = make_vector_env(Told, 1, "sync")
    env.reset(seed=0)
    env.env.envs[0].unwrapped.said = {"handle": object()}
    with pytest.warns(RuntimeWarning, match="get_state.. of .*Told has object, which is no array"):
        assert get_env_state(env) is None
