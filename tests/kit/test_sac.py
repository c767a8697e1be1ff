"""SAC's losses and gradient steps against plain re-computation, row by row or in plain torch."""

import copy
import math

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.algorithms.sac import (
    Chosen,
    SACConfig,
    SACLearner,
    actor_loss,
    soft_values,
    temperature_loss,
)
from rllib.envs.make import Spaces
from rllib.errors import ConfigError
from rllib.learning.actor_q_learner import critics_loss
from rllib.replay import Transitions

OBS = gym.spaces.Box(-1, 1, (3,), np.float32)
BOX = gym.spaces.Box(-2, 2, (2,), np.float32)
DISCRETE = gym.spaces.Discrete(4)
B, A = 16, 4


def config(**settings):
    return (
        SACConfig()
        .environment("Pendulum-v1")
        .training(train_batch_size_per_learner=B, actor_lr=1e-2, critic_lr=2e-2, alpha_lr=3e-2)
        .training(**{"tau": 0.25} | settings)
        .rl_module(model_config={"fcnet_hiddens": (5,)})
    )


def transitions(space, num=B, seed=0):
    rng = np.random.default_rng(seed)
    ended = rng.random(num) < 0.2
    actions = (
        rng.integers(0, 4, num)
        if space is DISCRETE
        else rng.uniform(-1, 1, (num, 2)).astype(np.float32)
    )
    return Transitions(
        obs=rng.standard_normal((num, 3), dtype=np.float32),
        actions=actions,
        rewards=rng.standard_normal(num, dtype=np.float32),
        next_obs=rng.standard_normal((num, 3), dtype=np.float32),
        terminateds=ended,
        discounts=np.where(ended, 0.0, 0.9).astype(np.float32),
        n=np.ones(num, np.int64),
        indices=np.arange(num),
        weights=rng.random(num, dtype=np.float32),
    )


# The losses.


def sampled(seed=0):
    torch.manual_seed(seed)
    return Chosen(torch.zeros(B, 2), None, torch.randn(B)), torch.randn(2, B)


def expected(seed=0):
    torch.manual_seed(seed)
    logp = torch.randn(B, A).log_softmax(-1)
    return Chosen(None, logp.exp(), logp), torch.randn(2, B, A)


@pytest.mark.parametrize("case", [sampled, expected])
def test_states_are_worth_the_smaller_values_and_the_entropy(case):
    chosen, q_values = case()
    alpha = torch.tensor([0.3])
    values = soft_values(chosen, q_values, alpha)
    for i in range(B):
        if case is sampled:
            smaller = min(q_values[0, i].item(), q_values[1, i].item())
            value = smaller - 0.3 * chosen.logp[i].item()
        else:
            value = 0.0
            for a in range(A):
                smaller = min(q_values[0, i, a].item(), q_values[1, i, a].item())
                p = chosen.probs[i, a].item()
                value += p * (smaller - 0.3 * math.log(p))
        assert values[i].item() == pytest.approx(value, rel=1e-4, abs=1e-5)
    assert actor_loss(chosen, q_values, alpha).item() == pytest.approx(-values.mean().item())


@pytest.mark.parametrize("case", [sampled, expected])
def test_the_weight_of_the_entropy_rises_where_there_is_too_little(case):
    chosen, _ = case()
    log_alpha = torch.tensor([math.log(0.3)], requires_grad=True)
    if case is sampled:
        entropies = [-logp for logp in chosen.logp.tolist()]
    else:
        entropies = [-sum(p * math.log(p) for p in row) for row in chosen.probs.double().tolist()]
    mean = sum(entropies) / B
    loss = temperature_loss(log_alpha, chosen, target_entropy=mean + 0.5)
    assert loss.item() == pytest.approx(-math.log(0.3) * 0.5, rel=1e-4)
    loss.backward()
    assert log_alpha.grad.item() == pytest.approx(-0.5, rel=1e-4)  # descent makes it larger


