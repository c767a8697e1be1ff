"""Modules without an algorithm: from specs, several together, saved and loaded."""

import tempfile

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule, MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModule, RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.utils.numpy import convert_to_numpy, one_hot
from ray.rllib.utils.torch_utils import convert_to_torch_tensor
from ray.rllib.utils.torch_utils import one_hot as torch_one_hot

OBS, ACTIONS = gym.spaces.Box(-1.0, 1.0, (3,), np.float32), gym.spaces.Discrete(2)


class Linear(TorchRLModule):
    def setup(self):
        self.pi = torch.nn.Linear(self.observation_space.shape[0], self.action_space.n)
        torch.nn.init.constant_(self.pi.weight, self.model_config["weight"])

    def _forward(self, batch, **kwargs):
        return {Columns.ACTION_DIST_INPUTS: self.pi(batch[Columns.OBS])}


def spec(weight):
    return RLModuleSpec(
        module_class=Linear,
        observation_space=OBS,
        action_space=ACTIONS,
        model_config={"weight": weight},
    )


if __name__ == "__main__":
    module = spec(0.5).build()
    assert isinstance(module, RLModule)
    obs = convert_to_torch_tensor(np.ones((4, 3)))
    out = module.forward_inference({Columns.OBS: obs})[Columns.ACTION_DIST_INPUTS]
    assert out.shape == (4, 2)
    assert not module.is_stateful()

    path = module.save_to_path(tempfile.mkdtemp())
    same = Linear.from_checkpoint(path)
    assert torch.equal(same.pi.weight, module.pi.weight)

    both = MultiRLModuleSpec(rl_module_specs={"a": spec(0.0), "b": spec(1.0)}).build()
    assert isinstance(both, MultiRLModule)
    assert set(both.keys()) == {"a", "b"}
    both["a"].set_state(both["b"].get_state())
    outs = both.forward_inference({"a": {Columns.OBS: obs}, "b": {Columns.OBS: obs}})
    a, b = (convert_to_numpy(outs[name][Columns.ACTION_DIST_INPUTS]) for name in ("a", "b"))
    assert (a == b).all()
    both.remove_module("a")
    assert "a" not in both

    # What an algorithm would train.
    config = PPOConfig().environment("CartPole-v1")
    config.rl_module(model_config={"fcnet_hiddens": [8]})
    multi_spec = config.get_multi_rl_module_spec(env=gym.make("CartPole-v1"))
    default = multi_spec.build()["default_policy"]
    assert default.get_initial_state() in ({}, None)
    half = default.get_state(inference_only=True)
    assert set(half) <= set(default.get_state())

    assert one_hot(np.array([1]), depth=3).tolist() == [[0.0, 1.0, 0.0]]
    assert torch_one_hot(torch.tensor([1]), gym.spaces.Discrete(3)).tolist() == [[0, 1, 0]]
