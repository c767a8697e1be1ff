"""Finds what was compiled when this package was installed.

``RLLIB_KERNELS=0`` in the environment does without, as on a machine that had no compiler.
"""

import ctypes
import os
from functools import cache
from importlib.util import find_spec

VARIABLE = "RLLIB_KERNELS"
VERSION = 8
"""``kernels_version`` of the C sources that the rest of this folder is for."""

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64
_ARGUMENTS = {
    "dense_load": (_POINTER,),
    "dense_forward": (_POINTER, _SIZE),
    "dense_backward": (_POINTER, _SIZE, _SIZE, _SIZE),
    "dense_load_all": (_POINTER, _SIZE, _SIZE),
    "dense_forward_all": (_POINTER, _SIZE, _SIZE),
    "dense_backward_all": (_POINTER, _SIZE, _SIZE),
    "ppo_loss": (_POINTER,),
    "sac_losses": (_POINTER,),
    "sac_gradients": (_POINTER,),
    "adam_norm": (_POINTER,),
    "adam_scale": (_POINTER,),
    "adam_step": (_POINTER,),
    "dqn_targets": (_POINTER,),
    "dqn_loss": (_POINTER,),
    "conv_prepare": (_POINTER,),
    "conv_load": (_POINTER,),
    "conv_forward": (_POINTER,),
    "conv_backward": (_POINTER,),
}
"""Of the functions that return nothing."""


def library() -> ctypes.PyDLL | None:
    """The compiled functions; None where there are none, or none are wanted.

    They are called with the interpreter locked: they are over before another thread had its turn.
    """
    return None if os.environ.get(VARIABLE) == "0" else _load()


def is_wide() -> bool:
    """Whether what is compiled is as fast as torch for layers of some hundred units, too."""
    functions = library()
    return functions is not None and bool(functions.dense_is_wide())


def state() -> str:
    """In words, for whoever wonders about speed."""
    if library() is not None:
        return "compiled"
    if os.environ.get(VARIABLE) == "0":
        return f"switched off by {VARIABLE}=0"
    there = "those there are belong to another version" if _path() else "there are none"
    return f"{there}: install again where there is a C compiler; small networks take twice as long"


def _path() -> str | None:
    found = find_spec("rllib.kernels._compiled")
    return found.origin if found else None


@cache
def _load() -> ctypes.PyDLL | None:
    path = _path()
    if path is None:
        return None
    loaded = ctypes.PyDLL(path)
    loaded.kernels_version.restype = ctypes.c_int64
    if loaded.kernels_version() != VERSION:
        return None
    for name, arguments in _ARGUMENTS.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, None
    loaded.dense_is_wide.restype = ctypes.c_int
    loaded.conv_is_possible.restype = ctypes.c_int
    loaded.dense_limit.argtypes, loaded.dense_limit.restype = (ctypes.c_int,), ctypes.c_int
    return loaded
