"""What the scheduler tells the node service to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Start:
    """Fork a worker of that id."""

    worker: bytes


@dataclass(frozen=True, slots=True)
class Stop:
    """End that worker at once."""

    worker: bytes


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a message to a client."""

    client: bytes
    message: Any


@dataclass(frozen=True, slots=True)
class Warn:
    """Say something to the user."""

    text: str


Instruction = Start | Stop | Tell | Warn
