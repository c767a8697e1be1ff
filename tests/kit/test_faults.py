"""Env runners that die, raise, hang or send NaN are replaced, whatever the algorithm."""

import os
import signal

import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

from rllib import core
from rllib.algorithms.appo import APPOConfig
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.impala import IMPALAConfig
from rllib.algorithms.ppo import PPOConfig
from rllib.callbacks import RLlibCallback
from rllib.envs.counter import CounterEnv
from rllib.envs.multi_agent_cartpole import MultiAgentCartPole
from rllib.errors import EnvError, EnvRunnersError
from rllib.preload import PRELOAD


@pytest.fixture(scope="module", autouse=True)
def processes():
    with core.init(num_cpus=4, preload=[*PRELOAD, "rllib.algorithms.ppo"]):
        yield


class FailsOnce(CounterEnv):
    """Has a fault in one env step, which the first of all its instances that comes there takes."""

    def __init__(self, config):
        super().__init__({})
        self.path, self.fault = config["path"], config["fault"]

    def step(self, action):
        if self.num_steps == 30 and self.fault:
            try:
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return super().step(action)
            return FAULTS[self.fault](self, action)
        return super().step(action)

    def die(self, action):
        os.kill(os.getpid(), signal.SIGKILL)

    def crash(self, action):
        os.kill(os.getpid(), signal.SIGSEGV)

    def fail(self, action):
        raise ZeroDivisionError("now and then")

    def hang(self, action):
        signal.pause()

    def freeze(self, action):
        os.kill(os.getpid(), signal.SIGSTOP)

    def spoil(self, action):
        obs, _, *rest = CounterEnv.step(self, action)
        return obs, np.nan, *rest


FAULTS = {
    "die": FailsOnce.die,
    "crash": FailsOnce.crash,
    "fail": FailsOnce.fail,
    "hang": FailsOnce.hang,
    "freeze": FailsOnce.freeze,
    "spoil": FailsOnce.spoil,
}


class PoleFailsOnce(CartPoleEnv):
    """The process dies in its 30th step, or does not."""

    def __init__(self, config):
        super().__init__()
        self.path, self.num_steps = config["path"], 0

    def step(self, action):
        self.num_steps += 1
        if self.path and self.num_steps == 30:
            try:
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return super().step(action)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


class Seen(RLlibCallback):
    """Remembers what it is told of env runners that were started anew."""

    told: list = []  # noqa: RUF012 (of all objects together)

    def on_env_runners_recreated(
        self, *, algorithm, env_runner_group, env_runner_indices, is_evaluation, **kwargs
    ):
        assert {*env_runner_indices} <= {*env_runner_group.healthy_env_runner_ids()}
        self.told.append((tuple(env_runner_indices), is_evaluation))


@pytest.fixture
def told():
    Seen.told.clear()
    return Seen.told


def ppo():
    return PPOConfig().training(
        train_batch_size_per_learner=64, minibatch_size=32, num_epochs=1, vf_clip_param=None
    )


def dqn():
    return (
        DQNConfig()
        .training(num_steps_sampled_before_learning_starts=8, hiddens=[8])
        .reporting(min_sample_timesteps_per_iteration=64)
    )


def asynchronous(config):
    return (
        config.training(train_batch_size_per_learner=64)
        .env_runners(rollout_fragment_length=8)
        .reporting(min_sample_timesteps_per_iteration=64)
    )


ALGORITHMS = {
    "PPO": ppo,
    "DQN": dqn,
    "IMPALA": lambda: asynchronous(IMPALAConfig()),
    "APPO": lambda: asynchronous(APPOConfig().training(circular_buffer_num_batches=2)),
}


def config(name, tmp_path, fault, **faults):
    return (
        ALGORITHMS[name]()
        .environment(FailsOnce, env_config={"path": str(tmp_path / "fault"), "fault": fault})
        .env_runners(num_env_runners=2, num_envs_per_env_runner=4)
        .env_runners(observation_filter="MeanStdFilter")
        .learners(num_learners=0)
        .callbacks(Seen)
        .rl_module(model_config={"fcnet_hiddens": (8,)})
        .fault_tolerance(**faults)
    )


def train_until_recreated(algo, told):
    results = [algo.train()]
    while not told:
        results.append(algo.train())
    return [*results, algo.train()]


QUICK = {"hang": {"sample_timeout_s": 2.0}}
PROBED = {"freeze": {"env_runner_health_probe_timeout_s": 1.0}}


