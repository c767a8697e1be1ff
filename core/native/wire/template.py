"""Between the node service and its template."""

from __future__ import annotations

from rllib.core.native.wire.message import Message


class Boot(Message, tag="boot"):
    """Node to template, first: the session, and what workers are to find imported."""

    directory: str
    preload: list[str]


class Make(Message, tag="make"):
    """Node to template: make a worker; its control socket and its output pipe come along."""

    worker: bytes
    driver: bytes
    namespace: str
    store_bytes: int
    cell: int
    """Its cell in the node's `Ledger`."""
    logging: str = ""
    """See `logs.Logging.text`."""


class Kill(Message, tag="kill"):
    """Node to template: end that worker, and what it has started, at once."""

    worker: bytes


class Made(Message, tag="made"):
    """Template to node: the worker's process id."""

    worker: bytes
    pid: int


class Exited(Message, tag="exited"):
    """Template to node: the worker ended, with this status of ``waitpid``."""

    worker: bytes
    status: int


class Notice(Message, tag="notice"):
    """Template to node: something that the user should know."""

    text: str
