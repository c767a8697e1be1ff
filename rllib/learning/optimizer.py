"""Adam over parameters as one vector.

The parameters, and their gradients, become views of two flat tensors, so that zeroing, norm,
clipping and the step itself are a handful of operations however many layers there are. Besides,
``torch.optim`` imports torch's compiler when an optimiser is made: a second per process.

Legend: P parameters in all.
"""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from rllib.checkpoints.torch_state import to_array
from rllib.errors import CheckpointError
from rllib.kernels import AdamKernel, library
from rllib.kernels.adam import MOST
from rllib.schedules import Points, value_at

ClipBy = Literal["value", "norm", "global_norm"]


class Adam:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1).

    Args:
        parameters: those that require gradients are trained; from here on they are views of one
            vector, so they must not be replaced by others (loading a state dict writes into them
            and is fine).
        lr: step size, or its schedule: see ``set_timestep``.
        betas: decay of the first and second moment.
        epsilon: added to the root of the second moment. The default is larger than the usual 1e-8,
            as in every PPO baseline: early value gradients are tiny.

    Raises:
        ValueError: there is nothing to train.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float | Points,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-5,
    ) -> None:
        self.schedule, self.betas, self.epsilon = lr, betas, epsilon
        self.lr = value_at(lr, 0)
        self.parameters = [p for p in parameters if p.requires_grad]
        if not self.parameters:
            raise ValueError("an optimiser needs at least one parameter that requires gradients")
        self.flat = torch.cat([p.detach().reshape(-1) for p in self.parameters])
        self.gradient = torch.zeros_like(self.flat)
        self.exp_avg = torch.zeros_like(self.flat)
        self.exp_avg_sq = torch.zeros_like(self.flat)
        self.num_steps = 0
        self._step = torch.zeros((), device=self.flat.device)
        self._kernel = self._compiled()
        sizes = [p.numel() for p in self.parameters]
        pieces = zip(*(torch.split(x, sizes) for x in (self.flat, self.gradient)), strict=True)
        for parameter, (data, gradient) in zip(self.parameters, pieces, strict=True):
            parameter.data = data.view_as(parameter)
            parameter.grad = gradient.view_as(parameter)

    def _compiled(self) -> AdamKernel | None:
        """What is faster than torch for small networks, in each of whose steps calls take most."""
        is_plain = self.flat.dtype is torch.float32 and self.flat.device.type == "cpu"
        if library() is None or not is_plain or len(self.flat) > MOST:
            return None
        return AdamKernel(
            *(self.flat.numpy(), self.gradient.numpy()),
            *(self.exp_avg.numpy(), self.exp_avg_sq.numpy()),
            *(self.betas, self.epsilon),
        )

    def set_timestep(self, timestep: int) -> None:
        """Take the step size that the schedule has for ``num_env_steps_sampled_lifetime``."""
        self.lr = value_at(self.schedule, timestep)

    def zero_grad(self) -> None:
        """Forget the gradients; backward passes add to them."""
        self.gradient.zero_()

    def gradient_norm(self) -> float:
        """Euclidean norm of all gradients together; not finite if any of them is not."""
        if self._kernel is not None:
            return self._kernel.norm()
        return float(torch.linalg.vector_norm(self.gradient))

    def clip(self, limit: float, by: ClipBy, norm: float) -> None:
        """Clip each element, each tensor's norm, or the norm of all gradients together.

        Args:
            limit: the largest there may be.
            by: of what.
            norm: of all gradients together, which whoever clips has looked at already.
        """
        if by == "value":
            self.gradient.clamp_(-limit, limit)
        elif by == "global_norm":
            if norm > limit:
                self._scale(limit / norm)
        else:
            for parameter in self.parameters:
                assert parameter.grad is not None, "the constructor gave it one"
                _shrink(parameter.grad, limit)

    def _scale(self, factor: float) -> None:
        if self._kernel is not None:
            self._kernel.scale(factor)
        else:
            self.gradient.mul_(factor)

    def step(self) -> None:
        """One step against the gradients."""
        self.num_steps += 1
        if self._kernel is not None:
            self._kernel.step(self.lr, self.num_steps)
        else:
            self._step_in_torch()

    @torch.no_grad()
    def _step_in_torch(self) -> None:
        self._step.fill_(self.num_steps)
        # What ``torch.optim`` calls with ``fused=True``: one pass over the vectors instead of ten.
        torch._fused_adam_(
            [self.flat],
            [self.gradient],
            [self.exp_avg],
            [self.exp_avg_sq],
            [],
            [self._step],
            lr=self.lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )

    def get_state(self) -> dict[str, Any]:
        """State tree: both moments [P] and the number of steps."""
        return {
            "exp_avg": to_array(self.exp_avg),
            "exp_avg_sq": to_array(self.exp_avg_sq),
            "num_steps": self.num_steps,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``; step size and decay stay as they are.

        Raises:
            CheckpointError: the state is that of another number of parameters.
        """
        for name, vector in (("exp_avg", self.exp_avg), ("exp_avg_sq", self.exp_avg_sq)):
            saved = torch.from_numpy(np.array(state[name], np.float32))
            if saved.shape != vector.shape:
                raise CheckpointError(
                    f"the optimiser's {name} has shape {list(saved.shape)}, but this network has "
                    f"{len(vector)} parameters; was it made with another model_config?"
                )
            vector.copy_(saved)
        self.num_steps = int(state["num_steps"])


def _shrink(gradient: Tensor, limit: float) -> None:
    """Scale ``gradient`` down to norm ``limit`` if it is longer."""
    norm = torch.linalg.vector_norm(gradient)
    gradient.mul_((limit / norm.clamp(min=1e-12)).clamp(max=1.0))
