"""Learners that die are started anew, and go on from where another one is, or a snapshot."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from rllib import core
from rllib.algorithms.appo import APPOConfig
from rllib.algorithms.dqn import DQNConfig
from rllib.algorithms.impala import IMPALAConfig, IMPALALearner
from rllib.algorithms.ppo import PPOConfig, PPOLearner
from rllib.callbacks import RLlibCallback
from rllib.envs.counter import CounterEnv
from rllib.envs.multi_agent import make_multi_agent
from rllib.errors import EnvError, LateError, LearnerError
from rllib.learning import learner_group
from rllib.learning.snapshots import Snapshots
from rllib.preload import PRELOAD

WARNED = "learner .* died and is started anew"


@pytest.fixture(scope="module")
def processes():
    with core.init(num_cpus=6, preload=[*PRELOAD, "rllib.algorithms.ppo"]):
        yield


class Given:
    """States that are there when they are let go."""

    def __init__(self):
        self.asked = 0

    def ask(self):
        self.asked += 1
        return {"state": self.asked}


def test_a_snapshot_is_asked_for_when_it_is_time_and_the_newest_is_kept():
    now, given = [0.0], Given()
    snapshots = Snapshots(10.0, lambda: now[0])
    assert snapshots.newest() is None
    for moment in (0.0, 9.9, 10.0, 11.0):
        now[0] = moment
        snapshots.take(given.ask)
    assert given.asked == 2
    assert snapshots.newest() == {"state": 2}


def test_a_state_that_learners_were_given_is_newer_than_what_is_on_its_way():
    now, given = [0.0], Given()
    snapshots = Snapshots(10.0, lambda: now[0])
    snapshots.take(given.ask)
    snapshots.put({"state": "given"})
    assert snapshots.newest() == {"state": "given"}
    snapshots.take(given.ask)
    assert given.asked == 1  # the one that was given is as good
    snapshots.renew(given.ask)
    assert snapshots.newest() == {"state": 2}


@core.remote
class Slow:
    def __init__(self):
        self.gate = Event()

    def state(self, number):
        return number

    def refuse(self):
        raise core.exceptions.OutOfDiskError("8 bytes do not fit")

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_of_a_learner_that_died_the_snapshot_before_is_good(processes):
    now, actor = [0.0], Slow.remote()
    snapshots = Snapshots(1.0, lambda: now[0])
    snapshots.take(lambda: actor.state.remote(1))
    core.get(actor.state.remote(0))
    snapshots.take(lambda: pytest.fail("it is not time"))
    now[0] = 1.0
    actor.die.remote()
    snapshots.take(lambda: actor.state.remote(2))
    with pytest.raises(core.exceptions.ActorDiedError):
        core.get(actor.state.remote(0))
    assert snapshots.newest() == 1


def test_without_room_for_a_snapshot_the_one_before_is_good_which_is_told_once(processes):
    actor, snapshots = Slow.remote(), Snapshots(1e-9)

    def newest_of(number):
        """After one that there was room for, and three that there was none for."""
        asks = [lambda: actor.state.remote(number), *[actor.refuse.remote] * 3]
        for ask in asks:
            snapshots.take(ask)
            core.get(actor.state.remote(0))
        return snapshots.newest()

    for number in (1, 2):
        with pytest.warns(RuntimeWarning, match="the last one is kept:.*8 bytes") as told:
            assert newest_of(number) == number
        assert len(told) == 1


def ppo():
    return PPOConfig().training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=2)


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
        .reporting(min_sample_timesteps_per_iteration=128)
    )


ALGORITHMS = {
    "PPO": ppo,
    "DQN": dqn,
    "IMPALA": lambda: asynchronous(IMPALAConfig()),
    "APPO": lambda: asynchronous(APPOConfig().training(circular_buffer_num_batches=2)),
}


def config(name, num_learners=1, **faults):
    return (
        ALGORITHMS[name]()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=2, num_envs_per_env_runner=4)
        .learners(num_learners=num_learners)
        .rl_module(model_config={"fcnet_hiddens": (8,)})
        .fault_tolerance(learner_snapshot_every_s=1e-6, **faults)
    )


def pids(algo):
    return algo.learner_group.foreach_learner(lambda learner: os.getpid())


def steps(algo):
    return algo.learner_group.foreach_learner(lambda learner: learner.num_steps_trained_lifetime)


def kill_all(algo, pids):
    """Also wait until that is known, by a checkpoint."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    with pytest.warns(RuntimeWarning, match=WARNED):
        algo.snapshot()
    assert algo.learner_group.num_restarts == len(pids)


