"""Which env runners are started anew, when, and when that is enough: events in, decisions out."""

import pytest

from rllib.config import AlgorithmConfig
from rllib.core.exceptions import TaskError
from rllib.errors import EnvError, EnvRunnersError
from rllib.sampling.restarts import Restarts, State, headline

ERROR = EnvError("environment 3 raised ValueError in step() at its env step 9: no\nTraceback ...")


def restarts(num_runners: int = 2, is_vital: bool = True, **settings: object) -> Restarts:
    config = AlgorithmConfig().fault_tolerance(**settings)
    return Restarts(config, num_runners, is_vital)


def start_anew(machine: Restarts, runner: int, now: float) -> None:
    assert runner in machine.due(now)
    machine.begin(runner, now)
    machine.ready(runner)


def test_one_that_has_delivered_is_started_anew_at_once_however_often() -> None:
    machine = restarts()
    for second in range(100):
        machine.delivered(1)
        machine.failed(1, ERROR, second)
        assert machine.those(State.RESTING) == [1]
        assert machine.those(State.HEALTHY) == [0]
        machine.begin(1, second)
        assert machine.those(State.STARTING) == [1]
        assert machine.due(second) == []
        machine.ready(1)
        assert machine.are_healthy
    assert machine.num_restarts == machine.num_restarts_of(1) == 100
    assert machine.num_restarts_of(0) == 0


def test_one_that_delivers_nothing_rests_after_a_few_tries() -> None:
    machine = restarts(env_runner_restart_intensity=2, delay_between_env_runner_restarts_s=60.0)
    for now in (1.0, 2.0):
        machine.failed(0, ERROR, now)
        start_anew(machine, 0, now)
    machine.failed(0, ERROR, 3.0)
    assert machine.due(62.9) == []
    assert machine.next_due() == 63.0
    start_anew(machine, 0, 63.0)  # what was so long ago is no longer held against it
    machine.failed(0, ERROR, 64.0)
    assert machine.due(64.0) == [0]


def test_failures_that_are_far_apart_are_no_loop() -> None:
    machine = restarts(1, env_runner_restart_intensity=1, env_runner_restart_period_s=10.0)
    for now in range(0, 100, 11):
        machine.failed(0, ERROR, now)
        start_anew(machine, 0, now)


def test_a_failure_while_it_starts_is_a_failure() -> None:
    machine = restarts(1, env_runner_restart_intensity=1)
    machine.failed(0, ERROR, 0.0)
    machine.begin(0, 0.0)
    with pytest.raises(EnvRunnersError, match="none is left that works; 2 failures"):
        machine.failed(0, ERROR, 1.0)


def test_when_all_rest_it_is_over_and_the_story_is_told() -> None:
    machine = restarts(env_runner_restart_intensity=1)
    other = TaskError("EnvRunner.sample", "Traceback ...\n  File\nKeyError: 'door'\n", 7)
    for now, runner in enumerate([0, 1, 0]):
        machine.failed(runner, ERROR, now)
        if machine.due(now):
            start_anew(machine, runner, now)
    with pytest.raises(EnvRunnersError) as caught:
        machine.failed(1, other, 5.5)
    assert str(caught.value).splitlines()[:5] == [
        "env runners fail: none is left that works; 4 failures, of late",
        "     5.5 s before: env runner 0: " + headline(ERROR),
        "     4.5 s before: env runner 1: " + headline(ERROR),
        "     3.5 s before: env runner 0: " + headline(ERROR),
        "     0.0 s before: env runner 1: KeyError: 'door'",
    ]
    assert caught.value.__cause__ is other


def test_one_that_rests_alone_does_not_end_it_and_nobody_need_be_left_for_evaluation() -> None:
    machine = restarts(env_runner_restart_intensity=1)
    machine.failed(0, ERROR, 0.0)
    start_anew(machine, 0, 0.0)
    machine.failed(0, ERROR, 0.1)
    alone = restarts(1, is_vital=False, restart_failed_env_runners=False)
    alone.config.fault_tolerance(ignore_env_runner_failures=True)
    alone.failed(0, ERROR, 0.0)
    assert alone.those(State.GONE) == [0]
    assert alone.next_due() is None


def test_one_is_started_anew_only_so_often() -> None:
    machine = restarts(max_num_env_runner_restarts=2)
    for now in range(2):
        machine.delivered(0)
        machine.failed(0, ERROR, now)
        start_anew(machine, 0, now)
    machine.failed(1, ERROR, 5.0)  # another one has its own count
    with pytest.raises(EnvRunnersError, match="max_num_env_runner_restarts = 2 times"):
        machine.failed(0, ERROR, 6.0)


def test_failures_in_a_row_are_limited() -> None:
    machine = restarts(3, num_consecutive_env_runner_failures_tolerance=2)
    machine.failed(0, ERROR, 0.0)
    machine.failed(1, ERROR, 0.0)
    machine.delivered(2)
    start_anew(machine, 0, 0.0)
    start_anew(machine, 1, 0.0)
    machine.failed(0, ERROR, 1.0)
    machine.failed(1, ERROR, 1.0)
    with pytest.raises(EnvRunnersError, match="tolerance = 2 failures in a row"):
        machine.failed(2, ERROR, 1.0)


def test_without_restarts_the_failure_is_raised_or_the_others_go_on() -> None:
    with pytest.raises(EnvError) as caught:
        restarts(restart_failed_env_runners=False).failed(0, ERROR, 0.0)
    assert caught.value is ERROR
    machine = restarts(restart_failed_env_runners=False, ignore_env_runner_failures=True)
    machine.failed(0, ERROR, 0.0)
    assert machine.due(1e9) == []
    assert machine.those(State.GONE) == [0]
    with pytest.raises(EnvRunnersError, match="none is left that works"):
        machine.failed(1, ERROR, 1.0)


def test_one_may_take_only_so_long_to_begin() -> None:
    machine = restarts(env_runner_restore_timeout_s=10.0)
    machine.failed(0, ERROR, 0.0)
    machine.begin(0, 0.0)
    assert machine.overdue(10.0) == []
    assert machine.overdue(10.1) == [0]
