"""Metrics: what adds up, what is refused, what reaches whoever asks."""

import pickle
from typing import Any

import pytest
from patience import wait_until

from rllib import core
from rllib.core.measurements import Measurement, Measurements, Series
from rllib.core.util import metrics
from rllib.core.util.metrics import Counter, Gauge, Histogram, collect, prometheus_text


def counter(value: float, name: str = "c") -> Measurement:
    return Measurement(Series("counter", name, "", ()), value)


def found(name: str) -> dict[tuple[tuple[str, str], ...], tuple[Any, ...]]:
    """Values (with a histogram's counts) of a metric, by tags."""
    return {m.series.tags: m[1:] for m in collect() if m.series.name == name}


# -- arithmetic ------------------------------------------------------------------------------------


def test_counters_and_histograms_add_up_and_gauges_do_not() -> None:
    table = Measurements()
    gauge = Series("gauge", "g", "", ())
    histogram = Series("histogram", "h", "", (), (1.0, 2.0))
    table.update([counter(2), Measurement(gauge, 7), Measurement(histogram, 1.5, (0, 1, 0))])
    table.update([counter(3), Measurement(gauge, 4), Measurement(histogram, 9.0, (0, 0, 1))])
    assert table.all() == [
        counter(5),
        Measurement(gauge, 4),
        Measurement(histogram, 10.5, (0, 1, 1)),
    ]
    assert len(table.take()) == 3
    assert table.all() == []


def test_prometheus_text() -> None:
    tags = (("env", 'a"b\\c'),)
    text = prometheus_text(
        [
            Measurement(Series("gauge", "lag", "of\npolicies", ()), 0.5),
            Measurement(Series("counter", "steps", "Steps", tags), 12345678.0),
            Measurement(Series("histogram", "wait_s", "", (), (0.1, 1.0)), 3.25, (1, 2, 1)),
        ]
    )
    assert text.splitlines() == [
        "# HELP lag of\\npolicies",
        "# TYPE lag gauge",
        "lag 0.5",
        "# HELP steps Steps",
        "# TYPE steps counter",
        'steps{env="a\\"b\\\\c"} 12345678',
        "# HELP wait_s ",
        "# TYPE wait_s histogram",
        'wait_s_bucket{le="0.1"} 1',
        'wait_s_bucket{le="1"} 3',
        'wait_s_bucket{le="+Inf"} 4',
        "wait_s_sum 3.25",
        "wait_s_count 4",
    ]
    assert prometheus_text([]) == ""


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1])
def test_a_counter_only_grows(value: float) -> None:
    with pytest.raises(ValueError, match="can only grow"):
        Counter("c").inc(value)


def test_values_are_numbers() -> None:
    for record in (Counter("c").inc, Gauge("g").set, Histogram("h", boundaries=[1]).observe):
        with pytest.raises(TypeError, match="number"):
            record("3")  # type: ignore[arg-type]


def test_tags_are_those_declared() -> None:
    metric = Counter("c", tag_keys=("env", "run"))
    with pytest.raises(ValueError, match="no tag 'policy'; its tags are env, run"):
        metric.inc(tags={"policy": "p"})
    with pytest.raises(ValueError, match="needs values for tags env, run"):
        metric.inc()
    with pytest.raises(ValueError, match="needs values for tags run"):
        metric.inc(tags={"env": "e"})
    with pytest.raises(TypeError, match="must be a str"):
        metric.inc(tags={"env": 3})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="no tag"):
        metric.set_default_tags({"x": "y"})
    with pytest.raises(TypeError, match="tuple"):
        Counter("c", tag_keys=["env"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="strings"):
        Counter("c", tag_keys=(1,))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "1st", "a-b", "a b"])
def test_names_are_those_that_prometheus_takes(name: str) -> None:
    with pytest.raises(ValueError, match="metric name"):
        Gauge(name)


@pytest.mark.parametrize("boundaries", [None, [], [0, 1], [-1], [2, 1], [1, 1]])
def test_boundaries_are_positive_and_ascending(boundaries: list[float] | None) -> None:
    with pytest.raises(ValueError, match="boundaries"):
        Histogram("h", boundaries=boundaries)


# -- one runtime each ------------------------------------------------------------------------------


def test_without_a_runtime_a_process_sees_its_own_and_starts_none() -> None:
    Counter("early").inc(2)
    assert found("early") == {(): (2.0, ())}
    assert not core.is_initialized()
    with core.init("inline"):
        assert found("early") == {(): (2.0, ())}
    assert found("early") == {}


def test_recording_is_cheap_between_reports() -> None:
    """A thousand recordings are a few reports, not a thousand messages."""
    reports = []
    with core.init(num_cpus=1):
        engine = core.api.runtime()
        real = engine.report
        engine.report = lambda found: reports.append(found) or real(found)  # type: ignore
        metric = Counter("many")
        for _ in range(1000):
            metric.inc()
        assert found("many") == {(): (1000.0, ())}
        assert len(reports) <= 3
        wait_until(lambda: not metrics._reporter._following_up)


# -- recording -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
class TestRecording:
    def test_this_process_sees_its_own_at_once(self) -> None:
        steps = Counter("own_steps", tag_keys=("env",))
        for env, count in (("a", 1), ("b", 2), ("a", 3.5)):
            steps.inc(count, tags={"env": env})
        assert found("own_steps") == {(("env", "a"),): (4.5, ()), (("env", "b"),): (2.0, ())}

    def test_a_gauge_keeps_the_last_value(self) -> None:
        gauge = Gauge("own_gauge")
        for value in (1, -2, None):
            gauge.set(value)
        assert found("own_gauge") == {(): (-2.0, ())}

    def test_a_histogram_counts_by_bucket(self) -> None:
        histogram = Histogram("own_histogram", boundaries=[1, 2])
        for value in (0.5, 1, 1.5, 2, 7):
            histogram.observe(value)
        assert found("own_histogram") == {(): (12.0, (2, 2, 1))}
        assert histogram.info["boundaries"] == [1.0, 2.0]

    def test_default_tags_can_be_overridden(self) -> None:
        metric = Counter("with_defaults", tag_keys=("env",)).set_default_tags({"env": "d"})
        metric.inc()
        metric.inc(tags={"env": "e"})
        assert found("with_defaults") == {(("env", "d"),): (1.0, ()), (("env", "e"),): (1.0, ())}

    def test_metrics_travel_with_their_default_tags(self) -> None:
        metric = Counter("travels", "text", ("env",)).set_default_tags({"env": "d"})
        copy = pickle.loads(pickle.dumps(metric))
        assert copy.info == metric.info
        assert copy.info["description"] == "text"

    def test_processes_add_up_and_outlive_themselves(self) -> None:
        @core.remote(num_cpus=0)
        class Runner:
            def __init__(self) -> None:
                self.steps = Counter("all_steps")

            def step(self, count: int) -> int:
                self.steps.inc(count)
                return count

        runners = [Runner.remote() for _ in range(2)]
        core.get([runner.step.remote(5) for runner in runners for _ in range(3)])
        Counter("all_steps").inc(1)
        wait_until(lambda: found("all_steps") == {(): (31.0, ())})
        for runner in runners:
            core.kill(runner)
        assert found("all_steps") == {(): (31.0, ())}

    def test_any_process_can_ask(self) -> None:
        @core.remote(num_cpus=0)
        def ask() -> list[Any]:
            return [m for m in collect() if m.series.name == "seen_elsewhere"]

        Counter("seen_elsewhere").inc(2)
        collect()
        assert [m.value for m in core.get(ask.remote())] == [2.0]
