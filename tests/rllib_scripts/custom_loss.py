"""A learner that adds to PPO's loss, as RLlib's own example does."""

from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core import Columns
from ray.rllib.core.learner.learner import DEFAULT_OPTIMIZER
from ray.rllib.utils.annotations import override
from ray.rllib.utils.framework import try_import_torch

torch, _ = try_import_torch()


class SmallWeights(PPOTorchLearner):
    @override(PPOTorchLearner)
    def compute_loss_for_module(self, *, module_id, config, batch, fwd_out):
        base = super().compute_loss_for_module(
            module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
        )
        assert len(fwd_out[Columns.ACTION_DIST_INPUTS]) == len(batch[Columns.ADVANTAGES])
        weights = self.get_parameters(self.module[module_id])
        size = torch.mean(torch.stack([w.square().mean() for w in weights]))
        self.metrics.log_value(key=(module_id, "mean_square"), value=size, window=1)
        return base + config.learner_config_dict["coeff"] * size


if __name__ == "__main__":
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(
            learner_class=SmallWeights,
            learner_config_dict={"coeff": 100.0},
            train_batch_size_per_learner=128,
            minibatch_size=64,
            num_epochs=8,
            lr=0.01,
        )
        .rl_module(model_config={"fcnet_hiddens": [16]})
    )
    algo = config.build_algo()
    sizes = [algo.train()["learners"]["default_policy"]["mean_square"] for _ in range(3)]
    assert sizes[-1] < sizes[0]
    assert DEFAULT_OPTIMIZER == "default_optimizer"
    algo.stop()
