"""Loggers that hang, fail or die: training goes on, and no result is lost or shown twice."""

import signal
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from patience import wait_until

from rllib.runs import logger_thread
from rllib.runs import loggers as loggers_module
from rllib.runs.loggers import Loggers
from rllib.runs.record import Metrics
from rllib.runs.session import Order, Session
from rllib.runs.signals import StopSignals

FAILS_AT = 3


class Kept:
    """Keeps what it was told, in the order in which it was."""

    instances: list["Kept"] = []  # noqa: RUF012 (emptied by the fixture)

    def __init__(self, folder: Path, history: Iterable[Metrics]) -> None:
        self.rows = [row["training_iteration"] for row in history]
        self.is_closed = False
        Kept.instances.append(self)

    def log(self, metrics: Metrics) -> None:
        self.rows.append(metrics["training_iteration"])

    def close(self) -> None:
        self.is_closed = True


class Failing(Kept):
    def log(self, metrics: Metrics) -> None:
        if metrics["training_iteration"] == FAILS_AT and len(Kept.instances) == 1:
            raise ConnectionError("the server is gone")
        super().log(metrics)


class Hanging(Kept):
    may_go_on = threading.Event()

    def log(self, metrics: Metrics) -> None:
        self.may_go_on.wait()
        super().log(metrics)


class Unbuildable(Kept):
    def __init__(self, folder: Path, history: Iterable[Metrics]) -> None:
        raise RuntimeError("not logged in")


@pytest.fixture(autouse=True)
def none_yet() -> Any:
    Kept.instances.clear()
    Hanging.may_go_on.clear()
    yield
    Hanging.may_go_on.set()


@pytest.fixture
def told() -> list[str]:
    return []


def opened(folder: Path, told: list[str], make: Any, after_iteration: int = 0) -> Loggers:
    return Loggers(
        folder,
        after_iteration=after_iteration,
        more=[make],
        tell=told.append,
    )


def log(loggers: Loggers, *iterations: int) -> None:
    for iteration in iterations:
        loggers.log({"training_iteration": iteration})


def test_one_that_fails_is_made_anew_from_the_record(tmp_path: Path, told: list[str]) -> None:
    loggers = opened(tmp_path, told, Failing)
    log(loggers, 1, 2, 3, 4, 5)
    loggers.close()
    first, second = Kept.instances
    assert first.is_closed
    assert second.rows == [1, 2, 3, 4, 5]
    assert len(told) == 1
    assert told[0].startswith("the logger Failing fails: ConnectionError: the server is gone;")


def test_one_that_hangs_keeps_nobody(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger_thread, "MOST_WAITING", 2)
    monkeypatch.setattr(loggers_module, "HURRIED_S", 0.05)
    loggers = opened(tmp_path, told, Hanging)
    log(loggers, *range(1, 10))
    assert told == ["the logger Hanging takes no results; training goes on without it"]
    loggers.close(hurried=True)
    assert told[1:] == ["the logger Hanging does not end in 0.05 seconds, and is left as it is"]
    assert len((tmp_path / "progress.jsonl").read_text().splitlines()) == 9


def test_one_that_is_slow_gets_its_time_at_the_end_and_nothing_is_lost(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on when the user is told that it is waited for."""
    monkeypatch.setattr(loggers_module, "HURRIED_S", 0.0)

    def tell(text: str) -> None:
        told.append(text)
        Hanging.may_go_on.set()

    loggers = Loggers(tmp_path, after_iteration=0, more=[Hanging], tell=tell)
    log(loggers, 1, 2, 3)
    loggers.close()
    assert told == ["waiting for the logger Hanging, 30 seconds at most; Ctrl-C leaves it as it is"]
    assert Kept.instances[-1].rows == [1, 2, 3]
    assert Kept.instances[-1].is_closed


def test_several_that_hang_are_waited_for_together(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HURRIED_S", "CLOSE_S"):
        monkeypatch.setattr(loggers_module, name, 0.01)
    loggers = Loggers(tmp_path, after_iteration=0, more=[Hanging, Hanging], tell=told.append)
    log(loggers, 1)
    loggers.close()
    assert told == ["the logger Hanging does not end in 0.01 seconds, and is left as it is"] * 2


def test_who_interrupts_the_waiting_has_told_all_that_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers_module, "HURRIED_S", 0.0)

    def tell(text: str) -> None:
        raise KeyboardInterrupt

    loggers = Loggers(tmp_path, after_iteration=0, more=[Hanging, Kept], tell=tell)
    log(loggers, 1)
    with pytest.raises(KeyboardInterrupt):
        loggers.close()
    Hanging.may_go_on.set()
    wait_until(lambda: [each.is_closed for each in Kept.instances] == [True, True])
    assert [each.rows for each in Kept.instances] == [[1], [1]]


@pytest.mark.parametrize("received", [None, signal.SIGTERM])
def test_after_a_signal_a_run_waits_only_shortly(
    received: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how: list[bool] = []
    close = Loggers.close

    def closed(self: Loggers, hurried: bool = False) -> None:
        how.append(hurried)
        close(self, hurried)

    def logged(self: Loggers, result: Mapping[str, Any]) -> None:
        signals.received = received

    monkeypatch.setattr(Loggers, "close", closed)
    monkeypatch.setattr(Loggers, "log", logged)
    small = ("num_env_runners=0", "train_batch_size_per_learner=64", "minibatch_size=null")
    order = Order("ppo_cartpole", small, ("training_iteration=1",), runs_dir=tmp_path)
    with StopSignals().installed() as signals:
        Session(order).execute(signals)
    assert how == [received is not None]


def test_one_that_hangs_for_a_while_gets_what_it_has_missed(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger_thread, "MOST_WAITING", 2)
    loggers = opened(tmp_path, told, Hanging)
    log(loggers, *range(1, 10))
    Hanging.may_go_on.set()
    (derived,) = loggers._derived
    wait_until(derived._waiting.empty)
    log(loggers, 10)
    loggers.close()
    assert Kept.instances[-1].rows == list(range(1, 11))


def test_one_that_cannot_be_made_is_told_of_once(tmp_path: Path, told: list[str]) -> None:
    loggers = opened(tmp_path, told, Unbuildable)
    log(loggers, 1, 2, 3)
    loggers.close()
    assert len(told) == 1
    assert "the logger Unbuildable fails: RuntimeError: not logged in" in told[0]


class Leaving(Kept):
    """Takes itself for the program, as some clients do when they have no connection."""

    def log(self, metrics: Metrics) -> None:
        if len(Kept.instances) == 1:
            raise SystemExit(1)
        super().log(metrics)

    def close(self) -> None:
        if len(Kept.instances) == 1:
            raise KeyboardInterrupt
        super().close()


def test_one_that_would_end_the_program_fails_like_any_other(
    tmp_path: Path, told: list[str]
) -> None:
    loggers = opened(tmp_path, told, Leaving)
    log(loggers, 1, 2, 3)
    loggers.close()
    assert Kept.instances[-1].rows == [1, 2, 3]
    assert len(told) == 1
    assert told[0].startswith("the logger Leaving fails: SystemExit: 1;")


def test_a_continued_run_begins_with_what_counts(tmp_path: Path, told: list[str]) -> None:
    loggers = opened(tmp_path, told, Kept)
    log(loggers, 1, 2, 3, 4)
    loggers.close()
    loggers = opened(tmp_path, told, Kept, after_iteration=2)
    log(loggers, 3)
    loggers.close()
    assert Kept.instances[-1].rows == [1, 2, 3]
    assert told == []
