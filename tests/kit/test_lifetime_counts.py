"""What is counted over the whole run goes on when it is resumed."""

import os
import signal

import pytest

from rllib import core
from rllib.algorithms.impala import IMPALA, IMPALAConfig
from rllib.algorithms.ppo import PPO, PPOConfig, PPOLearner
from rllib.callbacks import RLlibCallback
from rllib.envs.make import probe_spaces
from rllib.metrics.lifetime import Lifetime
from rllib.preload import PRELOAD


def test_counts_of_a_process_are_added_to_those_before():
    counts = {"deaths": 0, "losses": 3}
    lifetime = Lifetime(lambda: dict(counts))
    assert lifetime.totals() == counts
    lifetime.set_state({"deaths": 5, "losses": 1, "unknown": 2})
    assert lifetime.totals() == {"deaths": 5, "losses": 1}
    counts["deaths"] += 1
    counts["losses"] += 1
    assert lifetime.totals() == {"deaths": 6, "losses": 2}
    lifetime.set_state({})  # an older checkpoint
    assert lifetime.totals() == {"deaths": 6, "losses": 2}


@pytest.fixture(scope="module")
def processes():
    with core.init(num_cpus=4, preload=[*PRELOAD, "rllib.algorithms.ppo"]):
        yield


class Counted(RLlibCallback):
    """Evaluations add to a sum that is never cleared."""

    def on_episode_end(self, *, metrics_logger, **kwargs):
        metrics_logger.log_value("num_played_lifetime", 1, reduce="lifetime_sum")


def config():
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=1)
        .learners(num_learners=1)
        .training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .evaluation(evaluation_interval=1, evaluation_duration=2, evaluation_num_env_runners=1)
        .callbacks(Counted)
    )


def pid_of(worker):
    return os.getpid()


@pytest.mark.filterwarnings("ignore:.*started anew")
def test_faults_are_counted_on_in_a_resumed_run(processes, tmp_path):
    with config().build_algo() as algo:
        algo.train()
        (learner,) = algo.learner_group.foreach_learner(pid_of)
        groups = (algo.env_runner_group, algo.eval_env_runner_group)
        runners = [pid for group in groups for pid in group.foreach_env_runner(pid_of)]
        for pid in (learner, *runners):
            os.kill(pid, signal.SIGKILL)
        before = algo.train()
        algo.save_to_path(tmp_path / "saved")
    assert faults_of(before) == [1, 1, 1, 1, 1]
    with PPO.from_checkpoint(tmp_path / "saved", config()) as heir:
        after = heir.train()
        assert faults_of(after) == faults_of(before)
        assert heir.learner_group.num_restarts == 0  # of which there may be only so many
    assert played_in(after) == played_in(before) + 2


def faults_of(result):
    faults, names = result["fault_tolerance"], ("num_remote_worker_restarts", "dropped")
    found = [faults["num_learner_restarts"]]
    for each in (faults, result["evaluation"]):
        found += [count for name, count in each.items() if any(part in name for part in names)]
    return found


def played_in(result):
    return result["evaluation"]["env_runners"]["num_played_lifetime"]


def test_what_was_dropped_is_counted_on(tmp_path):
    settings = IMPALAConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    settings.learners(num_learners=0).reporting(min_sample_timesteps_per_iteration=1)
    with settings.build_algo() as algo:
        algo.num_env_steps_dropped_lifetime = 7
        algo.save_to_path(tmp_path / "saved")
    with IMPALA.from_checkpoint(tmp_path / "saved", settings) as heir:
        assert heir.train()["env_runners"]["num_env_steps_dropped_lifetime"] == 7


def test_skipped_gradient_steps_are_counted_on():
    settings = config().training(torch_skip_nan_gradients=True)
    first, second = (PPOLearner(settings, probe_spaces("CartPole-v1")) for _ in range(2))
    first.descent.num_skipped = 4
    second.set_state(first.get_state())
    assert second.descent.num_skipped == 4


NEW = ("faults", "evaluation_faults", "evaluation_metrics", "num_env_steps_dropped_lifetime")


def test_checkpoints_of_before_have_none_of_these(tmp_path):
    settings = IMPALAConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    settings.learners(num_learners=0).evaluation(evaluation_interval=1)
    with settings.build_algo() as algo:
        state = algo.get_state()
        for name in NEW:
            del state[name]
        del state["learner"]["num_updates_skipped_lifetime"]
        algo.set_state(state)
        assert not any(algo.get_state()["faults"].values())
