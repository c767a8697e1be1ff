"""Actors that are started again, and what removal, GPUs and environments mean for processes."""

import os
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import template
from patience import SOON_S, alive, wait_until

from rllib import core
from rllib.core import api, exceptions, util
from rllib.core.util import state
from rllib.core.util.scheduling_strategies import PlacementGroupSchedulingStrategy


@pytest.fixture(scope="module", autouse=True)
def runtime() -> Iterator[None]:
    with core.init(num_cpus=2, num_gpus=2):
        yield


def make_actor(**options: Any) -> Any:
    @core.remote
    class Mortal:
        def __init__(self, *args: Any) -> None:
            self.sizes = [len(arg) for arg in args]
            self.seen: list[int] = []

        def pid(self) -> int:
            return os.getpid()

        def see(self, number: int) -> list[int]:
            self.seen.append(number)
            return self.seen

        def given(self) -> list[int]:
            return self.sizes

        def die(self, code: int = 1) -> None:
            os._exit(code)

        def leave(self, code: int) -> None:
            raise SystemExit(code)

        def die_once(self, mark: str) -> int:
            if not os.path.exists(mark):  # noqa: PTH110
                os.mkdir(mark)  # noqa: PTH102
                os._exit(1)
            return os.getpid()

    return Mortal.options(**options) if options else Mortal


def test_a_call_that_was_with_the_dead_process_fails_and_later_ones_find_a_new_one() -> None:
    big = b"x" * 300_000
    actor = make_actor(max_restarts=1).remote(big, core.put(big))
    pid = core.get(actor.pid.remote())
    with pytest.raises(exceptions.ActorUnavailableError, match="code 1"):
        core.get(actor.die.remote(), timeout=SOON_S)
    assert core.get(actor.pid.remote(), timeout=SOON_S) != pid
    assert core.get(actor.given.remote()) == [300_000, 300_000]
    with pytest.raises(exceptions.ActorDiedError, match="code 3"):
        core.get(actor.die.remote(3), timeout=SOON_S)


def test_what_is_called_after_a_kill_finds_the_new_process() -> None:
    actor = make_actor(max_restarts=-1).remote()
    for number in range(5):
        assert core.get(actor.see.remote(number), timeout=SOON_S) == [number]
        core.kill(actor, no_restart=False)


def test_calls_that_may_be_retried_are_made_again_in_order(tmp_path: Path) -> None:
    actor = make_actor(max_restarts=-1, max_task_retries=-1).remote()
    pid = core.get(actor.pid.remote())
    refs = [actor.die_once.remote(str(tmp_path / "mark"))]
    refs += [actor.see.remote(number) for number in range(5)]
    other, *seen = core.get(refs, timeout=SOON_S)
    assert other != pid
    assert seen[-1] == [0, 1, 2, 3, 4]


def test_others_that_hold_a_handle_find_the_new_process() -> None:
    actor = make_actor(max_restarts=1).remote()

    @core.remote
    class Other:
        def __init__(self, actor: Any) -> None:
            self.actor = actor

        def ask(self) -> int:
            return core.get(self.actor.pid.remote())

    other = Other.remote(actor)
    pid = core.get(other.ask.remote())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    wait_until(lambda: answers_elsewhere(other.ask, pid))


def answers_elsewhere(ask: Any, pid: int) -> bool:
    """Whether another process than the dead one answers; a call that still went to that one fails,
    whoever notices first that it is dead."""
    try:
        return core.get(ask.remote(), timeout=SOON_S) != pid
    except exceptions.ActorUnavailableError:
        return False


@pytest.mark.parametrize(("code", "restarts"), [(0, False), (1, True)])
def test_an_actor_that_leaves_with_a_code_is_restarted(code: int, restarts: bool) -> None:
    actor = make_actor(max_restarts=1).remote()
    expected = exceptions.ActorUnavailableError if restarts else exceptions.ActorDiedError
    with pytest.raises(expected):
        core.get(actor.leave.remote(code), timeout=SOON_S)


def test_an_actor_with_restarts_ends_with_its_last_handle() -> None:
    actor = make_actor(max_restarts=-1).remote()
    pid = core.get(actor.pid.remote())
    del actor
    wait_until(lambda: not alive(pid))
    wait_until(lambda: core.available_resources() == core.cluster_resources())


def test_an_actor_comes_back_also_when_the_template_is_killed() -> None:
    actor = make_actor(max_restarts=1).remote()
    pid = core.get(actor.pid.remote())
    template().kill()
    wait_until(lambda: not alive(pid))
    wait_until(lambda: answers_elsewhere(actor.pid, pid))


def test_a_constructor_that_the_template_took_along_runs_again(tmp_path: Path) -> None:
    @core.remote
    class Slow:
        def __init__(self, folder: str) -> None:
            import threading

            mark = Path(folder, "begun")
            if not mark.exists():
                mark.touch()
                threading.Event().wait()

        def f(self) -> int:
            return 1

    ref = Slow.remote(str(tmp_path)).f.remote()
    wait_until((tmp_path / "begun").exists)
    template().kill()
    assert core.get(ref, timeout=20) == 1


def test_a_detached_actor_outlives_the_worker_that_made_it() -> None:
    Mortal = make_actor(name="survivor", lifetime="detached", max_restarts=1)

    @core.remote
    class Maker:
        def make(self) -> int:
            Mortal.remote(b"y" * 200_000)
            return os.getpid()

    maker = Maker.remote()
    pid = core.get(maker.make.remote())
    core.kill(maker)
    wait_until(lambda: not alive(pid))
    survivor = core.get_actor("survivor")
    assert core.get(survivor.given.remote(), timeout=SOON_S) == [200_000]
    with pytest.raises(exceptions.ActorUnavailableError):
        core.get(survivor.die.remote(), timeout=SOON_S)
    assert core.get(survivor.given.remote(), timeout=SOON_S) == [200_000]
    core.kill(survivor)


