"""State of environments: what can be had is exact, what cannot is said."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rllib.envs.counter import CounterEnv
from rllib.envs.make import make_vector_env
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


def test_where_state_cannot_be_had_it_is_none_and_setting_it_is_refused():
    env = make_vector_env("Pendulum-v1", 2)
    assert get_env_state(env) is None
    with pytest.raises(TypeError, match="cannot be restored"):
        set_env_state(env, {})
    env.close()
