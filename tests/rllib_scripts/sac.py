"""SAC as its tuned examples have it, for continuous and for discrete actions."""

from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.utils.metrics import LEARNER_RESULTS
from torch import nn


def sac(env):
    return (
        SACConfig()
        .environment(env)
        .env_runners(num_env_runners=0)
        .training(
            initial_alpha=1.001,
            actor_lr=2e-4,
            critic_lr=8e-4,
            alpha_lr=9e-4,
            lr=None,
            twin_q=True,
            target_entropy="auto",
            n_step=(2, 5),
            tau=0.005,
            train_batch_size_per_learner=32,
            target_network_update_freq=1,
            replay_buffer_config={
                "type": "PrioritizedEpisodeReplayBuffer",
                "capacity": 10000,
                "alpha": 1.0,
                "beta": 0.0,
            },
            num_steps_sampled_before_learning_starts=64,
        )
        .rl_module(
            model_config=DefaultModelConfig(
                fcnet_hiddens=[32, 32],
                fcnet_activation="relu",
                fcnet_kernel_initializer=nn.init.xavier_uniform_,
                head_fcnet_hiddens=[],
                head_fcnet_activation=None,
                head_fcnet_kernel_initializer="orthogonal_",
                head_fcnet_kernel_initializer_kwargs={"gain": 0.01},
            )
        )
        .reporting(metrics_num_episodes_for_smoothing=5, min_time_s_per_iteration=None)
    )


if __name__ == "__main__":
    for env in ("Pendulum-v1", "CartPole-v1"):
        algo = sac(env).build_algo()
        result = algo.train()
        learner = result[LEARNER_RESULTS]["default_policy"]
        assert learner["alpha_value"] > 0.9
        assert learner["qf_mean"] is not None
        assert {"policy_loss", "qf_loss", "alpha_loss"} <= learner.keys()
        algo.stop()
