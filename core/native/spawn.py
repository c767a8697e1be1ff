"""Starting and talking to the template from the node's side; see `template`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

from rllib.core.native import wire
from rllib.core.native.connection import Connection
from rllib.core.native.session import Session

_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[4]); "
    "from rllib.core.native.template import main; main(*map(int, sys.argv[1:4]))"
)
_END_S = 5.0

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Numeric libraries start thread pools on import, which a fork does not inherit; and workers share
the cores with each other. User settings win; code that wants more threads asks for them."""


class TemplateProcess:
    """The template, started and connected."""

    def __init__(self, session: Session, preload: tuple[str, ...]) -> None:
        self._session = session
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        fds = (theirs.fileno(), session.janitor.fd)
        arguments = [*map(str, fds), str(os.getpid()), json.dumps(sys.path)]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOTSTRAP, *arguments],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                env={**_ONE_THREAD, **os.environ},
                start_new_session=True,  # out of reach of the terminal's Ctrl-C
            )
        self.conn = Connection(ours)
        self.conn.send(wire.record_frame(wire.Boot(str(session.directory), list(preload))))

    def make(self, order: wire.Make, fds: list[int]) -> None:
        """Queue the order of a worker, which inherits ``fds``."""
        self.conn.send_with(wire.record_frame(order), fds)

    def kill(self, worker: bytes) -> None:
        """Queue the order to end a worker, if it has not ended yet."""
        self.conn.send(wire.record_frame(wire.Kill(worker)))

    def receive(self) -> list[Any]:
        """The next records. Raises `EOFError` when the template is gone."""
        return [wire.read_record(frame[-1]) for frame in self.conn.receive()]

    def close(self) -> str:
        """Let go of a template that has ended by itself; how it did."""
        self.conn.close()
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._session.janitor.forget_all()
        return f"exited with code {code}" if code >= 0 else f"was killed by signal {-code}"

    def abandon(self) -> None:
        """In a forked child: the template is the parent's to end."""
        self.conn.close()
        self._process.returncode = 0  # so that the finaliser does not look for it

    def end(self) -> None:
        """End it and all workers; returns when nothing is left of them."""
        self.conn.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # the janitor ends its workers
            self._process.wait()
