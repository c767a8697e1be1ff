"""The kit on real processes: the same numbers as in one process, and deaths that are told."""

import os

import gymnasium as gym
import numpy as np
import pytest

from rllib import core, workers
from rllib.algorithms.impala import IMPALAConfig
from rllib.algorithms.ppo import PPO, PPOConfig, PPOLearner
from rllib.envs.counter import CounterEnv
from rllib.errors import EnvError, TrainingError
from rllib.runs import signals


@pytest.fixture(scope="module", autouse=True)
def processes():
    with core.init(num_cpus=4, preload=["torch", "gymnasium", "rllib.algorithms.ppo"]):
        yield


def config(env="CartPole-v1", num_env_runners=2, num_learners=1, **env_config):
    return (
        PPOConfig()
        .environment(env, env_config=env_config)
        .env_runners(num_env_runners=num_env_runners, num_envs_per_env_runner=4)
        .learners(num_learners=num_learners)
        .training(train_batch_size_per_learner=256, minibatch_size=64, num_epochs=2, lr=1e-3)
        .rl_module(model_config={"fcnet_hiddens": (16,)})
        .fault_tolerance(restart_failed_env_runners=False)
        .debugging(seed=7)
    )


def train(settings, iterations=3):
    with settings.build_algo() as algorithm:
        for _ in range(iterations):
            algorithm.train()
        return algorithm.params_hash()


def test_processes_learn_what_one_process_learns():
    local = train(config(num_env_runners=0, num_learners=0))
    assert train(config(num_env_runners=1, num_learners=1)) == local


def test_two_env_runners_learn_the_same_twice_and_with_any_learner():
    first = train(config())
    assert train(config()) == first
    assert train(config(num_learners=0)) == first


def test_a_resumed_run_is_the_same_run(tmp_path):
    expected = train(config(), iterations=4)
    with config().build_algo() as first:
        first.train()
        first.train()
        path = first.save_to_path(tmp_path / "checkpoint")
    with PPO.from_checkpoint(path) as second:
        second.train()
        second.train()
        assert second.params_hash() == expected


def test_an_env_that_fails_in_an_actor_is_told_with_its_own_traceback():
    with config(CounterEnv, fail_at=20).build_algo() as algorithm:
        with pytest.raises(EnvError, match="ZeroDivisionError: the counter fails here") as caught:
            algorithm.train()
        assert (caught.value.env_index, caught.value.step) == (0, 20)


class NeverBegins(CounterEnv):
    """Its first reset fails, in the constructor of an env runner."""

    def reset(self, *, seed=None, options=None):
        raise ZeroDivisionError("the counter does not begin")


@pytest.mark.parametrize("num_env_runners", [0, 2])
def test_an_env_that_fails_at_its_first_reset_is_told_alike_everywhere(num_env_runners):
    settings = config(NeverBegins, num_env_runners=num_env_runners, num_learners=0)
    with pytest.raises(EnvError, match="environment 0 raised ZeroDivisionError in reset") as fault:
        train(settings)
    assert "the counter does not begin" in str(fault.value)
    assert (fault.value.env_index, fault.value.step) == (0, 0)


def test_an_env_of_evaluation_that_does_not_begin_is_told_likewise():
    settings = config(num_env_runners=0, num_learners=0).evaluation(
        evaluation_interval=1,
        evaluation_num_env_runners=1,
        evaluation_config={"env": NeverBegins},
    )
    with pytest.raises(EnvError, match="environment 0 raised ZeroDivisionError in reset"):
        train(settings)


def test_an_env_of_an_asynchronous_runner_that_does_not_begin_is_told_likewise():
    settings = asynchronous(num_learners=0).environment(NeverBegins)
    with pytest.raises(EnvError, match="environment 0 raised ZeroDivisionError in reset"):
        train(settings)


def test_a_killed_env_runner_ends_training_and_is_told():
    died = pytest.raises(core.exceptions.ActorDiedError, match=r"SIGKILL|signal 9")
    with config(CounterEnv, kill_at=20).build_algo() as algorithm, died:
        algorithm.train()