def test_critics_are_trained_on_all_their_errors():
    torch.manual_seed(0)
    q_values, targets, weights = torch.randn(2, B), torch.randn(B), torch.rand(B)
    loss = critics_loss(q_values, targets, weights)
    total = 0.0
    for i in range(B):
        errors = [q_values[k, i].item() - targets[i].item() for k in range(2)]
        total += weights[i].item() * sum(0.5 * error**2 for error in errors) / B
        size = sum(map(abs, errors)) / 2
        assert loss.arrays["td_errors"][i].item() == pytest.approx(size, rel=1e-5)
    assert loss.total.item() == pytest.approx(total, rel=1e-5)


def test_forbidden_actions_are_worth_nothing_and_have_no_gradient():
    logits = torch.tensor([[0.0, -1e9, 0.0]], requires_grad=True)
    logp = logits.log_softmax(-1)
    chosen = Chosen(None, logp.exp(), logp)
    value = soft_values(chosen, torch.tensor([[[1.0, 99.0, 3.0]]]), torch.tensor([0.5]))
    assert value.item() == pytest.approx(2.0 + 0.5 * math.log(2.0))
    value.sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 1] == 0.0


# Gradient steps.


def critic_values(stacked, x):
    """[2, B, O], one critic after the other."""
    (w0, w1), (b0, b1) = stacked.weights, stacked.biases
    return torch.stack([torch.relu(x @ w0[k].T + b0[k]) @ w1[k].T + b1[k] for k in range(2)])


@pytest.mark.parametrize("space", [BOX, DISCRETE], ids=["continuous", "discrete"])
def test_gradient_steps_are_those_of_plain_torch(space, monkeypatch):
    """Noise is drawn from a generator of the test's own, the same for both."""
    learner = SACLearner(config(), Spaces(OBS, space))
    module = copy.deepcopy(learner.module)
    names = {"critics": 2e-2, "pi": 1e-2}
    optimizers = [
        torch.optim.Adam(getattr(module, name).parameters(), lr, eps=1e-8)
        for name, lr in names.items()
    ] + [torch.optim.Adam([module.log_alpha], 3e-2, eps=1e-8)]
    noise = np.random.default_rng(5).standard_normal((6, B, 2), dtype=np.float32)
    drawn = iter(noise)
    draw_noise = lambda inputs: torch.from_numpy(next(drawn))  # noqa: E731
    if space is BOX:
        monkeypatch.setattr(learner.module.distribution, "draw_noise", draw_noise)
    target_entropy = -2.0 if space is BOX else 0.98 * math.log(4)

    def choose(obs, z):
        """What the actor does, by torch's own distributions."""
        inputs = module.pi(obs)
        if space is DISCRETE:
            categorical = torch.distributions.Categorical(logits=inputs)
            return None, categorical.probs, categorical.probs.log()
        mean, log_std = inputs.chunk(2, -1)
        normal = torch.distributions.Normal(mean, log_std.clamp(-20, 2).exp())
        raw = mean + normal.stddev * torch.from_numpy(z)
        squash = torch.log(1 - torch.tanh(raw) ** 2)
        return raw.tanh(), None, (normal.log_prob(raw) - squash).sum(-1)

    def q(critics, obs, actions):
        x = obs if actions is None else torch.cat([obs, actions], -1)
        values = critic_values(critics, x)
        return values if space is DISCRETE else values[..., 0]

    def worth(obs, z, critics, alpha):
        actions, probs, logp = choose(obs, z)
        values = q(critics, obs, actions).min(0).values - alpha * logp
        return values if probs is None else (probs * values).sum(-1), probs, logp

    for step in range(3):
        draw = transitions(space, seed=step)
        metrics = learner.update(draw)
        obs, next_obs, rewards, discounts, weights, actions = map(
            torch.from_numpy,
            (draw.obs, draw.next_obs, draw.rewards, draw.discounts, draw.weights, draw.actions),
        )
        alpha = module.log_alpha.exp().detach()
        with torch.no_grad():
            later, _, _ = worth(next_obs, noise[2 * step], module.target_critics, alpha)
            targets = rewards + discounts * later
        values = q(module.critics, obs, None if space is DISCRETE else actions)
        taken = values[:, torch.arange(B), actions] if space is DISCRETE else values
        critic = (weights * 0.5 * ((taken - targets) ** 2).sum(0)).mean()
        own, probs, logp = worth(obs, noise[2 * step + 1], module.critics, alpha)
        entropy = -logp if probs is None else -(probs * logp).sum(-1)
        excess = entropy.detach() - target_entropy
        losses = [critic, -own.mean(), (module.log_alpha * excess).mean()]
        gradients = [
            torch.autograd.grad(loss, each.param_groups[0]["params"], retain_graph=True)
            for loss, each in zip(losses, optimizers, strict=True)
        ]
        for each, found in zip(optimizers, gradients, strict=True):
            for parameter, gradient in zip(each.param_groups[0]["params"], found, strict=True):
                parameter.grad = gradient
            each.step()
        with torch.no_grad():
            pairs = zip(
                module.target_critics.parameters(), module.critics.parameters(), strict=True
            )
            for target, source in pairs:
                target.lerp_(source, 0.25)
        assert metrics["critic_loss"] == pytest.approx(critic.item(), rel=1e-3)
        assert metrics["actor_loss"] == pytest.approx(-own.mean().item(), rel=1e-3, abs=1e-4)
        assert metrics["alpha_loss"] == pytest.approx(losses[2].item(), rel=1e-3, abs=1e-4)
        assert metrics["alpha_value"] == pytest.approx(alpha.item(), rel=1e-5)
        errors = (taken - targets).abs().mean(0)
        np.testing.assert_allclose(metrics["td_errors"], errors.detach().numpy(), atol=1e-4)
    for name, parameter in module.state_dict().items():
        torch.testing.assert_close(
            learner.module.state_dict()[name], parameter, atol=1e-4, rtol=1e-3
        )


