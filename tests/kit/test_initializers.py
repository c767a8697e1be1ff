"""Weights drawn as the settings say, and nothing else drawn anew."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from rllib.algorithms.ppo import PPOConfig
from rllib.config.model import ModelConfig
from rllib.errors import ConfigError
from rllib.modules.actor_critic import ActorCriticModule
from rllib.policies.policy import TorchPolicy

OBS = gym.spaces.Box(-1, 1, (3,), np.float32)
PIXELS = gym.spaces.Box(0, 255, (84, 84, 4), np.uint8)
DISCRETE = gym.spaces.Discrete(2)


def module(space: gym.Space, **settings: object) -> ActorCriticModule:
    torch.manual_seed(0)
    return ActorCriticModule(space, DISCRETE, model_config=ModelConfig(**settings))


@pytest.mark.parametrize(
    ("space", "stack", "prefixes", "more"),
    [
        (OBS, "fcnet", ("encoder.mlp.", "critic_encoder.mlp."), {}),
        (OBS, "head_fcnet", ("pi_layers.", "vf_layers."), {}),
        (OBS, "lstm", ("memory.cells.",), {"use_lstm": True}),
        (OBS, "lstm", ("memory.cells.",), {"use_gru": True}),
        (PIXELS, "conv", ("encoder.images.", "critic_encoder.images."), {}),
    ],
)
def test_a_stack_is_drawn_as_asked_and_the_rest_as_ever(
    space: gym.Space, stack: str, prefixes: tuple[str, ...], more: dict[str, object]
) -> None:
    shape = {"fcnet_hiddens": (4, 4), "head_fcnet_hiddens": (4,), "lstm_cell_size": 4} | more
    constants = {
        f"{stack}_kernel_initializer": "constant_",
        f"{stack}_kernel_initializer_kwargs": {"val": 2.0},
        f"{stack}_bias_initializer": nn.init.ones_,
    }
    before, after = module(space, **shape), module(space, **shape | constants)
    drawn = 0
    for name, parameter in after.named_parameters():
        if name.startswith(prefixes):
            drawn += 1
            assert (parameter == (2.0 if "weight" in name.rpartition(".")[2] else 1.0)).all(), name
        else:
            torch.testing.assert_close(parameter, before.get_parameter(name))
    assert drawn


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fcnet_kernel_initializer": "xavier_unifrom_"}, "did you mean 'xavier_uniform_'?"),
        ({"fcnet_bias_initializer": "xavier_uniform_"}, "does not fit layers.0.bias [256]: Fan in"),
        (
            {"conv_kernel_initializer": "normal", "conv_kernel_initializer_kwargs": {"men": 1}},
            "normal does not fit 0.weight [32, 4, 8, 8]: normal_() got an unexpected keyword",
        ),
    ],
)
def test_what_cannot_be_drawn_says_why(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        module(PIXELS, **settings)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"model_config.{next(iter(settings))}: ")


@pytest.mark.parametrize("stack", ["fcnet", "head_fcnet"])
def test_layer_norms_stand_before_activations(stack: str) -> None:
    settings = {f"{stack}_use_layernorm": True, f"{stack}_hiddens": (4,)}
    normed = module(OBS, **settings)
    layers = normed.encoder.mlp if stack == "fcnet" else normed.pi_layers
    (layer,) = layers.layers
    x = torch.randn(5, layer.in_features)
    expected = layers.activation(nn.functional.layer_norm(layer(x), (4,)))
    torch.testing.assert_close(layers(x), expected)
    policy = ActorCriticModule.make_policy(OBS, DISCRETE, ModelConfig(**settings))
    assert isinstance(policy, TorchPolicy)


def test_all_of_it_trains() -> None:
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=64, minibatch_size=64, num_epochs=1)
        .rl_module(
            model_config={
                "fcnet_hiddens": (8,),
                "fcnet_kernel_initializer": "xavier_uniform_",
                "fcnet_use_layernorm": True,
                "use_lstm": True,
                "lstm_cell_size": 8,
                "lstm_use_prev_action": True,
                "lstm_use_prev_reward": True,
            }
        )
    )
    with config.build_algo() as algorithm:
        assert algorithm.train()["learners"]["default_policy"]["total_loss"] != 0.0
