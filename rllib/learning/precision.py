"""Numbers of 16 bits in forward and backward passes; weights and optimisers keep 32."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}

Mixed = Literal["auto", "bfloat16", "float16"] | None
"""The setting ``mixed_precision``."""

FIRST_SCALE = 2.0**16
LARGEST_SCALE = 2.0**24
"""Beyond it nothing is gained: the smallest number of float16 is 2 ** -24."""
STEPS_TO_GROWTH = 2000


class LossScale:
    """What losses are multiplied by, so that gradients of float16 do not vanish (Micikevicius et
    al. 2018, arXiv 1710.03740): doubled every 2000 steps, halved when a gradient overflows.

    The gradients are divided by it again before anybody looks at them.
    """

    def __init__(self) -> None:
        self.value = FIRST_SCALE
        self.num_good_steps = 0

    def grow(self) -> None:
        """Take note of a step with finite gradients."""
        self.num_good_steps += 1
        if self.num_good_steps >= STEPS_TO_GROWTH:
            self.value, self.num_good_steps = min(2.0 * self.value, LARGEST_SCALE), 0

    def shrink(self) -> bool:
        """Take note of an overflow; False if it is not the scale's fault."""
        self.num_good_steps = 0
        if self.value <= 1.0:
            return False
        self.value *= 0.5
        return True

    def get_state(self) -> dict[str, Any]:
        """State tree."""
        return {"value": self.value, "num_good_steps": self.num_good_steps}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``."""
        self.value = float(state["value"])
        self.num_good_steps = int(state["num_good_steps"])


def has_bfloat16(device: torch.device) -> bool:
    """Whether it has instructions for bfloat16, without which float32 is several times faster."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class Precision:
    """How exactly a learner computes.

    Args:
        mixed: the setting ``mixed_precision``.
        device: where it computes.

    Attributes:
        scale: of losses; None where gradients have the range of float32.
    """

    def __init__(self, mixed: Mixed, device: torch.device) -> None:
        if mixed == "auto":
            mixed = "bfloat16" if has_bfloat16(device) else None
        self.dtype = None if mixed is None else DTYPES[mixed]
        self.device = device
        self.scale = LossScale() if self.dtype is torch.float16 else None

    def autocast(self) -> AbstractContextManager[Any]:
        """Within, layers compute in 16 bits."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)
