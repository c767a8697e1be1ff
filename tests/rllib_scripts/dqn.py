"""DQN as its tuned example has it, and with everything that makes it Rainbow."""

import tempfile

from ray.rllib.algorithms.dqn import DQN, DQNConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, EVALUATION_RESULTS, LEARNER_RESULTS

if __name__ == "__main__":
    config = (
        DQNConfig()
        .environment(env="CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=1)
        .training(
            lr=0.0005,
            train_batch_size_per_learner=32,
            replay_buffer_config={
                "type": "PrioritizedEpisodeReplayBuffer",
                "capacity": 5000,
                "alpha": 0.6,
                "beta": 0.4,
            },
            n_step=(2, 5),
            double_q=True,
            dueling=True,
            epsilon=[(0, 1.0), (500, 0.02)],
            target_network_update_freq=100,
            num_steps_sampled_before_learning_starts=100,
        )
        .rl_module(
            model_config=DefaultModelConfig(
                fcnet_hiddens=[32],
                fcnet_activation="tanh",
                fcnet_bias_initializer="zeros_",
                head_fcnet_bias_initializer="zeros_",
                head_fcnet_hiddens=[32],
            )
        )
        .evaluation(
            evaluation_interval=1,
            evaluation_duration=2,
            evaluation_num_env_runners=1,
            evaluation_parallel_to_training=True,
            evaluation_config={"explore": False},
        )
        .reporting(min_sample_timesteps_per_iteration=200)
    )
    algo = config.build_algo()
    result = algo.train()
    assert result[LEARNER_RESULTS]["default_policy"]["td_error_mean"] is not None
    assert result[EVALUATION_RESULTS][ENV_RUNNER_RESULTS]["num_episodes"] == 2
    path = algo.save_to_path(tempfile.mkdtemp())
    algo.stop()
    DQN.from_checkpoint(path).stop()

    rainbow = (
        DQNConfig()
        .environment("CartPole-v1")
        .training(
            num_atoms=11,
            v_min=0.0,
            v_max=50.0,
            noisy=True,
            sigma0=0.2,
            double_q=True,
            dueling=True,
            n_step=3,
            td_error_loss_fn="huber",
            num_steps_sampled_before_learning_starts=64,
            training_intensity=8,
            tau=0.5,
        )
        .rl_module(model_config={"fcnet_hiddens": [16], "head_fcnet_hiddens": [16]})
        .reporting(min_sample_timesteps_per_iteration=128)
    )
    algo = rainbow.build_algo()
    algo.train()
    algo.stop()
