"""The memory that control groups of Linux leave to this process, in both of their versions.

A group may be within others, each with a limit: a container's, a SLURM job's, one of systemd's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIPS = Path("/proc/self/cgroup")


class Usage(NamedTuple):
    """Memory in bytes."""

    used: int
    total: int

    @property
    def share(self) -> float:
        """What is used of all there is; 0 to 1."""
        return self.used / self.total

    @property
    def left(self) -> int:
        """What is not used."""
        return self.total - self.used


class _Files(NamedTuple):
    """What a version calls its files, and its counts of files in memory that were read."""

    limit: str
    current: str
    cached: tuple[str, ...]


_V2 = _Files("memory.max", "memory.current", ("inactive_file", "active_file"))
_V1 = _Files(
    "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")
)


def usages(root: Path = ROOT, memberships: Path = MEMBERSHIPS) -> Iterator[Usage]:
    """Of the groups that this process is in and that have a limit."""
    for top, own, files in _trees(root, memberships):
        for folder in (own, *own.parents):
            if folder.is_relative_to(top) and (usage := _usage(folder, files)):
                yield usage


def _trees(root: Path, memberships: Path) -> Iterator[tuple[Path, Path, _Files]]:
    """The tops of both versions' trees, and this process's groups in them."""
    paths = _paths(memberships)
    yield root, root / paths.get("", ""), _V2
    yield root / "memory", root / "memory" / paths.get("memory", ""), _V1


def _paths(memberships: Path) -> dict[str, str]:
    """By controller, below the top; version 2 has a single tree, with the name ""."""
    try:
        lines = memberships.read_text().splitlines()
    except OSError:  # no Linux
        return {}
    rows = [line.split(":", 2) for line in lines]
    return {each: path.lstrip("/") for _, names, path in rows for each in names.split(",")}


def _usage(group: Path, files: _Files) -> Usage | None:
    """Files that were read count as used there, but are dropped when memory is wanted."""
    try:
        total = int((group / files.limit).read_text())  # "max" where there is no limit
        used = int((group / files.current).read_text())
        rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return Usage(used - sum(int(rows.get(name, 0)) for name in files.cached), total)
    except (OSError, ValueError):
        return None