def train_until_revived(algo, count):
    while algo.learner_group.num_restarts < count:
        result = algo.train()
    return result


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_only_learner_goes_on_from_the_newest_snapshot(processes, name):
    with config(name).build_algo() as algo:
        for _ in range(3):
            algo.train()
        (before,), (pid,) = steps(algo), pids(algo)
        per_iteration = before / 3
        os.kill(pid, signal.SIGKILL)
        with pytest.warns(RuntimeWarning, match=WARNED):
            train_until_revived(algo, 1)
        algo.train()
        (after,) = steps(algo)
        # At most the updates are lost that were made since the last snapshot.
        assert before - per_iteration <= after <= before + 3 * per_iteration
        result = algo.train()
        weights = algo.get_weights()["default_policy"]
        seen = algo.env_runner_group.foreach_env_runner(lambda runner: runner.weights_seq_no)
    assert result["fault_tolerance"]["num_learner_restarts"] == 1
    assert result["fault_tolerance"]["num_remote_worker_restarts"] == 0
    assert all(np.isfinite(each).all() for each in weights.values())
    assert min(seen) > 3


@pytest.mark.parametrize("name", ["PPO", "IMPALA"])
def test_no_step_is_lost_that_was_made_before_the_newest_snapshot(processes, name, monkeypatch):
    settings = config(name).learners(max_requests_in_flight_per_learner=1)
    with settings.build_algo() as algo:
        learners, fetch, made = pids(algo), algo.learner_group.fetch_metrics, []

        def noted(update):
            metrics = fetch(update)
            made.append([metrics[f"num_{count}_lifetime"] for count in COUNTS])
            return metrics

        monkeypatch.setattr(algo.learner_group, "fetch_metrics", noted)
        for _ in range(3):
            algo.train()
        kill_all(algo, learners)
        # The newest snapshot is that of before the last update.
        assert algo.learner_group.foreach_learner(counted) == [made[-2]]


COUNTS = ("gradient_updates", "module_steps_trained")


def counted(learner):
    return [learner.descent.num_steps, learner.num_steps_trained_lifetime]


def test_a_group_goes_on_from_one_that_is_left(processes):
    with config("PPO", 3).build_algo() as algo:
        algo.train()
        for rank in (0, 2):
            os.kill(pids(algo)[rank], signal.SIGKILL)
            with pytest.warns(RuntimeWarning, match=f"learner {rank} died"):
                train_until_revived(algo, algo.learner_group.num_restarts + 1)
        algo.train()
        states = algo.learner_group.foreach_learner(lambda learner: learner.get_module_state())
        assert len({*steps(algo)}) == 1
    for state in states[1:]:
        np.testing.assert_equal(state, states[0])


def test_a_whole_group_goes_on_from_the_newest_snapshot(processes):
    with config("PPO", 2).build_algo() as algo:
        for _ in range(3):
            algo.train()
        before = steps(algo)[0]
        for pid in pids(algo):
            os.kill(pid, signal.SIGKILL)
        with pytest.warns(RuntimeWarning, match="learner 0, 1 died and is started anew"):
            train_until_revived(algo, 2)
        algo.train()
        assert steps(algo)[0] >= before - 64  # one update is lost and one is made


class HangsOnce(PPOLearner):
    """A learner does not come back from its second update, in the first of its lives."""

    num_calls, hanging_rank = 0, 1

    def build_train_batch(self, batches):
        self.num_calls += 1
        if self.num_calls == 2 and self.group.rank == self.hanging_rank:
            path = Path(self.config.learner_config_dict["path"])
            if not path.exists():
                path.touch()
                Event().wait()
        return super().build_train_batch(batches)


