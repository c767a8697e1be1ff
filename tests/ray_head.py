"""A Ray in processes of its own, for drivers that come to it through Ray Client."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from patience import wait_until

_START_S, _END_S = 60.0, 5.0

_port: int | None = None


def address() -> str:
    """Of its Ray Client server, as `core.init` takes it."""
    assert _port is not None
    return f"ray://127.0.0.1:{_port}"


@contextmanager
def ray_head(**labels: str) -> Iterator[None]:
    """Start it with two CPUs, in a group of processes of its own, and end it afterwards."""
    global _port
    _port = free_port()
    # Not where Ray looks for one that runs on this machine.
    folder = Path(tempfile.gettempdir()) / "head"
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        head = subprocess.Popen(
            _command(_port, folder, labels),
            stdout=log,
            stderr=log,
            env=_environment(),
            start_new_session=True,
        )
    try:
        wait_until(lambda: _answers(head, folder / "log"), _START_S)
        yield
    finally:
        _port = None
        _end(head)


def _command(port: int, folder: Path, labels: dict[str, str]) -> list[str]:
    options = {
        "port": 0,
        "ray-client-server-port": port,
        "min-worker-port": 0,
        "max-worker-port": 0,
        "num-cpus": 2,
        "include-dashboard": "false",
        "object-store-memory": 200_000_000,
        "temp-dir": folder,
        "labels": ",".join(f"{name}={value}" for name, value in labels.items()),
    }
    given = [f"--{name}={value}" for name, value in options.items()]
    start = ["-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    return [sys.executable, *start, *given]


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, sys.path))
    # Ray's proxy of clients forks among threads of gRPC, whose handlers then hang now and then.
    return {**os.environ, "PYTHONPATH": path, "GRPC_ENABLE_FORK_SUPPORT": "0"}


def _answers(head: subprocess.Popen[bytes], log: Path) -> bool:
    assert head.poll() is None, log.read_text()
    assert _port is not None
    try:
        socket.create_connection(("127.0.0.1", _port), timeout=1).close()
    except OSError:
        return False
    return True


def _end(head: subprocess.Popen[bytes]) -> None:
    os.killpg(head.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        head.wait(_END_S)
    with suppress(ProcessLookupError):  # Ray's own take their time, and its workers end with them
        os.killpg(head.pid, signal.SIGKILL)
    head.wait()


def free_port() -> int:
    """One on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
