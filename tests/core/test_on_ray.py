"""The engine on Ray, where it meets plain Ray code."""

import importlib
from collections.abc import Iterator
from typing import Any

import engines
import leaks
import pytest

from rllib import core
from rllib.core.options import actor_options
from rllib.core.records import ActorShape
from rllib.core.util import state

ray = pytest.importorskip("ray", reason='Ray is not installed: pip install "rllib-scale[ray]"')
of_actor = importlib.import_module("rllib.core.on_ray.options").of_actor  # it imports Ray


@pytest.fixture(scope="module", autouse=True)
def plain_ray() -> Iterator[None]:
    """A Ray that the program has started itself, and our engine on it."""
    with leaks.ray_at_work():
        options = {"include_dashboard": False, "log_to_driver": False, "namespace": "plain"}
        engines.begin_ray(lambda: ray.init(num_cpus=2, **options))
        with core.init(address="ray"):
            yield
        ray.shutdown()


def test_a_ray_that_was_there_before_stays_and_takes_no_options() -> None:
    core.shutdown()
    assert ray.is_initialized()
    with pytest.raises(ValueError, match="too late for num_cpus"):
        core.init(address="ray", num_cpus=1)
    assert not core.is_initialized()
    core.init(address="ray")
    assert core.get(core.put(1)) == 1


@pytest.mark.parametrize(
    ("asked", "cpus", "gpus"),
    [({"num_gpus": 0.5}, 1.0, 0.5), ({"num_cpus": 0, "num_gpus": 1}, 0, 1.0), ({}, None, None)],
)
def test_what_an_actor_asks_for_reaches_ray(
    asked: dict[str, Any], cpus: float | None, gpus: float | None
) -> None:
    """Nothing of either is said where an actor asks for nothing: it needs a CPU to begin with."""
    shape = ActorShape("Cls", {}, {}, (), -1)
    keywords = of_actor(actor_options(asked), shape)
    assert (keywords.get("num_cpus"), keywords.get("num_gpus")) == (cpus, gpus)


def test_actors_of_plain_ray_are_found_and_called() -> None:
    @ray.remote
    class Plain:
        def add(self, a: int, b: int = 1) -> int:
            return a + b

        def count(self, n: int) -> Iterator[int]:
            for item in range(n):  # noqa: UP028 - Ray sends into generators
                yield item

        def fail(self) -> None:
            raise KeyError("plain")

    keep = Plain.options(name="theirs").remote()
    theirs = core.get_actor("theirs")
    assert core.get(theirs.add.remote(1)) == 2
    assert [core.get(ref) for ref in theirs.count.remote(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="plain") as caught:
        core.get(theirs.fail.remote())
    assert isinstance(caught.value, core.exceptions.TaskError)
    assert caught.value.function == "Plain.fail"
    with pytest.raises(TypeError, match=r"Plain\.add"):
        theirs.add.remote(1, 2, 3)
    ray.kill(keep)


def test_plain_ray_calls_our_actors() -> None:
    @core.remote
    class Ours:
        def add(self, a: int, b: int = 1) -> int:
            return a + b

    keep: Any = Ours.options(name="ours").remote()
    assert ray.get(ray.get_actor("ours").add.remote(2, b=3)) == 5
    assert core.get(keep.add.remote(1)) == 2


@pytest.mark.parametrize(
    "ask", [state.list_tasks, state.list_objects, state.list_actors, state.list_workers]
)
def test_without_a_dashboard_there_are_no_lists(ask: Any) -> None:
    with pytest.raises(RuntimeError, match="include_dashboard=True"):
        ask()
