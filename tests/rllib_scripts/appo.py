"""APPO with the settings of its examples, on a schedule for the learning rate."""

from ray.rllib.algorithms.appo import APPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.utils.metrics import LEARNER_RESULTS

if __name__ == "__main__":
    config = (
        APPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=1, num_envs_per_env_runner=4, rollout_fragment_length=20)
        .learners(num_learners=0)
        .training(
            train_batch_size_per_learner=160,
            lr=[[0, 0.001], [2000, 0.0001]],
            clip_param=0.2,
            vf_loss_coeff=0.05,
            entropy_coeff=0.0,
            use_kl_loss=True,
            kl_coeff=1.0,
            kl_target=0.04,
            tau=0.9,
            target_network_update_freq=2,
            circular_buffer_num_batches=2,
            circular_buffer_iterations_per_batch=2,
            grad_clip=20.0,
        )
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[32]))
        .reporting(min_sample_timesteps_per_iteration=320, min_time_s_per_iteration=None)
    )
    algo = config.build_algo()
    result = algo.train()
    learner = result[LEARNER_RESULTS]["default_policy"]
    assert 0.0001 < learner["default_optimizer_learning_rate"] < 0.001
    assert learner["curr_kl_coeff"] > 0
    algo.stop()
