"""A module with an LSTM of one's own: its forward always gets a time dimension."""

import numpy as np
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.utils.annotations import override
from ray.rllib.utils.framework import try_import_torch

torch, nn = try_import_torch()


class Remembering(TorchRLModule, ValueFunctionAPI):
    @override(TorchRLModule)
    def setup(self):
        self.cell_size = self.model_config.get("lstm_cell_size", 256)
        self.lstm = nn.LSTM(self.observation_space.shape[0], self.cell_size, batch_first=True)
        self.pi = nn.Linear(self.cell_size, self.action_space.n)
        self.vf = nn.Linear(self.cell_size, 1)

    @override(TorchRLModule)
    def get_initial_state(self):
        return {
            "h": np.zeros((self.cell_size,), dtype=np.float32),
            "c": np.zeros((self.cell_size,), dtype=np.float32),
        }

    @override(TorchRLModule)
    def _forward(self, batch, **kwargs):
        features, state_out = self.remember(batch)
        return {Columns.ACTION_DIST_INPUTS: self.pi(features), Columns.STATE_OUT: state_out}

    @override(TorchRLModule)
    def _forward_train(self, batch, **kwargs):
        features, state_out = self.remember(batch)
        return {
            Columns.ACTION_DIST_INPUTS: self.pi(features),
            Columns.STATE_OUT: state_out,
            Columns.EMBEDDINGS: features,
        }

    @override(ValueFunctionAPI)
    def compute_values(self, batch, embeddings=None):
        if embeddings is None:
            embeddings, _ = self.remember(batch)
        return self.vf(embeddings).squeeze(-1)

    def remember(self, batch):
        obs = batch[Columns.OBS]
        assert obs.dim() == 3, "(batch, time, features)"
        h, c = batch[Columns.STATE_IN]["h"], batch[Columns.STATE_IN]["c"]
        features, (h, c) = self.lstm(obs, (h.unsqueeze(0), c.unsqueeze(0)))
        return features, {"h": h.squeeze(0), "c": c.squeeze(0)}


if __name__ == "__main__":
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=3)
        .training(train_batch_size_per_learner=120, minibatch_size=60, num_epochs=2)
        .rl_module(
            rl_module_spec=RLModuleSpec(
                module_class=Remembering, model_config={"lstm_cell_size": 8, "max_seq_len": 10}
            )
        )
    )
    algo = config.build_algo()
    result = algo.train()
    assert result["learners"]["default_policy"]["num_module_steps_trained"] > 0
    algo.stop()
