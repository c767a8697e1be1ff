"""TD3's gradient steps against plain torch: targets with noise, and an actor that is delayed."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.algorithms.td3 import TD3Config, TD3Learner, td3_targets
from rllib.distributions import Deterministic
from rllib.envs.make import Spaces
from rllib.errors import ConfigError
from rllib.modules.actor_q_module import TD3Module
from rllib.replay import Transitions

OBS = gym.spaces.Box(-1, 1, (3,), np.float32)
BOX = gym.spaces.Box(-2, 2, (2,), np.float32)
B = 16


def config(**settings):
    return (
        TD3Config()
        .environment("Pendulum-v1")
        .training(train_batch_size_per_learner=B, actor_lr=1e-2, critic_lr=2e-2, tau=0.25)
        .training(**settings)
        .rl_module(model_config={"fcnet_hiddens": (5,)})
    )


def transitions(seed=0):
    rng = np.random.default_rng(seed)
    ended = rng.random(B) < 0.2
    return Transitions(
        obs=rng.standard_normal((B, 3), dtype=np.float32),
        actions=rng.uniform(-1, 1, (B, 2)).astype(np.float32),
        rewards=rng.standard_normal(B, dtype=np.float32),
        next_obs=rng.standard_normal((B, 3), dtype=np.float32),
        terminateds=ended,
        discounts=np.where(ended, 0.0, 0.9).astype(np.float32),
        n=np.ones(B, np.int64),
        indices=np.arange(B),
        weights=rng.random(B, dtype=np.float32),
    )


def test_the_smaller_value_is_believed():
    next_q = torch.tensor([[1.0, -2.0, 5.0], [3.0, -4.0, 0.5]])
    rewards, discounts = torch.tensor([0.5, 0.5, 0.5]), torch.tensor([0.9, 0.9, 0.0])
    torch.testing.assert_close(
        td3_targets(next_q, rewards, discounts), torch.tensor([1.4, -3.1, 0.5])
    )


def critic_values(stacked, obs, actions):
    """[2, B], one critic after the other."""
    x, (w0, w1), (b0, b1) = torch.cat([obs, actions], -1), stacked.weights, stacked.biases
    values = [torch.relu(x @ w0[k].T + b0[k]) @ w1[k].T + b1[k] for k in range(2)]
    return torch.stack(values).squeeze(-1)


@pytest.mark.parametrize("delay", [1, 2, 3])
def test_gradient_steps_are_those_of_plain_torch(delay, monkeypatch):
    learner = TD3Learner(config(policy_delay=delay), Spaces(OBS, BOX))
    module = copy.deepcopy(learner.module)
    critic_adam = torch.optim.Adam(module.critics.parameters(), 2e-2, eps=1e-8)
    actor_adam = torch.optim.Adam(module.pi.parameters(), 1e-2, eps=1e-8)
    noise = np.random.default_rng(5).standard_normal((6, B, 2), dtype=np.float32) * 3
    drawn = iter(noise)
    monkeypatch.setattr(
        Deterministic, "draw_noise", lambda self, inputs: torch.from_numpy(next(drawn))
    )
    for step in range(6):
        draw = transitions(seed=step)
        metrics = learner.update(draw)
        obs, next_obs, rewards, discounts, weights, actions = map(
            torch.from_numpy,
            (draw.obs, draw.next_obs, draw.rewards, draw.discounts, draw.weights, draw.actions),
        )
        with torch.no_grad():
            moved = (0.2 * torch.from_numpy(noise[step])).clamp(-0.5, 0.5)
            next_actions = (torch.tanh(module.target_pi(next_obs)) + moved).clamp(-1, 1)
            later = critic_values(module.target_critics, next_obs, next_actions).min(0).values
            targets = rewards + discounts * later
        taken = critic_values(module.critics, obs, actions)
        critic = (weights * 0.5 * ((taken - targets) ** 2).sum(0)).mean()
        is_turn = (step + 1) % delay == 0
        own = critic_values(module.critics, obs, torch.tanh(module.pi(obs)))[0]
        actor = -own.mean()
        pairs = [(critic_adam, critic)] + [(actor_adam, actor)] * is_turn
        found = [
            torch.autograd.grad(loss, adam.param_groups[0]["params"], retain_graph=True)
            for adam, loss in pairs
        ]
        for (adam, _), gradients in zip(pairs, found, strict=True):
            for parameter, gradient in zip(adam.param_groups[0]["params"], gradients, strict=True):
                parameter.grad = gradient
            adam.step()
        if is_turn:
            with torch.no_grad():
                for target, source in (
                    *zip(module.target_pi.parameters(), module.pi.parameters(), strict=True),
                    *zip(
                        module.target_critics.parameters(), module.critics.parameters(), strict=True
                    ),
                ):
                    target.lerp_(source, 0.25)
        assert metrics["qf_loss"] == pytest.approx(critic.item(), rel=1e-4)
        assert ("actor_loss" in metrics) == is_turn
        if is_turn:
            assert metrics["policy_loss"] == pytest.approx(actor.item(), rel=1e-3, abs=1e-5)
    for name, parameter in module.state_dict().items():
        torch.testing.assert_close(
            learner.module.state_dict()[name], parameter, atol=1e-4, rtol=1e-3
        )


def test_noise_to_explore_with_follows_its_schedule():
    settings = config(exploration_noise=[[0, 0.5], [100, 0.0]])
    with settings.build_algo() as algorithm:
        runner = algorithm.env_runner_group.workers[0].target
        for timestep, expected in ((0, 0.5), (50, 0.25), (100, 0.0)):
            runner.sample(timestep)
            assert runner.head.noise_std == expected


@pytest.mark.learning
def test_pendulum_is_swung_up_in_8000_steps():
    settings = (
        TD3Config()
        .environment("Pendulum-v1")
        .env_runners(rollout_fragment_length=8)
        .training(training_intensity=128.0, train_batch_size_per_learner=128)
        .training(actor_lr=1e-3, critic_lr=2e-3, exploration_noise=0.2)
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
            assert result["num_env_steps_sampled_lifetime"] < 8000


@pytest.mark.parametrize("space", [gym.spaces.Discrete(3), gym.spaces.MultiDiscrete([2, 3])])
def test_actions_that_it_cannot_take_are_told_what_it_takes(space):
    with pytest.raises(ConfigError, match=r"need a Box of floats\. Wrap"):
        TD3Module(gym.spaces.Box(-1, 1, (3,)), space)
