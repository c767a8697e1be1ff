"""Reaching into env runners and learners while training."""

import gymnasium as gym
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME


def facts(env_runner):
    return env_runner.ping() == "pong", type(env_runner.module).__name__


if __name__ == "__main__":
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=2, num_envs_per_env_runner=2, rollout_fragment_length=20)
        .learners(num_learners=0)
        .training(train_batch_size_per_learner=80, minibatch_size=40, num_epochs=1, lr=5e-4)
        .rl_module(model_config={"fcnet_hiddens": [16]})
    )
    algo = config.build_algo()
    group, learners = algo.env_runner_group, algo.learner_group
    assert group.num_remote_env_runners() == group.num_healthy_remote_env_runners() == 2
    assert group.healthy_env_runner_ids() == [1, 2]
    result = algo.train()
    assert result[ENV_RUNNER_RESULTS][NUM_ENV_STEPS_SAMPLED_LIFETIME] >= 60

    assert all(is_there for is_there, _ in group.foreach_env_runner(facts))
    lengths = group.foreach_env_runner(
        lambda runner: runner.config.rollout_fragment_length, local_env_runner=False
    )
    assert lengths == [20, 20]
    assert len(group.foreach_env_runner("get_metrics", local_env_runner=False)) == 2
    space = group.get_spaces()[DEFAULT_MODULE_ID][1]
    assert space == gym.make("CartPole-v1").action_space

    assert learners.is_local
    (rate,) = (
        each.get() if hasattr(each, "get") else each
        for each in learners.foreach_learner(lambda learner: learner.config.lr)
    )
    assert rate == 5e-4
    algo.train()
    algo.stop()
