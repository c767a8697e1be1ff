"""Owns module, optimisers and loss, and turns experience into better weights.

    fragments -> build_train_batch -> minibatches -> compute_loss -> gradients -> optimisers
                                          ^                                          |
                                          '------- after_gradient_based_update <-----'

A learner lives in the main process or in an actor and cannot tell which. An algorithm subclasses
it with two methods: what a train batch is, and what the loss of a minibatch is. The others of the
drawing, and what the optimisers are, may be overridden as well.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from math import isfinite
from time import perf_counter
from typing import Any, Generic, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from rllib.config import AlgorithmConfig
from rllib.envs.make import Spaces
from rllib.errors import TrainingError
from rllib.gradients import Optimizers, backward, not_finite, own_parameters
from rllib.minibatches import BatchT, count_steps, epochs
from rllib.optimizer import Adam
from rllib.schedules import value_at
from rllib.seeding import Role, derive_rng, derive_seed, rng_state, set_rng_state
from rllib.torch_random import TorchStream
from rllib.torch_state import get_module_state, set_module_state

DEFAULT_OPTIMIZER = "default_optimizer"

Metrics = dict[str, Any]
"""Numbers by name, and the arrays that a loss reports for single rows."""


class Loss(NamedTuple):
    """What to minimise, and what to report of a minibatch.

    Attributes:
        total: a scalar for all optimisers; or scalars by optimiser's name, each of which trains the
            parameters of that optimiser alone. An optimiser that is not named makes no step.
        metrics: scalars, averaged over minibatches.
        arrays: [B, ...] something of every row, such as TD errors; of several minibatches, joined
            in their order. A train batch that is a single minibatch keeps its order.
    """

    total: Tensor | Mapping[str, Tensor]
    metrics: Mapping[str, Tensor]
    arrays: Mapping[str, Tensor] = {}


class _Step(NamedTuple):
    """What is to be reported of one gradient step."""

    scalars: dict[str, Tensor]
    arrays: Mapping[str, Tensor]


class Learner(ABC, Generic[BatchT]):
    """One module, its optimisers, one loss.

    Sets the number of torch's threads in its process to ``num_cpus_per_learner``: small networks
    get slower, not faster, by threads that torch would start on its own.

    Args:
        config: the algorithm's configuration.
        spaces: of a single environment.

    Attributes:
        module: what is trained.
        optimizers: by name.
        timestep: env steps sampled so far, as the current update was told.
        rng: for numpy's random numbers; torch's come from a stream of the learner's own.
    """

    def __init__(self, config: AlgorithmConfig, spaces: Spaces) -> None:
        torch.set_num_threads(config.num_threads_per_learner)
        self.config, self.spaces = config, spaces
        self.timestep = 0
        with TorchStream(derive_seed(config.seed, Role.MODULE_INIT)).active():
            self.module = config.get_rl_module_spec(spaces).build()
            self.optimizers = self.configure_optimizers()
        own_parameters(self.module, self.optimizers)
        self.rng = derive_rng(config.seed, Role.LEARNER)
        self.torch_stream = TorchStream(derive_seed(config.seed, Role.LEARNER))
        self.num_steps_trained_lifetime = 0
        self.num_updates_lifetime = 0

    # What an algorithm decides.

    def configure_optimizers(self) -> dict[str, Adam]:
        """The optimisers, by name: by default one of the whole module, with step size ``lr``.

        Called once, when ``config``, ``spaces`` and ``module`` are there. A parameter belongs to
        one optimiser; those that belong to none, such as target networks, are not trained.
        """
        return {DEFAULT_OPTIMIZER: Adam(self.module.parameters(), self.config.lr)}

    @abstractmethod
    def build_train_batch(self, batches: tuple[Any, ...]) -> BatchT:
        """One train batch of what ``update`` was given, without reset rows."""

    def minibatches(self, batch: BatchT) -> Iterator[BatchT]:
        """What each gradient step is computed on, in turn.

        By default ``num_epochs`` passes over the train batch, in equal parts of about
        ``minibatch_size`` env steps.
        """
        num_steps = count_steps(batch)
        num_parts = max(1, round(num_steps / (self.config.minibatch_size or num_steps)))
        return epochs(
            batch,
            num_parts,
            self.config.num_epochs,
            lambda size: torch.from_numpy(self.rng.permutation(size)),
            new_order=self.config.shuffle_batch_per_epoch,
        )

    @abstractmethod
    def compute_loss(self, minibatch: BatchT) -> Loss:
        """The loss of one minibatch, with gradients."""

    def after_gradient_based_update(self, timestep: int) -> None:
        """Called after every gradient step: the place to move target networks."""

    def after_update(self, metrics: Metrics) -> None:
        """Adapt coefficients to the finished update; may add to its metrics."""

    def setting(self, name: str) -> float:
        """The value that a setting has now: a number, or what its schedule says."""
        return value_at(getattr(self.config, name), self.timestep)

    # The update.

    def update(self, *batches: Any, timestep: int = 0) -> Metrics:
        """Learn from fragments, or whatever ``build_train_batch`` takes.

        Args:
            batches: the experience.
            timestep: ``num_env_steps_sampled_lifetime``, which schedules go by.

        Returns:
            The loss's metrics, and the optimisers' and counters under RLlib's names;
            ``learner_update_s`` is the wall-clock time in seconds.

        Raises:
            TrainingError: a loss or gradient is not finite; the weights are those of before the
                gradient step that would have spoilt them.
        """
        started = perf_counter()
        self.timestep = timestep
        for optimizer in self.optimizers.values():
            optimizer.set_timestep(timestep)
        with self.torch_stream.active():
            train_batch = self.build_train_batch(batches)
            steps = [self._step(minibatch) for minibatch in self.minibatches(train_batch)]
        metrics = _merge(steps) | self._count(count_steps(train_batch))
        self.after_update(metrics)
        metrics["learner_update_s"] = perf_counter() - started
        return metrics

    def _count(self, num_steps: int) -> Metrics:
        self.num_steps_trained_lifetime += num_steps
        rates = {f"{name}_learning_rate": each.lr for name, each in self.optimizers.items()}
        return rates | {
            "num_trainable_parameters": sum(len(each.flat) for each in self.optimizers.values()),
            "num_module_steps_trained": num_steps,
            "num_module_steps_trained_lifetime": self.num_steps_trained_lifetime,
            "num_gradient_updates_lifetime": self.num_updates_lifetime,
            "module_train_batch_size_mean": num_steps,
        }

    def _step(self, minibatch: BatchT) -> _Step:
        """One gradient step."""
        loss = self.compute_loss(minibatch)
        trained = backward(loss.total, self.optimizers)
        scalars = {name: value.detach() for name, value in _parts(loss).items()}
        norms = {name: optimizer.gradient_norm() for name, optimizer in trained.items()}
        if not all(isfinite(float(x)) for x in (scalars["total_loss"], *norms.values())):
            self._raise_not_finite(scalars, trained)
        for optimizer in trained.values():
            if self.config.grad_clip is not None:
                optimizer.clip(self.config.grad_clip, self.config.grad_clip_by)
            optimizer.step()
        self.num_updates_lifetime += 1
        self.after_gradient_based_update(self.timestep)
        named = {f"gradients_{name}_global_norm": norm for name, norm in norms.items()}
        return _Step(scalars | named, {name: x.detach() for name, x in loss.arrays.items()})

    def _raise_not_finite(self, scalars: Mapping[str, Tensor], trained: Optimizers) -> None:
        raise TrainingError(
            f"not finite in gradient step {self.num_updates_lifetime + 1}: "
            f"{', '.join(not_finite(scalars, self.module, trained))}. "
            "Lower lr, set grad_clip, or look for extreme rewards."
        )

    # State.

    def get_weights(self) -> dict[str, NDArray[Any]]:
        """Copies of the weights that acting needs, by name."""
        return get_module_state(self.module.policy_state())

    def get_module_state(self) -> dict[str, NDArray[Any]]:
        """Copies of all weights, by name."""
        return get_module_state(self.module.state_dict())

    def get_state(self) -> dict[str, Any]:
        """State tree: weights, optimisers, random streams, counters."""
        return {
            "module": self.get_module_state(),
            "optimizers": {name: each.get_state() for name, each in self.optimizers.items()},
            "rng": rng_state(self.rng),
            "torch_rng": self.torch_stream.get_state(),
            "num_steps_trained_lifetime": self.num_steps_trained_lifetime,
            "num_updates_lifetime": self.num_updates_lifetime,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``.

        Raises:
            CheckpointError: the weights are those of another network.
        """
        set_module_state(self.module, state["module"])
        for name, optimizer in self.optimizers.items():
            optimizer.set_state(state["optimizers"][name])
        set_rng_state(self.rng, state["rng"])
        self.torch_stream.set_state(state["torch_rng"])
        self.num_steps_trained_lifetime = int(state["num_steps_trained_lifetime"])
        self.num_updates_lifetime = int(state["num_updates_lifetime"])


def _parts(loss: Loss) -> dict[str, Tensor]:
    """The scalars of a loss; of several, ``total_loss`` is the sum."""
    if isinstance(loss.total, Tensor):
        return {"total_loss": loss.total, **loss.metrics}
    losses = {f"{name}_loss": value for name, value in loss.total.items()}
    total = torch.stack([*losses.values()]).sum()
    return {"total_loss": total, **losses, **loss.metrics}


def _merge(steps: list[_Step]) -> Metrics:
    """Means of scalars over the gradient steps that report them, and joined arrays."""
    names = dict.fromkeys(name for step in steps for name in step.scalars)
    arrays = dict.fromkeys(name for step in steps for name in step.arrays)
    columns = {name: [s.scalars[name] for s in steps if name in s.scalars] for name in names}
    joined = {name: torch.cat([s.arrays[name] for s in steps]).numpy() for name in arrays}
    return {name: float(torch.stack(column).mean()) for name, column in columns.items()} | joined
