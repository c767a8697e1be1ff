"""Sequences for recurrent Q-networks: what each step should come to, by arithmetic by hand."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.columns import Columns
from rllib.learning.sequence_batch import Steps, sequence_batch, unroll
from rllib.modules.q_module import QModelConfig, QModule, predicted
from rllib.replay import StepSequences

GAMMA = 0.5
OBS = gym.spaces.Box(-1, 1, (2,), np.float32)


def module(**settings):
    torch.manual_seed(0)
    shape = QModelConfig(
        fcnet_hiddens=(4,), hiddens=(), use_lstm=True, lstm_cell_size=3, max_seq_len=4, **settings
    )
    return QModule(OBS, gym.spaces.Discrete(3), model_config=shape)


def draw(made, burn_in=0):
    """A sequence that goes on after its end, one that terminated, and one that was cut."""
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]], np.bool_)
    terminateds = np.zeros((3, 4), np.bool_)
    terminateds[1, 2] = True
    rewards = np.array([[1, 2, 4, 8], [16, 32, 64, 0], [128, 256, 0, 0]], np.float32)
    rng = np.random.default_rng(1)
    train_mask = mask.copy()
    train_mask[0, :burn_in] = False  # the others are the beginnings of episodes
    return StepSequences(
        obs=rng.standard_normal((3, 5, 2), dtype=np.float32),
        actions=rng.integers(0, 3, (3, 4)),
        rewards=rewards,
        terminateds=terminateds,
        mask=mask,
        train_mask=train_mask,
        state_in=made.initial_state(3),
        indices=np.arange(3),
        weights=np.ones(3, np.float32),
    )


def test_every_step_adds_up_n_rewards_as_far_as_its_sequence_goes():
    batch = sequence_batch(draw(module()), module(), n=2, gamma=GAMMA)
    assert batch.rewards[0].tolist() == [1 + 1, 2 + 2, 4 + 4, 8]
    assert batch.rewards[1, :3].tolist() == [16 + 16, 32 + 32, 64]
    assert batch.rewards[2, :2].tolist() == [128 + 128, 256]
    assert batch.after[0].tolist() == [2, 3, 4, 4]
    assert batch.after[1, :3].tolist() == [2, 3, 3]
    assert batch.after[2, :2].tolist() == [2, 2]
    assert batch.discounts[0].tolist() == [0.25, 0.25, 0.25, 0.5]
    assert batch.discounts[1, :3].tolist() == [0.25, 0.0, 0.0]
    assert batch.discounts[2, :2].tolist() == [0.25, 0.5]


def test_one_step_is_the_next_observation():
    batch = sequence_batch(draw(module()), module(), n=1, gamma=GAMMA)
    assert batch.rewards[0].tolist() == [1, 2, 4, 8]
    assert batch.after[0].tolist() == [1, 2, 3, 4]
    assert batch.discounts[1, :3].tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("num_atoms", [1, 5])
def test_the_burn_in_changes_no_value_but_stops_gradients(num_atoms):
    made = module(num_atoms=num_atoms)
    inputs = sequence_batch(draw(made), made, n=1, gamma=GAMMA).inputs
    inputs[Columns.OBS].requires_grad_()
    whole, apart = (predicted(unroll(made.forward_train, inputs, burn_in)) for burn_in in (0, 2))
    torch.testing.assert_close(whole.values, apart.values)
    if num_atoms > 1:
        torch.testing.assert_close(whole.logits, apart.logits)
    gradients = [
        torch.autograd.grad(each.values[:, 3].sum(), inputs[Columns.OBS])[0]
        for each in (whole, apart)
    ]
    assert (gradients[0][:, :4] != 0).all()
    assert (gradients[1][:, :2] == 0).all()
    assert (gradients[1][:, 2:4] != 0).all()


def test_places_are_taken_from_values_and_logits_alike():
    made = module(num_atoms=5)
    inputs = sequence_batch(draw(made), made, n=1, gamma=GAMMA).inputs
    everything = predicted(made.forward_train(inputs))
    some = everything.at(torch.tensor([0, 2]), torch.tensor([1, 3]))
    torch.testing.assert_close(some.values[1], everything.values[2, 3])
    torch.testing.assert_close(some.logits[0], everything.logits[0, 1])


def columns():
    shapes = {"a": (2, 3, 4), "b": (2, 3)}
    made = {name: torch.rand(shape, requires_grad=True) for name, shape in shapes.items()}
    return made | {"obs": {"mask": torch.rand(2, 3, 5), "image": torch.rand(2, 3, 6)}}


INDEX = torch.tensor([5, 0])


def test_steps_are_taken_where_they_are_read():
    found = columns()
    steps = Steps(found, INDEX)
    torch.testing.assert_close(steps["obs"]["mask"], found["obs"]["mask"][[1, 0], [2, 0]])
    assert steps["obs"]["mask"] is steps["obs"]["mask"]
    assert dict.keys(steps) == {"obs"}
    assert dict.keys(steps["obs"]) == {"mask"}
    assert "a" in steps
    assert "c" not in steps
    assert steps.get("c") is None
    with pytest.raises(KeyError, match="c"):
        steps["c"]


@pytest.mark.parametrize(
    "whole",
    [
        dict,
        Steps.copy,
        lambda x: {**x},
        lambda x: x | {},
        lambda x: {} | x,
        lambda x: {n: x[n] for n in x},
        lambda x: dict(zip(x.keys(), x.values(), strict=True)),
        lambda x: dict(x.items()),
    ],
)
def test_taken_as_a_whole_they_are_all_there(whole):
    steps = Steps(columns(), INDEX)
    assert len(steps) == 3
    assert whole(steps).keys() == {"a", "b", "obs"}
    assert len(steps) == 3
    assert steps.pop("b").shape == (2,)
    assert "b" not in steps


def test_who_reads_a_step_first_without_gradients_takes_none_from_others():
    found = columns()
    steps = Steps(found, INDEX)
    with torch.no_grad():
        steps["a"]
    steps["a"].sum().backward()
    assert found["a"].grad.sum() == 8


def test_they_are_changed_as_any_dict_is_whatever_was_read_before():
    steps = Steps(columns(), INDEX)
    assert steps.setdefault("a", None).shape == (2, 4)
    steps["b"] = 1
    assert len(steps) == 3
    del steps["obs"]
    assert steps.pop("b") == 1
    assert list(steps) == ["a"]
    steps |= {"a": 2}
    assert dict(steps) == {"a": 2}
    steps = Steps(columns(), INDEX)
    steps.update(a=1, c=2)
    assert list(steps) == ["a", "c", "b", "obs"]
    steps.clear()
    assert list(steps) == []
    assert len(steps) == 0
