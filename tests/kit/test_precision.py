"""16 bits: the scale of losses by hand, and learning in spite of it."""

import numpy as np
import pytest
import torch

from rllib.algorithms.ppo import PPOConfig, PPOLearner
from rllib.envs.make import probe_spaces
from rllib.errors import TrainingError
from rllib.learning.loss import StepReport, report_of
from rllib.learning.precision import FIRST_SCALE, LARGEST_SCALE, STEPS_TO_GROWTH, LossScale
from rllib.modules.networks import output
from rllib.sampling.env_runner import EnvRunner

SPACES = probe_spaces("CartPole-v1")


def config(mixed=None, **training):
    settings = (
        PPOConfig().environment("CartPole-v1").rl_module(model_config={"fcnet_hiddens": (8,)})
    )
    settings.env_runners(num_env_runners=0, num_envs_per_env_runner=4)
    settings.training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=2, lr=1e-3)
    return settings.training(**training).learners(mixed_precision=mixed)


@pytest.fixture(scope="module")
def fragment():
    runner = EnvRunner(config(), SPACES, 0)
    runner.set_weights(PPOLearner(config(), SPACES).get_weights(), 1)
    return runner.sample()[0]


def test_the_scale_doubles_after_many_good_steps_and_halves_on_overflow():
    scale = LossScale()
    for _ in range(STEPS_TO_GROWTH):
        scale.grow()
    assert scale.value == 2 * FIRST_SCALE
    assert scale.shrink()
    assert scale.value == FIRST_SCALE
    assert scale.num_good_steps == 0
    while scale.shrink():
        pass
    assert scale.value == 1.0
    scale.set_state({"value": LARGEST_SCALE, "num_good_steps": STEPS_TO_GROWTH - 1})
    scale.grow()
    assert scale.get_state() == {"value": LARGEST_SCALE, "num_good_steps": 0}


@pytest.mark.parametrize("is_there", [True, False])
def test_auto_is_16_bits_where_the_processor_has_instructions_for_them(is_there, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: is_there)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    precision = PPOLearner(config("auto"), SPACES).precision
    assert precision.dtype is (torch.bfloat16 if is_there else None)
    assert precision.scale is None


def test_last_layers_keep_32_bits():
    layer, hidden = output(3, 2), torch.nn.Linear(3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        x = hidden(torch.ones(1, 3))
        assert x.dtype == torch.bfloat16
        assert layer(x).dtype == torch.float32
    torch.testing.assert_close(layer(x.float()), torch.nn.Linear.forward(layer, x.float()))


@pytest.mark.parametrize("mixed", ["bfloat16", "float16"])
def test_it_learns_nearly_the_same(mixed, fragment):
    exact, mixed = PPOLearner(config(), SPACES), PPOLearner(config(mixed), SPACES)
    expected, metrics = exact.update(fragment), mixed.update(fragment)
    assert metrics["total_loss"] == pytest.approx(expected["total_loss"], rel=0.02)
    for name, weight in exact.get_module_state().items():
        found = mixed.get_module_state()[name]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, weight, atol=5e-3)


class Scaled(PPOLearner):
    """Its loss has a factor."""

    factor = 1.0

    def compute_loss(self, minibatch):
        loss = super().compute_loss(minibatch)
        return loss._replace(total=loss.total * self.factor)


def test_an_overflow_of_gradients_is_skipped_and_halves_the_scale(fragment):
    learner = Scaled(config("float16"), SPACES)
    learner.factor = 1e36  # times the scale this is more than float32 has
    metrics = learner.update(fragment)
    assert metrics["num_gradient_updates_skipped_lifetime"] == 4
    assert metrics["num_gradient_updates_lifetime"] == 0
    assert np.isfinite(metrics["vf_loss"])
    assert learner.precision.scale.value == FIRST_SCALE / 2**4
    heir = Scaled(config("float16"), SPACES)
    heir.set_state(learner.get_state())
    assert heir.precision.scale.value == FIRST_SCALE / 2**4


def test_a_loss_that_is_not_finite_is_no_matter_of_scale(fragment):
    learner = Scaled(config("float16"), SPACES)
    learner.factor = float("nan")
    with pytest.raises(TrainingError, match="total_loss = nan"):
        learner.update(fragment)


def test_steps_that_are_not_finite_are_skipped_on_request(fragment):
    learner = Scaled(config(torch_skip_nan_gradients=True), SPACES)
    before = learner.get_module_state()
    learner.factor = float("nan")
    metrics = learner.update(fragment)
    assert metrics["num_gradient_updates_skipped_lifetime"] == 4
    assert np.isnan(metrics["total_loss"])
    assert np.isfinite(metrics["vf_loss"])
    for name, weight in learner.get_module_state().items():
        np.testing.assert_array_equal(weight, before[name])
    learner.factor = 1.0
    assert learner.update(fragment)["num_gradient_updates_lifetime"] == 4
    rarely = report_of([StepReport({"x": torch.tensor(x)}, {}) for x in (1.0, np.nan, 2.0)], 3)
    assert rarely.means == {"x": 1.5}
