"""Checkpoint files: a folder with tensors, JSON and a manifest that seals them.

::

    manifest.json        format, version, and for each file its size and SHA-256; written last
    metadata.json        what the writer wants to say about the checkpoint
    state.json           the state tree; where a tensor belongs stands {"$tensor": name}
    tensors.safetensors  the tensors by name
    rows-*.safetensors   rows that never change (``rows``), shared with checkpoints before and after

Loading never executes code: nothing is unpickled, no name is imported, and no file outside the
folder is opened. The checksums find damage, not forgery: who can write the folder can reseal it.
"""

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from rllib.checkpoints.files import exchange, sync_file, sync_folder, write_durably
from rllib.checkpoints.rows import FILE, Piece, Seal, Segment, StateTree
from rllib.checkpoints.tree import Encoded, Tensors, all_rows, decode
from rllib.errors import CheckpointError

FORMAT = "rllib-checkpoint"
VERSION = 2
READABLE = (1, 2)
"""Version 1 had no files of rows."""
MANIFEST, METADATA, STATE, TENSORS = (
    "manifest.json",
    "metadata.json",
    "state.json",
    "tensors.safetensors",
)
FILES = (METADATA, STATE, TENSORS)
MAX_JSON_BYTES = 256 * 2**20
JSON_GROWTH = 24
"""Bytes of memory for one of JSON, of which empty lists take the most."""


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    version: int
    files: dict[str, Seal]


Logs = dict[str, tuple[Segment, ...]]


def save(path: str | Path, state: StateTree, *, metadata: Mapping[str, Any]) -> Logs:
    """Write a checkpoint folder; killed at any moment, it leaves the old one or the new one.

    Args:
        path: the folder to make. An empty folder or an older checkpoint there is replaced.
        state: nested dicts with string keys; leaves are numpy arrays, torch tensors, JSON scalars,
            lists or ``Rows``.
        metadata: JSON data that can be read without the state.

    Returns:
        The segments of every log of rows, as they now are in the checkpoint.

    Raises:
        CheckpointError: if a leaf cannot be written, if ``path`` holds something else, or if the
            disk refuses; nothing is left behind then, and an older checkpoint stays.
    """
    target = Path(path).absolute()
    try:
        encoded = Encoded(state)
        state_json = _to_json(encoded.tree, "state")
    except RecursionError:
        raise CheckpointError("state: nested too deeply, or contains itself") from None
    metadata_json = _to_json(dict(metadata), "metadata")
    recover(target)
    _check_replaceable(target)
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        write_durably(beside / METADATA, metadata_json)
        write_durably(beside / STATE, state_json)
        _write_tensors(beside / TENSORS, encoded.tensors)
        seals = {name: _seal_of(beside / name) for name in FILES} | _add_rows(beside, encoded)
        write_durably(beside / MANIFEST, _manifest_json(seals))
        sync_folder(beside)
        move_into_place(beside, target)
    except (OSError, SafetensorError) as error:
        size = _size_of(encoded) + len(state_json)
        raise CheckpointError(_write_problem(target, error, size)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return _logs(encoded.pieces, seals, target)


def load(path: str | Path) -> tuple[StateTree, dict[str, Any]]:
    """Read a checkpoint folder.

    Returns:
        The state tree, with every tensor as a writable numpy array, and lists of trees where
        ``Rows`` were; and the metadata.

    Raises:
        CheckpointError: if anything is missing, damaged, too large or of another kind, with the
            reason; nothing of it is used then.
    """
    folder = _checkpoint_folder(path)
    contents, others = _verified(folder)
    metadata = _from_json(contents[METADATA], folder / METADATA)
    tree = _from_json(contents[STATE], folder / STATE)
    tensors = _read_tensors(folder / TENSORS)

    def read(piece: Piece) -> StateTree:
        if piece.file not in others:
            raise CheckpointError(f"the file {piece.file!r} is missing")
        others.remove(piece.file)
        own = _read_tensors(folder / piece.file)
        rows: StateTree = decode(piece.tree, own)
        _refuse_rest(own, folder / piece.file)
        return rows

    try:
        state = decode(tree, tensors, read)
    except (CheckpointError, RecursionError) as error:
        raise CheckpointError(f"{folder / STATE}: damaged: {error}") from None
    _refuse_rest(tensors, folder / TENSORS)
    _refuse_rest(others, folder)
    return state, metadata


def saved_rows(path: str | Path) -> Logs:
    """The segments of every log of rows in a checkpoint, so that the next one may share them.

    Raises:
        CheckpointError: it is damaged.
    """
    folder = _checkpoint_folder(path)
    seals = _manifest(folder).files
    tree = _from_json(_sealed_content(folder / STATE, seals[STATE]), folder / STATE)
    pieces = {node.log: node.pieces for node in all_rows(tree)}
    return _logs(pieces, seals, folder.absolute())


def sealed_files(path: str | Path) -> dict[str, Seal]:
    """The files of a checkpoint, by name, with what its manifest says of each.

    Raises:
        CheckpointError: the manifest is damaged.
    """
    return _manifest(_checkpoint_folder(path)).files


def verify(path: str | Path) -> None:
    """Read a checkpoint's files without making anything of them.

    Raises:
        CheckpointError: one of them is missing, damaged or too large.
    """
    _verified(_checkpoint_folder(path))


def standing(path: str | Path) -> Path:
    """Where a checkpoint is: under its name or, if its writer was killed while it replaced it where
    folders cannot be exchanged, still under that of what steps aside."""
    folder = Path(path)
    if os.path.lexists(folder):
        return folder
    aside = [each for each in _aside(folder) if (each / MANIFEST).is_file()]
    return max(aside, key=lambda each: each.stat().st_mtime, default=folder)


def recover(path: Path) -> None:
    """Give a checkpoint its name back that had stepped aside; only for the one who writes it."""
    if (found := standing(path)) != path:
        found.rename(path)
    for rest in _aside(path):
        shutil.rmtree(rest, ignore_errors=True)


def recover_all(folder: Path) -> None:
    """The same for every checkpoint that has a place in a folder."""
    for aside in folder.glob(".*.old"):
        if found := _ASIDE.fullmatch(aside.name):
            recover(folder / found[1])


_ASIDE = re.compile(r"\.(.+)\.[0-9]+\.old")


def _aside(path: Path) -> list[Path]:
    names = path.absolute().parent.glob(f".{glob.escape(path.absolute().name)}.*.old")
    found = ((each, _ASIDE.fullmatch(each.name)) for each in names if not each.is_symlink())
    return [each for each, match in found if match and match[1] == path.absolute().name]


def load_metadata(path: str | Path) -> dict[str, Any]:
    """Read only the metadata of a checkpoint, checked in the same way."""
    folder = _checkpoint_folder(path)
    seals = _manifest(folder).files
    return _from_json(_sealed_content(folder / METADATA, seals[METADATA]), folder / METADATA)


# Writing.


def _to_json(tree: Any, what: str) -> bytes:
    try:
        data = json.dumps(tree, indent=1).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{what}: cannot be saved as JSON: {error}") from None
    if len(data) > MAX_JSON_BYTES:
        raise CheckpointError(f"{what}: {len(data):,} bytes of JSON; hold large data in arrays")
    return data


def _write_tensors(path: Path, tensors: Tensors) -> None:
    save_file(tensors, path)
    sync_file(path)


def _add_rows(folder: Path, encoded: Encoded) -> dict[str, Seal]:
    """Write new files of rows, and take over the others; returns the seals of all."""
    for name, tensors in encoded.fresh.items():
        _write_tensors(folder / name, tensors)
    seals = {name: _seal_of(folder / name) for name in encoded.fresh}
    for segment in (each for rows in encoded.rows for each in rows.kept):
        _share(segment.folder / segment.piece.file, folder / segment.piece.file)
        seals[segment.piece.file] = segment.seal
    return seals


_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)