def test_the_target_entropy_is_a_setting_or_follows_from_the_space():
    for space, auto in ((BOX, -2.0), (DISCRETE, 0.98 * math.log(4))):
        assert SACLearner(config(), Spaces(OBS, space)).target_entropy == pytest.approx(auto)
        fixed = SACLearner(config(target_entropy=-0.5), Spaces(OBS, space))
        assert fixed.target_entropy == -0.5


@pytest.mark.parametrize(
    ("settings", "model", "message"),
    [
        ({"lr": 1e-2}, {}, "lr: every network has its own here"),
        ({"burn_in_len": 2}, {}, "burn_in_len: a burn-in is for memory"),
        ({"tau": 1.5}, {}, "tau"),
    ],
)
def test_impossible_settings_are_named(settings, model, message):
    with pytest.raises(ConfigError, match=message):
        config(**settings).rl_module(model_config=model).build_algo()


def test_the_settings_reach_the_module():
    learner = SACLearner(config(initial_alpha=0.2, twin_q=False), Spaces(OBS, BOX))
    assert learner.module.log_alpha.exp().item() == pytest.approx(0.2)
    assert len(learner.module.critics.biases[0]) == 1
    assert learner.module.shape.fcnet_activation == "relu"


@pytest.mark.learning
def test_pendulum_is_swung_up_in_6000_steps():
    settings = (
        SACConfig()
        .environment("Pendulum-v1")
        .env_runners(rollout_fragment_length=8)
        .training(training_intensity=128.0, train_batch_size_per_learner=128)
        .training(actor_lr=2e-3, critic_lr=2e-3, alpha_lr=2e-3, initial_alpha=0.2)
        .training(num_steps_sampled_before_learning_starts=400)
        .training(replay_buffer_config={"type": "EpisodeReplayBuffer", "capacity": 10_000})
        .rl_module(model_config={"fcnet_hiddens": (64, 64)})
        .reporting(metrics_num_episodes_for_smoothing=4, min_sample_timesteps_per_iteration=800)
        .debugging(seed=1)
    )
    with settings.build_algo() as algorithm:
        while True:
            result = algorithm.train()
            if result["env_runners"].get("episode_return_mean", -1600) > -400:
                return
            assert result["num_env_steps_sampled_lifetime"] < 6000
