"""What all messages have in common."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rllib.core.exceptions import CoreError


class WireError(CoreError):
    """A peer sent what no honest peer sends."""


Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Of an object, a call, a file: what fits into a header and into a reference."""


class Message(msgspec.Struct, array_like=True):
    """Base of everything that travels as msgpack."""
