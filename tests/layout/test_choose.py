"""``layout="auto"`` from settings to a run, with environments that are really measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sleeping_env import Sleeping

from rllib import PPO, PPOConfig, core
from rllib.algorithms.impala import IMPALAConfig
from rllib.config.file import load_plan
from rllib.layout import choose, costs
from rllib.layout.decide import Costs
from rllib.runs.console import Console
from rllib.runs.session import Order, Session
from rllib.runs.signals import StopSignals

SIMULATOR = Costs(1e-4, 5e-3, 1.0, 3e-4)
CONFIG = """\
algorithm: PPO
environment: {env: CartPole-v1}
env_runners: {num_envs_per_env_runner: 4}
training: {train_batch_size_per_learner: 32, minibatch_size: 32}
resources: {layout: auto}
stop: {training_iteration: 2}
"""


def small_ppo(env: Any, num_envs: int = 8) -> PPOConfig:
    return (
        PPOConfig()
        .environment(env)
        .env_runners(num_envs_per_env_runner=num_envs)
        .training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=1)
        .resources(layout="auto")
    )


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Costs are those of a simulator, on two cores; collects whose were asked for."""
    asked: list[Any] = []
    monkeypatch.setattr(costs, "measure", lambda config: asked.append(config) or SIMULATOR)
    monkeypatch.setattr(choose, "usable_cores", lambda: 2)
    return asked


# Who decides.


def test_what_is_written_anywhere_stays(measured: list[Any], tmp_path: Path):
    config = small_ppo("CartPole-v1")
    assert choose.laid_out(config)[0]["num_env_runners"] == 2
    assert choose.laid_out(config)[0]["num_envs_per_env_runner"] == 4, "eight in all"
    config.env_runners(num_env_runners=1)
    assert choose.open_settings(config) == ["num_learners"]
    config.learners(num_learners=0)
    asked = len(measured)
    assert choose.laid_out(config) == (config, None)
    assert len(measured) == asked, "nothing is measured where nothing is to be decided"
    path = tmp_path / "my.yaml"
    path.write_text(CONFIG)
    assert choose.open_settings(load_plan(str(path)).config) == list(choose.NAMES)
    overridden = load_plan(str(path), ["num_env_runners=3"]).config
    assert choose.laid_out(overridden)[0].num_env_runners == 3


def test_nothing_is_decided_unless_it_is_asked_for(measured: list[Any]):
    assert choose.laid_out(PPOConfig().environment("CartPole-v1"))[1] is None
    assert not measured


def test_only_impala_and_what_is_made_of_it_need_not_wait():
    assert choose.is_asynchronous(IMPALAConfig())
    assert not choose.is_asynchronous(PPOConfig())


def test_actors_of_the_inline_engine_are_no_faster(measured: list[Any]):
    core.init(address="inline")
    try:
        assert choose.laid_out(small_ppo("CartPole-v1"))[0].num_env_runners == 0
    finally:
        core.shutdown()


# Measured.


@pytest.mark.parametrize("num_envs", [1, 8])
def test_cartpole_stays_in_one_process(num_envs: int):
    with small_ppo("CartPole-v1", num_envs).build_algo() as algo:
        assert algo.layout is not None
        assert algo.config.num_env_runners == algo.config.num_learners == 0
        assert algo.config.num_envs_per_env_runner == num_envs
        assert not core.is_initialized()


def test_an_environment_that_sleeps_gets_more_env_runners_than_cores(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(choose, "usable_cores", lambda: 1)
    config = small_ppo(Sleeping, num_envs=4)
    laid_out, layout = choose.laid_out(config.environment(env_config={"sleep_s": 0.01}))
    assert layout is not None
    assert (laid_out.num_env_runners, laid_out.num_envs_per_env_runner) in [(2, 2), (4, 1)]
    told = "\n".join(choose.lines(laid_out, layout))
    assert f"num_env_runners: {laid_out.num_env_runners}; " in told
    assert "wait" in told


def test_a_checkpoint_has_the_layout(measured: list[Any], tmp_path: Path):
    config = small_ppo("CartPole-v1", num_envs=1)
    with config.build_algo() as algo:
        algo.save_to_path(str(tmp_path / "there"))
    assert len(measured) == 1
    with PPO.from_checkpoint(str(tmp_path / "there")) as algo:
        assert (algo.layout, algo.config.num_envs_per_env_runner) == (None, 1)
    assert len(measured) == 1


# Runs.


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """``train(*overrides, **order)`` returns what was said."""
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(CONFIG)

    def run(*overrides: str, **order: Any) -> list[str]:
        said: list[str] = []
        console = Console()
        monkeypatch.setattr(console, "say", said.append)
        with StopSignals().installed() as signals:
            ordered = Order("my.yaml", overrides, **order)
            assert Session(ordered, console).execute(signals) == 0
        return said

    return run


def test_a_run_tells_its_layout_and_goes_on_with_it(
    train: Callable[..., list[str]], measured: list[Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(choose, "usable_cores", lambda: 1)
    assert any("num_env_runners: 0; " in line for line in train())
    written = load_plan("runs/my/config.yaml").config
    assert (written.layout, written.num_env_runners) == ("auto", 0)
    assert written.num_envs_per_env_runner == 4
    monkeypatch.setattr(choose, "usable_cores", lambda: 4)
    again = train(stop=("training_iteration=3",))
    assert any("continuing from" in line for line in again)
    assert len(measured) == 1, "more cores would make another layout of it: they are not asked"
    assert load_plan("runs/my/config.yaml").config.num_env_runners == 0


def test_a_dry_run_tells_the_layout(train: Callable[..., list[str]]):
    said = train("env=CartPole-v1", dry_run=True)
    assert any("num_env_runners: 0; all in the main process" in line for line in said)
    assert not Path("runs").exists()
