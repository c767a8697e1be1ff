"""Runs of a few iterations, to look at."""

from pathlib import Path

from rllib.results.saved import SavedRun, find_run
from rllib.runs.session import Order, Session
from rllib.runs.signals import StopSignals

SMALL = (
    *("num_env_runners=0", "num_learners=0", "train_batch_size_per_learner=256"),
    *("minibatch_size=null", "num_epochs=1", "model_config.fcnet_hiddens=[16]"),
)


def train(
    folder: Path, name: str, *overrides: str, preset: str = "ppo_cartpole", until: int = 4
) -> SavedRun:
    """A run of a few iterations, in this process."""
    stop = (f"training_iteration={until}",)
    order = Order(preset, (*SMALL, *overrides), stop, name=name, runs_dir=folder)
    with StopSignals().installed() as signals:
        assert Session(order).execute(signals) == 0
    return find_run(name, folder)
