"""An algorithm without learning, so that runs can be tested in milliseconds.

It counts, draws a random number per iteration, and does on purpose what a test asks for: by its
config, or, where the same config is to run again without it, by environment variables
(``BLOCK_AT``: the iteration that never ends, ``BLOCK_IN_STOP``: clean-up that never ends).
"""

import os
import random
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

from rllib.checkpoints import checkpoint
from rllib.checkpoints.snapshot import Snapshot
from rllib.config import AlgorithmConfig
from rllib.errors import EnvError


class CountingConfig(AlgorithmConfig):
    algo = "counting_algo:Counting"

    steps_per_iteration: int = 100
    """Env steps that one iteration pretends to sample."""
    fail_at: int | None = None
    """Iteration in which the environment raises."""


class Counting:
    config_class: ClassVar[type[AlgorithmConfig]] = CountingConfig

    def __init__(self, config: CountingConfig) -> None:
        self.config = config
        self.iteration = 0
        self.random = random.Random(config.seed)

    def train(self) -> dict[str, Any]:
        self.iteration += 1
        if str(self.iteration) == os.environ.get("BLOCK_AT"):
            print("blocking", flush=True)
            threading.Event().wait()
        if self.iteration == self.config.fail_at:
            fail_as_an_env_does()
        steps = self.iteration * self.config.steps_per_iteration
        return {
            "training_iteration": self.iteration,
            "num_env_steps_sampled_lifetime": steps,
            "env_runners": {"episode_return_mean": self.random.random()},
            "learners": {"default_policy": {"total_loss": float("nan")}},
            "config": {"lr": 1.0},
        }

    def snapshot(self, saved_rows: Any = None) -> Snapshot:
        version, numbers, gauss = self.random.getstate()
        state = {"iteration": self.iteration, "random": [version, list(numbers), gauss]}
        weights = {"modules": {}}
        facts = {"training_iteration": self.iteration, **self.config.get_state()}
        return Snapshot(state | {"learner": weights}, facts)

    def tell_saved(self, path: str | Path) -> None:
        """Nobody is to be told."""

    def restore_from_path(self, path: str | Path) -> None:
        state, _ = checkpoint.load(path)
        self.iteration = state["iteration"]
        version, numbers, gauss = state["random"]
        self.random.setstate((version, tuple(numbers), gauss))

    def stop(self) -> None:
        if "BLOCK_IN_STOP" in os.environ:
            threading.Event().wait()


def fail_as_an_env_does() -> None:
    try:
        sys.intern(17)  # type: ignore[arg-type]
    except TypeError as error:
        raise EnvError("env 3 raised in step 42", env_index=3, step=42) from error
