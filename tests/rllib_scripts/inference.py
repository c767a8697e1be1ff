"""Actions of a trained policy by its module: alone, in batches, drawn and most likely."""

import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID, Columns
from ray.rllib.core.rl_module.rl_module import RLModule


def play(module, env_id):
    env = gym.make(env_id)
    obs, _ = env.reset(seed=0)
    done, total = False, 0.0
    while not done:
        out = module.forward_inference({Columns.OBS: torch.from_numpy(obs).unsqueeze(0)})
        action = out[Columns.ACTION_DIST_INPUTS][0]
        if isinstance(env.action_space, gym.spaces.Discrete):
            action = int(torch.argmax(action))
        else:
            # Means, then logarithms of standard deviations.
            action = np.clip(action.numpy()[:1], env.action_space.low, env.action_space.high)
        obs, reward, terminated, truncated, _ = env.step(action)
        done, total = terminated or truncated, total + float(reward)
    return total


if __name__ == "__main__":
    for env_id in ("CartPole-v1", "Pendulum-v1"):
        config = (
            PPOConfig()
            .environment(env_id)
            .env_runners(num_env_runners=0)
            .training(train_batch_size_per_learner=64, minibatch_size=64, num_epochs=1)
        )
        algo = config.build_algo()
        algo.train()
        module = algo.get_module(DEFAULT_MODULE_ID)
        expected = play(module, env_id)

        # The distribution by its class.
        obs = torch.from_numpy(np.ones((5, *module.observation_space.shape), np.float32))
        dist_inputs = module.forward_exploration({"obs": obs})["action_dist_inputs"]
        dist_class = module.get_exploration_action_dist_cls()
        dist = dist_class.from_logits(dist_inputs)
        actions = dist.sample()
        assert actions.shape[0] == 5
        assert dist.logp(actions).shape == (5,)
        assert dist.entropy().shape == (5,)
        assert dist.to_deterministic().sample().shape == actions.shape

        # The module alone, out of the checkpoint.
        path = algo.save_to_path(tempfile.mkdtemp())
        algo.stop()
        same = RLModule.from_checkpoint(
            Path(path) / "learner_group" / "learner" / "rl_module" / DEFAULT_MODULE_ID
        )
        assert play(same, env_id) == expected