class HangsAlone(HangsOnce):
    hanging_rank = 0


def test_one_that_hangs_is_replaced_when_the_others_have_waited_long_enough(
    processes, tmp_path, monkeypatch
):
    monkeypatch.setattr(learner_group, "LAST_WORDS_S", 1.0)
    settings = config("PPO", 2).fault_tolerance(learner_timeout_s=5.0)
    settings.learners(learner_class=HangsOnce, learner_config_dict={"path": str(tmp_path / "hung")})
    with settings.build_algo() as algo:
        with pytest.warns(RuntimeWarning, match="learner 1 died and is started anew"):
            train_until_revived(algo, 1)
        algo.train()
        assert len({*steps(algo)}) == 1


def test_one_that_hangs_alone_is_replaced_when_its_time_is_up(processes, tmp_path, monkeypatch):
    monkeypatch.setattr(learner_group, "LAST_WORDS_S", 1.0)
    settings = config("PPO", 1).fault_tolerance(learner_timeout_s=3.0)
    settings.learners(
        learner_class=HangsAlone, learner_config_dict={"path": str(tmp_path / "hung")}
    )
    with settings.build_algo() as algo:
        late = "learner 0 died and is started anew.*learner_timeout_s = 3 have passed"
        with pytest.warns(RuntimeWarning, match=late):
            train_until_revived(algo, 1)
        assert np.isfinite(algo.train()["learners"]["default_policy"]["total_loss"])


class BusyOnce(PPOLearner):
    """The last learner is busy with its second update until it is let go, in all its lives."""

    num_calls = 0

    def build_train_batch(self, batches):
        self.num_calls += 1
        if self.num_calls == 2 and self.group.rank == self.group.size - 1:
            Path(self.config.learner_config_dict["path"]).read_text()
        return super().build_train_batch(batches)


@pytest.fixture
def gate(tmp_path):
    """A pipe: who reads it is stopped until somebody writes."""
    os.mkfifo(tmp_path / "gate")
    return tmp_path / "gate"


def test_a_busy_learner_is_not_taken_for_dead_when_another_dies(processes, gate, monkeypatch):
    monkeypatch.setattr(learner_group, "LAST_WORDS_S", 0.0)
    settings = config("PPO", 3)
    settings.learners(learner_class=BusyOnce, learner_config_dict={"path": str(gate)})
    with settings.build_algo() as algo, ThreadPoolExecutor() as beside:
        algo.train()
        before = pids(algo)
        os.kill(before[0], signal.SIGKILL)
        look = algo.learner_group._dead

        def looked(error):
            beside.submit(gate.write_text, "go on")
            return look(error)

        monkeypatch.setattr(algo.learner_group, "_dead", looked)
        with pytest.warns(RuntimeWarning, match="learner 0 died and is started anew"):
            train_until_revived(algo, 1)
        assert pids(algo)[1:] == before[1:]


class BusyAtOnce(IMPALALearner):
    def build_train_batch(self, batches):
        Path(self.config.learner_config_dict["path"]).read_text()
        return super().build_train_batch(batches)


def test_an_error_of_an_environment_is_none_of_a_busy_learner(processes, gate, monkeypatch):
    monkeypatch.setattr(learner_group, "LAST_WORDS_S", 0.0)
    settings = config("IMPALA").environment(CounterEnv, env_config={"fail_at": 40})
    settings.env_runners(num_env_runners=1, num_envs_per_env_runner=2)
    settings.reporting(min_sample_timesteps_per_iteration=10_000)
    settings.fault_tolerance(restart_failed_env_runners=False)
    settings.learners(learner_class=BusyAtOnce, learner_config_dict={"path": str(gate)})
    settings.learners(max_requests_in_flight_per_learner=100)
    with settings.build_algo() as algo:
        with pytest.raises(EnvError, match="step 40"):
            algo.train()
        assert algo.learner_group.num_restarts == 0


