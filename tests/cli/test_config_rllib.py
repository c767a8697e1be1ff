"""The surface of RLlib's new API stack: every setting by its name, with its default."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from rllib.algorithms.ppo import PPOConfig
from rllib.config import AlgorithmConfig
from rllib.config.model import ModelConfig
from rllib.config.multi_agent import PolicySpec
from rllib.config.names import FIXED, UNSUPPORTED
from rllib.config.plain import plain
from rllib.config.spaces import read_space, write_space
from rllib.envs.make import Spaces
from rllib.errors import ConfigError
from rllib.modules.actor_critic import ActorCriticModule
from rllib.modules.rl_module import RLModule
from rllib.modules.spec import RLModuleSpec

HOOKS = dict.fromkeys(
    [
        "on_algorithm_init",
        "on_train_result",
        "on_evaluate_start",
        "on_evaluate_end",
        "on_env_runners_recreated",
        "on_checkpoint_loaded",
        "on_environment_created",
        "on_episode_created",
        "on_episode_start",
        "on_episode_step",
        "on_episode_end",
        "on_sample_end",
    ],
    (),
)
RLLIB: dict[str, dict[str, Any]] = {
    "environment": {
        "env": None,
        "env_config": {},
        "observation_space": None,
        "action_space": None,
        "clip_rewards": None,
        "normalize_actions": True,
        "clip_actions": False,
        "disable_env_checking": False,
        "is_atari": None,
        "action_mask_key": "action_mask",
    },
    "env_runners": {
        "env_runner_cls": None,
        "num_env_runners": 0,
        "create_local_env_runner": True,
        "num_envs_per_env_runner": 1,
        "num_cpus_per_env_runner": 1,
        "num_gpus_per_env_runner": 0,
        "custom_resources_per_env_runner": {},
        "validate_env_runners_after_construction": True,
        "sample_timeout_s": 60.0,
        "max_requests_in_flight_per_env_runner": 1,
        "env_to_module_connector": None,
        "module_to_env_connector": None,
        "add_default_connectors_to_env_to_module_pipeline": True,
        "add_default_connectors_to_module_to_env_pipeline": True,
        "episode_lookback_horizon": 1,
        "merge_env_runner_states": "training_only",
        "broadcast_env_runner_states": True,
        "use_env_runner_state_server": False,
        "batch_mode": "truncate_episodes",
        "explore": True,
        "episodes_to_numpy": True,
        "observation_filter": "NoFilter",
    },
    "training": {
        "gamma": 0.99,
        "lr": 0.001,
        "grad_clip": None,
        "grad_clip_by": "global_norm",
        "train_batch_size_per_learner": 32,
        "num_epochs": 1,
        "minibatch_size": None,
        "shuffle_batch_per_epoch": False,
        "learner_class": None,
        "learner_connector": None,
        "add_default_connectors_to_learner_pipeline": True,
        "learner_config_dict": {},
    },
    "learners": {
        "num_learners": 0,
        "num_cpus_per_learner": "auto",
        "num_gpus_per_learner": 0,
        "custom_resources_per_learner": {},
        "num_aggregator_actors_per_learner": 0,
        "max_requests_in_flight_per_aggregator_actor": 3,
        "local_gpu_idx": 0,
        "max_requests_in_flight_per_learner": 3,
        "learner_class": None,
        "learner_connector": None,
        "learner_config_dict": {},
    },
    "rl_module": {"rl_module_spec": None, "algorithm_config_overrides_per_module": {}},
    "evaluation": {
        "evaluation_interval": None,
        "evaluation_duration": 10,
        "evaluation_duration_unit": "episodes",
        "evaluation_auto_duration_min_env_steps_per_sample": 100,
        "evaluation_auto_duration_max_env_steps_per_sample": 2000,
        "evaluation_sample_timeout_s": 120.0,
        "evaluation_parallel_to_training": False,
        "evaluation_force_reset_envs_before_iteration": True,
        "evaluation_unhealthy_workers_timeout_s": 0.0,
        "evaluation_error_after_n_consecutive_skips": None,
        "evaluation_config": None,
        "evaluation_num_env_runners": 0,
        "custom_evaluation_function": None,
    },
    "fault_tolerance": {
        "restart_failed_env_runners": True,
        "ignore_env_runner_failures": False,
        "max_num_env_runner_restarts": 1000,
        "delay_between_env_runner_restarts_s": 60.0,
        "restart_failed_sub_environments": False,
        "num_consecutive_env_runner_failures_tolerance": 100,
        "env_runner_health_probe_timeout_s": 30.0,
        "env_runner_restore_timeout_s": 1800.0,
    },
    "multi_agent": {
        "policies": None,
        "policy_mapping_fn": None,
        "policies_to_train": None,
        "count_steps_by": "env_steps",
        "policy_map_capacity": 100,
        "policy_states_are_swappable": False,
        "algorithm_config_overrides_per_module": {},
    },
    "callbacks": {"callbacks_class": (), **HOOKS},
    "reporting": {
        "metrics_num_episodes_for_smoothing": 100,
        "min_time_s_per_iteration": None,
        "min_train_timesteps_per_iteration": 0,
        "min_sample_timesteps_per_iteration": 0,
        "log_gradients": False,
    },
    "debugging": {"log_level": "WARN"},
    "resources": {
        "num_cpus_for_main_process": 1,
        "custom_resources_for_main_process": {},
        "placement_strategy": "SPREAD",  # as env runners always went; in RLlib Tune goes by it
    },
    "python_environment": {
        "extra_python_environs_for_driver": {},
        "extra_python_environs_for_worker": {},
    },
}
SETTINGS = [(method, key) for method, keys in RLLIB.items() for key in keys]


@pytest.mark.parametrize(("method", "key"), SETTINGS)
def test_every_setting_has_rllibs_name_and_default(method: str, key: str) -> None:
    config = AlgorithmConfig()
    assert config[key] == RLLIB[method][key]
    getattr(config, method)(**{key: config[key]})
    assert config[key] == RLLIB[method][key]


def test_what_rllib_has_and_we_have_not_is_no_setting() -> None:
    config = AlgorithmConfig()
    for name in UNSUPPORTED:
        assert name not in config
        with pytest.raises(ConfigError, match="not supported"):
            config[name] = 1
    assert not {key for keys in FIXED.values() for key in keys} & set(UNSUPPORTED)


def test_a_script_of_rllib_builds_its_config() -> None:
    config = (
        AlgorithmConfig()
        .api_stack(enable_rl_module_and_learner=True, enable_env_runner_and_connector_v2=True)
        .framework("torch")
        .environment(env="CartPole-v1", env_config={"render_mode": None})
        .env_runners(num_env_runners=2, gym_env_vectorize_mode=gym.VectorizeMode.SYNC)
        .learners(num_learners=0, num_gpus_per_learner=0)
        .training(lr=[[0, 3e-4], [100_000, 1e-5]], learner_config_dict={"size": 3})
        .rl_module(model_config=ModelConfig(fcnet_hiddens=[32], fcnet_activation="swish"))
        .multi_agent(policies={"p1", "p0"}, policy_mapping_fn=lambda agent, episode: f"p{agent}")
        .evaluation(evaluation_interval=1, evaluation_config={"explore": False})
        .callbacks(on_episode_end=[print])
        .debugging(seed=3, log_level="ERROR")
        .experimental(_validate_config=True)
        .resources(num_cpus_for_main_process=2)
    )
    assert config.gym_env_vectorize_mode == "sync"
    assert config.lr == ((0, 3e-4), (100_000, 1e-5))
    assert (config.model.fcnet_hiddens, config.model.fcnet_activation) == ((32,), "silu")
    assert config.policy_ids == ("p0", "p1")
    assert config.get_module_id(1) == "p1"
    assert config.on_episode_end == (print,)
    assert (config.framework_str, config.get("framework")) == ("torch", None)
    assert config.framework(torch_skip_nan_gradients=True).torch_skip_nan_gradients


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("api_stack", {"enable_rl_module_and_learner": False}, "the old API stack is not supp"),
        ("framework", {"framework": "tf2"}, "framework(): framework: 'tf2' is not supported"),
        ("framework", {"torch_ddp_kwargs": {}}, "the nearest setting is 'num_learners'"),
        ("framework", {"lr": 1.0}, "belongs to another section: write .training(lr=...)"),
        ("experimental", {"_validate_config": False}, "settings are always checked"),
        ("experimental", {"_torch_lr_scheduler_classes": []}, "the nearest setting is 'lr'"),
        ("env_runners", {"exploration_config": {}}, "the nearest setting is 'explore'"),
        ("env_runners", {"num_rollout_workers": 1}, "it is called 'num_env_runners' here"),
        ("multi_agent", {"policies": {"a/b"}}, "'a/b' cannot be the id of a policy"),
        ("multi_agent", {"policies": {"a": 3}}, "a: should be a PolicySpec with observation_sp"),
        ("multi_agent", {"policies": 3}, "should be ids of policies, or a mapping of ids to spec"),
        ("callbacks", {"on_episode_ended": print}, "did you mean 'on_episode_end'?"),
        ("callbacks", {"callbacks_class": 3}, "callbacks_class[0]: should be callable, got 3"),
        ("callbacks", {"on_episode_end": "os:nothing"}, "'os:nothing' cannot be loaded: Attrib"),
        ("callbacks", {"callbacks_class": "Nothing"}, "unknown callback 'Nothing'; write it as"),
        ("callbacks", {"on_sample_end": "nothing"}, "'nothing' should be the name of code"),
        ("environment", {"observation_space": 3}, "should be a gymnasium space, or {Discrete:"),
        ("environment", {"action_space": {"Bx": {}}}, "unknown space 'Bx'; there are: Box, Disc"),
        ("environment", {"action_space": {"Discrete": {"n": 0}}}, "no Discrete space can be made"),
    ],
)
def test_what_cannot_be_said_why(method: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        getattr(AlgorithmConfig(), method)(**settings)
    assert message in str(caught.value)


def test_a_policy_of_the_old_stack_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"PolicySpec\(policy_class=...\) belongs to the old"):
        PolicySpec(print)  # type: ignore[arg-type]


# As a dict.


def test_a_config_reads_and_writes_as_a_dict() -> None:
    config = AlgorithmConfig()
    config["lr"] = 0.5
    config["model_config"] = {"fcnet_hiddens": [4]}
    assert (config["lr"], config.get("nothing", 7), config.get("gamma")) == (0.5, 7, 0.99)
    assert config["model_config"]["fcnet_hiddens"] == (4,)
    assert "lr" in config
    assert "nothing" not in config
    assert dict(config.items())["lr"] == 0.5
    assert set(config.keys()) == set(config.to_dict())
    with pytest.raises(KeyError, match="learning_rate: unknown key; it is called 'lr' here"):
        config["learning_rate"]


def test_settings_come_from_a_dict_whatever_their_section() -> None:
    config = AlgorithmConfig.from_dict({"lr": 0.5, "callbacks": dict, "framework": "torch"})
    assert (config.lr, config.callbacks_class) == (0.5, (dict,))
    with pytest.raises(ConfigError) as caught:
        config.update_from_dict({"gama": 1, "framework": "tf", "lr": "x"})
    assert [problem.key for problem in caught.value.problems] == ["gama", "framework", "lr"]


def test_overrides_are_checked_when_they_are_written() -> None:
    assert AlgorithmConfig.overrides(explore=False) == {"explore": False}
    with pytest.raises(ConfigError, match="explor: unknown key; did you mean 'explore'"):
        AlgorithmConfig.overrides(explor=False)


# Networks.


class SharingConfig(AlgorithmConfig):
    model: ModelConfig = ModelConfig(vf_share_layers=True, fcnet_hiddens=(8,))
    """Networks of its own."""


@pytest.mark.parametrize("given", [{"fcnet_hiddens": [4]}, ModelConfig(fcnet_hiddens=(4,))])
def test_what_is_not_said_of_networks_is_the_algorithms_default(given: Any) -> None:
    config = SharingConfig().rl_module(model_config=given)
    assert (config.model.fcnet_hiddens, config.model.vf_share_layers) == ((4,), True)
    assert SharingConfig(model_config=given).model == config.model


def test_networks_read_as_a_mapping_too() -> None:
    model = ModelConfig(fcnet_hiddens=[4], own=3)
    assert (model["fcnet_hiddens"], model["own"], model.get("other", 1)) == ((4,), 3, 1)
    assert "own" in model
    assert dict(model.items())["own"] == 3
    with pytest.raises(KeyError):
        model["other"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"use_lstm": True, "use_gru": True}, "use_gru: use_lstm is set as well; choose one"),
        ({"fcnet_bias_initializer_kwargs": {"a": 1}}, "are arguments of fcnet_bias_initializer, "),
    ],
)
def test_networks_that_contradict_themselves(model: dict[str, Any], message: str) -> None:
    config = AlgorithmConfig(env="CartPole-v1", model_config=model)
    assert message in "\n".join(map(str, config.problems()))


class OwnModule(RLModule):
    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {}


SPACES = Spaces(spaces.Box(-1, 1, (3,)), spaces.Discrete(2))


def test_a_module_of_ones_own_has_its_own_settings() -> None:
    config = AlgorithmConfig(env="CartPole-v1").rl_module(
        model_config={"width": 3},
        rl_module_spec=RLModuleSpec(module_class=OwnModule, model_config={"depth": 2}),
    )
    config.validate()
    full = config.get_rl_module_spec(SPACES)
    assert (full.module_class, full.model_config) == (OwnModule, {"depth": 2})
    assert full.build().observation_space == SPACES.observation


def test_a_spec_of_the_default_module_adds_to_the_networks() -> None:
    config = AlgorithmConfig(model_config={"fcnet_hiddens": [4], "fcnet_activation": "relu"})
    config.rl_module(rl_module_spec=RLModuleSpec(model_config={"fcnet_hiddens": [8]}))
    model = config.get_rl_module_spec(SPACES).model_config
    assert (model["fcnet_hiddens"], model["fcnet_activation"]) == ((8,), "relu")


def test_a_spec_reads_from_plain_data_and_back() -> None:
    data = {
        "module_class": f"{ActorCriticModule.__module__}:{ActorCriticModule.__qualname__}",
        "observation_space": {"Discrete": {"n": 2}},
        "model_config": {"width": 3},
    }
    config = AlgorithmConfig(rl_module_spec=data)
    assert config.rl_module_spec == RLModuleSpec(
        ActorCriticModule, SMALL, model_config={"width": 3}
    )
    again = AlgorithmConfig.from_dict(config.to_dict())
    assert again.rl_module_spec == config.rl_module_spec
    several = AlgorithmConfig(rl_module_spec={"rl_module_specs": {"p": data, "q": {}}})
    assert several.rl_module_spec.spec_for("p") == config.rl_module_spec
    assert several.rl_module_spec.spec_for("other") == RLModuleSpec()
    assert AlgorithmConfig.from_dict(several.to_dict()).rl_module_spec == several.rl_module_spec


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (3, "rl_module_spec: should be a RLModuleSpec or MultiRLModuleSpec, got 3"),
        ({"module_clas": 1}, "no spec of a module can be made of {'module_clas': 1}: "),
        ({"module_class": "no_such:M"}, "the module 'no_such:M' cannot be loaded: "),
        ({"rl_module_specs": {}}, "names no module"),
        ({"rl_module_specs": {"a/b": {}}}, "'a/b' cannot be the id of a policy"),
    ],
)
def test_what_is_no_spec_of_a_module(spec: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        AlgorithmConfig().rl_module(rl_module_spec=spec)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"fcnet_hidden": [3]}, "model_config.fcnet_hidden: unknown key; did you mean 'fcnet_h"),
        ({"fcnet_hiddens": ["x"]}, "model_config.fcnet_hiddens[0]: should be a valid integer"),
    ],
)
def test_mistakes_in_the_spec_of_a_default_module_are_located(
    model: dict[str, Any], message: str
) -> None:
    config = AlgorithmConfig(rl_module_spec=RLModuleSpec(model_config=model))
    assert f"rl_module_spec.{message}" in "\n".join(map(str, config.problems()))


# Settings within settings.


def test_evaluation_has_these_settings_with_its_own() -> None:
    config = AlgorithmConfig(num_env_runners=4, gamma=0.5).evaluation(
        evaluation_num_env_runners=2,
        evaluation_interval=3,
        evaluation_config={"explore": False, "env_config": {"a": 1}},
    )
    config.evaluation(evaluation_config=AlgorithmConfig(gamma=1.0))
    inner = config.freeze().get_evaluation_config_object()
    assert (inner.num_env_runners, inner.gamma, inner.explore) == (2, 1.0, False)
    assert inner.in_evaluation
    assert not config.in_evaluation
    assert (inner.evaluation_config, inner.evaluation_interval) == (None, None)
    assert inner.env_config == {"a": 1}


def test_mistakes_within_settings_are_located() -> None:
    config = (
        AlgorithmConfig(env="CartPole-v1")
        .evaluation(evaluation_config={"explor": 1})
        .multi_agent(
            policies={"p": PolicySpec(config={"lr": "x"}), "q": None},
            policy_mapping_fn=lambda agent, episode: "p",
            policies_to_train=["r"],
            algorithm_config_overrides_per_module={"s": {"gamma": 2.0}},
        )
    )
    keys = {problem.key for problem in config.problems()}
    assert keys >= {
        "evaluation_config.explor",
        "policies.p.config.lr",
        "policies_to_train",
        "algorithm_config_overrides_per_module",
        "algorithm_config_overrides_per_module.s.gamma",
    }


def test_a_module_has_these_settings_with_its_own() -> None:
    config = AlgorithmConfig().multi_agent(
        policies={"p": (None, None, None, {"lr": 0.5, "gamma": 0.5}), "q": {}},
        algorithm_config_overrides_per_module={"p": {"lr": 0.25}},
    )
    config.rl_module(algorithm_config_overrides_per_module={"q": {"lr": 0.125}})
    assert (config.get_config_for_module("p").lr, config.get_config_for_module("p").gamma) == (
        0.25,
        0.5,
    )
    assert config.get_config_for_module("q").lr == 0.125
    assert config.get_config_for_module("r") is config


@pytest.mark.parametrize(
    ("duration", "parallel", "fine"), [("auto", False, False), ("auto", True, True), (3, False, 1)]
)
def test_an_evaluation_that_lasts_as_long_as_training_needs_it(
    duration: Any, parallel: bool, fine: bool
) -> None:
    config = AlgorithmConfig(evaluation_duration=duration, evaluation_parallel_to_training=parallel)
    texts = [p.text for p in config.problems() if "set evaluation_parallel" in p.text]
    assert not texts if fine else texts


# Several policies.

SMALL, LARGE = spaces.Discrete(2), spaces.Discrete(3)


class TwoAgents:
    possible_agents = ("a0", "a1")

    def get_observation_space(self, agent: str) -> gym.Space[Any]:
        return {"a0": SMALL, "a1": LARGE}[agent]

    def get_action_space(self, agent: str) -> gym.Space[Any]:
        return SMALL


def two_policies(**settings: Any) -> AlgorithmConfig:
    return AlgorithmConfig().multi_agent(
        **{
            "policies": ["p0", "p1"],
            "policy_mapping_fn": lambda agent, episode: agent.replace("a", "p"),
        }
        | settings
    )


def test_spaces_of_policies_come_from_their_agents() -> None:
    specs, learns = two_policies(policies_to_train=["p1"]).get_multi_agent_setup(env=TwoAgents())
    assert {key: (s.observation_space, s.action_space) for key, s in specs.items()} == {
        "p0": (SMALL, SMALL),
        "p1": (LARGE, SMALL),
    }
    assert (learns("p0"), learns("p1", None)) == (False, True)


def test_a_spec_goes_before_given_spaces_and_those_before_the_environment() -> None:
    config = two_policies(policies={"p0": PolicySpec(None, LARGE), "p1": None})
    specs, _ = config.get_multi_agent_setup(
        env=TwoAgents(), spaces={"p0": (SMALL, LARGE), "p1": (SMALL, None)}
    )
    assert (specs["p0"].observation_space, specs["p0"].action_space) == (LARGE, LARGE)
    assert (specs["p1"].observation_space, specs["p1"].action_space) == (SMALL, SMALL)


def test_one_policy_acts_for_all_agents() -> None:
    env = gym.make("CartPole-v1")
    specs, learns = AlgorithmConfig().get_multi_agent_setup(env=env)
    assert specs["default_policy"].action_space == env.action_space
    assert learns("default_policy")
    assert AlgorithmConfig().multi_agent(policies=["p"]).get_module_id("anyone") == "p"
    env.close()


@pytest.mark.parametrize(
    ("config", "env", "message"),
    [
        (AlgorithmConfig(), None, "the spaces of policy 'default_policy' are unknown"),
        (two_policies(policy_mapping_fn=lambda *_: "p0"), TwoAgents(), "agents of different spa"),
        (two_policies(policy_mapping_fn=lambda *_: "x"), TwoAgents(), "gave 'x' for agent 'a0'; "),
    ],
)
def test_policies_whose_spaces_cannot_be_told(
    config: AlgorithmConfig, env: Any, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        config.get_multi_agent_setup(env=env)
    assert message in str(caught.value)


def test_what_learns_may_depend_on_the_batch() -> None:
    config = two_policies(policies_to_train=lambda policy, batch: batch > 3)
    assert (config.is_policy_to_train("p0", 4), config.is_policy_to_train("p0", 3)) == (True, False)
    assert "policy_mapping_fn: missing: which of p0, p1 acts for an agent" in "\n".join(
        map(str, two_policies(policy_mapping_fn=None).problems())
    )


# Plain data, and code by name.

a_dtype = st.sampled_from(["float32", "float64", "uint8", "int64"])
a_box = st.tuples(st.lists(st.integers(1, 3), max_size=3), a_dtype, st.booleans()).map(
    lambda drawn: spaces.Box(
        np.zeros(drawn[0], drawn[1]),
        np.arange(1, 1 + int(np.prod(drawn[0]))).reshape(drawn[0]).astype(drawn[1])
        if drawn[2]
        else np.full(drawn[0], 9, drawn[1]),
        dtype=np.dtype(drawn[1]).type,
    )
)
a_leaf = st.one_of(
    a_box,
    st.tuples(st.integers(1, 9), st.integers(-3, 3)).map(
        lambda d: spaces.Discrete(d[0], start=d[1])
    ),
    st.lists(st.integers(1, 5), min_size=1, max_size=3).map(spaces.MultiDiscrete),
    st.integers(1, 5).map(spaces.MultiBinary),
)
a_space = st.recursive(
    a_leaf,
    lambda inner: (
        st.dictionaries(st.text("ab", min_size=1), inner, min_size=1, max_size=3).map(spaces.Dict)
        | st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple)
    ),
    max_leaves=4,
)


@given(a_space)
def test_a_space_comes_back_from_plain_data_as_it_was(space: gym.Space[Any]) -> None:
    assert read_space(write_space(space)) == space


def test_a_space_without_a_plain_form_says_so() -> None:
    with pytest.raises(ValueError, match="a Text space cannot be written to a file"):
        write_space(spaces.Text(3))


class Callbacks:
    @staticmethod
    def on_episode_end(**kwargs: Any) -> None:
        """Nothing."""


def test_all_that_is_set_is_plain_data_that_reads_back() -> None:
    config = two_policies(
        policies={"p0": PolicySpec(None, SMALL, None, {"lr": 0.5}), "p1": None},
        policy_mapping_fn=Callbacks.on_episode_end,
        policies_to_train={"p1"},
    )
    config.environment("CartPole-v1", observation_space=LARGE).training(lr=[[0, 1.0], [5, 0.5]])
    config.callbacks(Callbacks, on_train_result=print)
    config.rl_module(model_config={"conv_filters": [[16, [8, 8], 4]]})
    settings = config.to_dict()
    assert settings["policies"] == {
        "p0": {"observation_space": {"Discrete": {"n": 2, "start": 0}}, "config": {"lr": 0.5}},
        "p1": {},
    }
    assert settings["callbacks_class"] == [f"{__name__}:Callbacks"]
    assert settings["policy_mapping_fn"] == f"{__name__}:Callbacks.on_episode_end"
    assert settings["on_train_result"] == ["builtins:print"]
    assert settings["policies_to_train"] == ["p1"]
    settings |= {"callbacks_class": [], "policy_mapping_fn": None}
    assert AlgorithmConfig.from_dict(settings).to_dict() == settings


def test_code_is_imported_by_name() -> None:
    config = AlgorithmConfig().callbacks(on_episode_end=["builtins:print", "os.path:join"])
    assert config.on_episode_end[0] is print
    assert plain(config.on_episode_end) == ["builtins:print", "posixpath:join"]


def test_a_missing_seed_is_drawn() -> None:
    drawn = {AlgorithmConfig().debugging(seed=None).seed for _ in range(3)}
    assert len(drawn) == 3


# States, which checkpoints hold.


def test_a_state_makes_the_same_settings() -> None:
    config = SharingConfig(env="CartPole-v1", lr=[[0, 1.0], [9, 0.5]], action_space=SMALL)
    twin = SharingConfig.from_state(config.get_state())
    assert twin == config
    assert (
        AlgorithmConfig.from_state({"algorithm": "PPO", "config": {"lambda": 0.5}})["lambda_"]
        == 0.5
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"callbacks_class": ["canary:Callbacks"]},
        {"on_episode_end": "canary:fn"},
        {"policy_mapping_fn": "canary:fn"},
        {"env": "canary:CartPole-v1"},
        {"rl_module_spec": {"module_class": "canary:Module"}},
        {"rl_module_spec": {"rl_module_specs": {"p": {"module_class": "canary:Module"}}}},
        {"env": "os:abort"},
    ],
)
def test_a_state_imports_nothing(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="would have to be imported, and a checkpoint imports no"):
        SharingConfig.from_state({"config": settings})


def test_a_state_may_name_what_the_program_has_imported_and_registered() -> None:
    env = "gymnasium:CartPole-v1"
    assert SharingConfig.from_state({"config": {"env": env}}).env == env


def test_a_state_of_a_named_module_needs_its_own_class() -> None:
    with pytest.raises(ConfigError, match="the settings are those of my:Algo; call from_state on"):
        AlgorithmConfig.from_state({"algorithm": "my:Algo", "config": {}})


# Attributes that there are not.


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("enviroment", "did you mean 'environment'?"),
        ("num_env_runer", "did you mean 'num_env_runners'?"),
        ("build_alg", "did you mean 'build_algo'?"),
        ("num_rollout_workers", "it is called 'num_env_runners' here"),
        ("exploration_config", "the nearest setting is 'explore'"),
        ("zzz", "unknown setting or method"),
    ],
)
def test_an_attribute_that_there_is_not_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(AlgorithmConfig(), name)
    assert str(caught.value).startswith(f"AlgorithmConfig.{name}: ")
    assert str(caught.value).endswith(hint)
    assert not hasattr(AlgorithmConfig(), name)


def test_a_wrong_value_and_a_misspelt_key_of_a_specs_model_are_both_told() -> None:
    model = {"fcnet_hiddens": ["x"], "fcnet_activaton": "relu"}
    config = AlgorithmConfig(env="CartPole-v1", rl_module_spec=RLModuleSpec(model_config=model))
    keys = [problem.key for problem in config.problems()]
    assert keys == [
        "rl_module_spec.model_config.fcnet_hiddens[0]",
        "rl_module_spec.model_config.fcnet_activaton",
    ]


def test_model_config_of_a_config_is_the_networks_shape() -> None:
    config = PPOConfig()
    assert config.model_config["fcnet_hiddens"] == config.model.fcnet_hiddens
    config.model_config = {"fcnet_hiddens": [8], "own": 1}
    assert config.model_config["fcnet_hiddens"] == (8,)
    assert config.model_config.get("own") == config.copy().model_config["own"] == 1
    assert PPOConfig.from_dict(config.to_dict()).model_config == config.model
    with pytest.raises(TypeError, match=r"rl_module\(model_config="):
        config.model_config["fcnet_hiddens"] = [4]
