"""What ran when: recorded by every process, found also when the process is gone."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rllib import core
from rllib.core import trace


@pytest.fixture(params=["inline", "local"])
def recorded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv(trace.VARIABLE, "1")
    with core.init(address=request.param, num_cpus=2):
        yield request.param


def spans(**matching: Any) -> list[dict[str, Any]]:
    events = core.timeline()
    assert events is not None
    return [
        event
        for event in events
        if event["ph"] == "X" and all(event[key] == value for key, value in matching.items())
    ]


def remote_actor() -> Any:
    @core.remote
    class Actor:
        def work(self, seconds: float) -> tuple[str | None, int]:
            time.sleep(seconds)
            return core.get_runtime_context().get_task_id(), os.getpid()

        def fail(self) -> None:
            raise ValueError("no")

        def items(self) -> Iterator[int]:
            yield from range(3)

    return Actor


@pytest.mark.usefixtures("recorded")
def test_calls_constructors_and_generators_are_recorded() -> None:
    before = time.time() * 1e6
    actor = remote_actor().remote()
    task_id, pid = core.get(actor.work.remote(0.02))
    assert len(list(actor.items.remote())) == 3
    (work,) = spans(name="Actor.work")
    assert (work["cat"], work["pid"]) == ("actor_task", pid)
    assert work["args"] == {"task_id": task_id, "failed": False}
    assert before <= work["ts"] <= time.time() * 1e6
    assert 20_000 <= work["dur"] <= time.time() * 1e6 - before
    (built,) = spans(cat="actor_creation")
    assert built["name"] == "Actor.__init__"
    assert built["pid"] == pid
    assert built["ts"] <= work["ts"]


@pytest.mark.usefixtures("recorded")
def test_failures_are_marked() -> None:
    actor = remote_actor().remote()
    with pytest.raises(ValueError, match="no"):
        core.get(actor.fail.remote())
    (failed,) = spans(name="Actor.fail")
    assert failed["args"]["failed"]


@pytest.mark.usefixtures("recorded")
def test_what_is_called_while_an_error_is_handled_has_not_failed() -> None:
    actor = remote_actor().remote()
    try:
        raise ValueError("no")
    except ValueError:
        core.get(actor.work.remote(0))
    (work,) = spans(name="Actor.work")
    assert not work["args"]["failed"]


@pytest.mark.usefixtures("recorded")
def test_tasks_are_recorded_under_their_name_and_as_a_file(tmp_path: Path) -> None:
    @core.remote
    def square(x: int) -> int:
        return x * x

    named = square.options(name="squared")
    assert core.get([named.remote(k) for k in range(10)]) == [k * k for k in range(10)]
    assert len(spans(name="squared", cat="task")) == 10
    assert core.timeline(tmp_path / "trace.json") is None
    events = json.loads((tmp_path / "trace.json").read_text())
    assert [event["name"] for event in events].count("squared") == 10


def test_what_a_killed_process_has_answered_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trace.VARIABLE, "1")
    with core.init(num_cpus=2):
        actor = remote_actor().remote()
        _, pid = core.get(actor.work.remote(0))
        core.kill(actor)
        assert [event["pid"] for event in spans(name="Actor.work")] == [pid]
        assert spans(cat="wait", pid=os.getpid())


@pytest.mark.parametrize("address", ["inline", "local"])
def test_without_recording_it_says_how_to_switch_it_on(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(trace.VARIABLE, raising=False)
    with core.init(address=address, num_cpus=1), pytest.raises(RuntimeError, match="RLLIB_PROF"):
        core.timeline()


# -- the files -------------------------------------------------------------------------------------


def test_a_file_keeps_the_last_of_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "FILE_BYTES", 2_000)
    (tmp_path / trace.FOLDER).mkdir()
    recorder = trace.recorder(tmp_path, "worker")
    assert recorder is not None
    for number in range(200):
        recorder.note(str(number), "task", time.time_ns())
        recorder.flush()
    (process,) = trace.read(tmp_path)
    names = [int(span.name) for span in process.spans]
    assert names == list(range(names[0], 200))
    sizes = [path.stat().st_size for path in (tmp_path / trace.FOLDER).iterdir()]
    assert max(sizes) <= 2_000
    assert len(sizes) == 2


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / trace.FOLDER).mkdir()
    recorder = trace.recorder(tmp_path, "driver")
    assert recorder is not None
    recorder.note("whole", "task", 1)
    recorder.flush()
    path = tmp_path / trace.FOLDER / f"driver-{os.getpid()}"
    path.write_bytes(path.read_bytes() + b'["hal')
    (process,) = trace.read(tmp_path)
    assert (process.role, process.pid) == ("driver", os.getpid())
    assert [span.name for span in process.spans] == ["whole"]
