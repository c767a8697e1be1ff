"""Action masks in torch; the twin of ``rllib.actions.masks``."""

from torch import Tensor

from rllib.actions.masks import FORBIDDEN


def mask_inputs(inputs: Tensor, mask: Tensor) -> Tensor:
    """Logits, or action values, [..., A] without those that the mask [..., A] forbids.

    These are finite, of probability 0, and have no gradient.
    """
    return inputs.masked_fill(mask == 0, float(FORBIDDEN))
