"""The algorithm on the page "Write your own algorithm" learns, and does all that the page says."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rllib import core
from rllib.algorithms.ppo import PPOConfig
from rllib.envs.multi_agent import make_multi_agent
from rllib.preload import PRELOAD

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "your-own-algorithm.md").read_text()
FILE, TRAINING, TEST = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
(YAML,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the page's file, which can be imported from there."""
    (tmp_path / "my_algo.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_algo", None)


@pytest.mark.learning
def test_it_learns() -> None:
    space: dict[str, dict[str, int]] = {}
    exec(TRAINING, space)
    assert space["result"]["num_env_steps_sampled_lifetime"] < 200_000


def test_its_loss_is_what_the_page_says() -> None:
    exec(TEST, {})


def test_the_command_line_trains_with_it(folder: Path) -> None:
    (folder / "mine.yaml").write_text(YAML)
    command = ["-m", "rllib", "train", "--config", "mine.yaml", "--stop", "training_iteration=2"]
    done = subprocess.run(
        [sys.executable, *command],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = (folder / "runs" / "mine" / "progress.jsonl").read_text().splitlines()
    assert len(rows) == 2
    assert "learners/default_policy/vf_loss" in json.loads(rows[0])


def updated(num_learners: int, **model: object) -> dict[str, torch.Tensor]:
    """All weights after two updates."""
    from my_algo import ReinforceConfig

    config = (
        ReinforceConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=2, num_envs_per_env_runner=2, rollout_fragment_length=40)
        .training(train_batch_size_per_learner=160)
        .learners(num_learners=num_learners)
        .rl_module(model_config={"fcnet_hiddens": [8], **model})
    )
    with config.build_algo() as algo:
        algo.train()
        result = algo.train()
        assert result["learners"]["default_policy"]["num_module_steps_trained"] > 100
        return algo.get_module().state_dict()


@pytest.mark.parametrize("model", [{}, {"use_lstm": True, "lstm_cell_size": 8}], ids=["", "lstm"])
def test_it_has_what_all_algorithms_have(model: dict[str, object]) -> None:
    with core.init(num_cpus=5, preload=[*PRELOAD, "my_algo"]):
        inline, actor = updated(0, **model), updated(1, **model)
    for name, weights in inline.items():
        assert torch.equal(actor[name], weights)


def test_it_trains_several_agents() -> None:
    from my_algo import ReinforceConfig

    config = (
        ReinforceConfig()
        .environment(make_multi_agent("CartPole-v1"), env_config={"num_agents": 2})
        .multi_agent(policies={"a", "b"}, policy_mapping_fn=lambda agent, _: "ab"[agent])
        .training(train_batch_size_per_learner=40)
    )
    with config.build_algo() as algo:
        assert algo.train()["learners"].keys() == {"__all_modules__", "a", "b"}


def test_its_file_is_as_short_as_it_can_be() -> None:
    assert len(FILE.splitlines()) < 120


def test_everything_that_the_page_names_exists() -> None:
    from rllib.config import AlgorithmConfig
    from rllib.learning.learner import Learner
    from rllib.modules.rl_module import RLModule

    table = PAGE.partition("## Where to do more")[2]
    owners = {"Learner": Learner, "AlgorithmConfig": AlgorithmConfig, "RLModule": RLModule}
    for owner, name in re.findall(r"`(Learner|AlgorithmConfig|RLModule)\.(\w+)`", table):
        assert hasattr(owners[owner], name), f"{owner}.{name}"
    for name in re.findall(r"settings `(\w+)`, `(\w+)`", table)[0]:
        assert name in PPOConfig()
    for file in re.findall(r"`(algorithms/\w+\.py)`", table):
        assert (ROOT / file).is_file()
