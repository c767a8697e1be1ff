"""A stream of torch's random numbers that belongs to one owner.

Networks and distributions draw from torch's global generators, of which every device has one.
Whoever needs the same numbers again puts a stream of its own in their place meanwhile, and leaves
the global ones as they were.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rllib.checkpoints.torch_state import to_array

CPU = torch.device("cpu")


class TorchStream:
    """Random numbers from a seed, however much the rest of the process draws.

    Args:
        seed: in [0, 2**63).
        device: where numbers are drawn, besides the CPU.
    """

    def __init__(self, seed: int, device: torch.device = CPU) -> None:
        self.devices = dict.fromkeys((CPU, device))
        self._states = [
            torch.Generator(device).manual_seed(seed).get_state() for device in self.devices
        ]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within, torch draws from this stream."""
        outer = self._swap(self._states)
        try:
            yield
        finally:
            self._states = self._swap(outer)

    def _swap(self, states: list[Tensor]) -> list[Tensor]:
        """Give the global generators these states; returns what theirs were."""
        before = [_get(device) for device in self.devices]
        for device, state in zip(self.devices, states, strict=True):
            _set(device, state)
        return before

    def get_state(self) -> dict[str, Any]:
        """State tree: [bytes] uint8 for each type of device, to go on from."""
        return {
            device.type: to_array(state)
            for device, state in zip(self.devices, self._states, strict=True)
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``; on a device that it was not of, as before."""
        self._states = [
            torch.from_numpy(np.array(state[device.type], np.uint8))
            if device.type in state
            else own
            for device, own in zip(self.devices, self._states, strict=True)
        ]


def _get(device: torch.device) -> Tensor:
    return torch.get_rng_state() if device.type == "cpu" else torch.cuda.get_rng_state(device)


def _set(device: torch.device, state: Tensor) -> None:
    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.cuda.set_rng_state(state, device)
