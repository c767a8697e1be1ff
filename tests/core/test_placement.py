"""Placement groups, strategies and environments mean the same on every engine."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import wait_until

from rllib import core
from rllib.core import exceptions, util
from rllib.core.util.placement_group import PlacementGroup
from rllib.core.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def group() -> Iterator[PlacementGroup]:
    made = util.placement_group([{"CPU": 0.5}, {"CPU": 0.5}], name="pair")
    yield made
    util.remove_placement_group(made)


def in_group(group: PlacementGroup, **more: Any) -> PlacementGroupSchedulingStrategy:
    return PlacementGroupSchedulingStrategy(group, **more)


def remote_look() -> Any:
    @core.remote(num_cpus=0.5)
    def look() -> Any:
        current = util.get_current_placement_group()
        return None if current is None else current.id.hex()

    return look


def test_a_group_reserves_its_bundles(group: PlacementGroup) -> None:
    assert core.get(group.ready()) == group
    assert group.wait(5)
    assert core.available_resources()["CPU"] == core.cluster_resources()["CPU"] - 1
    assert group.bundle_specs == [{"CPU": 0.5}, {"CPU": 0.5}]
    assert (group.bundle_count, group.is_empty) == (2, False)
    assert util.get_placement_group("pair") == group
    row = util.placement_group_table(group)
    assert (row["state"], row["strategy"], row["name"]) == ("CREATED", "PACK", "pair")
    assert util.placement_group_table()[group.id.hex()] == row
    with pytest.raises(exceptions.RaySystemError, match=r"taken|already exists"):
        util.placement_group([{"CPU": 1}], name="pair")


def test_a_group_travels(group: PlacementGroup) -> None:
    @core.remote(num_cpus=0)
    def use(given: PlacementGroup) -> Any:
        reserved = given.wait(30), core.get(given.ready()) == given
        util.remove_placement_group(given)
        return reserved, util.placement_group_table(given)["state"]

    assert core.get(use.remote(group), timeout=60) == ((True, True), "REMOVED")


def test_nothing_said_of_the_strategy_means_pack() -> None:
    group = util.placement_group([{"CPU": 1}], strategy=None)
    assert util.placement_group_table(group)["strategy"] == "PACK"
    util.remove_placement_group(group)


def test_a_removed_group_is_gone(engine: str, group: PlacementGroup) -> None:
    util.remove_placement_group(group)
    util.remove_placement_group(group)
    wait_until(lambda: core.available_resources().get("CPU") == core.cluster_resources()["CPU"])
    assert util.placement_group_table(group)["state"] == "REMOVED"
    with pytest.raises(exceptions.TaskPlacementGroupRemoved):
        core.get(group.ready())
    if engine != "ray":  # where such a task waits for ever
        with pytest.raises(exceptions.TaskPlacementGroupRemoved):
            core.get(remote_look().options(scheduling_strategy=in_group(group)).remote())
    with pytest.raises(ValueError, match="no placement group named 'pair'"):
        util.get_placement_group("pair")


@pytest.mark.parametrize(
    ("bundles", "strategy"),
    [([{"CPU": 99}], "PACK"), ([{"CPU": 1}, {"CPU": 1}], "STRICT_SPREAD")],
)
def test_a_group_that_does_not_fit_waits(bundles: list[dict[str, float]], strategy: str) -> None:
    group = util.placement_group(bundles, strategy)
    assert not group.wait(0.05)
    assert util.placement_group_table(group)["state"] == "PENDING"
    util.remove_placement_group(group)


def test_tasks_know_their_group_and_children_follow_if_they_are_to(group: PlacementGroup) -> None:
    look = remote_look()

    @core.remote
    class Parent:
        def look(self) -> Any:
            return core.get(look.remote())

    assert core.get(look.remote()) is None
    assert core.get(look.options(scheduling_strategy=in_group(group)).remote()) == group.id.hex()
    for captures in (True, False):
        strategy = in_group(group, placement_group_capture_child_tasks=captures)
        parent = Parent.options(scheduling_strategy=strategy, num_cpus=0).remote()
        assert core.get(parent.look.remote()) == (group.id.hex() if captures else None)


@pytest.mark.parametrize(
    "bundles", [[], [{}], [{"CPU": 0}], [{"CPU": -1}], [{"CPU": "a"}], "x", [1], {"CPU": 1}]
)
def test_bundles_that_cannot_be_are_refused(bundles: Any) -> None:
    with pytest.raises(ValueError, match=r"bundle|amount"):
        util.placement_group(bundles)


def test_strategies_that_cannot_be_are_refused(group: PlacementGroup) -> None:
    look = remote_look()
    for strategy, error in (("NEAR", ValueError), (3, TypeError)):
        with pytest.raises(error, match="scheduling_strategy"):
            look.options(scheduling_strategy=strategy)
    for index in (-2, 2):
        strategy = in_group(group, placement_group_bundle_index=index)
        with pytest.raises(ValueError, match=f"{index} is not one of"):
            look.options(scheduling_strategy=strategy)
    with pytest.raises(ValueError, match="does not fit"):
        look.options(scheduling_strategy=in_group(group), num_cpus=1)
    with pytest.raises(ValueError, match="strategy"):
        util.placement_group([{"CPU": 1}], strategy="NEAR")
    with pytest.raises(ValueError, match="lifetime"):
        util.placement_group([{"CPU": 1}], lifetime="long")


def test_affinity_to_a_node() -> None:
    look = remote_look()
    here = core.nodes()[0]["NodeID"]

    def run(node: str, soft: bool) -> Any:
        strategy = NodeAffinitySchedulingStrategy(node, soft)
        return core.get(look.options(scheduling_strategy=strategy).remote())

    assert run(here, False) is None
    assert run("ab" * 28, True) is None
    with pytest.raises(exceptions.TaskUnschedulableError):
        run("ab" * 28, False)
    with pytest.raises(ValueError, match="hexadecimal"):
        NodeAffinitySchedulingStrategy("zz", soft=False)


@pytest.mark.parametrize("strategy", ["DEFAULT", "SPREAD"])
def test_named_strategies(strategy: str) -> None:
    assert core.get(remote_look().options(scheduling_strategy=strategy).remote()) is None


def remote_read() -> Any:
    @core.remote
    def read(*names: str) -> list[str | None]:
        return [os.environ.get(name) for name in names]

    return read


def test_variables_are_merged_inherited_and_do_not_stay(engine: str) -> None:
    read = remote_read()

    @core.remote(runtime_env={"env_vars": {"OUTER": "1", "BOTH": "1"}})
    def parent() -> Any:
        inner = {"env_vars": {"INNER": "<${OUTER}>", "BOTH": "2"}}
        child = read.options(runtime_env=inner)
        return core.get(child.remote("OUTER", "INNER", "BOTH")), core.get(read.remote("BOTH"))

    outer = "" if engine == "ray" else "1"  # it looks variables up in its own environment only
    assert core.get(parent.remote()) == (["1", f"<{outer}>", "2"], ["1"])
    assert core.get(read.remote("OUTER", "INNER", "BOTH")) == [None, None, None]
    assert "OUTER" not in os.environ


def test_a_working_directory_and_modules(engine: str, tmp_path: Path) -> None:
    if engine == "ray":
        pytest.skip("Ray takes directories of a whole job only")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "data.txt").write_text("hello")
    (tmp_path / "lent_module_a").mkdir()
    (tmp_path / "lent_module_a" / "__init__.py").write_text("VALUE = 41")
    (tmp_path / "lent_module_b.py").write_text("VALUE = 1")
    modules = [tmp_path / "lent_module_a", str(tmp_path / "lent_module_b.py")]

    @core.remote(runtime_env={"working_dir": str(tmp_path / "work"), "py_modules": modules})
    class Reader:
        def read(self) -> Any:
            import lent_module_a
            import lent_module_b

            text = Path("data.txt").read_text()
            return text, lent_module_a.VALUE + lent_module_b.VALUE

    before = Path.cwd()
    assert core.get(Reader.remote().read.remote()) == ("hello", 42)
    assert Path.cwd() == before


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"pip": ["x"]}, ValueError, "'pip' is not supported"),
        ({"env_var": {}}, ValueError, "did you mean 'env_vars'"),
        ({"env_vars": {"A": 1}}, TypeError, "'A': 1"),
        ({"working_dir": "/nowhere"}, ValueError, "there is no '/nowhere'"),
        ({"working_dir": "s3://x/y.zip"}, ValueError, "URI"),
        ({"py_modules": "x"}, TypeError, "must be a list"),
        ({"excludes": ["x"]}, ValueError, "excludes"),
        ("x", TypeError, "dictionary"),
    ],
)
def test_environments_that_cannot_be_are_refused(
    given: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        remote_read().options(runtime_env=given)


def test_a_detached_actor_lives_without_handles() -> None:
    @core.remote(lifetime="detached", name="keeper")
    class Keeper:
        def get(self) -> int:
            return 7

    Keeper.remote()
    assert core.get(core.get_actor("keeper").get.remote()) == 7
    assert util.list_named_actors() == ["keeper"]
    (entry,) = util.list_named_actors(all_namespaces=True)
    assert entry["name"] == "keeper"
    assert core.get_actor(**entry) == core.get_actor("keeper")
    core.kill(core.get_actor("keeper"))
    wait_until(lambda: util.list_named_actors() == [])
    with pytest.raises(ValueError, match="lifetime"):
        Keeper.options(lifetime="long")


def test_a_kill_that_allows_a_restart_makes_a_new_instance(engine: str) -> None:
    if engine == "ray":
        pytest.skip("Ray ends the process a moment later, and answers calls until then")

    @core.remote(max_restarts=1, max_task_retries=-1)
    class Counter:
        def __init__(self, start: int) -> None:
            self.n = start

        def add(self) -> int:
            self.n += 1
            return self.n

        def restarted(self) -> bool:
            return core.get_runtime_context().was_current_actor_reconstructed

    counter = Counter.remote(10)
    assert core.get([counter.add.remote(), counter.add.remote()]) == [11, 12]
    core.kill(counter, no_restart=False)  # the process may answer for a moment yet
    wait_until(lambda: core.get(counter.restarted.remote()))
    assert core.get(counter.add.remote()) == 11
    core.kill(counter, no_restart=False)
    wait_until(lambda: isinstance(_error_of(counter.add), exceptions.ActorDiedError))


def _error_of(method: Any) -> Exception | None:
    try:
        core.get(method.remote())
    except exceptions.CoreError as error:
        return error
    return None


def test_the_error_of_a_constructor_is_the_cause(engine: str) -> None:
    @core.remote
    class Broken:
        def __init__(self) -> None:
            raise KeyError("missing")

        def f(self) -> None:
            """Never called."""

    with pytest.raises(exceptions.ActorDiedError) as caught:
        core.get(Broken.remote().f.remote())
    if engine == "ray":  # it tells the story only
        assert "KeyError: 'missing'" in str(caught.value)
        return
    assert isinstance(caught.value.__cause__, KeyError)
    assert isinstance(caught.value.__cause__, exceptions.TaskError)


def test_nodes_tells_of_one() -> None:
    (node,) = core.nodes()
    assert node["Alive"]
    assert node["Resources"].items() <= core.cluster_resources().items()
    bytes.fromhex(node["NodeID"])
