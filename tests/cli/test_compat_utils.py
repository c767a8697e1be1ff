"""RLlib's small functions for arrays, tensors and spaces."""

import math
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple

from rllib.algorithms.ppo import PPOConfig
from rllib.compat import numpy_utils, space_utils, torch_utils
from rllib.compat.checkpoints import Checkpointable, get_checkpoint_info
from rllib.compat.modules import same_padding, valid_padding
from rllib.compat.nested import leaves, map_leaves
from rllib.compat.tools import check

Pair = namedtuple("Pair", "x y")


def test_every_leaf_of_a_nesting_in_its_place() -> None:
    tree = {"b": [1, (2, 3)], "a": Pair(4, 5)}
    assert map_leaves(lambda x, y: x - y, tree, tree) == {"b": [0, (0, 0)], "a": Pair(0, 0)}
    assert list(leaves(tree)) == [4, 5, 1, 2, 3]
    with pytest.raises(ValueError, match="shorter"):
        map_leaves(max, [1, 2], [1])


# Arrays.


def test_tensors_become_arrays() -> None:
    found = numpy_utils.convert_to_numpy({"a": torch.ones(2, dtype=torch.float64), "b": [None, 1]})
    assert found["a"].dtype == np.float32
    assert found["b"] == [None, 1]
    assert numpy_utils.convert_to_numpy(torch.tensor(2.5)) == 2.5
    kept = numpy_utils.convert_to_numpy(np.zeros(1), reduce_type=False)
    assert kept.dtype == np.float64


def test_functions_of_arrays() -> None:
    check(numpy_utils.softmax([0.0, np.log(3.0)]), [0.25, 0.75])
    check(numpy_utils.softmax([1000.0, 0.0]), [1.0, 1e-6], atol=1e-12)
    check(numpy_utils.relu(np.array([-2.0, 3.0]), 0.1), [-0.2, 3.0])
    check(numpy_utils.sigmoid(0.0), 0.5)
    check(numpy_utils.sigmoid(0.5, derivative=True), 0.25)
    check(numpy_utils.huber_loss(np.array([0.5, -3.0])), [0.125, 2.5])
    check(numpy_utils.l2_loss(np.array([3.0, 4.0])), 12.5)
    x, weights = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    check(numpy_utils.fc(x, weights, np.ones(3), framework="torch"), [[2.0, 3.0, 4.0]])


def test_choices_of_arrays() -> None:
    assert numpy_utils.one_hot(np.array([[2, 0]])).tolist() == [[[0, 0, 1], [1, 0, 0]]]
    assert numpy_utils.one_hot(np.array([True])).tolist() == [[0, 1]]
    assert numpy_utils.one_hot(1, 3, on_value=5, off_value=-1).tolist() == [-1, 5, -1]
    assert numpy_utils.one_hot_multidiscrete([[1, 0]], [2, 3]).tolist() == [[0, 1, 1, 0, 0]]
    with pytest.raises(ValueError, match=r"one_hot\(depth=2\) of integers from 0 to 2"):
        numpy_utils.one_hot(np.array([0, 2]), 2)


def test_an_immutable_action_cannot_be_written_to() -> None:
    action = numpy_utils.make_action_immutable({"a": (np.zeros(2), 3)})
    with pytest.raises(ValueError, match="read-only"):
        action["a"][0][0] = 1.0
    assert action["a"][1] == 3


# Tensors.


def test_arrays_become_tensors() -> None:
    frozen = np.zeros(2)
    frozen.setflags(write=False)
    given = {"a": frozen, "b": (3, None, "text"), "c": np.array(["x"]), "d": True}
    found = torch_utils.convert_to_torch_tensor(given, "cpu")
    assert found["a"].dtype == torch.float32
    assert found["b"][0].item() == 3
    assert found["b"][1:] == (None, "text")
    assert found["c"] is given["c"]
    tensor = torch.ones(2, requires_grad=True)
    copy = torch_utils.copy_torch_tensors([tensor, "x"])
    copy[0].zero_()
    assert (tensor.tolist(), copy[1]) == ([1.0, 1.0], "x")


def test_functions_of_tensors() -> None:
    x = torch.tensor([0.5, -3.0])
    check(torch_utils.huber_loss(x), [0.125, 2.5])
    check(torch_utils.l2_loss(torch.tensor([3.0, 4.0])), 12.5)
    check(torch_utils.global_norm([torch.tensor([3.0]), torch.tensor([[4.0]])]), 5.0)
    check(torch_utils.inverse_symlog(torch_utils.symlog(x)), x)
    check(torch_utils.symlog(torch.tensor([-np.e + 1])), [-1.0])
    y = torch.tensor([1.0, 2.0, 3.0])
    check(torch_utils.explained_variance(y, y), 1.0)
    check(torch_utils.explained_variance(y, -3 * y), -1.0)
    masked = torch.tensor([[1.0, float("-inf"), 3.0]])
    check(torch_utils.reduce_mean_ignore_inf(masked), 2.0)
    check(torch_utils.reduce_mean_ignore_inf(masked, 1), [2.0])
    logits, labels = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    check(torch_utils.softmax_cross_entropy_with_logits(logits, labels), [np.log(2)])


