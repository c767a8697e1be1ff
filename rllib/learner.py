"""Owns module, optimiser and loss, and turns rollout fragments into better weights.

    SampleBatch, ... -> Learner.update -> metrics          Learner.get_weights -> env runners

A learner lives in the main process or in an actor and cannot tell which. An algorithm subclasses
it with two methods: what a train batch is, and what the loss of a minibatch is.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import pairwise
from math import isfinite
from time import perf_counter
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rllib.batch import SampleBatch
from rllib.config import AlgorithmConfig
from rllib.envs.make import Spaces
from rllib.errors import TrainingError
from rllib.optimizer import Adam
from rllib.schedules import value_at
from rllib.seeding import Role, derive_rng, derive_seed, rng_state, set_rng_state
from rllib.tensors import num_rows, rows
from rllib.torch_state import get_module_state, set_module_state

Metrics = dict[str, float | int]


class Loss(NamedTuple):
    """A scalar to minimise and scalars to report, averaged over minibatches."""

    total: Tensor
    metrics: dict[str, Tensor]


BatchT = TypeVar("BatchT", bound=tuple[Any, ...])
"""A ``NamedTuple`` of trees of tensors [B, ...] with one row per env step, or [S, L, ...] with one
per sequence and a ``mask`` that tells its steps from padding."""


class Learner(ABC, Generic[BatchT]):
    """One module, one optimiser (Adam), one loss.

    Sets the number of torch's threads in its process to ``num_cpus_per_learner``: small networks
    get slower, not faster, by threads that torch would start on its own.

    Args:
        config: the algorithm's configuration.
        spaces: of a single environment.
    """

    def __init__(self, config: AlgorithmConfig, spaces: Spaces) -> None:
        torch.set_num_threads(config.num_threads_per_learner)
        self.config = config
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed(config.seed, Role.MODULE_INIT))
            self.module = config.get_rl_module_spec(spaces).build()
        self.rng = derive_rng(config.seed, Role.LEARNER)
        self.optimizer = Adam(self.module, value_at(config.lr, 0))
        self.num_steps_trained_lifetime = 0
        self.num_updates_lifetime = 0

    @abstractmethod
    def build_train_batch(self, batches: tuple[SampleBatch, ...]) -> BatchT:
        """One train batch of all fragments, without reset rows."""

    @abstractmethod
    def compute_loss(self, minibatch: BatchT) -> Loss:
        """The loss of one minibatch, with gradients."""

    def after_update(self, metrics: Metrics) -> None:
        """Adapt coefficients to the finished update; may add to its metrics."""

    def update(self, *batches: SampleBatch) -> Metrics:
        """Learn from fragments: every epoch passes once over all their env steps.

        Returns:
            The loss's metrics, and the optimiser's and counters under RLlib's names;
            ``learner_update_s`` is the wall-clock time in seconds.

        Raises:
            TrainingError: a loss or gradient is not finite; the weights are those of before the
                gradient step that would have spoilt them.
        """
        started = perf_counter()
        train_batch = self.build_train_batch(batches)
        history = [self._step(minibatch) for minibatch in self._minibatches(train_batch)]
        metrics = _mean(history) | self._count(count_steps(train_batch), len(history))
        self.after_update(metrics)
        metrics["learner_update_s"] = perf_counter() - started
        return metrics

    def _count(self, num_steps: int, num_updates: int) -> Metrics:
        self.num_steps_trained_lifetime += num_steps
        self.num_updates_lifetime += num_updates
        return {
            "default_optimizer_learning_rate": value_at(self.config.lr, 0),
            "num_trainable_parameters": len(self.optimizer.flat),
            "num_module_steps_trained": num_steps,
            "num_module_steps_trained_lifetime": self.num_steps_trained_lifetime,
            "num_gradient_updates_lifetime": self.num_updates_lifetime,
            "module_train_batch_size_mean": num_steps,
        }

    def _minibatches(self, batch: BatchT) -> Iterator[BatchT]:
        """Equal parts of about ``minibatch_size`` rows, so that no gradient is of a small rest."""
        num_steps = count_steps(batch)
        num_parts = max(1, round(num_steps / (self.config.minibatch_size or num_steps)))
        edges = np.linspace(0, num_rows(batch), num_parts + 1).astype(int).tolist()
        shuffled = self._shuffled(batch)
        for epoch in range(self.config.num_epochs):
            if epoch and self.config.shuffle_batch_per_epoch:
                shuffled = self._shuffled(batch)
            for start, stop in pairwise(edges):
                yield rows(shuffled, slice(start, stop))

    def _shuffled(self, batch: BatchT) -> BatchT:
        order: BatchT = rows(batch, torch.from_numpy(self.rng.permutation(num_rows(batch))))
        return order

    def _step(self, minibatch: BatchT) -> dict[str, Tensor]:
        """One gradient step; returns what is to be reported of it."""
        loss = self.compute_loss(minibatch)
        self.optimizer.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        parts = {"total_loss": loss.total} | loss.metrics
        scalars = {name: value.detach() for name, value in parts.items()}
        norm = self.optimizer.gradient_norm()
        if not (isfinite(float(norm)) and isfinite(float(scalars["total_loss"]))):
            self._raise_nonfinite(scalars)
        if self.config.grad_clip is not None:
            self.optimizer.clip(self.config.grad_clip, self.config.grad_clip_by)
        self.optimizer.step()
        return scalars | {"gradients_default_optimizer_global_norm": norm}

    def _raise_nonfinite(self, scalars: dict[str, Tensor]) -> NoReturn:
        """Name every part of the loss and every gradient that is not finite."""
        bad = [f"{name} = {float(v)}" for name, v in scalars.items() if not isfinite(float(v))]
        bad += [
            f"gradient of {name}"
            for name, parameter in self.module.named_parameters()
            if parameter.grad is not None and not parameter.grad.isfinite().all()
        ]
        raise TrainingError(
            f"not finite in gradient step {self.num_updates_lifetime + 1} or later: "
            f"{', '.join(bad)}. Lower lr, set grad_clip, or look for extreme rewards."
        )

    def get_weights(self) -> dict[str, NDArray[Any]]:
        """Copies of the weights that acting needs, by name."""
        return get_module_state(self.module.policy_state())

    def get_module_state(self) -> dict[str, NDArray[Any]]:
        """Copies of all weights, by name."""
        return get_module_state(self.module.state_dict())

    def get_state(self) -> dict[str, Any]:
        """State tree: weights, optimiser, random streams, counters."""
        return {
            "module": self.get_module_state(),
            "optimizer": self.optimizer.get_state(),
            "rng": rng_state(self.rng),
            "torch_rng": torch.get_rng_state().numpy().copy(),
            "num_steps_trained_lifetime": self.num_steps_trained_lifetime,
            "num_updates_lifetime": self.num_updates_lifetime,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``.

        Raises:
            CheckpointError: the weights are those of another network.
        """
        set_module_state(self.module, state["module"])
        self.optimizer.set_state(state["optimizer"])
        set_rng_state(self.rng, state["rng"])
        torch.set_rng_state(torch.from_numpy(np.array(state["torch_rng"], np.uint8)))
        self.num_steps_trained_lifetime = int(state["num_steps_trained_lifetime"])
        self.num_updates_lifetime = int(state["num_updates_lifetime"])


def count_steps(batch: tuple[Any, ...]) -> int:
    """Env steps in a batch of rows or sequences."""
    mask: Tensor | None = getattr(batch, "mask", None)
    return num_rows(batch) if mask is None else int(mask.sum())


def _mean(history: list[dict[str, Tensor]]) -> Metrics:
    """Mean over gradient steps of each metric."""
    return {
        name: float(torch.stack([step[name] for step in history]).mean()) for name in history[0]
    }
