"""A module of one's own, with shared layers, and its settings as a dict."""

from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.models.torch.misc import normc_initializer
from ray.rllib.utils.annotations import override
from ray.rllib.utils.framework import try_import_torch
from ray.rllib.utils.typing import TensorType

torch, nn = try_import_torch()


class SharedLayers(TorchRLModule, ValueFunctionAPI):
    @override(TorchRLModule)
    def setup(self):
        super().setup()
        hidden = self.model_config["hidden_dim"]
        self.trunk = nn.Sequential(nn.Linear(self.observation_space.shape[0], hidden), nn.ReLU())
        self.pi = nn.Linear(hidden, self.action_space.n)
        self.vf = nn.Linear(hidden, 1)
        normc_initializer(0.01)(self.vf.weight)

    @override(TorchRLModule)
    def _forward_inference(self, batch, **kwargs):
        with torch.no_grad():
            return self._forward_train(batch)

    @override(TorchRLModule)
    def _forward_exploration(self, batch, **kwargs):
        return self._forward_inference(batch)

    @override(TorchRLModule)
    def _forward_train(self, batch, **kwargs):
        features = self.trunk(batch[Columns.OBS])
        return {Columns.ACTION_DIST_INPUTS: self.pi(features), Columns.EMBEDDINGS: features}

    @override(ValueFunctionAPI)
    def compute_values(self, batch, embeddings=None) -> TensorType:
        if embeddings is None:
            embeddings = self.trunk(batch[Columns.OBS])
        return self.vf(embeddings).squeeze(-1)


if __name__ == "__main__":
    spec = RLModuleSpec(module_class=SharedLayers, model_config={"hidden_dim": 16})
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=1)
        .training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=1)
        .rl_module(rl_module_spec=spec)
    )
    algo = config.build_algo()
    algo.train()
    module = algo.get_module()
    assert isinstance(module, SharedLayers)
    assert sum(p.numel() for p in module.parameters()) == 5 * 16 + 17 * 2 + 17
    algo.stop()
