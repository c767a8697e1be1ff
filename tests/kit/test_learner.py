"""The learner: minibatches, clipping, its refusal of NaN, and its state."""

from itertools import chain
from typing import NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from rllib.algorithms.ppo import PPOConfig, PPOLearner
from rllib.algorithms.sac import SACConfig, SACLearner
from rllib.config import AlgorithmConfig
from rllib.envs.make import Spaces, probe_spaces
from rllib.errors import CheckpointError, TrainingError
from rllib.learning.learner import Learner, Loss
from rllib.learning.optimizer import Adam
from rllib.sampling.env_runner import EnvRunner

SPACES = Spaces(gym.spaces.Box(-1, 1, (1,), np.float32), gym.spaces.Discrete(2))


class Rows(NamedTuple):
    features: Tensor
    index: Tensor


class Recorder(Learner[Rows]):
    """Its loss pulls every value towards 3, times ``scale``; it notes which rows it has seen."""

    num_rows = 10
    scale = 1.0

    def build_train_batch(self, batches):
        self.seen = []
        return Rows(torch.ones(self.num_rows, 1), torch.arange(self.num_rows))

    def compute_loss(self, minibatch):
        self.seen.append(minibatch.index.tolist())
        values = self.module.compute_values({"obs": minibatch.features})
        loss = (values - 3.0).square().mean() * self.scale
        return Loss(loss, {"vf_loss": loss, "rows": torch.tensor(float(len(minibatch.index)))})


def recorder(spaces=SPACES, hiddens=(), log_gradients=False, **training):
    config = AlgorithmConfig().environment("unused").training(**training)
    config.reporting(log_gradients=log_gradients)
    return Recorder(config.rl_module(model_config={"fcnet_hiddens": hiddens}), spaces)


def test_every_epoch_passes_once_over_all_rows_in_equal_parts():
    learner = recorder(num_epochs=3, minibatch_size=3, shuffle_batch_per_epoch=True)
    metrics = learner.update()
    assert [len(rows) for rows in learner.seen] == [3, 3, 4] * 3
    epochs = [[*chain(*learner.seen[i : i + 3])] for i in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert metrics["rows"] == pytest.approx(10 / 3)
    assert metrics["num_module_steps_trained"] == 10
    assert metrics["num_gradient_updates_lifetime"] == 9
    assert learner.update()["num_module_steps_trained_lifetime"] == 20


def test_one_order_for_all_epochs_on_request():
    learner = recorder(num_epochs=2, minibatch_size=5, shuffle_batch_per_epoch=False)
    learner.update()
    assert learner.seen[:2] == learner.seen[2:]


def test_without_minibatch_size_the_whole_batch_is_one():
    learner = recorder()
    learner.update()
    assert [len(rows) for rows in learner.seen] == [10]


def test_settings_follow_their_schedules():
    learner = recorder(lr=[[0, 1e-2], [100, 1e-3]])
    assert learner.update(timestep=50)["default_optimizer_learning_rate"] == pytest.approx(0.0055)
    assert learner.now.lr == pytest.approx(0.0055)
    assert learner.now.gamma == learner.config.gamma == 0.99


class TwoHeads(Recorder):
    """Its policy and its value function have optimisers of their own; the policy rests at times."""

    num_calls = 0

    def configure_optimizers(self):
        pi, vf = self.module.pi, self.module.vf
        return {"pi": Adam(pi.parameters(), 0.1), "vf": Adam(vf.parameters(), 0.01)}

    def compute_loss(self, minibatch):
        self.num_calls += 1
        output = self.module.forward_train({"obs": minibatch.features})
        values = self.module.compute_values({"obs": minibatch.features})
        losses = {"vf": values.square().mean()}
        if self.num_calls % 2:
            losses["pi"] = output["action_dist_inputs"].square().mean() + values.mean()
        return Loss(losses, {}, {"index": minibatch.index})

    def after_gradient_based_update(self, timestep):
        self.told = [*getattr(self, "told", []), timestep]


def two_heads(**training):
    settings = AlgorithmConfig().environment("unused").training(**training)
    settings.rl_module(model_config={"fcnet_hiddens": (4,)})
    return TwoHeads(settings, SPACES)


def test_the_norms_of_all_gradients_on_request():
    learner = recorder(hiddens=(4,))
    assert not [name for name in learner.update() if name.endswith("weight_norm")]
    learner = recorder(hiddens=(4,), log_gradients=True)
    metrics = learner.update()
    norms = [value for name, value in metrics.items() if name.startswith("gradients_vf.")]
    assert len(norms) == 2
    every = [v for n, v in metrics.items() if n.startswith("gradients_") and n.count(".")]
    whole = metrics["gradients_default_optimizer_global_norm"]
    assert np.linalg.norm(every) == pytest.approx(whole)


def test_several_optimisers_make_steps_of_their_own():
    learner = two_heads(num_epochs=3)
    metrics = learner.update(timestep=9)
    assert learner.told == [9, 9, 9]
    assert [each.num_steps for each in learner.optimizers.values()] == [2, 3]
    assert (metrics["pi_learning_rate"], metrics["vf_learning_rate"]) == (0.1, 0.01)
    assert metrics["num_gradient_updates_lifetime"] == 3
    assert metrics.keys() >= {"pi_loss", "vf_loss", "total_loss", "gradients_pi_global_norm"}
    state = learner.get_state()
    heir = two_heads()
    heir.set_state(state)
    assert heir.optimizers["vf"].num_steps == 3


def test_what_is_reported_of_rows_keeps_their_order():
    assert two_heads().update()["index"].tolist() == [*range(10)]
    assert sorted(two_heads(minibatch_size=3).update()["index"]) == [*range(10)]


def test_it_learns():
    learner = recorder(lr=0.05, num_epochs=300)
    learner.update()
    assert learner.update()["vf_loss"] < 1e-3


@pytest.mark.parametrize("by", ["value", "norm", "global_norm"])
def test_gradients_are_clipped_as_asked(by):
    learner = recorder(grad_clip=0.01, grad_clip_by=by)
    learner.scale = 100.0
    norm = learner.update()["gradients_default_optimizer_global_norm"]
    gradients = [p.grad for p in learner.optimizers["default_optimizer"].parameters]
    norms = torch.stack([gradient.norm() for gradient in gradients])
    clipped = {
        "value": max(gradient.abs().max() for gradient in gradients),
        "norm": norms.max(),
        "global_norm": norms.norm(),
    }
    assert norm > 1.0  # what is reported is of before
    assert float(clipped[by]) == pytest.approx(0.01, rel=1e-4)


def test_a_loss_that_is_not_finite_is_refused_and_named():
    learner = recorder()
    before = learner.get_module_state()
    learner.scale = float("nan")
    with pytest.raises(TrainingError, match=r"total_loss = nan, vf_loss = nan, gradient of vf"):
        learner.update()
    for name, weight in learner.get_module_state().items():
        np.testing.assert_array_equal(weight, before[name])


def test_the_root_seed_decides_the_weights_and_leaves_the_global_stream_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = recorder().get_module_state()
    assert torch.rand(1) == expected
    for name, weight in recorder().get_module_state().items():
        np.testing.assert_array_equal(weight, first[name])


def ppo_learner():
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    config.training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=2)
    config.rl_module(model_config={"fcnet_hiddens": (8,)})
    return config, PPOLearner(config, probe_spaces("CartPole-v1"))


