"""PPO learns: CartPole to the goal in seconds, Pendulum in the right direction."""

from time import perf_counter

import pytest

from rllib.algorithms.ppo import PPOConfig

pytestmark = pytest.mark.learning


def cartpole():
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=16)
        .training(train_batch_size_per_learner=2048, minibatch_size=256, num_epochs=6)
        .training(lr=2e-3, gamma=0.98, lambda_=0.95, clip_param=0.2, grad_clip=0.5)
        .training(vf_clip_param=None, use_kl_loss=False)
        .rl_module(model_config={"fcnet_hiddens": (64, 64)})
        .debugging(seed=1)
    )


def test_cartpole_reaches_475_in_30_seconds_and_200_000_steps():
    started = perf_counter()
    with cartpole().build_algo() as algorithm:
        mean = 0.0
        while mean < 475.0:
            result = algorithm.train()
            if result["env_runners"]["num_episodes_lifetime"] >= 100:
                mean = result["env_runners"]["episode_return_mean"]
            assert perf_counter() - started < 30.0, f"return {mean} after 30 seconds"
            assert result["num_env_steps_sampled_lifetime"] < 200_000, f"return {mean}"


def test_pendulum_gets_better():
    settings = (
        PPOConfig()
        .environment("Pendulum-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=16)
        .training(train_batch_size_per_learner=3200, minibatch_size=400, num_epochs=8)
        .training(lr=2e-3, gamma=0.95, lambda_=0.9, clip_param=0.2, grad_clip=0.5)
        .training(vf_clip_param=None, use_kl_loss=False)
        .rl_module(model_config={"fcnet_hiddens": (64, 64)})
        .reporting(metrics_num_episodes_for_smoothing=32)
        .debugging(seed=1)
    )
    with settings.build_algo() as algorithm:
        returns = [algorithm.train()["env_runners"]["episode_return_mean"] for _ in range(25)]
    # A policy that does nothing useful gets about -1200.
    assert returns[0] < -1000.0
    assert returns[-1] > -700.0
