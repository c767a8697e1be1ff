"""The worker's side of an assignment: what it changes in the process before anything runs."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable

from rllib.core.exceptions import RuntimeEnvSetupError

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Environment:
    """What this process may see. A worker gets one ``runtime_env`` for life, but may be lent
    with other GPUs each time."""

    def __init__(self) -> None:
        self._inherited_gpus = os.environ.get(_VISIBLE)
        self._text = ""

    def show_gpus(self, gpus: Iterable[str]) -> None:
        """Hide all others from CUDA; without any, nothing is changed, as in Ray."""
        visible = ",".join(gpus) or self._inherited_gpus
        if visible is None:
            os.environ.pop(_VISIBLE, None)
        else:
            os.environ[_VISIBLE] = visible

    def enter(self, text: str) -> None:
        """Set a resolved ``runtime_env`` up. Raises `RuntimeEnvSetupError`."""
        if text == self._text:
            return
        self._text = text
        fields = json.loads(text)
        for name, value in fields.get("env_vars", {}).items():
            os.environ[name] = _VARIABLE.sub(lambda m: os.environ.get(m[1], ""), value)
        paths = list(fields.get("py_modules", []))
        if "working_dir" in fields:
            _change_directory(fields["working_dir"])
            paths.insert(0, fields["working_dir"])
        sys.path[:0] = paths


def _change_directory(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        raise RuntimeEnvSetupError(
            f"the worker cannot enter working_dir {path}: {error}"
        ) from error
