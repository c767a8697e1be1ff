"""What a driver has on disk: a directory of its own, and the process that removes it at last."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from rllib.core.native import janitor
from rllib.core.native.spillfiles import SPILL, make_directory, remove_session

_MAX_SOCKET_PATH = 60
"""Of a directory: a Unix socket's path has 103 characters on macOS, a few more on Linux, of which
the sockets' own names need the rest."""

JOB_BYTES = 4
"""Of the id of a job."""


class Session:
    """The directory, the lock that says that its driver lives, and the janitor."""

    def __init__(self, spill: str | None, temp_dir: str) -> None:
        """Raises `ValueError` where ``spill``, for large values elsewhere, or ``temp_dir``, for
        everything else, cannot be used."""
        self.directory, self._lock = _locked_directory(base_directory(temp_dir))
        try:
            make_directory(self.directory, spill)
        except ValueError:
            remove_session(self.directory)
            os.close(self._lock)
            raise
        self.janitor = Janitor(self.directory)

    def close(self) -> None:
        """Remove everything."""
        remove_session(self.directory)
        os.close(self._lock)
        self.janitor.close()

    def abandon(self) -> None:
        """In a forked child: everything stays the parent's."""
        os.close(self._lock)
        self.janitor.abandon()


class Janitor:
    """The process of that name; see `janitor`. ``fd`` is what keeps it waiting."""

    def __init__(self, directory: Path) -> None:
        read_end, self.fd = os.pipe()
        os.set_blocking(self.fd, False)
        folders = {str(path.resolve()) for path in (directory, directory / SPILL)}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", janitor.__file__, *folders],
            stdin=read_end,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # out of reach of the terminal's Ctrl-C
        )
        os.close(read_end)

    def forget_all(self) -> None:
        """All workers so far have ended."""
        with contextlib.suppress(BrokenPipeError, BlockingIOError):  # killed, or stopped for long
            os.write(self.fd, b"0\n")

    def close(self) -> None:
        """End it; it finds nothing to do."""
        os.close(self.fd)
        self._process.wait()

    def abandon(self) -> None:
        """In a forked child."""
        os.close(self.fd)
        self._process.returncode = 0  # so that the finaliser does not look for it


def _locked_directory(base: Path) -> tuple[Path, int]:
    """A directory of this user's alone, and its lock."""
    _remove_stale(base)
    while True:
        directory = base / f"{os.getpid()}-{secrets.token_hex(4)}"
        directory.mkdir(mode=0o700)
        lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (directory / "lock").exists():
            return directory, lock
        os.close(lock)  # somebody who was cleaning up took it for a stale one, between two lines


def base_directory(temp_dir: str = "") -> Path:
    """``<tmp>/rllib-<uid>``, or below /tmp where the path would not fit into a socket address."""
    base = Path(temp_dir or tempfile.gettempdir()) / f"rllib-{os.getuid()}"
    if len(str(base)) > _MAX_SOCKET_PATH - 20:
        if temp_dir:
            raise ValueError(
                f"_temp_dir {temp_dir!r} is too long for the addresses of sockets in it by "
                f"{len(str(base)) - _MAX_SOCKET_PATH + 20} characters: give a link to it"
            )
        base = Path("/tmp") / base.name
    base.parent.mkdir(parents=True, exist_ok=True)
    base.mkdir(mode=0o700, exist_ok=True)
    facts = base.stat()
    if facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise PermissionError(
            f"{base} must belong to this user alone (mode 0700), it has mode "
            f"{facts.st_mode & 0o777:o} and owner {facts.st_uid}; remove it or set TMPDIR"
        )
    return base


def _remove_stale(base: Path) -> None:
    """Remove sessions whose driver, template and janitor were all killed."""
    for directory in base.iterdir():
        try:
            lock = os.open(directory / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # just being made, or just being removed
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_session(directory)
        except BlockingIOError:
            continue  # its driver lives
        finally:
            os.close(lock)


def node_id(directory: Path) -> str:
    """The id of the node that has its sockets in that directory."""
    return hex_id(f"{directory.name}/node", 28)


def hex_id(text: str, size: int) -> str:
    """An id of ``size`` bytes, the same for the same text."""
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
