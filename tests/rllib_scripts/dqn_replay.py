"""DQN from its registered name, with a prioritised replay buffer, until it is good enough."""

from ray import tune
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    EPISODE_RETURN_MEAN,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)
from ray.rllib.utils.replay_buffers import PrioritizedEpisodeReplayBuffer
from ray.tune.registry import get_trainable_cls

if __name__ == "__main__":
    assert callable(tune.register_env)
    assert isinstance(PrioritizedEpisodeReplayBuffer, type)
    config = (
        get_trainable_cls("DQN")
        .get_default_config()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=4)
        .training(
            lr=5e-4,
            train_batch_size_per_learner=32,
            replay_buffer_config={
                "type": "PrioritizedEpisodeReplayBuffer",
                "capacity": 5_000,
                "alpha": 0.6,
                "beta": 0.4,
            },
            n_step=(2, 5),
            double_q=True,
            dueling=True,
            num_steps_sampled_before_learning_starts=200,
            epsilon=[(0, 1.0), (500, 0.05)],
        )
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[32], fcnet_activation="tanh"))
        .reporting(min_sample_timesteps_per_iteration=300)
    )
    algo = config.build_algo()
    stop = {NUM_ENV_STEPS_SAMPLED_LIFETIME: 600, EPISODE_RETURN_MEAN: 400.0}
    for _ in range(20):
        result = algo.train()
        returns = result[ENV_RUNNER_RESULTS].get(EPISODE_RETURN_MEAN, 0.0)
        steps = result[NUM_ENV_STEPS_SAMPLED_LIFETIME]
        if returns >= stop[EPISODE_RETURN_MEAN] or steps >= stop[NUM_ENV_STEPS_SAMPLED_LIFETIME]:
            break
    assert steps >= 600
    assert "qf_mean" in result[LEARNER_RESULTS]["default_policy"]
    algo.stop()
