"""Metrics of one's own: by hand, and put together from parts as if all had been in one place."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rllib.metrics.metrics_logger import MetricsLogger
from rllib.metrics.stats import KINDS, REDUCTIONS, make_stats, number

HOW: list[dict[str, Any]] = [
    {"reduce": "mean"},
    {"reduce": "mean", "window": 3},
    {"reduce": "ema", "ema_coeff": 0.25},
    {"reduce": "min"},
    {"reduce": "min", "window": 2},
    {"reduce": "max"},
    {"reduce": "sum"},
    {"reduce": "sum", "window": 2},
    {"reduce": "lifetime_sum"},
    {"reduce": "item"},
    {"reduce": "item_series"},
    {"reduce": "percentiles", "percentiles": [0, 30, 100]},
]
values = st.lists(st.integers(-100, 100), max_size=6)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"reduce": "mean"}, 2.5),
        ({"reduce": "mean", "window": 2}, 3.5),
        ({"reduce": "ema", "ema_coeff": 0.5}, 0.125 + 2 * 0.125 + 3 * 0.25 + 4 * 0.5),
        ({}, 1.0 * 0.99**3 + 0.01 * (2 * 0.99**2 + 3 * 0.99 + 4)),
        ({"window": 3}, 3.0),
        ({"reduce": "min"}, 1),
        ({"reduce": "min", "window": 2}, 3),
        ({"reduce": "max"}, 4),
        ({"reduce": "sum"}, 10),
        ({"reduce": "sum", "window": 2}, 7),
        ({"reduce": "lifetime_sum"}, 10),
        ({"reduce": "item"}, 4),
        ({"reduce": "item_series"}, [1, 2, 3, 4]),
        ({"reduce": "item_series", "window": 2}, [3, 4]),
        (
            {"reduce": "percentiles", "percentiles": [0, 25, 50, 100]},
            {0: 1, 25: 1.75, 50: 2.5, 100: 4},
        ),
    ],
)
def test_four_values_become_one(how: dict[str, Any], expected: Any) -> None:
    logger = MetricsLogger()
    for value in (1, 2, 3, 4):
        logger.log_value("x", value, **how)
    found = logger.peek("x")
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)
    assert logger.compile() == {"x": found}


@given(st.lists(st.floats(-1e3, 1e3), min_size=1), st.lists(st.floats(0, 100), min_size=1))
def test_percentiles_are_those_of_numpy(numbers: list[float], percents: list[float]) -> None:
    stats = make_stats("percentiles", percentiles=percents)
    for each in numbers:
        stats.push(each)
    expected = {p: np.percentile(numbers, p) for p in percents}
    assert stats.value() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("how", HOW)
@given(parts=st.lists(values, min_size=1, max_size=4))
def test_parts_put_together_are_as_if_all_had_been_in_one_place(
    how: dict[str, Any], parts: list[list[int]]
) -> None:
    whole, root = MetricsLogger(), MetricsLogger()
    for part in parts:
        worker = MetricsLogger()
        for value in part:
            worker.log_value(("a", "b"), value, **how)
            whole.log_value(("env_runners", "a", "b"), value, **how)
        root.aggregate([worker.reduce()], key="env_runners")
    if any(parts):
        key = ("env_runners", "a", "b")
        assert root.peek(key) == pytest.approx(whole.peek(key))
    else:
        assert root.compile() == {}


# From iteration to iteration.


@pytest.mark.parametrize(
    ("how", "after"),
    [
        ({"reduce": "mean"}, [1.5, 1.5, 8.0]),
        ({"reduce": "mean", "window": 2}, [1.5, 1.5, 5.0]),
        ({"reduce": "mean", "window": 2, "clear_on_reduce": True}, [1.5, 1.5, 8.0]),
        ({"reduce": "ema", "ema_coeff": 0.5}, [1.5, 1.5, 4.75]),
        ({"reduce": "ema", "ema_coeff": 0.5, "clear_on_reduce": True}, [1.5, 1.5, 8.0]),
        ({"reduce": "min"}, [1, 1, 8]),
        ({"reduce": "sum"}, [3, 0, 8]),
        ({"reduce": "sum", "clear_on_reduce": False}, [3, 3, 11]),
        ({"reduce": "lifetime_sum"}, [3, 3, 11]),
        ({"reduce": "item"}, [2, 2, 8]),
        ({"reduce": "item_series"}, [[1, 2], [], [8]]),
        ({"reduce": "percentiles", "percentiles": [50]}, [{50: 1.5}, {50: 1.5}, {50: 8}]),
    ],
)
def test_an_iteration_without_values_has_the_metric_all_the_same(
    how: dict[str, Any], after: list[Any]
) -> None:
    worker, root = MetricsLogger(), MetricsLogger()
    found = []
    for logged in ([1, 2], [], [8]):
        for value in logged:
            worker.log_value("x", value, **how)
        root.aggregate([worker.reduce()])
        found.append(root.compile()["x"])
    assert found == pytest.approx(after) if isinstance(after[0], float) else found == after


def test_a_metric_may_come_late() -> None:
    worker, root = MetricsLogger(), MetricsLogger()
    root.aggregate([worker.reduce()])
    assert root.compile() == {}
    worker.log_value("late", 3, reduce="mean")
    root.aggregate([worker.reduce()])
    assert root.compile() == {"late": 3.0}


def test_what_was_handed_over_is_not_handed_over_again() -> None:
    worker, root = MetricsLogger(), MetricsLogger()
    worker.log_value("n", 2, reduce="lifetime_sum")
    for _ in range(3):
        root.aggregate([worker.reduce()])
    assert root.peek("n") == 2


# Values.


@pytest.mark.parametrize(
    "value", [2, 2.0, np.float32(2), np.int64(2), np.array(2.0), torch.tensor(2.0), torch.tensor(2)]
)
def test_scalars_of_all_kinds_are_numbers(value: Any) -> None:
    assert number(value) == 2
    assert type(number(value)) in (int, float)


@pytest.mark.parametrize("reduce", ["mean", "ema", "min", "max", "sum", "percentiles"])
def test_nan_says_nothing(reduce: str) -> None:
    stats = make_stats(reduce, percentiles=[50] if reduce == "percentiles" else None)
    for value in (math.nan, 3.0, math.nan):
        stats.push(value)
    assert stats.value() == ({50: 3.0} if reduce == "percentiles" else 3.0)


def test_a_minimum_takes_no_memory_for_its_past() -> None:
    stats = make_stats("min")
    for value in range(100, 0, -1):
        stats.push(value)
    assert (stats.value(), len(stats.values)) == (1, 1)  # type: ignore[attr-defined]


def test_a_dict_is_logged_by_its_leaves() -> None:
    logger = MetricsLogger()
    for value in (1.0, 3.0):
        logger.log_dict({"a": value, "b": {"c": value}}, key="top")
    logger.log_dict({"d": 5}, reduce="sum")
    assert logger.compile() == {"top": {"a": 2.0, "b": {"c": 2.0}}, "d": 5}


# Time.


def test_a_block_is_timed() -> None:
    clock = Clock()
    logger = MetricsLogger(clock)
    for seconds in (1.0, 3.0):
        with logger.log_time(("timers", "step"), reduce="mean"):
            clock.now += seconds
    assert logger.compile() == {"timers": {"step": 2.0}}


def test_a_sum_tells_what_is_added_per_second() -> None:
    clock = Clock()
    logger = MetricsLogger(clock)
    logger.log_value(("a", "n"), 0, reduce="lifetime_sum", with_throughput=True)
    logger.log_value(("a", "n"), 20)
    clock.now = 4.0
    assert logger.peek(("a", "n"), throughput=True) == 5.0
    assert logger.compile() == {"a": {"n": 20, "n_throughput": 5.0}}
    logger.log_value(("a", "n"), 6)
    clock.now = 6.0
    assert logger.compile() == {"a": {"n": 26, "n_throughput": 3.0}}


# Keys.


def test_keys_are_found_deleted_and_forgotten() -> None:
    logger = MetricsLogger()
    logger.log_value(("a", "b"), 1, reduce="sum")
    logger.log_value(("a", "c"), 2, reduce="sum")
    assert "a" in logger
    assert ("a", "b") in logger
    assert "b" not in logger
    assert logger.peek("a") == {"b": 1, "c": 2} == logger.peek()["a"]
    assert logger.peek("b", default=7) == 7
    logger.delete("a", "b")
    logger.delete("a", "b", key_error=False)
    assert logger.peek() == {"a": {"c": 2}}
    for missing in (lambda: logger.peek("b"), lambda: logger.delete("b")):
        with pytest.raises(KeyError, match="the metric 'b'"):
            missing()
    logger.reset()
    assert logger.peek() == {}


@pytest.mark.parametrize(
    ("key", "how", "message"),
    [
        ("x", {"reduce": "max"}, "the metric 'x' is logged with reduce='sum', not 'max'"),
        (("x", "y"), {}, "the metric 'x/y' cannot stand beside the metric 'x'"),
        ("new", {"reduce": "median"}, "reduce='median': should be one of mean, ema, min, max, sum"),
        ("new", {"reduce": "mean", "ema_coeff": 0.1}, "ema_coeff belongs to reduce='ema', not "),
        ("new", {"reduce": "sum", "percentiles": True}, "percentiles belongs to reduce='percentil"),
        ("new", {"reduce": "ema", "window": 3}, "window=3 means nothing for reduce='ema'"),
        ("new", {"reduce": "mean", "window": 0}, "window=0 means nothing"),
        ("new", {"with_throughput": True}, "only a sum has a throughput, not 'ema'"),
    ],
)
def test_what_contradicts_itself_is_explained(key: Any, how: dict[str, Any], message: str) -> None:
    logger = MetricsLogger()
    logger.log_value("x", 1, reduce="sum")
    with pytest.raises(ValueError) as caught:
        logger.log_value(key, 1, **how)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", ["abc", np.ones(3), None])
def test_what_is_no_number_is_told_with_its_name(value: Any) -> None:
    with pytest.raises(ValueError, match=r"the metric 'a/b': .* is no number, which 'max' takes"):
        MetricsLogger().log_value(("a", "b"), value, reduce="max")


def test_a_window_is_a_whole_number() -> None:
    with pytest.raises(ValueError, match="window=inf: should be a whole number; leave it out"):
        MetricsLogger().log_value("a", 1, window=float("inf"))  # type: ignore[arg-type]


def test_workers_that_disagree_are_told() -> None:
    workers = [MetricsLogger(), MetricsLogger()]
    for worker, reduce in zip(workers, ("max", "sum"), strict=True):
        worker.log_value("x", 1, reduce=reduce)
    with pytest.raises(ValueError, match="reduce='sum' in one place and 'max' in another"):
        MetricsLogger().aggregate([worker.reduce() for worker in workers])


# States.


def test_all_kinds_of_metrics_go_on_from_their_state() -> None:
    logger, clock = MetricsLogger(), Clock()
    for i, how in enumerate(HOW):
        for value in (3, 1, 2):
            logger.log_value(str(i), value, **how)
    logger.compile()
    for i in range(0, len(HOW), 2):
        logger.log_value(str(i), 7)
    twin = MetricsLogger(clock)
    twin.set_state(json.loads(json.dumps(logger.get_state())))
    for each in (logger, twin):
        each.log_value("0", 9)
    lost = {str(i) for i, how in enumerate(HOW) if how["reduce"] == "percentiles"}
    expected, found = logger.compile(), twin.compile()
    assert {k: v for k, v in found.items() if k not in lost} == {
        k: v for k, v in expected.items() if k not in lost
    }
    assert found.keys() == expected.keys()
    assert {stats.kind for stats in map(make_stats, REDUCTIONS)} <= set(KINDS)


def test_peeking_takes_rllibs_arguments():
    logger = MetricsLogger()
    logger.log_value("hits", 2, reduce="sum")
    assert logger.peek(None) == logger.peek() == {"hits": 2}
    assert logger.peek("misses", default=7) == 7
    assert logger.peek("misses", default=7, throughput=True) == 7
    assert logger.peek("hits", compile=True) == 2
    with pytest.raises(ValueError, match=r"see reduce\(\)"):
        logger.peek("hits", compile=False)


@pytest.mark.parametrize(
    "how", [{"throughput_ema_coeff": 0.1}, {"reduce_per_index_on_aggregate": True}]
)
def test_rllibs_arguments_that_are_not_supported_say_so(how):
    logger = MetricsLogger()
    (name,) = how
    with pytest.raises(ValueError, match=f"{name} is not supported: "):
        logger.log_value("hits", 1, reduce="sum", **how)
    with pytest.raises(ValueError, match=f"{name} is not supported: "):
        logger.log_dict({"hits": 1}, reduce="sum", **how)
    assert "hits" not in logger
