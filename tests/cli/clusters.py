"""Clusters that are started by commands, for tests of them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
Command = Callable[..., str]


def begin(folder: Path, *arguments: str, **given: str) -> "subprocess.Popen[str]":
    """``rllib`` with these arguments and, besides, environment variables."""
    return subprocess.Popen(
        [sys.executable, "-m", "rllib", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **given},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, *arguments: str, code: int = 0, said: str = "", **given: str) -> str:
    """What it printed, once it has ended with that code; ``said`` is its standard input."""
    process = begin(folder, *arguments, **given)
    told = process.communicate(said, timeout=110)[0]
    assert process.returncode == code, told
    return told
