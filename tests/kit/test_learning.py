"""PPO learns: CartPole to the goal in seconds, Pendulum in the right direction. IMPALA and APPO do,
synchronously in one process and with env runners that nobody waits for.
"""

from time import perf_counter

import pytest

from rllib import core
from rllib.algorithms.appo import APPOConfig
from rllib.algorithms.impala import IMPALAConfig
from rllib.algorithms.ppo import PPOConfig
from rllib.preload import PRELOAD

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


def reach(settings, goal, seconds, env_steps):
    """Train until the mean return is there; fails when it takes too long."""
    started = perf_counter()
    with settings.build_algo() as algorithm:
        mean = 0.0
        while mean < goal:
            result = algorithm.train()
            if result["env_runners"]["num_episodes_lifetime"] >= 100:
                mean = result["env_runners"]["episode_return_mean"]
            assert perf_counter() - started < seconds, f"return {mean} after {seconds} seconds"
            assert result["num_env_steps_sampled_lifetime"] < env_steps, f"return {mean}"


def test_cartpole_reaches_475_in_30_seconds_and_200_000_steps():
    reach(cartpole(), goal=475.0, seconds=30.0, env_steps=200_000)


def asynchronous(settings):
    return (
        settings.environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=16, rollout_fragment_length=32)
        .training(train_batch_size_per_learner=512, lr=2e-3, gamma=0.98, entropy_coeff=0.1)
        .rl_module(model_config={"fcnet_hiddens": (64, 64)})
        .debugging(seed=1)
    )


def impala():
    return asynchronous(IMPALAConfig())


def appo():
    buffer = {"circular_buffer_num_batches": 4, "circular_buffer_iterations_per_batch": 4}
    settings = APPOConfig().training(clip_param=0.2, target_network_update_freq=0.25, **buffer)
    return asynchronous(settings)


@pytest.mark.parametrize("settings", [impala, appo])
def test_impala_and_appo_reach_200_on_cartpole_in_one_process(settings):
    here = settings().env_runners(num_env_runners=0).learners(num_learners=0)
    reach(here, goal=200.0, seconds=20.0, env_steps=250_000)


@pytest.mark.parametrize("num_learners", [0, 1])
@pytest.mark.parametrize("settings", [impala, appo])
def test_impala_and_appo_reach_200_on_cartpole_with_actors(settings, num_learners):
    with core.init(num_cpus=4, preload=PRELOAD):
        reach(settings().learners(num_learners=num_learners), 200.0, 20.0, 400_000)


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