def asynchronous(num_learners=1, **env_config):
    return (
        IMPALAConfig()
        .environment(CounterEnv, env_config=env_config)
        .env_runners(num_envs_per_env_runner=4, rollout_fragment_length=16)
        .learners(num_learners=num_learners)
        .rl_module(model_config={"fcnet_hiddens": (16,)})
        .fault_tolerance(restart_failed_env_runners=False)
    )


@pytest.mark.parametrize("num_learners", [0, 2])
def test_an_env_runner_that_nobody_waits_for_is_told_when_it_dies(num_learners):
    died = pytest.raises(core.exceptions.ActorDiedError, match=r"SIGKILL|signal 9")
    with asynchronous(num_learners, kill_at=100).build_algo() as algorithm, died:
        algorithm.train()


@pytest.mark.parametrize("num_learners", [0, 1])
def test_an_env_runner_that_nobody_waits_for_is_told_when_it_hangs(num_learners, monkeypatch):
    monkeypatch.setattr(workers, "STOP_SECONDS", 0.1)
    settings = asynchronous(num_learners, hang_at=100).env_runners(sample_timeout_s=0.5)
    late = pytest.raises(TrainingError, match=r"env runner . needed more than sample_timeout_s")
    with settings.build_algo() as algorithm, late:
        algorithm.train()


def test_a_learner_that_nobody_waits_for_is_told_when_it_fails():
    settings = asynchronous(reward_scale=1e30)
    overflows = pytest.raises(TrainingError, match="vf_loss = inf")
    with settings.build_algo() as algorithm, overflows:
        algorithm.train()


def test_an_interrupted_run_outlasts_actors_that_do_not_stop():
    assert workers.STOP_SECONDS < signals.CLEAN_UP_S


@pytest.mark.parametrize("num_learners", [0, 1])
def test_an_env_that_hangs_ends_training_wherever_the_learner_is(num_learners, monkeypatch):
    monkeypatch.setattr(workers, "STOP_SECONDS", 0.1)
    settings = config(CounterEnv, num_learners=num_learners, hang_at=3).env_runners(
        sample_timeout_s=0.5
    )
    with (
        settings.build_algo() as algorithm,
        pytest.raises(TrainingError, match=r"more than sample_timeout_s = 0\.5"),
    ):
        algorithm.train()


def test_env_runners_take_the_resources_that_the_settings_ask_for():
    settings = config().env_runners(num_cpus_per_env_runner=0.5)
    before = core.available_resources()["CPU"]
    with settings.build_algo() as algo:
        algo.train()
        assert core.available_resources()["CPU"] == before - 2 * 0.5


class Told(gym.Env):
    """Pays what an environment variable says."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, env_config):
        self.reward = float(os.environ.get("REWARD_OF_TEST", "0"))

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), self.reward, True, False, {}


@pytest.mark.parametrize(("num_env_runners", "expected"), [(0, 2.0), (2, 3.0)])
def test_environment_variables_of_the_settings_are_there(monkeypatch, num_env_runners, expected):
    monkeypatch.setenv("REWARD_OF_TEST", "1")  # to be as it was afterwards
    settings = (
        PPOConfig()
        .environment(Told)
        .env_runners(num_env_runners=num_env_runners)
        .training(train_batch_size_per_learner=8, minibatch_size=None, num_epochs=1)
        .learners(num_learners=1, learner_class=Telling)
        .rl_module(model_config={"fcnet_hiddens": [4]})
        .python_environment(
            extra_python_environs_for_driver={"REWARD_OF_TEST": "2"},
            extra_python_environs_for_worker={"REWARD_OF_TEST": "3"},
        )
    )
    with settings.build_algo() as algo:
        result = algo.train()
    assert os.environ["REWARD_OF_TEST"] == "2"
    assert result["env_runners"]["episode_return_mean"] == expected
    assert result["learners"]["default_policy"]["told"] == 3.0


class Telling(PPOLearner):
    """Reports the variable as the learner's process has it."""

    def after_update(self, metrics):
        super().after_update(metrics)
        metrics["told"] = float(os.environ["REWARD_OF_TEST"])
