"""A disk that takes no more: the value that finds no room says so, and nothing else breaks."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import wait_until

from rllib import core
from rllib.core.exceptions import OutOfDiskError

MIB = 2**20
STORE_BYTES = 32 * MIB
DISK_BYTES = 20 * MIB
PIECE = 8 * MIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that is full after two values of eight MiB."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(tmp_path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def piece(k: float) -> np.ndarray:
    return np.full(MIB, float(k))


def is_piece(ref: Any, k: float) -> bool:
    return bool((core.get(ref) == k).all())


@core.remote
def make(k: int) -> np.ndarray:
    return piece(k)


@core.remote
def check(array: np.ndarray, k: int) -> bool:
    return bool((array == k).all())


def start(folder: Path) -> Any:
    return core.init(
        num_cpus=1, object_store_memory=STORE_BYTES, object_spilling_directory=str(folder)
    )


def test_a_full_disk(small_disk: Path) -> None:
    with start(small_disk):
        refs = [core.put(piece(k)) for k in range(6)]  # four in memory, two on the disk
        with pytest.raises(OutOfDiskError, match=r"8,388,608 bytes.*No space left on device"):
            core.put(piece(6))
        with pytest.raises(OutOfDiskError, match="No space left on device"):
            core.get(make.remote(6))
        with pytest.raises(OutOfDiskError, match="object_spilling_directory"):
            check.remote(piece(6), 6)
        assert all(is_piece(ref, k) for k, ref in enumerate(refs))
        assert all(core.get([check.remote(ref, k) for k, ref in enumerate(refs)]))
        assert core.get(core.put("small")) == "small"
        del refs[0]
        wait_until(lambda: len(files(small_disk)) == 1)
        refs.append(core.put(piece(6)))
        assert is_piece(refs[-1], 6)
        refs.clear()
        assert is_piece(make.remote(7), 7)
    assert not list(small_disk.iterdir())


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_folder_that_goes_away(tmp_path: Path) -> None:
    with start(tmp_path):
        refs = [core.put(piece(k)) for k in range(4)]
        (session,) = tmp_path.iterdir()
        session.rename(tmp_path / "elsewhere")
        with pytest.raises(OutOfDiskError, match="No such file or directory"):
            core.put(piece(4))
        assert all(is_piece(ref, k) for k, ref in enumerate(refs))
        (tmp_path / "elsewhere").rename(session)
        refs.append(core.put(piece(4)))
        assert all(is_piece(ref, k) for k, ref in enumerate(refs))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"object_spilling_directory=.*Not a directory"):
        start(tmp_path / "file")
    assert not core.is_initialized()
