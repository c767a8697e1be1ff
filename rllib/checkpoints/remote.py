"""Checkpoints elsewhere: on whatever file system fsspec knows, by its URL (``s3://bucket/runs``).

A run has the same checkpoints there as on its own disk. Rows, which they share, are sent once::

    URL/NAME/iteration_000000040/manifest.json ...    as on disk, without rows
             rows/rows-*.safetensors                   of all checkpoints
             progress.jsonl, config.yaml               what else it takes to continue
             latest                                    written last
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from warnings import warn

from rllib.checkpoints.checkpoint import (
    MANIFEST,
    MAX_JSON_BYTES,
    move_into_place,
    sealed_files,
    verify,
)
from rllib.checkpoints.files import write_atomically
from rllib.checkpoints.folder import (
    LATEST,
    PREFIX,
    CheckpointFolder,
    Contents,
    is_checkpoint,
)
from rllib.checkpoints.rows import FILE
from rllib.errors import CheckpointError

ROWS = "rows"


class RemoteError(CheckpointError):
    """A file system elsewhere cannot be reached, or does not do what it should."""


def is_url(path: str | Path) -> bool:
    """Whether it names something on another file system."""
    return "://" in str(path)


class Remote:
    """A folder on another file system.

    Args:
        url: of the folder.

    Raises:
        RemoteError: fsspec, or what it needs for such a URL, is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        with self._reaching():
            from fsspec.core import url_to_fs

            self._system, self._root = url_to_fs(self.url)

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Whatever clients of other systems raise, it is one error here."""
        try:
            yield
        except CheckpointError:
            raise
        except ImportError as error:
            text = "pip install 'rllib-scale[remote]', and what fsspec needs for such a URL"
            raise RemoteError(f"{self.url}: {error}; {text}") from error
        except Exception as error:
            raise RemoteError(f"{self.url}: {type(error).__name__}: {error}") from error

    def _at(self, *parts: str) -> str:
        return "/".join((self._root.rstrip("/"), *parts))

    # Sending

    def put(self, folder: Path) -> None:
        """Send one checkpoint with all its files, in place of an older one.

        The manifest, which seals it, goes first and comes last: files of two checkpoints under one
        manifest are never there.

        Raises:
            RemoteError: that is not possible now.
        """
        with self._reaching():
            self._system.makedirs(self._at(), exist_ok=True)
            self._unseal()
            names = (*sealed_files(folder), MANIFEST)
            for name in names:
                self._put(folder / name, name)
            self._remove(name for name in self._names() - set(names) if FILE.fullmatch(name))

    def _unseal(self, *parts: str) -> None:
        if MANIFEST in self._names(*parts):
            self._system.rm(self._at(*parts, MANIFEST))

    def mirror(self, contents: Contents, others: Iterable[Path]) -> None:
        """Make what is there the same as the checkpoints of a run, unless it is newer.

        Args:
            contents: checkpoints of the run, which stay while they are sent.
            others: files that are sent besides.

        Raises:
            RemoteError: that is not possible now, or what is there is newer, which another machine
                may have trained; what was there last is still good.
        """
        with self._reaching():
            self._refuse_newer(contents.latest)
            files = {path.name: sealed_files(path) for path in contents.checkpoints}
            rows = {each for names in files.values() for each in names if FILE.fullmatch(each)}
            there = self._names()
            for path in contents.checkpoints:
                if path == contents.latest or MANIFEST not in self._names(path.name):
                    self._put_apart(path, files[path.name])
            for file in others:
                self._put(file, file.name)
            for name, pointer in contents.pointers.items():
                self._system.pipe_file(self._at(name), pointer)
            self._remove(name for name in there if name.startswith(PREFIX) and name not in files)
            self._remove(f"{ROWS}/{name}" for name in self._names(ROWS) - rows)

    def _refuse_newer(self, latest: Path | None) -> None:
        there = self.latest_iteration()
        here = -1 if latest is None else CheckpointFolder.iteration_of(latest)
        if there > here:
            text = (
                f"has a checkpoint of iteration {there}, and iteration {here} would take its place"
            )
            way_out = (
                "continue from there (run again), start over (--fresh), or take another --name"
            )
            raise RemoteError(f"{self.url}: {text}; {way_out}")

    def _put_apart(self, folder: Path, names: Iterable[str]) -> None:
        self._system.makedirs(self._at(ROWS), exist_ok=True)
        self._system.makedirs(self._at(folder.name), exist_ok=True)
        self._unseal(folder.name)
        known = self._names(ROWS)
        for name in (*names, MANIFEST):
            if not FILE.fullmatch(name):
                self._put(folder / name, f"{folder.name}/{name}")
            elif name not in known:
                self._put(folder / name, f"{ROWS}/{name}")

    def _put(self, file: Path, name: str) -> None:
        if file.is_file():
            self._system.put_file(str(file), self._at(name))

    def _names(self, *parts: str) -> set[str]:
        self._system.invalidate_cache()
        if not self._system.isdir(self._at(*parts)):
            return set()
        paths = self._system.ls(self._at(*parts), detail=False)
        return {path.rstrip("/").rpartition("/")[2] for path in paths}

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            self._system.rm(self._at(name), recursive=True)

    def clear(self) -> None:
        """Remove everything.

        Raises:
            RemoteError: that is not possible now.
        """
        with self._reaching():
            if self._system.exists(self._at()):
                self._system.rm(self._at(), recursive=True)

    # Fetching

    def get(self, folder: Path) -> None:
        """Fetch one checkpoint into an empty folder. It is as little trusted as any other.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        with self._reaching():
            self._get(MANIFEST, folder)
            for name, seal in sealed_files(folder).items():
                self._get(name, folder, seal.bytes)

    def latest_iteration(self) -> int:
        """The training iteration of the latest checkpoint of a run; -1 if there is none.

        Raises:
            RemoteError: that cannot be told now.
        """
        with self._reaching():
            return max(self._iterations(), default=-1)

    def _iterations(self) -> list[int]:
        """Of the checkpoints of a run, the latest one first."""
        names = self._names()
        found = {int(each.removeprefix(PREFIX)) for each in names if is_checkpoint(Path(each))}
        if LATEST not in names:
            return []
        text = self._system.cat_file(self._at(LATEST)).decode(errors="replace").strip()
        latest = int(text.removeprefix(PREFIX)) if is_checkpoint(Path(text)) else max(found)
        # What is newer is of another past, or was not sent whole.
        return [latest, *sorted((each for each in found if each < latest), reverse=True)]

    def restore(
        self, checkpoints: CheckpointFolder, others: Iterable[Path], after: int = -1
    ) -> bool:
        """Fetch the latest checkpoint of a run, and what else there is, if there is one.

        Of several it is the latest that is good; those that are not are warned of.

        Args:
            checkpoints: of the run.
            others: files that are fetched besides, if they are there.
            after: the training iteration that there is already; older ones are not fetched.

        Raises:
            CheckpointError: none can be fetched, or all are damaged.
        """
        damaged: list[str] = []
        with self._reaching():
            wanted = [each for each in self._iterations() if each > after]
            fetched = (self._fetch(checkpoints, each, damaged) for each in wanted)
            target = next(filter(None, fetched), None)
            if target is None and damaged and after < 0:
                raise RemoteError(damaged[0])
            for text in damaged:
                warn(f"{text}; an older checkpoint takes its place", RuntimeWarning, stacklevel=2)
            if target is None:
                return False
            for file in others:
                if file.name in self._names():
                    write_atomically(file, self._system.cat_file(self._at(file.name)))
            checkpoints.publish(target)
        return True

    def _fetch(
        self, checkpoints: CheckpointFolder, iteration: int, damaged: list[str]
    ) -> Path | None:
        """Fetch one of the checkpoints; None if it is not good, with the reason."""
        target = checkpoints.path_for(iteration)
        beside = target.with_name(f".{target.name}.tmp")
        beside.mkdir(parents=True)
        try:
            self._get_apart(target.name, beside)
            verify(beside)
            move_into_place(beside, target)
        except (CheckpointError, FileNotFoundError) as error:
            place = "" if isinstance(error, RemoteError) else f"{self.url}/{target.name}: "
            damaged.append(f"{place}{error}")
            return None
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return target

    def _get_apart(self, name: str, folder: Path) -> None:
        self._get(f"{name}/{MANIFEST}", folder)
        for file, seal in sealed_files(folder).items():
            where = ROWS if FILE.fullmatch(file) else name
            self._get(f"{where}/{file}", folder, seal.bytes)

    def _get(self, name: str, folder: Path, size: int | None = None) -> None:
        """Fetch a file, unless it is larger than the manifest says, or than manifests are."""
        found: Any = self._system.size(self._at(name))
        most = MAX_JSON_BYTES if size is None else size
        if found is None or found > most or (size is not None and found < size):
            text = f"{found} bytes, it should be {size or f'at most {most}'}"
            raise RemoteError(f"{self.url}/{name}: damaged or changed: {text}")
        self._system.get_file(self._at(name), str(folder / name.rpartition("/")[2]))


@contextlib.contextmanager
def local_copy(path: str | Path) -> Iterator[Path]:
    """A checkpoint as a folder of this machine: itself, or a copy for as long as the block runs.

    Raises:
        CheckpointError: it cannot be fetched.
    """
    if not is_url(path):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="rllib-checkpoint-") as folder:
        Remote(str(path)).get(Path(folder))
        yield Path(folder)
