"""An environment that raises, dies or returns NaN is named with its place and its own words."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from rllib.envs.counter import CounterEnv
from rllib.envs.faults import EnvFault, check_finite
from rllib.envs.make import make_vector_env

BACKENDS = [(mode, autoreset) for mode in ("sync", "async") for autoreset in AutoresetMode]


class FailsInThird(CounterEnv):
    """Fails only as the third environment that a process, or this process, has made."""

    made = 0

    def __init__(self, config):
        super().__init__(config)
        FailsInThird.made += 1
        if FailsInThird.made != config["fail_as"]:
            self.fail_at = None


def step_for(env, num_steps):
    for _ in range(num_steps):
        env.step(np.zeros(env.num_envs, np.int64))


@pytest.mark.parametrize(("mode", "autoreset"), BACKENDS)
def test_an_env_that_raises_is_named_with_its_own_traceback(mode, autoreset):
    FailsInThird.made = 0
    # The async backend makes one environment in this process to read its spaces, then forks.
    fail_as = 3 if mode == "sync" else 2
    env = make_vector_env(FailsInThird, 3, mode, {"fail_at": 5, "fail_as": fail_as}, autoreset)
    try:
        env.reset(seed=0)
        with pytest.raises(EnvFault) as caught:
            step_for(env, 9)
    finally:
        env.close()
    assert caught.value.env_index == (2 if mode == "sync" else 0)
    assert caught.value.step == 5
    assert "ZeroDivisionError" in str(caught.value)
    assert "the counter fails here on purpose" in str(caught.value)
    assert "counter.py" in str(caught.value)


def test_a_dead_worker_process_is_named_with_its_signal():
    env = make_vector_env(CounterEnv, 2, "async", {"kill_at": 1})
    env.reset(seed=0)
    with pytest.raises(EnvFault, match="killed by signal 9"):
        env.step(np.zeros(2, np.int64))
    env.close()
    env.close()


def test_a_vector_entry_point_that_raises_is_named():
    env = make_vector_env("CartPole-v1", 2)
    with pytest.raises(EnvFault, match=r"AssertionError in step.*Call reset before"):
        env.step(np.array([0, 1]))


def test_the_fault_survives_pickling():
    fault = EnvFault("text", env_index=3, step=7, field="obs", value=1.5)
    twin = pickle.loads(pickle.dumps(fault))
    assert (str(twin), twin.env_index, twin.step, twin.field, twin.value) == (
        "text",
        3,
        7,
        "obs",
        1.5,
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonfinite_values_are_located(bad):
    values = np.zeros((4, 3, 2), np.float32)
    values[2, 1, 1] = bad
    with pytest.raises(
        EnvFault, match=r"environment 1 returned obs\[1\] = .* at vector step 12"
    ) as caught:
        check_finite("obs", values, first_step=10)
    assert (caught.value.env_index, caught.value.step, caught.value.field) == (1, 12, "obs")
    np.testing.assert_equal(caught.value.value, bad)


def test_integers_are_always_finite():
    check_finite("obs", np.full((2, 2), 255, np.uint8), 0)
    assert isinstance(gym.spaces.Discrete(2), gym.Space)
