"""Owns module, optimisers and loss, and turns experience into better weights.

    fragments -> [connectors] -> build_train_batch -> minibatches
                                                           v
     after_gradient_based_update <- optimisers <- gradients of compute_loss, for each of them

A learner lives in the main process or in an actor and cannot tell which. An algorithm subclasses
it with two methods: what a train batch is, and what the loss of a minibatch is. The others of the
drawing, and what the optimisers are, may be overridden as well.

Of several learners each has a part of the fragments. Their gradients are averaged in every step, so
that all have the same weights; what else is meant of the whole train batch, such as a mean of
advantages, is computed through ``group``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import perf_counter, time
from typing import Any, ClassVar, Generic

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rllib.absent import NamesNearest, refuse_overrides
from rllib.checkpoints.components import (
    OF_LEARNER,
    Paths,
    at,
    chosen_modules,
    let_ask_for_components,
)
from rllib.checkpoints.torch_state import get_module_state, set_module_state
from rllib.columns import Columns
from rllib.config import AlgorithmConfig
from rllib.config.over_time import OverTime
from rllib.connectors.learner import build_learner_pipeline
from rllib.envs.make import Spaces
from rllib.errors import CheckpointError, ConfigError
from rllib.learning.descent import Descent
from rllib.learning.devices import Uploads, ahead, learner_device, meeting_device
from rllib.learning.gradients import own_parameters
from rllib.learning.loss import Loss, Metrics, Report, StepReport, merge, report_of
from rllib.learning.loss_for_module import Later, Logged, columns_of, total_of
from rllib.learning.minibatches import BatchT, count_steps, epochs
from rllib.learning.optimizer import Adam
from rllib.learning.peers import Alone, Members, Peers
from rllib.learning.precision import Precision
from rllib.learning.shares import Share, take
from rllib.learning.torch_random import TorchStream
from rllib.modules.networks import compute_images
from rllib.schedules import point_values
from rllib.seeding import Role, derive_rng, derive_seed, rng_state, set_rng_state
from rllib.tensors import concatenate, num_rows

__all__ = ["Learner", "Loss", "Metrics"]

DEFAULT_OPTIMIZER = "default_optimizer"

FIXED_MODULES = (
    "modules are fixed once an algorithm is built; name all of them in "
    "config.multi_agent(policies=...), choose with policy_mapping_fn, and let policies_to_train "
    "say who learns; another algorithm takes over weights by RLModuleSpec(load_state_path=...)"
)
"""What to do instead of adding and removing modules."""


def check_ids(named: Iterable[str], known: Sequence[str]) -> None:
    """Raise ``ConfigError`` for an id of a module that there is not."""
    for unknown in sorted(set(named) - set(known)):
        raise ConfigError(f"there is no module {unknown!r}; there are: {', '.join(known)}")


class Learner(NamesNearest, ABC, Generic[BatchT]):
    """One module, its optimisers, one loss.

    Sets the number of torch's threads in its process to ``num_cpus_per_learner``: small networks
    get slower, not faster, by threads that torch would start on its own.

    Args:
        config: the algorithm's configuration.
        spaces: of a single environment.

    Attributes:
        device: where it computes. Train batches are made on the CPU; minibatches come from there.
        module: what is trained.
        optimizers: by name.
        group: all learners of the algorithm, for what they compute together.
        timestep: env steps sampled so far, as the current update was told.
        now: the settings with their schedules at this timestep: what updates go by.
        steps_per_learner: env steps of the current train batch, as a mean over the learners.
        rng: for numpy's random numbers; torch's come from a stream of the learner's own.
        shares_noise: whether that stream is the same at all learners, so that what is drawn from it
            does not depend on how many there are; see ``OffPolicyLearner.draw_noise``.
    """

    shares_noise: ClassVar[bool] = False

    INSTEAD: ClassVar[Mapping[str, str]] = {
        "build": "a learner is complete once it is made",
        "shutdown": "a learner alone holds nothing that has to be ended",
        "add_module": FIXED_MODULES,
        "remove_module": FIXED_MODULES,
        "compute_losses": "it is called compute_loss(minibatch) here",
        "configure_optimizers_for_module": "it is called configure_optimizers() here",
        "register_optimizer": "configure_optimizers() returns them by name",
        "get_optimizer": "optimizers has them by name",
        "get_optimizers_for_module": "optimizers has them by name",
        "compute_gradients": "descent.step(loss, weight, group) is a gradient step",
        "apply_gradients": "descent.step(loss, weight, group) is a gradient step",
        "postprocess_gradients": "config.training(grad_clip=..., grad_clip_by=...) clips",
        "before_gradient_based_update": "minibatches(batch) begins an update",
        "should_module_be_updated": "config.multi_agent(policies_to_train=...) says it",
        "metrics": "compute_loss returns metrics with the loss, and after_update may add some; a "
        "learner that overrides compute_loss_for_module has a logger",
    }

    def __init_subclass__(cls, **others: Any) -> None:
        """Refuse what RLlib's learners override and these do not have; a ``get_state`` without
        RLlib's arguments may be given them.

        Raises:
            TypeError: says what to override instead.
        """
        super().__init_subclass__(**others)
        refuse_overrides(cls, cls.INSTEAD)
        let_ask_for_components(cls)

    def __init__(self, config: AlgorithmConfig, spaces: Spaces) -> None:
        torch.set_num_threads(config.num_threads_per_learner)
        self.config, self.spaces = config, spaces
        self.device = learner_device(config)
        self.precision = Precision(config.mixed_precision, self.device)
        self.uploads = Uploads(self.device) if self.device.type == "cuda" else None
        self.settings = OverTime(config)
        self.timestep, self.now = 0, config.at(0)
        self.steps_per_learner = 0.0
        own = type(self).compute_loss_for_module
        self._is_for_module = own is not Learner.compute_loss_for_module
        if self._is_for_module:
            self.metrics = Logged()
        with TorchStream(derive_seed(config.seed, Role.MODULE_INIT)).active():
            self.module = config.get_rl_module_spec(spaces).build().to(self.device)
            self.optimizers = self.configure_optimizers()
        compute_images(self.module, config.num_kernel_threads_per_learner)
        own_parameters(self.module, self.optimizers)
        self._has_memory = self.module.is_stateful()
        self._num_parameters = sum(len(each.flat) for each in self.optimizers.values())
        self._policy_arrays = self._find_policy_arrays()
        self.connectors = build_learner_pipeline(config, spaces, self.device)
        self.descent = Descent(self.module, self.optimizers, config, self.precision.scale)
        self.num_steps_trained_lifetime = 0
        self.group: Peers = Alone()
        self._begin_streams()

    def _find_policy_arrays(self) -> dict[str, NDArray[Any]] | None:
        """What acting needs, looked up once: parameters stay where they are. None where it is
        elsewhere, or something else as well, such as buffers, in whose place a module may put
        others."""
        state = self.module.policy_state()
        places = {parameter.data_ptr() for parameter in self.module.parameters()}
        if self.device.type != "cpu" or any(x.data_ptr() not in places for x in state.values()):
            return None
        return {name: tensor.detach().numpy() for name, tensor in state.items()}

    def _begin_streams(self) -> None:
        self.rng = derive_rng(self.config.seed, Role.LEARNER, self.group.rank)
        rank = 0 if self.shares_noise else self.group.rank
        seed = derive_seed(self.config.seed, Role.LEARNER, rank)
        self.torch_stream = TorchStream(seed, self.device)

    def join(self, group: Peers) -> None:
        """Become one of several learners, with random streams of its own, but for shared noise."""
        before, self.group = self.group.rank, group
        if group.rank != before:
            self._begin_streams()

    def join_members(self, rank: int, size: int, name: str, timeout_s: float) -> None:
        """The same by what ``peers.Members`` takes; blocks until all have done so."""
        self.group.leave()
        self.join(Members(rank, size, name, meeting_device(self.config, self.device), timeout_s))

    # What an algorithm decides.

    def configure_optimizers(self) -> dict[str, Adam]:
        """The optimisers, by name: by default one of the whole module, with step size ``lr``.

        Called once, when ``config``, ``spaces`` and ``module`` are there. A parameter belongs to
        one optimiser; those that belong to none, such as target networks, are not trained.
        """
        return {DEFAULT_OPTIMIZER: Adam(self.module.parameters(), self.config.lr)}

    @abstractmethod
    def build_train_batch(self, batches: tuple[Any, ...]) -> BatchT:
        """One train batch of what ``update`` was given, without reset rows.

        Of several learners one may get so little that it has no rows.
        """

    def minibatches(self, batch: BatchT) -> Iterator[BatchT]:
        """What each gradient step is computed on, in turn: equally many at all learners.

        By default ``num_epochs`` passes over the train batch, in equal parts of about
        ``minibatch_size`` env steps.
        """
        size = self.now.minibatch_size or self.steps_per_learner
        return epochs(
            batch,
            max(1, round(self.steps_per_learner / size)) if size else 1,
            self.now.num_epochs,
            lambda num_rows: torch.from_numpy(self.rng.permutation(num_rows)),
            new_order=self.config.shuffle_batch_per_epoch,
        )

    @property
    def most_rows(self) -> int:
        """Of a minibatch, or so."""
        sizes = point_values(self.config.minibatch_size)
        return max(size or self.config.train_batch_size_per_learner for size in sizes)

    @abstractmethod
    def compute_loss(self, minibatch: BatchT) -> Loss:
        """The loss of one minibatch, with gradients: a mean over its rows."""

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: Mapping[str, Any], fwd_out: Mapping[str, Any]
    ) -> Tensor:
        """RLlib's way to a loss of one's own: what it returns is minimised instead.

        What overrides it calls it for the algorithm's own loss of the same minibatch, and may log
        by ``self.metrics.log_value(key, value)``.

        Args:
            module_id: of the module that learns.
            config: the settings, with schedules at their present values.
            batch: the minibatch: ``obs``, ``actions``, ``action_logp``, ...
            fwd_out: what the train forward gives for it, made anew.
        """
        return total_of(self._loss, type(self).__name__)

    def get_parameters(self, module: nn.Module) -> list[nn.Parameter]:
        """All of a module."""
        return list(module.parameters())

    def _loss_for_module(self, minibatch: BatchT) -> Loss:
        """The algorithm's with what ``compute_loss_for_module`` makes of it as its total."""
        loss = self.compute_loss(minibatch)
        total_of(loss, type(self).__name__)  # before anything of one's own is asked
        self._loss, batch = loss, columns_of(minibatch)
        inputs = {name: batch[name] for name in (Columns.OBS, Columns.STATE_IN) if name in batch}
        total = self.compute_loss_for_module(
            module_id=self.config.policy_ids[0],
            config=self.now,
            batch=batch,
            fwd_out=Later(lambda: self.module.forward_train(inputs)),
        )
        return loss._replace(total=total, metrics={**loss.metrics, **self.metrics.take()})

    def has_loss_of(
        self, owner: "type[Learner[Any]]", *parts: str, in_16_bits: bool = False
    ) -> bool:
        """Whether the loss is just that of ``owner``: only then do gradients that are worked out by
        hand stand for it.

        Args:
            owner: a learner class.
            parts: other methods that its loss calls.
            in_16_bits: whether layers may compute in bfloat16.
        """
        dtypes = (None, torch.bfloat16) if in_16_bits else (None,)
        names = ("compute_loss", *parts)
        is_own = all(getattr(type(self), name) is getattr(owner, name) for name in names)
        return is_own and not self._is_for_module and self.precision.dtype in dtypes

    def after_gradient_based_update(self, timestep: int) -> None:
        """Called after every gradient step: the place to move target networks."""

    def after_update(self, metrics: Metrics) -> None:
        """Adapt coefficients to the finished update; may add to its metrics.

        The metrics are those of all learners, so that all adapt in the same way.
        """

    # The update.

    def update(self, *batches: Any, timestep: int = 0, shares: Sequence[Share] = ()) -> Metrics:
        """Learn from fragments, or whatever ``build_train_batch`` takes.

        Args:
            batches: the experience.
            timestep: ``num_env_steps_sampled_lifetime``, which schedules go by.
            shares: of each batch this learner's share, if it is not all of it.

        Returns:
            The loss's metrics, and the optimisers' and counters under RLlib's names, of all
            learners; ``learner_update_s`` is the wall-clock time in seconds, ``learner_began_at``
            when it began, in s since the epoch.

        Raises:
            TrainingError: a loss or gradient is not finite; the weights are those of before the
                gradient step that would have spoilt them.
            CollectiveError: another learner died or failed.
        """
        began_at, started = time(), perf_counter()
        self.timestep = timestep
        self.now = self.descent.config = self.settings.at(timestep)
        for optimizer in self.optimizers.values():
            optimizer.set_timestep(timestep)
        if shares:
            batches = tuple(map(take, batches, shares))
        try:
            with self.torch_stream.active():
                metrics = self._update(batches)
        except BaseException:
            self.group.leave()  # the others shall not wait
            raise
        metrics["learner_began_at"] = began_at
        metrics["learner_update_s"] = perf_counter() - started
        return metrics

    def _update(self, batches: tuple[Any, ...]) -> Metrics:
        train_batch = self._connected(batches)
        num_steps = count_steps(train_batch)
        total = self.group.total(num_steps)
        self.steps_per_learner = total / self.group.size
        minibatches = self.minibatches(train_batch)
        if self.uploads is not None:
            minibatches = ahead(minibatches, self.uploads)
        steps = [self._step(minibatch) for minibatch in minibatches]
        reports = self.group.gather(report_of(steps, num_steps))
        metrics = merge([Report(*each) for each in reports])
        metrics.update(self._count(total))
        self.after_update(metrics)
        return metrics

    def _connected(self, batches: tuple[Any, ...]) -> BatchT:
        """The train batch of what comes out of the connectors, or just that."""
        connected = [self.connectors(batch, self.module) for batch in batches]
        if self.config.add_default_connectors_to_learner_pipeline:
            return self.build_train_batch(tuple(connected))
        joined: BatchT = concatenate(connected)
        return joined

    def _step(self, minibatch: BatchT) -> StepReport:
        """One gradient step; a learner without steps takes part by what the others compute."""
        weight = count_steps(minibatch) if self.group.size > 1 or self._has_memory else 1
        with self.precision.autocast():
            compute = self._loss_for_module if self._is_for_module else self.compute_loss
            loss = compute(minibatch) if weight else None
            arrays = {} if weight else self._arrays_without_steps(compute, minibatch)
        report = self.descent.step(loss, weight, self.group)
        self.after_gradient_based_update(self.timestep)
        return report if weight else report._replace(arrays=arrays)

    @torch.no_grad()
    def _arrays_without_steps(
        self, compute: Callable[[BatchT], Loss], minibatch: BatchT
    ) -> Mapping[str, Any]:
        """What is reported of sequences without a step to train on.

        Where learners share their noise, the loss is computed for what it draws: otherwise this
        learner's noise would be behind that of the others from here on.
        """
        return compute(minibatch).arrays if self.shares_noise and num_rows(minibatch) else {}

    def _count(self, num_steps: int) -> Metrics:
        self.num_steps_trained_lifetime += num_steps
        counts: Metrics = {
            f"{name}_learning_rate": each.lr for name, each in self.optimizers.items()
        }
        for name in self.settings.schedules:
            counts[f"curr_{name}"] = getattr(self.now, name)
        if self.precision.scale is not None or self.config.torch_skip_nan_gradients:
            counts["num_gradient_updates_skipped_lifetime"] = self.descent.num_skipped
        counts["num_trainable_parameters"] = self._num_parameters
        counts["num_module_steps_trained"] = num_steps
        counts["num_module_steps_trained_lifetime"] = self.num_steps_trained_lifetime
        counts["num_gradient_updates_lifetime"] = self.descent.num_steps
        counts["module_train_batch_size_mean"] = num_steps
        return counts

    # State.

    def get_weights(self) -> dict[str, NDArray[Any]]:
        """Copies of the weights that acting needs, by name."""
        if self._policy_arrays is not None:
            return {name: array.copy() for name, array in self._policy_arrays.items()}
        return get_module_state(self.module.policy_state())

    def get_module_state(self) -> dict[str, NDArray[Any]]:
        """Copies of all weights, by name."""
        return get_module_state(self.module.state_dict())

    def set_module_weights(self, weights: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over weights by module id; there is one module here.

        Raises:
            ConfigError: there is no module of an id.
            CheckpointError: they are those of another network.
        """
        check_ids(weights, [own := self.config.policy_ids[0]])
        if own in weights:
            self.module.set_state(weights[own])

    def apply(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(self, *args)`` where the learner lives; returns what it returns."""
        return function(self, *args)

    def weights_of(self, module_ids: Sequence[str], *, inference_only: bool) -> dict[str, Any]:
        """Copies of weights by module id; there is one module here."""
        return {name: self.module.get_state(inference_only=inference_only) for name in module_ids}

    def get_state(
        self,
        components: Paths = None,
        *,
        not_components: Paths = None,
        inference_only: bool = False,
    ) -> dict[str, Any]:
        """State tree: weights, optimisers, counters, and this learner's random streams by rank.

        Args:
            components: ``rl_module`` gives weights alone, by module id.
            not_components: less these, such as ``rl_module/other``.
            inference_only: and less what acting does not need.

        Raises:
            TypeError: it is another part that is asked for.
        """
        call = f"{type(self).__name__}.get_state"
        ids = self.config.policy_ids[:1]
        part = chosen_modules(call, OF_LEARNER, ids, components, not_components, inference_only)
        if part is not None:
            return at(OF_LEARNER, self.weights_of(part, inference_only=inference_only))
        return {
            "module": self.get_module_state(),
            "optimizers": {name: each.get_state() for name, each in self.optimizers.items()},
            "streams": {str(self.group.rank): self.get_streams()},
            "num_steps_trained_lifetime": self.num_steps_trained_lifetime,
            "num_updates_lifetime": self.descent.num_steps,
            "num_updates_skipped_lifetime": self.descent.num_skipped,
            "loss_scale": self.precision.scale.get_state() if self.precision.scale else {},
        }

    def get_streams(self) -> dict[str, Any]:
        """State tree of what is this learner's alone: random streams, and connectors' memory."""
        streams = {"numpy": rng_state(self.rng), "torch": self.torch_stream.get_state()}
        connectors = self.connectors.get_state()
        return streams | ({"connectors": connectors} if connectors else {})

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``; without a random stream for its rank, with its own.

        Raises:
            CheckpointError: the weights are those of another network, or are all there is.
        """
        if OF_LEARNER in state:
            raise CheckpointError("set_module_weights({module_id: ...}) takes weights alone")
        set_module_state(self.module, state["module"])
        for name, optimizer in self.optimizers.items():
            optimizer.set_state(state["optimizers"][name])
        by_rank = state["streams"]
        if streams := by_rank.get(str(self.group.rank)):
            set_rng_state(self.rng, streams["numpy"])
            self.torch_stream.set_state(streams["torch"])
            self.connectors.set_state(streams.get("connectors", {}))
        if self.shares_noise and by_rank:  # of a rank that there was not, too
            self.torch_stream.set_state(by_rank[min(by_rank, key=int)]["torch"])
        self.num_steps_trained_lifetime = int(state["num_steps_trained_lifetime"])
        self.descent.num_steps = int(state["num_updates_lifetime"])
        # Checkpoints of before have none.
        self.descent.num_skipped = int(state.get("num_updates_skipped_lifetime", 0))
        if self.precision.scale and state["loss_scale"]:
            self.precision.scale.set_state(state["loss_scale"])
