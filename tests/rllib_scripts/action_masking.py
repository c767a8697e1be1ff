"""Actions masked by a module that subclasses the default one, as RLlib's own example has it."""

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_rl_module import PPOTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.framework import try_import_torch
from ray.rllib.utils.torch_utils import FLOAT_MIN

torch, nn = try_import_torch()


class TwoOfFour(gym.Env):
    """Two of the four actions are allowed in each step; the others end the script."""

    def __init__(self, config=None):
        self.action_space = gym.spaces.Discrete(4)
        self.observation_space = gym.spaces.Dict(
            {
                "action_mask": gym.spaces.Box(0.0, 1.0, (4,), np.float32),
                "observations": gym.spaces.Box(-1.0, 1.0, (3,), np.float32),
            }
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.num_steps = 0
        return self.observed(), {}

    def observed(self):
        self.mask = np.zeros(4, np.float32)
        self.mask[self.np_random.choice(4, 2, replace=False)] = 1.0
        numbers = self.np_random.uniform(-1.0, 1.0, 3).astype(np.float32)
        return {"action_mask": self.mask.copy(), "observations": numbers}

    def step(self, action):
        assert self.mask[action], f"action {action} was not allowed by {self.mask}"
        self.num_steps += 1
        return self.observed(), 1.0, self.num_steps == 8, False, {}


class Masked(PPOTorchRLModule):
    def __init__(
        self,
        *,
        observation_space=None,
        action_space=None,
        inference_only=None,
        learner_only=False,
        model_config=None,
        catalog_class=None,
        **kwargs,
    ):
        self.space_with_mask = observation_space
        super().__init__(
            observation_space=observation_space["observations"],
            action_space=action_space,
            inference_only=inference_only,
            learner_only=learner_only,
            model_config=model_config,
            catalog_class=catalog_class,
            **kwargs,
        )

    def setup(self):
        super().setup()
        self.observation_space = self.space_with_mask

    def _forward_inference(self, batch, **kwargs):
        mask = self.take_mask(batch)
        return self.with_mask(super()._forward_inference(batch, **kwargs), mask)

    def _forward_exploration(self, batch, **kwargs):
        mask = self.take_mask(batch)
        return self.with_mask(super()._forward_exploration(batch, **kwargs), mask)

    def _forward_train(self, batch, **kwargs):
        # The mask was taken when the batch's values were computed.
        return self.with_mask(super()._forward_train(batch, **kwargs), batch["action_mask"])

    def compute_values(self, batch, embeddings=None):
        if isinstance(batch[Columns.OBS], dict):
            batch["action_mask"] = self.take_mask(batch)
        return super().compute_values(batch, embeddings)

    def take_mask(self, batch):
        mask = batch[Columns.OBS].pop("action_mask")
        batch[Columns.OBS] = batch[Columns.OBS].pop("observations")
        return mask

    def with_mask(self, outputs, mask):
        outputs[Columns.ACTION_DIST_INPUTS] += torch.clamp(torch.log(mask), min=FLOAT_MIN)
        return outputs


if __name__ == "__main__":
    model_config = DefaultModelConfig(fcnet_hiddens=[16])
    config = (
        PPOConfig()
        .environment(TwoOfFour)
        .env_runners(num_env_runners=0)
        .training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=2)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=Masked, model_config=model_config))
    )
    algo = config.build_algo()
    result = algo.train()
    assert result["env_runners"]["episode_return_mean"] == 8.0
    algo.stop()