def test_a_detached_actor_of_a_worker_has_a_handle_of_itself() -> None:
    @core.remote(name="narcissus", lifetime="detached")
    class Narcissus:
        def me(self) -> Any:
            return core.get_runtime_context().current_actor

    @core.remote
    def make() -> None:
        Narcissus.remote()

    core.get(make.remote())
    actor = core.get_actor("narcissus")
    assert core.get(actor.me.remote(), timeout=SOON_S) == actor
    core.kill(actor)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["heir", None])
def test_a_detached_actor_is_made_or_is_not(when: str, name: str | None) -> None:
    """Its maker dies just before, or just after it has handed the actor over."""
    Heir = make_actor(name=name, lifetime="detached")

    @core.remote(max_retries=0)
    def make() -> None:
        runtime = api.runtime()
        host = runtime.host

        def host_and_die(*args: Any, **kwargs: Any) -> None:
            if when == "after":
                host(*args, **kwargs)
            os._exit(1)

        runtime.host = host_and_die
        Heir.remote(b"y" * 200_000)

    def heirs() -> list[state.ActorState]:
        return state.list_actors(filters=[("is_detached", "=", True), ("state", "!=", "DEAD")])

    with pytest.raises(exceptions.WorkerCrashedError):
        core.get(make.remote())
    expected = [name or ""] if when == "after" else []
    wait_until(lambda: [heir.name for heir in heirs()] == expected)
    if name:
        heir = Heir.options(get_if_exists=True).remote(b"y" * 200_000)
        assert core.get(heir.given.remote(), timeout=SOON_S) == [200_000]
        core.kill(heir)
    elif expected:
        wait_until(lambda: heirs()[0].state == "ALIVE")
        orphan = api.runtime().actor_restore((bytes.fromhex(heirs()[0].actor_id), None))
        api.runtime().kill(orphan, no_restart=True)


def test_removal_of_a_group_ends_who_is_in_it(tmp_path: Path) -> None:
    group = util.placement_group([{"CPU": 1}, {"CPU": 1}])
    strategy = PlacementGroupSchedulingStrategy(group)

    @core.remote(scheduling_strategy=strategy)
    def block(mark: str) -> None:
        import threading

        Path(mark).touch()
        threading.Event().wait()

    Mortal = make_actor(scheduling_strategy=strategy, num_cpus=1)
    actor = Mortal.remote()
    pid = core.get(actor.pid.remote())
    running = block.remote(str(tmp_path / "mark"))
    wait_until((tmp_path / "mark").exists)
    queued, waiting = block.remote(str(tmp_path / "never")), Mortal.remote()
    util.remove_placement_group(group)
    for ref in (running, queued):
        with pytest.raises(exceptions.TaskPlacementGroupRemoved):
            core.get(ref, timeout=SOON_S)
    with pytest.raises(exceptions.ActorDiedError, match="placement group was removed"):
        core.get(actor.pid.remote(), timeout=SOON_S)
    with pytest.raises(exceptions.ActorPlacementGroupRemoved):
        core.get(waiting.pid.remote(), timeout=SOON_S)
    wait_until(lambda: not alive(pid))
    wait_until(lambda: core.available_resources() == core.cluster_resources())


def test_gpus_are_shown_to_those_who_asked_for_them() -> None:
    @core.remote
    def look() -> Any:
        return os.environ.get("CUDA_VISIBLE_DEVICES"), core.get_gpu_ids()

    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    assert core.get(look.options(num_gpus=2).remote(), timeout=SOON_S) == ("0,1", [0, 1])
    assert core.get(look.options(num_gpus=0.5).remote(), timeout=SOON_S) == ("0", [0])
    assert core.get(look.remote(), timeout=SOON_S) == (before, [])
    assert core.get_gpu_ids() == []
    with pytest.raises(ValueError, match="whole number"):
        look.options(num_gpus=1.5)


def test_a_snapshot_is_taken_once_and_leaves_out_what_is_excluded(tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_text("big")
    (tmp_path / "kept.txt").write_text("before")

    @core.remote(runtime_env={"working_dir": str(tmp_path), "excludes": ["*.bin"]})
    def read() -> tuple[list[str], str]:
        return sorted(path.name for path in Path().iterdir()), Path("kept.txt").read_text()

    assert core.get(read.remote(), timeout=SOON_S) == (["kept.txt"], "before")
    (tmp_path / "kept.txt").write_text("after")
    assert core.get(read.remote(), timeout=SOON_S) == (["kept.txt"], "before")


def test_a_working_directory_may_be_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "work.zip", "w") as archive:
        archive.writestr("inside.txt", "zipped")

    @core.remote(runtime_env={"working_dir": str(tmp_path / "work.zip")})
    def read() -> str:
        return Path("inside.txt").read_text()

    assert core.get(read.remote(), timeout=SOON_S) == "zipped"


def test_an_environment_that_is_gone_is_an_error_of_the_task(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    @core.remote
    def remove(folder: str) -> None:
        import shutil

        shutil.rmtree(folder)

    @core.remote(runtime_env={"working_dir": str(tmp_path)})
    def where() -> str:
        return str(Path.cwd())

    core.get(remove.remote(core.get(where.remote())))
    other = where.options(runtime_env={"working_dir": str(tmp_path), "env_vars": {"A": "1"}})
    assert core.get(other.remote(), timeout=SOON_S)  # another snapshot: the first one is gone
