"""Snapshots of directories and modules that workers are to see, in the session directory.

A snapshot lies under the hash of its content: the same files are copied once, however many tasks
name them, and what is changed afterwards does not reach workers that run already.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Any

from rllib.core.runtime_env import merge

MAX_BYTES = 500 * 2**20
"""Of one snapshot. Larger data does not belong into the code of a worker."""

_ALWAYS_EXCLUDED = ("__pycache__", ".git", ".venv")


class Environments:
    """A process's way from a ``runtime_env`` to the text that tells workers what to set up."""

    def __init__(self, directory: Path) -> None:
        self._store = directory / "env"
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
        """With snapshots in place of the user's paths."""
        packed = {name: value for name, value in given.items() if name != "excludes"}
        excludes = given.get("excludes", [])
        if "working_dir" in given:
            path = Path(given["working_dir"])
            snapshot = self._unzip(path) if path.is_file() else self._copy(path, excludes)
            packed["working_dir"] = str(snapshot)
        if "py_modules" in given:
            modules = map(Path, given["py_modules"])
            packed["py_modules"] = [str(self._copy_module(path, excludes)) for path in modules]
        return packed

    def _unzip(self, archive: Path) -> Path:
        place = self._store / _digest([(archive.name, archive)])
        with zipfile.ZipFile(archive) as content:
            _check_size(archive, sum(entry.file_size for entry in content.infolist()))
            return place if place.exists() else _fill(place, content.extractall)

    def _copy(self, source: Path, excludes: list[str]) -> Path:
        files = dict(_files(source, excludes))
        _check_size(source, sum(path.stat().st_size for path in files.values()))
        place = self._store / _digest(sorted(files.items()))
        if place.exists():
            return place
        return _fill(place, lambda target: _copy_files(files, target))

    def _copy_module(self, source: Path, excludes: list[str]) -> Path:
        """Where its copy lies, under its own name in a folder of its own."""
        files = dict(_files(source, excludes)) if source.is_dir() else {".": source}
        named = {str(PurePath(source.name, name)): path for name, path in files.items()}
        _check_size(source, sum(path.stat().st_size for path in named.values()))
        place = self._store / _digest(sorted(named.items()))
        if not place.exists():
            _fill(place, lambda target: _copy_files(named, target))
        return place / source.name


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


def _check_size(source: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise ValueError(
            f"{source} has {size / 2**20:,.0f} MiB, and a runtime_env takes up to "
            f"{MAX_BYTES // 2**20}: leave files out with excludes"
        )


def _digest(files: list[tuple[str, Path]]) -> str:
    total = hashlib.blake2b(digest_size=16)
    for name, path in files:
        content = hashlib.blake2b(path.read_bytes()).digest()
        total.update(f"{name}\0{path.stat().st_mode:o}\0".encode() + content)
    return total.hexdigest()


def _copy_files(files: Mapping[str, Path], target: Path) -> None:
    for name, path in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target / name)


def _fill(place: Path, fill: Any) -> Path:
    """Make a snapshot appear at once, whole; another process may make the same one meanwhile."""
    draft = place.with_name(f"{place.name}.{secrets.token_hex(4)}")
    draft.mkdir(mode=0o700, parents=True)
    fill(draft)
    try:
        draft.rename(place)
    except OSError:  # somebody was quicker
        shutil.rmtree(draft)
        if not place.exists():
            raise
    return place
