"""Out of a checkpoint: the module alone, which acts; another run that begins with it."""

import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import (
    COMPONENT_LEARNER,
    COMPONENT_LEARNER_GROUP,
    COMPONENT_RL_MODULE,
    DEFAULT_MODULE_ID,
)
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule, RLModuleSpec
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.numpy import convert_to_numpy, softmax
from ray.rllib.utils.spaces.space_utils import batch, unbatch


def settings():
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [16], "fcnet_activation": "relu"})
    )


def play(module, explore):
    env, rng = gym.make("CartPole-v1"), np.random.default_rng(0)
    obs, _ = env.reset(seed=1)
    total, done = 0.0, False
    while not done:
        input_dict = {Columns.OBS: torch.from_numpy(batch([obs]))}
        if explore:
            out = module.forward_exploration(input_dict)
            logits = convert_to_numpy(out[Columns.ACTION_DIST_INPUTS])
            probs = softmax(logits[0])
            action = int(rng.choice(len(probs), p=probs / probs.sum()))
        else:
            out = module.forward_inference(input_dict)
            action = int(unbatch(torch.argmax(out[Columns.ACTION_DIST_INPUTS], -1).numpy())[0])
        obs, reward, terminated, truncated, _ = env.step(action)
        total += reward
        done = terminated or truncated
    return total


if __name__ == "__main__":
    algo = settings().build_algo()
    assert isinstance(algo, Checkpointable)
    algo.train()
    path = str(algo.save_to_path(tempfile.mkdtemp()))
    module = algo.get_module(DEFAULT_MODULE_ID)
    algo.stop()

    components = (COMPONENT_LEARNER_GROUP, COMPONENT_LEARNER, COMPONENT_RL_MODULE)
    module_path = str(Path(path, *components, DEFAULT_MODULE_ID))
    alone = RLModule.from_checkpoint(module_path)
    assert play(alone, explore=False) == play(module, explore=False)
    assert play(alone, explore=True) > 5

    # The module by itself once more.
    own_path = alone.save_to_path(tempfile.mkdtemp())
    again = RLModule.from_checkpoint(own_path)
    expected = convert_to_numpy(alone.get_state())
    for name, weights in convert_to_numpy(again.get_state()).items():
        assert (weights == expected[name]).all(), name
    again.set_state({name: 0 * weights for name, weights in expected.items()})
    again.restore_from_path(own_path)
    assert play(again, explore=False) == play(alone, explore=False)

    # Another run begins with these weights.
    config = settings().rl_module(rl_module_spec=RLModuleSpec(load_state_path=module_path))
    other = config.build_algo()
    begun = other.get_module()
    assert play(begun, explore=False) == play(alone, explore=False)
    other.train()
    other.stop()
