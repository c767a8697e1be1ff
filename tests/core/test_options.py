"""Options of tasks, methods and actors: what is wrong is named, what is right acts."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import once_more_on_ray

from rllib import core
from rllib.core.exceptions import ActorDiedError


def nothing() -> None: ...


class Plain:
    def method(self) -> None: ...


WRONG_FOR_TASKS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"num_returns": -1}, ValueError, "num_returns"),
    ({"num_returns": "2"}, TypeError, "num_returns"),
    ({"num_returns": "dynamic"}, ValueError, "dynamic"),
    ({"num_cpus": -1}, ValueError, "CPU"),
    ({"num_cpus": 1e-5}, ValueError, "0.0001"),
    ({"resources": {"CPU": 1}}, ValueError, "num_cpus"),
    ({"resources": 3}, TypeError, "resources"),
    ({"max_retries": -2}, ValueError, "max_retries"),
    ({"max_calls": -1}, ValueError, "max_calls"),
    ({"retry_exceptions": "x"}, TypeError, "retry_exceptions"),
    ({"retry_exceptions": [int]}, ValueError, "retry_exceptions"),
    ({"name": 3}, TypeError, "name"),
    ({"name": ""}, ValueError, "name"),
    ({"num_cpu": 1}, ValueError, "num_cpus"),
    ({"enable_task_events": "no"}, TypeError, "enable_task_events"),
    ({"_generator_backpressure_num_objects": 0}, ValueError, "backpressure"),
]

WRONG_FOR_ACTORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"get_if_exists": True}, ValueError, "name"),
    ({"get_if_exists": "yes", "name": "x"}, TypeError, "get_if_exists"),
    ({"max_concurrency": 0}, ValueError, "max_concurrency"),
    ({"max_pending_calls": 0}, ValueError, "max_pending_calls"),
    ({"max_task_retries": -2}, ValueError, "max_task_retries"),
    ({"concurrency_groups": {"io": 0}}, ValueError, "io"),
    ({"concurrency_groups": {1: 1}}, TypeError, "name"),
    ({"max_retries": 1}, ValueError, "max_retries"),
    ({"enable_task_events": 0}, TypeError, "enable_task_events"),
]


@pytest.mark.parametrize(("given", "error", "words"), WRONG_FOR_TASKS)
def test_wrong_options_of_tasks(given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        core.remote(**given)(nothing)
    with pytest.raises(error, match=words):
        core.remote(nothing).options(**given)


@pytest.mark.parametrize(("given", "error", "words"), WRONG_FOR_ACTORS)
def test_wrong_options_of_actors(given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        core.remote(**given)(Plain)


@pytest.mark.parametrize("given", [{"num_cpus": 1}, {"max_retries": 1}, {"num_return": 1}])
def test_wrong_options_of_methods(given: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        core.method(**given)


def test_options_that_belong_to_the_decorator() -> None:
    with pytest.raises(ValueError, match="max_calls"):
        core.remote(nothing).options(max_calls=1)
    with pytest.raises(ValueError, match="concurrency_groups"):
        core.remote(Plain).options(concurrency_groups={"io": 1})


def test_a_method_of_a_group_that_is_not_there() -> None:
    class Grouped:
        @core.method(concurrency_group="io")
        def method(self) -> None: ...

    with pytest.raises(ValueError, match=r"no concurrency group 'io'.*'net'"):
        core.remote(concurrency_groups={"net": 1})(Grouped)


@pytest.mark.usefixtures("engine")
class TestEveryEngine:
    def test_exceptions_are_retried_if_that_is_wanted(self, tmp_path: Path) -> None:
        def flaky(path: Path, error: type[Exception]) -> int:
            with path.open("a") as file:
                file.write("x")
            if path.stat().st_size < 3:
                raise error("not yet")
            return path.stat().st_size

        chosen = core.remote(max_retries=2, retry_exceptions=[KeyError])(flaky)
        assert core.get(chosen.remote(tmp_path / "a", KeyError)) == 3
        with pytest.raises(ValueError, match="not yet"):
            core.get(chosen.remote(tmp_path / "b", ValueError))
        assert (tmp_path / "b").stat().st_size == 1
        every = chosen.options(retry_exceptions=True, max_retries=1)
        with pytest.raises(ValueError, match="not yet"):
            core.get(every.remote(tmp_path / "c", ValueError))
        assert (tmp_path / "c").stat().st_size == 2

    def test_methods_are_retried_on_the_same_instance(self) -> None:
        @core.remote
        class Flaky:
            def __init__(self) -> None:
                self.runs = 0

            @core.method(max_task_retries=3, retry_exceptions=[KeyError])
            def run(self, needed: int) -> int:
                self.runs += 1
                if self.runs < needed:
                    raise KeyError("not yet")
                return self.runs

        assert core.get(Flaky.remote().run.remote(4)) == 4
        with pytest.raises(KeyError):
            core.get(Flaky.remote().run.remote(5))
        once = Flaky.remote().run.options(max_task_retries=0)
        with pytest.raises(KeyError):
            core.get(once.remote(2))

    def test_a_generator_that_raises_is_run_again(self, tmp_path: Path) -> None:
        runs = tmp_path / "runs"

        @core.remote(max_retries=1, retry_exceptions=True)
        def count() -> Iterator[int]:
            with runs.open("a") as file:
                file.write("x")
            yield 0
            if runs.stat().st_size == 1:
                raise KeyError("once")
            yield 1

        assert [core.get(ref) for ref in count.remote()] == [0, 1]

    def test_every_actor_answers_when_it_is_ready_and_runs_what_it_is_given(self) -> None:
        @core.remote
        class Counter:
            def __init__(self, n: int) -> None:
                self.n = n

        counter = Counter.remote(5)
        assert core.get(counter.__ray_ready__.remote()) is True
        add = lambda instance, k: instance.n + k  # noqa: E731
        assert core.get(counter.__ray_call__.remote(add, 2)) == 7

    @pytest.mark.parametrize("way", ["exit_actor", "__ray_terminate__", "sys.exit"])
    def test_an_actor_ends_itself(self, way: str) -> None:
        @core.remote
        class Leaver:
            def leave(self, how: str) -> None:
                if how == "exit_actor":
                    core.actor.exit_actor()
                raise SystemExit(0)

            def ping(self) -> int:
                return 1

        leaver = Leaver.remote()
        before = leaver.ping.remote()
        if way == "__ray_terminate__":
            last = leaver.__ray_terminate__.remote()
        else:
            last = leaver.leave.remote(way)
        after = leaver.ping.remote()
        assert core.get(before) == 1
        for ref in (last, after):
            with pytest.raises(ActorDiedError, match="Leaver"):
                core.get(ref)

    @pytest.mark.parametrize("kind", ["threaded", "async", "grouped"])
    def test_what_was_called_before_the_end_is_done(self, engine: str, kind: str) -> None:
        if engine == "inline":
            pytest.skip("calls run one after the other")

        class Slow:
            def nap(self, number: int) -> int:
                time.sleep(0.2)
                return number

        class AsyncSlow:
            async def nap(self, number: int) -> int:
                await asyncio.sleep(0.2)
                return number

        options: dict[str, Any] = {"max_concurrency": 2}
        if kind == "grouped":
            options = {"concurrency_groups": {"other": 1}}

        def call_around_the_end() -> tuple[list[int], list[core.ObjectRef[Any]]]:
            actor = core.remote(**options)(AsyncSlow if kind == "async" else Slow).remote()
            core.get(actor.__ray_ready__.remote())  # Ray forgets calls that wait for the process
            nap = actor.nap
            if kind == "grouped":
                before = [nap.options(concurrency_group="other").remote(9)]
            else:
                before = [nap.remote(9)]
            before += [nap.remote(number) for number in range(4)]
            after = [actor.__ray_terminate__.remote(), nap.remote(9)]
            return core.get(before), after

        # Ray's process breaks now and then while it ends.
        before, after = once_more_on_ray(engine, call_around_the_end, ActorDiedError)
        assert before == [9, 0, 1, 2, 3]
        for ref in after:
            with pytest.raises(ActorDiedError):
                core.get(ref)

    def test_only_an_actor_can_exit_as_one(self) -> None:
        with pytest.raises(TypeError, match="outside of an actor"):
            core.actor.exit_actor()

    def test_the_context_tells_who_one_is(self) -> None:
        def look() -> dict[str, Any]:
            context = core.get_runtime_context()
            return {
                "task": context.get_task_id(),
                "name": context.get_task_name(),
                "actor": context.get_actor_id(),
                "actor name": context.get_actor_name(),
                "job": context.get_job_id(),
                "node": context.get_node_id(),
                "resources": context.get_assigned_resources(),
                "canceled": context.is_canceled(),
            }

        class Looker:
            def look(self) -> dict[str, Any]:
                return look()

            def myself(self) -> Any:
                return core.get_runtime_context().current_actor

            def restarted(self) -> bool:
                return core.get_runtime_context().was_current_actor_reconstructed

        context = core.get_runtime_context()
        assert (context.get_task_id(), context.get_actor_id()) == (None, None)
        with pytest.raises(RuntimeError):
            context.is_canceled()
        with pytest.raises(RuntimeError):
            _ = context.current_actor
        task = core.get(core.remote(look).options(name="eyes").remote())
        assert task["name"] == "eyes"
        assert task["actor"] is None
        assert task["resources"]["CPU"] == 1.0
        assert task["canceled"] is False
        assert (task["job"], task["node"]) == (context.get_job_id(), context.get_node_id())
        looker = core.remote(Looker).options(name="looker", num_cpus=0.5).remote()
        seen = core.get(looker.look.remote())
        assert seen["actor"] == looker._link.actor_id.hex()
        assert seen["actor name"] == "looker"
        assert seen["name"] == "Looker.look"
        assert seen["resources"]["CPU"] == 0.5
        assert len({task["task"], seen["task"]}) == 2
        assert core.get(looker.myself.remote()) == looker
        assert core.get(looker.restarted.remote()) is False
