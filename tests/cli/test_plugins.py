"""A package of a third party, built and installed: everything it brings is found by name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rllib import plugins, registry
from rllib.algorithms.ppo import PPO, PPOConfig
from rllib.config import AlgorithmConfig
from rllib.envs.counter import CounterEnv
from rllib.errors import ConfigError

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "plugin_package"
CONFIG = """
algorithm: SomeonesPPO
environment:
  env: SomeonesEnv
  env_config: {gain: 2.5}
env_runners:
  num_env_runners: 0
training:
  patience: 5
  minibatch_size: 32
  num_epochs: 1
rl_module:
  rl_module_spec:
    module_class: SomeonesModule
    model_config: {width: 8}
callbacks:
  callbacks_class: SomeonesCallbacks
stop:
  training_iteration: 1
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the package was installed."""
    source = tmp_path_factory.mktemp("source")
    for path in PACKAGE.iterdir():
        if path.is_file():
            (source / path.name).write_bytes(path.read_bytes())
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    how = ["--no-index", "--no-build-isolation", "--no-deps", "--target", str(target)]
    subprocess.run([*pip, *how, str(source)], check=True, capture_output=True, text=True)
    return target


def run(site: Path, cwd: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={"PYTHONPATH": f"{site}:{ROOT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_all_that_a_package_brings_trains_by_name(site: Path, tmp_path: Path) -> None:
    (tmp_path / "plugged.yaml").write_text(CONFIG)
    run(site, tmp_path, "-m", "rllib", "train", "--config", "plugged.yaml")
    row = json.loads((tmp_path / "runs/plugged/progress.jsonl").read_text())
    assert (row["patience"], row["someone"]) == (5, 1)
    assert 0 <= row["env_runners/episode_return_mean"] <= 4 * 2.5
    written = (tmp_path / "runs/plugged/config.yaml").read_text()
    assert "env: SomeonesEnv" in written
    assert "module_class: someones_plugins:SomeonesModule" in written


def test_every_group_is_listed_and_loaded(site: Path, tmp_path: Path) -> None:
    code = """
from rllib import plugins, registry
from rllib.callbacks import Callbacks
from rllib.config import AlgorithmConfig
assert "SomeonesPPO" in registry.algorithm_names()
for group, name in {plugins.ENVS: "SomeonesEnv", plugins.MODULES: "SomeonesModule"}.items():
    assert name in plugins.names(group)
    assert plugins.load(name, group).__name__ == name
config = AlgorithmConfig().callbacks("SomeonesCallbacks")
assert "on_train_result" in Callbacks.of(config)
assert config.to_dict()["callbacks_class"] == ["someones_plugins:SomeonesCallbacks"]
"""
    run(site, tmp_path, "-c", code)


FILES = [path.stem for path in (ROOT / "algorithms").glob("[!_]*.py")]


class TimidConfig(PPOConfig):
    """Belongs to an algorithm of this program, which no package brings."""


class Timid(PPO):
    config_class = TimidConfig


def test_a_config_finds_the_algorithm_of_this_program_that_it_belongs_to() -> None:
    config = TimidConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    assert config.algo_name == f"{__name__}:Timid"
    assert PPOConfig().algo_name == "PPO"
    with config.build_algo() as algo:
        assert type(algo) is Timid

    class MeekConfig(PPOConfig):
        """Belongs to an algorithm that no name leads to."""

    class Meek(PPO):
        config_class = MeekConfig

    assert MeekConfig().algo_class is Meek


@pytest.mark.parametrize("file", FILES)
def test_every_algorithm_of_ours_goes_by_the_name_of_its_file(file: str) -> None:
    algorithm = registry.get_algorithm_class(file.upper())
    assert algorithm.__module__ == f"rllib.algorithms.{file}"
    assert algorithm.config_class().algo_class is algorithm


def test_a_registered_environment_goes_to_actors_as_what_makes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plugins, "_registered", {})
    plugins.register_env("my_counter", CounterEnv)
    config = AlgorithmConfig(env="my_counter")
    resolved = config.resolved()
    assert resolved.env == plugins.NamedEnv("my_counter", CounterEnv)
    assert resolved.to_dict()["env"] == "my_counter"
    assert resolved.is_frozen
    assert AlgorithmConfig(env="CartPole-v1").resolved().env == "CartPole-v1"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plugins.find_env("rllib.plugins:ENVS"), "is 'rllib.envs', which makes no env"),
        (lambda: plugins.register_env("x", 3), "register_env('x') takes a class or a function th"),
        (lambda: plugins.load("nothing"), "'nothing' should be the name of code, 'module:Name'"),
        (lambda: plugins.load("X", plugins.MODULES), "unknown module 'X'; write it as 'module:N"),
        (lambda: plugins.load("PP", plugins.ALGORITHMS), "unknown algorithm 'PP'; did you mean '"),
        (lambda: plugins.load("os:nothing.x"), "'os:nothing.x' cannot be loaded: AttributeError"),
    ],
)
def test_what_cannot_be_loaded_says_why(call: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call()  # type: ignore[operator]
    assert message in str(caught.value)
