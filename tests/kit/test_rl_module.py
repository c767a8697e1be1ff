"""The torch module and its numpy twin are one policy."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.config_sections import ModelConfig
from rllib.errors import ConfigError
from rllib.policy import MLPPolicy
from rllib.rl_module import MLPModule

BOX_OBS = gym.spaces.Box(-1, 1, (2, 3), np.float64)
ONE_HOT_OBS = gym.spaces.Discrete(4, start=-1)
DISCRETE = gym.spaces.Discrete(3)
BOX = gym.spaces.Box(-2, 2, (2,), np.float32)


def spread(module):
    """Weights of order one, so that clipping and activations have something to do."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def observations(space, count=9):
    space.seed(1)
    return np.stack([space.sample() for _ in range(count)])


@pytest.mark.parametrize("obs_space", [BOX_OBS, ONE_HOT_OBS], ids=["box", "one-hot"])
@pytest.mark.parametrize("action_space", [DISCRETE, BOX], ids=["discrete", "continuous"])
@pytest.mark.parametrize(
    "settings",
    [
        {"fcnet_hiddens": (8, 5)},
        {"fcnet_hiddens": (8,), "fcnet_activation": "relu", "vf_share_layers": True},
        {"fcnet_hiddens": (), "fcnet_activation": "linear"},
        {"fcnet_hiddens": (8,), "fcnet_activation": "silu", "free_log_std": False},
        {"fcnet_hiddens": (8,), "free_log_std": False, "log_std_clip_param": 0.1},
    ],
)
def test_numpy_acts_as_torch_does(obs_space, action_space, settings):
    model = ModelConfig(**settings)
    torch.manual_seed(0)
    module = spread(MLPModule(obs_space, action_space, model))
    policy = MLPPolicy(obs_space, action_space, model)
    policy.set_weights({name: w.numpy() for name, w in module.policy_state().items()})
    obs = observations(obs_space)
    features = module.encode(obs)
    expected = module.forward_exploration(features).detach().numpy()
    np.testing.assert_allclose(policy.dist_inputs(obs), expected, atol=1e-5)
    assert policy.dist_inputs(obs).dtype == np.float32
    output = module.forward_train(features)
    torch.testing.assert_close(output.action_dist_inputs.detach(), torch.from_numpy(expected))
    torch.testing.assert_close(output.values, module.compute_values(features))


def test_weights_are_copied_not_shared():
    module = MLPModule(BOX_OBS, DISCRETE, ModelConfig(fcnet_hiddens=(4,)))
    policy = MLPPolicy(BOX_OBS, DISCRETE, ModelConfig(fcnet_hiddens=(4,)))
    policy.set_weights({name: w.numpy() for name, w in module.policy_state().items()})
    obs = observations(BOX_OBS)
    before = policy.dist_inputs(obs)
    spread(module)
    np.testing.assert_array_equal(policy.dist_inputs(obs), before)


def test_the_value_function_is_no_part_of_what_acting_needs():
    module = MLPModule(BOX_OBS, DISCRETE, ModelConfig(fcnet_hiddens=(4,)))
    assert module.policy_state().keys() == {
        "encoder.0.weight",
        "encoder.0.bias",
        "pi.weight",
        "pi.bias",
    }


def test_at_first_the_policy_is_nearly_uniform():
    module = MLPModule(BOX_OBS, DISCRETE, ModelConfig())
    inputs = module.forward_inference(module.encode(observations(BOX_OBS)))
    assert inputs.abs().max() < 0.1


def test_act_greedily_and_exploring():
    module = spread(MLPModule(BOX_OBS, BOX, ModelConfig(fcnet_hiddens=(4,))))
    obs = observations(BOX_OBS)
    greedy = module.act(obs)
    assert all(BOX.contains(action) for action in greedy)
    np.testing.assert_array_equal(greedy, module.act(obs))
    explored = [module.act(obs, np.random.default_rng(5), explore=True) for _ in range(2)]
    np.testing.assert_array_equal(*explored)
    assert not np.array_equal(explored[0], greedy)
    with pytest.raises(ValueError, match="pass rng"):
        module.act(obs, explore=True)


def test_acting_without_weights_says_what_is_missing():
    with pytest.raises(RuntimeError, match="set_weights"):
        MLPPolicy(BOX_OBS, DISCRETE, ModelConfig()).dist_inputs(observations(BOX_OBS))


def test_weights_of_another_network_are_refused():
    policy = MLPPolicy(BOX_OBS, DISCRETE, ModelConfig(fcnet_hiddens=(4, 4)))
    module = MLPModule(BOX_OBS, DISCRETE, ModelConfig(fcnet_hiddens=(4,)))
    with pytest.raises(ValueError, match=r"\['encoder\.1'\] missing"):
        policy.set_weights({name: w.numpy() for name, w in module.policy_state().items()})


def test_an_observation_space_without_encoding_is_refused():
    space = gym.spaces.Dict({"a": BOX_OBS})
    with pytest.raises(ConfigError, match="not supported"):
        MLPModule(space, DISCRETE, ModelConfig())
