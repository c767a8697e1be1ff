"""IMPALA with the settings of its examples."""

import ray
from ray.rllib.algorithms.impala import IMPALA, IMPALAConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

if __name__ == "__main__":
    ray.init(num_cpus=4, ignore_reinit_error=True)
    config = (
        IMPALAConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=2, num_envs_per_env_runner=2, rollout_fragment_length=20)
        .learners(num_learners=1)
        .training(
            train_batch_size_per_learner=200,
            grad_clip=40.0,
            grad_clip_by="global_norm",
            lr=0.0005,
            vf_loss_coeff=0.05,
            entropy_coeff=[[0, 0.01], [3000, 0.0]],
            vtrace_clip_rho_threshold=1.0,
            broadcast_interval=1,
        )
        .rl_module(model_config=DefaultModelConfig(vf_share_layers=True, fcnet_hiddens=[32]))
        .reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=400)
    )
    algo = config.build_algo()
    assert isinstance(algo, IMPALA)
    result = algo.train()
    assert result["num_env_steps_sampled_lifetime"] >= 400
    assert result["learners"]["default_policy"]["vf_loss"] > 0
    algo.stop()