def test_a_restored_learner_goes_on_bit_for_bit():
    config, learner = ppo_learner()
    runner = EnvRunner(config, probe_spaces("CartPole-v1"), 0)
    runner.set_weights(learner.get_weights(), 1)
    batch, _ = runner.sample()
    learner.update(batch)
    _, heir = ppo_learner()
    heir.set_state(learner.get_state())
    learner.update(batch)
    heir.update(batch)
    for name, weight in learner.get_module_state().items():
        np.testing.assert_array_equal(heir.get_module_state()[name], weight)
    assert heir.kl_coeff == learner.kl_coeff
    assert heir.num_steps_trained_lifetime == learner.num_steps_trained_lifetime
    assert learner.num_steps_trained_lifetime == 2 * batch.num_env_steps


class Cautious(PPOLearner):
    """A learner of one's own."""


def test_a_learner_class_of_ones_own():
    config, _ = ppo_learner()
    with config.learners(learner_class=Cautious).build_algo() as algorithm:
        assert type(algorithm.learner_group.workers[0].target) is Cautious


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("compute_losses", r"it is called compute_loss\(minibatch\) here"),
        ("configure_optimizers_for_module", r"it is called configure_optimizers\(\) here"),
        ("build", "a learner is complete once it is made"),
    ],
)
def test_a_method_that_rllib_would_call_is_refused_rather_than_ignored(name, instead):
    with pytest.raises(TypeError, match=f"Mine.{name} would never be called: {instead}"):
        type("Mine", (PPOLearner,), {name: lambda self, **kwargs: None})


class Halved(PPOLearner):
    """RLlib's shape: another total of the algorithm's loss."""

    def compute_loss_for_module(self, *, module_id, config, batch, fwd_out):
        assert config.kl_coeff == self.config.kl_coeff
        assert batch["obs"].shape == (len(batch["actions"]), 4)
        loss = super().compute_loss_for_module(
            module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
        )
        self.metrics.log_value((module_id, "whole"), loss.detach())
        return loss / 2


def test_a_loss_in_rllibs_shape_stands_for_the_algorithms():
    config, plain = ppo_learner()
    halved = Halved(config, plain.spaces)
    assert plain.by_hand is not None
    assert halved.by_hand is None  # what is worked out by hand is another loss
    runner = EnvRunner(config, plain.spaces, 0)
    runner.set_weights(plain.get_weights(), 1)
    batch, _ = runner.sample()
    found, expected = halved.update(batch), plain.update(batch)
    assert found["total_loss"] == pytest.approx(found["whole"] / 2)
    assert found.keys() - {"whole"} == expected.keys()


def test_a_loss_in_rllibs_shape_is_for_algorithms_with_one_loss():
    class Added(SACLearner):
        def compute_loss_for_module(self, **others):
            raise AssertionError("not to be called")

    config = SACConfig().environment("CartPole-v1").learners(learner_class=Added)
    config.training(num_steps_sampled_before_learning_starts=0, actor_lr=1e-3)
    with config.build_algo() as algo, pytest.raises(TypeError, match="each of its optimisers"):
        algo.train()


def test_the_kl_weight_follows_its_target():
    _, learner = ppo_learner()
    for kl, weight in [(0.03, 0.3), (0.01, 0.3), (0.004, 0.15)]:
        learner.after_update({"mean_kl_loss": kl})
        assert learner.kl_coeff == pytest.approx(weight)


def test_the_state_of_another_network_is_refused():
    with pytest.raises(CheckpointError, match="another model_config"):
        recorder(hiddens=(4,)).set_state(recorder().get_state())
    state = recorder().get_state()
    state["optimizers"] = recorder(hiddens=(4,)).get_state()["optimizers"]
    with pytest.raises(CheckpointError, match=r"exp_avg has shape \[\d+\], but .* 6 parameters"):
        recorder().set_state(state)
