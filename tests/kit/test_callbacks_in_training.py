"""Callbacks while an algorithm trains: every hook at its time, metrics in every result."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rllib import core
from rllib.algorithms.ppo import PPO, PPOConfig
from rllib.callbacks import HOOKS, RLlibCallback
from rllib.envs.multi_agent import make_multi_agent
from rllib.errors import CallbackError


class Steps(gym.Env[Any, Any]):
    """An episode has ``length`` steps, which may be changed while training."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config: dict[str, Any]) -> None:
        self.length = config.get("length", 4)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return np.zeros(1, np.float32), 1.0, self.t >= self.length, False, {}


def config(num_env_runners: int = 0, env: Any = Steps, **settings: Any) -> PPOConfig:
    return (
        PPOConfig()
        .environment(env)
        .env_runners(num_env_runners=num_env_runners, num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=32, minibatch_size=32, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": (4,)})
        .update_from_dict(settings)
    )


class Recorder(RLlibCallback):
    """Notes the hooks in order, a repeated one once."""

    def __init__(self) -> None:
        self.hooks: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("on_"):
            return super().__getattribute__(name)

        def note(**arguments: Any) -> None:
            if self.hooks[-1:] != [name]:
                self.hooks.append(name)

        return note


def test_every_hook_is_called_at_its_time(tmp_path: Path) -> None:
    settings = config(evaluation_interval=1, evaluation_duration=2, callbacks_class=[Recorder])
    with settings.build_algo() as algorithm:
        (recorder,) = algorithm.callbacks.objects
        (of_runner,) = algorithm.env_runner_group.workers[0].target.callbacks.objects
        algorithm.train()
        algorithm.save_to_path(tmp_path / "checkpoint")
        algorithm.restore_from_path(tmp_path / "checkpoint")
    begin = ["on_algorithm_init", "on_evaluate_start", "on_evaluate_end", "on_train_result"]
    assert recorder.hooks == [*begin, "on_checkpoint_saved", "on_checkpoint_loaded"]
    first = ["on_environment_created", "on_episode_created", "on_episode_start", "on_episode_step"]
    assert of_runner.hooks[:4] == first
    assert of_runner.hooks[4:6] == ["on_episode_end", "on_episode_created"]
    assert set(recorder.hooks) | set(of_runner.hooks) == set(HOOKS) - {"on_env_runners_recreated"}


class Metrics(RLlibCallback):
    def on_episode_end(self, *, episode: Any, metrics_logger: Any, **kwargs: Any) -> None:
        metrics_logger.log_value("longest", len(episode), reduce="max")
        metrics_logger.log_value(("nested", "episodes"), 1, reduce="lifetime_sum")

    def on_train_result(self, *, result: Any, metrics_logger: Any, **kwargs: Any) -> None:
        metrics_logger.log_value("seen", result["training_iteration"], reduce="item")
        result["added"] = result["env_runners"].get("longest", -1)


@pytest.mark.parametrize("num_env_runners", [0, 2])
def test_metrics_of_all_env_runners_are_in_every_result(num_env_runners: int) -> None:
    settings = config(num_env_runners, callbacks_class=[Metrics])
    with core.init(address="inline"), settings.build_algo() as algorithm:
        results = [algorithm.train() for _ in range(2)]
    for i, result in enumerate(results, 1):
        assert (result["seen"], result["added"]) == (i, 4)
        assert result["env_runners"]["longest"] == 4
    episodes = [result["env_runners"]["num_episodes_lifetime"] for result in results]
    assert [r["env_runners"]["nested"]["episodes"] for r in results] == episodes


def test_a_metric_that_comes_late_stays() -> None:
    late = config(env_config={"length": 20}, callbacks_class=[Metrics])
    with late.build_algo() as algorithm:
        results = [algorithm.train()["env_runners"] for _ in range(4)]
    assert "longest" not in results[0]
    assert [result.get("longest") for result in results[1:]] == [20, 20, 20]


def test_a_metric_with_the_name_of_one_of_ours_is_told_of_once(recwarn: Any) -> None:
    def logs(*, metrics_logger: Any, **kwargs: Any) -> None:
        metrics_logger.log_value("episode_return_mean", -99.0)

    with config().callbacks(on_episode_end=logs).build_algo() as algo:
        results = [algo.train() for _ in range(2)]
    assert results[-1]["env_runners"]["episode_return_mean"] == 4.0
    told = [str(each.message) for each in recwarn if "of a callback" in str(each.message)]
    assert len(told) == 1
    assert told[0].startswith("the metric 'env_runners/episode_return_mean' of a callback has")


def test_evaluation_has_metrics_of_its_own() -> None:
    settings = config(
        callbacks_class=[Metrics],
        evaluation_interval=1,
        evaluation_duration=2,
        evaluation_config={"env_config": {"length": 3}},
    )
    with settings.build_algo() as algorithm:
        result = algorithm.train()
    assert result["env_runners"]["longest"] == 4
    assert result["evaluation"]["env_runners"]["longest"] == 3
    assert result["evaluation"]["env_runners"]["nested"]["episodes"] == 2


@pytest.mark.parametrize("duration", [1, 3, 5])
def test_callbacks_hear_of_exactly_the_episodes_that_evaluation_counts(duration: int) -> None:
    settings = config(
        callbacks_class=[Metrics],
        evaluation_interval=1,
        evaluation_duration=duration,
        evaluation_config={"env_config": {"length": 3}},
    )
    with settings.build_algo() as algorithm:
        result = algorithm.train()["evaluation"]["env_runners"]
    assert result["num_episodes"] == duration
    assert result["nested"]["episodes"] == duration


def test_metrics_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    settings = config(callbacks_class=[Metrics])
    with settings.build_algo() as algorithm:
        algorithm.train()
        algorithm.save_to_path(tmp_path / "checkpoint")
        expected = algorithm.train()
    with PPO.from_checkpoint(tmp_path / "checkpoint", settings) as algorithm:
        found = algorithm.train()
    key = ("env_runners", "nested", "episodes")
    for name in key:
        expected, found = expected[name], found[name]
    assert found == pytest.approx(expected, abs=2)  # episodes under way began anew


class Memory(RLlibCallback):
    """Begins in ``on_episode_start`` what it goes on with in every step."""

    def on_episode_start(self, *, episode: Any, **kwargs: Any) -> None:
        episode.custom_data["steps"] = []

    def on_episode_step(self, *, episode: Any, **kwargs: Any) -> None:
        episode.custom_data["steps"].append(episode.get_observations(-1))


def test_what_callbacks_keep_of_an_episode_begins_anew_where_a_checkpoint_goes_on(
    tmp_path: Path,
) -> None:
    given = config(env="CartPole-v1", callbacks_class=Memory)
    first = given.build_algo()
    first.train()
    first.save_to_path(str(tmp_path / "checkpoint"))
    first.stop()
    second = PPO.from_checkpoint(str(tmp_path / "checkpoint"), config=given)
    assert second.train()["training_iteration"] == 2
    second.stop()


class Placed(Steps):
    """Notes which environment it is."""

    made: list[tuple[int, int, int]] = []  # noqa: RUF012

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.made.append((config.worker_index, config.vector_index, config.num_workers))
        assert config == {"length": 3}


def test_an_environment_is_told_which_it_is() -> None:
    seen: list[Any] = []
    algo = config(env=Placed, env_config={"length": 3}, num_env_runners=0).callbacks(
        on_environment_created=lambda env_context, **_: seen.append(env_context)
    )
    algo.build_algo().stop()
    assert Placed.made[-2:] == [(0, 0, 0), (0, 1, 0)]
    assert (seen[0], seen[0].worker_index) == ({"length": 3}, 0)


def test_environments_of_actors_are_told_whose_they_are() -> None:
    with core.init(num_cpus=2):
        algo = config(num_env_runners=2, env=Placed, env_config={"length": 3}).build_algo()
        made = algo.env_runner_group.foreach_env_runner(lambda runner: Placed.made[-2:])
        algo.stop()
    assert made == [[(1, 0, 2), (1, 1, 2)], [(2, 0, 2), (2, 1, 2)]]


def lengthen(env_runner: Any) -> int:
    for env in env_runner.env.env.envs:
        env.unwrapped.length = 2
    return len(env_runner.env.env.envs)


def curriculum(*, algorithm: Any, result: Any, **kwargs: Any) -> None:
    if result["training_iteration"] == 1:
        assert algorithm.env_runner_group.foreach_env_runner(lengthen) == [2]


def test_a_curriculum_changes_environments_while_training() -> None:
    with config(on_train_result=curriculum, callbacks_class=Metrics).build_algo() as algorithm:
        assert algorithm.train()["env_runners"]["longest"] == 4
        algorithm.train()
        assert algorithm.train()["env_runners"]["longest"] == 2


def break_down(**arguments: Any) -> None:
    raise ZeroDivisionError("broken")


@pytest.mark.parametrize("num_env_runners", [0, 1])
def test_a_callback_that_raises_ends_training(num_env_runners: int) -> None:
    settings = config(num_env_runners, on_episode_end=break_down)
    message = r"on_episode_end of .*break_down raised ZeroDivisionError: broken"
    with (
        core.init(address="inline"),
        settings.build_algo() as algorithm,
        pytest.raises(CallbackError, match=message),
    ):
        algorithm.train()


class Agents(RLlibCallback):
    def on_episode_end(self, *, episode: Any, metrics_logger: Any, **kwargs: Any) -> None:
        assert kwargs["rl_module"].keys() == {"all"}
        metrics_logger.log_value("return", episode.get_return(), reduce="max")


def test_episodes_of_several_agents_have_their_callbacks() -> None:
    settings = config(env=make_multi_agent(Steps), callbacks_class=[Agents, Recorder])
    settings.environment(env_config={"num_agents": 3}).multi_agent(policies=["all"])
    with settings.build_algo() as algorithm:
        _, recorder = algorithm.env_runner_group.workers[0].target.callbacks.objects
        assert algorithm.train()["env_runners"]["return"] == 12.0
    first = ["on_environment_created", "on_episode_created", "on_episode_start", "on_episode_step"]
    assert recorder.hooks[:6] == [*first, "on_episode_end", "on_episode_created"]
    assert "on_sample_end" in recorder.hooks
