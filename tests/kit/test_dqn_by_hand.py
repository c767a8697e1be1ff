"""DQN's gradient by hand is that of autograd, and is left to it where there is no way by hand."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.algorithms.dqn import DQNConfig, DQNLearner
from rllib.columns import Columns
from rllib.envs.make import Spaces
from rllib.learning.loss import Loss
from rllib.learning.transition_batch import TransitionBatch
from rllib.off_policy import Q_VALUES, TD_ERRORS

B, D, A = 33, 5, 3
SPACES = Spaces(gym.spaces.Box(-1.0, 1.0, (D,)), gym.spaces.Discrete(A))


def learner(model: dict[str, Any], learner_class: Any = DQNLearner, **training: Any) -> DQNLearner:
    config = DQNConfig().environment("CartPole-v1").debugging(seed=3)
    config.training(**{"train_batch_size_per_learner": B, "hiddens": [8]} | training)
    config.rl_module(model_config={"fcnet_hiddens": [16, 12], **model})
    made: DQNLearner = learner_class(config, SPACES)
    with torch.no_grad():  # networks that differ, with values that are not near 0
        torch.manual_seed(1)
        for parameter in made.module.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return made


def draw_batch(num_rows: int = B) -> TransitionBatch:
    """With errors on both sides of 1, terminal steps, and weights."""
    rng = np.random.default_rng(7)
    obs, later = torch.from_numpy(rng.normal(size=(2, num_rows, D)).astype(np.float32))
    rewards, weights = torch.from_numpy(rng.uniform(0, 2, (2, num_rows)).astype(np.float32))
    actions = torch.from_numpy(rng.integers(A, size=num_rows))
    discounts = torch.from_numpy(0.9 * rng.integers(2, size=num_rows).astype(np.float32))
    return TransitionBatch(
        {Columns.OBS: obs}, {Columns.OBS: later}, actions, rewards, discounts, weights
    )


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({}, {}),
        ({"fcnet_activation": "relu"}, {"dueling": False}),
        ({}, {"double_q": False}),
        ({}, {"td_error_loss_fn": "mse", "dueling": False, "hiddens": []}),
        ({"fcnet_hiddens": []}, {}),
        ({"fcnet_hiddens": []}, {"dueling": False, "hiddens": []}),
        ({"head_fcnet_hiddens": [6, 4]}, {}),
    ],
)
def test_the_gradient_is_that_of_autograd(model: dict[str, Any], training: dict[str, Any]) -> None:
    by_hand, by_autograd = learner(model, **training), learner(model, **training)
    assert by_hand.by_hand is not None
    by_autograd.by_hand = None
    for num_rows in (B, 4, B):  # buffers are kept from one batch to the next
        batch = draw_batch(num_rows)
        ours, theirs = (each.compute_loss(batch) for each in (by_hand, by_autograd))
        by_autograd.optimizers["default_optimizer"].zero_grad()
        assert isinstance(theirs.total, torch.Tensor)
        theirs.total.backward()
        assert ours.backward is not None
        ours.backward()
        for (name, own), other in zip(
            by_hand.module.q.named_parameters(), by_autograd.module.q.parameters(), strict=True
        ):
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-5, atol=1e-6, msg=name)
        assert ours.total == pytest.approx(theirs.total.item(), 1e-5)
        for name in (TD_ERRORS, Q_VALUES):
            mine, other_rows = (torch.as_tensor(each.arrays[name]) for each in (ours, theirs))
            torch.testing.assert_close(mine, other_rows.detach())


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({"fcnet_activation": "silu"}, {}),
        ({"fcnet_use_layernorm": True}, {}),
        ({"use_lstm": True}, {}),
        ({}, {"noisy": True}),
        ({}, {"num_atoms": 5}),
        ({}, {"train_batch_size_per_learner": 1 << 22}),
    ],
)
def test_what_cannot_be_done_by_hand_is_left_to_autograd(
    model: dict[str, Any], training: dict[str, Any]
) -> None:
    assert learner(model, **training).by_hand is None


def test_a_loss_of_ones_own_is_left_to_autograd() -> None:
    class Own(DQNLearner):
        def compute_loss(self, minibatch: Any) -> Loss:
            loss = super().compute_loss(minibatch)
            assert isinstance(loss.total, torch.Tensor)
            return loss._replace(total=2 * loss.total)

    assert learner({}, Own).by_hand is None


@pytest.mark.parametrize("spoilt", [3, -1])
def test_an_action_that_there_is_not_is_refused(spoilt: int) -> None:
    made = learner({})
    batch = draw_batch()
    batch.actions[5] = spoilt
    if made.by_hand is not None and made.by_hand.kernel is not None:
        assert math.isnan(made.compute_loss(batch).total)  # type: ignore[arg-type]


@pytest.mark.parametrize("double_q", [True, False])
@pytest.mark.parametrize("hiddens", [[], [8]])
def test_what_is_compiled_is_what_numpy_makes_of_it(double_q: bool, hiddens: list[int]) -> None:
    compiled, in_numpy = (learner({}, hiddens=hiddens, double_q=double_q) for _ in range(2))
    assert compiled.by_hand is not None
    assert in_numpy.by_hand is not None
    in_numpy.by_hand.kernel = None
    for num_rows in (4, 2 * B):
        found, expected = (each.compute_loss(draw_batch(num_rows)) for each in (compiled, in_numpy))
        assert found.total == pytest.approx(expected.total, rel=1e-5)
        for name in (TD_ERRORS, Q_VALUES):
            np.testing.assert_allclose(found.arrays[name], expected.arrays[name], 1e-5, 1e-6)
        for loss in (found, expected):
            assert loss.backward is not None
            loss.backward()
        for mine, other in zip(
            compiled.module.q.parameters(), in_numpy.module.q.parameters(), strict=True
        ):
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-5, atol=1e-6)
