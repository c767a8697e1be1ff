"""A module alone out of a checkpoint is the one that was saved."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from rllib.algorithms.ppo import PPOConfig
from rllib.envs.multi_agent import make_multi_agent
from rllib.errors import CheckpointError, ConfigError
from rllib.modules.actor_critic import ActorCriticModule
from rllib.modules.multi_rl_module import MultiRLModule
from rllib.modules.rl_module import RLModule
from rllib.modules.spec import MultiRLModuleSpec, RLModuleSpec


class Small(RLModule):
    def setup(self):
        self.pi, self.vf = nn.Linear(4, 2), nn.Linear(4, 1)
        self.scale = self.model_config["scale"]

    def _forward(self, batch, **kwargs):
        return {"action_dist_inputs": self.scale * self.pi(batch["obs"])}

    def compute_values(self, batch, embeddings=None):
        return self.vf(batch["obs"]).squeeze(-1)


def saved(settings, path: Path, *module_ids: str):
    settings = settings.env_runners(num_env_runners=0).training(
        train_batch_size_per_learner=16, minibatch_size=None, num_epochs=1
    )
    with settings.build_algo() as algo:
        algo.train()
        return algo.save_to_path(path), [algo.get_module(name) for name in module_ids or (None,)]


def assert_same(one: RLModule, other: RLModule) -> None:
    assert type(one) is type(other)
    assert one.observation_space == other.observation_space
    assert one.action_space == other.action_space
    assert dict(one.model_config.items()) == dict(other.model_config.items())
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=0, atol=0)


def test_the_default_module(tmp_path):
    settings = PPOConfig().environment("Pendulum-v1").rl_module(model_config={"use_lstm": True})
    path, (module,) = saved(settings, tmp_path / "checkpoint")
    loaded = RLModule.from_checkpoint(path)
    assert_same(loaded, module)
    assert not loaded.training
    state = loaded.initial_state(2)
    obs = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(loaded.act(obs, state)[0], module.act(obs, state)[0])


def test_a_module_of_ones_own_by_its_class(tmp_path):
    spec = RLModuleSpec(module_class=Small, model_config={"scale": 0.5})
    settings = PPOConfig().environment("CartPole-v1").rl_module(rl_module_spec=spec)
    path, (module,) = saved(settings, tmp_path / "checkpoint")
    assert_same(Small.from_checkpoint(path), module)
    with pytest.raises(
        CheckpointError, match=r":Small, not a rllib.modules.actor_critic:ActorCriticModul"
    ):
        RLModule.from_checkpoint(path)


COMPONENT = "learner_group/learner/rl_module"


def test_an_algorithm_takes_over_a_single_component(tmp_path):
    settings = PPOConfig().environment("CartPole-v1").rl_module(model_config={"fcnet_hiddens": [4]})
    path, (module,) = saved(settings, tmp_path / "checkpoint")
    alone = module.save_to_path(tmp_path / "alone")
    within = f"{path}/{COMPONENT}/default_policy"
    for source, component in [
        (path, COMPONENT),
        (path, f"{COMPONENT}/default_policy"),
        (within, f"{COMPONENT}/default_policy"),
        (f"{path}/{COMPONENT}", COMPONENT),
        (alone, f"{COMPONENT}/default_policy"),
    ]:
        with settings.copy().debugging(seed=5).build_algo() as algo:
            algo.restore_from_path(source, component=component)
            assert_same(algo.get_module(), module)
            assert algo.iteration == 0


def test_a_single_module_takes_over_another_ones_weights(tmp_path):
    settings = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    path, (module,) = saved(settings, tmp_path / "checkpoint")
    agents = (
        settings.copy()
        .environment(make_multi_agent("CartPole-v1"), env_config={"num_agents": 2})
        .multi_agent(policies={"a", "b"}, policy_mapping_fn=lambda agent, _: "ab"[agent])
    )
    with agents.build_algo() as algo:
        before = algo.get_module("a")
        algo.restore_from_path(path, component=f"{COMPONENT}/b")
        assert_same(algo.get_module("b"), module)
        assert_same(algo.get_module("a"), before)
        with pytest.raises(CheckpointError, match="has no module 'a', but default_policy"):
            algo.restore_from_path(path, component=COMPONENT)
        with pytest.raises(ConfigError, match=r"component: 'env_runner' is none; .* a, b"):
            algo.restore_from_path(path, component="env_runner")


def test_one_of_several_modules(tmp_path):
    settings = (
        PPOConfig()
        .environment(make_multi_agent("CartPole-v1"), env_config={"num_agents": 2})
        .multi_agent(policies={"a", "b"}, policy_mapping_fn=lambda agent, _: "ab"[agent])
        .rl_module(algorithm_config_overrides_per_module={"b": {"gamma": 0.5}})
    )
    path, modules = saved(settings, tmp_path / "checkpoint", "a", "b")
    for name, module in zip("ab", modules, strict=True):
        inner = Path(path) / "learner_group" / "learner" / "rl_module" / name
        assert_same(ActorCriticModule.from_checkpoint(inner), module)
    assert_same(RLModule.from_checkpoint(path), modules[0])
    with pytest.raises(CheckpointError, match="has no module 'c', but a, b"):
        RLModule.from_checkpoint(Path(path) / "c")


def test_where_no_checkpoint_is(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        RLModule.from_checkpoint(tmp_path / "nothing")


def test_spaces_need_no_environment(tmp_path):
    class Env(gym.Env):
        observation_space = gym.spaces.Dict(
            {"a": gym.spaces.Box(-1, 1, (2,), np.float32), "b": gym.spaces.Discrete(3)}
        )
        action_space = gym.spaces.MultiDiscrete([2, 3])

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return {"a": np.zeros(2, np.float32), "b": 1}, {}

        def step(self, action):
            return {"a": np.ones(2, np.float32), "b": 2}, 1.0, True, False, {}

    path, (module,) = saved(PPOConfig().environment(lambda _: Env()), tmp_path / "checkpoint")
    assert_same(RLModule.from_checkpoint(path), module)


# Modules alone.


def module_of(**model) -> RLModule:
    torch.manual_seed(len(model))
    space = gym.spaces.Box(-1, 1, (4,), np.float32)
    spec = RLModuleSpec(ActorCriticModule, space, gym.spaces.Discrete(2), model_config=model)
    return spec.build()


def test_a_module_saves_and_restores_itself(tmp_path):
    module, other = module_of(fcnet_hiddens=(8,)), module_of(fcnet_hiddens=(8,), use_gru=False)
    path = module.save_to_path(tmp_path / "module")
    assert_same(RLModule.from_checkpoint(path), module)
    other.restore_from_path(path)
    assert all((a == b).all() for a, b in zip(other.parameters(), module.parameters(), strict=True))
    with pytest.raises(CheckpointError, match="do not fit"):
        module_of(fcnet_hiddens=(9,)).restore_from_path(path)


def test_the_acting_half_of_a_state_leaves_the_rest():
    module, other = module_of(fcnet_hiddens=(8,)), module_of(fcnet_hiddens=(8,), use_gru=False)
    half = module.get_state(inference_only=True)
    values = {name for name in module.get_state() if name not in half}
    assert values
    before = other.get_state()
    other.set_state(half)
    for name, part in other.get_state().items():
        np.testing.assert_array_equal(part, before[name] if name in values else half[name])


def test_a_run_begins_with_the_weights_of_load_state_path(tmp_path):
    settings = PPOConfig().environment("CartPole-v1").rl_module(model_config={"fcnet_hiddens": [8]})
    path, (module,) = saved(settings, tmp_path / "checkpoint")
    within = f"{path}/learner_group/learner/rl_module/default_policy"
    settings = settings.copy().debugging(seed=5)
    settings.rl_module(rl_module_spec=RLModuleSpec(load_state_path=within))
    with settings.build_algo() as algo:
        assert_same(algo.get_module(), module)
    settings.rl_module(model_config={"fcnet_hiddens": [9]})
    with pytest.raises(CheckpointError, match="do not fit"):
        settings.build_algo()


def test_several_modules_are_one(tmp_path):
    both = MultiRLModule({"a": module_of(), "b": module_of(use_lstm=True)})
    assert (both.keys(), len(both), list(both), "b" in both) == (["a", "b"], 2, ["a", "b"], True)
    assert both.is_stateful()
    assert set(both.get_initial_state()["b"]) == {"h", "c"}
    out = both.forward_inference({"a": {"obs": torch.zeros(3, 4)}})
    assert out["a"]["action_dist_inputs"].shape == (3, 2)
    assert both.foreach_module(lambda name, module: name, return_dict=True)["a"] == "a"
    loaded = MultiRLModule.from_checkpoint(both.save_to_path(tmp_path / "modules"))
    for name, module in loaded.items():
        assert_same(module, both[name])
    changed = MultiRLModule({"a": module_of(), "b": module_of(use_lstm=True)})
    changed.set_state({"b": {k: v * 0 for k, v in both["b"].get_state().items()}})
    changed.restore_from_path(tmp_path / "modules")
    assert_same(changed["b"], both["b"])
    both.remove_module("b")
    both.add_module("c", module_of())
    with pytest.raises(ValueError, match="override=True"):
        both.add_module("c", module_of())
    with pytest.raises(KeyError, match=r"no module 'b'; there are: a, c"):
        both["b"]
    assert both.get("b") is None


def test_modules_that_share_parts_are_refused_with_the_way_out():
    class Shared(MultiRLModule):
        def setup(self):
            """Would make an encoder for all."""

    with pytest.raises(ConfigError, match="a RLModule of its own for each id"):
        Shared({})


def test_specs_of_several_modules_are_added_to_and_built():
    specs = MultiRLModuleSpec({"a": RLModuleSpec.from_module(module_of())})
    specs.add_modules({"b": RLModuleSpec.from_module(module_of(use_lstm=True))})
    assert "b" in specs
    assert specs["b"].model_config.use_lstm
    assert specs.build().keys() == ["a", "b"]
    specs.remove_modules("a")
    assert specs.build("b").is_stateful()
    with pytest.raises(ConfigError, match=r"build\(\) needs module_class, observation_space"):
        RLModuleSpec().build()
