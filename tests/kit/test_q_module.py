"""Q-networks against their arithmetic written out, and the numpy twin that acts."""

from itertools import product

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.actions import FORBIDDEN
from rllib.config.model import ModelConfig
from rllib.errors import ConfigError
from rllib.modules.q_module import QModelConfig, QModule
from rllib.policies.policy import TorchPolicy
from rllib.policies.q_policy import QPolicy

OBS = gym.spaces.Box(-1, 1, (4,), np.float32)
MASKED = gym.spaces.Dict({"action_mask": gym.spaces.MultiBinary(3), "x": OBS})
IMAGE = gym.spaces.Box(0, 255, (36, 36, 1), np.uint8)
ACTIONS = gym.spaces.Discrete(3)
BOTH = [True, False]
SHAPES = [
    QModelConfig(
        fcnet_hiddens=(6,),
        hiddens=hiddens,
        dueling=dueling,
        num_atoms=atoms,
        v_min=-2.0,
        v_max=3.0,
        noisy=noisy,
    )
    for hiddens, dueling, atoms, noisy in product([(), (5, 4)], BOTH, [1, 7], BOTH)
]


def module(shape, obs=OBS, seed=0):
    """With weights of order one."""
    torch.manual_seed(seed)
    made = QModule(obs, ACTIONS, model_config=shape)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def observations(space, count=9):
    space.seed(1)
    if space is not MASKED:
        return np.stack([space.sample() for _ in range(count)])
    dtype = [("action_mask", np.int8, (3,)), ("x", np.float32, (4,))]
    packed = np.zeros(count, dtype)
    for row in packed:
        sample = space.sample()
        row["action_mask"], row["x"] = sample["action_mask"], sample["x"]
        row["action_mask"][0] = 1
    return packed


def policy(made, shape, obs):
    found = QModule.make_policy(obs, ACTIONS, shape)
    found.set_weights({name: w.numpy() for name, w in made.policy_state().items()})
    return found


@pytest.mark.parametrize("obs_space", [OBS, MASKED], ids=["plain", "masked"])
@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_numpy_acts_as_torch_does(shape, obs_space):
    made, obs = module(shape, obs_space), observations(obs_space)
    numpy_policy = policy(made, shape, obs_space)
    assert isinstance(numpy_policy, QPolicy)
    torch_policy = TorchPolicy(made)
    greedy, _ = numpy_policy.forward(obs, {}, explore=False)
    np.testing.assert_allclose(greedy, torch_policy.forward(obs, {}, False)[0], atol=2e-5)
    assert greedy.dtype == np.float32
    for each in (numpy_policy, torch_policy):
        each.use_rng(np.random.default_rng(4))
    noisy, _ = numpy_policy.forward(obs, {}, explore=True)
    np.testing.assert_allclose(noisy, torch_policy.forward(obs, {}, True)[0], atol=2e-5)
    again, _ = numpy_policy.forward(obs, {}, explore=True)
    assert np.array_equal(noisy, again) != shape.noisy
    if obs_space is MASKED:
        assert ((noisy == FORBIDDEN) == (obs["action_mask"] == 0)).all()


def test_dueling_and_atoms_are_the_papers_sums():
    shape = QModelConfig(fcnet_hiddens=(6,), hiddens=(), num_atoms=7, v_min=-2.0, v_max=3.0)
    made, x = module(shape), torch.randn(5, 4)
    hidden = made.q.encoder(x)
    advantages = made.q.advantages(hidden).reshape(5, 3, 7)
    values = made.q.values(hidden)
    logits = values[:, None] + advantages - advantages.mean(dim=1, keepdim=True)
    output = made.forward_train({"obs": x})
    torch.testing.assert_close(output["qf_logits"], logits)
    atoms = [-2.0 + 5.0 * i / 6 for i in range(7)]
    means = sum(p * z for p, z in zip(logits.softmax(-1).unbind(-1), atoms, strict=True))
    torch.testing.assert_close(output["action_dist_inputs"], means)


