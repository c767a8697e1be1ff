"""The torch module and its numpy twin are one policy."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.actor_critic import ActorCriticModule
from rllib.config_sections import ModelConfig
from rllib.errors import ConfigError

BOX_OBS = gym.spaces.Box(-1, 1, (2, 3), np.float64)
ONE_HOT_OBS = gym.spaces.Discrete(4, start=-1)
DISCRETE = gym.spaces.Discrete(3)
BOX = gym.spaces.Box(-2, 2, (2,), np.float32)

SMALL = ModelConfig(fcnet_hiddens=(4,))


def make_policy(model):
    return ActorCriticModule.make_policy(BOX_OBS, DISCRETE, model)


def dist_inputs(module, obs):
    output = module.forward_exploration({"obs": module.encode(obs)})
    return output["action_dist_inputs"].detach().numpy()


def spread(module):
    """Weights of order one, so that clipping and activations have something to do."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def observations(space, count=9):
    space.seed(1)
    return np.stack([space.sample() for _ in range(count)])


@pytest.mark.parametrize("obs_space", [BOX_OBS, ONE_HOT_OBS], ids=["box", "one-hot"])
@pytest.mark.parametrize(
    "action_space",
    [DISCRETE, BOX, gym.spaces.Tuple([DISCRETE, BOX])],
    ids=["discrete", "continuous", "both"],
)
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
    module = spread(ActorCriticModule(obs_space, action_space, model_config=model))
    policy = ActorCriticModule.make_policy(obs_space, action_space, model)
    policy.set_weights({name: w.numpy() for name, w in module.policy_state().items()})
    obs = observations(obs_space)
    batch = {"obs": module.encode(obs)}
    expected = dist_inputs(module, obs)
    acted, state = policy.forward(obs, {}, explore=True)
    np.testing.assert_allclose(acted, expected, atol=1e-5)
    assert acted.dtype == np.float32
    assert state == {}
    output = module.forward_train(batch)
    torch.testing.assert_close(output["action_dist_inputs"].detach(), torch.from_numpy(expected))
    values = module.compute_values(batch, output["embeddings"])
    torch.testing.assert_close(values, module.compute_values(batch))


def test_weights_are_copied_not_shared():
    module = ActorCriticModule(BOX_OBS, DISCRETE, model_config=SMALL)
    policy = make_policy(SMALL)
    policy.set_weights({name: w.numpy() for name, w in module.policy_state().items()})
    obs = observations(BOX_OBS)
    before, _ = policy.forward(obs, {}, explore=True)
    spread(module)
    np.testing.assert_array_equal(policy.forward(obs, {}, explore=True)[0], before)


def test_the_value_function_is_no_part_of_what_acting_needs():
    module = ActorCriticModule(BOX_OBS, DISCRETE, model_config=SMALL)
    assert module.policy_state().keys() == {
        "encoder.mlp.layers.0.weight",
        "encoder.mlp.layers.0.bias",
        "pi.weight",
        "pi.bias",
    }


def test_at_first_the_policy_is_nearly_uniform():
    module = ActorCriticModule(BOX_OBS, DISCRETE)
    assert np.abs(dist_inputs(module, observations(BOX_OBS))).max() < 0.1


def test_act_greedily_and_exploring():
    module = spread(ActorCriticModule(BOX_OBS, BOX, model_config=SMALL))
    obs = observations(BOX_OBS)
    greedy = module.act(obs)
    assert all(BOX.contains(action) for action in greedy)
    np.testing.assert_array_equal(greedy, module.act(obs))
    explored = [module.act(obs, rng=np.random.default_rng(5), explore=True) for _ in range(2)]
    np.testing.assert_array_equal(*explored)
    assert not np.array_equal(explored[0], greedy)
    with pytest.raises(ValueError, match="pass rng"):
        module.act(obs, explore=True)


def test_acting_without_weights_says_what_is_missing():
    with pytest.raises(RuntimeError, match="set_weights"):
        make_policy(ModelConfig()).forward(observations(BOX_OBS), {}, explore=True)


def test_weights_of_another_network_are_refused():
    policy = make_policy(ModelConfig(fcnet_hiddens=(4, 4)))
    module = ActorCriticModule(BOX_OBS, DISCRETE, model_config=SMALL)
    with pytest.raises(ValueError, match=r"\['encoder\.mlp\.layers\.1'\] missing"):
        policy.set_weights({name: w.numpy() for name, w in module.policy_state().items()})


def test_an_observation_space_without_encoding_is_refused():
    space = gym.spaces.Dict({"a": gym.spaces.Text(3)})
    with pytest.raises(ConfigError, match=r"\(at a\) is not supported"):
        ActorCriticModule(space, DISCRETE)
