"""Evaluation beside training, with settings of its own."""

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    EPISODE_RETURN_MEAN,
    EVALUATION_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)

if __name__ == "__main__":
    config = (
        PPOConfig()
        .environment("CartPole-v1", env_config={"sutton_barto_reward": False})
        .env_runners(num_env_runners=1, num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=256, minibatch_size=64, num_epochs=1)
        .evaluation(
            evaluation_interval=1,
            evaluation_num_env_runners=1,
            evaluation_duration=3,
            evaluation_duration_unit="episodes",
            evaluation_parallel_to_training=True,
            evaluation_config=AlgorithmConfig.overrides(
                explore=False, env_config={"sutton_barto_reward": True}, num_envs_per_env_runner=1
            ),
        )
    )
    algo = config.build_algo()
    result = algo.train()
    # Sutton and Barto: nothing until the pole falls, which is -1.
    assert result[EVALUATION_RESULTS][ENV_RUNNER_RESULTS][EPISODE_RETURN_MEAN] == -1.0
    assert result[EVALUATION_RESULTS][ENV_RUNNER_RESULTS]["num_episodes"] == 3
    assert result[ENV_RUNNER_RESULTS][EPISODE_RETURN_MEAN] > 1.0
    assert 200 < result[NUM_ENV_STEPS_SAMPLED_LIFETIME] <= 260
    assert algo.evaluate()[ENV_RUNNER_RESULTS][EPISODE_RETURN_MEAN] == -1.0
    algo.stop()

    # As long as training takes, timesteps, and not at every iteration.
    config.evaluation(evaluation_duration="auto", evaluation_interval=2)
    algo = config.build_algo()
    assert EVALUATION_RESULTS not in algo.train()
    assert algo.train()[EVALUATION_RESULTS][ENV_RUNNER_RESULTS][EPISODE_RETURN_MEAN] == -1.0
    algo.stop()
