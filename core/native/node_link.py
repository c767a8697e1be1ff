"""The way from a process to its node service: a call in the driver, a socket in a worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class NodeLink(ABC):
    """The way to this process's node service."""

    @abstractmethod
    def tell(self, record: Any) -> None:
        """Send it a message; answers come through `engine.NativeRuntime.on_node`."""

    @abstractmethod
    def close(self) -> None:
        """The runtime ends."""

    @abstractmethod
    def abandon(self) -> None:
        """In a forked child: close what was inherited; the parent goes on with its own."""
