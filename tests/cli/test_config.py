"""The builder: every setting by its RLlib name, every mistake with the right name."""

import copy
import pickle

import gymnasium as gym
import pytest
from pydantic import NonNegativeFloat

from rllib.algorithms.ppo import PPOConfig
from rllib.config import AlgorithmConfig
from rllib.config.names import RENAMED, UNSUPPORTED
from rllib.config.types import ScheduleOr
from rllib.errors import ConfigError


class ToyConfig(AlgorithmConfig):
    lr: ScheduleOr[NonNegativeFloat] = 0.5
    """Another default: still in its own section."""
    num_env_runners: int = 2
    """Another default, in a section that is not the algorithm's."""
    clip_param: float = 0.2
    """A setting of its own: in the section training."""


def test_the_builder_sets_by_section_and_chains() -> None:
    config = (
        ToyConfig()
        .environment("CartPole-v1", env_config={"size": 3})
        .env_runners(num_env_runners=3)
        .training(lr=3e-4, clip_param=0.1)
        .rl_module(model_config={"fcnet_hiddens": [64, 32]})
        .debugging(seed=7)
    )
    assert (config.env, config.env_config) == ("CartPole-v1", {"size": 3})
    assert (config.num_env_runners, config.lr, config.clip_param) == (3, 3e-4, 0.1)
    assert (config.model.fcnet_hiddens, config.seed) == ((64, 32), 7)


def test_a_subclass_keeps_the_section_of_what_it_only_gives_another_default() -> None:
    assert ToyConfig.section_of("num_env_runners") == "env_runners"
    assert ToyConfig.section_of("lr") == "training"
    assert ToyConfig.section_of("clip_param") == "training"
    assert ToyConfig.section_of("model_config") == "rl_module"
    assert ToyConfig.section_of("nothing") is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gama": 0.9}, "training(): gama: unknown key; did you mean 'gamma'?"),
        ({"learning_rate": 1}, "training(): learning_rate: unknown key; it is called 'lr' here"),
        ({"num_epochs": 2.5}, "training(): num_epochs: should be a valid integer"),
        ({"lr": "3e-4"}, "training(): lr: should be a valid number, got '3e-4'"),
        ({"lr": True}, "training(): lr: should be a valid number, got True"),
        ({"lr": float("nan")}, "training(): lr: should be a finite number"),
        ({"gamma": 1.5}, "training(): gamma: should be less than or equal to 1, got 1.5"),
        ({"num_learners": 1}, "belongs to another section: write .learners(num_learners=...)"),
        ({"learner_class": 1}, "training(): learner_class: should be callable, got 1"),
        ({"optimizer": {}}, "not supported; the nearest setting is 'learner_class'"),
        (
            {"normalize_advantage": True},
            "nearest setting is 'learner_class' (PPO's standardises advantages, always",
        ),
        ({"lr": [[0, 1e-3], [0, 0]]}, "lr: the timesteps of a schedule rise from point to point"),
        ({"lr": [[5, 1e-3]]}, "lr: a schedule [[timestep, value], ...] begins at timestep 0"),
        ({"lr": [[0, -1.0]]}, "training(): lr[0][1]: should be greater than or equal to 0, got -1"),
        ({"min_time_s_per_iteration": 1}, "write .reporting(min_time_s_per_iteration=...)"),
        ({"use_gae": True}, "not supported"),
        ({"vf_share_layers": True}, "it is called 'model_config.vf_share_layers' here"),
        ({"net_arch": [64]}, "it is called 'model_config.fcnet_hiddens' here"),
        ({"LR": 1}, "unknown key; did you mean 'lr'?"),
        ({"grad_clip_by": "l2"}, "should be 'value', 'norm' or 'global_norm', got 'l2'"),
    ],
)
def test_a_wrong_setting_is_explained(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ToyConfig().training(**settings)
    assert message in str(caught.value)


def test_a_hint_is_one_that_helps() -> None:
    with pytest.raises(ConfigError) as caught:
        PPOConfig().training(lr=-1.0)
    assert str(caught.value).endswith("got -1.0")
    with pytest.raises(ConfigError, match=r"num_epochs: .*, got -1.0; did you mean -1\?"):
        PPOConfig().training(num_epochs=-1.0)
    with pytest.raises(ConfigError, match="give what makes one: its id, its class, or lambda conf"):
        PPOConfig().environment(gym.make("CartPole-v1"))


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        ToyConfig().training(gama=1, lr="x", num_learners=2)
    assert [problem.key for problem in caught.value.problems] == ["gama", "lr", "num_learners"]
    assert str(caught.value).startswith("3 mistakes\n")


def test_the_constructor_and_assignment_check_as_the_builder_does() -> None:
    with pytest.raises(ConfigError, match="num_workers: unknown key; it is called"):
        ToyConfig(num_workers=3)
    config = ToyConfig()
    with pytest.raises(ConfigError, match="lr: should be"):
        config.lr = "fast"
    with pytest.raises(ConfigError, match="did you mean 'gamma'"):
        config.gama = 0.9
    assert config.lr == 0.5


def test_a_mistake_within_the_model_is_located() -> None:
    with pytest.raises(ConfigError) as caught:
        ToyConfig().rl_module(model_config={"fcnet_hiddens": [64, "x"], "use_lstm": 3})
    assert [problem.key for problem in caught.value.problems] == [
        "model_config.fcnet_hiddens[1]",
        "model_config.use_lstm",
    ]


def test_the_default_modules_know_no_settings_of_others() -> None:
    config = ToyConfig(env="CartPole-v1").rl_module(model_config={"fcnet_hidden": [1]})
    with pytest.raises(ConfigError) as caught:
        config.validate()
    expected = "model_config.fcnet_hidden: unknown key; did you mean 'fcnet_hiddens'?"
    assert str(caught.value) == expected


def test_a_frozen_config_refuses_changes_and_its_copy_allows_them() -> None:
    frozen = ToyConfig().environment("CartPole-v1").freeze()
    with pytest.raises(ConfigError, match=r"lr: the config is frozen; change a .copy\(\)"):
        frozen.training(lr=1.0)
    twin = frozen.copy().training(lr=1.0)
    assert (twin.lr, frozen.lr) == (1.0, 0.5)
    assert frozen.copy(copy_frozen=True).is_frozen
    assert not frozen.copy().is_frozen


def test_a_copy_shares_nothing() -> None:
    config = ToyConfig(env_config={"sizes": [1]})
    config.copy().env_config["sizes"].append(2)
    assert config.env_config == {"sizes": [1]}


def test_configs_travel_to_other_processes_as_they_are() -> None:
    config = ToyConfig(env="CartPole-v1", lr=0.1).freeze()
    twin = pickle.loads(pickle.dumps(config))
    assert twin == config == copy.deepcopy(config)
    assert twin.is_frozen


def test_to_dict_is_plain_and_reads_back() -> None:
    config = ToyConfig(env="CartPole-v1", model_config={"fcnet_hiddens": [8]})
    assert config.to_dict()["model_config"]["fcnet_hiddens"] == [8]
    assert ToyConfig(**config.to_dict()) == config


def test_a_class_as_env_is_shown_by_its_name() -> None:
    assert ToyConfig(env=ToyConfig).to_dict()["env"] == f"{__name__}:ToyConfig"


def test_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(ToyConfig(env="CartPole-v1")) == "ToyConfig(env='CartPole-v1')"


@pytest.mark.parametrize(
    ("runners", "envs", "batch", "expected"), [(0, 1, 4000, 4000), (2, 8, 2048, 128), (3, 1, 10, 4)]
)
def test_auto_fragments_fill_the_train_batch(
    runners: int, envs: int, batch: int, expected: int
) -> None:
    config = ToyConfig(
        num_env_runners=runners,
        num_envs_per_env_runner=envs,
        train_batch_size_per_learner=batch,
    )
    assert config.get_rollout_fragment_length() == expected
    assert ToyConfig(rollout_fragment_length=7).get_rollout_fragment_length() == 7


def test_a_train_batch_for_all_learners_is_shared_among_them() -> None:
    config = ToyConfig().training(train_batch_size=600).learners(num_learners=2)
    assert (config.train_batch_size_per_learner, config.total_train_batch_size) == (300, 600)
    config.num_learners = 3
    assert config.train_batch_size_per_learner == 200
    assert ToyConfig(train_batch_size=7, num_learners=9).train_batch_size_per_learner == 1
    assert ToyConfig.from_dict(config.to_dict()).train_batch_size_per_learner == 200
    assert config.copy().learners(num_learners=1).train_batch_size_per_learner == 600


def test_of_the_two_sizes_of_a_train_batch_the_one_that_is_set_last_goes() -> None:
    config = ToyConfig().training(train_batch_size=600).training(train_batch_size_per_learner=50)
    assert config.learners(num_learners=2).total_train_batch_size == 100
    assert config.train_batch_size is None
    assert config.training(train_batch_size=600).train_batch_size_per_learner == 300


def test_impossible_combinations_are_found_together() -> None:
    config = ToyConfig(evaluation_duration="auto", minibatch_size=8, train_batch_size_per_learner=4)
    with pytest.raises(ConfigError) as caught:
        config.validate()
    keys = {problem.key for problem in caught.value.problems}
    assert keys == {"env", "evaluation_duration", "minibatch_size"}


def test_a_subclass_cannot_lose_the_limits_of_a_shared_setting() -> None:
    config = ToyConfig(env="CartPole-v1", num_env_runners=-1)  # ToyConfig says int, the base >= 0
    with pytest.raises(ConfigError) as caught:
        config.validate()
    assert str(caught.value) == "num_env_runners: should be greater than or equal to 0, got -1"
    ToyConfig(env="CartPole-v1", num_env_runners=0).validate()


def test_a_section_of_rllib_that_is_missing_here_says_so() -> None:
    with pytest.raises(AttributeError, match=r"ToyConfig.offline_data\(\) is not supported: "):
        ToyConfig().offline_data  # noqa: B018
    with pytest.raises(AttributeError, match=r"it is called env_runners\(\) here"):
        ToyConfig().rollouts  # noqa: B018
    assert not hasattr(ToyConfig(), "no_such_thing")


def test_no_name_of_ours_is_called_foreign() -> None:
    ours = set(ToyConfig().to_dict())
    assert not ours & set(RENAMED)
    assert not ours & set(UNSUPPORTED)


def test_the_json_schema_documents_every_setting() -> None:
    schema = ToyConfig.model_json_schema()
    assert set(schema["properties"]) == set(ToyConfig().to_dict())
    assert all(setting.get("description") for setting in schema["properties"].values())
