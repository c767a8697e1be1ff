"""Snapshots of directories and modules that workers are to see, in the session directory.

A snapshot lies under the hash of its content: the same files are copied once, however many tasks
name them, and what is changed afterwards does not reach workers that run already. Where there may
be other nodes, its archive lies beside it; see `archives`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Any

from rllib.core.native.archives import (
    STORE,
    Package,
    check_size,
    digest_of,
    drafted,
    files_in,
    pack,
    settle,
    unzip,
)
from rllib.core.native.peers import GATEWAY
from rllib.core.runtime_env import merge

_ALWAYS_EXCLUDED = ("__pycache__", ".git", ".venv")


class Environments:
    """A process's way from a ``runtime_env`` to the text that tells workers what to set up.

    Args:
        directory: of the session.
        keeper: tells which process serves other nodes with what lies there.
    """

    def __init__(self, directory: Path, keeper: Callable[[], bytes]) -> None:
        self._store = directory / STORE
        self._gateway = directory / GATEWAY
        self._keeper = keeper
        self._known: dict[tuple[str, str], str] = {}

    def resolve(self, parent: str, given: Mapping[str, Any]) -> str:
        """``given`` on top of an environment that was resolved before; empty for none.

        Raises `ValueError` for what is too large, `OSError` for what cannot be read.
        """
        if not given:
            return parent
        key = parent, json.dumps(given, sort_keys=True)
        text = self._known.get(key)
        if text is None:
            merged = merge(json.loads(parent or "{}"), self._packed(given))
            text = self._known[key] = json.dumps(merged, sort_keys=True)
        return text

    def _packed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """With the names of snapshots in place of the user's paths."""
        packed = {name: value for name, value in given.items() if name != "excludes"}
        excludes = given.get("excludes", [])
        if "working_dir" in given:
            packed["working_dir"] = str(self._take(Path(given["working_dir"]), excludes))
        if "py_modules" in given:
            modules = map(Path, given["py_modules"])
            packed["py_modules"] = [str(self._take_module(path, excludes)) for path in modules]
        return packed

    def _take(self, source: Path, excludes: list[str]) -> Package:
        if source.is_file():
            return self._keep(lambda target: unzip(source, target))
        return self._copy(source, dict(_files(source, excludes)))

    def _take_module(self, source: Path, excludes: list[str]) -> Package:
        """Its copy lies under its own name in a folder of its own."""
        files = dict(_files(source, excludes)) if source.is_dir() else {".": source}
        named = {str(PurePath(source.name, name)): path for name, path in files.items()}
        return self._copy(source, named)._replace(name=source.name)

    def _copy(self, source: Path, files: Mapping[str, Path]) -> Package:
        check_size(source, sum(path.stat().st_size for path in files.values()))
        package = Package(self._keeper(), digest_of(files))
        if self._is_kept(package):
            return package
        return self._keep(lambda target: _copy_files(files, target))

    def _is_kept(self, package: Package) -> bool:
        travels = not self._gateway.exists() or package.archive(self._store).exists()
        return travels and package.within(self._store).exists()

    def _keep(self, fill: Callable[[Path], None]) -> Package:
        """Named by what was copied: a file may be written to at this very moment."""
        with drafted(self._store) as draft:
            fill(draft)
            package = Package(self._keeper(), digest_of(files_in(draft)))
            if self._gateway.exists() and not package.archive(self._store).exists():
                pack(draft, package.archive(self._store))
            settle(draft, package.within(self._store))
        return package


def _files(source: Path, excludes: list[str]) -> Iterator[tuple[str, Path]]:
    """Names within the directory, and where the files lie."""
    for folder, folders, files in os.walk(source):
        within = Path(folder).relative_to(source)
        folders[:] = sorted(name for name in folders if not _excluded(within / name, excludes))
        for name in files:
            if not _excluded(within / name, excludes):
                yield str(within / name), Path(folder, name)


def _excluded(path: Path, excludes: list[str]) -> bool:
    """Whether a pattern matches the path within the directory, or the bare name."""
    if path.name in _ALWAYS_EXCLUDED:
        return True
    patterns = (pattern.strip("/") for pattern in excludes)
    return any(fnmatch(str(path), p) or fnmatch(path.name, p) for p in patterns)


def _copy_files(files: Mapping[str, Path], target: Path) -> None:
    for name, path in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target / name)
