"""The torch module and its numpy twin are one policy."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib.config.sections import ModelConfig
from rllib.envs.packing import pack_one
from rllib.errors import ConfigError
from rllib.modules.actor_critic import ActorCriticModule
from rllib.modules.actor_q_module import SACModule
from rllib.modules.q_module import QModule
from rllib.modules.rl_module import RLModule
from rllib.modules.spec import RLModuleSpec

BOX_OBS = gym.spaces.Box(-1, 1, (2, 3), np.float64)
ONE_HOT_OBS = gym.spaces.Discrete(4, start=-1)
DISCRETE = gym.spaces.Discrete(3)
BOX = gym.spaces.Box(-2, 2, (2,), np.float32)

SMALL = ModelConfig(fcnet_hiddens=(4,))


def make_policy(model):
    return ActorCriticModule.make_policy(BOX_OBS, DISCRETE, model)


def dist_inputs(module, obs):
    output = module.forward_exploration({"obs": module.encode(obs)})
    return output["action_dist_inputs"].detach().numpy()


def spread(module):
    """Weights of order one, so that clipping and activations have something to do."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def observations(space, count=9):
    space.seed(1)
    return np.stack([space.sample() for _ in range(count)])


@pytest.mark.parametrize("obs_space", [BOX_OBS, ONE_HOT_OBS], ids=["box", "one-hot"])
@pytest.mark.parametrize(
    "action_space",
    [DISCRETE, BOX, gym.spaces.Tuple([DISCRETE, BOX])],
    ids=["discrete", "continuous", "both"],
)
@pytest.mark.parametrize(
    "settings",
    [
        {"fcnet_hiddens": (8, 5)},
        {"fcnet_hiddens": (8,), "fcnet_activation": "relu", "vf_share_layers": True},
        {"fcnet_hiddens": (), "fcnet_activation": "linear"},
        {"fcnet_hiddens": (8,), "fcnet_activation": "silu", "free_log_std": False},
        {"fcnet_hiddens": (8,), "free_log_std": False, "log_std_clip_param": 0.1},
    ],
)
def test_numpy_acts_as_torch_does(obs_space, action_space, settings):
    model = ModelConfig(**settings)
    torch.manual_seed(0)
    module = spread(ActorCriticModule(obs_space, action_space, model_config=model))
    policy = ActorCriticModule.make_policy(obs_space, action_space, model)
    policy.set_weights({name: w.numpy() for name, w in module.policy_state().items()})
    obs = observations(obs_space)
    batch = {"obs": module.encode(obs)}
    expected = dist_inputs(module, obs)
    acted, state = policy.forward(obs, {}, explore=True)
    np.testing.assert_allclose(acted, expected, atol=1e-5)
    assert acted.dtype == np.float32
    assert state == {}
    output = module.forward_train(batch)
    torch.testing.assert_close(output["action_dist_inputs"].detach(), torch.from_numpy(expected))
    values = module.compute_values(batch, output["embeddings"])
    torch.testing.assert_close(values, module.compute_values(batch))


def test_weights_are_copied_not_shared():
    module = ActorCriticModule(BOX_OBS, DISCRETE, model_config=SMALL)
    policy = make_policy(SMALL)
    policy.set_weights({name: w.numpy() for name, w in module.policy_state().items()})
    obs = observations(BOX_OBS)
    before, _ = policy.forward(obs, {}, explore=True)
    spread(module)
    np.testing.assert_array_equal(policy.forward(obs, {}, explore=True)[0], before)


def test_the_value_function_is_no_part_of_what_acting_needs():
    module = ActorCriticModule(BOX_OBS, DISCRETE, model_config=SMALL)
    assert module.policy_state().keys() == {
        "encoder.mlp.layers.0.weight",
        "encoder.mlp.layers.0.bias",
        "pi.weight",
        "pi.bias",
    }


def test_at_first_the_policy_is_nearly_uniform():
    module = ActorCriticModule(BOX_OBS, DISCRETE)
    assert np.abs(dist_inputs(module, observations(BOX_OBS))).max() < 0.1


def test_act_greedily_and_exploring():
    module = spread(ActorCriticModule(BOX_OBS, BOX, model_config=SMALL))
    obs = observations(BOX_OBS)
    greedy = module.act(obs)
    assert all(BOX.contains(action) for action in greedy)
    np.testing.assert_array_equal(greedy, module.act(obs))
    explored = [module.act(obs, rng=np.random.default_rng(5), explore=True) for _ in range(2)]
    np.testing.assert_array_equal(*explored)
    assert not np.array_equal(explored[0], greedy)
    with pytest.raises(ValueError, match="pass rng"):
        module.act(obs, explore=True)


