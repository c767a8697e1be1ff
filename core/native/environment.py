"""The worker's side of an assignment: what it changes in the process before anything runs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rllib.core.exceptions import CoreError, RuntimeEnvSetupError
from rllib.core.native.archives import (
    STORE,
    Package,
    digest_of,
    drafted,
    files_in,
    settle,
    unpack,
)
from rllib.core.runtime_env import enter

_VISIBLE = "CUDA_VISIBLE_DEVICES"


class Environment:
    """What this process may see. A worker gets one ``runtime_env`` for life, but may be lent
    with other GPUs each time.

    Args:
        directory: of the session.
        fetch: gets the archive of a snapshot from another node, which may take a while; returns
            nothing for one of this node. Raises `CoreError` where that cannot be.
    """

    def __init__(self, directory: Path, fetch: Callable[[Package], memoryview | None]) -> None:
        self._inherited_gpus = os.environ.get(_VISIBLE)
        self._store = directory / STORE
        self._fetch = fetch
        self._text = ""
        self._entered = ""
        self._packages: list[Package] = []
        self.fields: dict[str, Any] = {}
        """Of the ``runtime_env``, with paths as they are on this node."""

    def show_gpus(self, gpus: Iterable[str]) -> None:
        """Hide all others from CUDA; without any, nothing is changed, as in Ray."""
        visible = ",".join(gpus) or self._inherited_gpus
        if visible is None:
            os.environ.pop(_VISIBLE, None)
        else:
            os.environ[_VISIBLE] = visible

    def adopt(self, text: str) -> None:
        """Read a resolved ``runtime_env``, which is to be entered before anything runs."""
        if text == self._text:
            return
        self._text, fields = text, json.loads(text or "{}")
        self._packages = []
        if "working_dir" in fields:
            fields["working_dir"] = self._local(fields["working_dir"])
        if "py_modules" in fields:
            fields["py_modules"] = [self._local(name) for name in fields["py_modules"]]
        self.fields = fields

    def _local(self, name: str) -> str:
        package = Package.read(name)
        self._packages.append(package)
        return str(package.within(self._store))

    @property
    def is_entered(self) -> bool:
        """Whether what was adopted is what this process sees."""
        return self._text == self._entered

    def enter(self) -> None:
        """Set up what was adopted; what is missing on this node comes before. Blocks.

        Raises `RuntimeEnvSetupError`.
        """
        text = self._text
        if text == self._entered:
            return
        for package in self._packages:
            self._provide(package)
        enter(self.fields)
        self._entered = text

    def _provide(self, package: Package) -> None:
        place = self._store / package.digest
        if place.exists():
            return
        try:
            with _locked(place.with_suffix(".lock")):  # one process of a node fetches it
                if not place.exists():
                    self._unpack(package, place)
        except (CoreError, OSError, ValueError) as error:
            raise RuntimeEnvSetupError(
                f"a snapshot of its runtime_env did not come from the node where it was taken, or "
                f"cannot be unpacked in {self._store}: {error}"
            ) from error

    def _unpack(self, package: Package, place: Path) -> None:
        archive = self._fetch(package)
        if archive is None:
            return
        with drafted(self._store) as draft:
            unpack(archive, draft)
            if digest_of(files_in(draft)) != package.digest:
                raise ValueError("its content is not what its name says")
            settle(draft, place)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Among the processes of this node; a lock ends with its process at the latest."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
