"""What tasks and actors need, and what they are given."""

from __future__ import annotations

from typing import Literal

from rllib.core.labels import Alternatives
from rllib.core.native.wire.message import Message


class Needs(Message):
    """What a task or an actor must be given before it can run."""

    resources: dict[str, float]
    group: bytes = b""
    """Placement group; empty for none."""
    bundle: int = -1
    """Of that group; -1 for any."""
    captures: bool = False
    """Whether what it starts itself goes to the same group."""
    node: str = ""
    """Node id in hexadecimal; empty for any."""
    soft: bool = False
    """Whether another node will do should that one not be there."""
    environment: str = ""
    """Variables, working directory and modules; see `runtime_env`."""
    labels: Alternatives = ()
    """What labels the node must have."""
    spread: bool = False
    """Whether to run where least is in use."""
    near: bytes = b""
    """Key of the node with most of its arguments; empty where that does not matter."""


class Assignment(Message):
    """What the node has given to a lease or an actor."""

    resources: dict[str, float]
    gpus: list[str] = []
    """Devices that it may use."""
    group: bytes = b""
    captures: bool = False
    environment: str = ""
    actor: bytes = b""
    name: str = ""
    namespace: str = ""
    restarts: int = 0
    """Times that the actor was started again because its process had died."""


Fate = Literal["", "group removed", "unschedulable", "out of memory"]
"""Why something does not run (any more); empty where its process died or could not start."""
