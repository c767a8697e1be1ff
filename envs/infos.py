"""The info of one environment, out of what a vector environment says of all.

Legend: N environments.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

FINAL_INFO = "final_info"
"""Where gymnasium puts the infos of episodes that ended, if it resets in the same step."""
_OF_EPISODES_THAT_ENDED = (FINAL_INFO, "final_obs")


def info_of(infos: Mapping[str, Any], index: int) -> dict[str, Any]:
    """What environment ``index`` has said.

    Args:
        infos: arrays [N] by name, nested where infos are; ``_name`` [N] is whose they are, if it is
            not everybody.
        index: 0-based.
    """
    found: dict[str, Any] = {}
    for name, value in infos.items():
        is_mask = name.startswith("_") and name[1:] in infos
        if is_mask or name in _OF_EPISODES_THAT_ENDED or not _has(infos, name, index):
            continue
        found[name] = info_of(value, index) if isinstance(value, Mapping) else _row(value, index)
    return found


def _has(infos: Mapping[str, Any], name: str, index: int) -> bool:
    mask = infos.get(f"_{name}")
    return mask is None or bool(mask[index])


def _row(value: Any, index: int) -> Any:
    """Of a list or array; anything else is said of all."""
    return value[index] if isinstance(value, list | tuple) or np.ndim(value) else value
