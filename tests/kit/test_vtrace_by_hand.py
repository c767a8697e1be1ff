"""IMPALA's and APPO's gradients by hand are those of autograd."""

from typing import Any

import pytest
import torch
from gymnasium.vector import AutoresetMode
from off_policy import environment, old_fragments, stir

from rllib.algorithms.appo import APPOConfig, APPOLearner
from rllib.algorithms.impala import IMPALAConfig, IMPALALearner
from rllib.envs.counter import CounterEnv
from rllib.envs.make import Spaces, probe_spaces
from rllib.learning.loss import Loss
from rllib.sampling.env_runner import EnvRunner

LEARNERS: dict[type[IMPALAConfig], type[IMPALALearner]] = {
    IMPALAConfig: IMPALALearner,
    APPOConfig: APPOLearner,
}
IMPALA: dict[str, Any] = {"vf_loss_coeff": 0.7, "vtrace_clip_rho_threshold": 0.9, "gamma": 0.9}
APPO = IMPALA | {"clip_param": 0.1, "target_worker_clipping": 1.1}


def stirred(settings: IMPALAConfig, spaces: Spaces) -> IMPALALearner:
    """With weights that are the same in every call."""
    learner = LEARNERS[type(settings)](settings, spaces)  # type: ignore[arg-type]
    torch.manual_seed(2)
    stir(learner.module)
    if isinstance(learner, APPOLearner):
        stir(learner.target)
    return learner


def assert_same(settings: IMPALAConfig, spaces: Spaces, batch: Any) -> None:
    by_hand, by_autograd = stirred(settings, spaces), stirred(settings, spaces)
    assert by_hand.by_hand is not None
    by_autograd.by_hand = None
    ours, theirs = (
        each.compute_loss(each.build_train_batch((batch,))) for each in (by_hand, by_autograd)
    )
    assert isinstance(theirs.total, torch.Tensor)
    theirs.total.backward()  # type: ignore[no-untyped-call]
    assert ours.backward is not None
    ours.backward()
    for (name, own), other in zip(
        by_hand.module.named_parameters(), by_autograd.module.parameters(), strict=True
    ):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=3e-6, msg=name)
    assert by_autograd.optimizers["default_optimizer"].gradient.abs().max() > 1e-3
    assert_same_numbers(ours, theirs)


def assert_same_numbers(ours: Loss, theirs: Loss) -> None:
    own = {name: float(value) for name, value in ours.scalars().items()}
    others = {name: float(value) for name, value in theirs.scalars().items()}
    assert own == pytest.approx(others, 1e-4, 1e-5)


@pytest.mark.parametrize("autoreset", list(AutoresetMode))
@pytest.mark.parametrize(
    ("config", "training"),
    [
        (IMPALAConfig, IMPALA),
        (IMPALAConfig, IMPALA | {"entropy_coeff": 0.0}),
        (APPOConfig, APPO),
        (APPOConfig, APPO | {"use_kl_loss": True, "kl_coeff": 0.3, "entropy_coeff": 0.1}),
    ],
)
def test_the_gradient_is_that_of_autograd(
    config: type[IMPALAConfig], training: dict[str, Any], autoreset: AutoresetMode
) -> None:
    settings = environment(config()).training(**training)
    _, batches = old_fragments(settings, autoreset)
    for batch in batches:
        assert_same(settings, probe_spaces(CounterEnv), batch)


@pytest.mark.parametrize("config", [IMPALAConfig, APPOConfig])
def test_so_it_is_where_actions_are_real_numbers(config: type[IMPALAConfig]) -> None:
    settings = config().environment("Pendulum-v1").training(gamma=0.9)
    settings.env_runners(num_env_runners=0, num_envs_per_env_runner=3, rollout_fragment_length=9)
    settings.rl_module(model_config={"fcnet_hiddens": (8, 4)}).learners(num_learners=0)
    spaces = probe_spaces("Pendulum-v1")
    runner = EnvRunner(settings, spaces, index=0)
    weights = stirred(settings, spaces).get_weights()
    runner.set_weights({name: 0.9 * value for name, value in weights.items()}, 1)
    batch, _ = runner.sample()
    runner.stop()
    assert_same(settings, spaces, batch)


@pytest.mark.parametrize("model", [{"use_lstm": True}, {"vf_share_layers": True}])
def test_what_cannot_be_done_by_hand_is_left_to_autograd(model: dict[str, Any]) -> None:
    settings = environment(IMPALAConfig()).rl_module(model_config=model)
    assert IMPALALearner(settings, probe_spaces(CounterEnv)).by_hand is None


def test_a_loss_of_ones_own_is_differentiated_by_autograd() -> None:
    class Own(APPOLearner):
        def compute_loss(self, minibatch: Any) -> Loss:
            return super().compute_loss(minibatch)

    settings = environment(APPOConfig())
    assert Own(settings, probe_spaces(CounterEnv)).by_hand is None
