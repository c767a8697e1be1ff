"""The worker's side of an assignment: what it changes in the process before anything runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from rllib.core.runtime_env import enter

_VISIBLE = "CUDA_VISIBLE_DEVICES"


class Environment:
    """What this process may see. A worker gets one ``runtime_env`` for life, but may be lent
    with other GPUs each time."""

    def __init__(self) -> None:
        self._inherited_gpus = os.environ.get(_VISIBLE)
        self._text = ""
        self._fields: dict[str, Any] = {}

    def show_gpus(self, gpus: Iterable[str]) -> None:
        """Hide all others from CUDA; without any, nothing is changed, as in Ray."""
        visible = ",".join(gpus) or self._inherited_gpus
        if visible is None:
            os.environ.pop(_VISIBLE, None)
        else:
            os.environ[_VISIBLE] = visible

    def enter(self, text: str) -> dict[str, Any]:
        """Set a resolved ``runtime_env`` up; its fields. Raises `RuntimeEnvSetupError`."""
        if text != self._text:
            self._text, self._fields = text, json.loads(text)
            enter(self._fields)
        return self._fields
