"""Labels of machines: what selectors mean, and that they hold on every engine."""

from typing import Any

import pytest
from engines import LABELS

from rllib import core
from rllib.core import exceptions, util
from rllib.core.labels import NODE_ID, alternatives, both, matches, parse
from rllib.core.util.scheduling_strategies import (
    DoesNotExist,
    Exists,
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
    PlacementGroupSchedulingStrategy,
)

HOLD = [
    {"zone": "b"},
    {"zone": "!a"},
    {"zone": "in(a,b)"},
    {"zone": "in(a, b)"},
    {"zone": "!in(a, c)"},
    {"tier": "!gold"},
    {"zone": "b", "tier": "!in(gold)"},
    {},
]
FAIL = [
    {"zone": "a"},
    {"zone": "!b"},
    {"zone": "in(a, c)"},
    {"zone": "!in(a, b)"},
    {"zone": "b", "tier": "gold"},
    {"tier": ""},
    {"zone": ""},
]


@pytest.mark.parametrize("selector", [*HOLD, *FAIL], ids=str)
def test_what_a_selector_means(selector: dict[str, str]) -> None:
    checked = core.remote(label_selector=selector)(print)._options.label_selector
    assert all(each.holds({"zone": "b"}) for each in parse(checked)) == (selector in HOLD)


def test_one_of_several_selectors_will_do() -> None:
    here = {"zone": "b"}
    assert matches(here, alternatives({"zone": "a"}, [{"label_selector": {"zone": "b"}}]))
    assert not matches(here, alternatives({"zone": "a"}, [{"label_selector": {"zone": "c"}}]))
    assert alternatives({"zone": "a"}, [{"label_selector": {}}]) == ()
    assert alternatives({}, [{"label_selector": {"zone": "c"}}]) == ()


def test_two_demands_must_both_be_met() -> None:
    one, two, three = (parse({"zone": zone}) for zone in "abc")
    assert both((one, two), (three,)) == (one + three, two + three)
    assert both((), (one,)) == both((one,), ()) == (one,)


@pytest.fixture
def look(engine: str) -> Any:
    @core.remote(num_cpus=0)
    def look() -> dict[str, str]:
        return core.get_runtime_context().get_node_labels()

    return look


def test_the_machine_tells_its_labels(look: Any) -> None:
    node = core.get_runtime_context().get_node_id()
    assert core.nodes()[0]["Labels"] == {**LABELS, NODE_ID: node}
    assert core.get(look.remote()) == {**LABELS, NODE_ID: node}


@pytest.mark.parametrize("selector", HOLD, ids=str)
def test_what_has_its_labels_runs(look: Any, selector: dict[str, str]) -> None:
    assert core.get(look.options(label_selector=selector).remote(), timeout=30)["zone"] == "b"


def test_the_id_of_the_machine_is_a_label(look: Any) -> None:
    node = core.get_runtime_context().get_node_id()
    assert core.get(look.options(label_selector={NODE_ID: node}).remote(), timeout=30)
    assert_waits(look.options(label_selector={NODE_ID: f"!{node}"}).remote())


def assert_waits(ref: Any) -> None:
    """It does not run; the serial engine, where nothing changes, says so."""
    if core.api.runtime().serial:
        with pytest.raises(exceptions.TaskUnschedulableError, match="no node has the labels"):
            core.get(ref)
    else:
        assert core.wait([ref], timeout=0.2)[0] == []
        core.cancel(ref)
        with pytest.raises(exceptions.TaskCancelledError):
            core.get(ref, timeout=30)


@pytest.mark.parametrize("selector", FAIL, ids=str)
def test_what_lacks_its_labels_waits(look: Any, selector: dict[str, str]) -> None:
    assert_waits(look.options(label_selector=selector).remote())


def test_what_falls_back_runs(look: Any) -> None:
    wanted = {"label_selector": {"zone": "q"}}
    fallbacks = [{"label_selector": {"zone": zone}} for zone in ("z", "b")]
    assert core.get(look.options(**wanted, fallback_strategy=fallbacks).remote(), timeout=30)
    assert core.get(look.options(fallback_strategy=fallbacks[:1]).remote(), timeout=30)
    assert_waits(look.options(**wanted, fallback_strategy=fallbacks[:1]).remote())


def test_children_do_not_inherit_labels(look: Any) -> None:
    @core.remote(num_cpus=0)
    def parent() -> Any:
        return core.get(look.remote())

    assert core.get(parent.options(label_selector={"zone": "b"}).remote(), timeout=30)


def test_actors_have_selectors(engine: str) -> None:
    @core.remote(num_cpus=0, label_selector={"zone": "b"})
    class Actor:
        def here(self) -> bool:
            return True

    assert core.get(Actor.remote().here.remote(), timeout=30)
    lost = Actor.options(label_selector={"zone": "c"}).remote()
    if engine == "inline":
        with pytest.raises(exceptions.TaskUnschedulableError):
            core.get(lost.here.remote())
    else:
        assert core.wait([lost.here.remote()], timeout=0.2)[0] == []


