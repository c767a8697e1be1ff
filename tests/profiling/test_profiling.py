"""Where the time of a run goes: stacks, a flame graph, a trace, of every process."""

import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from patience import wait_until

from rllib import core
from rllib.errors import ConfigError
from rllib.metrics.stages import Stages
from rllib.profiling.flame import page, tree
from rllib.profiling.profile import duration
from rllib.profiling.sampler import ProcessSamples, Sampler, Seen, add
from rllib.profiling.trace import IterationSpan, spans, stage_events, within
from rllib.runs.session import Order, Session
from rllib.runs.signals import StopSignals

SEEN = [
    Seen(0, 10, 1, ("main", "sample")),
    Seen(10, 20, 1, ("main", "sample", "step")),
    Seen(20, 30, 1, ("main", "learn")),
    Seen(40, 50, 1, ("main", "learn")),
]


def test_looks_at_the_same_stack_are_one_entry() -> None:
    seen: list[Seen] = []
    for before, stack in ((0, "a"), (10, "a"), (20, "b"), (40, "b")):
        add(seen, before, before + 10, (stack,))
    assert seen == [
        Seen(0, 20, 2, ("a",)),
        Seen(20, 30, 1, ("b",)),
        Seen(40, 50, 1, ("b",)),
    ]


def test_functions_are_spans_within_one_another() -> None:
    assert sorted(spans(SEEN)) == [
        (0, 20, "sample"),
        (0, 30, "main"),
        (10, 20, "step"),
        (20, 30, "learn"),
        (40, 50, "learn"),  # nobody looked in between
        (40, 50, "main"),
    ]


def test_stages_follow_one_another_as_long_as_their_shares_are() -> None:
    stages = Stages(env_step=0.25, inference=0.5, learning=0.75, learner_waiting=0.25)
    events = list(stage_events([IterationSpan(3, 1000, 5000, stages)]))
    lengths = {e["name"]: (e["tid"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"}
    assert lengths == {
        "env_step": (1, 1.0, 1.0),
        "inference": (1, 2.0, 2.0),
        "learning": (2, 1.0, 3.0),
        "learner_waiting": (2, 4.0, 1.0),
    }
    named = ["process_name", "thread_name", "thread_name"]
    assert [e["name"] for e in within(events, 1500, 2500)] == [*named, "inference"]


def test_the_flame_graph_adds_stacks_up() -> None:
    root = tree(SEEN)
    main = root.children["main"]
    assert (root.looks, main.looks, main.children["learn"].looks) == (4, 4, 2)
    assert root.depth == 3
    html = page([ProcessSamples("EnvRunner", 7, {"MainThread": SEEN})], 0.05)
    shares = dict(re.findall(r"<title>(\w+): ([\d.]+%)</title>", html))
    assert shares == {"main": "100.0%", "sample": "50.0%", "step": "25.0%", "learn": "50.0%"}
    assert "http" not in html


def test_a_sampler_sees_what_a_thread_computes_and_not_who_waits() -> None:
    is_over, both_are_there = threading.Event(), threading.Barrier(3)

    def compute() -> None:
        both_are_there.wait()
        while not is_over.is_set():
            sum(range(1000))

    def wait() -> None:
        both_are_there.wait()
        is_over.wait()

    workers = [
        threading.Thread(target=compute, name="busy"),
        threading.Thread(target=wait, name="waits"),
    ]
    for worker in workers:
        worker.start()
    both_are_there.wait()
    sampler = Sampler("test", hz=500)
    try:
        wait_until(lambda: "busy" in sampler._threads)
    finally:
        samples = sampler.stop()
        is_over.set()
        for worker in workers:
            worker.join()
    assert any("compute" in name for each in samples.threads["busy"] for name in each.stack)
    waited = sum(each.looks for each in samples.threads.get("waits", []))
    assert waited <= 1  # while it began to wait
    assert samples.threads["MainThread"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("2m", 120), ("0.5", 0.5), ("1min", 60)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "soon", "-1s", "1h30"])
def test_what_is_no_duration_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="write it as 30s or 2m"):
        duration(text)


SMALL = (
    *("train_batch_size_per_learner=256", "minibatch_size=null", "num_epochs=1"),
    *("model_config.fcnet_hiddens=[16]", "num_envs_per_env_runner=4"),
)


def profiled(folder: Path, *overrides: str, profile: str = "1m") -> list[dict[str, Any]]:
    order = Order(
        "ppo_cartpole",
        (*SMALL, *overrides),
        ("training_iteration=3",),
        runs_dir=folder,
        profile=profile,
    )
    with StopSignals().installed() as signals:
        assert Session(order).execute(signals) == 0
    files = folder / "ppo_cartpole" / "profile"
    assert (files / "flame.html").read_text().startswith("<!doctype html>")
    events: list[dict[str, Any]] = json.loads((files / "trace.json").read_text())
    return events


def names(events: list[dict[str, Any]], kind: str) -> list[str]:
    return [event["args"]["name"] for event in events if event["name"] == kind]


def test_a_run_that_ends_sooner_writes_what_there_is(tmp_path: Path) -> None:
    events = profiled(tmp_path, "num_env_runners=0", "num_learners=0")
    assert [name for name in names(events, "process_name") if "rllib train" in name]
    iterations = {event["args"]["iteration"] for event in events if event.get("cat") == "stage"}
    assert iterations == {1, 2, 3}


def test_every_process_is_in_the_trace_with_its_calls(tmp_path: Path) -> None:
    events = profiled(tmp_path, "num_env_runners=2", "num_learners=1", profile="0.001")
    assert not core.is_initialized()
    processes = names(events, "process_name")
    assert len({name for name in processes if name.startswith("EnvRunner ")}) == 2
    assert [name for name in processes if name.startswith("PPOLearner ")]
    assert {event["args"]["iteration"] for event in events if event.get("cat") == "stage"} == {1}
    assert "actor_task" in {event.get("cat") for event in events}
