"""What a process tells of itself when somebody asks all processes; see `census`.

It costs what it costs when it is asked for: nothing is recorded for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rllib.core.native import wire

if TYPE_CHECKING:
    from rllib.core.native.engine import NativeRuntime

_encode = msgspec.msgpack.encode
read_leases = msgspec.msgpack.Decoder(list[int]).decode


def account(runtime: NativeRuntime, topic: wire.Topic) -> bytes:
    """The answer of this process. Under the runtime's lock."""
    return _encode(runtime.tasks.idle_leases())
