"""Serialisers that users have registered for their classes, and picklers that know them.

A registration holds in its own process, where values of exactly that class are pickled: what
arrives elsewhere brings its deserialiser along. So workers register for themselves if they, too,
send such values; in a module that they import, for example.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections import ChainMap
from collections.abc import Callable
from typing import Any, ClassVar

import cloudpickle

Callback = Callable[[pickle.PickleBuffer], bool]

reducers: dict[Any, Any] = {}
"""What is registered; as long as there is nothing, pickling takes the faster way without."""


class _CodePickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table: ClassVar[Any] = ChainMap(reducers, cloudpickle.Pickler.dispatch_table)


def register(
    cls: type, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]
) -> None:
    """See `rllib.core.util.register_serializer`."""
    reducers[cls] = lambda value: (deserializer, (serializer(value),))


def plain_dumps(value: Any, callback: Callback) -> bytes:
    """As ``pickle.dumps``, with the registered serialisers."""
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, 5, buffer_callback=callback)
    pickler.dispatch_table = ChainMap[Any, Any](reducers, copyreg.dispatch_table)
    pickler.dump(value)
    return stream.getvalue()


def code_dumps(value: Any, callback: Callback | None = None) -> bytes:
    """As ``cloudpickle.dumps``, with the registered serialisers."""
    stream = io.BytesIO()
    _CodePickler(stream, 5, buffer_callback=callback).dump(value)
    return stream.getvalue()
