"""The learners of an algorithm, wherever they are. There is one at present."""

from collections.abc import Sequence
from typing import Any

from rllib.config import AlgorithmConfig
from rllib.envs.make import Spaces
from rllib.learner import Learner, Metrics
from rllib.workers import Worker, fetch, fetch_sample, make_worker, stop_all


class LearnerGroup:
    """A learner actor, or a learner in this process if ``num_learners`` is 0.

    Args:
        learner_class: the algorithm's learner.
        config: the algorithm's configuration.
        spaces: of a single environment.
    """

    def __init__(
        self, learner_class: type[Learner[Any]], config: AlgorithmConfig, spaces: Spaces
    ) -> None:
        self.config = config
        self.is_remote = config.num_learners > 0
        self.worker: Worker = make_worker(learner_class, config, spaces, remote=self.is_remote)

    def update(self, batches: Sequence[Any], *, timestep: int = 0) -> Any:
        """Start an update on experience; a handle of its metrics.

        Args:
            batches: handles of ``SampleBatch``, or of what else the learner takes.
            timestep: ``num_env_steps_sampled_lifetime``, which schedules go by.

        Raises:
            TrainingError: the learner is in this process, so that it is here where a fragment is
                waited for, and one took longer than ``sample_timeout_s``.
        """
        if not self.is_remote:
            limit = self.config.sample_timeout_s
            batches = [fetch_sample(batch, limit) for batch in batches]
        return self.worker.call("update", *batches, timestep=timestep)

    def get_weights(self) -> Any:
        """A handle of the weights after all updates started so far."""
        return self.worker.call("get_weights")

    def fetch_metrics(self, update: Any) -> Metrics:
        """Wait for an update.

        Raises:
            TrainingError: a loss or gradient was not finite.
        """
        metrics: Metrics = fetch(update)
        return metrics

    def get_module_state(self) -> dict[str, Any]:
        """All weights, by name."""
        weights: dict[str, Any] = fetch(self.worker.call("get_module_state"))
        return weights

    def get_state(self) -> dict[str, Any]:
        """State tree of the learner."""
        state: dict[str, Any] = fetch(self.worker.call("get_state"))
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``."""
        fetch(self.worker.call("set_state", state))

    def stop(self) -> None:
        """End the learner."""
        stop_all([self.worker])
