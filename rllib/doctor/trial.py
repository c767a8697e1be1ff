"""A short trial of the runtime and of training."""

import time
from collections.abc import Iterator

import numpy as np

from rllib import core
from rllib.config.file import load_plan
from rllib.doctor.facts import Fact, Level
from rllib.dry_run.probe import probe

CALLS, ARRAY_MIB = 500, 8
LEAST = {"start": 5.0, "calls": 1_000.0, "array": 0.2, "training": 2_000.0}
"""Start in seconds at most, the others at least; busy machines reach them, too."""


class _Echo:
    def same(self, value: object) -> object:
        return value


def trial() -> Iterator[Fact]:
    """Start the runtime, call an actor, move an array, and train for a moment.

    It needs no runtime to be there, and leaves none behind.
    """
    began = time.perf_counter()
    core.init(num_cpus=2)
    try:
        actor = core.remote(_Echo).remote()
        core.get(actor.same.remote(0))
        started = time.perf_counter() - began
        yield _fact(
            "start", f"runtime and an actor after {started:.2f} s", started <= LEAST["start"]
        )
        yield _calls(actor)
        yield _array(actor)
    finally:
        core.shutdown()
    yield _training()


def _calls(actor: object) -> Fact:
    began = time.perf_counter()
    for _ in range(CALLS):
        core.get(actor.same.remote(0))  # type: ignore[attr-defined]  # a handle
    rate = CALLS / (time.perf_counter() - began)
    return _fact(
        "actor calls", f"{rate:,.0f} a second, one after the other", rate >= LEAST["calls"]
    )


def _array(actor: object) -> Fact:
    array = np.ones(ARRAY_MIB << 17)
    began = time.perf_counter()
    for _ in range(5):
        core.get(actor.same.remote(array))  # type: ignore[attr-defined]
    rate = 5 * ARRAY_MIB / 1024 / (time.perf_counter() - began)
    return _fact("arrays", f"{rate:.1f} GiB/s there and back", rate >= LEAST["array"])


def _training() -> Fact:
    found = probe(load_plan("ppo_cartpole").config)
    rate = 1.0 / (found.sampling_s + found.learning_s)
    text = f"{rate:,.0f} env steps/s of PPO on CartPole in one process"
    return _fact("training", text, rate >= LEAST["training"])


def _fact(subject: str, text: str, is_fine: bool) -> Fact:
    level: Level = "ok" if is_fine else "warning"
    return Fact(level, subject, text if is_fine else f"{text}: slow; is the machine busy?")
