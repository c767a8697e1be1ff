"""How workers come to be, and who cleans up when nobody else can."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import alive, wait_until

from rllib import core
from rllib.core.native import janitor, makers, platform


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Three processes that lead groups of their own."""
    command = [sys.executable, "-S", "-c", "import signal; signal.pause()"]
    started = [subprocess.Popen(command, process_group=0) for _ in range(3)]
    yield started
    for process in started:
        process.kill()
        process.wait()


def clean_up(lines: str, *folders: Path) -> None:
    """A janitor that is told ``lines`` before everybody dies."""
    command = [sys.executable, "-I", "-S", janitor.__file__, *map(str, folders)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_janitor_ends_what_lives_and_removes_the_folders(
    tmp_path: Path, sleepers: list[subprocess.Popen[bytes]]
) -> None:
    folder, other, gone = (tmp_path / name for name in ("folder", "other", "gone"))
    for path in (folder / "inner", other):
        path.mkdir(parents=True)
    (folder / "inner" / "file").touch()
    first, second, third = (process.pid for process in sleepers)
    clean_up(f"+{first}\n0\n+{second}\n+{third}\n-{third}\n", folder, other, gone)
    assert not list(tmp_path.iterdir())
    wait_until(lambda: not alive(second))
    assert sleepers[1].wait() == -signal.SIGKILL
    assert alive(first)
    assert alive(third)


def test_the_janitor_loads_next_to_nothing() -> None:
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print(sorted(sys.modules))"
    command = [sys.executable, "-I", "-S", "-c", code, janitor.__file__]
    loaded = subprocess.check_output(command, text=True)
    assert not any(name in loaded for name in ("'rllib", "'shutil'", "'pathlib'", "'subprocess'"))


def test_an_open_gpu_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(makers, "_GPU", "/dev/full")
    assert not makers._holds_gpu()
    with Path("/dev/full").open():
        assert makers._holds_gpu()


@pytest.mark.skipif(platform.is_portable_forced(), reason="there are no forks")
@pytest.mark.parametrize("opened", [False, True])
def test_workers_are_fresh_where_a_fork_would_break_cuda(
    opened: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    text = "from rllib.core.native import makers\nmakers._GPU = '/dev/full'\n"
    (tmp_path / "opener.py").write_text(text + "held = open('/dev/full')\n" * opened)
    monkeypatch.syspath_prepend(tmp_path)

    @core.remote
    def look() -> tuple[bool, bool]:
        return "opener" in sys.modules, "fresh_main" in Path("/proc/self/cmdline").read_text()

    with core.init(num_cpus=1, preload=["opener"]):
        assert core.get(look.remote()) == (True, opened)
    assert ("workers start afresh" in capfd.readouterr().err) is opened


@pytest.mark.parametrize("portable", ["0", "1"])
def test_a_worker_inherits_nothing_that_is_not_its_own(
    portable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One socket to the node and its output; above all nothing that keeps the janitor waiting."""
    monkeypatch.setenv(platform.VARIABLE, portable)

    @core.remote
    def pipes() -> dict[int, str]:
        found = {}
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # the descriptor of this very listing
                found[int(entry.name)] = str(entry.readlink())
        return found

    with core.init(num_cpus=1):
        found = core.get(pipes.remote())
    assert found[0] == "/dev/null"
    assert found[1] == found[2]
    others = [fd for fd, target in found.items() if fd > 2 and target.startswith("pipe:")]
    assert len(others) == (4 if portable == "1" else 0)  # the bells of its poller