def test_the_target_network_begins_as_a_copy_and_is_not_acted_with():
    torch.manual_seed(0)
    made = QModule(OBS, ACTIONS, model_config=QModelConfig(fcnet_hiddens=(6,)))
    batch = {"obs": torch.randn(5, 4)}
    online, target = made.forward_train(batch), made.forward_target(batch)
    torch.testing.assert_close(target["action_dist_inputs"], online["action_dist_inputs"])
    assert all(name.startswith("q.") for name in made.policy_state())
    assert made.q is not made.target_q
    acting = QModule(OBS, ACTIONS, inference_only=True, model_config=made.model_config)
    assert acting.target_q is None
    assert acting.state_dict().keys() == made.policy_state().keys()


def test_every_forward_in_training_has_noise_of_its_own():
    made, batch = module(SHAPES[0]), {"obs": torch.randn(5, 4)}
    assert SHAPES[0].noisy
    outputs = [
        forward(batch)["action_dist_inputs"]
        for forward in (made.forward_train, made.forward_train, made.forward_target)
    ]
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[1], outputs[2])
    greedy = made.forward_inference(batch)["action_dist_inputs"]
    torch.testing.assert_close(greedy, made.forward_exploration(batch)["action_dist_inputs"])


@pytest.mark.parametrize(
    ("obs_space", "settings"),
    [
        (IMAGE, {"conv_filters": ((4, 8, 4),)}),
        (OBS, {"use_lstm": True, "lstm_cell_size": 5}),
        (OBS, {"use_gru": True, "lstm_cell_size": 5}),
        (OBS, {"fcnet_use_layernorm": True}),
    ],
    ids=["image", "lstm", "gru", "layernorm"],
)
@pytest.mark.parametrize("noisy", [True, False])
def test_other_networks_act_in_torch(obs_space, settings, noisy):
    shape = QModelConfig(fcnet_hiddens=(6,), hiddens=(5,), num_atoms=4, noisy=noisy, **settings)
    made, obs = module(shape, obs_space), observations(obs_space)
    acting = policy(made, shape, obs_space)
    assert isinstance(acting, TorchPolicy)
    acting.use_rng(np.random.default_rng(4))
    state = acting.initial_state(len(obs))
    values, after = acting.forward(obs, state, explore=True)
    assert values.shape == (9, 3)
    assert after.keys() == state.keys()
    again, _ = acting.forward(obs, state, explore=True)
    assert np.array_equal(values, again) != noisy


def test_sequences_are_read_as_one_step_after_the_other():
    shape = QModelConfig(fcnet_hiddens=(6,), hiddens=(), use_lstm=True, lstm_cell_size=5)
    made, obs = module(shape), torch.randn(2, 7, 4)
    state = {name: torch.from_numpy(part) for name, part in made.initial_state(2).items()}
    whole = made.forward_train({"obs": obs, "state_in": state})["action_dist_inputs"]
    assert whole.shape == (2, 7, 3)
    for t in range(7):
        output = made.forward_inference({"obs": obs[:, t], "state_in": state})
        torch.testing.assert_close(output["action_dist_inputs"], whole[:, t])
        state = output["state_out"]


def test_a_module_made_by_hand_has_rllibs_defaults():
    made = QModule(OBS, ACTIONS, model_config=ModelConfig(fcnet_hiddens=(6,)))
    assert [layer.out_features for layer in made.q.advantages.hidden.layers] == [256]
    assert made.act(np.zeros((2, 4), np.float32)).shape == (2,)
    named = ModelConfig(fcnet_hiddens=(6,), head_fcnet_hiddens=(7,))
    assert QModule(OBS, ACTIONS, model_config=named).q.advantages.hidden.size == 7


def test_only_discrete_actions_have_values():
    with pytest.raises(ConfigError, match="Discrete"):
        QModule(OBS, gym.spaces.Box(-1, 1, (2,)), model_config=QModelConfig())
