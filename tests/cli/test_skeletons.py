"""What ``rllib init`` and ``rllib new-algo`` write runs as it is."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rllib.config.file import load_plan
from rllib.env_check import find
from rllib.envs.check import check_env, is_bad
from rllib.errors import ConfigError
from rllib.skeletons.write import new_algorithm, new_env, render

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return tmp_path


def test_the_tests_that_are_written_pass(folder: Path) -> None:
    new_env("fresh_env:Reach", "PPO", folder)
    new_env("CartPole-v1", "DQN", folder)
    new_algorithm("fresh_algo:Fresh", folder)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout


@pytest.mark.parametrize("algorithm", ["APPO", "DQN", "IMPALA", "PPO", "SAC", "TD3"])
def test_the_environment_fits_every_algorithm(algorithm: str, folder: Path) -> None:
    module = f"env_for_{algorithm.lower()}"
    written = new_env(f"{module}:Walk", algorithm, folder)
    assert [path.name for path in written] == [
        f"{module}.yaml",
        f"test_{module}.py",
        f"{module}.py",
    ]
    plan = load_plan(f"{module}.yaml")
    assert plan.config.algo_name == algorithm
    assert not is_bad(check_env(find(f"{module}:Walk")))
    assert load_plan(f"{module}.yaml", ["env_config.max_steps=3"])


def test_nothing_is_written_over(folder: Path) -> None:
    new_env("CartPole-v1", "PPO", folder)
    before = {path: path.read_text() for path in folder.iterdir()}
    (folder / "test_acrobot_v1.py").write_text("mine")
    for name in ("CartPole-v1", "Acrobot-v1"):
        with pytest.raises(ConfigError, match="already; nothing was written"):
            new_env(name, "PPO", folder)
    assert all(path.read_text() == text for path, text in before.items())
    assert not (folder / "acrobot_v1.yaml").exists()


@pytest.mark.parametrize(
    ("name", "algorithm", "said"),
    [
        ("Foo-v9", "PPO", "for example rllib init my_env:Reach"),
        ("my.env:Reach", "PPO", "write it as module:Class"),
        ("my_env:Reach", "PPOO", "did you mean 'PPO'?"),
    ],
)
def test_names_that_are_none(name: str, algorithm: str, said: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        new_env(name, algorithm, folder)
    assert said in str(caught.value)
    assert list(folder.iterdir()) == []


def test_an_algorithm_needs_a_module_and_a_class(folder: Path) -> None:
    with pytest.raises(ConfigError, match="write it as module:Class"):
        new_algorithm("Reinforce", folder)


def test_the_algorithm_is_that_of_the_page() -> None:
    page = (ROOT / "docs" / "your-own-algorithm.md").read_text()
    shown = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0]
    words = {"module": "my_algo", "name": "Reinforce", "lower": "reinforce"}
    assert render("algorithm.py", words) == shown


def test_a_class_of_ones_own_may_stand_in_a_config_by_its_place() -> None:
    config = load_plan("ppo_cartpole").config.copy()
    config.env = "rllib.envs.multi_agent_cartpole:MultiAgentCartPole"
    assert config.resolved().env.name == config.env
