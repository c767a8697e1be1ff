"""Target networks: copies that follow a trained network slowly.

Legend: P parameters in all.
"""

import torch
from torch import nn

from rllib.learning.optimizer import Adam


class TargetNetwork:
    """The parameters of a copy as one vector, in the order of those that an optimiser trains.

    So a step towards them is one operation, however many layers there are.

    Args:
        target: the copy; its parameters are views of one vector from here on.
        source: trains the same parameters of the original, and no others.

    Raises:
        ValueError: the two do not have the same parameters.
    """

    def __init__(self, target: nn.Module, source: Adam) -> None:
        self.source = source
        parameters = list(target.parameters())
        shapes = [parameter.shape for parameter in parameters]
        trained = [parameter.shape for parameter in source.parameters]
        if shapes != trained:
            raise ValueError(
                f"a target network follows a network of the same shape; this one has {shapes}, "
                f"but {trained} are trained"
            )
        self.flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
        pieces = torch.split(self.flat, [parameter.numel() for parameter in parameters])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.data = piece.view_as(parameter)

    @torch.no_grad()
    def move(self, tau: float) -> None:
        """Go a part of the way: ``target = (1 - tau) target + tau source``; 1 copies."""
        self.flat.lerp_(self.source.flat, tau)
