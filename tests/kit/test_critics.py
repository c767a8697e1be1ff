"""Critics side by side are the same as one after the other."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.algorithms.sac import SACConfig
from rllib.config.model import ModelConfig
from rllib.errors import ConfigError
from rllib.modules import dense
from rllib.modules.actor_q_module import ActorQConfig, SACModule, TD3Module
from rllib.modules.critics import SeparateCritics, StackedCritics, make_critics
from rllib.modules.observations import ObservationEncoder
from rllib.policies.mlp_policy import MLPPolicy
from rllib.policies.policy import TorchPolicy

OBS = gym.spaces.Box(-1, 1, (4,), np.float32)
MASKED = gym.spaces.Dict({"action_mask": gym.spaces.MultiBinary(3), "x": OBS})
IMAGE = gym.spaces.Box(0, 255, (36, 36, 1), np.uint8)
BOX = gym.spaces.Box(-2, 2, (3,), np.float32)
DISCRETE = gym.spaces.Discrete(3)


@pytest.mark.parametrize("num_actions", [0, 2])
@pytest.mark.parametrize("num_critics", [1, 2, 3])
@pytest.mark.parametrize("hiddens", [((6, 5), (3,)), ((6,), ()), ((), ())])
def test_stacked_critics_are_the_critics_they_are_made_of(num_actions, num_critics, hiddens):
    model = ModelConfig(
        fcnet_hiddens=hiddens[0], head_fcnet_hiddens=hiddens[1], fcnet_activation="tanh"
    )
    made = {}
    for kind in ("stacked", "separate"):
        torch.manual_seed(0)
        shape = model if kind == "stacked" else model.updated({"fcnet_use_layernorm": True})
        observations = ObservationEncoder(OBS, shape)
        made[kind] = make_critics(observations, shape, num_actions, 2, num_critics)
    stacked, separate = made["stacked"], made["separate"]
    assert isinstance(stacked, StackedCritics)
    assert isinstance(separate, SeparateCritics)
    for critic in separate.each:
        critic.encoder.mlp.norms = torch.nn.ModuleList()
    obs = torch.randn(7, 4)
    actions = torch.randn(7, num_actions) if num_actions else None
    values = stacked(obs, actions)
    assert values.shape == (num_critics, 7, 2)
    torch.testing.assert_close(values, separate(obs, actions))
    torch.testing.assert_close(stacked.first(obs, actions), values[0])
    torch.testing.assert_close(separate.first(obs, actions), values[0])


@pytest.mark.parametrize("fixed", [True, False])
def test_wide_critics_are_the_same_one_after_the_other(fixed, monkeypatch):
    model = ModelConfig(fcnet_hiddens=(512, 256), fcnet_activation="relu")
    torch.manual_seed(0)
    stacked = make_critics(ObservationEncoder(OBS, model), model, 2, 1, 2)
    obs, actions = torch.randn(64, 4), torch.randn(64, 2, requires_grad=True)
    found = []
    for worth in (1 << 22, 1 << 62):
        monkeypatch.setattr(dense, "WORTH", worth)
        values = stacked(obs, actions, fixed=fixed)
        wanted = [actions] if fixed else [actions, *stacked.parameters()]
        found.append([values, *torch.autograd.grad(values.square().sum(), wanted)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


def test_critics_begin_apart():
    model = ModelConfig(fcnet_hiddens=(6,))
    first, second = make_critics(ObservationEncoder(OBS, model), model, 2, 1, 2)(
        torch.randn(7, 4), torch.randn(7, 2)
    )
    assert not torch.equal(first, second)


@pytest.mark.parametrize("module_class", [SACModule, TD3Module])
def test_images_are_read_before_actions_are(module_class):
    shape = ActorQConfig(fcnet_hiddens=(6,), conv_filters=((4, 8, 4),))
    made = module_class(IMAGE, BOX, model_config=shape)
    obs = np.random.default_rng(1).integers(0, 256, (5, 36, 36, 1), np.uint8)
    batch = {"obs": made.encode(obs)}
    first, second = (made.compute_q(batch, actions) for actions in torch.randn(2, 5, 3))
    assert first.shape == (2, 5)
    assert (first != second).all()
    assert isinstance(module_class.make_policy(IMAGE, BOX, shape), TorchPolicy)


@pytest.mark.parametrize(
    ("module_class", "action_space"), [(SACModule, BOX), (SACModule, DISCRETE), (TD3Module, BOX)]
)
@pytest.mark.parametrize("obs_space", [OBS, MASKED], ids=["plain", "masked"])
def test_numpy_acts_as_torch_does(module_class, action_space, obs_space):
    if obs_space is MASKED and action_space is BOX:
        pytest.skip("real numbers cannot be masked")
    shape = ActorQConfig(fcnet_hiddens=(6,), head_fcnet_hiddens=(5,))
    torch.manual_seed(0)
    made = module_class(obs_space, action_space, model_config=shape)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    policy = module_class.make_policy(obs_space, action_space, shape)
    assert isinstance(policy, MLPPolicy)
    policy.set_weights({name: w.numpy() for name, w in made.policy_state().items()})
    obs = np.random.default_rng(1).standard_normal((9, 4), dtype=np.float32)
    if obs_space is MASKED:
        packed = np.zeros(9, [("action_mask", np.int8, (3,)), ("x", np.float32, (4,))])
        packed["x"], packed["action_mask"][:, 1:] = obs, 1
        obs = packed
    expected = TorchPolicy(made).forward(obs, {}, True)[0]
    np.testing.assert_allclose(policy.forward(obs, {}, True)[0], expected, atol=1e-5)


def test_target_networks_begin_as_copies_and_are_not_acted_with():
    made = TD3Module(OBS, BOX, model_config=ActorQConfig(fcnet_hiddens=(6,)))
    batch, actions = {"obs": torch.randn(5, 4)}, torch.randn(5, 3)
    values = made.compute_q(batch, actions)
    torch.testing.assert_close(made.compute_target_q(batch, actions), values)
    torch.testing.assert_close(made.compute_first_q(batch, actions), values[0])
    for name, part in made.forward_target(batch).items():
        torch.testing.assert_close(part, made.forward_train(batch)[name])
    assert all(name.startswith("pi.") for name in made.policy_state())
    acting = TD3Module(OBS, BOX, inference_only=True, model_config=made.model_config)
    assert acting.state_dict().keys() == made.policy_state().keys()


def test_one_critic_is_possible():
    made = SACModule(OBS, BOX, model_config=ActorQConfig(fcnet_hiddens=(6,), twin_q=False))
    assert made.compute_q({"obs": torch.randn(5, 4)}, torch.randn(5, 3)).shape == (1, 5)
    assert SACModule(OBS, BOX).log_alpha.item() == 0.0


@pytest.mark.parametrize(
    ("module_class", "space"),
    [
        (SACModule, gym.spaces.MultiDiscrete([2, 3])),
        (SACModule, gym.spaces.Tuple([BOX, BOX])),
        (SACModule, gym.spaces.Box(-np.inf, np.inf, (2,))),
        (TD3Module, DISCRETE),
    ],
)
def test_other_actions_are_refused(module_class, space):
    with pytest.raises(ConfigError, match=r"not supported|has no bounds"):
        module_class(OBS, space)


FUSED = {"fcnet_hiddens": (6, 5), "head_fcnet_hiddens": (3,), "fusionnet_hiddens": (7,)}


def test_observations_and_actions_are_joined_by_layers_of_their_own():
    model = ModelConfig(**FUSED, fcnet_activation="relu", fusionnet_activation="tanh")
    torch.manual_seed(0)
    critics = make_critics(ObservationEncoder(OBS, model), model, 2, 1, 2)
    obs, actions = torch.randn(9, 4), torch.randn(9, 2)
    found = critics(obs, actions)
    for critic, values in zip(critics.each, found, strict=True):
        streams = []
        for layers, x in ((critic.encoder.obs.mlp, obs), (critic.encoder.actions, actions)):
            for layer in layers.layers:
                x = (x @ layer.weight.T + layer.bias).relu()
            streams.append(x)
        (fusion,), (head,) = critic.encoder.fusion.layers, critic.hidden.layers
        x = (torch.cat(streams, -1) @ fusion.weight.T + fusion.bias).tanh()
        x = (x @ head.weight.T + head.bias).relu()
        torch.testing.assert_close(values, x @ critic.out.weight.T + critic.out.bias)


def test_without_actions_there_is_nothing_to_join():
    model = ModelConfig(**FUSED)
    assert isinstance(make_critics(ObservationEncoder(OBS, model), model, 0, 3, 2), StackedCritics)


def test_the_joining_layers_are_drawn_as_asked():
    model = ModelConfig(**FUSED, fusionnet_kernel_initializer="ones_")
    critics = make_critics(ObservationEncoder(OBS, model), model, 2, 1, 1)
    (layer,) = critics.each[0].encoder.fusion.layers
    assert (layer.weight == 1).all()
    assert not (critics.each[0].encoder.actions.layers[0].weight == 1).any()


@pytest.mark.parametrize("space", [OBS, IMAGE])
@pytest.mark.parametrize("module_class", [SACModule, TD3Module])
def test_modules_join_whatever_they_observe(module_class, space):
    filters = ((4, 8, 4),) if space is IMAGE else None
    shape = ActorQConfig(**FUSED, conv_filters=filters, head_fcnet_activation="tanh")
    module = module_class(space, BOX, model_config=shape)
    batch = {"obs": module.encode(np.ones((5, *space.shape), space.dtype))}
    actions = torch.ones(5, 3, requires_grad=True)
    values = module.compute_q(batch, actions, fixed=True)
    assert values.shape == (2, 5)
    (gradient,) = torch.autograd.grad(values.sum(), actions)
    assert gradient.abs().sum() > 0


def test_settings_of_joining_layers_need_such_layers():
    settings = SACConfig().environment("Pendulum-v1")
    settings.rl_module(model_config={"fusionnet_activation": "relu"})
    with pytest.raises(ConfigError, match=r"fusionnet_activation: .*set fusionnet_hiddens"):
        settings.validate()
