"""Distributions as objects with RLlib's names."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.config.sections import ModelConfig
from rllib.modules.actor_critic import ActorCriticModule

OBS = gym.spaces.Box(-1, 1, (3,), np.float32)
SPACES = {
    "discrete": gym.spaces.Discrete(4),
    "continuous": gym.spaces.Box(-2, 2, (2,), np.float32),
}


def theirs(space, inputs):
    if isinstance(space, gym.spaces.Discrete):
        return torch.distributions.Categorical(logits=inputs)
    mean, log_std = inputs.chunk(2, -1)
    return torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_it_is_the_modules_distribution(space):
    module = ActorCriticModule(OBS, space, model_config=ModelConfig(fcnet_hiddens=()))
    first, second = torch.randn(2, 6, 4)
    dist, other = map(module.get_train_action_dist_cls().from_logits, (first, second))
    actions = dist.sample()
    expected = theirs(space, first)
    torch.testing.assert_close(dist.logp(actions), expected.log_prob(actions))
    torch.testing.assert_close(dist.entropy(), expected.entropy())
    kl = torch.distributions.kl_divergence(expected, theirs(space, second))
    torch.testing.assert_close(dist.kl(other), kl)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_a_deterministic_one_gives_the_most_likely_actions(space):
    module = ActorCriticModule(OBS, space, model_config=ModelConfig(fcnet_hiddens=()))
    inputs = torch.randn(6, 4)
    sure = module.get_inference_action_dist_cls().from_logits(inputs).to_deterministic()
    mode = inputs.argmax(-1) if isinstance(space, gym.spaces.Discrete) else inputs[:, :2]
    torch.testing.assert_close(sure.sample(), mode)
    torch.testing.assert_close(sure.sample(), sure.sample())


def test_only_rsample_has_gradients():
    module = ActorCriticModule(OBS, SPACES["continuous"])
    inputs = torch.zeros(5, 4, requires_grad=True)
    dist = module.get_exploration_action_dist_cls().from_logits(inputs)
    assert not dist.sample().requires_grad
    dist.rsample().sum().backward()
    torch.testing.assert_close(inputs.grad[:, :2], torch.ones(5, 2))
