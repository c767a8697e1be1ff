"""Which GPUs this process may use, without importing anything that talks to them."""

from __future__ import annotations

import os
from pathlib import Path

_DRIVER = Path("/proc/driver/nvidia/gpus")


def visible_gpus(wanted: float | None) -> list[str]:
    """Their names: those that ``CUDA_VISIBLE_DEVICES`` lets through, or all by number.

    Raises `ValueError` where more are ``wanted`` than the variable lets through.
    """
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is None:
        return [str(number) for number in range(_installed())]
    names = [name.strip() for name in variable.split(",") if name.strip()]
    if wanted is not None and wanted > len(names):
        raise ValueError(
            f"num_gpus={wanted:g}, but CUDA_VISIBLE_DEVICES={variable!r} lets {len(names)} through"
        )
    return names


def _installed() -> int:
    return len(list(_DRIVER.iterdir())) if _DRIVER.is_dir() else 0
