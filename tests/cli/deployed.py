"""Running what `rllib slurm` and `rllib kubernetes` print, on this machine."""

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from rllib.core.cluster.credentials import ClusterError, own_address

ROOT = Path(__file__).parents[2]

RLLIB = f"""#!/bin/sh
PYTHONPATH={ROOT} exec {sys.executable} -m rllib "$@"
"""


def on_path(folder: Path, programs: dict[str, str]) -> dict[str, str]:
    """The environment in which ``rllib`` and these programs are found first."""
    folder.mkdir()
    for name, text in {"rllib": RLLIB, **programs}.items():
        path = folder / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def reachable_address() -> str:
    """An address of this machine that others may reach."""
    try:
        return own_address("192.0.2.1:9")
    except ClusterError:
        pytest.skip("this machine has no network")


def free_port(first: int, last: int) -> int:
    """One that nobody listens at, where a system does not choose any by itself."""
    for port in range(first, last):
        with socket.socket() as sock:
            try:
                sock.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
