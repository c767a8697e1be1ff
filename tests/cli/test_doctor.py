"""Whether a machine is fit: findings, and what killed runs have left."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from rllib.cli import app
from rllib.doctor import facts
from rllib.doctor.facts import Fact
from rllib.doctor.leftovers import dead_sessions
from rllib.doctor.report import leftovers
from rllib.doctor.trial import trial


def test_every_subject_has_a_finding() -> None:
    done = CliRunner().invoke(app, ["doctor", "--no-trial"])
    subjects = [line.split("  ")[0] for line in done.output.splitlines()]
    assert done.exit_code == 0, done.output
    wanted = ["python", "packages", "extras", "cores", "memory", "open files", "processes", "gpu"]
    assert [each for each in wanted if each not in subjects] == []
    assert "torch " in done.output
    assert done.output.splitlines()[-1].startswith("no errors, ")


@pytest.mark.parametrize(
    ("text", "cores"), [("200000 100000", 2.0), ("max 100000", None), ("50000 100000", 0.5)]
)
def test_limits_of_containers_are_read(text: str, cores: float | None, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(text + "\n")
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert facts.cgroup_cores(tmp_path) == cores
    said = [str(fact) for fact in facts.memory(tmp_path)]
    assert any("a cgroup grants 1.0 GiB" in line for line in said)
    assert facts.cgroup_cores(tmp_path / "none") is None


def test_a_folder_that_cannot_be_written_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert [fact.level for fact in facts.disk(tmp_path / "runs")][-1] == "error"


def test_a_warning_says_so() -> None:
    assert str(Fact("warning", "load", "high")) == "load           WARNING: high"
    assert str(Fact("ok", "load", "low")) == "load           low"


def session(base: Path, name: str) -> Path:
    (base / name).mkdir(parents=True)
    (base / name / "lock").touch()
    return base / name


def test_sessions_of_living_drivers_stay(tmp_path: Path) -> None:
    dead, alive = session(tmp_path, "1-dead"), session(tmp_path, "2-alive")
    (tmp_path / "3-being-made").mkdir()
    lock = os.open(alive / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    process = subprocess.Popen([sys.executable, "-c", "input()", str(dead)], stdin=subprocess.PIPE)
    try:
        assert dead_sessions(tmp_path) == [dead]
        fact = leftovers(False, tmp_path)
        assert (fact.level, fact.text.partition(":")[0]) == (
            "warning",
            "1 sessions and 1 processes of runs that were killed",
        )
        assert leftovers(True, tmp_path).text == "removed 1 sessions, 1 processes"
        assert not psutil.pid_exists(process.pid) or process.wait(timeout=5) != 0
        assert not dead.exists()
        assert alive.exists()
        assert leftovers(False, tmp_path).level == "ok"
    finally:
        process.kill()
        process.communicate()
        os.close(lock)


def test_the_trial_measures_runtime_and_training() -> None:
    found = list(trial())
    assert [fact.subject for fact in found] == ["start", "actor calls", "arrays", "training"]
    assert all(fact.level in ("ok", "warning") for fact in found)