def _share(source: Path, target: Path) -> None:
    """The same file under another name, so that it stays for as long as any checkpoint has it."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, target)
        sync_file(target)


def _logs(pieces: Mapping[str, Iterable[Piece]], seals: Mapping[str, Seal], folder: Path) -> Logs:
    return {
        log: tuple(Segment(piece, seals[piece.file], folder) for piece in each)
        for log, each in pieces.items()
    }


def _size_of(encoded: Encoded) -> int:
    """Bytes of what is to be written."""
    written = [encoded.tensors, *encoded.fresh.values()]
    return sum(array.nbytes for tensors in written for array in tensors.values())


def _seal_of(path: Path) -> Seal:
    return Seal(path.stat().st_size, _sha256_of(path))


def _manifest_json(seals: dict[str, Seal]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(_Manifest(FORMAT, VERSION, seals)))


def _check_replaceable(target: Path) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir() or (any(target.iterdir()) and not (target / MANIFEST).exists()):
        raise CheckpointError(f"{target}: exists and is no checkpoint; it is left as it is")


def move_into_place(beside: Path, target: Path) -> None:
    """Give a complete folder the name of a checkpoint, in place of an older one.

    Where the two cannot be exchanged at once, the older one steps aside first, since folders cannot
    be renamed over: ``standing`` and ``recover`` know where.
    """
    if target.exists() and exchange(beside, target):
        sync_folder(target.parent)
        shutil.rmtree(beside, ignore_errors=True)
        return
    aside = target.with_name(f".{target.name}.{os.getpid()}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if target.exists():
        target.rename(aside)
    try:
        beside.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise
    sync_folder(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _write_problem(target: Path, error: Exception, size: int) -> str:
    """The reason, and how much room there is, since a full disk is the most frequent one."""
    existing = next(folder for folder in target.parents if folder.exists())
    free = shutil.disk_usage(existing).free
    reason = getattr(error, "strerror", None) or error
    return f"{target}: cannot be written: {reason} (needs {size:,} bytes, {free:,} are free)"


# Reading.


def _checkpoint_folder(path: str | Path) -> Path:
    folder = standing(path)
    if not os.path.lexists(folder):
        raise CheckpointError(f"{folder}: no such checkpoint")
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: a checkpoint is a folder, this is not one")
    return folder


def _manifest(folder: Path) -> _Manifest:
    path = folder / MANIFEST
    data = _read_plain_file(path, MAX_JSON_BYTES)
    try:
        kind = msgspec.json.decode(data)
        if kind.get("format") != FORMAT:
            raise CheckpointError(f"{path}: not a checkpoint of rllib")
        if kind.get("version") not in READABLE:
            known = " and ".join(map(str, READABLE))
            text = f"format version {kind.get('version')!r}, this rllib reads {known}"
            raise CheckpointError(f"{path}: {text}; use the release that wrote it")
        manifest = msgspec.convert(kind, _Manifest)
    except (msgspec.MsgspecError, AttributeError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged: {error}") from None
    _check_names(path, manifest.files)
    return manifest


def _check_names(path: Path, names: Iterable[str]) -> None:
    """Only the known names are ever joined to the folder, so no path can lead out of it."""
    foreign = sorted(name for name in names if name not in FILES and not FILE.fullmatch(name))
    missing = sorted(set(FILES) - set(names))
    if foreign:
        raise CheckpointError(f"{path}: lists {foreign[0]!r}, which is no file of a checkpoint")
    if missing:
        raise CheckpointError(f"{path}: does not list {missing[0]!r}")


def _verified(folder: Path) -> tuple[dict[str, bytes], set[str]]:
    """Contents of the JSON files, after the seals of all files were found intact; files of rows."""
    seals = _manifest(folder).files
    rows = seals.keys() - set(FILES)
    texts = sum(JSON_GROWTH * seals[name].bytes for name in (METADATA, STATE))
    _check_memory(folder, texts + sum(seals[name].bytes for name in (TENSORS, *rows)))
    for name in (TENSORS, *rows):
        _verify(folder / name, seals[name])
    contents = {name: _sealed_content(folder / name, seals[name]) for name in (METADATA, STATE)}
    return contents, set(rows)


def _check_memory(folder: Path, size: int) -> None:
    available = psutil.virtual_memory().available
    if size > available:
        raise CheckpointError(
            f"{folder}: {size:,} bytes once read, {available:,} bytes of memory are free"
        )


def _verify(path: Path, seal: Seal) -> None:
    _compare(path, seal.bytes, _plain_file_size(path), "size in bytes")
    _compare(path, seal.sha256, _sha256_of(path), "SHA-256")


DTYPES = frozenset(
    (
        *("BOOL", "F16", "F32", "F64"),
        *("U8", "U16", "U32", "U64"),
        *("I8", "I16", "I32", "I64"),
    )
)
"""Of tensors, as safetensors calls them: what numpy has, and ``save`` writes."""


def _read_tensors(path: Path) -> Tensors:
    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            for name in names:
                if (dtype := file.get_slice(name).get_dtype()) not in DTYPES:
                    known = ", ".join(sorted(DTYPES))
                    raise CheckpointError(f"{path}: {name!r} is of {dtype}; known are {known}")
            return {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, TypeError, ValueError, MemoryError) as error:
        raise CheckpointError(f"{path}: no valid tensors: {error}") from None


def _refuse_rest(names: Iterable[str], path: Path) -> None:
    for name in names:
        raise CheckpointError(f"{path}: {name!r} is no part of the state")


def _sealed_content(path: Path, seal: Seal) -> bytes:
    _compare(path, seal.bytes, _plain_file_size(path), "size in bytes")
    data = _read_plain_file(path, MAX_JSON_BYTES)
    _compare(path, seal.sha256, hashlib.sha256(data).hexdigest(), "SHA-256")
    return data


def _compare(path: Path, sealed: object, found: object, what: str) -> None:
    if sealed != found:
        raise CheckpointError(
            f"{path}: damaged or changed: {what} is {found}, the manifest says {sealed}"
        )


def _plain_file_size(path: Path) -> int:
    try:
        status = path.lstat()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path}: not a plain file (links are not followed)")
    return status.st_size


def _read_plain_file(path: Path, limit: int) -> bytes:
    size = _plain_file_size(path)
    if size > limit:
        raise CheckpointError(f"{path}: {size:,} bytes, the limit is {limit:,}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_json(data: bytes, path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged: {error}") from None
    if not isinstance(tree, dict):
        raise CheckpointError(f"{path}: damaged: should be a mapping")
    return tree
