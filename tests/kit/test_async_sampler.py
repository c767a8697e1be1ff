"""Asynchronous sampling: who is asked when, with which weights, and what is taken first."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from rllib import core
from rllib.algorithms.impala import IMPALAConfig
from rllib.errors import TrainingError
from rllib.sampling.async_sampler import AsyncSampler
from rllib.sampling.env_runner import SampleStats
from rllib.workers import LocalWorker, RemoteWorker, fetch


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

    def get_log(self):
        return self.log

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def make_weights(self, name):
        if self.gate:
            Path(self.gate).read_text()
        return name


def sampler_of(workers, in_flight=2, remote=True, timeout=60.0):
    config = IMPALAConfig().env_runners(
        num_env_runners=len(workers) if remote else 0,
        max_requests_in_flight_per_env_runner=in_flight,
        sample_timeout_s=timeout,
    )
    return AsyncSampler(SimpleNamespace(config=config, workers=workers, weights_seq_no=1))


def take(sampler, count):
    """Values of the next fragments."""
    return [fetch(sampler.take().batch) for _ in range(count)]


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
    workers = [RemoteWorker(Stub, index) for index in range(2)]
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
    workers = [RemoteWorker(Stub, 0, gate), RemoteWorker(Stub, 1)]
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
    runner, learner = RemoteWorker(Stub, 0), RemoteWorker(Stub, 1, gate)
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
    workers = [RemoteWorker(Stub, index) for index in range(2)]
    sampler = sampler_of(workers)
    sampler.take()
    workers[0].call("die")
    with pytest.raises(core.exceptions.ActorDiedError, match=r"SIGKILL|signal 9"):
        take(sampler, 100_000)
    workers[1].end()


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.usefixtures("processes")
def test_an_env_runner_that_hangs_is_named_also_while_others_go_on(gate, alone):
    workers = [RemoteWorker(Stub, 0, gate)] + ([] if alone else [RemoteWorker(Stub, 1)])
    sampler = sampler_of(workers, timeout=0.2)
    with pytest.raises(TrainingError, match=r"env runner 0 needed more than sample_timeout_s = 0"):
        take(sampler, 1_000_000)
    for worker in workers:
        worker.end()


def test_what_was_asked_for_before_a_reset_is_forgotten():
    sampler = sampler_of([LocalWorker(Stub, 0)], remote=False)
    sampler._ask(0)
    sampler.group.weights_seq_no = 7
    sampler.reset()
    assert (sampler.num_ready, sampler.num_in_flight) == (0, 0)
    assert sampler.take() == ((0, 2), SampleStats(10, [], 0.0, 0.0), 7)
