"""Resources are free when nothing runs, though workers are kept for the next task."""

import os
import signal

import pytest
from patience import freeze

from rllib import core


def in_all_and_free() -> tuple[float, float]:
    return core.cluster_resources()["CPU"], core.available_resources()["CPU"]


def test_what_runs_is_not_free() -> None:
    with core.init(num_cpus=2):
        assert core.get(core.remote(in_all_and_free).remote()) == (2.0, 1.0)
        assert in_all_and_free() == (2.0, 2.0)


def test_who_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rllib.core.native.questions.LESSEES_S", 0.1)

    @core.remote
    def own_and_another_pid() -> list[int]:
        return [os.getpid(), core.get(core.remote(os.getpid).remote())]

    with core.init(num_cpus=2):
        lessee, lent = core.get(own_and_another_pid.remote())
        assert lessee != lent
        freeze(lessee)
        assert in_all_and_free() == (2.0, 1.0)
        os.kill(lessee, signal.SIGCONT)
        monkeypatch.undo()
        assert in_all_and_free() == (2.0, 2.0)