def test_a_node_with_other_labels_cannot_be_had(look: Any) -> None:
    here = NodeAffinitySchedulingStrategy(core.get_runtime_context().get_node_id(), soft=False)
    on_it = look.options(scheduling_strategy=here, label_selector={"zone": "b"})
    assert core.get(on_it.remote(), timeout=30)
    with pytest.raises(exceptions.TaskUnschedulableError):
        core.get(on_it.options(label_selector={"zone": "c"}).remote(), timeout=30)


HARD_HOLD: list[Any] = [
    {"zone": In("a", "b")},
    {"zone": NotIn("a")},
    {"zone": Exists(), "tier": DoesNotExist()},
    {"tier": NotIn("gold")},
]


@pytest.mark.parametrize("hard", HARD_HOLD, ids=str)
def test_a_strategy_of_labels_that_hold(look: Any, hard: Any) -> None:
    strategy = NodeLabelSchedulingStrategy(hard, soft={"zone": In("x")})
    assert core.get(look.options(scheduling_strategy=strategy).remote(), timeout=30)


@pytest.mark.parametrize(
    "hard",
    [{"zone": In("a")}, {"zone": NotIn("b")}, {"zone": DoesNotExist()}, {"tier": Exists()}],
    ids=str,
)
def test_a_strategy_of_labels_that_do_not_hold(look: Any, hard: Any) -> None:
    strategy = NodeLabelSchedulingStrategy(hard)
    assert_waits(look.options(scheduling_strategy=strategy).remote())


def test_a_strategy_and_a_selector_must_both_hold(look: Any) -> None:
    strategy = NodeLabelSchedulingStrategy({"zone": In("b")})
    chosen = look.options(scheduling_strategy=strategy, label_selector={"zone": "q"})
    assert_waits(chosen.remote())


def test_a_group_of_labelled_bundles(engine: str) -> None:
    group = util.placement_group([{"CPU": 1}], bundle_label_selector=[{"zone": "b"}])
    core.get(group.ready(), timeout=30)
    strategy = PlacementGroupSchedulingStrategy(group)
    inside = core.remote(num_cpus=1, scheduling_strategy=strategy)(lambda: 1)
    assert core.get(inside.options(label_selector={"zone": "b"}).remote(), timeout=30) == 1
    util.remove_placement_group(group)
    nowhere = util.placement_group([{"CPU": 1}], bundle_label_selector=[{"zone": "c"}])
    assert not nowhere.wait(0.2)
    util.remove_placement_group(nowhere)
    for wrong in ([], "b", [3], [{"zone": 3}], [{"zone": "in()"}]):
        with pytest.raises(ValueError, match=r"label.selector"):
            util.placement_group([{"CPU": 1}], bundle_label_selector=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("selector", "error"),
    [
        ("zone", TypeError),
        ({"zone": 3}, TypeError),
        ({3: "a"}, TypeError),
        ({"zone": None}, ValueError),
        ({"zone": "in()"}, ValueError),
        ({"zone": "-a"}, ValueError),
        ({"zone": "!!a"}, ValueError),
        ({"zone": "!"}, ValueError),
        ({"zone": "in(a,  b)"}, ValueError),
        ({"zone": "a" * 64}, ValueError),
        ({"-zone": "a"}, ValueError),
        ({"a/b/c": "x"}, ValueError),
    ],
    ids=str,
)
def test_selectors_that_cannot_be_are_refused(selector: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="label"):
        core.remote(label_selector=selector)(print)


@pytest.mark.parametrize(
    ("fallbacks", "error"),
    [
        ("zone", TypeError),
        (({"label_selector": {"zone": "b"}},), TypeError),
        ([3], ValueError),
        ([{}], ValueError),
        ([{"num_cpus": 1}], ValueError),
        ([{"label_selector": 3}], ValueError),
        ([{"label_selector": {"zone": "in()"}}], ValueError),
    ],
    ids=str,
)
def test_fallbacks_that_cannot_be_are_refused(fallbacks: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"fallback_strategy|label_selector"):
        core.remote(fallback_strategy=fallbacks)(print)


@pytest.mark.parametrize(
    "make",
    [
        In,
        lambda: NotIn(3),  # type: ignore[arg-type]
        lambda: NodeLabelSchedulingStrategy({}),
        lambda: NodeLabelSchedulingStrategy({"zone": "b"}),  # type: ignore[dict-item]
        lambda: NodeLabelSchedulingStrategy({3: Exists()}),  # type: ignore[dict-item]
        lambda: NodeLabelSchedulingStrategy({}, soft=[Exists()]),  # type: ignore[arg-type]
    ],
)
def test_strategies_of_labels_that_cannot_be_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"text|label|soft|hard"):
        make()