def test_acting_without_weights_says_what_is_missing():
    with pytest.raises(RuntimeError, match="set_weights"):
        make_policy(ModelConfig()).forward(observations(BOX_OBS), {}, explore=True)


def test_weights_of_another_network_are_refused():
    policy = make_policy(ModelConfig(fcnet_hiddens=(4, 4)))
    module = ActorCriticModule(BOX_OBS, DISCRETE, model_config=SMALL)
    with pytest.raises(ValueError, match=r"\['encoder\.mlp\.layers\.1'\] missing"):
        policy.set_weights({name: w.numpy() for name, w in module.policy_state().items()})


def test_an_observation_space_without_encoding_is_refused():
    space = gym.spaces.Dict({"a": gym.spaces.Text(3)})
    with pytest.raises(ConfigError, match=r"\(at a\) is not supported"):
        ActorCriticModule(space, DISCRETE)


RAW = {
    "shaped box of doubles": BOX_OBS,
    "one row": gym.spaces.Box(-1, 1, (1, 3), np.float64),
    "choice": ONE_HOT_OBS,
    "choices": gym.spaces.MultiDiscrete([2, 3]),
    "bits": gym.spaces.MultiBinary(4),
    "image": gym.spaces.Box(0, 255, (40, 40, 3), np.uint8),
}


@pytest.mark.parametrize("space", RAW.values(), ids=RAW)
@pytest.mark.parametrize("shared", [False, True])
def test_a_forward_also_takes_observations_as_they_are(space, shared):
    model = ModelConfig(fcnet_hiddens=(4,), vf_share_layers=shared)
    module = ActorCriticModule(space, DISCRETE, model_config=model)
    obs = observations(space)
    output = module.forward_inference({"obs": torch.from_numpy(obs)})
    assert not output["action_dist_inputs"].requires_grad
    np.testing.assert_array_equal(output["action_dist_inputs"].numpy(), dist_inputs(module, obs))
    raw, encoded = ({"obs": each} for each in (torch.from_numpy(obs), module.encode(obs)))
    torch.testing.assert_close(module.compute_values(raw), module.compute_values(encoded))


class Purposes(RLModule):
    """Has a forward for each purpose, and none for all of them; a critic only for training."""

    def setup(self):
        self.pi = torch.nn.Linear(3, 3)
        self.critic = torch.nn.Linear(3, 1)

    def get_non_inference_attributes(self):
        return ["critic"]

    def _forward_inference(self, batch, **kwargs):
        return {"action_dist_inputs": 2 * self.pi(batch["obs"]).detach()}

    def _forward_train(self, batch, **kwargs):
        return {"action_dist_inputs": self.pi(batch["obs"])}


def test_a_module_may_have_a_forward_for_each_purpose_only():
    module = Purposes(gym.spaces.Box(-1, 1, (3,), np.float32), DISCRETE)
    batch = {"obs": torch.ones(2, 3)}
    trained = module.forward_train(batch)["action_dist_inputs"]
    torch.testing.assert_close(module.forward_inference(batch)["action_dist_inputs"], 2 * trained)
    with pytest.raises(TypeError, match=r"Purposes has no _forward\(batch\)"):
        module.forward_exploration(batch)


def test_what_only_training_needs_is_left_out_where_a_module_acts():
    spaces = (gym.spaces.Box(-1, 1, (3,), np.float32), DISCRETE)
    module = Purposes(*spaces)
    policy = Purposes.make_policy(*spaces, {})
    assert not hasattr(policy.module, "critic")
    assert module.policy_state().keys() == {"pi.weight", "pi.bias"}
    for weights in (module.policy_state(), module.state_dict()):
        policy.set_weights({name: tensor.numpy() for name, tensor in weights.items()})
    with pytest.raises(ValueError, match=r"of this Purposes: \['pi.bias'\] missing"):
        policy.set_weights({"pi.weight": module.pi.weight.detach().numpy()})


class Counting(RLModule):
    """Reads sequences alone, and counts the steps that it has seen."""

    def setup(self):
        self.layer = torch.nn.Linear(3, 3)

    def get_initial_state(self):
        return {"count": np.zeros(1, np.float32)}

    def _forward(self, batch, **kwargs):
        obs, count = batch["obs"], batch["state_in"]["count"]
        assert obs.dim() == 3, "[B, L, D]"
        steps = torch.arange(1, 1 + obs.shape[1]).reshape(1, -1, 1)
        inputs = self.layer(obs) + count[:, None] + steps
        return {"action_dist_inputs": inputs, "state_out": {"count": count + obs.shape[1]}}


