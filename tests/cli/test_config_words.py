"""What the command line says of settings: the schema for editors, explanations, presets."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from rllib.config import yaml_tree
from rllib.config.explain import explanation, settings_page
from rllib.config.file import load_plan
from rllib.config.presets import preset_paths, presets, presets_table
from rllib.config.schema import file_schema, in_words, schema_text
from rllib.errors import ConfigError

ROOT = Path(__file__).parents[2]
PRESETS = sorted(preset_paths())
VALID = jsonschema.Draft7Validator(file_schema())


def mistakes(config: object) -> list[str]:
    return [error.message for error in VALID.iter_errors(config)]


# For editors.


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_right_by_the_schema_as_editors_read_them(preset: str) -> None:
    text = preset_paths()[preset].read_text()
    assert text.startswith("# yaml-language-server: $schema=rllib.schema.json\n")
    assert mistakes(yaml_tree.parse(text, preset).value) == []
    # A YAML 1.2 reader takes grouped digits for text.
    grouped = re.sub(r"\b(\d{1,3}(?:_\d{3})+)\b", r"'\1'", text)
    assert mistakes(yaml_tree.parse(grouped, preset).value) == []


def test_the_complete_config_of_a_run_is_right_by_the_schema() -> None:
    for preset in ("ppo_cartpole", "rainbow_cartpole", "ppo_multi_agent_cartpole"):
        whole = yaml_tree.parse(load_plan(preset).to_yaml(), preset).value
        assert mistakes(whole) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"environment": {"env": "CartPole-v1"}},
        {"algorithm": "PPPO"},
        {"algorithm": "PPO", "trainig": {}},
        {"algorithm": "PPO", "training": {"gama": 0.9}},
        {"algorithm": "PPO", "training": {"gamma": 1.5}},
        {"algorithm": "PPO", "training": {"epsilon": 0.1}},
        {"algorithm": "DQN", "training": {"clip_param": 0.1}},
        {"algorithm": "PPO", "environment": {"env": 3}},
        {"algorithm": "PPO", "rl_module": {"model_config": {"fcnet_activation": "relux"}}},
        {"algorithm": "PPO", "stop": {"training_iteration": "soon"}},
    ],
)
def test_the_schema_finds_what_training_would_refuse(wrong: dict[str, Any]) -> None:
    assert mistakes(wrong)


def test_the_files_made_of_the_schema_are_up_to_date() -> None:
    committed = json.loads((ROOT / "configs" / "rllib.schema.json").read_text())
    assert committed == json.loads(schema_text()), "rllib schema > configs/rllib.schema.json"
    page = (ROOT / "docs" / "settings.md").read_text()
    assert page == settings_page(), "python -m rllib.config.explain > docs/settings.md"


def test_the_schema_of_one_algorithm_names_no_other() -> None:
    assert '"DQN"' not in schema_text("PPO")
    with pytest.raises(ConfigError, match="did you mean 'PPO'"):
        schema_text("PPPO")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "number", "minimum": 0, "maximum": 1}, "number >= 0 <= 1"),
        ({"anyOf": [{"type": "integer"}, {"const": "auto"}]}, 'whole number or "auto"'),
        ({"enum": ["a", None]}, '"a", null'),
        ({"type": "array", "items": {"type": "string"}}, "list of text"),
    ],
)
def test_types_in_words(schema: dict[str, Any], words: str) -> None:
    assert in_words(schema) == words


# For people.


def test_a_setting_is_explained_with_type_limits_default_and_who_has_it() -> None:
    text = explanation("clip_param", "PPO")
    assert text.startswith("training: clip_param\n  How far the probability ratio may move")
    assert "type         number > 0 or a schedule [[timestep, value], ...]\n" in text
    assert "default      0.3\n" in text
    assert "training: {clip_param: 0.3}" in text
    assert ".training(clip_param=0.3)" in text
    assert "docs/settings.md#clip_param" in text
    assert max(map(len, text.splitlines())) < 80


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lr", "algorithms   SAC, TD3"),
        ("training.lr", "0.0005 (DQN)"),
        ("n_steps", "n_steps is called rollout_fragment_length here."),
        ("num_workers", "env_runners: num_env_runners"),
        ("model_config.use_lstm", "rl_module: {model_config: {use_lstm: false}}"),
        ("rl_module.model_config.use_lstm", '.rl_module(model_config={"use_lstm": False})'),
        ("use_lstm", "Whether an LSTM follows"),
        ("learners", "num_learners\n"),
        ("total_timesteps", "env_runners/episode_return_mean"),
        ("stop", "num_env_steps_sampled_lifetime"),
    ],
)
def test_names_are_found_however_they_are_written(name: str, said: str) -> None:
    assert said in explanation(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lrr", "did you mean 'lr'?"),
        ("use_lsmt", "did you mean 'use_lstm'?"),
        ("zzz", "sections are environment, env_runners"),
        ("preprocessor_pref", "the nearest setting is 'env_to_module_connector'"),
    ],
)
def test_an_unknown_name_leads_to_the_nearest(name: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        explanation(name)
    assert said in str(caught.value)


def test_every_explanation_shows_yaml_and_python_that_work() -> None:
    from rllib.algorithms.ppo import PPOConfig

    for key in PPOConfig.public_names():
        text = explanation(key, "PPO").replace("\n" + " " * 15, " ")
        if key != "model_config":
            (in_file,) = re.findall(r"^  in a file +(.*)", text, re.M)
            (in_python,) = re.findall(r"^  in Python +(.*)", text, re.M)
            assert yaml.safe_load(in_file), key
            assert (
                eval(f"PPOConfig(){in_python}", {"PPOConfig": PPOConfig})[key] == PPOConfig()[key]
            )


def test_presets_are_listed_with_what_they_are_for() -> None:
    assert [each.name for each in presets()] == PRESETS
    table = presets_table()
    assert "ppo_cartpole               PPO       CartPole-v1                 475" in table
    assert max(map(len, table.splitlines())) < 80
