"""The default LSTM on an environment without velocities, and inference with its state."""

import gymnasium as gym
import numpy as np
import torch
from ray import tune
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig


class WithoutVelocities(gym.ObservationWrapper):
    def __init__(self, env):
        super().__init__(env)
        self.observation_space = gym.spaces.Box(-5.0, 5.0, (2,), np.float32)

    def observation(self, observation):
        return observation[[0, 2]]


if __name__ == "__main__":
    tune.register_env("stateless-cart", lambda cfg: WithoutVelocities(gym.make("CartPole-v1")))
    config = (
        PPOConfig()
        .environment("stateless-cart")
        .env_runners(num_env_runners=1, num_envs_per_env_runner=2)
        .training(
            lr=0.0003,
            train_batch_size_per_learner=128,
            minibatch_size=64,
            num_epochs=1,
            vf_loss_coeff=0.05,
        )
        .rl_module(
            model_config=DefaultModelConfig(
                fcnet_hiddens=[16],
                fcnet_activation="tanh",
                vf_share_layers=True,
                use_lstm=True,
                lstm_cell_size=8,
                max_seq_len=16,
            )
        )
    )
    algo = config.build_algo()
    algo.train()

    module = algo.get_module()
    env = WithoutVelocities(gym.make("CartPole-v1"))
    obs, _ = env.reset(seed=1)
    state = {k: v[None] for k, v in module.get_initial_state().items()}
    done, steps = False, 0
    while not done:
        out = module.forward_inference(
            {
                # (batch, time, features)
                Columns.OBS: torch.from_numpy(obs)[None, None],
                Columns.STATE_IN: state,
            }
        )
        state = out[Columns.STATE_OUT]
        logits = out[Columns.ACTION_DIST_INPUTS]
        assert logits.shape == (1, 1, 2)
        obs, _, terminated, truncated, _ = env.step(int(logits[0, 0].argmax()))
        done, steps = terminated or truncated, steps + 1
    assert steps > 0
    algo.stop()
