"""Which GPUs this process may use, without importing anything that talks to them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rllib.core.labels import ACCELERATOR

_DRIVER = Path("/proc/driver/nvidia/gpus")
_MODEL = re.compile(r"^Model:\s*\w+\s+([A-Z0-9]+)", re.MULTILINE)


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


def gpu_resource() -> dict[str, float]:
    """What ``accelerator_type`` asks for, as ``accelerator_type:H100``; none where the driver does
    not tell which GPUs there are."""
    return {f"accelerator_type:{model}": 1.0 for model in _models()[:1]}


def gpu_labels() -> dict[str, str]:
    """The same as a label of the machine."""
    models = _models()
    return {ACCELERATOR: models[0]} if models else {}


def _models() -> list[str]:
    texts = [path.read_text(encoding="utf-8") for path in sorted(_DRIVER.glob("*/information"))]
    return [found[1] for text in texts if (found := _MODEL.search(text))]


def _installed() -> int:
    return len(list(_DRIVER.iterdir())) if _DRIVER.is_dir() else 0
