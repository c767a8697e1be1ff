"""Asynchronous sampling: who is asked when, with which weights, and what is taken first."""

import os
import signal
from collections import defaultdict
from pathlib import Path

import pytest
from patience import freeze, wait_until

from rllib import core
from rllib.algorithms.impala import IMPALAConfig
from rllib.errors import LateError
from rllib.sampling.async_sampler import AsyncSampler
from rllib.sampling.crew import Crew
from rllib.sampling.env_runner import SampleStats
from rllib.sampling.env_runner_group import EnvRunnerGroup
from rllib.workers import BESIDE, LocalWorker, RemoteWorker, fetch

BESIDE_SAMPLING = {"concurrency_groups": {BESIDE: 1}}


class Group(EnvRunnerGroup):
    """Of stubs, which were given weights 1."""

    def __init__(self, config, workers):
        self.config, self.generation, self.weights_seq_no = config, 0, 1
        self.begun, self.recreated = list(workers), []
        self._weights, self._statistics = "first", None
        self._syncs, self._newborn = defaultdict(list), set()
        self._on_recreated = self.recreated.extend
        self.crew = Crew(config, self._make, self._prepare, self._take_in)

    def _make(self, index):
        return self.begun.pop(0) if self.begun else RemoteWorker(Stub, index, **BESIDE_SAMPLING)


class Stub:
    """An env runner that counts its fragments; behind a gate it waits until that is opened."""

    def __init__(self, index, gate=None):
        self.index, self.gate = index, gate
        self.log = []

    def set_weights(self, weights, seq_no):
        self.log.append((weights, seq_no))

    def set_statistics(self, statistics):
        self.log.append(statistics)

    @core.method(num_returns=2)
    def sample(self, timestep):
        if self.gate:
            Path(self.gate).read_text()
        self.log.append("sample")
        return (self.index, self.log.count("sample")), SampleStats(10, [], 0.0, 0.0)

    def reset(self, generation):
        self.log.append(f"life {generation}")

    def ping(self):
        return "pong"

    def get_log(self):
        return self.log

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def get_pid(self):
        return os.getpid()

    def make_weights(self, name):
        if self.gate:
            Path(self.gate).read_text()
        return name


def sampler_of(workers, in_flight=2, remote=True, timeout=60.0, **faults):
    config = IMPALAConfig().env_runners(
        num_env_runners=len(workers) if remote else 0,
        max_requests_in_flight_per_env_runner=in_flight,
        sample_timeout_s=timeout,
    )
    return AsyncSampler(Group(config.fault_tolerance(**faults), workers))


def remote(index, *args):
    return RemoteWorker(Stub, index, *args, **BESIDE_SAMPLING)


def take(sampler, count):
    """Values of the next fragments."""
    return [fetch(sampler.take().batch) for _ in range(count)]


def take_until_both_came(sampler):
    """For those that have started: one may make many before the other's process is up."""
    came = set()
    wait_until(lambda: came.update(index for index, _ in take(sampler, 1)) or came == {0, 1})


def take_until_recreated(sampler, count=1):
    while len(sampler.group.recreated) < count:
        take(sampler, 1)


@pytest.fixture
def gate(tmp_path):
    path = tmp_path / "gate"
    os.mkfifo(path)
    return str(path)


@pytest.fixture
def inline():
    with core.init(address="inline"):
        yield


@pytest.fixture(scope="module")
def processes():
    with core.init(num_cpus=4, preload=["rllib.sampling.async_sampler"]):
        yield


def test_an_env_runner_in_this_process_samples_when_it_is_wanted_with_the_newest_weights():
    worker = LocalWorker(Stub, 0)
    sampler = sampler_of([worker], remote=False)
    assert take(sampler, 2) == [(0, 1), (0, 2)]
    assert worker.target.log == ["sample", "sample"]
    sampler.offer_weights("old", 2)
    sampler.offer_weights("new", 3)
    sampler.offer_statistics({"mean": 1})
    assert [sampler.take().weights_seq_no for _ in range(2)] == [3, 3]
    assert worker.target.log[2:] == [("new", 3), {"mean": 1}, "sample", "sample"]
    assert sampler.group.weights_seq_no == 3


@pytest.mark.usefixtures("inline")
def test_every_env_runner_has_its_requests_and_gets_weights_before_its_next_one():
    workers = [remote(index) for index in range(2)]
    sampler = sampler_of(workers)
    # All runners are asked once before any is asked twice; then in the order of the requests.
    assert take(sampler, 3) == [(0, 1), (1, 1), (0, 2)]
    assert sampler.num_in_flight == 3
    sampler.offer_weights("new", 2)
    assert [sampler.take().weights_seq_no for _ in range(5)] == [1, 1, 1, 2, 2]
    logs = [core.get(worker.call("get_log")) for worker in workers]
    for log in logs:
        assert log[:4] == ["sample"] * 3 + [("new", 2)]
        assert {*log[4:]} == {"sample"}
    for worker in workers:
        worker.end()