@pytest.mark.parametrize(
    ("name", "fault"),
    [("PPO", fault) for fault in FAULTS]
    + [("DQN", "die"), ("DQN", "spoil"), ("IMPALA", "die"), ("IMPALA", "spoil"), ("APPO", "fail")],
)
def test_training_goes_on_with_another_env_runner(name, fault, tmp_path, told):
    settings = config(name, tmp_path, fault, **PROBED.get(fault, {}))
    settings.env_runners(**QUICK.get(fault, {}))
    with settings.build_algo() as algo:
        with pytest.warns(RuntimeWarning, match="env runner . failed and is started anew"):
            results = train_until_recreated(algo, told)
        group = algo.env_runner_group
        algo.train()  # everybody has the same weights and statistics
        of_all = group.foreach_env_runner(lambda runner: runner.pipeline.get_statistics())
        generations = group.foreach_env_runner(lambda runner: runner.generation)
    assert (tmp_path / "fault").exists()
    assert told in ([((1,), False)], [((2,), False)])
    failed = told[0][0][0] - 1
    assert generations[failed] == 1 << 16
    assert generations[1 - failed] == 0
    faults = results[-1]["fault_tolerance"]
    assert faults["num_healthy_workers"] == 2
    assert faults["num_remote_worker_restarts"] == 1
    assert 1 <= faults["num_env_runners_dropped_lifetime"] <= 2  # as many may be under way
    assert {each["env_runners"]["num_env_steps_sampled"] for each in results} == {64}
    if name == "PPO":
        np.testing.assert_equal(of_all[0], of_all[1])


def test_nothing_of_it_costs_anything_where_nothing_fails(tmp_path, told):
    hashes = []
    for restart in (True, False):
        settings = config("PPO", tmp_path, None, restart_failed_env_runners=restart)
        with settings.build_algo() as algo:
            result = [algo.train() for _ in range(3)][-1]
            hashes.append(algo.params_hash())
        assert result["fault_tolerance"] == {
            "num_healthy_workers": 2,
            "num_remote_worker_restarts": 0,
            "num_env_runners_dropped_lifetime": 0,
            "num_learner_restarts": 0,
        }
    assert hashes[0] == hashes[1]
    assert told == []


class AgentsFailOnce(MultiAgentCartPole):
    """The same of several agents: the process dies."""

    def __init__(self, config):
        super().__init__({"num_agents": 2})
        self.path, self.num_steps = config["path"], 0

    def step(self, actions):
        self.num_steps += 1
        if self.num_steps == 20:
            try:
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return super().step(actions)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(actions)


@pytest.mark.parametrize("name", ["PPO", "IMPALA"])
def test_env_runners_of_several_agents_are_replaced_likewise(name, tmp_path, told):
    settings = config(name, tmp_path, None).environment(
        AgentsFailOnce, env_config={"path": str(tmp_path / "fault")}
    )
    settings.multi_agent(policies={"p"}, policy_mapping_fn=lambda agent, episode: "p")
    settings.env_runners(observation_filter="NoFilter")
    with settings.build_algo() as algo, pytest.warns(RuntimeWarning, match="SIGKILL"):
        results = train_until_recreated(algo, told)
    assert results[-1]["fault_tolerance"]["num_healthy_workers"] == 2


def test_training_may_go_on_without_the_one_that_failed(tmp_path, told):
    settings = config(
        "PPO",
        tmp_path,
        "die",
        restart_failed_env_runners=False,
        ignore_env_runner_failures=True,
    )
    with settings.build_algo() as algo:
        with pytest.warns(RuntimeWarning, match="failed and is left out"):
            results = [algo.train() for _ in range(6)]
        assert len(algo.env_runner_group.foreach_env_runner(lambda runner: runner.index)) == 1
        assert algo.restore_env_runners(algo.env_runner_group) == []
    assert results[-1]["fault_tolerance"]["num_healthy_workers"] == 1
    assert {each["env_runners"]["num_env_steps_sampled"] for each in results} == {64}
    assert told == []


@pytest.mark.parametrize("name", ["PPO", "IMPALA"])
def test_env_runners_that_always_fail_end_training_with_their_story(name, tmp_path):
    settings = config(name, tmp_path, None, env_runner_restart_intensity=1)
    settings.environment(CounterEnv, env_config={"fail_at": 3})
    story = (
        r"none is left that works; \d failures, of late\n"
        r" +\d\.\d s before: env runner .: environment 0 raised ZeroDivisionError in step\(\)"
    )
    told = pytest.raises(EnvRunnersError, match=story)
    with settings.build_algo() as algo, pytest.warns(RuntimeWarning), told as caught:
        algo.train()
    assert isinstance(caught.value.__cause__, EnvError)
    assert "the counter fails here on purpose" in str(caught.value)