@pytest.mark.parametrize("most", [2, 3])
def test_learners_may_die_again_while_they_are_started_anew(processes, most):
    with config("PPO", 2, max_num_learner_restarts=most).build_algo() as algo:
        algo.train()
        expected, group = algo.params_hash(), algo.learner_group
        join, survivor = group._join, pids(algo)[1]

        def dying():
            if group.num_restarts == 1:  # the one that is left is gone when the new one is there
                os.kill(survivor, signal.SIGKILL)
            join()

        group._join = dying
        os.kill(pids(algo)[0], signal.SIGKILL)
        if most == 2:
            with pytest.raises(LearnerError, match="max_num_learner_restarts = 2 restarts"):
                algo.params_hash()
        else:
            with pytest.warns(RuntimeWarning, match=WARNED):
                assert algo.params_hash() == expected
            assert group.num_restarts == 3


def evaluated(where, num_env_runners, *, is_parallel):
    return (
        config("PPO")
        .env_runners(num_env_runners=where)
        .evaluation(
            evaluation_interval=1,
            evaluation_duration=2,
            evaluation_num_env_runners=num_env_runners,
            evaluation_parallel_to_training=is_parallel,
        )
    )


class KillsBefore(RLlibCallback):
    """Kills the learner before each evaluation."""

    def on_evaluate_start(self, *, algorithm, **kwargs):
        os.kill(algorithm.learner_pid, signal.SIGKILL)


@pytest.mark.parametrize("num_env_runners", [0, 1])
@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.parametrize("is_parallel", [False, True])
def test_a_learner_may_die_before_an_evaluation(processes, where, num_env_runners, is_parallel):
    settings = evaluated(where, num_env_runners, is_parallel=is_parallel).callbacks(KillsBefore)
    with settings.build_algo() as algo:
        for count in (1, 2):
            (algo.learner_pid,) = pids(algo)
            with pytest.warns(RuntimeWarning, match=WARNED):
                result = algo.train()
            assert result["evaluation"]["env_runners"]["num_episodes"] == 2
            assert algo.learner_group.num_restarts == count


ASKED = {
    "evaluate": lambda algo, path: algo.evaluate(),
    "save": lambda algo, path: algo.save_to_path(path / "again"),
    "restore": lambda algo, path: algo.restore_from_path(path / "saved"),
    "get_state": lambda algo, path: algo.get_state(),
    "params_hash": lambda algo, path: algo.params_hash(),
    "get_weights": lambda algo, path: algo.get_weights(),
    "set_weights": lambda algo, path: algo.set_weights(algo.known_weights),
    "get_module": lambda algo, path: algo.get_module(),
    "call": lambda algo, path: algo.learner_group.foreach_learner(counted),
    "act": lambda algo, path: algo.compute_single_action(np.zeros(4, np.float32)),
}


def test_a_learner_may_die_before_whatever_is_asked_of_it(processes, tmp_path):
    with evaluated(0, 0, is_parallel=False).build_algo() as algo:
        algo.train()
        algo.save_to_path(tmp_path / "saved")
        expected, algo.known_weights = algo.params_hash(), algo.get_weights()
        for count, (name, ask) in enumerate(ASKED.items(), start=1):
            os.kill(pids(algo)[0], signal.SIGKILL)
            with pytest.warns(RuntimeWarning, match=WARNED):
                ask(algo, tmp_path)
            assert algo.learner_group.num_restarts == count, name
            # No older than the checkpoint, although no update has followed on which another
            # snapshot would have been taken.
            assert algo.params_hash() == expected, name


@pytest.mark.filterwarnings("ignore:env runner 0 failed and is started anew")
def test_env_runners_that_are_being_started_get_the_weights_of_the_new_learner(processes):
    with config("PPO").build_algo() as algo:
        algo.train()
        actor, group = Slow.remote(), algo.env_runner_group
        core.kill(actor)
        group.note_weights(actor.state.remote(0), 1)  # which nobody has made
        group.failed(0, LateError("it is slow"))
        algo.on_learners_revived()
        while group.crew.restarts.num_restarts < 1 or len(group.crew.healthy) < 2:
            algo.train()
        assert algo.learner_group.num_restarts == 0