def test_choices_and_sequences_of_tensors() -> None:
    assert torch_utils.one_hot(torch.tensor([1]), Discrete(3)).tolist() == [[0, 1, 0]]
    two = torch_utils.one_hot(torch.tensor([[1, 2]]), MultiDiscrete([2, 3]))
    assert two.tolist() == [[0, 1, 0, 0, 1]]
    with pytest.raises(ValueError, match="not Box"):
        torch_utils.one_hot(torch.tensor([1]), Box(0, 1))
    lengths = torch.tensor([1, 3])
    expected = [[True, False, False], [True, True, True]]
    assert torch_utils.sequence_mask(lengths).tolist() == expected
    assert torch_utils.sequence_mask(lengths, time_major=True).T.tolist() == expected
    assert torch_utils.sequence_mask(lengths, 2, torch.float32).tolist() == [[1, 0], [1, 1]]


def test_a_target_network_moves_by_tau() -> None:
    main, target = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    before = target.weight.item()
    torch_utils.update_target_network(main, target, 0.25)
    check(target.weight.item(), 0.25 * main.weight.item() + 0.75 * before)
    torch_utils.set_torch_seed(3)
    first = torch.rand(1)
    torch_utils.set_torch_seed(3)
    torch_utils.set_torch_seed(None)
    assert torch.rand(1) == first


# Spaces.

SPACE = Dict({"b": Box(-2.0, 4.0, (1,)), "a": Tuple([Discrete(3), Box(1, 5, (2,), np.int64)])})


def test_spaces_as_nestings() -> None:
    struct: Any = space_utils.get_base_struct_from_space(SPACE)
    assert struct == {"b": SPACE["b"], "a": (SPACE["a"][0], SPACE["a"][1])}
    assert space_utils.flatten_space(SPACE) == [SPACE["a"][0], SPACE["a"][1], SPACE["b"]]
    assert space_utils.is_composite_space(SPACE)
    assert not space_utils.is_composite_space(Discrete(2))
    assert space_utils.get_original_space(SPACE) is SPACE


def test_members_in_batches_and_back() -> None:
    members = [{"a": (i, np.array([i, i + 1]))} for i in range(3)]
    batched = space_utils.batch(members)
    assert batched["a"][0].tolist() == [0, 1, 2]
    assert batched["a"][1].shape == (3, 2)
    check(space_utils.unbatch(batched), members)
    parts = [np.array([1, 2]), np.array([3])]
    whole = space_utils.batch(parts, individual_items_already_have_batch_dim=True)
    assert whole.tolist() == [1, 2, 3]
    assert space_utils.flatten_to_single_ndarray({"b": [1.0], "a": np.ones((1, 2))}).shape == (3,)
    with pytest.raises(ValueError, match="no members"):
        space_utils.batch([])


def test_actions_between_their_bounds_and_one() -> None:
    action = {"b": np.array([0.5], np.float32), "a": (2, np.array([0, 1]))}
    unsquashed = space_utils.unsquash_action(action, SPACE)
    check(unsquashed["b"], [2.5])
    check(unsquashed["a"], (2, np.array([1, 2])))
    back = space_utils.normalize_action(unsquashed, space_utils.get_base_struct_from_space(SPACE))
    check(back["b"], [0.5])
    clipped = space_utils.clip_action({"b": np.array([9.0]), "a": (1, np.array([0, 9]))}, SPACE)
    check(clipped, {"b": np.array([4.0]), "a": (1, np.array([1, 5]))})


# Checkpoints.


def test_a_checkpoint_tells_what_it_is(tmp_path: Path) -> None:
    settings = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    with settings.build_algo() as algo:
        assert isinstance(algo, Checkpointable)
        module = algo.get_module()
        assert isinstance(module, Checkpointable)
        info = get_checkpoint_info(algo.save_to_path(tmp_path / "algorithm"))
    assert (info["type"], info["module_ids"]) == ("Algorithm", {"default_policy"})
    assert info["checkpoint_dir"] == str(tmp_path / "algorithm")
    assert get_checkpoint_info(module.save_to_path(tmp_path / "module"))["type"] == "RLModule"


@pytest.mark.parametrize("size", [84, (42, 21)])
@pytest.mark.parametrize("kernel", [4, (3, 5)])
@pytest.mark.parametrize("stride", [1, 2, (3, 2)])
def test_padding_is_what_convolutions_need(size: Any, kernel: Any, stride: Any) -> None:
    height, width = (size, size) if isinstance(size, int) else size
    image = torch.zeros(1, 1, height, width)
    convolution = torch.nn.Conv2d(1, 1, kernel, stride)
    assert convolution(image).shape[2:] == valid_padding(size, kernel, stride)
    padding, out = same_padding(size, kernel, stride)
    assert convolution(torch.nn.ZeroPad2d(padding)(image)).shape[2:] == out
    steps = (stride, stride) if isinstance(stride, int) else stride
    assert out == (math.ceil(height / steps[0]), math.ceil(width / steps[1]))