def test_fragments_by_weights_that_are_too_old_are_set_apart():
    sampler = sampler_of([LocalWorker(Stub, 0)], remote=False)
    sampler._ask(0)
    sampler.offer_weights("new", 5)
    gathered = sampler.gather(2, oldest_seq_no=4)
    assert [fragment.batch for fragment in gathered.dropped] == [(0, 1)]
    assert [fragment.batch for fragment in gathered.kept] == [(0, 2), (0, 3)]
    assert len(gathered.stats) == 3


@pytest.mark.usefixtures("processes")
def test_a_slow_env_runner_holds_up_nobody_but_itself(gate):
    workers = [remote(0, gate), remote(1)]
    sampler = sampler_of(workers)
    assert take(sampler, 6) == [(1, n) for n in range(1, 7)]
    assert sampler.num_in_flight == 2 + 1
    Path(gate).write_text("open")
    found = take(sampler, 1)
    while found[-1] != (0, 1):
        found += take(sampler, 1)
    for worker in workers:
        worker.end()


@pytest.mark.usefixtures("processes")
def test_nobody_waits_for_weights_that_a_learner_has_not_made_yet(gate):
    runner, learner = remote(0), remote(1, gate)
    sampler = sampler_of([runner], in_flight=1)
    sampler.offer_weights(learner.call("make_weights", "new"), 2)
    assert [sampler.take().weights_seq_no for _ in range(3)] == [1, 1, 1]
    Path(gate).write_text("open")
    while sampler.take().weights_seq_no == 1:
        pass
    assert ("new", 2) in core.get(runner.call("get_log"))
    runner.end()
    learner.end()


@pytest.mark.usefixtures("processes")
def test_an_env_runner_that_died_is_told_and_not_waited_for():
    workers = [remote(index) for index in range(2)]
    sampler = sampler_of(workers, restart_failed_env_runners=False)
    sampler.take()
    workers[0].call("die")
    with pytest.raises(core.exceptions.ActorDiedError, match=r"SIGKILL|signal 9"):
        take(sampler, 100_000)
    workers[1].end()


@pytest.mark.usefixtures("processes")
def test_another_one_takes_the_place_of_an_env_runner_that_died():
    sampler = sampler_of([remote(index) for index in range(2)])
    sampler.offer_weights("new", 2)
    sampler.offer_statistics({"mean": 1})
    take(sampler, 4)
    sampler.group.workers[0].call("die")
    with pytest.warns(RuntimeWarning, match="env runner 0 failed and is started anew: .*SIGKILL"):
        take_until_recreated(sampler)
    assert sampler.group.recreated == [1]
    while take(sampler, 1)[0][0] != 0:
        pass
    log = core.get(sampler.group.workers[0].call("get_log"))
    # What it is told before it counts as healthy, and what everybody gets before a request.
    assert log[:3] == [f"life {1 << 16}", ("new", 2), {"mean": 1}]
    assert log[3:6] == [("new", 2), {"mean": 1}, "sample"]
    crew = sampler.group.crew
    assert 1 <= crew.num_dropped <= 2
    assert sampler.num_in_flight <= 4
    assert crew.restarts.num_restarts == 1
    sampler.group.stop()


@pytest.mark.usefixtures("processes")
def test_all_of_them_may_die_at_once():
    sampler = sampler_of([remote(index) for index in range(2)])
    take(sampler, 2)
    for worker in sampler.group.workers:
        worker.call("die")
    with pytest.warns(RuntimeWarning, match="started anew"):
        take_until_recreated(sampler, 2)
    take_until_both_came(sampler)
    sampler.group.stop()


@pytest.mark.usefixtures("processes")
def test_one_that_is_frozen_is_found_out_long_before_its_time_is_up():
    sampler = sampler_of([remote(0)], env_runner_health_probe_timeout_s=0.5)
    pid = core.get(sampler.group.workers[0].call("get_pid"))
    take(sampler, 2)
    freeze(pid)
    with pytest.warns(RuntimeWarning, match="probe_timeout_s = 0.5 that it is alive"):
        take_until_recreated(sampler)
    sampler.group.stop()


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.usefixtures("processes")
def test_an_env_runner_that_hangs_is_named_also_while_others_go_on(gate, alone):
    workers = [remote(0, gate)] + ([] if alone else [remote(1)])
    sampler = sampler_of(workers, timeout=0.2, restart_failed_env_runners=False)
    with pytest.raises(LateError, match=r"env runner 0 needed more than sample_timeout_s = 0"):
        take(sampler, 1_000_000)
    for worker in workers:
        worker.end()


@pytest.mark.usefixtures("processes")
def test_another_one_takes_the_place_of_an_env_runner_that_hangs(gate):
    sampler = sampler_of([remote(0, gate), remote(1)], timeout=0.2)
    with pytest.warns(RuntimeWarning, match="env runner 0 failed and is started anew: .*needed"):
        take_until_recreated(sampler)
    take_until_both_came(sampler)
    assert sampler.group.crew.num_dropped == 2
    sampler.group.stop()


def test_what_was_asked_for_before_a_reset_is_forgotten():
    sampler = sampler_of([LocalWorker(Stub, 0)], remote=False)
    sampler._ask(0)
    sampler.group.weights_seq_no = 7
    sampler.reset()
    assert (sampler.num_ready, sampler.num_in_flight) == (0, 0)
    assert sampler.take() == ((0, 2), SampleStats(10, [], 0.0, 0.0), 7)
