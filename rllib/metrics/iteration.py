"""The books of one training iteration: what was sampled and trained in it, and what that comes to.

training_step --stats, updates--> Iteration --> the metrics of train()'s result
"""

import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from rllib.config import AlgorithmConfig
from rllib.config.multi_agent import DEFAULT_POLICY_ID
from rllib.learning.learner import Metrics
from rllib.metrics.names import DEFAULT_AGENT_ID
from rllib.metrics.stages import Sampling, Stages, Update, shares
from rllib.metrics.update_metrics import reduce_modules
from rllib.sampling.env_runner import SampleStats

Learned = dict[str, Metrics]
"""Metrics of an update, by module id."""


class Iteration:
    """Counts samples and updates; some updates may still be under way.

    Args:
        config: how long an iteration is.
        fetch: waits for an update and returns what was learnt.
        max_in_flight: updates that may be under way while the next training step begins.

    Attributes:
        num_calls: training steps so far.
        num_env_steps: sampled so far.
        num_steps_trained: by updates that are done, over all modules.
        training_steps_s: seconds of all training steps, once it is over.
    """

    def __init__(
        self, config: AlgorithmConfig, fetch: Callable[[Any], Learned], max_in_flight: int
    ) -> None:
        self.config, self.fetch, self.max_in_flight = config, fetch, max_in_flight
        self.samples: list[SampleStats] = []
        self.updates: list[Learned] = []
        self.spans: list[Update] = []
        self.in_flight: deque[tuple[Any, Metrics]] = deque()
        self.num_calls = self.num_env_steps = self.num_steps_trained = 0
        self.training_steps_s = 0.0

    def add_samples(self, stats: Sequence[SampleStats]) -> None:
        """Add fragments."""
        self.samples += stats
        self.num_env_steps += sum(each.num_env_steps for each in stats)

    def add_update(self, update: Any, facts: Metrics) -> None:
        """Add an update that was started, and wait for earlier ones if too many are under way.

        Args:
            update: what ``fetch`` takes.
            facts: what is known of it besides the learner's own metrics.
        """
        self.in_flight.append((update, facts))
        self.settle(self.max_in_flight)

    def settle(self, num_left: int = 0) -> None:
        """Wait for updates until no more than ``num_left`` are under way."""
        while len(self.in_flight) > num_left:
            update, facts = self.in_flight.popleft()
            learned = self.fetch(update)
            for metrics in learned.values():
                self.spans.append(_span(metrics))
                metrics.update(facts)
                self.num_steps_trained += metrics["num_module_steps_trained"]
            self.updates.append(learned)

    def is_over(self, elapsed: float) -> bool:
        """Whether it is as long as the settings ask for; updates under way do not count yet."""
        config = self.config
        return (
            self.num_calls > 0
            and self.num_env_steps >= config.min_sample_timesteps_per_iteration
            and self.num_steps_trained >= config.min_train_timesteps_per_iteration
            and elapsed >= (config.min_time_s_per_iteration or 0.0)
        )

    def summary(self) -> dict[str, Any]:
        """Metrics of the samples and updates, under RLlib's names."""
        stats, learners = self.samples, reduce_modules(self.updates)
        update_s = sum(span.update_s for span in self.spans)
        sampled_s = [each.sample_s for each in stats]
        mean_s = sum(sampled_s) / max(1, self.config.num_env_runners)
        return {
            "env_runners": self._agent_counts()
            | {
                "num_episodes": sum(len(each.episodes) for each in stats),
                "num_env_steps_sampled": self.num_env_steps,
                "sample": max(sampled_s, default=0.0),
                "env_step_timer": max((each.env_step_s for each in stats), default=0.0),
            },
            "num_training_step_calls_per_iteration": self.num_calls,
            "learners": learners,
            "timers": {
                "env_runner_sampling_timer": mean_s,
                "learner_update_timer": update_s,
                "training_step": self.training_steps_s / max(1, self.num_calls),
            },
        }

    @property
    def is_single_agent(self) -> bool:
        """Whether its samples are of environments with one agent."""
        return not self.samples or self.samples[0].agents is None

    def _agent_counts(self) -> dict[str, Any]:
        """Steps by agent and by module; a single agent has the names that RLlib gives it."""
        if not self.is_single_agent:
            return agent_counts(self.samples)
        return {
            "num_agent_steps_sampled": {DEFAULT_AGENT_ID: self.num_env_steps},
            "num_module_steps_sampled": {DEFAULT_POLICY_ID: self.num_env_steps},
        }

    def stages(self, elapsed: float) -> Stages:
        """Where its ``elapsed`` seconds went."""
        samplings = [
            Sampling(each.sample_s, each.env_step_s, each.inference_s, each.ended_at)
            for each in self.samples
        ]
        return shares(samplings, self.spans, elapsed, self.config.num_env_runners)


def _span(metrics: Metrics) -> Update:
    """Taken out of an update's metrics: nothing that was learnt."""
    return Update(metrics.pop("learner_began_at", 0.0), metrics.pop("learner_update_s", 0.0))


def agent_counts(stats: Sequence[SampleStats]) -> dict[str, Any]:
    """Steps by agent and by module, of several agents."""
    counts = [each.agents for each in stats if each.agents is not None]
    by_agent, by_module = Counter[str](), Counter[str]()
    for each in counts:
        by_agent.update(each.by_agent)
        by_module.update(each.by_module)
    return {
        "num_agent_steps_sampled": dict(by_agent),
        "num_module_steps_sampled": dict(by_module),
    }


def circumstances() -> dict[str, Any]:
    """When and where a result came to be, under RLlib's names."""
    now = datetime.now(UTC)
    return {
        "timestamp": int(now.timestamp()),
        "date": now.strftime("%Y-%m-%d_%H-%M-%S"),
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
        "node_ip": node_ip(),
    }


@cache
def node_ip() -> str:
    """The address by which this machine reaches others; that of itself where it reaches none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address that nobody has; sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