def test_learners_are_started_anew_only_so_often(processes):
    with config("PPO", max_num_learner_restarts=1).build_algo() as algo:
        algo.train()
        os.kill(pids(algo)[0], signal.SIGKILL)
        with pytest.warns(RuntimeWarning, match=WARNED):
            algo.train()
        os.kill(pids(algo)[0], signal.SIGKILL)
        died = pytest.raises(LearnerError, match="max_num_learner_restarts = 1 restarts")
        with died:
            algo.train()
            algo.train()


def test_without_restarts_a_death_ends_training(processes):
    with config("PPO", restart_failed_learners=False).build_algo() as algo:
        algo.train()
        os.kill(pids(algo)[0], signal.SIGKILL)
        died = pytest.raises((LearnerError, core.exceptions.CoreError), match=r"SIGKILL|signal 9")
        with died:
            algo.train()


def test_snapshots_change_nothing(processes):
    hashes = []
    for every_s in (1e-6, 1e6):
        settings = config("PPO", 2).fault_tolerance(learner_snapshot_every_s=every_s)
        with settings.build_algo() as algo:
            for _ in range(3):
                algo.train()
            hashes.append(algo.params_hash())
    assert hashes[0] == hashes[1]


def several_agents(num_learners):
    return (
        config("PPO", num_learners)
        .environment(make_multi_agent("CartPole-v1"), env_config={"num_agents": 2})
        .multi_agent(policies={"left", "right"}, policy_mapping_fn=by_side)
    )


def by_side(agent_id, episode, **_):
    return "left" if agent_id == 0 else "right"


LAYOUTS = {name: partial(config, name) for name in ALGORITHMS} | {"agents": several_agents}


@pytest.fixture(params=LAYOUTS)
def saved(request, processes, tmp_path):
    """Settings, and a checkpoint that was trained with them."""
    settings = LAYOUTS[request.param](1)
    with settings.build_algo() as algo:
        algo.train()
        return settings, algo.save_to_path(tmp_path / "saved"), algo.params_hash()


def test_what_was_restored_is_not_lost_with_the_learner(saved):
    settings, path, expected = saved
    # One that is long past its restore has a snapshot of before, and one that is new has none.
    for num_iterations in (0, 2):
        with settings.build_algo() as algo:
            learners = pids(algo)
            for _ in range(num_iterations):
                algo.train()
            algo.restore_from_path(path)
            kill_all(algo, learners)
            assert algo.params_hash() == expected
    with type(algo).from_checkpoint(path, settings) as algo:
        state = algo.get_state()
        algo.train()
        learners = pids(algo)
        algo.set_state(state)
        kill_all(algo, learners)
        assert algo.params_hash() == expected


def test_weights_that_were_set_are_not_lost_with_the_learner(saved):
    settings, _, _ = saved
    with settings.build_algo() as algo:
        learners = pids(algo)
        algo.train()
        weights = {name: zeros(each) for name, each in algo.get_weights().items()}
        algo.set_weights(weights)
        kill_all(algo, learners)
        np.testing.assert_equal(algo.get_weights(), weights)


def zeros(weights):
    return {name: np.zeros_like(each) for name, each in weights.items()}


def test_a_whole_group_goes_on_from_what_was_restored(processes, tmp_path):
    with config("PPO", 2).build_algo() as algo:
        algo.train()
        path, expected = algo.save_to_path(tmp_path / "saved"), algo.params_hash()
        algo.train()
        learners = pids(algo)
        algo.restore_from_path(path)
        kill_all(algo, learners)
        assert algo.params_hash() == expected


def test_what_a_function_changed_in_the_learner_is_not_lost(processes):
    with config("PPO").build_algo() as algo:
        (learner,) = pids(algo)
        algo.learner_group.foreach_learner(zero)
        expected = algo.params_hash()  # is there after the snapshot
        kill_all(algo, [learner])
        assert algo.params_hash() == expected


def zero(learner):
    learner.module.set_state(zeros(learner.get_module_state()))