def test_a_module_with_memory_acts_by_the_forward_that_it_is_trained_by():
    spaces = (gym.spaces.Box(-1, 1, (3,), np.float32), DISCRETE)
    module, policy = Counting(*spaces), Counting.make_policy(*spaces, {})
    policy.set_weights({name: part.numpy() for name, part in module.policy_state().items()})
    obs = observations(spaces[0], count=8).reshape(4, 2, 3)  # 4 steps of 2 environments
    state, acted = policy.initial_state(2), []
    for row in obs:
        inputs, state = policy.forward(row, state, explore=True)
        acted.append(inputs)
    sequences = torch.from_numpy(obs).transpose(0, 1)
    start = {"count": torch.zeros(2, 1)}
    output = module.forward_train({"obs": sequences, "state_in": start})["action_dist_inputs"]
    trained = output.transpose(0, 1).detach().numpy()
    np.testing.assert_allclose(np.stack(acted), trained, rtol=1e-6)
    np.testing.assert_array_equal(state["count"], [[4], [4]])


@pytest.mark.parametrize("free_log_std", [True, False])
@pytest.mark.parametrize("action_space", [BOX, gym.spaces.Tuple([DISCRETE, BOX])])
def test_gaussians_are_as_wide_at_first_as_is_said(action_space, free_log_std):
    model = ModelConfig(fcnet_hiddens=(4,), free_log_std=free_log_std, initial_log_std=-1.5)
    module = ActorCriticModule(BOX_OBS, action_space, model_config=model)
    inputs = dist_inputs(module, observations(BOX_OBS))
    columns = list(module.head.log_std_columns)
    others = [column for column in range(module.head.num_inputs) if column not in columns]
    np.testing.assert_allclose(inputs[:, columns], -1.5, atol=0.1)
    np.testing.assert_allclose(inputs[:, others], 0.0, atol=0.1)


def test_a_catalog_is_refused() -> None:
    for make in (
        lambda: RLModule(BOX_OBS, DISCRETE, catalog_class=dict),
        lambda: RLModuleSpec(module_class=RLModule, catalog_class=dict),
    ):
        with pytest.raises(ConfigError, match=r"there are no catalogs; networks are set by rl_mod"):
            make()
    assert RLModule(BOX_OBS, DISCRETE, catalog_class=None).action_space is DISCRETE


class KeywordsOnly(ActorCriticModule):
    """A constructor as RLlib's own examples have it."""

    def __init__(self, *, observation_space=None, action_space=None, **others):
        super().__init__(observation_space=observation_space, action_space=action_space, **others)


def test_a_constructor_may_take_keywords_only():
    policy = KeywordsOnly.make_policy(BOX_OBS, DISCRETE, SMALL)
    assert isinstance(policy.module, KeywordsOnly)


PARTS = gym.spaces.Dict(
    {"action_mask": gym.spaces.MultiBinary(3), "features": ONE_HOT_OBS, "more": BOX_OBS}
)


def seen_parts(batch):
    assert batch["obs"].keys() == PARTS.spaces.keys()
    assert batch["obs"]["features"].dtype == torch.int64
    assert batch["obs"]["more"].shape[-2:] == (2, 3)


@pytest.mark.parametrize("parent", [ActorCriticModule, QModule, SACModule])
def test_a_forward_of_ones_own_reads_what_is_observed_and_may_call_the_one_above(parent):
    class Own(parent):
        def _forward(self, batch, **kwargs):
            seen_parts(batch)
            return super()._forward(batch, **kwargs)

    torch.manual_seed(0)
    plain = parent(PARTS, DISCRETE, model_config=SMALL)
    module = Own(PARTS, DISCRETE, model_config=SMALL)
    module.load_state_dict(plain.state_dict())
    PARTS.seed(1)
    members = [PARTS.sample() | {"action_mask": np.int8([1, 0, 1])} for _ in range(5)]
    obs = np.stack([pack_one(PARTS, each) for each in members])
    raw, encoded = ({"obs": each.encode(obs)} for each in (module, plain))
    for name in ("forward_inference", "forward_exploration"):
        own, usual = (getattr(m, name)(b) for m, b in ((module, raw), (plain, encoded)))
        torch.testing.assert_close(own["action_dist_inputs"], usual["action_dist_inputs"])
    if parent is SACModule:
        torch.testing.assert_close(module.compute_q(raw), plain.compute_q(encoded))
        torch.testing.assert_close(module.compute_target_q(raw), plain.compute_target_q(encoded))
    if parent is ActorCriticModule:
        torch.testing.assert_close(module.compute_values(raw), plain.compute_values(encoded))
