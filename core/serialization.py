"""Values to bytes and back.

A value becomes one pickle-5 stream plus the large buffers it refers to (array data, bytes-like
objects that support it), kept out of band so that they can be copied once, straight into shared
memory. Plain ``pickle`` comes first because it is written in C; ``cloudpickle`` takes over where
pickle fails (closures, lambdas, local classes) or where its stream would name ``__main__``, which
is a different module in every process. Both know the serialisers that users register (`reducers`).
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import Any

from rllib.core.reducers import code_dumps, plain_dumps, reducers

OUT_OF_BAND_BYTES = 4096
"""Buffers below this size stay inside the stream: a copy is cheaper than its bookkeeping."""

_ATOMS = frozenset({type(None), bool, int, float, str, bytes})
"""What pickle alone can do, and is most often returned and put."""


@dataclass(slots=True)
class Packed:
    """A serialised value: its pickle stream, and in stream order what the stream refers to."""

    body: bytes
    buffers: list[memoryview]
    """Large buffers, out of band."""
    refs: list[Any]
    """`ObjectRef` objects inside the value; whoever moves the value must keep them alive."""

    @property
    def buffer_bytes(self) -> int:
        """Bytes of all out-of-band buffers together."""
        return sum(buffer.nbytes for buffer in self.buffers)


def pack(value: Any) -> Packed:
    """Serialise ``value``. The buffers are views of the caller's memory, not copies.

    Raises `TypeError` naming the part of the value that cannot be pickled.
    """
    if type(value) in _ATOMS:
        return Packed(pickle.dumps(value, 5), [], [])
    packed = Packed(b"", [], [])
    buffers = packed.buffers
    enclosed = False

    def out_of_band(buffer: pickle.PickleBuffer) -> bool:
        nonlocal enclosed
        view = buffer.raw()
        if view.nbytes < OUT_OF_BAND_BYTES:
            if view.readonly:
                return True  # in band it stays so
            enclosed = True
        buffers.append(view)
        return False

    previous, _streams.packing = _streams.packing, packed
    try:
        packed.body = _dumps(value, out_of_band, packed)
    finally:
        _streams.packing = previous
    if enclosed:
        packed.body = _enclose(packed.body, buffers)
        buffers[:] = [view for view in buffers if view.nbytes >= OUT_OF_BAND_BYTES]
    return packed


def _enclose(body: bytes, buffers: list[memoryview]) -> bytes:
    """A stream that contains another one, and the small ones among its buffers as ``bytes``.

    In a plain stream small arrays would come back writable, unlike large ones. Written by hand,
    since pickling the two together would cost more than all of the rest.
    """
    parts = [_UNPACK, _as_bytes(body), _MARK]
    for view in buffers:
        parts.append(_as_bytes(view) if view.nbytes < OUT_OF_BAND_BYTES else _NEXT_BUFFER)
    return b"".join([*parts, _CALL])


def _as_bytes(content: bytes | memoryview) -> bytes:
    return b"".join((_BYTES, len(content).to_bytes(8, "little"), content))


_UNPACK = b"\x80\x05crllib.core.serialization\nunpack\n("
"""Opcodes: protocol 5, the function, and the beginning of its arguments."""
_MARK = b"("
_BYTES = pickle.BINBYTES8
_NEXT_BUFFER = pickle.NEXT_BUFFER
_CALL = b"ltR."
"""Opcodes: the end of a list, the end of the arguments, the call, the end."""


def _dumps(value: Any, callback: Callable[[pickle.PickleBuffer], bool], packed: Packed) -> bytes:
    try:
        if reducers:
            body = plain_dumps(value, callback)
        else:
            body = pickle.dumps(value, 5, buffer_callback=callback)
        if b"__main__" not in body:
            return body
    except (pickle.PicklingError, AttributeError, TypeError):
        pass  # not a failure yet: cloudpickle can do what pickle cannot
    packed.buffers.clear()
    packed.refs.clear()
    return dump_code(value, callback)


def dump_code(value: Any, callback: Callable[[pickle.PickleBuffer], bool] | None = None) -> bytes:
    """Serialise functions, classes and whatever plain pickle refuses.

    Raises `TypeError` naming the part of the value that cannot be pickled.
    """
    try:
        return code_dumps(value, callback)
    except Exception as error:
        raise TypeError(f"cannot pickle {_culprit(value)}: {error}") from error


def dump_remote(value: Any) -> tuple[bytes, bool]:
    """A function or class that is to run elsewhere, and whether it refers to objects or actors:
    then the stream is good for this runtime only.

    Raises `TypeError` as `dump_code` does.
    """
    before, _streams.captured = _streams.captured, 0
    try:
        return dump_code(value), _streams.captured > 0
    finally:
        _streams.captured = before


def unpack(body: bytes | memoryview, buffers: Iterable[Any] = (), refs: Sequence[Any] = ()) -> Any:
    """The value of a stream. Arrays are views of ``buffers``, without a copy."""
    if not refs:
        return pickle.loads(body, buffers=buffers)
    previous, _streams.refs = _streams.refs, refs
    try:
        return pickle.loads(body, buffers=buffers)
    finally:
        _streams.refs = previous


class _Streams(threading.local):
    """What this thread is packing or unpacking now; references inside values look here."""

    packing: Packed | None = None
    captured: int | None = None
    """References in the code that is being packed."""
    refs: Sequence[Any] = ()


_streams = _Streams()


def reduce_ref(ref: Any) -> tuple[Any, ...]:
    """`ObjectRef.__reduce__`: leave an index in the stream and the reference beside it.

    Code that refers to an object names it instead, and is to find it where it runs.
    """
    packed = _streams.packing
    if packed is None and _streams.captured is not None:
        from rllib.core import api

        _streams.captured += 1
        api.runtime().expose(ref)
        return _exposed, (ref._owner, ref._number)
    if packed is None:
        raise TypeError(
            f"{ref!r} can only be pickled inside a call, a result or a put of its own runtime; "
            "to keep a value beyond the runtime, get() it first"
        )
    packed.refs.append(ref)
    return _ref_at, (len(packed.refs) - 1,)


def _exposed(owner: bytes, number: int) -> Any:
    from rllib.core import api

    return api.runtime().find_exposed(owner, number)


def _ref_at(index: int) -> Any:
    return _streams.refs[index]


def detached(packed: Packed) -> Packed:
    """The same value with buffers of its own, read-only, independent of the caller's memory."""
    own = [memoryview(bytes(view)) for view in packed.buffers]
    return Packed(packed.body, own, packed.refs)


def _culprit(value: Any, path: str = "", depth: int = 6) -> str:
    """Name the smallest part of ``value`` that cannot be pickled, for the error message."""
    for name, part in parts(value) if depth else ():
        try:
            code_dumps(part)
        except Exception:
            return _culprit(part, f"{path}{name}", depth - 1)
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return f"{path.lstrip('.')} (a {kind})" if path else f"a {kind}"


def parts(value: Any) -> Iterable[tuple[str, Any]]:
    """What a value consists of, with how to get there: elements, attributes, captured variables."""
    if isinstance(value, dict):
        return [(f"[{key!r}]", part) for key, part in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    if isinstance(value, FunctionType):
        return _captured(value)
    return [(f".{name}", part) for name, part in getattr(value, "__dict__", {}).items()]


def _captured(function: FunctionType) -> Iterable[tuple[str, Any]]:
    """Variables of enclosing functions and of its module that a function uses."""
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        if cell != CellType():  # else it was not set yet
            yield f".closure.{name}", cell.cell_contents
    for name in code.co_names:
        if name in function.__globals__:
            yield f".globals.{name}", function.__globals__[name]
