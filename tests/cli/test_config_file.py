"""YAML and the command line: every mistake at once, with its place and the right name."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib.config import yaml_tree
from rllib.config.file import find_config, load_plan, read_draft
from rllib.config.plan import RunPlan
from rllib.errors import ConfigError

HEAD = "algorithm: counting_algo:Counting\nenvironment:\n  env: CartPole-v1\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parent)


def write(text: str, name: str = "my.yaml") -> str:
    Path(name).write_text(text)
    return name


def complaint(text: str, *overrides: str, stop: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        load_plan(write(text), overrides, stop)
    return str(caught.value)


# Scalars.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1e5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-2", -2),
        ("500_000", 500_000),
        ("0x1F", 31),
        ("010", 10),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("yes", "yes"),
        ("no", "no"),
        ("1:30", "1:30"),
        ("_1", "_1"),
        ("e5", "e5"),
        ("2024-01-01", "2024-01-01"),
        ("CartPole-v1", "CartPole-v1"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(text: str, value: object) -> None:
    parsed = yaml_tree.parse_scalar(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_quotes_make_a_string() -> None:
    assert yaml_tree.parse("a: '3e-4'", "x").value == {"a": "3e-4"}


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), plain))
def test_what_is_dumped_reads_back_the_same(value: dict[str, object]) -> None:
    assert yaml_tree.parse(yaml_tree.dump(value), "x").value == value


# Documents that are refused as a whole.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2", "my.yaml:1:9: expected ',' or ']'"),
        ("a:\n\t- b\n", "my.yaml:2:1: a tab, which YAML"),
        ("a: 1\n---\nb: 2\n", "my.yaml:2:1: a second document"),
        ("a: &x 1\n", "my.yaml:1:4: anchors and aliases"),
        ("a: *x\n", "my.yaml:1:4: anchors and aliases"),
        ("a: !!python/object/apply:os.system [touch canary]\n", "my.yaml:1:4: the tag"),
        ("a: !!python/name:os.system\n", "my.yaml:1:4: the tag"),
        ("a: \x00\n", "my.yaml: not YAML"),
        ("[" * 3000, "my.yaml: nested too deeply"),
        ("#" * 1_000_001, "my.yaml: longer than 1,000,000 characters"),
        ("", "my.yaml: the config is empty"),
        ("- a\n", "my.yaml: the config should be a mapping of sections"),
        ("training:\n  lr: 1\n", "my.yaml: algorithm: missing; for example 'PPO'"),
        ("algorithm:\n", "my.yaml:1:1: algorithm: missing; for example 'PPO'"),
        ("algorithm: [PPO]\n", "my.yaml:1:1: algorithm: should be a name, got ['PPO']"),
        ("algorithm: ppo\n", "my.yaml:1:1: unknown algorithm 'ppo'; did you mean 'PPO'?"),
        ("algorithm: ':X'\n", "my.yaml:1:1: the algorithm ':X' cannot be loaded: ValueError"),
        ("algorithm: leaves:X\n", "my.yaml:1:1: the algorithm 'leaves:X' cannot be loaded: Sys"),
        ("algorithm: leaves:X\n", "SystemExit: 3"),
        ("algorithm: os:PathLike\n", "'os:PathLike' is no algorithm: it has no config_class"),
        ("algorithm: PPP\n", "my.yaml:1:1: unknown algorithm 'PPP'; did you mean 'PPO'?"),
        ("algorithm: no_such_module:X\n", "my.yaml:1:1: the algorithm 'no_such_module:X' cannot"),
        ("algorithm: pathlib:Path\n", "my.yaml:1:1: 'pathlib:Path' is no algorithm"),
    ],
)
def test_a_document_that_cannot_be_used_says_where_and_why(text: str, message: str) -> None:
    assert message in complaint(text)
    assert not Path("canary").exists()


def test_of_a_file_of_any_size_only_so_much_is_read(tmp_path: Path) -> None:
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match="longer than 1,000,000 characters"):
        read_draft(str(huge))


def test_a_file_that_is_no_text_is_refused() -> None:
    Path("my.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match=r"my\.yaml: not a text file in UTF-8"):
        load_plan("my.yaml")


# Single mistakes in an otherwise good config.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training:\n  gama: 1\n", "my.yaml:5:3: gama: unknown key; did you mean 'gamma'?"),
        ("training:\n  learning_rate: 1\n", "my.yaml:5:3: learning_rate: unknown key; it is "),
        ("env_runners:\n  num_workers: 1\n", "it is called 'num_env_runners' here"),
        ("training:\n  lr: fast\n", "my.yaml:5:3: lr: should be a valid number, got 'fast'"),
        ("training:\n  lr: 1\n  lr: 2\n", "my.yaml:6:3: training.lr: written twice; the first one"),
        ("trainning:\n  lr: 1\n", "my.yaml:4:1: trainning: unknown section; did you mean"),
        ("lr: 1\n", "my.yaml:4:1: lr: belongs under 'training'"),
        ("n_steps: 1\n", "n_steps: belongs under 'env_runners', as 'rollout_fragment_length'"),
        ("learners:\n  lr: 1\n", "my.yaml:5:3: lr: belongs under 'training'"),
        ("training: fast\n", "my.yaml:4:1: training: should be a mapping, got 'fast'"),
        ("training:\n  gamma: 2\n", "gamma: should be less than or equal to 1, got 2"),
        ("training:\n  [a]: 2\n", "my.yaml:5:3: a key must be a plain word"),
        (
            "rl_module:\n  model_config:\n    fcnet_hiddens: [64, x]\n",
            "my.yaml:6:25: model_config.fcnet_hiddens[1]: should be a valid integer, got 'x'",
        ),
        (
            "rl_module:\n  model_config:\n    fcnet_activation: gelu\n",
            "my.yaml:6:5: model_config.fcnet_activation: should be 'tanh', 'relu', 'silu' or",
        ),
        ("training:\n  minibatch_size: 5000\n", "is more than train_batch_size_per_learner, 32"),
        ("stop:\n  episode_reward_mean: 1\n", "did you mean 'env_runners/episode_return_mean'?"),
        ("stop:\n  training_iteration: soon\n", "my.yaml:5:3: training_iteration: should be a num"),
        ("stop:\n  training_iteration: .inf\n", "should be a finite number, got inf"),
        ("stop:\n  training_iteration: true\n", "should be a number, got True"),
    ],
)
def test_a_mistake_has_its_place_and_the_right_name(text: str, message: str) -> None:
    assert message in complaint(HEAD + text)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("CartPole-v7", "my.yaml:3:3: env: unknown environment 'CartPole-v7'; did you mean 'CartP"),
        ("cartpole", "did you mean 'CartPole-v1'?"),
        ("CartPol-v1", "did you mean 'CartPole-v1'?"),
        ("NoSuchThing-v0", "if a package registers it, name the package as well"),
        ("no_such_module:Env-v0", "the module of 'no_such_module:Env-v0' cannot be imported"),
        ("5", "env: should be a valid string or callable, got 5"),
        ("null", "env: missing: name an environment"),
    ],
)
def test_an_unknown_environment_is_found_before_anything_starts(env: str, message: str) -> None:
    assert message in complaint(HEAD.replace("CartPole-v1", env))


def test_a_module_that_registers_the_environment_is_imported_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    Path("my_envs.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Registered-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    assert load_plan(write(HEAD), ["env=my_envs:Registered-v0"]).config.env is not None


def test_all_mistakes_come_in_reading_order() -> None:
    text = f"{HEAD}trainning:\n  lr: 1\ntraining:\n  gama: 1\n  lr: x\nstop:\n  foo: 1\n"
    lines = complaint(text, "n_envs=3", "oops").splitlines()
    assert lines[0] == "6 mistakes"
    places = [line.split(": ")[0].strip() for line in lines[1:]]
    assert (
        places
        == ["my.yaml:4:1", "my.yaml:7:3", "my.yaml:8:3", "my.yaml:10:3"] + ["command line"] * 2
    )


# The command line.


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("lr=3e-4", "lr", 3e-4),
        ("training.lr=3e-4", "lr", 3e-4),
        ("env_config.size=3", "env_config", {"size": 3}),
        ("environment.env_config.map.name=4x4", "env_config", {"map": {"name": "4x4"}}),
        ("env_config={a: [1, 2]}", "env_config", {"a": [1, 2]}),
        ("grad_clip=null", "grad_clip", None),
        ("seed=7", "seed", 7),
    ],
)
def test_an_override_goes_through_the_same_schema(override: str, key: str, value: object) -> None:
    assert load_plan(write(HEAD), [override]).config.to_dict()[key] == value


def test_an_override_within_a_mapping_keeps_the_rest() -> None:
    text = HEAD + "  env_config: {a: 1, b: 2}\n"
    assert load_plan(write(text), ["env_config.b=3"]).config.env_config == {"a": 1, "b": 3}
    model = load_plan(write(HEAD), ["model_config.fcnet_hiddens=[8]"]).config.model
    assert (model.fcnet_hiddens, model.fcnet_activation) == ((8,), "tanh")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr", "command line: 'lr': write it as key=value"),
        ("=3", "command line: '=3': write it as key=value"),
        ("lr=fast", "command line: lr: should be a valid number, got 'fast'"),
        ("learning_rate=1", "command line: learning_rate: unknown key; it is called 'lr' here"),
        ("learners.lr=1", "command line: learners.lr: belongs to 'training'"),
        ("training=1", "command line: training: is a section; name a setting in it"),
        ("lr.x=1", "command line: lr: is no mapping, so it has no 'x'"),
        ("lr=[1", "command line: lr:1:3: expected ',' or ']'"),
        ("model_config.x=1", "command line: model_config.x: unknown key"),
    ],
)
def test_a_wrong_override_is_explained(override: str, message: str) -> None:
    assert message in complaint(HEAD, override)


def test_stop_criteria_of_the_command_line_are_added_to_those_of_the_file() -> None:
    text = HEAD + "stop:\n  training_iteration: 5\n  a/b: 1\n"
    plan = load_plan(write(text), ["stop.a/b=2"], ["learners/x.y=3"])
    assert plan.stop == {"training_iteration": 5, "a/b": 2, "learners/x.y": 3}
    assert "command line: 'x': write it as key=value" in complaint(HEAD, stop=("x",))
    assert "example num_env_steps_sampled_lifetime=500" in complaint(HEAD, stop=("500",))
    assert load_plan(write(text), ["stop.a/b=null"]).stop == {"training_iteration": 5}


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        ([], True),
        (["num_env_runners=0"], False),
        (["env_runners.num_env_runners=0", "num_learners=1"], True),
    ],
)
def test_a_draft_tells_whether_actors_will_be_needed(overrides: list[str], wanted: bool) -> None:
    text = HEAD + "env_runners:\n  num_env_runners: 2\n"
    assert read_draft(write(text), overrides).wants_actors is wanted


# Finding configs, and writing them out.


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ppo_cartpol", "unknown preset 'ppo_cartpol'; did you mean 'ppo_cartpole'?"),
        ("zzz", "unknown preset 'zzz'; there are: "),
        ("missing.yaml", "missing.yaml: no such file"),
        ("folder/missing", "folder/missing: no such file"),
        ("folder.yaml", "folder.yaml: is not a file"),
    ],
)
def test_a_config_that_cannot_be_found_is_explained(name: str, message: str) -> None:
    Path("folder.yaml").mkdir()
    with pytest.raises(ConfigError) as caught:
        find_config(name)
    assert message in str(caught.value)


def test_a_plan_written_out_reads_back_as_the_same_plan() -> None:
    text = HEAD + "  env_config: {text: '3e-4', none: null}\nstop:\n  a/b: 1.5\n"
    plan = load_plan(write(text), ["lr=3e-4", "model_config.fcnet_hiddens=[8, 8]"])
    again = load_plan(write(plan.to_yaml()))
    assert again == plan
    assert isinstance(again, RunPlan)


def test_every_preset_is_valid() -> None:
    folder = find_config("ppo_cartpole").parent
    presets = sorted(path.stem for path in folder.glob("*.yaml"))
    assert presets
    for preset in presets:
        load_plan(preset)


# Metrics to stop at.

PPO = "algorithm: PPO\nenvironment: {env: CartPole-v1}\n"


@pytest.mark.parametrize(
    ("metric", "near"),
    [
        ("env_runners/episode_retrun_mean", "env_runners/episode_return_mean"),
        ("env_runner/episode_return_mean", "env_runners/episode_return_mean"),
        ("evaluation/episode_return_mean", "evaluation/env_runners/episode_return_mean"),
        ("learners/default_polcy/vf_loss", "learners/default_policy/vf_loss"),
    ],
)
def test_a_metric_that_results_never_have_is_refused_before_training(
    metric: str, near: str
) -> None:
    text = f"{PPO}stop:\n  {metric}: 3\n"
    expected = f"my.yaml:4:3: {metric}: results will have no such metric; did you mean {near!r}?"
    assert complaint(text) == expected


@pytest.mark.parametrize(
    "metric",
    [
        "env_runners/agent_episode_returns_mean/a",
        "env_runners/least_agent_episode_return_mean",
        "env_runners/weights_seq_no",
        "evaluation/env_runners/episode_len_max",
        "learners/default_policy/vf_loss",
        "learners/__all_modules__/x",
        "timers/training_iteration",
        "replay_buffer/num_env_steps_stored",
    ],
)
def test_a_metric_that_results_may_have_is_taken(metric: str) -> None:
    assert load_plan(write(f"{PPO}stop: {{{metric}: 3}}\n")).stop == {metric: 3}


def test_metrics_of_callbacks_are_known_by_the_first_result_alone() -> None:
    text = f"{PPO}callbacks: {{callbacks_class: 'rllib.callbacks:RLlibCallback'}}\n"
    assert load_plan(write(f"{text}stop: {{env_runners/own: 3}}\n")).stop


def test_a_wrong_value_does_not_hide_misspelt_keys_of_the_model() -> None:
    model = "{fcnet_hidens: [3], fcnet_activation: relux, vf_share_layer: 1}"
    message = complaint(f"{PPO}rl_module:\n  model_config: {model}\n")
    assert message.startswith("3 mistakes")
    assert "model_config.fcnet_hidens: unknown key; did you mean 'fcnet_hiddens'?" in message
    assert "model_config.vf_share_layer: unknown key; did you mean 'vf_share_layers'?" in message
    assert "should be 'tanh'" in message
