"""A batch's action distribution as an object with RLlib's names.

::

    dist = module.get_exploration_action_dist_cls().from_logits(output["action_dist_inputs"])
    actions = dist.sample()

The kit itself uses the functions of ``rllib.distributions``, which these objects call.

Legend: ... leading dimensions, mostly [B] rows.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rllib.distributions import Distribution


@dataclass(frozen=True)
class ActionDist:
    """Actions given some inputs.

    Attributes:
        distribution: what kind it is.
        logits: [..., inputs] what the module gave out.
        is_deterministic: ``sample`` returns the most likely actions.
    """

    distribution: Distribution
    logits: Tensor
    is_deterministic: bool = False

    def sample(self) -> Tensor:
        """Actions without gradients, as the module is trained on them."""
        with torch.no_grad():
            return self.rsample()

    def rsample(self) -> Tensor:
        """Actions whose gradients go back to the inputs, where actions are real numbers."""
        if self.is_deterministic:
            return self.distribution.mode(self.logits)
        noise = self.distribution.draw_noise(self.logits)
        return self.distribution.sample(self.logits, noise)

    def logp(self, value: Tensor, **kwargs: Any) -> Tensor:
        """[...] log probability (density) of actions."""
        return self.distribution.log_prob(self.logits, value)

    def entropy(self, **kwargs: Any) -> Tensor:
        """[...] entropy in nats."""
        return self.distribution.entropy(self.logits)

    def kl(self, other: "ActionDist", **kwargs: Any) -> Tensor:
        """[...] KL(self || other) in nats."""
        return self.distribution.kl(self.logits, other.logits)

    def to_deterministic(self) -> "ActionDist":
        """The same, but always the most likely actions."""
        return ActionDist(self.distribution, self.logits, is_deterministic=True)


@dataclass(frozen=True)
class ActionDistClass:
    """What RLlib's scripts treat as the class of a module's distributions."""

    distribution: Distribution

    def from_logits(self, logits: Tensor, **kwargs: Any) -> ActionDist:
        """The distribution of these inputs [..., inputs]."""
        return ActionDist(self.distribution, logits)
