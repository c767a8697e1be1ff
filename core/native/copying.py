"""Copying into shared memory. What is large is copied without the interpreter's lock, so that
other threads of the process, such as the one that reads its sockets, go on meanwhile. What is
larger still is copied by several threads, for one core alone moves less than the memory takes."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import threading

from rllib.core.native import platform

_LARGE_BYTES = 2 * 2**20
"""From here on (about 0.1 ms) letting go of the lock and taking it again does not count."""

_SHARED_BYTES = 32 * 2**20
"""From here on (about 3 ms) a thread costs less than it brings, also where all cores are busy with
workers that copy as well and it waits for its turn."""

_MAX_THREADS = 4
"""So many are enough for the memory of most machines."""


class _Buffer(ctypes.Structure):
    """The interpreter's ``Py_buffer``."""

    _fields_ = [
        ("address", ctypes.c_void_p),
        ("exporter", ctypes.py_object),
        ("size", ctypes.c_ssize_t),
        ("item_size", ctypes.c_ssize_t),
        ("is_readonly", ctypes.c_int),
        ("dimensions", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]


_acquire = ctypes.pythonapi.PyObject_GetBuffer
_acquire.argtypes = [ctypes.py_object, ctypes.POINTER(_Buffer), ctypes.c_int]
_release = ctypes.pythonapi.PyBuffer_Release
_release.argtypes = [ctypes.POINTER(_Buffer)]
_release.restype = None
_SIMPLE = 0


def copy_into(target: mmap.mmap, start: int, part: memoryview) -> None:
    """Copy the bytes of ``part``, which is contiguous, to ``target[start:]``."""
    size = part.nbytes
    if size < _LARGE_BYTES:
        memoryview(target)[start : start + size] = part.cast("B")
        return
    room = (ctypes.c_ubyte * size).from_buffer(target, start)
    buffer = _Buffer()
    _acquire(part, buffer, _SIMPLE)
    try:
        _move(ctypes.addressof(room), buffer.address, size)
    finally:
        _release(buffer)


def _move(target: int, source: int, size: int) -> None:
    shares = min(_MAX_THREADS, platform.usable_cores()) if size >= _SHARED_BYTES else 1
    cuts = [size * share // shares for share in range(shares + 1)]
    first, *others = (
        (target + begin, source + begin, end - begin) for begin, end in itertools.pairwise(cuts)
    )
    helpers = [threading.Thread(target=ctypes.memmove, args=other) for other in others]
    for helper in helpers:
        helper.start()
    ctypes.memmove(*first)
    for helper in helpers:
        helper.join()
