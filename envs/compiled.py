"""What was compiled of the environments when this package was installed."""

import ctypes
from functools import cache
from importlib.util import find_spec

VERSION = 3
"""``physics_version`` of the C sources that this folder is for."""

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_int64
_SIGNATURES = {
    "physics_advance": (None, _POINTER, _SIZE),
    "cartpole_step": (_SIZE, _POINTER),
    "cartpole_observe": (None, _POINTER),
}
"""What each function returns and takes."""


@cache
def compiled() -> ctypes.CDLL | None:
    """The library; None where nothing was compiled, or another version of it.

    The interpreter is not locked while it is called.
    """
    found = find_spec("rllib.envs._physics")
    if found is None or found.origin is None:
        return None
    loaded = ctypes.CDLL(found.origin)
    loaded.physics_version.restype = _SIZE
    if loaded.physics_version() != VERSION:
        return None
    for name, (result, *arguments) in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded
