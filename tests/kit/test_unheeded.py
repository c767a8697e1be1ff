"""Settings of RLlib's that change nothing here say so; those that would change learning fail."""

import warnings

import pytest

from rllib.algorithms.appo import APPOConfig
from rllib.algorithms.ppo import PPOConfig
from rllib.config.unheeded import unheeded, warn_of_unheeded
from rllib.errors import ConfigError
from rllib.sampling.env_runner_group import actor_options


def config(**settings):
    return PPOConfig().environment("CartPole-v1").update_from_dict(settings)


def test_nothing_is_said_of_defaults():
    for each in (config(), APPOConfig()):
        assert not list(unheeded(each))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_unheeded(config())


def test_one_warning_names_all_that_change_nothing():
    algo = config(num_env_runners=0, num_cpus_for_main_process=4, episodes_to_numpy=False)
    with pytest.warns(RuntimeWarning) as caught:
        algo.build_algo().stop()
    (text,) = (str(each.message) for each in caught)
    assert "num_cpus_for_main_process (the main process is the one you have started)" in text
    assert "episodes_to_numpy (samples are arrays from the start)" in text


@pytest.mark.parametrize(
    ("settings", "key", "text"),
    [
        (
            {"add_default_connectors_to_module_to_env_pipeline": False},
            "add_default_connectors_to_module_to_env_pipeline",
            "normalize_actions",
        ),
        (
            {"merge_env_runner_states": False, "observation_filter": "MeanStdFilter"},
            "merge_env_runner_states",
            "of all env runners",
        ),
        (
            {"broadcast_env_runner_states": False, "env_to_module_connector": print},
            "broadcast_env_runner_states",
            "of all env runners",
        ),
        (
            {"create_local_env_runner": False, "num_env_runners": 0},
            "create_local_env_runner",
            "nobody would sample",
        ),
        ({"placement_strategy": "STRICT_SPREAD"}, "placement_strategy", "write 'SPREAD'"),
    ],
)
def test_what_would_change_a_run_is_refused(settings, key, text):
    with pytest.raises(ConfigError, match=rf"{key}: .*{text}"):
        config(**settings).validate()


def test_without_statistics_it_is_all_the_same_whether_they_are_merged():
    config(merge_env_runner_states=False, broadcast_env_runner_states=False).validate()
    config(create_local_env_runner=False, num_env_runners=1).validate()


def test_appo_has_no_advantages_but_those_of_vtrace():
    with pytest.raises(ConfigError, match="use_gae: advantages are always V-trace's"):
        APPOConfig().environment("CartPole-v1").training(use_gae=False).validate()


def test_env_runners_go_where_the_placement_strategy_says():
    assert actor_options(config())["scheduling_strategy"] == "SPREAD"
    packed = config(placement_strategy="PACK")
    assert actor_options(packed)["scheduling_strategy"] == "DEFAULT"
