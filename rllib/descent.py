"""One gradient step: from a loss, of which every learner has its part, to better parameters."""

from collections.abc import Mapping
from math import isfinite

import torch
from torch import Tensor, nn

from rllib.config import AlgorithmConfig
from rllib.errors import TrainingError
from rllib.gradients import Averaged, Optimizers, average, backward, not_finite
from rllib.loss import Loss, StepReport
from rllib.peers import Peers


class Descent:
    """Makes the steps of all optimisers of a module.

    Args:
        module: what is trained; it has the names for what is not finite.
        optimizers: by name.
        config: clipping.

    Attributes:
        num_steps: steps so far.
    """

    def __init__(self, module: nn.Module, optimizers: Optimizers, config: AlgorithmConfig) -> None:
        self.module, self.optimizers, self.config = module, optimizers, config
        self.num_steps = 0

    def step(self, loss: Loss | None, weight: int, peers: Peers) -> StepReport:
        """One step of every optimiser that has a loss.

        Args:
            loss: of a minibatch; None for this learner's part if it is empty.
            weight: rows of the minibatch; they do not matter to a learner on its own.
            peers: the learners; all make the same step.

        Raises:
            TrainingError: the loss or a gradient is not finite; nothing was changed.
        """
        scalars = loss.scalars() if loss else {}
        trained, total = self._gradients(loss, scalars, weight, peers)
        norms = {name: optimizer.gradient_norm() for name, optimizer in trained.items()}
        if not all(isfinite(float(x)) for x in (total, *norms.values())):
            self._raise_not_finite({**scalars, "total_loss": total}, trained)
        for optimizer in trained.values():
            if self.config.grad_clip is not None:
                optimizer.clip(self.config.grad_clip, self.config.grad_clip_by)
            optimizer.step()
        self.num_steps += 1
        named = {f"gradients_{name}_global_norm": norm for name, norm in norms.items()}
        return StepReport({**scalars, **named} if loss else {}, loss.arrays if loss else {})

    def _gradients(
        self, loss: Loss | None, scalars: Mapping[str, Tensor], weight: int, peers: Peers
    ) -> Averaged:
        trained = backward(loss.total, self.optimizers) if loss else {}
        total = scalars.get("total_loss", torch.zeros(()))
        if peers.size == 1:
            return Averaged(trained, total)
        return average(trained, total, weight, self.optimizers, peers)

    def _raise_not_finite(self, scalars: Mapping[str, Tensor], trained: Optimizers) -> None:
        raise TrainingError(
            f"not finite in gradient step {self.num_steps + 1}: "
            f"{', '.join(not_finite(scalars, self.module, trained))}. "
            "Lower lr, set grad_clip, or look for extreme rewards."
        )
