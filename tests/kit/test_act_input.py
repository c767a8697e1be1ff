"""What a module is asked to act on is looked at before; errors name field, value and fix."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

from rllib.algorithms.ppo import PPOConfig
from rllib.config.sections import ModelConfig
from rllib.errors import InputError
from rllib.modules.actor_critic import ActorCriticModule

SMALL = ModelConfig(fcnet_hiddens=(4,))
PLAIN = Box(-1, 1, (3,), np.float32)
MASKED = Dict(action_mask=Box(0, 1, (5,), np.float32), x=Box(-1, 1, (2,), np.float32))
CHOICE = Discrete(2)
TWO = MultiDiscrete([2, 3])


def module(space=PLAIN, actions=CHOICE):
    return ActorCriticModule(space, actions, model_config=SMALL)


def masked(mask, num=1):
    return {"action_mask": np.float32([mask] * num), "x": np.zeros((num, 2), np.float32)}


@pytest.mark.parametrize(
    ("space", "obs", "field", "message"),
    [
        (PLAIN, np.zeros(3, np.float32), "obs", r"obs is one observation.*batch.*obs\[None\]"),
        (PLAIN, [0.0, 1.0, 0.0], "obs", "one observation.*batch"),
        (Discrete(4), 2, "obs", "one observation.*batch"),
        (Dict(n=Discrete(4)), {"n": 2}, "obs", "one observation.*batch"),
        (PLAIN, np.zeros((2, 4), np.float32), "obs", r"shape \(2, 4\).*shape \(2, 3\)"),
        (PLAIN, np.zeros((2, 2, 3), np.float32), "obs", r"shape \(2, 2, 3\)"),
        (PLAIN, np.float32([[0, 0, 0], [0, np.nan, 0]]), "obs", r"obs\[1\]\[1\] = nan.*finite"),
        (Dict(a=PLAIN), {"a": np.float32([[np.inf, 0, 0]])}, "obs['a']", "= inf"),
        (Discrete(4), np.array([1, 4]), "obs", r"obs\[1\] = 4.*bounds \[0, 3\]"),
        (Dict(a=PLAIN), {"b": np.zeros((2, 3))}, "obs['a']", r"no obs\['a'\]"),
        (Box(0, 255, (2,), np.uint8), np.full((1, 2), 0.5), "obs", "dtype uint8"),
    ],
)
def test_observations_that_cannot_be_acted_on_are_named(space, obs, field, message):
    with pytest.raises(InputError, match=message) as caught:
        module(space).act(obs)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[1, 1, 1, 1]] * 2, r"mask is of shape \(2, 4\).*shape \(2, 5\)"),
        ([1, 1, 1, 1, 1], r"mask is of shape \(5,\).*shape \(2, 5\)"),
        ([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], r"mask\[1\] forbids every action in .*dimension 1"),
        ([[1, 1, 1, 1, 1], [1, 0.5, 1, 1, 1]], r"mask\[1\]\[1\] = 0.5.*1 for what is allowed"),
    ],
)
def test_masks_that_cannot_be_obeyed_are_named(mask, message):
    with pytest.raises(InputError, match=message) as caught:
        module(PLAIN, TWO).act(np.zeros((2, 3), np.float32), mask=np.array(mask))
    assert caught.value.field == "mask"


def test_the_observations_own_mask_is_looked_at_too():
    act = module(MASKED, TWO).act
    assert act(masked([0, 1, 0, 0, 1])).tolist() == [[1, 2]]
    with pytest.raises(
        InputError, match=r"obs\['action_mask'\]\[1\] forbids every action"
    ) as fault:
        act(
            masked([0, 0, 1, 1, 1], num=2) | {"action_mask": np.float32([[1] * 5, [0, 0, 1, 1, 1]])}
        )
    assert fault.value.field == "obs['action_mask']"
    with pytest.raises(InputError, match=r"obs\['action_mask'\]\[0\]\[2\] = 0.25"):
        act(masked([1, 1, 0.25, 1, 1]))
    with pytest.raises(InputError, match=r"mask\[0\] forbids every action .*with obs"):
        act(masked([0, 1, 1, 1, 1]), mask=np.int8([[1, 0, 1, 1, 1]]))


def test_actions_that_cannot_be_masked_take_no_mask():
    with pytest.raises(InputError, match=r"Box.*cannot be masked"):
        module(PLAIN, PLAIN).act(np.zeros((1, 3), np.float32), mask=np.ones((1, 3)))


class Still(gym.Env):
    observation_space, action_space = Dict(a=PLAIN, n=Discrete(3)), Discrete(2)

    def __init__(self, config):
        pass

    def reset(self, *, seed=None, options=None):
        return {"a": np.zeros(3, np.float32), "n": 0}, {}


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"a": np.float32([0, np.nan, 0])}, "obs['a']", r"obs\['a'\]\[1\] = nan.*finite"),
        ({"n": 3}, "obs['n']", r"obs\['n'\] = 3.*bounds \[0, 2\]"),
        ({"a": np.zeros(4)}, "obs['a']", r"obs\['a'\] is of shape \(4,\)"),
        ({"a": np.float64([1e200, 0, 0])}, "obs['a']", r"1e\+200.*float32 cannot hold"),
    ],
)
def test_a_single_observation_likewise(change, field, message):
    config = PPOConfig().environment(Still).rl_module(model_config={"fcnet_hiddens": (4,)})
    with config.env_runners(num_env_runners=0).build_algo() as algo:
        with pytest.raises(InputError, match=message) as caught:
            algo.compute_single_action({"a": np.zeros(3, np.float32), "n": 0} | change)
        assert caught.value.field == field
