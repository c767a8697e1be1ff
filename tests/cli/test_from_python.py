"""A whole run in one line of Python."""

import os
import signal
from pathlib import Path

import pytest

from rllib.algorithm import Algorithm
from rllib.algorithms.ppo import PPOConfig
from rllib.callbacks import RLlibCallback
from rllib.errors import ConfigError, RunError
from rllib.runs.from_python import criteria, default_name


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def small() -> PPOConfig:
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(train_batch_size_per_learner=200, minibatch_size=None, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [8]})
    )


def test_one_line_trains_a_run_and_the_same_line_continues_it() -> None:
    run = small().train(until=1000, stop={"training_iteration": 2})
    assert run.path == Path("runs/ppo_cartpole_v1")
    assert [row["training_iteration"] for row in run.rows] == [1, 2]
    again = small().train(until=1000, stop={"training_iteration": 3})
    assert [row["training_iteration"] for row in again.rows] == [1, 2, 3]
    with again.load() as algo:
        assert algo.iteration == 3
    reached = small().train(until=1, name="soon", runs_dir="elsewhere")
    assert len(reached.rows) == 1
    assert reached.path == Path("elsewhere/soon")
    with pytest.raises(RunError, match="another configuration"):
        small().training(lr=0.1).train(until=1000, stop={"training_iteration": 3})


def test_actors_are_there_for_as_long_as_the_run() -> None:
    config = small().env_runners(num_env_runners=1)
    run = config.train(stop={"training_iteration": 1})
    assert run.rows[-1]["num_env_steps_sampled_lifetime"] > 0


class Stops(RLlibCallback):
    """Sends itself a signal in the second iteration."""

    signum = signal.SIGTERM

    def on_train_result(self, *, algorithm: Algorithm, **_: object) -> None:
        if algorithm.iteration == 2:
            os.kill(os.getpid(), self.signum)


class Interrupts(Stops):
    signum = signal.SIGINT


def test_a_signal_ends_it_with_a_checkpoint_as_the_command() -> None:
    with pytest.raises(SystemExit) as raised:
        small().callbacks(Stops).train(until=1000, name="ended")
    assert raised.value.code == 128 + signal.SIGTERM
    assert Path("runs/ended/checkpoints/latest").exists()
    with pytest.raises(KeyboardInterrupt):
        small().callbacks(Interrupts).train(until=1000, name="interrupted")


def test_a_run_needs_an_end_that_makes_sense() -> None:
    assert criteria(3, {"time_total_s": 5}) == {
        "time_total_s": 5,
        "env_runners/episode_return_mean": 3,
    }
    with pytest.raises(ConfigError, match="until=475"):
        small().train()
    with pytest.raises(ConfigError, match="did you mean 'num_env_steps_sampled_lifetime'"):
        small().train(stop={"timesteps_total": 5})
    assert not Path("runs").exists()


def test_a_config_shows_what_is_not_by_default() -> None:
    assert repr(PPOConfig().environment("CartPole-v1").training(lr=1e-3)) == (
        "PPOConfig(lr=0.001, env='CartPole-v1')"
    )
    assert default_name(PPOConfig().environment("ALE/Pong-v5")) == "ppo_ale_pong_v5"