def test_a_checkpoint_is_written_also_while_an_env_runner_is_dead(tmp_path):
    with config("PPO", tmp_path, None).build_algo() as algo:
        algo.train()
        (pid, _) = algo.env_runner_group.foreach_env_runner(lambda runner: os.getpid())
        os.kill(pid, signal.SIGKILL)
        path = algo.save_to_path(tmp_path / "saved")
        expected = algo.params_hash()
        with pytest.warns(RuntimeWarning, match="env runner 0 failed"):
            algo.train()  # who only writes what env runners tell replaces none
    heir_settings = config("PPO", tmp_path, None)
    with type(algo).from_checkpoint(path, heir_settings) as heir:
        assert heir.params_hash() == expected
        assert heir.train()["training_iteration"] == 2


def test_calls_leave_out_the_dead_and_take_in_who_came_after_them(tmp_path, told):
    with config("PPO", tmp_path, None).build_algo() as algo:
        group = algo.env_runner_group
        pids = group.foreach_env_runner(lambda runner: os.getpid())
        os.kill(pids[1], signal.SIGKILL)
        with pytest.warns(RuntimeWarning, match="env runner 1 failed"):
            assert group.foreach_env_runner(lambda runner: os.getpid()) == pids[:1]
        assert group.healthy_env_runner_ids() == [1]
        assert group.probe_unhealthy_env_runners(timeout_seconds=30) == [2]
        assert told == [((2,), False)]
        assert group.num_remote_worker_restarts() == 1
        found = group.foreach_env_runner(lambda runner: os.getpid())
        assert found[0] == pids[0] != found[1] != pids[1]


def evaluated(tmp_path, fault, **evaluation):
    settings = config("PPO", tmp_path, None)
    env_config = {"path": str(tmp_path / "evaluation"), "fault": fault}
    return settings.env_runners(num_env_runners=0).evaluation(
        evaluation_interval=1,
        evaluation_num_env_runners=2,
        evaluation_duration=120,
        evaluation_config={"env_config": env_config},
        **evaluation,
    )


def test_an_evaluation_is_what_it_would_have_been(tmp_path, told):
    def played(path):
        settings = config("PPO", tmp_path, None).environment(PoleFailsOnce, env_config={"path": ""})
        settings.env_runners(num_env_runners=0).evaluation(
            evaluation_interval=1,
            evaluation_num_env_runners=2,
            evaluation_duration=16,
            evaluation_config={"env_config": {"path": path}},
        )
        with settings.build_algo() as algo:
            return algo.train()["evaluation"]

    expected = played("")
    with pytest.warns(RuntimeWarning, match="env runner . failed and is started anew"):
        found = played(str(tmp_path / "evaluation"))
    assert (tmp_path / "evaluation").exists()
    assert [is_evaluation for _, is_evaluation in told] in ([], [True])
    del expected["env_runners"]["sample"], found["env_runners"]["sample"]
    assert found["env_runners"] == expected["env_runners"]
    assert found["num_remote_worker_restarts"] == 1
    assert found["num_env_runners_dropped_lifetime"] == 1


def test_evaluations_that_nobody_can_play_are_left_out_or_an_error(tmp_path):
    settings = evaluated(tmp_path, None, evaluation_error_after_n_consecutive_skips=3)
    settings.evaluation(evaluation_config={"env_config": {"fail_at": 3}, "env": CounterEnv})
    settings.fault_tolerance(env_runner_restart_intensity=1)
    with settings.build_algo() as algo:
        with pytest.warns(RuntimeWarning):
            first = algo.train()["evaluation"]
        assert first["env_runners"]["num_episodes"] == 0
        assert first["num_healthy_workers"] == 0
        algo.train()
        with pytest.raises(EnvRunnersError, match="3 evaluations in a row were left out"):
            algo.train()


def test_an_evaluation_waits_for_an_env_runner_if_it_may(tmp_path):
    settings = evaluated(tmp_path, "die", evaluation_unhealthy_workers_timeout_s=30.0)
    settings.evaluation(evaluation_num_env_runners=1)
    settings.fault_tolerance(env_runner_restart_intensity=1, env_runner_restart_period_s=0.01)
    settings.fault_tolerance(delay_between_env_runner_restarts_s=0.1)
    with settings.build_algo() as algo, pytest.warns(RuntimeWarning):
        assert algo.train()["evaluation"]["env_runners"]["num_episodes"] == 120
