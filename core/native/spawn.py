"""Starting and talking to the fork template from the node's side; see `template`."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from rllib.core.native import wire

_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]); "
    "from rllib.core.native.template import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)
_END_S = 5.0

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Numeric libraries start thread pools on import, which a fork does not inherit; and workers share
the cores with each other. User settings win; code that wants more threads asks for them."""


class TemplateProcess:
    """The fork template, started and connected."""

    def __init__(self, directory: Path, preload: tuple[str, ...]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = [str(theirs.fileno()), str(os.getpid()), json.dumps(sys.path)]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOTSTRAP, *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**_ONE_THREAD, **os.environ},
                start_new_session=True,  # out of reach of the terminal's Ctrl-C
            )
        self._sock = ours
        self.fd = ours.fileno()
        ours.send(wire.encode_record(wire.Boot(str(directory), list(preload))))

    def fork(self, order: wire.Fork, fds: list[int]) -> None:
        """Ask for a worker; it inherits ``fds``. A dead template shows when it is read from."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        try:
            self._sock.sendmsg([wire.encode_record(order)], rights)
        except (BrokenPipeError, ConnectionResetError):
            return

    def receive(self) -> Any:
        """The next record. Raises `EOFError` when the template is gone."""
        try:
            data = self._sock.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            raise EOFError("the fork template is gone")
        return wire.read_record(data)

    def close(self) -> str:
        """Let go of a template that has ended by itself; how it did."""
        self._sock.close()
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return f"exited with code {code}" if code >= 0 else f"was killed by signal {-code}"

    def abandon(self) -> None:
        """In a forked child: the template is the parent's to end."""
        self._sock.close()
        self._process.returncode = 0  # so that the finaliser does not look for it

    def end(self) -> None:
        """End it and all workers; returns when nothing is left of them."""
        self._sock.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # workers die with their parent
            self._process.wait()
