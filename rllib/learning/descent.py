"""One gradient step: from a loss, of which every learner has its part, to better parameters."""

from collections.abc import Mapping
from math import isfinite

from torch import nn

from rllib.config import AlgorithmConfig
from rllib.errors import TrainingError
from rllib.learning.gradients import (
    Averaged,
    Optimizers,
    average,
    backward,
    named_gradients,
    not_finite,
)
from rllib.learning.loss import Loss, Scalar, StepReport
from rllib.learning.peers import Peers
from rllib.learning.precision import LossScale


class Descent:
    """Makes the steps of all optimisers of a module.

    Args:
        module: what is trained; it has the names for what is not finite.
        optimizers: by name.
        config: clipping, what is reported, and what to do about gradients that are not finite; a
            learner sets it anew for the timestep of each update.
        scale: of losses, where gradients have the range of float16.

    Attributes:
        num_steps: steps so far.
        num_skipped: steps that were not made, because their gradients were not finite.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizers: Optimizers,
        config: AlgorithmConfig,
        scale: LossScale | None,
    ) -> None:
        self.module, self.optimizers, self.config = module, optimizers, config
        self._norm_names = {name: f"gradients_{name}_global_norm" for name in optimizers}
        self.scale = scale
        self.num_steps = self.num_skipped = 0

    def step(self, loss: Loss | None, weight: int, peers: Peers) -> StepReport:
        """One step of every optimiser that has a loss.

        Args:
            loss: of a minibatch; None for this learner's part if it is empty.
            weight: rows of the minibatch; they do not matter to a learner on its own.
            peers: the learners; all make the same step.

        Raises:
            TrainingError: the loss or a gradient is not finite, and that is not to be skipped;
                nothing was changed.
        """
        scalars = loss.scalars() if loss else {}
        arrays = loss.arrays if loss else {}
        trained, total = self._gradients(loss, scalars, weight, peers)
        norms = {name: each.gradient_norm() for name, each in trained.items()}
        if not all(map(isfinite, (float(total), *norms.values()))):
            self._skip({**scalars, "total_loss": total}, trained)
            return StepReport(scalars, arrays)
        if loss:  # the scalars are this step's own from here on
            self._report_norms(scalars, norms, trained)
        self._descend(trained, norms)
        return StepReport(scalars, arrays)

    def _report_norms(
        self, scalars: dict[str, Scalar], norms: Mapping[str, float], trained: Optimizers
    ) -> None:
        for name, norm in norms.items():
            scalars[self._norm_names[name]] = norm
        if self.config.log_gradients:
            for name, gradient in named_gradients(self.module, trained):
                scalars[f"gradients_{name}_norm"] = gradient.norm()

    def _gradients(
        self, loss: Loss | None, scalars: Mapping[str, Scalar], weight: int, peers: Peers
    ) -> Averaged:
        scale = self.scale.value if self.scale else 1.0
        trained = self._backward(loss, scale) if loss else {}
        total = scalars["total_loss"] if loss else 0.0
        averaged = Averaged(trained, total)
        if peers.size > 1:
            averaged = average(trained, total, weight, self.optimizers, peers)
        if scale != 1.0:
            for optimizer in averaged.trained.values():
                optimizer.gradient.div_(scale)
        return averaged

    def _backward(self, loss: Loss, scale: float) -> Optimizers:
        """Compute the gradients; returns the optimisers that have any."""
        if loss.backward is None:
            return backward(loss.scaled(scale), self.optimizers)
        loss.backward()
        return self.optimizers

    def _descend(self, trained: Optimizers, norms: Mapping[str, float]) -> None:
        limit = self.config.grad_clip
        for name, optimizer in trained.items():
            if limit is not None:
                optimizer.clip(limit, self.config.grad_clip_by, norms[name])
            optimizer.step()
        self.num_steps += 1
        if self.scale:
            self.scale.grow()

    def _skip(self, scalars: Mapping[str, Scalar], trained: Optimizers) -> None:
        """Leave the step out, if that may be."""
        overflows = isfinite(float(scalars["total_loss"]))  # then it is gradients that do
        is_mended = self.scale is not None and overflows and self.scale.shrink()
        if not (is_mended or self.config.torch_skip_nan_gradients):
            self._raise_not_finite(scalars, trained)
        self.num_skipped += 1

    def _raise_not_finite(self, scalars: Mapping[str, Scalar], trained: Optimizers) -> None:
        raise TrainingError(
            f"not finite in gradient step {self.num_steps + 1}: "
            f"{', '.join(not_finite(scalars, self.module, trained))}. "
            "Lower lr, set grad_clip, or look for extreme rewards."
        )
