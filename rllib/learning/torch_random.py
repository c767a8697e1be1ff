"""A stream of torch's random numbers that belongs to one owner.

Networks and distributions draw from torch's global generators, of which every device has one.
Whoever needs the same numbers again puts a stream of its own in their place meanwhile, and leaves
the global ones as they were.
"""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rllib.checkpoints.torch_state import to_array
from rllib.errors import CheckpointError

CPU = torch.device("cpu")
_CPU_NUMBERS = torch.default_generator


class TorchStream:
    """Random numbers from a seed, however much the rest of the process draws.

    Args:
        seed: in [0, 2**63).
        device: where numbers are drawn, besides the CPU.
    """

    def __init__(self, seed: int, device: torch.device = CPU) -> None:
        self.devices = [CPU] if device.type == "cpu" else [CPU, device]
        self.states = [
            torch.Generator(device).manual_seed(seed).get_state() for device in self.devices
        ]
        """Of the generators that are to be put in place of the global ones."""

    def active(self) -> AbstractContextManager[None]:
        """Within, torch draws from this stream."""
        return _Active(self)

    def swap(self, states: list[Tensor]) -> list[Tensor]:
        """Give the global generators these states; returns what theirs were."""
        before = [_get(device) for device in self.devices]
        for device, state in zip(self.devices, states, strict=True):
            _set(device, state)
        return before

    def get_state(self) -> dict[str, Any]:
        """State tree: [bytes] uint8 for each type of device, to go on from."""
        return {
            device.type: to_array(state)
            for device, state in zip(self.devices, self.states, strict=True)
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``; on a device that it was not of, as before.

        Raises:
            CheckpointError: it is no state of a generator.
        """
        self.states = [
            _like(own, state[device.type], device) if device.type in state else own
            for device, own in zip(self.devices, self.states, strict=True)
        ]


def _like(own: Tensor, saved: Any, device: torch.device) -> Tensor:
    """The saved state, once a generator has taken it."""
    state = torch.from_numpy(np.array(saved, np.uint8))
    try:
        torch.Generator(device).set_state(state)
    except RuntimeError as error:
        text = f"{list(state.shape)} bytes are no state of torch's random numbers"
        raise CheckpointError(f"{text}, which has {list(own.shape)}: {error}") from None
    return state


class _Active(AbstractContextManager[None]):
    """A class, because a generator takes as long as the swap, and there are two in every update."""

    def __init__(self, stream: TorchStream) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        self.outer = self.stream.swap(self.stream.states)

    def __exit__(self, *_: object) -> None:
        self.stream.states = self.stream.swap(self.outer)


def _get(device: torch.device) -> Tensor:
    return _CPU_NUMBERS.get_state() if device is CPU else torch.cuda.get_rng_state(device)


def _set(device: torch.device, state: Tensor) -> None:
    if device is CPU:
        _CPU_NUMBERS.set_state(state)
    else:
        torch.cuda.set_rng_state(state, device)
